use super::Random;
use crate::import::{Format, Importer, Row};
use crate::limits::{BLOCK_MIN_MAX, BLOCK_SCALE_MAX};
use crate::matrix::Matrix;
use talkoo_base::Digest;

/// Per line: format, a row of 256 weights as stored, the weights times 2^40 as ggml's reader gives them.
const BLOCKS: &str = include_str!("blocks.txt");

fn cases() -> Vec<(Format, Vec<u8>, Vec<i128>)> {
    BLOCKS
        .lines()
        .map(|line| {
            let mut words = line.split(' ');
            let name = words.next().unwrap();
            let format = Format::ALL.into_iter().find(|f| format!("{f:?}") == name).unwrap();
            let hex = words.next().unwrap();
            let bytes = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
            (format, bytes, words.map(|w| w.parse().unwrap()).collect())
        })
        .collect()
}

fn read(format: Format, bytes: &[u8]) -> Row {
    let mut row = Row::default();
    Importer::new(format).read(bytes, 256, &mut row).unwrap();
    row
}

#[test]
fn every_format_reads_what_ggml_reads() {
    let cases = cases();
    assert_eq!(cases.len(), Format::ALL.iter().filter(|f| !f.is_plain()).count());
    for (format, bytes, expected) in cases {
        let row = read(format, &bytes);
        let largest = expected.iter().map(|v| v.abs()).max().unwrap();
        for (i, expected) in expected.iter().enumerate() {
            let code = i128::from(row.codes[i]) - i128::from(format.zero_point());
            let scaled = i128::from(row.sw[i / format.block()]) * code;
            let minimum = row.mn.get(i / format.block()).map_or(0, |m| i128::from(*m));
            let value = (scaled + minimum) << (40 + row.ew);
            // A scale is off by at most 2^-16 of the largest one, times a code.
            assert!((value - expected).abs() <= largest >> 14, "{format:?} weight {i}: {value} is not {expected}");
        }
        assert_eq!(row.mn.is_empty(), !format.has_min());
        assert!(row.codes.iter().all(|c| *c <= format.code_max()));
    }
}

#[test]
fn scales_use_their_sixteen_bits() {
    for (format, bytes, _) in cases() {
        let row = read(format, &bytes);
        let scale = row.sw.iter().map(|s| i64::from(*s).abs()).max().unwrap();
        let minimum = row.mn.iter().map(|m| i64::from(*m).abs()).max().unwrap_or(0);
        assert!(scale <= BLOCK_SCALE_MAX && minimum <= BLOCK_MIN_MAX, "{format:?}");
        assert!(scale > BLOCK_SCALE_MAX / 2 || minimum > BLOCK_MIN_MAX / 2, "{format:?} wastes a bit");
    }
}

#[test]
fn rows_without_scales_keep_their_minimums() {
    let mut bytes = vec![0; 160];
    let one = 0x3c00u16.to_le_bytes();
    for group in bytes.chunks_exact_mut(20) {
        group[2..4].copy_from_slice(&one);
    }
    let row = read(Format::Q4_1, &bytes);
    assert_eq!((row.sw[0], i64::from(row.mn[0]), row.ew), (0, BLOCK_MIN_MAX, -20));
    assert_eq!(read(Format::Q4_1, &[0; 160]).ew, 0, "an all-zero row");
}

/// The row of 256 numbers mantissa * 2^exponent in single precision; mantissas below 2^24.
fn singles(numbers: &[(i64, i32)]) -> Vec<u8> {
    let bits = |(mantissa, exponent): &(i64, i32)| {
        let up = mantissa.unsigned_abs().leading_zeros() as i32 - 40;
        let field = (exponent - up + 150) as u32;
        let magnitude = (mantissa.unsigned_abs() << up) as u32 & 0x7f_ffff | field << 23;
        if *mantissa == 0 { 0 } else { magnitude | u32::from(*mantissa < 0) << 31 }
    };
    numbers.iter().flat_map(|n| bits(n).to_le_bytes()).collect()
}

#[test]
fn plain_numbers_become_the_nearest_codes() {
    let mut random = Random(5);
    for exponent in [-60, -30, -24, -10, 5] {
        // Blocks of very different size, and one of zeros.
        let size = |i: usize| [23, 15, 6, 0][i / 32 % 4];
        let numbers: Vec<(i64, i32)> = (0..256)
            .map(|i| {
                (if size(i) == 0 { 0 } else { random.signed(size(i)).clamp(1 - (1 << 23), (1 << 23) - 1) }, exponent)
            })
            .collect();
        let row = read(Format::F32, &singles(&numbers));
        let largest = |from: usize| numbers[from..from + 32].iter().map(|n| n.0.abs()).max().unwrap();
        for (i, (mantissa, _)) in numbers.iter().enumerate() {
            let value = (i128::from(row.sw[i / 32]) * (i128::from(row.codes[i]) - 128)) << (62 + row.ew - exponent);
            let wrong = (value - (i128::from(*mantissa) << 62)).unsigned_abs();
            // Half a step, and the scale rounded up to its own last bit.
            let step = largest(i / 32 * 32) as u128 + (largest(0) as u128 >> 14) * 2;
            assert!(wrong <= (step << 62) / 254 + (1 << 62), "number {i} of 2^{exponent}: {value} is not {mantissa}");
        }
        assert!(row.mn.is_empty() && row.sw[3] == 0 && row.codes[96..128] == [128; 32]);
        assert!(row.sw.iter().max().is_some_and(|s| *s > 16_000), "the scales use their bits");
    }
}

#[test]
fn half_and_brain_precision_are_read_as_the_singles_they_are() {
    let mut random = Random(6);
    let fields: Vec<(u16, u16, u16)> = (0..256)
        .map(|_| (random.next() as u16 & 1, 8 + random.next() as u16 % 12, random.next() as u16 & 127))
        .collect();
    let half = fields.iter().flat_map(|(s, e, f)| (s << 15 | e << 10 | f << 3).to_le_bytes()).collect::<Vec<u8>>();
    let brain = fields.iter().flat_map(|(s, e, f)| (s << 15 | (e + 112) << 7 | f).to_le_bytes()).collect::<Vec<u8>>();
    let single: Vec<u8> = brain.chunks_exact(2).flat_map(|b| [0, 0, b[0], b[1]]).collect();
    let expected = read(Format::F32, &single);
    assert_eq!(read(Format::F16, &half), expected);
    assert_eq!(read(Format::BF16, &brain), expected);
}

#[test]
fn plain_rows_at_the_limits() {
    let zero = read(Format::F32, &[0; 1024]);
    assert_eq!((zero.ew, zero.sw, zero.codes), (0, vec![0; 8], vec![128; 256]));
    let tiny = read(Format::F32, &singles(&[(1, -126); 256]));
    assert!(tiny.sw.iter().all(|s| *s == 0), "what no exponent reaches is zero");
    let mut row = Row::default();
    let mut importer = Importer::new(Format::F32);
    assert!(importer.read(&singles(&[(1, 60); 256]), 256, &mut row).is_err(), "too large");
    for bits in [0x7f80_0000u32, 0xffc0_0000] {
        let mut bytes = vec![0; 1024];
        bytes[40..44].copy_from_slice(&bits.to_le_bytes());
        assert!(importer.read(&bytes, 256, &mut row).is_err(), "{bits:#x}");
    }
}

#[test]
fn bad_rows_are_refused() {
    let mut bytes = vec![0; 34 * 8];
    let mut row = Row::default();
    let mut importer = Importer::new(Format::Q8_0);
    assert!(importer.read(&bytes[1..], 256, &mut row).is_err(), "too short");
    assert!(importer.read(&bytes, 255, &mut row).is_err(), "not whole groups");
    bytes[1] = 0x7c;
    assert!(importer.read(&bytes, 256, &mut row).is_err(), "an infinite scale");
    assert!(Matrix::import(Format::Q8_0, 0, 256, &[]).is_err());
    assert!(Matrix::import(Format::Q8_0, 1, 1 << 17, &[]).is_err());
}

#[test]
fn the_digest_names_shape_and_every_weight() {
    let (format, bytes, _) = cases().remove(1);
    let matrix = |rows: usize| Matrix::import(format, rows, 256, &bytes.repeat(rows)).unwrap();
    let two = matrix(2);
    assert_ne!(two.digest(), matrix(1).digest());
    let mut seen = vec![two.digest()];
    for change in 0..4 {
        let mut other = two.clone();
        match change {
            0 => other.codes[300] ^= 1,
            1 => other.sw[9] ^= 1,
            2 => other.mn[15] ^= 1,
            _ => other.ew[1] += 1,
        }
        seen.push(other.digest());
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 5, "each part of a tile is in the digest");
    let golden = Digest::from_hex("ea85cfda65301850b290927eb53e3ca4e27476aa7aeee9de46ad95618a44013c").unwrap();
    assert_eq!(two.digest(), golden);
}
