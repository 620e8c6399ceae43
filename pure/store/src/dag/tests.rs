use super::*;
use crate::block::DAG_CBOR;
use crate::limits::CHUNK_BYTES;
use crate::unixfs::{DirBuilder, Importer, Profile, resolve};
use std::collections::BTreeMap;
use std::convert::Infallible;

type Blocks = BTreeMap<Cid, Block>;

/// A folder with a file of four chunks, of which two are equal, a sharded folder, and a DAG-CBOR block.
fn world() -> (Cid, Blocks) {
    let mut blocks = Blocks::new();
    let mut sink = |block: Block| {
        blocks.insert(*block.cid(), block);
        Ok::<(), Infallible>(())
    };
    let mut importer = Importer::new(Profile::default());
    for byte in [1, 2, 1, 3] {
        importer.push(&vec![byte; CHUNK_BYTES], &mut sink).unwrap();
    }
    let file = importer.finish(&mut sink).unwrap();
    let leaf = Block::of(crate::RAW, vec![9; 10].into()).unwrap();
    let mut wide = DirBuilder::new(Profile::default());
    for i in 0..6000 {
        wide.add(&format!("entry {i}"), *leaf.cid(), 10).unwrap();
    }
    let wide = wide.finish(&mut sink).unwrap();
    let json = format!(r#"{{"a":{{"/":"{}"}},"b":{{"c":{{"/":"{}"}}}}}}"#, file.cid, leaf.cid());
    let cbor = ipld::from_dag_json(json.as_bytes(), DAG_CBOR).unwrap();
    let mut dir = DirBuilder::new(Profile::default());
    dir.add("file", file.cid, file.total_bytes).unwrap();
    dir.add("wide", wide.cid, wide.total_bytes).unwrap();
    dir.add("cbor", *cbor.cid(), 100).unwrap();
    let root = dir.finish(&mut sink).unwrap();
    for block in [leaf, cbor] {
        sink(block).unwrap();
    }
    (root.cid, blocks)
}

fn walk(root: Cid, blocks: &Blocks, path: &str, options: Options) -> Vec<Block> {
    let mut get = |cid: &Cid| Ok::<_, Infallible>(blocks.get(cid).cloned());
    let target = resolve(root, path, &mut get).unwrap();
    let (mut walk, mut out) = (Walk::new(&target, options), Vec::new());
    while let Some(block) = walk.next(&mut get).unwrap() {
        out.push(block);
    }
    out
}

fn options(scope: Scope, bytes: Option<(i64, Option<i64>)>, dups: Dups) -> Options {
    Options { scope, bytes: bytes.map(|(from, to)| ByteRange { from, to }), dups }
}

/// The first bytes of the blocks: leaves of the file are told apart by them.
fn leaves(blocks: &[Block]) -> Vec<u8> {
    blocks.iter().filter(|block| block.cid().codec() == crate::RAW).map(|block| block.bytes()[0]).collect()
}

#[test]
fn parts_of_a_file() {
    let (root, blocks) = world();
    let chunk = CHUNK_BYTES as i64;
    type Part = Option<(i64, Option<i64>)>;
    let cases: &[(Part, Dups, &[u8])] = &[
        (None, Dups::Skip, &[1, 2, 3]),
        (None, Dups::Keep, &[1, 2, 1, 3]),
        (Some((0, None)), Dups::Skip, &[1, 2, 3]),
        (Some((0, Some(0))), Dups::Skip, &[1]),
        (Some((chunk, Some(chunk))), Dups::Skip, &[2]),
        (Some((chunk - 1, Some(chunk))), Dups::Skip, &[1, 2]),
        (Some((chunk - 1, Some(2 * chunk))), Dups::Keep, &[1, 2, 1]),
        (Some((-1, None)), Dups::Skip, &[3]),
        (Some((-chunk - 1, Some(-chunk - 1))), Dups::Skip, &[1]),
        (Some((1, Some(-3 * chunk))), Dups::Skip, &[1, 2]),
        (Some((-100 * chunk, Some(0))), Dups::Skip, &[1]),
        (Some((5, Some(4))), Dups::Skip, &[]),
        (Some((4 * chunk, None)), Dups::Skip, &[]),
        (Some((0, Some(-100 * chunk))), Dups::Skip, &[]),
        (Some((i64::MIN, Some(i64::MAX))), Dups::Skip, &[1, 2, 3]),
    ];
    for (bytes, dups, expected) in cases {
        let got = walk(root, &blocks, "file", options(Scope::Entity, *bytes, *dups));
        assert_eq!(leaves(&got), *expected, "{bytes:?} {dups:?}");
        assert_eq!(got.len(), 2 + expected.len(), "the folder, the file's root, leaves");
        assert_eq!(got[0].cid(), &root);
    }
}

#[test]
fn scopes() {
    let (root, blocks) = world();
    let count = |path, scope| walk(root, &blocks, path, options(scope, None, Dups::Skip)).len();
    assert_eq!(count("", Scope::All), blocks.len());
    assert_eq!([count("", Scope::Block), count("file", Scope::Block), count("cbor", Scope::Entity)], [1, 2, 2]);
    assert_eq!(count("", Scope::Entity), 1);
    // A sharded folder: its shards, without the one leaf that all entries are.
    let shards = count("wide", Scope::Entity);
    assert_eq!(count("wide", Scope::All), shards + 1);
    assert!(shards > 250);
    // Inside a DAG-CBOR block: only what is below the value named.
    assert_eq!(count("cbor/b", Scope::All), 3);
    assert_eq!(count("cbor", Scope::All), 2 + 4 + 1);
    assert_eq!(count("cbor/a", Scope::All), 2 + 4);
    // The blocks that lead to an entry of a sharded folder come first.
    let path = walk(root, &blocks, "wide/entry 77", Options::default());
    assert_eq!(path[0].cid(), &root);
    assert_eq!(leaves(&path), [9]);
    assert!((3..6).contains(&path.len()));
}

#[test]
fn parents_come_before_children_depth_first() {
    let (root, blocks) = world();
    let got = walk(root, &blocks, "", options(Scope::All, None, Dups::Keep));
    // Recursion as the definition says.
    fn visit(cid: &Cid, blocks: &Blocks, out: &mut Vec<Cid>) {
        out.push(*cid);
        for link in ipld::links(&blocks[cid]).unwrap() {
            visit(&link, blocks, out);
        }
    }
    let mut expected = Vec::new();
    visit(&root, &blocks, &mut expected);
    assert_eq!(got.iter().map(|block| *block.cid()).collect::<Vec<_>>(), expected);
    let once = walk(root, &blocks, "", Options::default());
    let mut seen = std::collections::BTreeSet::new();
    expected.retain(|cid| seen.insert(*cid));
    assert_eq!(once.iter().map(|block| *block.cid()).collect::<Vec<_>>(), expected);
}

#[test]
fn identity_blocks_are_not_handed_out() {
    let inlined = Cid::new_v1(crate::RAW, cid::multihash::Multihash::wrap(0, b"inlined").unwrap());
    let root = ipld::from_dag_json(format!(r#"[{{"/":"{inlined}"}}]"#).as_bytes(), DAG_CBOR).unwrap();
    let blocks = Blocks::from([(*root.cid(), root.clone())]);
    assert_eq!(walk(*root.cid(), &blocks, "", Options::default()), [root]);
    assert_eq!(walk(inlined, &blocks, "", Options::default()), []);
}

#[test]
fn what_unfolds_without_end_is_bounded() {
    // Each of 60 nodes links twice to the one below: 2^60 ways, 61 blocks.
    let mut below = Block::of(crate::RAW, vec![1].into()).unwrap();
    let mut blocks = Blocks::from([(*below.cid(), below.clone())]);
    for _ in 0..60 {
        let json = format!(r#"[{{"/":"{0}"}},{{"/":"{0}"}}]"#, below.cid());
        below = ipld::from_dag_json(json.as_bytes(), DAG_CBOR).unwrap();
        blocks.insert(*below.cid(), below.clone());
    }
    assert_eq!(walk(*below.cid(), &blocks, "", Options::default()).len(), 61);
}
