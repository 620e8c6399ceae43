//! Blocks of strangers as UnixFS: never a panic; what is read, listed and looked up ends.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;
use std::ops::ControlFlow;
use talkoo_store::unixfs::{Entry, FileNode, Meta, Reader, list, resolve};
use talkoo_store::{Block, DAG_PB};

fuzz_target!(|bytes: &[u8]| {
    let Ok(block) = Block::of(DAG_PB, Bytes::copy_from_slice(bytes)) else { return };
    let cid = *block.cid();
    // Every CID gives the same block: links lead round in circles, as far as bounds let them.
    let mut gets = 0;
    let mut get = |_: &_| {
        gets += 1;
        Ok::<_, Infallible>((gets < 1000).then(|| block.clone()))
    };
    let _ = Meta::of(&block);
    match Entry::of(&block) {
        Ok(Entry::File(FileNode::Leaf(data))) => assert!(data.len() <= bytes.len()),
        Ok(Entry::File(FileNode::Branch { children, bytes })) => {
            assert_eq!(children.iter().map(|child| child.bytes).sum::<u64>(), bytes);
        }
        Ok(Entry::Shard(shard)) => assert!(shard.slots().count() <= shard.fanout() as usize),
        Ok(Entry::Dir(_) | Entry::Symlink(_)) | Err(_) => {}
    }
    let mut reader = Reader::range(cid, 3..1000);
    let mut sum = 0;
    while let Ok(Some(part)) = reader.next(&mut get) {
        sum += part.len();
    }
    assert!(sum <= 997);
    let mut names = 0;
    let _ = list(&cid, &mut get, &mut |_| {
        names += 1;
        if names < 10_000 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let _ = resolve(cid, "a/b/c", &mut get);
});
