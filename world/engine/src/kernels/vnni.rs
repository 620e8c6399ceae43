//! Attention with AVX-512 and VNNI: sixteen positions in lanes, byte dot products with `vpdpbusd` (never
//! the saturating `vpdpbusds`).
#![cfg(target_arch = "x86_64")]
#![allow(clippy::wildcard_imports)] // the intrinsics
#![allow(clippy::needless_range_loop)] // indices of register arrays

use super::attention::Query;
use super::cache::{HeadCache, KEY_TILE, VALUE_GROUP};
use std::arch::x86_64::*;
use talkoo_exact::limits::{BLOCK, SEGMENT};

/// Four codes in every lane.
///
/// # Safety
/// Four bytes from `at` on must be readable.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn quad_at(at: *const i8) -> __m512i {
    // SAFETY: the caller's promise.
    _mm512_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
}

/// Interleaves the numbers of the even and odd lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(even: __m512i, odd: __m512i, out: &mut [i64; 16]) {
    let first = _mm512_permutex2var_epi64(even, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), odd);
    let second = _mm512_permutex2var_epi64(even, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), odd);
    // SAFETY: two stores of eight numbers into sixteen.
    unsafe {
        _mm512_storeu_si512(out.as_mut_ptr().cast(), first);
        _mm512_storeu_si512(out.as_mut_ptr().add(8).cast(), second);
    }
}

/// Raw attention dot products of one plane with all positions of the tiles that `out` spans, from tile `first` on.
///
/// # Safety
/// The CPU must have the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn dots(cache: &HeadCache, plane: usize, query: &Query, first: usize, out: &mut [i64]) {
    let blocks = cache.dimensions / BLOCK;
    let zero = _mm512_setzero_si512();
    for (tile, out) in (first..).zip(out.chunks_exact_mut(KEY_TILE)) {
        let (mut even, mut odd) = (zero, zero);
        for b in 0..blocks {
            let keys = &cache.planes[plane].keys[(tile * blocks + b) * BLOCK * KEY_TILE..][..BLOCK * KEY_TILE];
            let mantissas = &cache.key_mantissas[(tile * blocks + b) * KEY_TILE..][..KEY_TILE];
            let (mut low, mut high) = (_mm512_set1_epi32(-128 * query.sums[b]), zero);
            for (quad, keys) in keys.chunks_exact(64).enumerate() {
                let d = b * BLOCK + quad * 4;
                // SAFETY: 64 keys; d + 4 <= dimensions <= the length of the limbs.
                unsafe {
                    let keys = _mm512_loadu_si512(keys.as_ptr().cast());
                    low = _mm512_dpbusd_epi32(low, keys, quad_at(query.low.as_ptr().add(d)));
                    high = _mm512_dpbusd_epi32(high, keys, quad_at(query.high.as_ptr().add(d)));
                }
            }
            let sum = _mm512_add_epi32(low, _mm512_slli_epi32(high, 8));
            // SAFETY: sixteen mantissas.
            let m = unsafe { _mm512_loadu_si512(mantissas.as_ptr().cast()) };
            even = _mm512_add_epi64(even, _mm512_mul_epi32(sum, m));
            odd = _mm512_add_epi64(odd, _mm512_mul_epi32(_mm512_srli_epi64(sum, 32), _mm512_srli_epi64(m, 32)));
        }
        let out: &mut [i64; KEY_TILE] = out.try_into().expect("chunks of sixteen");
        store(even, odd, out);
    }
}

/// Sums of weight * value code over one segment, for one block of dimensions.
///
/// # Safety
/// The CPU must have the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn mix(
    cache: &HeadCache,
    plane: usize,
    block: usize,
    segment: usize,
    low: &[u8],
    high: &[u8],
) -> [i32; BLOCK] {
    let zero = _mm512_setzero_si512();
    let (mut low_sums, mut high_sums) = ([zero; 2], [zero; 2]);
    let weights = low.chunks_exact(VALUE_GROUP).zip(high.chunks_exact(VALUE_GROUP));
    for (group, (low, high)) in weights.enumerate() {
        let at = ((segment * SEGMENT / VALUE_GROUP + group) * cache.dimensions + block * BLOCK) * VALUE_GROUP;
        let values = &cache.planes[plane].values[at..][..BLOCK * VALUE_GROUP];
        // SAFETY: four weights of each limb, 128 value codes.
        unsafe {
            let low = _mm512_set1_epi32(low.as_ptr().cast::<i32>().read_unaligned());
            let high = _mm512_set1_epi32(high.as_ptr().cast::<i32>().read_unaligned());
            for half in 0..2 {
                let values = _mm512_loadu_si512(values.as_ptr().add(half * 64).cast());
                low_sums[half] = _mm512_dpbusd_epi32(low_sums[half], low, values);
                high_sums[half] = _mm512_dpbusd_epi32(high_sums[half], high, values);
            }
        }
    }
    let mut out = [0i32; BLOCK];
    for half in 0..2 {
        let sum = _mm512_add_epi32(low_sums[half], _mm512_slli_epi32(high_sums[half], 8));
        // SAFETY: sixteen of thirty-two numbers.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().add(half * 16).cast(), sum) };
    }
    out
}
