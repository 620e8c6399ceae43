use super::*;
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
    let mut importer = Importer::new();
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
            let data = Some(Message::of_branch(&sizes).into());
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
    let mut importer = Importer::new();
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
fn hostile(links: &[(Cid, u64)], data: Vec<u8>) -> Block {
    let link = |(cid, size): &(Cid, u64)| dagpb::Link { cid: *cid, name: String::new(), total_bytes: *size };
    let node = dagpb::Node { links: links.iter().map(link).collect(), data };
    Block::of(DAG_PB, node.encode().into()).unwrap()
}

#[test]
fn hostile_files_are_typed_errors() {
    let leaf = Block::of(RAW, vec![1; 10].into()).unwrap();
    let two = |sizes: &[u64]| hostile(&[(*leaf.cid(), 10), (*leaf.cid(), 10)], Message::of_branch(sizes));
    let directory = hostile(&[], vec![8, 1]);
    let cases = [
        (two(&[10, 11]), "a leaf shorter than declared"),
        (two(&[20, 0]), "an empty child"),
        (two(&[10]), "a size too few"),
        (directory, "a directory"),
        (hostile(&[], vec![0xff; 7]), "no unixfs"),
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
        let _ = dagpb::Node::decode(&bytes);
        let _ = Message::decode(&bytes);
        let _ = FileNode::of(&Block::of(DAG_PB, bytes.into()).unwrap());
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
