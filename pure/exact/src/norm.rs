//! Rule 5: RMSNorm.

use crate::arith::{bit_length, isqrt, max_abs, rsh};

/// RMSNorm of `x` (Q16) with gains in Q16; the result is in Q20.
/// `epsilon` is the model's eps * 2^48. `x`, `gains` and `out` have the same length, at most 2^15.
#[inline(always)]
pub fn rms_norm(x: &[i64], gains: &[i32], epsilon: u64, out: &mut [i64]) {
    let shift = bit_length(max_abs(x)) - 24;
    let mut squares = 0u64;
    for v in x {
        let v = rsh(*v, shift);
        squares += (v * v) as u64;
    }
    let inverse = inverse_root(squares, x.len(), shift, epsilon);
    for ((out, v), gain) in out.iter_mut().zip(x).zip(gains) {
        let normed = rsh(rsh(*v, shift) * inverse, 24);
        *out = rsh(normed * i64::from(*gain), 16);
    }
}

/// floor(2^52 / R) where R = floor(sqrt(mean square * 2^16 + epsilon)), at least 1.
#[inline(always)]
#[must_use]
pub fn inverse_root(squares: u64, length: usize, shift: i32, epsilon: u64) -> i64 {
    let epsilon = u128::from(epsilon);
    let epsilon = if shift >= 0 { epsilon >> (2 * shift) } else { epsilon << (-2 * shift) };
    let mean = (u128::from(squares) << 16) / length as u128 + epsilon;
    ((1u64 << 52) / isqrt(mean).max(1)) as i64
}
