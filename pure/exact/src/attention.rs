//! Rule 8: attention of one query head at one position over the causal range.
//!
//! Two passes, no running maximum: scores, then weights against the global maximum. The weights of
//! 128 consecutive positions (a segment, counted from position 0) share one shift that keeps their
//! own largest at 16 bits, so a far tail keeps its precision however long the context grows.

use crate::arith::{bit_length, rsh, rsh128};
use crate::exp::exp2neg;
use crate::kv::{CachedHead, KvFormat};
use crate::limits::{BLOCK, SCORE_BITS, SEGMENT};
use crate::quantize::quantize_query;

/// The score of a raw dot product, in Q20 and in units of log2: floor(score * scale / 2^30).
/// `exponent` = query exponent + key exponent; `scale` = log2(e)/sqrt(head dim) in Q30.
#[inline(always)]
#[must_use]
pub fn score(dot: i64, exponent: i32, scale: i64) -> i64 {
    let limit = 1i128 << SCORE_BITS;
    let score = rsh128(i128::from(dot), -(exponent + 20)).clamp(-limit, limit);
    ((score * i128::from(scale)) >> 30) as i64
}

/// Sum over blocks of mantissa * (query codes . key codes): below 2^46, of fine codes below 2^54.
#[must_use]
pub fn dot(query: &[i16], key: &CachedHead) -> i64 {
    let blocks = query.chunks_exact(BLOCK).zip(key.codes.chunks_exact(BLOCK));
    blocks
        .zip(&key.mantissas)
        .map(|((q, k), m)| {
            let sum: i64 = q.iter().zip(k).map(|(q, k)| i64::from(*q) * i64::from(*k)).sum();
            sum * i64::from(*m)
        })
        .sum()
}

/// Attention of `query` (Q16, head dim numbers) over `keys` and `values` of positions 0..=own, of which
/// those from `first` on are seen, in Q20. `scale` is the manifest's score scale.
#[must_use]
pub fn attend(
    query: &[i64],
    keys: &[&CachedHead],
    values: &[&CachedHead],
    first: usize,
    scale: i64,
    format: KvFormat,
) -> Vec<i64> {
    let mut codes = vec![0i16; query.len()];
    let query_exponent = quantize_query(query, 16, &mut codes);
    let seen = &keys[first..];
    let scores: Vec<i64> = seen.iter().map(|k| score(dot(&codes, k), query_exponent + k.exponent, scale)).collect();
    let largest = scores.iter().copied().max().unwrap_or(0);
    let probabilities: Vec<i64> = scores.iter().map(|s| exp2neg(largest - s)).collect();
    let mut out = Vec::with_capacity(query.len());
    for block in 0..query.len() / BLOCK {
        out.extend(mix_block(block, &probabilities, values, first, format));
    }
    out
}

/// The weighted sum of one block of 32 value dimensions, in Q20; `p` are the probabilities from
/// position `first` on, those before weigh nothing.
fn mix_block(block: usize, p: &[i64], values: &[&CachedHead], first: usize, format: KvFormat) -> [i64; BLOCK] {
    let total: i64 = p.iter().sum();
    let exponent = values[first..].iter().map(|v| v.exponent).max().unwrap_or(0);
    let seen = p.iter().zip(&values[first..]);
    let mut weights = vec![0; first];
    weights.extend(seen.map(|(p, v)| align(p * i64::from(v.mantissas[block]), exponent - v.exponent)));
    let grid = grid_shift(weights.iter().copied().max().unwrap_or(0), format);
    let mut sums = [0i64; BLOCK];
    for (weights, values) in weights.chunks(SEGMENT).zip(values.chunks(SEGMENT)) {
        let shift = segment_shift(weights.iter().copied().max().unwrap_or(0));
        let mut partial = [0i64; BLOCK];
        for (w, v) in weights.iter().zip(values) {
            let w = segment_weight(*w, shift);
            for (sum, code) in partial.iter_mut().zip(&v.codes[block * BLOCK..]) {
                *sum += w * i64::from(*code);
            }
        }
        for (sum, partial) in sums.iter_mut().zip(partial) {
            *sum += rsh(partial, grid - shift);
        }
    }
    let reciprocal = reciprocal(total);
    sums.map(|sum| normalise(sum, reciprocal, grid + exponent))
}

/// Aligns a weight (below 2^46) to the largest value exponent of the range.
#[inline(always)]
#[must_use]
pub fn align(weight: i64, difference: i32) -> i64 {
    rsh(weight, difference)
}

/// Right shift that makes the largest weight of a segment at most 16 bits.
#[inline(always)]
#[must_use]
pub fn segment_shift(largest: i64) -> i32 {
    (bit_length(largest as u64) - 16).max(0)
}

/// A weight on its segment's scale, 0..=65,535: the one weight that would round up to 65,536 does not.
#[inline(always)]
#[must_use]
pub fn segment_weight(weight: i64, shift: i32) -> i64 {
    rsh(weight, shift).min(65_535)
}

/// Shift of the common grid that segments are summed on.
#[inline(always)]
#[must_use]
pub fn grid_shift(largest: i64, format: KvFormat) -> i32 {
    (bit_length(largest as u64) - format.grid_bits()).max(0)
}

/// floor(2^(bits + 30) / total) and bits, the bit length of the un-rounded total of the probabilities (Q30);
/// the first is in 2^30..=2^31.
#[inline(always)]
#[must_use]
pub fn reciprocal(total: i64) -> (i64, i32) {
    let bits = bit_length(total as u64);
    (((1i128 << (bits + 30)) / i128::from(total)) as i64, bits)
}

/// Divides a sum by the total whose [`reciprocal`] is given: the result is in Q20.
/// `exponent` = grid shift + value exponent.
#[inline(always)]
#[must_use]
pub fn normalise(sum: i64, (reciprocal, bits): (i64, i32), exponent: i32) -> i64 {
    rsh128(i128::from(sum) * i128::from(reciprocal), bits + 30 - exponent - 20) as i64
}
