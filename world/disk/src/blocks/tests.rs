use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, Write};
use std::process::{Command, Stdio};
use talkoo_base::NodeId;
use talkoo_store::RAW;
use talkoo_store::unixfs::{DirBuilder, Importer, Profile, Reader};
use talkoo_store::{DAG_CBOR, DAG_JSON, ipld};

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
        blocks.pin("small", small.cid()).unwrap();
        blocks.put(std::slice::from_ref(&large), Visibility::Public, Sync::Now).unwrap();
        blocks.put(std::slice::from_ref(&large), Visibility::Private, Sync::Now).unwrap();
    }
    let blocks = open(dir.path());
    assert_eq!(blocks.get(small.cid()).unwrap().as_ref(), Some(&small));
    assert_eq!(blocks.get(large.cid()).unwrap().as_ref(), Some(&large));
    assert_eq!(blocks.info(small.cid()).unwrap(), Some(BlockInfo { bytes: 100, visibility: Visibility::Private }));
    assert_eq!(blocks.info(large.cid()).unwrap(), Some(BlockInfo { bytes: 1 << 20, visibility: Visibility::Public }));
    blocks.set_class(large.cid(), Visibility::Granted).unwrap();
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
    blocks.pin("kept", block(1, 8000).cid()).unwrap();
    let result = blocks.put(&[block(2, 1000), block(3, 1001)], Visibility::Public, Sync::Later);
    assert!(matches!(result, Err(BlocksError::QuotaExceeded { need: 2001, have: 2000 })), "{result:?}");
    let own = block(9, 2001);
    blocks.put_own(std::slice::from_ref(&own), Sync::Now).unwrap();
    blocks.delete(&[*own.cid()]).unwrap();
    assert_eq!(blocks.usage().unwrap().blocks, 1);
    // What nobody keeps makes room by itself.
    let hold = blocks.hold();
    blocks.put(&[block(4, 1500)], Visibility::Public, Sync::Later).unwrap();
    let more = [block(4, 1500), block(5, 600)];
    let result = blocks.put(&more, Visibility::Public, Sync::Later);
    assert!(matches!(result, Err(BlocksError::QuotaExceeded { need: 600, have: 500 })), "{result:?}");
    drop(hold);
    // Of the blocks of one put, those that are here stay.
    assert!(blocks.put(&more, Visibility::Public, Sync::Later).is_err());
    blocks.put(&more[1..], Visibility::Public, Sync::Later).unwrap();
    assert!(blocks.has(more[1].cid()).unwrap() && !blocks.has(more[0].cid()).unwrap());
    assert!(blocks.has(block(1, 8000).cid()).unwrap());
    blocks.unpin("kept").unwrap();
    blocks.put(&[block(2, 1000), block(3, 9000)], Visibility::Public, Sync::Later).unwrap();
    assert_eq!(blocks.usage().unwrap().blocks, 2);
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
    blocks.put_own(std::slice::from_ref(&private), Sync::Now).unwrap();
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

#[test]
fn collecting_follows_links_of_every_codec() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    let leaf = block(1, 100);
    let json = format!(r#"{{"leaf":{{"/":"{}"}}}}"#, leaf.cid());
    let list = |codec| ipld::from_dag_json(json.as_bytes(), codec).unwrap();
    for codec in [DAG_CBOR, DAG_JSON] {
        let root = list(codec);
        blocks.put(&[leaf.clone(), root.clone()], Visibility::Private, Sync::Later).unwrap();
        blocks.pin("one", root.cid()).unwrap();
        assert_eq!(blocks.collect().unwrap().kept_blocks, 2, "{codec:x}");
        // A direct pin keeps its block alone.
        blocks.unpin("one").unwrap();
        blocks.pin_add(&pin("a", root.cid(), PinMode::Direct)).unwrap();
        assert_eq!(blocks.collect().unwrap().removed_blocks, 1, "{codec:x}");
        assert!(blocks.has(root.cid()).unwrap() && !blocks.has(leaf.cid()).unwrap());
        blocks.pin_remove("a").unwrap();
    }
}

#[test]
fn a_file_that_is_gone_stops_no_collection() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    // A node that is too large for the index stands in a file.
    let mut folder = DirBuilder::new(Profile::default());
    for n in 0..200 {
        folder.add(&format!("{n}"), *block(n, 100).cid(), 100).unwrap();
    }
    let mut sink = |block: Block| blocks.put(&[block], Visibility::Public, Sync::Now);
    let root = folder.finish(&mut sink).unwrap().cid;
    blocks.pin("folder", &root).unwrap();
    fs::remove_file(file_of(dir.path(), &root)).unwrap();
    assert_eq!(blocks.collect().unwrap().kept_blocks, 1);
}

fn pin(id: &str, root: &Cid, mode: PinMode) -> Pin {
    let meta = [("app".to_owned(), "test".to_owned())].into();
    Pin { id: id.into(), root: *root, mode, name: "a name".into(), meta, created: 7, origin: "here".into() }
}

#[test]
fn pins_say_who_keeps_what() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    let (file, other) = (import(&blocks, &[1; 3 << 20]), import(&blocks, &[2; 3 << 20]));
    let leaf = ipld::links(&blocks.get(&file).unwrap().unwrap()).unwrap()[0];
    for (id, root, mode) in
        [("c", file, PinMode::Recursive), ("a", other, PinMode::Direct), ("b", file, PinMode::Direct)]
    {
        blocks.pin_add(&pin(id, &root, mode)).unwrap();
    }
    drop(blocks);
    let blocks = open(dir.path());
    let ids = |pins: Vec<Pin>| pins.into_iter().map(|pin| pin.id).collect::<Vec<_>>();
    assert_eq!(ids(blocks.pin_list(None, 9).unwrap()), ["a", "b", "c"]);
    assert_eq!(ids(blocks.pin_list(Some("a"), 1).unwrap()), ["b"]);
    assert_eq!(ids(blocks.pins_of(&file).unwrap()), ["b", "c"]);
    assert_eq!(blocks.pins_of(&other).unwrap(), [pin("a", &other, PinMode::Direct)]);
    let why = |cid| blocks.is_pinned(cid).unwrap();
    assert_eq!(
        [why(&file), why(&other), why(&leaf)],
        [Some(Pinned::Recursive), Some(Pinned::Direct), Some(Pinned::Indirect(file))]
    );
    // The same id again moves the pin.
    blocks.pin_add(&pin("c", &other, PinMode::Recursive)).unwrap();
    assert_eq!([why(&file), why(&other), why(&leaf)], [Some(Pinned::Direct), Some(Pinned::Recursive), None]);
    assert!(blocks.pin_remove("c").unwrap() && !blocks.pin_remove("c").unwrap());
    assert_eq!(ids(blocks.pins_of(&other).unwrap()), ["a"]);
    blocks.pin("own", &file).unwrap();
    assert_eq!(why(&leaf), Some(Pinned::Indirect(file)));
    assert!(blocks.pin_add(&Pin { id: String::new(), ..pin("", &file, PinMode::Direct) }).is_err());
    assert!(blocks.pin_add(&Pin { name: "x".repeat(257), ..pin("d", &file, PinMode::Direct) }).is_err());
}

#[test]
fn both_versions_of_a_cid_name_one_block() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    let mut importer = Importer::new(Profile::V0_2015);
    let mut sink = |block: Block| blocks.put(&[block], Visibility::Public, Sync::Now);
    importer.push(&[7; 600 << 10], &mut sink).unwrap();
    let root = importer.finish(&mut sink).unwrap().cid;
    let v1 = Cid::new_v1(0x70, *root.hash());
    assert_eq!(blocks.get(&root).unwrap().unwrap().bytes(), blocks.get(&v1).unwrap().unwrap().bytes());
    assert_eq!(blocks.get(&v1).unwrap().unwrap().cid(), &v1);
    blocks.pin("v1", &v1).unwrap();
    assert_eq!(blocks.collect().unwrap().removed_blocks, 0);
    // An identity CID is its own block, and takes no room.
    let inlined = Cid::new_v1(RAW, cid::multihash::Multihash::wrap(0, b"inlined").unwrap());
    let before = blocks.usage().unwrap();
    let block = blocks.get(&inlined).unwrap().unwrap();
    blocks.put(std::slice::from_ref(&block), Visibility::Public, Sync::Now).unwrap();
    assert_eq!((block.bytes().as_ref(), blocks.usage().unwrap()), (&b"inlined"[..], before));
}

#[test]
fn holds_keep_what_is_put_while_they_live() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    let has = |n| blocks.has(block(n, 100).cid()).unwrap();
    let put = |n| blocks.put(&[block(n, 100)], Visibility::Private, Sync::Later).unwrap();
    put(1);
    let first = blocks.hold();
    put(2);
    let second = blocks.hold();
    put(3);
    blocks.collect().unwrap();
    assert_eq!([has(1), has(2), has(3)], [false, true, true]);
    drop(first);
    blocks.collect().unwrap();
    assert_eq!([has(2), has(3)], [false, true]);
    // What is here already is kept as well if it is put again.
    put(4);
    drop(second);
    let third = blocks.hold();
    put(3);
    blocks.collect().unwrap();
    assert_eq!([has(3), has(4)], [true, false]);
    drop(third);
    assert_eq!(blocks.collect().unwrap().removed_blocks, 1);
}

const ALICE: NodeId = NodeId::pretended(1);

#[test]
fn a_dag_is_as_open_as_its_class() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    let (shared, a, b) = (block(1, 100), block(2, 100), block(3, 100));
    let root = |leaf: &Block| {
        let json = format!(r#"[{{"/":"{}"}},{{"/":"{}"}}]"#, shared.cid(), leaf.cid());
        ipld::from_dag_json(json.as_bytes(), DAG_CBOR).unwrap()
    };
    let (one, two) = (root(&a), root(&b));
    let all = [shared.clone(), a.clone(), b.clone(), one.clone(), two.clone()];
    blocks.put(&all, Visibility::Private, Sync::Now).unwrap();
    let (alice, bob) = (node(), ALICE);
    // Which of shared, a, b may be read, by Alice and by Bob.
    let open = |who: &NodeId| [&shared, &a, &b].map(|block| blocks.may_read(block.cid(), Some(who), 100).unwrap());
    assert_eq!([open(&alice), open(&bob)], [[false; 3]; 2]);
    blocks.grant(one.cid(), &alice, Some(101)).unwrap();
    assert_eq!([open(&alice), open(&bob)], [[true, true, false], [false; 3]]);
    assert!(!blocks.may_read(a.cid(), Some(&alice), 101).unwrap() && !blocks.may_read(a.cid(), None, 100).unwrap());
    assert_eq!(blocks.grants(one.cid()).unwrap(), [(alice, Some(101))]);
    assert_eq!(blocks.class_of(one.cid()).unwrap(), Some(Visibility::Granted));
    assert_eq!(blocks.info(a.cid()).unwrap().unwrap().visibility, Visibility::Granted);
    // A public DAG keeps what it shares with one that is taken back.
    blocks.set_class(two.cid(), Visibility::Public).unwrap();
    assert_eq!(blocks.public_roots().unwrap(), [*two.cid()]);
    assert_eq!(open(&bob), [true, false, true]);
    assert!(blocks.revoke(one.cid(), &alice).unwrap() && !blocks.revoke(one.cid(), &alice).unwrap());
    assert_eq!(open(&alice), [true, false, true]);
    blocks.grant(one.cid(), &alice, None).unwrap();
    blocks.set_class(two.cid(), Visibility::Private).unwrap();
    assert_eq!([open(&alice), open(&bob)], [[true, true, false], [false; 3]]);
    // Private takes back the grants, also for later.
    blocks.set_class(one.cid(), Visibility::Private).unwrap();
    blocks.set_class(one.cid(), Visibility::Granted).unwrap();
    assert_eq!((open(&alice), blocks.grants(one.cid()).unwrap()), ([false; 3], vec![]));
    // A root that is collected claims nothing any more, nor when its blocks come again.
    blocks.set_class(one.cid(), Visibility::Public).unwrap();
    assert_eq!(open(&bob), [true, true, false]);
    blocks.collect().unwrap();
    blocks.put(&all, Visibility::Private, Sync::Now).unwrap();
    assert_eq!((open(&bob), blocks.class_of(one.cid()).unwrap()), ([false; 3], None));
}

#[test]
fn what_was_put_open_is_closed_unless_another_pin_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let blocks = open(dir.path());
    let model = import(&blocks, &[1; 3 << 20]);
    let longer = import(&blocks, &[[1; 3 << 20].as_slice(), &[2; 100]].concat());
    blocks.pin("model", &model).unwrap();
    let open = |cid: &Cid| blocks.may_read(cid, None, 0).unwrap();
    let leaves = |root: &Cid| ipld::links(&blocks.get(root).unwrap().unwrap()).unwrap();
    let (shared, last) = (leaves(&model)[0], leaves(&longer)[3]);
    assert!(open(&shared) && open(&last));
    blocks.set_class(&longer, Visibility::Private).unwrap();
    assert_eq!([&longer, &last, &shared, &model].map(open), [false, false, true, true]);
    blocks.set_class(&model, Visibility::Private).unwrap();
    assert_eq!([&longer, &last, &shared, &model].map(open), [false; 4]);
}

fn node() -> NodeId {
    // The generator of the curve.
    let hex = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    NodeId::from_bytes(&hex::decode(hex).unwrap()).unwrap()
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
        for (cid, len) in blocks.list(None, 100_000).unwrap() {
            assert!(blocks.get(&cid).unwrap().is_some(), "round {round}: a row without its block");
            bytes += len;
        }
        assert_eq!(blocks.usage().unwrap().used_bytes, bytes);
        assert!(fs::read_dir(dir.path().join("blocks/aside")).unwrap().next().is_none());
    }
}

/// File `n` of the next test: of several blocks, some of them shared with the file before.
fn contents(n: u64) -> Vec<u8> {
    let chunk = |seed: u64| (0..1 << 17).flat_map(move |i| (i * 31 + seed).to_le_bytes());
    (n..n + 4).flat_map(chunk).chain([n as u8]).collect()
}

/// Runs as the child process of `kill_9_leaves_whole_imports`; does nothing otherwise.
#[test]
fn child_imports_until_killed() {
    let Ok(dir) = std::env::var("TALKOO_TEST_IMPORTS") else { return };
    let blocks = open(Path::new(&dir));
    for n in 0.. {
        let hold = blocks.hold();
        let mut sink = |block: Block| {
            blocks.put(&[block], Visibility::Private, Sync::Later).unwrap();
            writeln!(io::stdout(), "\nput").unwrap();
            Ok::<(), io::Error>(())
        };
        let root = crate::import(Profile::default(), &mut &contents(n)[..], 2, &mut sink).unwrap();
        blocks.pin_add(&pin(&format!("{n}"), &root.cid, PinMode::Recursive)).unwrap();
        writeln!(io::stdout(), "\npinned {n}").unwrap();
        drop(hold);
        if n % 3 == 2 {
            blocks.pin_remove(&format!("{}", n - 1)).unwrap();
            blocks.collect().unwrap();
        }
    }
}

#[test]
fn kill_9_leaves_whole_imports() {
    for goal in [1, 4, 7, 11, 18, 23] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "blocks::tests::child_imports_until_killed", "--nocapture"])
            .env("TALKOO_TEST_IMPORTS", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut puts, mut pinned) = (0, None);
        for line in io::BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            puts += u32::from(line == "put");
            pinned = line.strip_prefix("pinned ").map(|n| n.parse::<u64>().unwrap()).or(pinned);
            if puts >= goal {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let blocks = open(dir.path());
        let mut bytes = 0;
        for (cid, len) in blocks.list(None, 100_000).unwrap() {
            assert_eq!(blocks.get(&cid).unwrap().unwrap().bytes().len() as u64, len, "goal {goal}");
            bytes += len;
        }
        assert_eq!(blocks.usage().unwrap().used_bytes, bytes);
        // What was said to be pinned is whole, before and after all else is collected.
        let pins = blocks.pin_list(None, 100).unwrap();
        assert!(pinned.is_none_or(|n| pins.iter().any(|pin| pin.id == n.to_string())), "goal {goal}");
        let mut reached = std::collections::BTreeSet::new();
        for collected in [false, true] {
            for pin in &pins {
                let (mut reader, mut got) = (Reader::new(pin.root), Vec::new());
                while let Some(part) = reader
                    .next(&mut |cid| {
                        reached.insert(*cid);
                        blocks.get(cid)
                    })
                    .unwrap()
                {
                    got.extend_from_slice(&part);
                }
                assert!(got == contents(pin.id.parse().unwrap()), "goal {goal}, file {}, {collected}", pin.id);
            }
            if !collected {
                blocks.collect().unwrap();
            }
        }
        assert_eq!(blocks.usage().unwrap().blocks, reached.len() as u64);
        assert_eq!(blocks.collect().unwrap().orphan_files, 0);
    }
}
