use super::*;
use std::sync::Arc;
use talkoo_disk::BlocksConfig;
use talkoo_store::unixfs::{DirBuilder, symlink};

struct Place {
    dir: tempfile::TempDir,
    blocks: Arc<Blocks>,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let blocks = Arc::new(Blocks::open(dir.path().join("store"), BlocksConfig::default()).unwrap());
    Place { dir, blocks }
}

fn key() -> ContentKey {
    ContentKey::new([7; 32])
}

fn plain(place: &Place, root: Cid) -> Plain {
    Plain::open(place.blocks.clone(), root, &key()).unwrap()
}

#[test]
fn a_file_comes_back_from_any_place() {
    let place = place();
    let path = place.dir.path().join("file");
    for len in [0_usize, 1, 5_000, 1 << 20, (3 << 20) + 77] {
        let data: Vec<u8> = (0..len).map(|i| (i / 256 + i) as u8).collect();
        fs::write(&path, &data).unwrap();
        let sealed = seal(&place.blocks, &key(), [1; 19], &path).unwrap();
        assert_eq!((sealed.kind, sealed.bytes), (Kind::File, len as u64));
        let mut reader = plain(&place, sealed.root);
        let mut whole = Vec::new();
        reader.read_to_end(&mut whole).unwrap();
        assert!(whole == data, "{len}");
        for at in [len / 3, len / 2, len.saturating_sub(1)] {
            reader.seek(SeekFrom::Start(at as u64)).unwrap();
            let mut part = vec![0; 100.min(len - at)];
            reader.read_exact(&mut part).unwrap();
            assert_eq!(part, data[at..at + part.len()], "{len} at {at}");
        }
        assert!(Plain::open(place.blocks.clone(), sealed.root, &ContentKey::new([8; 32])).is_err());
        let to = place.dir.path().join(format!("out-{len}"));
        assert_eq!(export(plain(&place, sealed.root), Kind::File, &to).unwrap(), len as u64);
        assert!(fs::read(to).unwrap() == data);
    }
}

#[test]
fn names_and_sizes_in_a_folder_are_hidden_and_come_back() {
    let place = place();
    let folder = place.dir.path().join("folder");
    fs::create_dir_all(folder.join("deep/deeper")).unwrap();
    fs::create_dir(folder.join("empty")).unwrap();
    fs::write(folder.join("deep/secret-name"), vec![9; 1_300_000]).unwrap();
    fs::write(folder.join("deep/deeper/b"), b"b").unwrap();
    // What is the same again and again comes back as often.
    for name in ["one", "two", "three", "four"] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("same"), vec![0; 5 << 20]).unwrap();
        fs::write(folder.join(name).join("small"), b"").unwrap();
    }
    let sealed = seal(&place.blocks, &key(), [1; 19], &folder).unwrap();
    assert_eq!(sealed.kind, Kind::Folder);
    for (cid, _) in place.blocks.list(None, 100).unwrap() {
        let bytes = place.blocks.get(&cid).unwrap().unwrap();
        assert!(!bytes.bytes().windows(11).any(|window| window == b"secret-name"));
    }
    let to = place.dir.path().join("out");
    export(plain(&place, sealed.root), Kind::Folder, &to).unwrap();
    assert_eq!(fs::read(to.join("deep/secret-name")).unwrap(), vec![9; 1_300_000]);
    assert_eq!(fs::read(to.join("deep/deeper/b")).unwrap(), b"b");
    assert!(to.join("empty").is_dir());
    assert_eq!(fs::read(to.join("four/same")).unwrap(), vec![0; 5 << 20]);
}

#[test]
fn no_more_comes_out_than_is_in() {
    let place = place();
    let mut blocks = vec![Block::of(talkoo_store::RAW, bytes::Bytes::from_static(b"a")).unwrap()];
    for _ in 0..12 {
        let of = *blocks.last().unwrap().cid();
        let mut dir = DirBuilder::new(PROFILE);
        ["a", "b"].iter().for_each(|name| dir.add(name, of, 1).unwrap());
        dir.finish(&mut |block: Block| {
            blocks.push(block);
            Ok::<(), io::Error>(())
        })
        .unwrap();
    }
    let sealed = hostile(&place, *blocks.last().unwrap().cid(), &blocks);
    let why = export(plain(&place, sealed), Kind::Folder, &place.dir.path().join("out")).unwrap_err();
    assert!(format!("{why:#}").contains("than is in it"), "{why:#}");
}

/// Seals a CAR that no honest program made.
fn hostile(place: &Place, root: Cid, blocks: &[Block]) -> Cid {
    let car: Vec<u8> = [car::header(&[root])].into_iter().chain(blocks.iter().map(car::frame)).flatten().collect();
    let path = place.dir.path().join("car");
    fs::write(&path, car).unwrap();
    seal(&place.blocks, &key(), [1; 19], &path).unwrap().root
}

#[test]
fn nothing_is_written_outside_the_folder() {
    let place = place();
    let leaf = Block::of(talkoo_store::RAW, bytes::Bytes::from_static(b"owned")).unwrap();
    let folder = |name: &str, of: &Block| {
        let (mut dir, mut blocks) = (DirBuilder::new(PROFILE), vec![of.clone()]);
        // Names that a folder of ours refuses are written by hand.
        let stand_in = "x".repeat(name.len());
        dir.add(&stand_in, *of.cid(), 1).unwrap();
        dir.finish(&mut |block: Block| {
            let bytes = block.bytes().to_vec();
            let at = bytes.windows(name.len()).rposition(|window| window == stand_in.as_bytes()).unwrap();
            let bytes = [&bytes[..at], name.as_bytes(), &bytes[at + name.len()..]].concat();
            blocks.push(Block::of(talkoo_store::DAG_PB, bytes.into()).unwrap());
            Ok::<(), io::Error>(())
        })
        .unwrap();
        (*blocks.last().unwrap().cid(), blocks)
    };
    let to = place.dir.path().join("out");
    for name in ["..", "../../evil", "/etc/evil", "a/b", "."] {
        let (root, blocks) = folder(name, &leaf);
        let sealed = hostile(&place, root, &blocks);
        assert!(export(plain(&place, sealed), Kind::Folder, &to).is_err(), "{name}");
        assert!(!to.exists() && !place.dir.path().join("evil").exists(), "{name}");
    }
    for target in ["/etc", "..", "../..", "a/../../..", "a/.."] {
        let (root, blocks) = folder("link", &symlink(PROFILE, target).unwrap());
        let sealed = hostile(&place, root, &blocks);
        assert!(export(plain(&place, sealed), Kind::Folder, &to).is_err(), "{target}");
    }
    let (root, blocks) = folder("fine", &leaf);
    let missing = hostile(&place, root, &blocks[1..]);
    assert!(export(plain(&place, missing), Kind::Folder, &to).is_err(), "a block is missing");
    let whole = hostile(&place, root, &blocks);
    export(plain(&place, whole), Kind::Folder, &to).unwrap();
    assert_eq!(fs::read(to.join("fine")).unwrap(), b"owned");
}
