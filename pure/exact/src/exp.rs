//! Rules 7 and 9: powers of two, the logistic function, SiLU and GELU.

use crate::arith::{rsh, rsh128};
use crate::error::RangeError;
use crate::features::Activation;
use crate::limits::PRODUCT_BITS;

/// log2(e) in Q30.
pub const LOG2_E: i64 = 1_549_082_005;

/// Coefficients of 2^-f on [0, 1] in Q30 (Chebyshev nodes, largest error 2^-29), constant first.
pub const EXP2: [i64; 7] = [1_073_741_823, -744_260_973, 257_938_912, -59_582_935, 10_286_296, -1_369_601, 117_391];

/// |g| in Q16 from which exp(-|g|) is 0 in Q30; larger ones are cut to it, so products fit 64 bits.
const GATE_CUT: u64 = 1 << 22;

/// 2^-u for u >= 0 in Q20; the result is in Q30. 0 from u = 32 on.
#[inline(always)]
#[must_use]
pub fn exp2neg(u: i64) -> i64 {
    let fraction = u & 0xf_ffff;
    let mut y = EXP2[6];
    for c in EXP2[..6].iter().rev() {
        y = ((y * fraction + (1 << 19)) >> 20) + c;
    }
    y >> (u >> 20).min(63)
}

/// exp(-|g|) in Q30 for g in Q16.
#[inline(always)]
#[must_use]
pub fn exp_neg_abs(g: i64) -> i64 {
    exp2neg((g.unsigned_abs().min(GATE_CUT) as i64 * LOG2_E) >> 26)
}

/// The logistic function of g (Q16), in Q30, rounded down.
#[inline(always)]
#[must_use]
pub fn sigmoid(g: i64) -> i64 {
    let e = exp_neg_abs(g);
    let denominator = (1 << 30) + e;
    if g >= 0 { (1 << 60) / denominator } else { (e << 30) / denominator }
}

/// |g| in Q16 from which GELU's gate is 0 or 1: larger ones are cut to it.
const GELU_CUT: i64 = 1 << 20;
/// 2 sqrt(2 / pi) in Q30.
const GELU_LINEAR: i64 = 1_713_444_047;
/// 2 sqrt(2 / pi) * 0.044715 in Q30.
const GELU_CUBIC: i64 = 76_616_651;

/// What the logistic function is taken of in GELU's tanh form, in Q16: 2 sqrt(2/pi) (g + 0.044715 g^3)
/// for g in Q16.
#[inline(always)]
#[must_use]
pub fn gelu_argument(g: i64) -> i64 {
    let g = g.clamp(-GELU_CUT, GELU_CUT);
    let square = rsh(g * g, 16);
    rsh(g * (GELU_LINEAR + rsh(GELU_CUBIC * square, 16)), 30)
}

/// activation(g) * u for g and u in Q16 below 2^40: rsh(g * sigmoid, 22) is Q24, its product with u Q20.
///
/// # Errors
/// If the product reaches 2^60.
#[inline(always)]
pub fn gate_times(activation: Activation, g: i64, u: i64) -> Result<i64, RangeError> {
    let argument = match activation {
        Activation::Silu => g,
        Activation::GeluTanh => gelu_argument(g),
    };
    let gate = rsh128(i128::from(g) * i128::from(sigmoid(argument)), 22);
    RangeError::check("feed-forward product", rsh128(gate * i128::from(u), 20), PRODUCT_BITS)
}
