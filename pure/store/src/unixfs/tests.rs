use super::*;
use crate::dagpb;
use crate::limits::CHUNK_BYTES;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::convert::Infallible;

type Blocks = BTreeMap<Cid, Block>;

fn import(data: &[u8], portion: usize) -> (FileRoot, Blocks) {
    let mut blocks = Blocks::new();
    let mut sink = |block: Block| {
        blocks.insert(*block.cid(), block);
        Ok::<(), Infallible>(())
    };
    let mut importer = Importer::new(Profile::default());
    for part in data.chunks(portion) {
        importer.push(part, &mut sink).unwrap();
    }
    let root = importer.finish(&mut sink).unwrap();
    (root, blocks)
}

fn read(root: Cid, blocks: &Blocks) -> Result<Vec<u8>, ReadError<Infallible>> {
    let mut reader = Reader::new(root);
    let mut out = Vec::new();
    while let Some(leaf) = reader.next(&mut |cid| Ok(blocks.get(cid).cloned()))? {
        out.extend_from_slice(&leaf);
    }
    Ok(out)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 31 + i / 251) % 256) as u8).collect()
}

/// The spike's importer, which was compared with ipfs-unixfs-importer 17.1.1: level by level, over
/// an independent DAG-PB writer.
fn reference(data: &[u8]) -> Cid {
    let raw =
        |data: &[u8]| (*Block::of(RAW, data.to_vec().into()).unwrap().cid(), data.len() as u64, data.len() as u64);
    let mut level: Vec<(Cid, u64, u64)> = data.chunks(CHUNK_BYTES).map(raw).collect();
    if data.is_empty() {
        level.push(raw(data));
    }
    while level.len() > 1 {
        let parent = |group: &[(Cid, u64, u64)]| {
            let link =
                |n: &(Cid, u64, u64)| ipld_dagpb::PbLink { cid: n.0, name: Some(String::new()), size: Some(n.2) };
            let sizes: Vec<u64> = group.iter().map(|n| n.1).collect();
            let data = Some(Message::of_branch(&sizes));
            let bytes = ipld_dagpb::PbNode { links: group.iter().map(link).collect(), data }.into_bytes();
            let total = bytes.len() as u64 + group.iter().map(|n| n.2).sum::<u64>();
            (*Block::of(DAG_PB, bytes.into()).unwrap().cid(), sizes.iter().sum(), total)
        };
        level = level.chunks(crate::limits::LINKS_PER_NODE).map(parent).collect();
    }
    level[0].0
}

#[test]
fn hello_world_is_the_vector_of_ipip_499() {
    let (root, _) = import(b"hello world", 4);
    assert_eq!(root.cid.to_string(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
}

#[test]
fn golden_roots() {
    for (len, golden) in GOLDEN {
        let data = pattern(*len);
        let (root, blocks) = import(&data, 300_000);
        assert_eq!(root.cid, reference(&data), "{len}");
        assert_eq!(root.cid.to_string(), *golden, "{len}");
        assert_eq!(root.bytes, *len as u64);
        assert_eq!(read(root.cid, &blocks).unwrap(), data);
    }
}

const GOLDEN: &[(usize, &str)] = &[
    (0, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
    (1 << 20, "bafkreig4nzoemmu6oam7zkmla75c3xey3ydekrciyrl2i7hqbermsadn5m"),
    ((1 << 20) + 1, "bafybeicw2xvlvmbewjqq5b6hybq5y5ryg2lrntnbilzktqjn735sswpmoy"),
    (5_000_000, "bafybeiflmzoezc4xelweo57bextfccynyqpw3hutjmxndultcpwuktbfyu"),
];

#[test]
fn more_leaves_than_one_node_holds() {
    // 1,025 MiB of one repeated byte: two levels of nodes, few distinct blocks.
    let mut blocks = Blocks::new();
    let mut sink = |block: Block| {
        blocks.insert(*block.cid(), block);
        Ok::<(), Infallible>(())
    };
    let chunk = vec![7; CHUNK_BYTES];
    let mut importer = Importer::new(Profile::default());
    for _ in 0..1025 {
        importer.push(&chunk, &mut sink).unwrap();
    }
    let root = importer.finish(&mut sink).unwrap();
    assert_eq!((root.bytes, root.blocks), (1025 << 20, 1025 + 2 + 1));
    let mut reader = Reader::new(root.cid);
    let mut leaves = 0;
    while reader.next(&mut |cid| Ok::<_, Infallible>(blocks.get(cid).cloned())).unwrap().is_some() {
        leaves += 1;
    }
    assert_eq!((leaves, reader.bytes()), (1025, Some(1025 << 20)));
}

#[test]
fn a_missing_block_is_named() {
    let (root, mut blocks) = import(&pattern(3 << 20), 1 << 20);
    let leaf = *blocks.keys().find(|cid| **cid != root.cid).unwrap();
    blocks.remove(&leaf);
    assert_eq!(read(root.cid, &blocks), Err(ReadError::Missing { cid: leaf }));
}

/// A node of `links` with the UnixFS message `data`.
fn hostile(links: &[(Cid, u64)], data: Bytes) -> Block {
    let link = |(cid, size): &(Cid, u64)| dagpb::Link { cid: *cid, name: String::new(), total_bytes: *size };
    let node = dagpb::Node { links: links.iter().map(link).collect(), data };
    Block::of(DAG_PB, node.encode().into()).unwrap()
}

#[test]
fn hostile_files_are_typed_errors() {
    let leaf = Block::of(RAW, vec![1; 10].into()).unwrap();
    let two = |sizes: &[u64]| hostile(&[(*leaf.cid(), 10), (*leaf.cid(), 10)], Message::of_branch(sizes));
    let directory = hostile(&[], Bytes::from_static(&[8, 1]));
    let cases = [
        (two(&[10, 11]), "a leaf shorter than declared"),
        (two(&[20, 0]), "an empty child"),
        (two(&[10]), "a size too few"),
        (directory, "a directory"),
        (hostile(&[], Bytes::from_static(&[0xff; 7])), "no unixfs"),
        (Block::of(DAG_PB, Bytes::from_static(b"\x12\xff\xff")).unwrap(), "no dag-pb"),
        (Block::of(0x71, Bytes::from_static(b"\xa0")).unwrap(), "dag-cbor"),
    ];
    for (root, name) in cases {
        let mut blocks = Blocks::from([(*leaf.cid(), leaf.clone())]);
        let cid = *root.cid();
        blocks.insert(cid, root);
        let result = read(cid, &blocks);
        assert!(matches!(result, Err(ReadError::Node { .. })), "{name}: {result:?}");
    }
}

#[test]
fn a_chain_deeper_than_the_limit_is_refused() {
    let mut below = Block::of(RAW, vec![1; 10].into()).unwrap();
    let mut blocks = Blocks::from([(*below.cid(), below.clone())]);
    for _ in 0..40 {
        below = hostile(&[(*below.cid(), 10)], Message::of_branch(&[10]));
        blocks.insert(*below.cid(), below.clone());
    }
    let result = read(*below.cid(), &blocks);
    assert!(matches!(result, Err(ReadError::Node { source: NodeError::TooDeep, .. })), "{result:?}");
}

proptest! {
    #[test]
    fn any_portions_give_the_same_root(len in 0_usize..3_000_000, portion in 1_usize..2_000_000) {
        let data = pattern(len);
        let (root, blocks) = import(&data, portion);
        prop_assert_eq!(root.cid, reference(&data));
        prop_assert_eq!(read(root.cid, &blocks).unwrap(), data);
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        let _ = dagpb::Node::decode(&bytes);
        let _ = Message::decode(&bytes);
        let _ = Entry::of(&Block::of(DAG_PB, bytes).unwrap());
    }

    #[test]
    fn own_dag_pb_equals_the_library(sizes in proptest::collection::vec(1_u64..1 << 40, 1..20)) {
        let leaf = Block::of(RAW, vec![1; 10].into()).unwrap();
        let links: Vec<(Cid, u64)> = sizes.iter().map(|size| (*leaf.cid(), *size)).collect();
        let block = hostile(&links, Message::of_branch(&sizes));
        let theirs = ipld_dagpb::PbNode::from_bytes(block.bytes().clone()).unwrap();
        prop_assert_eq!(theirs.links.len(), sizes.len());
        prop_assert_eq!(&theirs.into_bytes()[..], &block.bytes()[..]);
    }
}

/// Collects blocks of several imports.
#[derive(Default)]
struct Store(Blocks);

impl Store {
    fn keep(&mut self) -> impl FnMut(Block) -> Result<(), Infallible> + '_ {
        |block| {
            self.0.insert(*block.cid(), block);
            Ok(())
        }
    }

    fn folder(&mut self, profile: Profile, names: &[String]) -> DirRoot {
        let mut dir = DirBuilder::new(profile);
        for name in names {
            // Every entry is a leaf of its own, so that a lookup can be told from another.
            let leaf = profile.leaf(name.clone().into());
            dir.add(name, *leaf.block.cid(), leaf.block.bytes().len() as u64).unwrap();
        }
        dir.finish(&mut self.keep()).unwrap()
    }

    fn lookup(&self, dir: Cid, name: &str) -> Result<Option<Link>, ReadError<Infallible>> {
        lookup(&dir, name, &mut |cid| Ok(self.0.get(cid).cloned()))
    }

    fn names(&self, dir: Cid) -> Result<Vec<String>, ReadError<Infallible>> {
        let mut names = Vec::new();
        list(&dir, &mut |cid| Ok(self.0.get(cid).cloned()), &mut |link| {
            names.push(link.name);
            std::ops::ControlFlow::Continue(())
        })?;
        Ok(names)
    }
}

#[test]
fn known_cids() {
    let file = |profile, data: &[u8]| {
        let mut importer = Importer::new(profile);
        importer.push(data, &mut Store::default().keep()).unwrap();
        importer.finish(&mut Store::default().keep()).unwrap().cid.to_string()
    };
    let folder = |profile| Store::default().folder(profile, &[]).cid.to_string();
    // IPIP-499, "Test fixtures", and the UnixFS specification's.
    let hello = "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD";
    assert_eq!(file(Profile::V0_2015, b"hello world"), hello);
    assert_eq!(file(Profile::V0_2015, b""), "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
    assert_eq!(folder(Profile::V0_2015), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    assert_eq!(folder(Profile::V1_2025), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
}

#[test]
fn directories_are_sharded_above_the_threshold() {
    // Names of eight bytes: 8 + 34 each by one count, 52 each and 4 by the other.
    let cases = [(Profile::V0_2015, 6241), (Profile::V1_2025, 5041)];
    for (profile, most) in cases {
        for (count, is_sharded) in [(most, false), (most + 1, true), (3 * most, true)] {
            let names: Vec<String> = (0..count).map(|i| format!("{i:08}")).collect();
            let mut store = Store::default();
            let root = store.folder(profile, &names);
            assert_eq!(root.blocks > 1, is_sharded, "{profile:?} {count}");
            assert_eq!(store.0.len() as u64, root.blocks);
            let mut listed = store.names(root.cid).unwrap();
            listed.sort();
            assert_eq!(listed, names);
            for name in names.iter().step_by(97) {
                let link = store.lookup(root.cid, name).unwrap().unwrap();
                assert_eq!(link.cid, *profile.leaf(name.clone().into()).block.cid());
            }
            assert_eq!(store.lookup(root.cid, "nowhere"), Ok(None));
        }
    }
}

#[test]
fn names_that_cannot_stand_in_a_directory() {
    let mut dir = DirBuilder::new(Profile::default());
    let cid = *Profile::default().leaf(Bytes::new()).block.cid();
    for name in ["", ".", "..", "a/b", "a\0"] {
        assert!(matches!(dir.add(name, cid, 0), Err(NameError::Malformed { .. })), "{name:?}");
    }
    assert_eq!(dir.add(&"é".repeat(128), cid, 0), Err(NameError::TooLong { bytes: 256 }));
    dir.add(&"x".repeat(255), cid, 0).unwrap();
    dir.add("..a", cid, 0).unwrap();
    assert_eq!(dir.add("..a", cid, 0), Err(NameError::Twice { name: "..a".into() }));
}

#[test]
fn paths() {
    let mut store = Store::default();
    let profile = Profile::default();
    let leaf = profile.leaf(Bytes::from_static(b"content")).block;
    let mut inner = DirBuilder::new(profile);
    inner.add("a b", *leaf.cid(), 7).unwrap();
    let inner = inner.finish(&mut store.keep()).unwrap();
    let json = format!(r#"{{"list":[1,{{"/":"{}"}},{{"deep":[null]}}]}}"#, inner.cid);
    let cbor = crate::ipld::from_dag_json(json.as_bytes(), crate::DAG_CBOR).unwrap();
    let link = symlink(profile, "../elsewhere").unwrap();
    let mut outer = DirBuilder::new(profile);
    for (name, cid) in [("in", inner.cid), ("cbor", *cbor.cid()), ("link", *link.cid())] {
        outer.add(name, cid, 0).unwrap();
    }
    let root = outer.finish(&mut store.keep()).unwrap().cid;
    for block in [&leaf, &cbor, &link] {
        store.keep()(block.clone()).unwrap();
    }
    assert_eq!(Entry::of(&link), Ok(Entry::Symlink("../elsewhere".into())));
    let to = |path| resolve(root, path, &mut |cid| Ok::<_, Infallible>(store.0.get(cid).cloned()));
    let cases: &[(&str, Cid, usize, &[&str])] = &[
        ("", root, 0, &[]),
        ("/in//a b/", *leaf.cid(), 2, &[]),
        ("cbor", *cbor.cid(), 1, &[]),
        ("cbor/list/2/deep", *cbor.cid(), 1, &["list", "2", "deep"]),
        ("cbor/list/1", inner.cid, 2, &[]),
        ("cbor/list/1/a b", *leaf.cid(), 3, &[]),
        ("link", *link.cid(), 1, &[]),
    ];
    for (path, cid, parents, rest) in cases {
        let found = to(path).unwrap();
        assert_eq!(
            (found.cid, found.parents.len(), found.rest),
            (*cid, *parents, rest.iter().map(ToString::to_string).collect()),
            "{path}"
        );
    }
    for path in ["nothing", "in/nothing", "cbor/list/3", "cbor/list/1/x", "cbor/list/0/x"] {
        assert!(matches!(to(path), Err(PathError::NoLink { .. })), "{path}");
    }
    for path in ["in/a b/c", "link/c"] {
        let result = to(path);
        assert!(
            matches!(result, Err(PathError::Read(ReadError::Node { source: NodeError::NotADirectory, .. }))),
            "{path} {result:?}"
        );
    }
}

#[test]
fn mode_and_mtime_are_read() {
    // Type 1, mode 0o644, mtime 5 s and 7 ns.
    let data = [&[8, 1, 0x38, 0xa4, 3, 0x42, 7, 8, 5, 0x15][..], &[7, 0, 0, 0]].concat();
    let block = hostile(&[], data.into());
    let meta = Meta { mode: Some(0o644), mtime: Some(Mtime { seconds: 5, nanos: 7 }) };
    assert_eq!(Meta::of(&block), Ok(meta));
    assert_eq!(Entry::of(&block), Ok(Entry::Dir(vec![])));
}

#[test]
fn hostile_shards_are_typed_errors() {
    let leaf = Profile::default().leaf(Bytes::from_static(b"x")).block;
    let shard = |name: &str, bits: &[u8], fanout: u64, cid: &Cid| {
        let link = Link { cid: *cid, name: name.to_owned(), total_bytes: 1 };
        Block::of(DAG_PB, Node { links: vec![link], data: Message::of_shard(bits, fanout) }.encode().into()).unwrap()
    };
    assert!(Entry::of(&shard("03a", &[8], 256, leaf.cid())).is_ok());
    assert!(Entry::of(&shard("3a", &[8], 16, leaf.cid())).is_ok());
    assert!(Entry::of(&shard("003a", &[8], 1024, leaf.cid())).is_ok());
    let cases: &[(&str, &[u8], u64)] = &[
        ("04a", &[8], 256),
        ("3a", &[8], 256),
        ("a", &[8], 256),
        ("03a", &[9], 256),
        ("03a", &[], 256),
        ("03a", &[8; 33], 256),
        ("03a", &[8], 255),
        ("03a", &[8], 0),
        ("003a", &[8], 2048),
        ("3a", &[8], 4),
        ("0éa", &[8], 256),
    ];
    for (name, bits, fanout) in cases {
        assert!(Entry::of(&shard(name, bits, *fanout, leaf.cid())).is_err(), "{name} {bits:?} {fanout}");
    }
    // A chain of shards under the slots of one name ends with its hash's bits; so does one of other widths.
    let mut below = shard("00a", &[1], 256, leaf.cid());
    let mut store = Store(Blocks::from([(*below.cid(), below.clone())]));
    for _ in 0..9 {
        below = shard("00", &[1], 256, below.cid());
        store.keep()(below.clone()).unwrap();
    }
    let too_deep = |result| matches!(result, Err(ReadError::Node { source: NodeError::TooDeep, .. }));
    assert!(too_deep(store.names(*below.cid()).map(|_| ())));
    let narrow = shard("0", &[1], 16, below.cid());
    let file = shard("00", &[1], 256, leaf.cid());
    let empty = shard("00", &[1], 256, hostile(&[], Message::of_shard(&[], 256)).cid());
    for block in [hostile(&[], Message::of_shard(&[], 256)), leaf, narrow.clone(), file.clone(), empty.clone()] {
        store.keep()(block).unwrap();
    }
    for root in [narrow, file, empty] {
        assert!(matches!(store.names(*root.cid()), Err(ReadError::Node { .. })));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn ranges_equal_slices(len in 0_usize..3_000_000, from in 0_usize..3_200_000, to in 0_usize..3_200_000, v0: bool) {
        let profile = if v0 { Profile::V0_2015 } else { Profile::V1_2025 };
        let data = pattern(len);
        let (mut store, mut importer) = (Store::default(), Importer::new(profile));
        for chunk in data.chunks(profile.chunk_bytes()) {
            importer.push_leaf(profile.leaf(Bytes::copy_from_slice(chunk)), &mut store.keep()).unwrap();
        }
        let root = importer.finish(&mut store.keep()).unwrap();
        let mut portions = Importer::new(profile);
        portions.push(&data, &mut Store::default().keep()).unwrap();
        prop_assert_eq!(portions.finish(&mut Store::default().keep()).unwrap(), root);
        let (mut reader, mut got, mut asked) = (Reader::range(root.cid, from as u64..to as u64), Vec::new(), 0);
        while let Some(part) = reader.next(&mut |cid| { asked += 1; Ok::<_, Infallible>(store.0.get(cid).cloned()) }).unwrap() {
            got.extend_from_slice(&part);
        }
        let expected = data.get(from.min(len)..to.min(len)).unwrap_or_default();
        prop_assert_eq!(&got, expected);
        prop_assert_eq!(reader.bytes(), Some(len as u64));
        prop_assert!(asked <= 3 + expected.len() / profile.chunk_bytes());
    }
}
