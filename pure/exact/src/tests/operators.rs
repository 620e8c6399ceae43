use super::Random;
use crate::arith::{bit_length, isqrt, rne, rsh, rsh128};
use crate::attention::{attend, score};
use crate::exp::{exp2neg, gate_times, gelu_argument, sigmoid};
use crate::features::{Activation, Rotation};
use crate::kv::{CachedHead, KvFormat};
use crate::norm::rms_norm;
use crate::quantize::{Quantized, quantize, quantize_fine_into, quantize_query};
use crate::rope;

#[test]
fn shifts_round_half_up() {
    for (v, s, expected) in
        [(5, 1, 3), (-5, 1, -2), (-1, 1, 0), (1, 1, 1), (3, 2, 1), (2, 2, 1), (-2, 2, 0), (7, -2, 28)]
    {
        assert_eq!(rsh(v, s), expected, "rsh({v}, {s})");
        assert_eq!(rsh128(v.into(), s), expected.into(), "rsh128({v}, {s})");
    }
    assert_eq!((rsh((1 << 62) - 1, 63), rsh(-(1 << 61), 200)), (0, 0));
    for (v, s, expected) in [(5, 1, 2), (7, 1, 4), (-5, 1, -2), (-7, 1, -4), (6, 2, 2), (3, 0, 3), (3, -1, 6)] {
        assert_eq!(rne(v, s), expected, "rne({v}, {s})");
    }
    assert_eq!((bit_length(0), bit_length(1), bit_length(u64::MAX)), (0, 1, 64));
    assert_eq!((isqrt(0), isqrt(24), isqrt(25), isqrt(1 << 100)), (0, 4, 5, 1 << 50));
}

#[test]
fn powers_of_two_are_within_two_steps() {
    let cases =
        [(0, 1_073_741_824), (1, 1_073_741_114), (1 << 19, 759_250_124), (3_000_000, 147_790_372), (20 << 20, 1024)];
    for (u, expected) in cases {
        let found: i64 = exp2neg(u);
        assert!((found - expected).abs() <= 2, "2^-{u}: {found} is not {expected}");
    }
    assert_eq!((exp2neg(31 << 20), exp2neg(32 << 20), exp2neg(i64::MAX)), (0, 0, 0));
}

#[test]
fn the_logistic_function_is_bounded_and_mirrored() {
    let mut random = Random(1);
    let mut before = -1;
    for g in (-800_000..800_000).step_by(997) {
        let s = sigmoid(g);
        assert!(s >= before - 2, "it rises, up to the polynomial's last bits, at {g}");
        assert!((s + sigmoid(-g) - (1 << 30)).abs() <= 1, "mirrored at {g}");
        before = s;
    }
    assert_eq!((sigmoid(i64::from(i32::MAX) << 9), sigmoid(-(i64::from(i32::MAX) << 9))), (1 << 30, 0));
    for _ in 0..1000 {
        let (g, u) = (random.signed(40), random.signed(40));
        // Either in range or refused; never an overflow.
        assert!(gate_times(Activation::Silu, g, u).map_or_else(|e| e.bits == 60, |y| y.unsigned_abs() < 1 << 60));
    }
    assert_eq!(gate_times(Activation::Silu, 1 << 16, 1 << 16), Ok(766_570), "SiLU(1) = 0.731059 in Q20, rounded");
}

#[test]
fn gelu_is_close_to_its_real_values() {
    // g, GELU's tanh form of g in Q20; from fifty-digit arithmetic.
    for (g, expected) in GELU {
        let found = gate_times(Activation::GeluTanh, g, 1 << 16).unwrap();
        assert!((found - expected).abs() <= 4 + (g.abs() >> 14), "GELU({g}) is {found}, not {expected}");
    }
    for g in [40 << 16, 1 << 39] {
        assert_eq!(gate_times(Activation::GeluTanh, g, 1 << 12), Ok(g), "large ones are themselves");
        assert_eq!(gate_times(Activation::GeluTanh, -g, 1 << 16), Ok(0), "or nothing");
    }
    let mut before = i64::MIN;
    for g in (-(20 << 16)..20 << 16).step_by(501) {
        let argument = gelu_argument(g);
        assert!(argument >= before && argument == -gelu_argument(-g), "at {g}");
        before = argument;
    }
}

/// Gates in Q16 with GELU's tanh form in Q20.
const GELU: [(i64, i64); 9] = [
    (0, 0),
    (100, 801),
    (-6_554, -48_255),
    (32_768, 362_507),
    (-49_152, -178_299),
    (65_536, 882_054),
    (-131_072, -47_608),
    (200_000, 3_196_772),
    (-300_000, -3),
];

#[test]
fn quantised_vectors_are_close_and_codes_in_range() {
    let mut random = Random(2);
    for case in 0..200 {
        let bits = 1 + case % 60;
        let v: Vec<i64> = (0..96).map(|i| random.signed(if i < 32 { bits } else { bits / 2 })).collect();
        let q = quantize(&v, 20);
        let step = 1 + (v.iter().map(|x| x.unsigned_abs()).max().unwrap() >> 7);
        for (i, x) in v.iter().enumerate() {
            let value = rsh128(i128::from(q.codes[i]) * i128::from(q.mantissas[i / 32]), -(q.exponent + 20));
            assert!((value - i128::from(*x)).unsigned_abs() <= u128::from(step), "{bits} bits: {value} is not {x}");
        }
        assert!(q.codes.iter().all(|c| *c != -128));
    }
    let zero = quantize(&[0; 64], 16);
    assert_eq!(zero, Quantized { codes: vec![0; 64], mantissas: vec![0; 2], exponent: -38 });
    let mut codes = [0; 32];
    let exponent = quantize_query(&[i64::from(u16::MAX); 32], 16, &mut codes);
    assert_eq!((codes[0], exponent), (16_384, -14), "the largest code rounds up to 2^14");
}

#[test]
fn norms_of_constant_vectors_are_one() {
    for x in [1i64, 77, 65_536, 1 << 30, -(1 << 50)] {
        let mut out = [0; 64];
        rms_norm(&[x; 64], &[1 << 16; 64], 0, &mut out);
        assert!((out[0].abs() - (1 << 20)).abs() <= 64, "the norm of {x} is {}", out[0]);
    }
    let mut out = [1; 32];
    rms_norm(&[0; 32], &[i32::MAX; 32], 0, &mut out);
    assert_eq!(out, [0; 32]);
}

#[test]
fn rotations_keep_lengths_and_undo() {
    let frequencies = crate::constants::frequencies(0x461c_4000, 32, &[]).unwrap();
    let mut random = Random(3);
    for position in [0, 1, 2, 1000, 131_071] {
        let table = rope::table(&frequencies, position);
        for (s, c) in &table {
            assert!((s * s + c * c - (1i64 << 60)).abs() < 1 << 32, "position {position}");
        }
        let back: Vec<(i64, i64)> = table.iter().map(|(s, c)| (-s, *c)).collect();
        let head: Vec<i64> = (0..40).map(|_| random.signed(40)).collect();
        for rotation in [Rotation::Interleaved, Rotation::Halves] {
            let mut turned = head.clone();
            rope::rotate(&mut turned, &table, rotation);
            assert_eq!(turned[32..], head[32..], "what is not rotated stays");
            rope::rotate(&mut turned, &back, rotation);
            assert!(head.iter().zip(&turned).all(|(a, b)| (a - b).abs() < 1 << 12), "position {position}");
        }
        // Halves are the same pairs at other places.
        let mut paired: Vec<i64> = (0..16).flat_map(|j| [head[j], head[j + 16]]).collect();
        let mut halves = head[..32].to_vec();
        rope::rotate(&mut paired, &table, Rotation::Interleaved);
        rope::rotate(&mut halves, &table, Rotation::Halves);
        assert!((0..16).all(|j| (halves[j], halves[j + 16]) == (paired[2 * j], paired[2 * j + 1])));
    }
    assert_eq!(rope::sine_cosine(1 << 62), (1 << 30, 0), "a quarter turn");
    assert_eq!(rope::sine_cosine(1 << 63), (0, -(1 << 30)), "a half turn");
    assert_eq!(rope::sine_cosine(0xc000_0000_0000_0000), (-(1 << 30), 0), "three quarters");
}

fn head(value: i64, format: KvFormat) -> CachedHead {
    CachedHead::of(&[value; 32], format)
}

/// Attention of a query of equal numbers.
fn attend_all(query: i64, keys: &[&CachedHead], values: &[&CachedHead], first: usize, format: KvFormat) -> Vec<i64> {
    attend(&[query; 32], keys, values, first, crate::constants::score_scale(32), format)
}

#[test]
fn attention_mixes_and_forgets_nothing_far_away() {
    for format in KvFormat::ALL {
        let one = head(1 << 16, format);
        let alone = attend_all(5 << 16, &[&one], &[&one], 0, format)[0];
        assert!((alone - (1 << 20)).abs() < 1 << 12, "one position is itself");

        // 20,000 far positions share the weight that one near position has 2^17 times more of each:
        // with one 16-bit scale for all weights they would round to nothing.
        let (near, far) = (head(0, format), head(1 << 16, format));
        let key_near = head(12 << 16, format);
        let key_far = head(0, format);
        let count = 20_000;
        let keys: Vec<&CachedHead> = (0..=count).map(|i| if i == count { &key_near } else { &key_far }).collect();
        let values: Vec<&CachedHead> = (0..=count).map(|i| if i == count { &near } else { &far }).collect();
        // score difference: 32 * 12 * q / sqrt(32) = ln(2^17) at q = 0.1736 (Q16: 11,376)
        let out = attend_all(11_376, &keys, &values, 0, format)[0];
        let expected = (1 << 20) * 20_000 / (20_000 + (1 << 17));
        assert!((out - expected).abs() < expected / 50, "{out} is not {expected}");
    }
}

#[test]
fn what_lies_before_the_window_is_not_seen() {
    for format in KvFormat::ALL {
        let mut random = Random(4);
        let mut some = |bits: u32| -> Vec<CachedHead> {
            let numbers = (0..300).map(|_| (0..32).map(|_| random.signed(bits)).collect::<Vec<_>>());
            numbers.map(|v| CachedHead::of(&v, format)).collect()
        };
        let (keys, values, wild) = (some(17), some(17), some(38));
        let all = |from: &[CachedHead], first: usize| -> Vec<CachedHead> {
            wild[..first].iter().chain(&from[first..]).cloned().collect()
        };
        for first in [0, 1, 127, 128, 200, 256, 299] {
            let run = |first_seen: usize, keys: &[CachedHead], values: &[CachedHead]| {
                let (keys, values): (Vec<_>, Vec<_>) = (keys.iter().collect(), values.iter().collect());
                attend_all(9 << 12, &keys, &values, first_seen, format)
            };
            let expected = run(first, &keys, &values);
            assert_eq!(run(first, &all(&keys, first), &all(&values, first)), expected, "from {first} on");
            if first % 128 == 0 {
                assert_eq!(run(0, &keys[first..], &values[first..]), expected, "whole segments are cut off");
            }
        }
    }
}

#[test]
fn fine_codes_have_the_same_mantissas_and_eight_bits_more() {
    let mut random = Random(12);
    for bits in 1..=60 {
        let v: Vec<i64> = (0..64).map(|_| random.signed(bits) >> (random.next() % u64::from(bits))).collect();
        let (mut fine, mut mantissas) = ([0i16; 64], [0u16; 2]);
        let (coarse, exponent) = (quantize(&v, 16), quantize_fine_into(&v, 16, &mut fine, &mut mantissas));
        assert_eq!((coarse.mantissas.as_slice(), coarse.exponent), (mantissas.as_slice(), exponent + 8));
        for ((i, x), code) in v.iter().enumerate().zip(fine) {
            assert!(code.unsigned_abs() <= 32_512, "two bytes with sign hold {code}");
            // In units of 2^exponent: half a step of a code, and of the thirty bits before it.
            let wide = rsh128(i128::from(*x) << 16, 32 + exponent);
            let step = i128::from(mantissas[i / 32]);
            assert!((wide - i128::from(code) * step).abs() <= step / 2 + 1, "{x} of {bits} bits is {code}");
        }
    }
    let (mut codes, mut mantissas) = ([7i16; 32], [7u16; 1]);
    assert_eq!(quantize_fine_into(&[0; 32], 16, &mut codes, &mut mantissas), -46);
    assert_eq!((codes, mantissas), ([0; 32], [0]));
}

#[test]
fn scores_out_of_all_proportion_are_cut_not_wrapped() {
    let scale = crate::constants::score_scale(32);
    let top = score((1 << 46) - 1, 14, scale);
    assert!(top > 0 && score(-(1 << 46), 14, scale) < 0);
    assert_eq!(top, score((1 << 46) - 1, 60, scale));
    for format in KvFormat::ALL {
        let (low, high) = (head(-(1 << 40), format), head(1 << 40, format));
        let out = attend_all(1 << 40, &[&high, &low, &low], &[&high, &low, &low], 0, format);
        assert!((out[0] - (1 << 44)).abs() < 1 << 36, "the one that matches wins: {}", out[0]);
    }
}
