//! Rule 8 over the cache's tiles: dot products and mixing with byte dot-product instructions, the
//! softmax between them in 64-bit lanes.

use super::cache::{HeadCache, KEY_TILE, VALUE_GROUP};
use super::{Isa, Level, for_each_level};
use std::ops::Range;
use talkoo_exact::arith::max_abs;
use talkoo_exact::attention::{grid_shift, normalise, reciprocal, score, segment_shift};
use talkoo_exact::exp::exp2neg;
use talkoo_exact::limits::{BLOCK, HEAD_DIM_MAX, SEGMENT};
use talkoo_exact::quantize::quantize_query;

/// Blocks of the longest head.
const SUMS: usize = HEAD_DIM_MAX / BLOCK;

/// A query as two signed bytes per number (code = 256 * high + low) and the sums of its codes per block.
pub(super) struct Query {
    pub(super) low: [i8; HEAD_DIM_MAX],
    pub(super) high: [i8; HEAD_DIM_MAX],
    pub(super) sums: [i32; SUMS],
    exponent: i32,
}

/// Working memory of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    scores: Vec<i64>,
    weights: Vec<i64>,
    shifts: Vec<i32>,
    low: Vec<u8>,
    high: Vec<u8>,
}

/// Attention of one query head (Q16) over the positions `seen` of `cache`; writes Q20.
pub(crate) fn attend(
    isa: Isa,
    cache: &HeadCache,
    seen: Range<usize>,
    query: &[i64],
    scale: i64,
    scratch: &mut Scratch,
    out: &mut [i64],
) {
    let mut split = Query { low: [0; HEAD_DIM_MAX], high: [0; HEAD_DIM_MAX], sums: [0; SUMS], exponent: 0 };
    split_query(isa, query, &mut split);
    let query = split;
    // Whole segments before the first position seen are passed over; all memory is relative to `base`.
    let base = seen.start / SEGMENT * SEGMENT;
    let (positions, unseen) = (seen.end - base, seen.start - base);
    let padded = positions.next_multiple_of(SEGMENT);
    scratch.scores.resize(padded, 0);
    scratch.weights.resize(padded, 0);
    scratch.low.resize(padded, 0);
    scratch.high.resize(padded, 0);
    scratch.shifts.resize(padded / SEGMENT, 0);

    let tiles = ..positions.next_multiple_of(KEY_TILE);
    dots(isa, cache, 0, &query, base / KEY_TILE, &mut scratch.scores[tiles]);
    for plane in 1..cache.planes.len() {
        dots(isa, cache, plane, &query, base / KEY_TILE, &mut scratch.weights[tiles]);
        // Below 2^54, as the definition's.
        scratch.scores[tiles].iter_mut().zip(&scratch.weights).for_each(|(score, low)| *score = (*score << 8) + low);
    }
    let p = &mut scratch.scores[unseen..positions];
    let shift_max = if cache.planes.len() > 1 { 8 } else { 16 };
    scale_scores(isa, p, &cache.key_exponents[seen.clone()], query.exponent, scale, shift_max);
    let reciprocal = reciprocal(soften(isa, p));
    let exponents = &cache.value_exponents[seen.clone()];
    let exponent = exponents.iter().copied().fold(i32::MIN, i32::max);
    scratch.weights[..unseen].fill(0);
    for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
        let mantissas = &cache.value_mantissas[block][seen.clone()];
        weigh(isa, p, mantissas, exponents, exponent, &mut scratch.weights[unseen..positions]);
        let weights = &scratch.weights[..positions];
        let largest = limbs(isa, weights, &mut scratch.shifts, &mut scratch.low, &mut scratch.high);
        let grid = grid_shift(largest, cache.format());
        let mut sums = [0i64; BLOCK];
        for (segment, shift) in scratch.shifts.iter().enumerate() {
            let groups = (positions - segment * SEGMENT).min(SEGMENT).div_ceil(VALUE_GROUP);
            let range = segment * SEGMENT..segment * SEGMENT + groups * VALUE_GROUP;
            let (low, high) = (&scratch.low[range.clone()], &scratch.high[range]);
            let mut partial = [0i64; BLOCK];
            for plane in 0..cache.planes.len() {
                // Below 2^31, and with a lower byte below 2^38.
                let bytes = mix(isa, cache, plane, block, base / SEGMENT + segment, low, high);
                partial.iter_mut().zip(bytes).for_each(|(sum, byte)| *sum = (*sum << 8) + i64::from(byte));
            }
            for (sum, partial) in sums.iter_mut().zip(partial) {
                *sum += talkoo_exact::arith::rsh(partial, grid - shift);
            }
        }
        normalise_all(isa, &sums, reciprocal, grid + exponent, out);
    }
}

/// The raw dot products of one plane with all positions of whole tiles, from tile `first` on.
fn dots(isa: Isa, cache: &HeadCache, plane: usize, query: &Query, first: usize, out: &mut [i64]) {
    match isa.level {
        // SAFETY: only `Isa::detect` makes this level, after asking the CPU.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni => unsafe { super::vnni::dots(cache, plane, query, first, out) },
        _ => dots_portable(isa, cache, plane, query, first, out),
    }
}

/// The sums over one segment of weight * byte of one plane, for one block of dimensions.
fn mix(
    isa: Isa,
    cache: &HeadCache,
    plane: usize,
    block: usize,
    segment: usize,
    low: &[u8],
    high: &[u8],
) -> [i32; BLOCK] {
    match isa.level {
        // SAFETY: only `Isa::detect` makes this level, after asking the CPU.
        #[cfg(target_arch = "x86_64")]
        Level::Vnni => unsafe { super::vnni::mix(cache, plane, block, segment, low, high) },
        _ => mix_portable(isa, cache, plane, block, segment, low, high),
    }
}

for_each_level! {
    split_query(query: &[i64], out: &mut Query) = split_query_body
}
for_each_level! {
    normalise_all(sums: &[i64; BLOCK], reciprocal: (i64, i32), exponent: i32, out: &mut [i64]) = normalise_all_body
}
for_each_level! {
    dots_portable(cache: &HeadCache, plane: usize, query: &Query, first: usize, out: &mut [i64]) = dots_body
}
for_each_level! {
    mix_portable(cache: &HeadCache, plane: usize, block: usize, segment: usize, low: &[u8], high: &[u8]) -> [i32; BLOCK]
        = mix_body
}
for_each_level! {
    scale_scores(s: &mut [i64], exponents: &[i32], query_exponent: i32, scale: i64, shift_max: i32) = scale_scores_body
}
for_each_level! {
    soften(s: &mut [i64]) -> i64 = soften_body
}
for_each_level! {
    weigh(p: &[i64], mantissas: &[i32], exponents: &[i32], largest: i32, out: &mut [i64]) = weigh_body
}
for_each_level! {
    limbs(weights: &[i64], shifts: &mut [i32], low: &mut [u8], high: &mut [u8]) -> i64 = limbs_body
}

#[inline(always)]
fn split_query_body(query: &[i64], out: &mut Query) {
    let mut codes = [0i16; HEAD_DIM_MAX];
    let codes = &mut codes[..query.len()];
    out.exponent = quantize_query(query, 16, codes);
    for ((high, low), code) in out.high.iter_mut().zip(&mut out.low).zip(codes.iter()) {
        *high = ((code + 128) >> 8) as i8;
        *low = *code as i8;
    }
    for (sum, codes) in out.sums.iter_mut().zip(codes.chunks_exact(BLOCK)) {
        *sum = codes.iter().map(|code| i32::from(*code)).sum();
    }
}

/// The definition on 128 bits, or in two halves of 64: with s = 32 + n, floor((h * 2^32 + l) / 2^s) is
/// floor((h + floor(l / 2^32)) / 2^n).
#[inline(always)]
fn normalise_all_body(sums: &[i64; BLOCK], reciprocal: (i64, i32), exponent: i32, out: &mut [i64]) {
    let shift = reciprocal.1 + 30 - exponent - 20;
    if !(33..=94).contains(&shift) || max_abs(sums) >> 62 != 0 {
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = normalise(*sum, reciprocal, exponent);
        }
        return;
    }
    let half = 1i64 << (shift - 33);
    for (out, sum) in out.iter_mut().zip(sums) {
        let low = ((sum & 0xffff_ffff) as u64 * reciprocal.0 as u64) >> 32;
        *out = ((sum >> 32) * reciprocal.0 + half + low as i64) >> (shift - 32);
    }
}

#[inline(always)]
fn dots_body(cache: &HeadCache, plane: usize, query: &Query, first: usize, out: &mut [i64]) {
    let blocks = cache.dimensions / BLOCK;
    for (tile, out) in (first..).zip(out.chunks_exact_mut(KEY_TILE)) {
        out.fill(0);
        for b in 0..blocks {
            let keys = &cache.planes[plane].keys[(tile * blocks + b) * BLOCK * KEY_TILE..][..BLOCK * KEY_TILE];
            let mut sums = [-128 * query.sums[b]; KEY_TILE];
            for (quad, keys) in keys.chunks_exact(4 * KEY_TILE).enumerate() {
                for j in 0..4 {
                    let d = b * BLOCK + quad * 4 + j;
                    let code = 256 * i32::from(query.high[d]) + i32::from(query.low[d]);
                    for (sum, key) in sums.iter_mut().zip(keys.chunks_exact(4)) {
                        *sum += code * i32::from(key[j]);
                    }
                }
            }
            let mantissas = &cache.key_mantissas[(tile * blocks + b) * KEY_TILE..][..KEY_TILE];
            for ((out, sum), m) in out.iter_mut().zip(sums).zip(mantissas) {
                *out += i64::from(sum) * i64::from(*m);
            }
        }
    }
}

#[inline(always)]
fn mix_body(cache: &HeadCache, plane: usize, block: usize, segment: usize, low: &[u8], high: &[u8]) -> [i32; BLOCK] {
    let mut out = [0i32; BLOCK];
    let weights = low.chunks_exact(VALUE_GROUP).zip(high.chunks_exact(VALUE_GROUP));
    for (group, (low, high)) in weights.enumerate() {
        let at = ((segment * SEGMENT / VALUE_GROUP + group) * cache.dimensions + block * BLOCK) * VALUE_GROUP;
        let values = &cache.planes[plane].values[at..][..BLOCK * VALUE_GROUP];
        for j in 0..VALUE_GROUP {
            let weight = i32::from(low[j]) + 256 * i32::from(high[j]);
            for (out, value) in out.iter_mut().zip(values.chunks_exact(VALUE_GROUP)) {
                *out += weight * i32::from(value[j]);
            }
        }
    }
    out
}

/// Dot products to scores in place. The fast form needs shifts left of at most `shift_max` (16 for dots below 2^46, 8 for
/// those of fine codes, below 2^54) and scores below 2^33, which every sane model has; else the definition does it.
#[inline(always)]
fn scale_scores_body(s: &mut [i64], exponents: &[i32], query_exponent: i32, scale: i64, shift_max: i32) {
    let largest = exponents.iter().copied().fold(i32::MIN, i32::max);
    if query_exponent + largest + 20 > shift_max || max_score(s, exponents, query_exponent) >> 33 != 0 {
        for (s, e) in s.iter_mut().zip(exponents) {
            *s = score(*s, query_exponent + e, scale);
        }
        return;
    }
    for (s, e) in s.iter_mut().zip(exponents) {
        *s = (shifted(*s, -(query_exponent + e + 20)) * scale) >> 30;
    }
}

#[inline(always)]
fn max_score(s: &[i64], exponents: &[i32], query_exponent: i32) -> u64 {
    s.iter().zip(exponents).fold(0, |max, (s, e)| max.max(shifted(*s, -(query_exponent + e + 20)).unsigned_abs()))
}

/// `rsh` without branches, for shifts of -16..=62.
#[inline(always)]
fn shifted(v: i64, shift: i32) -> i64 {
    let (left, right) = ((-shift).max(0) as u32, shift.max(0) as u32);
    ((v << left) + ((1i64 << right) >> 1)) >> right
}

/// Scores to probabilities (Q30) in place; returns their sum.
#[inline(always)]
fn soften_body(s: &mut [i64]) -> i64 {
    let largest = s.iter().copied().fold(i64::MIN, i64::max);
    let mut total = 0;
    for s in s {
        *s = exp2neg(largest - *s);
        total += *s;
    }
    total
}

/// Probabilities times value mantissas, aligned to the largest value exponent.
#[inline(always)]
fn weigh_body(p: &[i64], mantissas: &[i32], exponents: &[i32], largest: i32, out: &mut [i64]) {
    for (((out, p), m), e) in out.iter_mut().zip(p).zip(mantissas).zip(exponents) {
        *out = shifted(p * i64::from(*m), largest - e);
    }
}

/// Weights to two bytes each on their segment's scale; zero beyond the last. Returns the largest weight.
#[inline(always)]
fn limbs_body(weights: &[i64], shifts: &mut [i32], low: &mut [u8], high: &mut [u8]) -> i64 {
    let segments = low.chunks_exact_mut(SEGMENT).zip(high.chunks_exact_mut(SEGMENT));
    for (((low, high), weights), shift) in segments.zip(weights.chunks(SEGMENT)).zip(shifts.iter_mut()) {
        *shift = segment_shift(max_abs(weights) as i64);
        for ((low, high), w) in low.iter_mut().zip(high.iter_mut()).zip(weights) {
            let w = shifted(*w, *shift).min(65_535);
            *low = w as u8;
            *high = (w >> 8) as u8;
        }
        low[weights.len()..].fill(0);
        high[weights.len()..].fill(0);
    }
    max_abs(weights) as i64
}
