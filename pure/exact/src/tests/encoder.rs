//! Goldens from fifty-digit arithmetic.

use super::Random;
use crate::embed::{Embedding, embed, embedding_digest, unit};
use crate::encoder::{Encoder, Layer, Linear, Manifest, Norm, Pooling, Shape};
use crate::gelu::gelu;
use crate::import::Format;
use crate::layernorm::layer_norm;
use crate::matrix::Matrix;
use talkoo_base::Digest;

/// eps * 2^48 of 1e-12.
const EPSILON: u64 = 281;

#[test]
fn gelu_is_close_to_its_real_values() {
    // x in Q16, x * Phi(x) in Q20.
    for (x, expected) in [
        (0, 0),
        (100, 801),
        (-6_554, -48_255),
        (32_768, 362_525),
        (-49_152, -178_227),
        (65_536, 882_214),
        (-131_072, -47_710),
        (200_000, 3_196_360),
        (-300_000, -11),
        (-327_679, -2),
        (327_680, 5_242_878),
        (1 << 40, 1 << 44),
        (-(1 << 40), 0),
    ] {
        assert!((gelu(x) - expected).abs() <= 4, "GELU({x}) is {}, not {expected}", gelu(x));
    }
    for x in (0..6 << 16).step_by(97) {
        assert_eq!(gelu(x) - gelu(-x), x << 4, "x Phi(x) + -x Phi(-x) = x, at {x}");
    }
}

fn sample() -> Vec<i64> {
    (0..32).map(|i| (i * i * 7_919 + i * 104_729) % 200_003 - 70_001).collect()
}

fn normed(x: &[i64], gains: &[i32], biases: &[i32]) -> Vec<i64> {
    let (mut out, mut a, mut b) = (x.to_vec(), vec![0; x.len()], vec![0; x.len()]);
    layer_norm(&mut out, [gains, biases], EPSILON, [&mut a, &mut b]).unwrap();
    out
}

#[test]
fn layer_norm_is_close_to_its_real_values() {
    let gains: Vec<i32> = (0..32).map(|i| 40_000 + 1_000 * i).collect();
    let biases: Vec<i32> = (0..32).map(|i| (1 - i % 2 * 2) * 300 * i).collect();
    let found = normed(&sample(), &gains, &biases);
    for (found, expected) in found.iter().zip(NORMED) {
        assert!((found - expected).abs() <= 1, "{found} is not {expected}");
    }
}

#[test]
fn layer_norm_sees_neither_offsets_nor_factors() {
    let one = vec![1 << 16; 32];
    let zero = vec![0; 32];
    let plain = normed(&sample(), &one, &zero);
    for (factor, offset) in [(1, 1), (1, -(1 << 40)), (1, 1 << 41), (1 << 20, 0), (1 << 22, 1 << 39)] {
        let other: Vec<i64> = sample().iter().map(|x| x * factor + offset).collect();
        assert!(normed(&other, &one, &zero).iter().zip(&plain).all(|(a, b)| (a - b).abs() <= 1), "{factor}, {offset}");
    }
    assert_eq!(normed(&[12_345; 32], &[i32::MAX; 32], &[-7; 32]), [-7; 32], "nothing is left of equal numbers");
    let (mut x, mut a, mut b) = (sample(), vec![0; 32], vec![0; 32]);
    assert!(layer_norm(&mut x, [&[i32::MAX; 32], &zero], EPSILON, [&mut a, &mut b]).is_err(), "too large");
}

#[test]
fn vectors_get_the_length_one() {
    for factor in [1, 1 << 10, 1 << 40] {
        let v: Vec<i64> = sample().iter().map(|x| x * factor).collect();
        assert!(unit(&v).iter().zip(UNIT).all(|(a, b)| (a - b).abs() <= 1), "{factor}");
    }
    assert_eq!(unit(&[0; 32]), [0; 32]);
    assert_eq!((unit(&[5]), unit(&[-(1 << 61)])), (vec![1 << 30], vec![-(1 << 30)]));
}

/// An encoder of random weights, two layers.
fn tiny(pooling: Pooling) -> Encoder {
    let mut random = Random(4);
    let shape =
        Shape { layers: 2, embedding: 64, heads: 2, feed_forward: 96, vocabulary: 5, types: 2, context: 300, pooling };
    let mut matrix = |rows: usize, columns: usize| {
        let bits = |r: &mut Random| (r.next() as u16 & 0x83ff) | 0x2c00;
        let bytes: Vec<u8> = (0..rows * columns).flat_map(|_| bits(&mut random).to_le_bytes()).collect();
        Matrix::import(Format::F16, rows, columns, &bytes).unwrap()
    };
    let (tokens, positions, types) = (matrix(5, 64), matrix(300, 64), matrix(2, 64));
    let mut linear = |rows: usize, columns: usize| Linear {
        weights: matrix(rows, columns),
        bias: (0..rows as i32).map(|i| i % 7 * 3_000 - 9_000).collect(),
    };
    let norm = || Norm { gains: vec![70_000; 64], biases: (0..64).map(|i| i * 100).collect() };
    let mut layer = || Layer {
        query: linear(64, 64),
        key: linear(64, 64),
        value: linear(64, 64),
        attention_output: linear(64, 64),
        attention_norm: norm(),
        up: linear(96, 64),
        down: linear(64, 96),
        output_norm: norm(),
    };
    let manifest = Manifest::new(shape, 0x2b8c_bccc, Digest::ZERO).unwrap();
    Encoder { manifest, tokens, positions, types, embedding_norm: norm(), layers: vec![layer(), layer()] }
}

fn length(v: &[i32]) -> i64 {
    v.iter().map(|x| (i64::from(*x) * i64::from(*x)) >> 30).sum()
}

#[test]
fn every_position_sees_every_other_and_its_own_place() {
    let model = tiny(Pooling::First);
    let first = |tokens: &[u32]| embed(&model, tokens).unwrap().vector;
    let one = first(&[0, 1, 2, 3]);
    assert!((length(&one) - (1 << 30)).abs() < 64, "{}", length(&one));
    assert_ne!(one, first(&[0, 1, 2, 4]), "the first position sees the last");
    assert_ne!(one, first(&[0, 2, 1, 3]), "and their order");
    let all = embed(&tiny(Pooling::Mean), &[0, 1, 2, 3]).unwrap();
    assert_eq!(all.states, embed(&model, &[0, 1, 2, 3]).unwrap().states, "pooling comes last");
    assert_ne!(all.vector, one);
    assert_eq!(all.states.len(), 8);
    let long: Vec<u32> = (0..300).map(|i| i * 7 % 5).collect();
    assert!((length(&first(&long)) - (1 << 30)).abs() < 64, "beyond one segment of attention");
}

#[test]
fn digests_name_everything() {
    let model = tiny(Pooling::Mean);
    let e = embed(&model, &[1, 2]).unwrap();
    let digest = embedding_digest(&Digest::ZERO, &[1, 2], &e);
    let mut vector = e.vector.clone();
    vector[3] ^= 1;
    let others = [
        embedding_digest(&model.root(), &[1, 2], &e),
        embedding_digest(&Digest::ZERO, &[1, 3], &e),
        embedding_digest(&Digest::ZERO, &[1, 2], &Embedding { vector, states: e.states.clone() }),
        embedding_digest(&Digest::ZERO, &[1, 2], &Embedding { states: e.states[1..].to_vec(), ..e.clone() }),
    ];
    assert!(!others.contains(&digest));
    let mut changed = tiny(Pooling::Mean);
    changed.layers[1].down.bias[9] += 1;
    let roots = [model.root(), tiny(Pooling::First).root(), changed.root()];
    assert!(roots[0] != roots[1] && roots[0] != roots[2]);
    assert_eq!(roots[0].to_string(), "384be95b39c7d11404be206af5ebe2ca6625c64b50c34d6019350b6ad181c30e");
    assert_eq!(digest.to_string(), "a42d80fb50638bf4aa4699cd33e832aa942d7fd52214cbb49313d54597a56edf");
}

#[test]
fn shapes_outside_the_limits_are_refused() {
    let good = tiny(Pooling::Mean).manifest.shape;
    let refused = |shape: Shape| Manifest::new(shape, 0x2b8c_bccc, Digest::ZERO).is_err();
    assert!(!refused(good.clone()));
    for shape in [
        Shape { layers: 0, ..good.clone() },
        Shape { heads: 0, ..good.clone() },
        Shape { heads: 3, ..good.clone() },
        Shape { heads: 4, ..good.clone() },
        Shape { embedding: 80, ..good.clone() },
        Shape { types: 0, ..good.clone() },
        Shape { context: 1 << 18, ..good.clone() },
    ] {
        assert!(refused(shape.clone()), "{shape:?}");
    }
    let wide = Shape { embedding: 1 << 15, heads: 1 << 8, ..good };
    assert!(Manifest::new(wide, 0x3f80_0000, Digest::ZERO).is_err(), "an epsilon of 1 times 2^30");
}

const NORMED: [i64; 32] = [
    -74265, 8586, -45582, 66042, 37434, 15677, 12445, 15415, 41059, 72252, -53790, 5444, 95652, -4996, -77884, 47927,
    6863, -38618, -48041, -62532, -36816, -16818, 47535, 105519, -23589, 72198, -22320, -131871, 58339, -13776, -32300,
    -67161,
];
const UNIT: [i32; 32] = [
    -212629486, 129541145, -87693222, 350693913, 229676052, 156766443, 131965086, 155271983, 226687131, 346210533,
    -93671063, 122068844, 385917003, 90360165, -157088420, 251084498, 99852418, -3271410, -58286984, -65194307,
    -23993376, 65315807, 202733243, 388258932, 14379623, 296121817, 18459013, -211095538, 214971414, 81633368,
    -3596424, -40717965,
];
