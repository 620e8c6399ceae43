//! Numbers that have broken other engines, as a table: what a hostile file, prompt or request may bring must end in
//! a result or in a range or import error, never in an overflow (tests run with overflow checks) and never in two results.

use super::Random;
use crate::attention::attend;
use crate::import::{Format, Importer, Row};
use crate::kv::{CachedHead, KvFormat};
use crate::limits::{COLUMNS_MAX, CONTEXT_MAX, ROWS_MAX};
use crate::matrix::Matrix;
use crate::norm::rms_norm;
use crate::quantize::quantize;
use crate::sample::sample;
use talkoo_base::GenerateParams;

/// Bytes of a group, and where its half-precision scales (and minimums) stand.
const SCALES: [(Format, usize, &[usize]); 8] = [
    (Format::Q4_0, 18, &[0]),
    (Format::Q4_1, 20, &[0, 2]),
    (Format::Q5_0, 22, &[0]),
    (Format::Q5_1, 24, &[0, 2]),
    (Format::Q8_0, 34, &[0]),
    (Format::Q4K, 144, &[0, 2]),
    (Format::Q5K, 176, &[0, 2]),
    (Format::Q6K, 210, &[208]),
];

#[test]
fn scales_of_every_kind() {
    // Bits of a half, and whether a weight may have it as its scale.
    let cases = [
        ("zero", 0x0000_u16, true),
        ("minus zero", 0x8000, true),
        ("the least subnormal", 0x0001, true),
        ("the largest subnormal, negative", 0x83ff, true),
        ("the largest", 0x7bff, true),
        ("the largest, negative", 0xfbff, true),
        ("infinity", 0x7c00, false),
        ("minus infinity", 0xfc00, false),
        ("not a number", 0x7e00, false),
        ("not a number, signalling", 0x7c01, false),
    ];
    for (format, group, places) in SCALES {
        for ((name, bits, good), place) in cases.iter().flat_map(|case| places.iter().map(move |place| (case, place))) {
            let mut bytes = vec![0x77; group];
            // The other scale is one.
            places.iter().for_each(|at| bytes[*at..at + 2].copy_from_slice(&0x3c00_u16.to_le_bytes()));
            bytes[*place..place + 2].copy_from_slice(&bits.to_le_bytes());
            let mut row = Row::default();
            let read = Importer::new(format).read(&bytes, format.group().0, &mut row);
            assert_eq!(read.is_ok(), *good, "{format:?}, {name} at byte {place}: {read:?}");
            let all_in =
                row.sw.iter().all(|s| (-32_767..=32_767).contains(s)) && row.mn.iter().all(|m| m.abs() <= 1 << 20);
            assert!(!good || all_in && (-60..=8).contains(&row.ew), "{format:?}, {name}: {row:?}");
        }
    }
    for bits in [0x7f80_0000_u32, 0xff80_0000, 0x7fc0_0000, 0x7f80_0001] {
        let mut bytes = vec![0; 128];
        bytes[64..68].copy_from_slice(&bits.to_le_bytes());
        assert!(Importer::new(Format::F32).read(&bytes, 32, &mut Row::default()).is_err(), "single {bits:x}");
    }
}

#[test]
fn shapes_outside_the_contract() {
    let cases = [
        (Format::Q4_0, 1, 0),
        (Format::Q4_0, 0, 32),
        (Format::Q4_0, 1, 31),
        (Format::Q4_0, 1, 40),
        (Format::Q4K, 1, 128),
        (Format::Q6K, 1, 288),
        (Format::Q4_0, 1, COLUMNS_MAX + 32),
        (Format::Q4_0, ROWS_MAX + 1, 32),
    ];
    for (format, rows, columns) in cases {
        assert!(Matrix::import(format, rows, columns, &[]).is_err(), "{format:?}, {rows} rows of {columns}");
    }
}

#[test]
fn sums_at_the_edge_of_64_bits() {
    // The largest weights on the longest row against the largest vector: 2^61.9, and no wider type is needed.
    for (format, code, minimum) in [(Format::Q8_0, 255, 0), (Format::Q8_0, 0, 0), (Format::Q5_1, 31, 1 << 20)] {
        for (sw, sign, ew) in [(32_767, 1, -60), (-32_767, 1, -60), (32_767, -1, -60), (32_767, 1, -16), (32_767, 1, 8)]
        {
            let mut matrix = Matrix::empty(format, COLUMNS_MAX);
            let blocks = COLUMNS_MAX / format.block();
            let mn = if format.has_min() { vec![minimum; blocks] } else { Vec::new() };
            matrix.push(&Row { codes: vec![code; COLUMNS_MAX], sw: vec![sw; blocks], mn, ew });
            for (bits, fraction_bits) in [(1, 20), (30, 20), (62, 20), (62, 16)] {
                let x = quantize(&vec![sign * ((1 << bits) - 1); COLUMNS_MAX], fraction_bits);
                let wide: i128 = (0..COLUMNS_MAX)
                    .map(|j| {
                        let w =
                            i128::from(sw) * (i128::from(code) - i128::from(matrix.zero_point)) + i128::from(minimum);
                        w * i128::from(x.codes[j]) * i128::from(x.mantissas[j / 32])
                    })
                    .sum();
                assert!(wide.unsigned_abs() < 1 << 62, "{format:?}: {wide}");
                let y = crate::arith::rsh128(wide, -(ew + x.exponent + 16));
                let expected = (y.unsigned_abs() < 1 << 40).then_some(vec![y as i64]);
                assert_eq!(matrix.multiply(&x).ok(), expected, "{format:?}, {sw}, {sign}, {ew}, {bits} bits");
            }
        }
    }
}

#[test]
fn vectors_at_the_edges() {
    let top = (1i64 << 62) - 1;
    let mut spike = vec![0; 64];
    spike[33] = -top;
    let mut below = vec![1; 64];
    below[0] = top;
    for x in [vec![0; 64], vec![top; 64], vec![-top; 64], vec![1; 64], vec![-1; 64], spike, below] {
        let q = quantize(&x, 20);
        // Minus 128 would saturate where bytes are multiplied in pairs.
        assert!(q.codes.iter().all(|c| (-127..=127).contains(c)) && q.mantissas.iter().all(|m| *m <= 33_027), "{x:?}");
        // Norms are of residuals, which stay below 2^52.
        let (x, mut y) = (x.iter().map(|x| x >> 10).collect::<Vec<_>>(), vec![0; 64]);
        for (gain, epsilon) in [(i32::MAX, 0), (i32::MIN, 1), (1 << 16, u64::from(u32::MAX))] {
            rms_norm(&x, &[gain; 64], epsilon, &mut y);
            assert!(y.iter().all(|y| y.unsigned_abs() < 1 << 45), "gain {gain}: {y:?}");
        }
    }
}

#[test]
fn attention_over_equal_and_over_extreme_positions() {
    let mut random = Random(5);
    for (bits, format) in [0, 1, 20, 40].into_iter().flat_map(|bits| KvFormat::ALL.map(|format| (bits, format))) {
        for positions in [1, 2, 127, 128, 129, 400] {
            let value = CachedHead::of(&(0..32).map(|_| random.signed(bits)).collect::<Vec<_>>(), format);
            let rows: Vec<CachedHead> = (0..positions).map(|_| value.clone()).collect();
            let refs: Vec<&CachedHead> = rows.iter().collect();
            let query: Vec<i64> = (0..32).map(|_| random.signed(bits)).collect();
            let out = attend(&query, &refs, &refs, 0, 273_850_497, format);
            // A mean of equal values is that value, up to the weights' last bits.
            let wide = |code: i16| (i128::from(code) * i128::from(value.mantissas[0])) << 20;
            for (out, code) in out.iter().zip(&value.codes) {
                let want = crate::arith::rsh128(wide(*code), -value.exponent);
                let slack = 4 + (want.abs() >> 12);
                assert!(
                    (i128::from(*out) - want).abs() <= slack,
                    "{bits} bits, {positions} positions: {out} for {want}"
                );
            }
        }
    }
}

#[test]
fn sums_over_the_longest_context_fit() {
    // Every position weighs the same and has the largest code there is.
    for (format, sign) in KvFormat::ALL.into_iter().flat_map(|format| [1, -1].map(|sign| (format, sign))) {
        let value = CachedHead::of(&[sign * ((1 << 41) - 1); 32], format);
        let refs = vec![&value; CONTEXT_MAX];
        let out = attend(&[0; 32], &refs, &refs, 0, 273_850_497, format)[0];
        assert!((out - sign * (1 << 45)).abs() < 1 << 35, "{format:?}: {out}");
    }
}

#[test]
fn draws_from_ties_and_extremes() {
    let of = |logits: &[i64], params: &GenerateParams| -> Vec<u32> {
        let mut seen: Vec<u32> = (0..400).map(|i| sample(logits, params, 11, i)).collect();
        seen.sort_unstable();
        seen.dedup();
        seen
    };
    let base = GenerateParams { temperature_q16: 1 << 16, ..GenerateParams::default() };
    let (top, equal) = ((1i64 << 40) - 1, [5i64; 4]);
    let cases = [
        ("equal logits", of(&equal, &base), vec![0, 1, 2, 3]),
        (
            "top-p at a tie keeps the lowest ids",
            of(&equal, &GenerateParams { top_p_q16: 32_768, ..base.clone() }),
            vec![0, 1],
        ),
        ("top-p just above it", of(&equal, &GenerateParams { top_p_q16: 32_769, ..base.clone() }), vec![0, 1, 2]),
        ("top-k at a tie", of(&equal, &GenerateParams { top_k: 3, ..base.clone() }), vec![0, 1, 2]),
        (
            "min-p of one keeps the equals",
            of(&equal, &GenerateParams { min_p_q16: 65_536, ..base.clone() }),
            vec![0, 1, 2, 3],
        ),
        ("the coldest", of(&[7, 90, 90, -top], &GenerateParams { temperature_q16: 1, ..base.clone() }), vec![1, 2]),
        (
            "the hottest",
            of(&[0, 1, 2, 3], &GenerateParams { temperature_q16: u32::MAX, ..base.clone() }),
            vec![0, 1, 2, 3],
        ),
        ("the widest logits", of(&[-top, top, -top], &base), vec![1]),
        ("one token", of(&[-top], &base), vec![0]),
        ("greedy at a tie", of(&[3, 9, 9], &GenerateParams::default()), vec![1]),
    ];
    for (name, found, expected) in cases {
        assert_eq!(found, expected, "{name}");
    }
}
