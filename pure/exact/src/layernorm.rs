//! Rule 13: LayerNorm, as RMSNorm of the exactly centred vector.

use crate::arith::rsh;
use crate::error::RangeError;
use crate::limits::STATE_BITS;
use crate::norm::rms_norm;

/// LayerNorm of `x` (Q16, below 2^42) in place, with gains and biases in Q16.
///
/// With d numbers, c = d * x - sum(x) is the centred vector times d, without any rounding; its RMSNorm with
/// an epsilon d^2 times as large is what LayerNorm divides. `epsilon` is that of the manifest, eps * 2^48,
/// and epsilon * d^2 fits 64 bits: the manifest checks it. `centred` and `normed` are working memory, as long as `x`.
///
/// # Errors
/// If a number reaches 2^31.
#[inline(always)]
pub fn layer_norm(
    x: &mut [i64],
    [gains, biases]: [&[i32]; 2],
    epsilon: u64,
    [centred, normed]: [&mut [i64]; 2],
) -> Result<(), RangeError> {
    let (length, sum) = (x.len() as i64, x.iter().sum::<i64>());
    for (c, x) in centred.iter_mut().zip(&*x) {
        *c = length * x - sum;
    }
    rms_norm(centred, gains, epsilon * (length * length) as u64, normed);
    let mut seen = 0;
    for ((x, y), bias) in x.iter_mut().zip(normed).zip(biases) {
        *x = rsh(*y, 4) + i64::from(*bias);
        seen |= x.unsigned_abs();
    }
    if seen >> STATE_BITS == 0 { Ok(()) } else { Err(RangeError { operator: "layer norm", bits: STATE_BITS }) }
}
