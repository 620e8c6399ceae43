//! A sealed object of a stranger who has the key: never a panic, and whatever opens at both ends and in each of its leaves is what
//! sealing its content gives.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;
use talkoo_store::seal::stream::{ContentKey, HEADER_BYTES, LEAF_BYTES, Opened, Sealer};

fuzz_target!(|input: (u32, u32, u8, bool, &[u8])| {
    let (at, len, change, is_cut, bytes) = input;
    let key = ContentKey::new([7; 32]);
    drop(Opened::new(&key, u64::from(at), bytes, bytes));
    let content: Vec<u8> = bytes.iter().cycle().take(if bytes.is_empty() { 0 } else { len as usize % (3 << 20) }).copied().collect();
    let mut sealed = Vec::new();
    let mut sink = |leaf: Vec<u8>| {
        sealed.extend(leaf);
        Ok::<(), Infallible>(())
    };
    let mut sealer = Sealer::new(&key, [1; 19]);
    sealer.push(&content, &mut sink).unwrap();
    sealer.finish(&mut sink).unwrap();
    let at = at as usize % sealed.len();
    if is_cut {
        sealed.truncate(at);
    } else {
        sealed[at] ^= change;
    }
    let is_same = !is_cut && change == 0;
    let last = sealed.len().saturating_sub(1) / LEAF_BYTES * LEAF_BYTES;
    let first = &sealed[..sealed.len().min(HEADER_BYTES)];
    let Ok(opened) = Opened::new(&key, sealed.len() as u64, first, &sealed[last..]) else { return assert!(!is_same) };
    let mut plain = Vec::new();
    for (index, leaf) in sealed.chunks(LEAF_BYTES).enumerate() {
        let mut leaf = leaf.to_vec();
        let Ok((_, range)) = opened.open(index as u64, &mut leaf) else { return assert!(!is_same) };
        plain.extend_from_slice(&leaf[range]);
    }
    assert!(is_same && plain == content);
});
