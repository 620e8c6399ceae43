//! Matrix products with AVX-512 and VNNI: sixteen rows in lanes, eight tokens at a time, byte dot products
//! with `vpdpbusd` (never the saturating `vpdpbusds`), block scales in 64-bit lanes.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::wildcard_imports)] // the intrinsics
#![allow(clippy::needless_range_loop)] // indices of register arrays

use super::activations::TOKENS;
use super::matmul::{Product, finish_group};
use super::packed::GROUP_ROWS;
use super::pool::SharedSlice;
use super::vnni::{quad_at, store};
use std::arch::x86_64::*;
use talkoo_exact::limits::{BLOCK, LINEAR_BITS};

/// Blocks of weights to prefetch ahead: about a microsecond of work.
const AHEAD: usize = 16;

/// Exponents to prefetch ahead: four groups.
const AHEAD_EXPONENTS: usize = 4 * GROUP_ROWS;

/// Sums of the even and of the odd rows, for each of `C` tokens.
type Sums<const C: usize> = ([__m512i; C], [__m512i; C]);

/// All tokens with one group of rows; `false` if an output reaches 2^40.
///
/// # Safety
/// The CPU must have the instructions, `group` be one of the matrix's, matrix and batch have the same
/// number of columns, and nobody else write this group's rows of `out` (tokens x rows).
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn multiply_group(p: &Product<'_>, group: usize, out: &SharedSlice<'_, i64>) -> bool {
    // SAFETY: passes on this function's own contract.
    unsafe {
        match (p.weights.nibbles, p.weights.format.has_min(), p.weights.format.block()) {
            (true, true, _) => all_tokens::<true, true, 32>(p, group, out),
            (true, false, _) => all_tokens::<true, false, 32>(p, group, out),
            (false, true, _) => all_tokens::<false, true, 32>(p, group, out),
            (false, false, 32) => all_tokens::<false, false, 32>(p, group, out),
            (false, false, _) => all_tokens::<false, false, 16>(p, group, out),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn all_tokens<const NIBBLES: bool, const MIN: bool, const SIZE: usize>(
    p: &Product<'_>,
    group: usize,
    out: &SharedSlice<'_, i64>,
) -> bool {
    let (mut token, mut ending) = (0, Ending::new(p, group));
    while token < p.x.tokens {
        // SAFETY: passes on this function's own contract; the tokens are some of the batch, in one tile.
        token += unsafe {
            match p.x.tokens - token {
                left if left >= 8 => ending.write(token, tile::<8, NIBBLES, MIN, SIZE>(p, group, token), out),
                left if left >= 4 => ending.write(token, tile::<4, NIBBLES, MIN, SIZE>(p, group, token), out),
                _ => ending.write(token, tile::<1, NIBBLES, MIN, SIZE>(p, group, token), out),
            }
        };
    }
    ending.fits()
}

/// The sums of `C` tokens from `token` on, all of one tile.
///
/// # Safety
/// As [`multiply_group`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile<const C: usize, const NIBBLES: bool, const MIN: bool, const SIZE: usize>(
    p: &Product<'_>,
    group: usize,
    token: usize,
) -> Sums<C> {
    let (w, x) = (p.weights, p.x);
    let (columns, blocks) = (w.columns, w.columns / SIZE);
    let block_bytes = GROUP_ROWS * SIZE / if NIBBLES { 2 } else { 1 };
    let (tile, within) = (token / TOKENS, token % TOKENS);
    let zero = _mm512_setzero_si512();
    let low_bits = _mm512_set1_epi8(15);
    let (mut even, mut odd) = ([zero; C], [zero; C]);
    // SAFETY: every address below stays inside its vector: blocks * block_bytes codes per group, blocks
    // * 16 scales (and minimums) per group; per tile and block of 32 columns 8 * 32 activation codes and
    // 8 mantissas, per tile and block 8 offsets, and within + C <= 8. Loads are unaligned ones.
    unsafe {
        let mut codes = w.codes.as_ptr().add(group * blocks * block_bytes);
        let mut scales = w.scales.as_ptr().add(group * blocks * GROUP_ROWS);
        let mut minimums = if MIN { w.minimums.as_ptr().add(group * blocks * GROUP_ROWS) } else { std::ptr::null() };
        let x_codes = x.codes.as_ptr().add((tile * columns * TOKENS) + within * BLOCK);
        let mantissas = x.mantissas.as_ptr().add(tile * columns / BLOCK * TOKENS + within);
        let mut offsets = p.offsets.as_ptr().add(tile * blocks * TOKENS + within);
        for b in 0..blocks {
            let block = b * SIZE / BLOCK;
            let x_codes = x_codes.add(block * TOKENS * BLOCK + b * SIZE % BLOCK);
            let mantissas = mantissas.add(block * TOKENS);
            let mut dots = [zero; C];
            if !MIN {
                for c in 0..C {
                    dots[c] = _mm512_set1_epi32(*offsets.add(c));
                }
            }
            for quad in 0..block_bytes / 64 {
                let v = _mm512_loadu_si512(codes.add(quad * 64).cast());
                let low = if NIBBLES { _mm512_and_si512(v, low_bits) } else { v };
                for c in 0..C {
                    dots[c] = _mm512_dpbusd_epi32(dots[c], low, quad_at(x_codes.add(c * BLOCK + quad * 4)));
                }
                if NIBBLES {
                    let high = _mm512_and_si512(_mm512_srli_epi16(v, 4), low_bits);
                    for c in 0..C {
                        let at = x_codes.add(c * BLOCK + SIZE / 2 + quad * 4);
                        dots[c] = _mm512_dpbusd_epi32(dots[c], high, quad_at(at));
                    }
                }
            }
            if C == 1 {
                fetch_ahead(codes, block_bytes, scales, minimums);
            }
            let scale = _mm512_cvtepi16_epi32(_mm256_loadu_si256(scales.cast()));
            let minimum = if MIN { _mm512_loadu_si512(minimums.cast()) } else { zero };
            let odd_minimum = _mm512_srli_epi64(minimum, 32);
            for c in 0..C {
                let scale = _mm512_mullo_epi32(scale, _mm512_set1_epi32(*mantissas.add(c)));
                even[c] = _mm512_add_epi64(even[c], _mm512_mul_epi32(dots[c], scale));
                let odd_product = _mm512_mul_epi32(_mm512_srli_epi64(dots[c], 32), _mm512_srli_epi64(scale, 32));
                odd[c] = _mm512_add_epi64(odd[c], odd_product);
                if MIN {
                    let offset = _mm512_set1_epi32(*offsets.add(c));
                    even[c] = _mm512_add_epi64(even[c], _mm512_mul_epi32(minimum, offset));
                    odd[c] = _mm512_add_epi64(odd[c], _mm512_mul_epi32(odd_minimum, offset));
                }
            }
            codes = codes.add(block_bytes);
            scales = scales.add(GROUP_ROWS);
            minimums = minimums.wrapping_add(GROUP_ROWS);
            offsets = offsets.add(TOKENS);
        }
    }
    (even, odd)
}

/// Asks for the weights of a later block. One token is bound by memory, and there are three streams.
/// Addresses beyond the end are harmless: a prefetch reads nothing.
#[inline]
#[target_feature(enable = "avx512f")]
fn fetch_ahead(codes: *const u8, block_bytes: usize, scales: *const i16, minimums: *const i32) {
    for line in (0..block_bytes).step_by(64) {
        _mm_prefetch::<_MM_HINT_T0>(codes.wrapping_add(AHEAD * block_bytes + line).cast());
    }
    _mm_prefetch::<_MM_HINT_T0>(scales.wrapping_add(AHEAD * GROUP_ROWS).cast());
    _mm_prefetch::<_MM_HINT_T0>(minimums.wrapping_add(AHEAD * GROUP_ROWS).cast());
}

/// Turns a group's sums into outputs.
struct Ending<'a> {
    exponents: &'a [i32],
    token_exponents: &'a [i32],
    /// The least and the largest of the rows' exponents.
    range: (i32, i32),
    /// -(exponent + 16) of the even and of the odd rows.
    shifts: [__m512i; 2],
    first: usize,
    /// Rows of the matrix, and of the group.
    rows: (usize, usize),
    /// Bits that outputs had.
    seen: __m512i,
    fits: bool,
}

impl<'a> Ending<'a> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    fn new(p: &Product<'a>, group: usize) -> Self {
        let first = group * GROUP_ROWS;
        let exponents = &p.weights.exponents[first..first + GROUP_ROWS];
        // No closures around intrinsics here: they would be calls.
        let (mut range, mut even, mut odd) = ((i32::MAX, i32::MIN), [0i64; 8], [0i64; 8]);
        for (i, pair) in exponents.chunks_exact(2).enumerate() {
            range = (range.0.min(pair[0]).min(pair[1]), range.1.max(pair[0]).max(pair[1]));
            (even[i], odd[i]) = (-(i64::from(pair[0]) + 16), -(i64::from(pair[1]) + 16));
        }
        _mm_prefetch::<_MM_HINT_T0>(exponents.as_ptr().wrapping_add(AHEAD_EXPONENTS).cast());
        // SAFETY: eight numbers each.
        let shifts = unsafe { [_mm512_loadu_si512(even.as_ptr().cast()), _mm512_loadu_si512(odd.as_ptr().cast())] };
        let rows = (p.weights.rows, GROUP_ROWS.min(p.weights.rows - first));
        let token_exponents = &p.x.exponents;
        Self { exponents, token_exponents, range, shifts, first, rows, seen: _mm512_setzero_si512(), fits: true }
    }

    /// Writes the outputs of tokens from `token` on; returns how many tokens these are.
    ///
    /// # Safety
    /// As [`multiply_group`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn write<const C: usize>(&mut self, token: usize, sums: Sums<C>, out: &SharedSlice<'_, i64>) -> usize {
        for c in 0..C {
            let exponent = self.token_exponents[token + c];
            // SAFETY: this group's rows of this token are written by this call alone.
            let out = unsafe { out.range((token + c) * self.rows.0 + self.first, self.rows.1) };
            // All of them right shifts of at most 62 is the usual case.
            if self.range.1 + exponent + 16 >= 0 || self.range.0 + exponent + 16 < -62 {
                let mut wide = [0; GROUP_ROWS];
                store(sums.0[c], sums.1[c], &mut wide);
                self.fits &= finish_group(&wide, self.exponents, exponent, out);
                continue;
            }
            let shift = _mm512_set1_epi64(i64::from(exponent));
            let even = self.round(sums.0[c], _mm512_sub_epi64(self.shifts[0], shift));
            let odd = self.round(sums.1[c], _mm512_sub_epi64(self.shifts[1], shift));
            if let Ok(out) = <&mut [i64; GROUP_ROWS]>::try_from(&mut *out) {
                store(even, odd, out);
            } else {
                let mut whole = [0; GROUP_ROWS];
                store(even, odd, &mut whole);
                out.copy_from_slice(&whole[..out.len()]);
            }
        }
        C
    }

    /// Sums over 2^shift, rounded half up.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn round(&mut self, sums: __m512i, shift: __m512i) -> __m512i {
        let one = _mm512_set1_epi64(1);
        let half = _mm512_sllv_epi64(one, _mm512_sub_epi64(shift, one));
        let y = _mm512_srav_epi64(_mm512_add_epi64(sums, half), shift);
        self.seen = _mm512_or_si512(self.seen, _mm512_abs_epi64(y));
        y
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn fits(&self) -> bool {
        self.fits && _mm512_test_epi64_mask(self.seen, _mm512_set1_epi64(-1 << LINEAR_BITS)) == 0
    }
}
