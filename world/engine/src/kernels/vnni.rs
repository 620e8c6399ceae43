//! AVX-512 with VNNI: sixteen rows (or positions) in lanes, byte dot products with `vpdpbusd` (never
//! the saturating `vpdpbusds`), block scales in 64-bit lanes.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::wildcard_imports)] // the intrinsics
#![allow(clippy::needless_range_loop)] // indices of register arrays

use super::Activations;
use super::attention::Query;
use super::cache::{HeadCache, KEY_TILE, VALUE_GROUP};
use super::matmul::Sums;
use super::packed::{GROUP_ROWS, Packed};
use std::arch::x86_64::*;
use talkoo_exact::limits::{BLOCK, SEGMENT};

/// Blocks of weights to prefetch ahead: about a microsecond of work.
const AHEAD: usize = 16;

/// One tile of a matrix product: `count` (8, 4 or 1) tokens from `token` on.
///
/// # Safety
/// The CPU must have the instructions, `group` be one of the matrix's, token + count <= x.tokens, and
/// matrix and batch have the same number of columns.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn tile(w: &Packed, group: usize, x: &Activations, token: usize, count: usize, sums: &mut Sums) {
    // SAFETY: passes on this function's own contract.
    unsafe {
        match count {
            8 => tile_of::<8>(w, group, x, token, sums),
            4 => tile_of::<4>(w, group, x, token, sums),
            _ => tile_of::<1>(w, group, x, token, sums),
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn tile_of<const C: usize>(w: &Packed, group: usize, x: &Activations, token: usize, sums: &mut Sums) {
    // SAFETY: as `tile`.
    unsafe {
        match (w.nibbles, w.format.has_min(), w.format.block()) {
            (true, true, _) => run::<C, true, true, 32>(w, group, x, token, sums),
            (true, false, _) => run::<C, true, false, 32>(w, group, x, token, sums),
            (false, true, _) => run::<C, false, true, 32>(w, group, x, token, sums),
            (false, false, 32) => run::<C, false, false, 32>(w, group, x, token, sums),
            (false, false, _) => run::<C, false, false, 16>(w, group, x, token, sums),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn run<const C: usize, const NIBBLES: bool, const MIN: bool, const SIZE: usize>(
    w: &Packed,
    group: usize,
    x: &Activations,
    token: usize,
    sums: &mut Sums,
) {
    let (columns, blocks) = (w.columns, w.columns / SIZE);
    let block_bytes = GROUP_ROWS * SIZE / if NIBBLES { 2 } else { 1 };
    let x_sums = if SIZE == 16 { &x.half_sums } else { &x.sums };
    let zero_point = i32::from(w.format.zero_point());
    let zero = _mm512_setzero_si512();
    let low_bits = _mm512_set1_epi8(15);
    // Sums of the even and of the odd rows.
    let (mut even, mut odd) = ([zero; C], [zero; C]);
    // SAFETY: every address below stays inside its vector: blocks * block_bytes codes per group,
    // blocks * 16 scales (and minimums) per group, `columns` activation codes per token, read in
    // quads of which block * SIZE + SIZE <= columns; loads are unaligned ones.
    unsafe {
        let codes = w.codes.as_ptr().add(group * blocks * block_bytes);
        let (all_scales, all_minimums) = (w.scales.as_ptr(), w.minimums.as_ptr());
        for b in 0..blocks {
            let mut dots = [zero; C];
            let mut plain = [0i32; C];
            for c in 0..C {
                plain[c] = *x_sums.get_unchecked((token + c) * blocks + b);
                if !MIN {
                    dots[c] = _mm512_set1_epi32(-zero_point * plain[c]);
                }
            }
            let block_codes = codes.add(b * block_bytes);
            let x_codes = x.codes.as_ptr().add(token * columns + b * SIZE);
            for quad in 0..block_bytes / 64 {
                let v = _mm512_loadu_si512(block_codes.add(quad * 64).cast());
                for c in 0..C {
                    let at = x_codes.add(c * columns + quad * 4);
                    if NIBBLES {
                        let low = _mm512_and_si512(v, low_bits);
                        let high = _mm512_and_si512(_mm512_srli_epi16(v, 4), low_bits);
                        dots[c] = _mm512_dpbusd_epi32(dots[c], low, quad_at(at));
                        dots[c] = _mm512_dpbusd_epi32(dots[c], high, quad_at(at.add(SIZE / 2)));
                    } else {
                        dots[c] = _mm512_dpbusd_epi32(dots[c], v, quad_at(at));
                    }
                }
            }
            let at = (group * blocks + b) * GROUP_ROWS;
            if C == 1 {
                fetch_ahead(block_codes, block_bytes, all_scales.wrapping_add(at), all_minimums.wrapping_add(at));
            }
            let scales = _mm512_cvtepi16_epi32(_mm256_loadu_si256(all_scales.add(at).cast()));
            let minimums = if MIN { _mm512_loadu_si512(all_minimums.add(at).cast()) } else { zero };
            let odd_minimums = _mm512_srli_epi64(minimums, 32);
            for c in 0..C {
                let mantissa = *x.mantissas.get_unchecked(((token + c) * columns + b * SIZE) / BLOCK);
                let scale = _mm512_mullo_epi32(scales, _mm512_set1_epi32(mantissa));
                even[c] = _mm512_add_epi64(even[c], _mm512_mul_epi32(dots[c], scale));
                let odd_product = _mm512_mul_epi32(_mm512_srli_epi64(dots[c], 32), _mm512_srli_epi64(scale, 32));
                odd[c] = _mm512_add_epi64(odd[c], odd_product);
                if MIN {
                    let plain = _mm512_set1_epi32(mantissa * plain[c]);
                    even[c] = _mm512_add_epi64(even[c], _mm512_mul_epi32(minimums, plain));
                    odd[c] = _mm512_add_epi64(odd[c], _mm512_mul_epi32(odd_minimums, plain));
                }
            }
        }
    }
    for c in 0..C {
        store(even[c], odd[c], &mut sums[c]);
    }
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

/// Four activation codes in every lane.
///
/// # Safety
/// Four bytes from `at` on must be readable.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn quad_at(at: *const i8) -> __m512i {
    // SAFETY: the caller's promise.
    _mm512_set1_epi32(unsafe { at.cast::<i32>().read_unaligned() })
}

/// Interleaves the even and odd rows' sums.
#[inline]
#[target_feature(enable = "avx512f")]
fn store(even: __m512i, odd: __m512i, out: &mut [i64; 16]) {
    let first = _mm512_permutex2var_epi64(even, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), odd);
    let second = _mm512_permutex2var_epi64(even, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), odd);
    // SAFETY: two stores of eight numbers into sixteen.
    unsafe {
        _mm512_storeu_si512(out.as_mut_ptr().cast(), first);
        _mm512_storeu_si512(out.as_mut_ptr().add(8).cast(), second);
    }
}

/// Raw attention dot products with all positions of the tiles that `out` spans, from tile `first` on.
///
/// # Safety
/// The CPU must have the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
pub(super) unsafe fn dots(cache: &HeadCache, query: &Query, first: usize, out: &mut [i64]) {
    let blocks = cache.dimensions / BLOCK;
    let zero = _mm512_setzero_si512();
    for (tile, out) in (first..).zip(out.chunks_exact_mut(KEY_TILE)) {
        let (mut even, mut odd) = (zero, zero);
        for b in 0..blocks {
            let keys = &cache.keys[(tile * blocks + b) * BLOCK * KEY_TILE..][..BLOCK * KEY_TILE];
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
pub(super) unsafe fn mix(cache: &HeadCache, block: usize, segment: usize, low: &[u8], high: &[u8]) -> [i32; BLOCK] {
    let zero = _mm512_setzero_si512();
    let (mut low_sums, mut high_sums) = ([zero; 2], [zero; 2]);
    let weights = low.chunks_exact(VALUE_GROUP).zip(high.chunks_exact(VALUE_GROUP));
    for (group, (low, high)) in weights.enumerate() {
        let at = ((segment * SEGMENT / VALUE_GROUP + group) * cache.dimensions + block * BLOCK) * VALUE_GROUP;
        let values = &cache.values[at..][..BLOCK * VALUE_GROUP];
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
