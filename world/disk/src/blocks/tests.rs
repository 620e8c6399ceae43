use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Write};
use std::process::{Command, Stdio};
use talkoo_store::RAW;
use talkoo_store::unixfs::{Importer, Profile, Reader};

const ROOMY: BlocksConfig = BlocksConfig { quota_bytes: 1 << 30 };

fn open(dir: &Path) -> Blocks {
    Blocks::open(dir, ROOMY).unwrap()
}

fn block(seed: u64, len: usize) -> Block {
    let mut content = vec![seed as u8; len.max(8)];
    content[..8].copy_from_slice(&seed.to_le_bytes());
    Block::of(RAW, content.into()).unwrap()
}

fn file_of(dir: &Path, cid: &Cid) -> std::path::PathBuf {
    let name = hex::encode(cid.to_bytes());
    dir.join("blocks").join(&name[name.len() - 2..]).join(name)
}

fn import(blocks: &Blocks, data: &[u8]) -> Cid {
    let mut importer = Importer::new(Profile::default());
    let mut sink = |block: Block| blocks.put(&[block], Visibility::Public, Sync::Later);
    importer.push(data, &mut sink).unwrap();
    importer.finish(&mut sink).unwrap().cid
}

#[test]
fn blocks_are_kept_with_their_visibility() {
    let dir = tempfile::tempdir().unwrap();
    let (small, large) = (block(1, 100), block(2, 1 << 20));
    {
        let blocks = open(dir.path());
        blocks.put(&[small.clone(), large.clone()], Visibility::Private, Sync::Now).unwrap();
        blocks.put(std::slice::from_ref(&large), Visibility::Public, Sync::Now).unwrap();
        blocks.put(std::slice::from_ref(&large), Visibility::Private, Sync::Now).unwrap();
    }
    let blocks = open(dir.path());
    assert_eq!(blocks.get(small.cid()).unwrap().as_ref(), Some(&small));
    assert_eq!(blocks.get(large.cid()).unwrap().as_ref(), Some(&large));
    assert_eq!(blocks.info(small.cid()).unwrap(), Some(BlockInfo { bytes: 100, visibility: Visibility::Private }));
    assert_eq!(blocks.info(large.cid()).unwrap(), Some(BlockInfo { bytes: 1 << 20, visibility: Visibility::Public }));
    blocks.set_visibility(&[*large.cid()], Visibility::Granted).unwrap();
    assert_eq!(blocks.info(large.cid()).unwrap().unwrap().visibility, Visibility::Granted);
    assert_eq!(blocks.list(None, 10).unwrap().len(), 2);
    let first = blocks.list(None, 1).unwrap()[0].0;
    assert_eq!(blocks.list(Some(&first), 10).unwrap().len(), 1);
    let usage = Usage { used_bytes: 100 + (1 << 20), quota_bytes: 1 << 30, blocks: 2 };
    assert_eq!(blocks.usage().unwrap(), usage);
    assert_eq!(blocks.delete(&[*large.cid(), *block(9, 9).cid()]).unwrap(), 1 << 20);
    assert!(!blocks.has(large.cid()).unwrap() && !file_of(dir.path(), large.cid()).exists());
}

#[test]
fn the_quota_is_a_typed_error() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = Blocks::open(dir.path(), BlocksConfig { quota_bytes: 10_000 }).unwrap();
    blocks.put(&[block(1, 8000)], Visibility::Public, Sync::Later).unwrap();
    let result = blocks.put(&[block(2, 1000), block(3, 1001)], Visibility::Public, Sync::Later);
    assert!(matches!(result, Err(BlocksError::QuotaExceeded { need: 2001, have: 2000 })), "{result:?}");
    let own = block(9, 2001);
    blocks.put(std::slice::from_ref(&own), Visibility::Private, Sync::Now).unwrap();
    blocks.delete(&[*own.cid()]).unwrap();
    assert_eq!(blocks.usage().unwrap().blocks, 1);
    blocks.delete(&[*block(1, 8000).cid()]).unwrap();
    blocks.put(&[block(2, 1000), block(3, 1001)], Visibility::Public, Sync::Later).unwrap();
}

#[test]
fn a_full_disk_is_a_typed_error() {
    let error = BlocksError::io(Path::new("x"))(io::ErrorKind::StorageFull.into());
    assert!(matches!(error, BlocksError::DiskFull { .. }));
}

#[test]
fn damage_is_found_on_reading_and_repaired_by_putting() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    let large = block(1, 1 << 20);
    let path = file_of(dir.path(), large.cid());
    for damage in 0..3 {
        blocks.put(std::slice::from_ref(&large), Visibility::Public, Sync::Now).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        match damage {
            0 => bytes[77] ^= 1,
            1 => bytes.truncate(1000),
            _ => bytes.push(0),
        }
        fs::write(&path, &bytes).unwrap();
        let result = blocks.get(large.cid());
        assert!(matches!(result, Err(BlocksError::Damaged { .. })), "{damage}: {result:?}");
        assert!(!blocks.has(large.cid()).unwrap());
    }
    blocks.put(std::slice::from_ref(&large), Visibility::Public, Sync::Now).unwrap();
    assert!(blocks.get(large.cid()).unwrap().is_some());
    // Of a private block nobody else has a copy: what is left of it stays.
    let private = block(2, 1 << 20);
    blocks.put(std::slice::from_ref(&private), Visibility::Private, Sync::Now).unwrap();
    let path = file_of(dir.path(), private.cid());
    let mut bytes = fs::read(&path).unwrap();
    bytes[77] ^= 1;
    fs::write(&path, &bytes).unwrap();
    for _ in 0..2 {
        assert!(matches!(blocks.get(private.cid()), Err(BlocksError::Damaged { .. })));
    }
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn collecting_keeps_what_pins_reach() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    let keep = import(&blocks, &[1; 3 << 20]);
    let data: Vec<u8> = (0..5 << 20).map(|i| (i / 1000) as u8).collect();
    let lose = import(&blocks, &data);
    blocks.pin("keep", &keep).unwrap();
    blocks.pin("lose", &lose).unwrap();
    assert_eq!(blocks.collect().unwrap().removed_blocks, 0);
    assert!(blocks.unpin("lose").unwrap() && !blocks.unpin("lose").unwrap());
    assert_eq!(blocks.pins().unwrap(), [("keep".to_owned(), keep)]);
    let orphan = block(5, 9000);
    fs::write(file_of(dir.path(), orphan.cid()), b"left by a crash").unwrap();
    // What the journal names stays, pinned or not, also over the quota.
    let private = block(6, 100);
    blocks.put(std::slice::from_ref(&private), Visibility::Private, Sync::Now).unwrap();
    let collected = blocks.collect().unwrap();
    assert_eq!((collected.kept_blocks, collected.removed_blocks, collected.orphan_files), (3, 6, 1));
    assert!(blocks.has(private.cid()).unwrap());
    blocks.delete(&[*private.cid()]).unwrap();
    assert!(collected.removed_bytes > 5 << 20 && !blocks.has(&lose).unwrap());
    assert_eq!(blocks.usage().unwrap().blocks, 2);
    let mut reader = Reader::new(keep);
    let mut bytes = 0;
    while let Some(leaf) = reader.next(&mut |cid| blocks.get(cid)).unwrap() {
        bytes += leaf.len();
    }
    assert_eq!(bytes, 3 << 20);
    assert!(blocks.pin("", &keep).is_err() && blocks.pin(&"x".repeat(257), &keep).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Any puts and deletes equal a map, also after opening again.
    #[test]
    fn equals_a_map(steps in proptest::collection::vec((0_u64..12, 1_usize..12_000, any::<bool>()), 1..30)) {
        let dir = tempfile::tempdir().unwrap();
        let mut model: BTreeMap<Cid, Block> = BTreeMap::new();
        {
            let blocks = open(dir.path());
            for (seed, len, is_put) in steps {
                let block = block(seed, len);
                if is_put {
                    blocks.put(std::slice::from_ref(&block), Visibility::Public, Sync::Later).unwrap();
                    model.insert(*block.cid(), block);
                } else if let Some((cid, _)) = model.pop_first() {
                    blocks.delete(&[cid]).unwrap();
                }
            }
            blocks.flush().unwrap();
        }
        let blocks = open(dir.path());
        prop_assert_eq!(blocks.usage().unwrap().blocks, model.len() as u64);
        prop_assert_eq!(blocks.usage().unwrap().used_bytes, model.values().map(|b| b.bytes().len() as u64).sum::<u64>());
        for (cid, block) in &model {
            let got = blocks.get(cid).unwrap();
            prop_assert_eq!(got.as_ref(), Some(block));
        }
    }
}

/// Block `n` of the next test: small and large ones.
fn numbered(n: u64) -> Block {
    block(n, if n.is_multiple_of(3) { 500 } else { 20_000 + (n * 7919 % 300_000) as usize })
}

/// Runs as the child process of `kill_9_leaves_whole_blocks`; does nothing otherwise.
#[test]
fn child_puts_until_killed() {
    let Ok(dir) = std::env::var("TALKOO_TEST_BLOCKS") else { return };
    let blocks = open(Path::new(&dir));
    let start: u64 = std::env::var("TALKOO_TEST_START").unwrap().parse().unwrap();
    for n in start.. {
        blocks.put(&[numbered(n)], Visibility::Public, Sync::Later).unwrap();
        if n % 7 == 6 {
            blocks.flush().unwrap();
            writeln!(io::stdout(), "\nflushed {}", n + 1).unwrap();
        }
    }
}

#[test]
fn kill_9_leaves_whole_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut promised = 0;
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "blocks::tests::child_puts_until_killed", "--nocapture"])
            .env("TALKOO_TEST_BLOCKS", dir.path())
            .env("TALKOO_TEST_START", promised.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let goal = promised + 10 + round * 13;
        for line in io::BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(n) = line.unwrap().strip_prefix("flushed ") {
                promised = n.parse().unwrap();
            }
            if promised >= goal {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(promised >= goal, "the child ended by itself");

        let blocks = open(dir.path());
        for n in 0..promised {
            let expected = numbered(n);
            assert_eq!(blocks.get(expected.cid()).unwrap(), Some(expected), "round {round}: block {n}");
        }
        // Those that were not promised are whole or absent, and the sum is right.
        let mut bytes = 0;
        for (cid, info) in blocks.list(None, 100_000).unwrap() {
            assert!(blocks.get(&cid).unwrap().is_some(), "round {round}: a row without its block");
            bytes += info.bytes;
        }
        assert_eq!(blocks.usage().unwrap().used_bytes, bytes);
        assert!(fs::read_dir(dir.path().join("blocks/aside")).unwrap().next().is_none());
    }
}
