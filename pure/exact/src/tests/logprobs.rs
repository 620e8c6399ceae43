use super::Random;
use crate::logprobs::{log2, logprobs};
use talkoo_base::TokenLogprobs;

/// Log probability of `chosen` in units of 2^-32 nats, from sixty-digit arithmetic, for the first `count` numbers
/// of `seed`.
const GOLDEN: [(u64, usize, u32, u32, i64); 10] = [
    (1, 2, 16, 0, -3_815_409_807),
    (1, 2, 16, 1, -2_275_903_631),
    (2, 100, 18, 0, -24_345_670_301),
    (2, 100, 18, 99, -25_899_201_181),
    (3, 3_000, 20, 0, -141_287_855_839),
    (3, 3_000, 20, 2_999, -137_387_546_335),
    (4, 3_000, 14, 0, -34_570_328_101),
    (4, 3_000, 14, 2_999, -34_461_472_805),
    (5, 3_000, 24, 0, -1_356_933_461_352),
    (5, 3_000, 24, 2_999, -1_480_950_773_096),
];

fn is_near(logits: &[i64], chosen: u32, want: i64) {
    let have = i64::from(logprobs(logits, chosen, 0).chosen) << 16;
    assert!((have - want).abs() < (6 << 16) / 10, "{have} is not near {want}, {} logits", logits.len());
}

#[test]
fn log_probabilities_are_within_their_bound() {
    for (seed, count, bits, chosen, want) in GOLDEN {
        let mut random = Random(seed);
        let logits: Vec<i64> = (0..count).map(|_| random.signed(bits)).collect();
        is_near(&logits, chosen, want);
    }
    // A tail of which no token alone has a weight that thirty bits could hold much of; and a vocabulary of equals.
    let tail = [&[0][..], &[-20 << 16; 4_000]].concat();
    is_near(&tail, 0, -35_410);
    is_near(&tail, 1, -85_899_381_330);
    is_near(&[5; 7_000], 6_999, -38_026_203_463);
}

#[test]
fn the_likeliest_are_in_order_and_equals_by_the_lower_id() {
    let told = |logits: &[i64], chosen, top| logprobs(logits, chosen, top);
    let ids = |t: TokenLogprobs| t.top.iter().map(|(id, _)| *id).collect::<Vec<_>>();
    let logits = [3 << 16, 9 << 16, 9 << 16, -1, 3 << 16];
    assert_eq!(ids(told(&logits, 3, 3)), [1, 2, 0]);
    assert_eq!(ids(told(&logits, 3, 20)), [1, 2, 0, 4, 3], "all there are");
    assert!(told(&logits, 3, 0).top.is_empty());
    let whole = told(&logits, 3, 20);
    assert_eq!((whole.top[0].1, whole.top[4].1), (whole.top[1].1, whole.chosen));
    // What is certain has no logarithm, and what is out of reach the least there is.
    let top = (1 << 41) - 1;
    assert_eq!(told(&[top, -top], 0, 2), TokenLogprobs { chosen: 0, top: vec![(0, 0), (1, i32::MIN)] });
    assert_eq!(told(&[0], 0, 1), TokenLogprobs { chosen: 0, top: vec![(0, 0)] });
}

#[test]
fn base_two_logarithms_are_those_of_sixty_digits() {
    let golden = [
        (1, 0),
        (2, 1 << 24),
        (3, 26_591_258),
        (10, 55_732_705),
        ((1 << 42) - 4_096, 704_643_071),
        (6_074_000_999, 545_259_519),
        ((1 << 62) - 1, 1_040_187_391),
        (1 << 62, 62 << 24),
    ];
    for (v, want) in golden {
        assert_eq!(log2(v), want, "{v}");
    }
}
