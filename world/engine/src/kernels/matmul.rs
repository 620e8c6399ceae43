//! Rule 3: matrix times batch. Sixteen rows at a time, several tokens at a time, one i64 per output.

use super::packed::{GROUP_ROWS, Packed};
use super::pool::{Pool, SharedSlice};
use super::{Activations, Isa, Level, for_each_level};
use std::sync::atomic::{AtomicBool, Ordering};
use talkoo_exact::RangeError;
use talkoo_exact::limits::{BLOCK, LINEAR_BITS};
use talkoo_exact::matrix::finish;

/// Tokens in one tile; the weights are loaded and unpacked once for all of them.
pub(super) const TOKENS: usize = 8;

/// Sums of one tile: per token, per row.
pub(super) type Sums = [[i64; GROUP_ROWS]; TOKENS];

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
    let failed = AtomicBool::new(false);
    let shared = SharedSlice::new(out);
    let groups = weights.groups();
    pool.run(groups, groups.div_ceil(pool.threads() * 8), &|range| {
        for group in range {
            if !multiply_group(isa, weights, group, x, &shared) {
                failed.store(true, Ordering::Relaxed);
            }
        }
    });
    if failed.into_inner() { Err(RangeError { operator: "linear output", bits: LINEAR_BITS }) } else { Ok(()) }
}

fn multiply_group(isa: Isa, weights: &Packed, group: usize, x: &Activations, out: &SharedSlice<'_, i64>) -> bool {
    let first = group * GROUP_ROWS;
    let rows = GROUP_ROWS.min(weights.rows - first);
    let exponents = &weights.exponents[first..first + GROUP_ROWS];
    let span = exponents.iter().fold((i32::MAX, i32::MIN), |(low, high), e| (low.min(*e), high.max(*e)));
    let mut sums: Sums = [[0; GROUP_ROWS]; TOKENS];
    let (mut token, mut fits) = (0, true);
    while token < x.tokens {
        let count = match x.tokens - token {
            left if left >= TOKENS => TOKENS,
            left if left >= 4 => 4,
            _ => 1,
        };
        tile(isa, weights, group, x, token, count, &mut sums);
        for (c, sums) in sums[..count].iter().enumerate() {
            // SAFETY: this group's rows of this token are written by this call alone.
            let out = unsafe { out.range((token + c) * weights.rows + first, rows) };
            fits &= finish_group(isa, sums, exponents, span, x.exponents[token + c], out);
        }
        token += count;
    }
    fits
}

/// The sums of `count` tokens from `token` on: 8, 4 or 1.
fn tile(isa: Isa, weights: &Packed, group: usize, x: &Activations, token: usize, count: usize, sums: &mut Sums) {
    match isa.level {
        // SAFETY: only `Isa::detect` makes this level, after asking the CPU; token + count <= x.tokens.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni => unsafe { super::vnni::tile(weights, group, x, token, count, sums) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { super::avx2::tile(weights, group, x, token, count, sums) },
        _ => {
            for (c, sums) in sums[..count].iter_mut().enumerate() {
                *sums = tile_portable(weights, group, x, token + c);
            }
        }
    }
}

fn tile_portable(weights: &Packed, group: usize, x: &Activations, token: usize) -> [i64; GROUP_ROWS] {
    let block = weights.format.block();
    let blocks = weights.columns / block;
    let block_bytes = weights.codes.len() / weights.groups() / blocks;
    let codes = &weights.codes[group * blocks * block_bytes..][..blocks * block_bytes];
    let zero_point = i32::from(weights.format.zero_point());
    let mut out = [0i64; GROUP_ROWS];
    for (b, codes) in codes.chunks_exact(block_bytes).enumerate() {
        let x_codes = &x.codes[token * x.columns + b * block..][..block];
        let sum: i32 = if block == BLOCK { x.sums[token * blocks + b] } else { x.half_sums[token * blocks + b] };
        let mantissa = i64::from(x.mantissas[(token * x.columns + b * block) / BLOCK]);
        let mut dots = [-zero_point * sum; GROUP_ROWS];
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
            let minimum = weights.minimums.get(at + lane).map_or(0, |m| i64::from(*m) * i64::from(sum));
            *out += mantissa * (i64::from(weights.scales[at + lane]) * i64::from(dot) + minimum);
        }
    }
    out
}

for_each_level! {
    /// Sums to Q16; `false` if one reaches 2^40. `span`: the least and the largest exponent of the rows.
    finish_group(sums: &[i64; GROUP_ROWS], rows: &[i32], span: (i32, i32), token: i32, out: &mut [i64]) -> bool
        = finish_group_body
}

#[inline(always)]
fn finish_group_body(
    sums: &[i64; GROUP_ROWS],
    rows: &[i32],
    (low, high): (i32, i32),
    token: i32,
    out: &mut [i64],
) -> bool {
    // Shifts are -(row + token + 16); all of them right shifts of at most 62 is the usual case.
    if high + token + 16 >= 0 || low + token + 16 < -62 {
        return out.iter_mut().zip(sums).zip(rows).all(|((out, sum), row)| match finish(*sum, row + token) {
            Ok(y) => {
                *out = y;
                true
            }
            Err(_) => false,
        });
    }
    let mut seen = 0u64;
    for ((out, sum), row) in out.iter_mut().zip(sums).zip(rows) {
        let shift = -(row + token + 16) as u32;
        *out = (sum + (1i64 << (shift - 1))) >> shift;
        seen |= out.unsigned_abs();
    }
    seen >> LINEAR_BITS == 0
}
