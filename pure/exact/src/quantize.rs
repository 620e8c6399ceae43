//! Rule 2: vectors as int8 codes with a 15-bit mantissa per block of 32 and one exponent per vector.

use crate::arith::{bit_length, max_abs, rsh};
use crate::limits::BLOCK;

/// A quantised vector: value_i = codes_i * mantissas_(i/32) * 2^exponent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quantized {
    /// One code per number, in -127..=127.
    pub codes: Vec<i8>,
    /// One mantissa per block of 32, at most 33,027.
    pub mantissas: Vec<u16>,
    /// The exponent of the whole vector; for an all-zero one the smallest there is.
    pub exponent: i32,
}

/// Quantises `v`, whose numbers have `fraction_bits` fraction bits and are below 2^62.
/// The length must be a multiple of 32.
#[must_use]
pub fn quantize(v: &[i64], fraction_bits: i32) -> Quantized {
    let mut q = Quantized { codes: vec![0; v.len()], mantissas: vec![0; v.len() / BLOCK], exponent: 0 };
    q.exponent = quantize_into(v, fraction_bits, &mut q.codes, &mut q.mantissas);
    q
}

/// [`quantize`] into given memory: `codes` as long as `v`, `mantissas` a 32nd of it. Returns the exponent.
#[inline(always)]
pub fn quantize_into(v: &[i64], fraction_bits: i32, codes: &mut [i8], mantissas: &mut [u16]) -> i32 {
    let largest = max_abs(v);
    if largest == 0 {
        codes.fill(0);
        mantissas.fill(0);
        return -22 - fraction_bits;
    }
    let bits = bit_length(largest);
    for ((block, codes), mantissa) in v.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK)).zip(mantissas.iter_mut())
    {
        *mantissa = quantize_block(block, bits - 30, codes);
    }
    bits - 22 - fraction_bits
}

/// The same with codes 256 times finer, in -32,512..=32,512: the mantissas are equal, the exponent is 8 less.
#[inline(always)]
pub fn quantize_fine_into(v: &[i64], fraction_bits: i32, codes: &mut [i16], mantissas: &mut [u16]) -> i32 {
    let bits = bit_length(max_abs(v));
    for ((block, codes), mantissa) in v.chunks_exact(BLOCK).zip(codes.chunks_exact_mut(BLOCK)).zip(mantissas.iter_mut())
    {
        let (wide, m) = scale_block(block, bits - 30);
        // |w| <= 32,512 m, so products stay below 2^62, and no code needs a clamp.
        let reciprocal = if m == 0 { 0 } else { (1 << 47) / m };
        for (code, w) in codes.iter_mut().zip(&wide) {
            *code = ((w * reciprocal + (1 << 46)) >> 47) as i16;
        }
        *mantissa = m as u16;
    }
    bits - 30 - fraction_bits
}

/// One block: the numbers are first shifted right by `shift` to 30 bits.
/// The mantissa is rounded up, so a code never exceeds 127 and no clamp is needed.
#[inline(always)]
fn quantize_block(block: &[i64], shift: i32, codes: &mut [i8]) -> u16 {
    let (wide, mantissa) = scale_block(block, shift);
    if mantissa == 0 {
        codes.fill(0);
        return 0;
    }
    let reciprocal = (1 << 32) / mantissa;
    for (code, w) in codes.iter_mut().zip(&wide) {
        *code = ((w * reciprocal + (1 << 39)) >> 40) as i8;
    }
    mantissa as u16
}

/// The numbers of a block shifted right by `shift`, and its mantissa.
#[inline(always)]
fn scale_block(block: &[i64], shift: i32) -> ([i64; BLOCK], i64) {
    let mut wide = [0i64; BLOCK];
    let mut largest = 0;
    for (w, x) in wide.iter_mut().zip(block) {
        *w = rsh(*x, shift);
        largest = largest.max(w.abs());
    }
    (wide, (largest + 32_511) / 32_512)
}

/// A query as 15-bit codes: value_i = codes_i * 2^exponent, |code| <= 16,384, so that a code splits
/// into two int8 limbs (code = 256 * high + low) for integer dot-product instructions.
/// Returns the exponent; `v` has `fraction_bits` fraction bits.
#[inline(always)]
pub fn quantize_query(v: &[i64], fraction_bits: i32, codes: &mut [i16]) -> i32 {
    let shift = bit_length(max_abs(v)) - 14;
    for (code, x) in codes.iter_mut().zip(v) {
        *code = rsh(*x, shift) as i16;
    }
    shift - fraction_bits
}
