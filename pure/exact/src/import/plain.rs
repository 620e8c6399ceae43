//! Numbers that no block format holds (single, half and brain precision): quantised to 8-bit codes on
//! import, by integer arithmetic on their bit patterns.

use super::layout::half;
use super::{Format, Row};
use crate::arith::{bit_length, rne};
use crate::constants::single;
use crate::error::ImportError;
use crate::limits::{BLOCK, BLOCK_SCALE_MAX, ROW_EXPONENT_MIN};

/// Bits of the largest number of a row in the fixed-point form that all its numbers are brought to.
const ROW_BITS: i32 = 40;
/// The largest code's distance from the zero point.
const CODE_MAX: i64 = 127;

/// Reads one row: V = RNE(value / 2^unit), where the largest |V| has 40 bits; per block
/// sw = ceil(max |V| / (127 * 2^k)) and code = 128 + round(V / (sw * 2^k)), halves up, with the smallest
/// k at which every sw fits 15 bits and ew = k + unit is not below its limit.
pub(super) fn read(format: Format, bytes: &[u8], row: &mut Row) -> Result<(), ImportError> {
    let numbers: Vec<(i64, i32)> =
        bytes.chunks_exact(width(format)).map(|b| number(format, b)).collect::<Result<_, _>>()?;
    let top = |(mantissa, exponent): &(i64, i32)| bit_length(mantissa.unsigned_abs()) + exponent;
    let unit = numbers.iter().filter(|n| n.0 != 0).map(top).max().map_or(0, |top| top - ROW_BITS);
    // Every number is below 2^(unit + 40), so no shift left is by more than 40 bits.
    let values: Vec<i64> =
        numbers.iter().map(|(m, e)| if *m == 0 { 0 } else { rne(i128::from(*m), unit - e) as i64 }).collect();
    let largest = |block: &[i64]| block.iter().map(|v| v.abs()).max().unwrap_or(0);
    let scale = |block: &[i64], k: i32| (largest(block) as u64).div_ceil((CODE_MAX as u64) << k) as i64;
    let least = (ROW_EXPONENT_MIN - unit).max(0);
    let fits = |k: &i32| scale(&values, *k) <= BLOCK_SCALE_MAX;
    let k = (least.min(ROW_BITS)..=ROW_BITS).find(fits).expect("a scale of 40 bits fits after 40 shifts");
    row.ew = if largest(&values) == 0 { 0 } else { (k + unit).max(ROW_EXPONENT_MIN) };
    row.sw.clear();
    row.mn.clear();
    for (block, codes) in values.chunks_exact(BLOCK).zip(row.codes.chunks_exact_mut(BLOCK)) {
        // Rows that are too small for the least exponent are zero.
        let sw = if k + unit < ROW_EXPONENT_MIN { 0 } else { scale(block, k) };
        row.sw.push(sw as i16);
        let step = (sw << k).max(1);
        for (code, v) in codes.iter_mut().zip(block) {
            let rounded = if sw == 0 { 0 } else { (2 * v + step).div_euclid(2 * step) };
            *code = (rounded + 128) as u8;
        }
    }
    super::check_exponent(row.ew)
}

/// Bytes of one number.
fn width(format: Format) -> usize {
    format.group().1 / format.group().0
}

/// mantissa * 2^exponent, exactly.
fn number(format: Format, b: &[u8]) -> Result<(i64, i32), ImportError> {
    let what = "a weight";
    match format {
        Format::F16 => Ok((half(b, 0).ok_or(ImportError::NotFinite { what })?, -24)),
        Format::BF16 => single(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16, what),
        _ => single(u32::from_le_bytes([b[0], b[1], b[2], b[3]]), what),
    }
}
