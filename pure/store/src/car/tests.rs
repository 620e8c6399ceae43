use super::*;
use crate::block::{DAG_CBOR, RAW};
use proptest::collection::vec;
use proptest::prelude::*;

fn block(seed: &[u8]) -> Block {
    Block::of(RAW, Bytes::copy_from_slice(seed)).unwrap()
}

fn v1(roots: &[Cid], blocks: &[Block]) -> Vec<u8> {
    blocks.iter().fold(header(roots), |car, block| [car, frame(block)].concat())
}

fn v2(inner: &[u8], padding: usize, index: &[u8]) -> Vec<u8> {
    let offset = 51 + padding as u64;
    let words = [offset, inner.len() as u64, offset + inner.len() as u64].map(u64::to_le_bytes).concat();
    [&PRAGMA_V2[..], &[0; 16], &words, &vec![0; padding], inner, index].concat()
}

fn read(car: &[u8], portion: usize) -> Result<(Vec<Cid>, Vec<Block>), CarError> {
    let (mut decoder, mut roots, mut blocks) = (Decoder::default(), Vec::new(), Vec::new());
    for part in car.chunks(portion) {
        decoder.push(part);
        while let Some(item) = decoder.next()? {
            match item {
                Item::Roots(found) => roots = found,
                Item::Block(block) => blocks.push(block),
            }
        }
    }
    decoder.finish()?;
    Ok((roots, blocks))
}

#[test]
fn golden_bytes() {
    let one = block(b"hello world");
    let car = v1(&[*one.cid()], std::slice::from_ref(&one));
    let hex: String = car.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
    let golden = format!(
        "3aa265726f6f747381d82a58250001551220{digest}6776657273696f6e01\
         2f01551220{digest}68656c6c6f20776f726c64"
    );
    assert_eq!(hex, golden);
}

#[test]
fn damage_is_typed() {
    let one = block(b"hello world");
    let car = v1(&[*one.cid()], std::slice::from_ref(&one));
    let mut changed = car.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert!(matches!(read(&changed, 7), Err(CarError::BadBlock { at: 59, .. })));
    for end in 0..car.len() {
        let is_whole = end == header(&[*one.cid()]).len();
        assert_eq!(read(&car[..end], 5).is_ok(), is_whole, "{end}");
    }
    let huge = [&header(&[])[..], &[0xff, 0xff, 0xff, 0x7f]].concat();
    assert!(matches!(read(&huge, 9), Err(CarError::TooLarge { bytes: 268_435_455, .. })));
    assert!(matches!(read(&[header(&[]), vec![0]].concat(), 9), Err(CarError::BadFrame { .. })));
    assert!(matches!(read(&[0xff; 20], 3), Err(CarError::BadFrame { at: 0 })));
    assert_eq!(read(&[&[1], &b"\x00"[..]].concat(), 3), Err(CarError::BadHeader));
    // The v1 inside a v2 may not go on behind its end, nor begin before the header's.
    let mut short = v2(&car, 0, b"index");
    short[11 + 24] -= 1;
    assert!(matches!(read(&short, 64), Err(CarError::BadFrame { .. })));
    let mut early = v2(&car, 0, b"index");
    early[11 + 16] = 50;
    assert_eq!(read(&early, 64), Err(CarError::BadHeader));
}

#[test]
fn identity_blocks_are_passed_over() {
    let cid = Cid::new_v1(RAW, cid::multihash::Multihash::wrap(0, b"inlined").unwrap());
    let identity = |data: &[u8]| {
        let frame = [&cid.to_bytes(), data].concat();
        [header(&[cid]), vec![frame.len() as u8], frame].concat()
    };
    assert_eq!(read(&identity(b"inlined"), 3), Ok((vec![cid], vec![])));
    assert!(matches!(read(&identity(b"another"), 3), Err(CarError::BadBlock { .. })));
}

proptest! {
    #[test]
    fn round_trip_in_any_portions(
        seeds in vec(vec(any::<u8>(), 0..3000), 0..8), portion in 1_usize..5000, padding in 0_usize..200, codec in 0_usize..2,
    ) {
        let codec = [RAW, DAG_CBOR][codec];
        let blocks: Vec<Block> = seeds.into_iter().map(|seed| Block::of(codec, seed.into()).unwrap()).collect();
        let roots: Vec<Cid> = blocks.iter().take(2).map(|block| *block.cid()).collect();
        let car = v1(&roots, &blocks);
        prop_assert_eq!(read(&car, portion), Ok((roots.clone(), blocks.clone())));
        prop_assert_eq!(read(&v2(&car, padding, b"some index"), portion), Ok((roots, blocks)));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), portion in 1_usize..50) {
        let _ = read(&bytes, portion);
        let _ = read(&[&header(&[])[..], &bytes].concat(), portion);
        let _ = read(&[&PRAGMA_V2[..], &bytes].concat(), portion);
    }
}
