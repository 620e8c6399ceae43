//! AVX2: eight rows in lanes. `vpmaddubsw` saturates at 16 bits, so it only ever sees 4-bit codes:
//! 15 * 127 * 2 = 3,810. Wider codes are split into two nibbles; the high one counts sixteen times.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::wildcard_imports)] // the intrinsics

use super::activations::place;
use super::matmul::Product;
use super::packed::GROUP_ROWS;
use std::arch::x86_64::*;
use talkoo_exact::limits::BLOCK;

/// The sums of one group of rows for one token.
///
/// # Safety
/// The CPU must have AVX2, `group` be one of the matrix's, `token` one of the batch, and matrix and batch
/// have the same number of columns.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn sums(product: &Product<'_>, group: usize, token: usize) -> [i64; GROUP_ROWS] {
    let mut sums = [0; GROUP_ROWS];
    for (half, sums) in sums.chunks_exact_mut(8).enumerate() {
        // SAFETY: passes on this function's own contract.
        sums.copy_from_slice(&unsafe { run(product, group, half, token) });
    }
    sums
}

/// Eight rows of one group against one token.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn run(product: &Product<'_>, group: usize, half: usize, token: usize) -> [i64; 8] {
    let Product { weights: w, x, offsets } = product;
    let size = w.format.block();
    let blocks = w.columns / size;
    let block_bytes = GROUP_ROWS * size / if w.nibbles { 2 } else { 1 };
    let has_min = w.format.has_min();
    let (low_bits, ones, sixteens) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1), _mm256_set1_epi16(16));
    let (all_codes, all_scales, all_minimums) = (w.codes.as_ptr(), w.scales.as_ptr(), w.minimums.as_ptr());
    let (mut even, mut odd) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for b in 0..blocks {
        let (column, offset) = (b * size, offsets[place(token, b, blocks)]);
        let mantissa = x.mantissa(token, column / BLOCK);
        let mut dots = _mm256_set1_epi32(if has_min { 0 } else { offset });
        let at = (group * blocks + b) * GROUP_ROWS + half * 8;
        // SAFETY: every address stays inside its vector: the codes of this block of the group, eight
        // scales (and minimums) from `at` on, quads of this token's block of activation codes.
        let (scales, minimums) = unsafe {
            let codes = all_codes.add((group * blocks + b) * block_bytes + half * 32);
            let x_codes = x.block(token, column / BLOCK).as_ptr().add(column % BLOCK);
            for quad in 0..block_bytes / 64 {
                let v = _mm256_loadu_si256(codes.add(quad * 64).cast());
                let low = _mm256_and_si256(v, low_bits);
                let high = _mm256_and_si256(_mm256_srli_epi16(v, 4), low_bits);
                let first = quad_at(x_codes.add(quad * 4));
                let (second, weight) =
                    if w.nibbles { (quad_at(x_codes.add(size / 2 + quad * 4)), ones) } else { (first, sixteens) };
                dots = _mm256_add_epi32(dots, _mm256_madd_epi16(_mm256_maddubs_epi16(low, first), ones));
                dots = _mm256_add_epi32(dots, _mm256_madd_epi16(_mm256_maddubs_epi16(high, second), weight));
            }
            let scales = _mm256_cvtepi16_epi32(_mm_loadu_si128(all_scales.add(at).cast()));
            let minimums =
                if has_min { _mm256_loadu_si256(all_minimums.add(at).cast()) } else { _mm256_setzero_si256() };
            (scales, minimums)
        };
        let scale = _mm256_mullo_epi32(scales, _mm256_set1_epi32(mantissa));
        let plain = _mm256_set1_epi32(offset);
        even = _mm256_add_epi64(even, _mm256_mul_epi32(dots, scale));
        even = _mm256_add_epi64(even, _mm256_mul_epi32(minimums, plain));
        odd = _mm256_add_epi64(odd, _mm256_mul_epi32(_mm256_srli_epi64(dots, 32), _mm256_srli_epi64(scale, 32)));
        odd = _mm256_add_epi64(odd, _mm256_mul_epi32(_mm256_srli_epi64(minimums, 32), plain));
    }
    interleave(even, odd)
}

/// Four activation codes in every lane.
///
/// # Safety
/// Four bytes from `at` on must be readable.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn quad_at(at: *const i8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
}

/// The sums of eight rows from those of the even and of the odd ones.
#[inline]
#[target_feature(enable = "avx2")]
fn interleave(even: __m256i, odd: __m256i) -> [i64; 8] {
    let (mut e, mut o) = ([0i64; 4], [0i64; 4]);
    // SAFETY: four numbers into four.
    unsafe {
        _mm256_storeu_si256(e.as_mut_ptr().cast(), even);
        _mm256_storeu_si256(o.as_mut_ptr().cast(), odd);
    }
    [e[0], o[0], e[1], o[1], e[2], o[2], e[3], o[3]]
}
