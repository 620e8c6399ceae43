//! Rule 3: matrix times batch. Sixteen rows at a time, several tokens at a time, one i64 per output.

use super::activations::place;
use super::packed::{GROUP_ROWS, Packed};
use super::pool::{Pool, SharedSlice};
use super::{Activations, Isa, Level};
use std::sync::atomic::{AtomicBool, Ordering};
use talkoo_exact::RangeError;
use talkoo_exact::limits::{BLOCK, LINEAR_BITS};
use talkoo_exact::matrix::finish;

/// One product: matrix, batch, and what both need of each other.
pub(super) struct Product<'a> {
    pub(super) weights: &'a Packed,
    pub(super) x: &'a Activations,
    /// Per tile, block of weights and token: mantissa * sum of codes if the weights have minimums, and
    /// -(zero point) * sum of codes if they have not.
    pub(super) offsets: Vec<i32>,
}

/// `out` becomes tokens x rows in Q16.
///
/// # Errors
/// If an output reaches 2^40.
pub(crate) fn multiply(
    pool: &mut Pool,
    isa: Isa,
    weights: &Packed,
    x: &Activations,
    out: &mut Vec<i64>,
) -> Result<(), RangeError> {
    assert_eq!(weights.columns, x.columns, "a matrix and a batch of different widths");
    out.resize(x.tokens * weights.rows, 0);
    let product = Product { weights, x, offsets: offsets(weights, x) };
    let failed = AtomicBool::new(false);
    let shared = SharedSlice::new(out);
    let groups = weights.groups();
    pool.run(groups, groups.div_ceil(pool.threads() * 8), &|range| {
        for group in range {
            if !multiply_group(isa, &product, group, &shared) {
                failed.store(true, Ordering::Relaxed);
            }
        }
    });
    if failed.into_inner() { Err(RangeError { operator: "linear output", bits: LINEAR_BITS }) } else { Ok(()) }
}

fn offsets(weights: &Packed, x: &Activations) -> Vec<i32> {
    let sums = x.sums_of(weights.format.block());
    if weights.format.has_min() {
        return sums.iter().zip(&x.mantissas).map(|(sum, mantissa)| sum * mantissa).collect();
    }
    let zero_point = i32::from(weights.format.zero_point());
    sums.iter().map(|sum| -zero_point * sum).collect()
}

/// All tokens with one group of rows; `false` if an output reaches 2^40.
fn multiply_group(isa: Isa, product: &Product<'_>, group: usize, out: &SharedSlice<'_, i64>) -> bool {
    // SAFETY: only `Isa::detect` makes this level, after asking the CPU; this group's rows of `out` are
    // written by this call alone.
    #[cfg(target_arch = "x86_64")]
    if isa.level == Level::Vnni {
        return unsafe { super::product::multiply_group(product, group, out) };
    }
    let Product { weights, x, .. } = product;
    let first = group * GROUP_ROWS;
    let rows = GROUP_ROWS.min(weights.rows - first);
    (0..x.tokens).fold(true, |fits, token| {
        let sums = match isa.level {
            // SAFETY: as above, and the token is one of the batch.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { super::avx2::sums(product, group, token) },
            _ => sums_portable(product, group, token),
        };
        // SAFETY: as above.
        let out = unsafe { out.range(token * weights.rows + first, rows) };
        finish_group(&sums, &weights.exponents[first..], x.exponents[token], out) && fits
    })
}

/// The sums of one group of rows for one token.
fn sums_portable(product: &Product<'_>, group: usize, token: usize) -> [i64; GROUP_ROWS] {
    let Product { weights, x, offsets } = product;
    let (block, has_min) = (weights.format.block(), weights.format.has_min());
    let blocks = weights.columns / block;
    let block_bytes = weights.codes.len() / weights.groups() / blocks;
    let codes = &weights.codes[group * blocks * block_bytes..][..blocks * block_bytes];
    let mut out = [0i64; GROUP_ROWS];
    for (b, codes) in codes.chunks_exact(block_bytes).enumerate() {
        let column = b * block;
        let x_codes = &x.block(token, column / BLOCK)[column % BLOCK..][..block];
        let (mantissa, offset) = (x.mantissa(token, column / BLOCK), offsets[place(token, b, blocks)]);
        let mut dots = [if has_min { 0 } else { offset }; GROUP_ROWS];
        for (quad, codes) in codes.chunks_exact(64).enumerate() {
            for (lane, codes) in codes.chunks_exact(4).enumerate() {
                for (j, code) in codes.iter().enumerate() {
                    let (low, high) = if weights.nibbles { (code & 15, code >> 4) } else { (*code, 0) };
                    dots[lane] += i32::from(low) * i32::from(x_codes[quad * 4 + j]);
                    if weights.nibbles {
                        dots[lane] += i32::from(high) * i32::from(x_codes[block / 2 + quad * 4 + j]);
                    }
                }
            }
        }
        let at = (group * blocks + b) * GROUP_ROWS;
        for (lane, (out, dot)) in out.iter_mut().zip(dots).enumerate() {
            let minimum = weights.minimums.get(at + lane).map_or(0, |m| i64::from(*m) * i64::from(offset));
            *out += i64::from(mantissa * i32::from(weights.scales[at + lane])) * i64::from(dot) + minimum;
        }
    }
    out
}

/// Sums to Q16, by the definition; `false` if one reaches 2^40.
pub(super) fn finish_group(sums: &[i64], rows: &[i32], token: i32, out: &mut [i64]) -> bool {
    out.iter_mut().zip(sums).zip(rows).all(|((out, sum), row)| match finish(*sum, row + token) {
        Ok(y) => {
            *out = y;
            true
        }
        Err(_) => false,
    })
}
