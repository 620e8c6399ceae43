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
    assert_eq!(cases.len(), Format::ALL.len());
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
