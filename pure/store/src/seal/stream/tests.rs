use super::*;
use proptest::prelude::*;
use std::convert::Infallible;

const FIRST: usize = LEAF_BYTES - HEADER_BYTES - TAG_BYTES;

fn key(byte: u8) -> ContentKey {
    ContentKey::new([byte; 32])
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i / 251 + i) as u8).collect()
}

fn seal(key: &ContentKey, prefix: u8, plain: &[u8], portion: usize) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    let mut sink = |leaf| {
        leaves.push(leaf);
        Ok::<(), Infallible>(())
    };
    let mut sealer = Sealer::new(key, [prefix; PREFIX_BYTES]);
    for part in plain.chunks(portion) {
        sealer.push(part, &mut sink).unwrap();
    }
    assert_eq!(sealer.finish(&mut sink), Ok(plain.len() as u64));
    leaves
}

fn open(key: &ContentKey, leaves: &[Vec<u8>]) -> Result<Vec<u8>, StreamError> {
    let sealed = leaves.iter().map(|leaf| leaf.len() as u64).sum();
    let first = leaves.first().map_or(&[][..], |leaf| leaf);
    let opened = Opened::new(key, sealed, first, leaves.last().map_or(&[][..], |leaf| leaf))?;
    let mut plain = Vec::new();
    for (index, leaf) in leaves.iter().enumerate() {
        let mut leaf = leaf.clone();
        let (start, range) = opened.open(index as u64, &mut leaf)?;
        assert!(range.is_empty() || start == plain.len() as u64);
        plain.extend_from_slice(&leaf[range]);
    }
    assert_eq!(plain.len() as u64, opened.bytes());
    Ok(plain)
}

#[test]
fn every_length_comes_back_in_whole_leaves() {
    for len in [0, 1, 7, 100, FIRST - 9, FIRST - 8, FIRST - 7, FIRST, FIRST + 1, FIRST + 9, 2 << 20, (3 << 20) + 12_345]
    {
        let plain = content(len);
        let leaves = seal(&key(7), 1, &plain, 77_777);
        assert_eq!(leaves, seal(&key(7), 1, &plain, LEAF_BYTES * 2), "portions of {len}");
        let total: usize = leaves.iter().map(Vec::len).sum();
        assert_eq!(total as u64, sealed_bytes(len as u64), "{len}");
        assert!(leaves[..leaves.len() - 1].iter().all(|leaf| leaf.len() == LEAF_BYTES));
        assert!(len < 1_000 || total < len * 113 / 100 + 200, "{len} became {total}");
        assert_eq!(open(&key(7), &leaves).unwrap(), plain, "{len}");
        assert_eq!(open(&key(8), &leaves), Err(StreamError::WrongKey));
    }
}

#[test]
fn lengths_are_padded_as_the_paper_says() {
    let cases = [
        (0, 0),
        (1, 1),
        (2, 2),
        (8, 8),
        (9, 10),
        (15, 16),
        (17, 18),
        (1_000, 1_024),
        (1_025, 1_088),
        (1 << 30, 1 << 30),
    ];
    for (len, want) in cases {
        assert_eq!(padme(len), want, "{len}");
    }
}

#[test]
fn nothing_but_the_whole_object_opens() {
    let plain = content(4 << 20);
    let leaves = seal(&key(7), 1, &plain, 1 << 20);
    let of = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut leaves = leaves.clone();
        change(&mut leaves);
        open(&key(7), &leaves)
    };
    let other = seal(&key(7), 2, &plain, 1 << 20);
    let foreign = seal(&key(9), 1, &plain, 1 << 20);
    let refused = [
        ("cut at a leaf", of(&|l| drop(l.pop()))),
        ("cut in a leaf", of(&|l| l.last_mut().unwrap().truncate(100))),
        ("all but the header", of(&|l| l.truncate(1))),
        ("nothing", of(&|l| l.clear())),
        ("two leaves change places", of(&|l| l.swap(1, 2))),
        ("a leaf twice", of(&|l| l[2] = l[1].clone())),
        ("a leaf inserted", of(&|l| l.insert(1, l[1].clone()))),
        ("another's leaf", of(&|l| l[1] = other[1].clone())),
        ("another's header of the same key", of(&|l| l[0][..HEADER_BYTES].copy_from_slice(&other[0][..HEADER_BYTES]))),
        ("another key's header", of(&|l| l[0][..HEADER_BYTES].copy_from_slice(&foreign[0][..HEADER_BYTES]))),
        ("a bit of a leaf", of(&|l| l[1][17] ^= 1)),
        ("a bit of a tag", of(&|l| *l[3].last_mut().unwrap() ^= 1)),
        ("bytes behind the end", of(&|l| l.last_mut().unwrap().push(0))),
    ];
    for (what, result) in refused {
        assert!(result.is_err(), "{what}");
    }
    for at in 0..HEADER_BYTES {
        assert!(of(&|l| l[0][at] ^= 1).is_err(), "byte {at} of the header");
    }
    assert_eq!(of(&|l| l[0][8] = 2), Err(StreamError::Version(2)));
    assert_eq!(of(&|l| l[0][0] = 0), Err(StreamError::NotSealed));
}

#[test]
fn golden_bytes() {
    let leaves = seal(&key(3), 5, b"the quick brown fox", 7);
    let hex: String = leaves.concat().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

/// Header, segment and tag; 19 bytes become 20, and 8 of their length.
const GOLDEN: &str = "54414c4b5345414c010010000005050505050505050505050505050505050505\
    73da3cf15ed9cc297fa7f60d49fd6ec41a657c8bbdb0b8de910791155b001cae\
    1c8926dc522fa773f26249b77c89373925f2adc1c5359e61b7979e340a8eff1b7cd60f1d22130653c7a2f0cf";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_part_is_read_by_its_leaf(len in 0_usize..3_000_000, at: u64) {
        let plain = content(len);
        let leaves = seal(&key(1), 1, &plain, 1 << 20);
        let sealed = leaves.iter().map(|leaf| leaf.len() as u64).sum();
        let opened = Opened::new(&key(1), sealed, &leaves[0][..HEADER_BYTES], &leaves[leaves.len() - 1]).unwrap();
        if len > 0 {
            let at = at % len as u64;
            let index = opened.leaf_of(at);
            let mut leaf = leaves[index as usize].clone();
            let (start, range) = opened.open(index, &mut leaf).unwrap();
            prop_assert_eq!(leaf[range][(at - start) as usize], plain[at as usize]);
        }
    }

    #[test]
    fn random_bytes_never_panic(sealed: u64, index: u64, first: Vec<u8>, mut last: Vec<u8>) {
        prop_assert!(Opened::new(&key(1), sealed, &first, &last).is_err());
        let leaves = seal(&key(1), 1, b"x", 1);
        let opened = Opened::new(&key(1), leaves[0].len() as u64, &leaves[0], &leaves[0]).unwrap();
        prop_assert!(opened.open(index, &mut last).is_err());
        prop_assert!(Opened::new(&key(1), sealed, &leaves[0], &last).is_err());
    }
}
