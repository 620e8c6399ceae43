//! Rule 14: GELU with the error function, x * Phi(x), by one polynomial and no division.
//!
//! x * Phi(x) = max(x, 0) - h(|x|) with h(a) = a * Phi(-a), a single smooth bump that is below 2^-19
//! from a = 5 on.

use crate::arith::rsh;

/// |x| in Q16 from which h is 0.
const CUT: i64 = 5 << 16;
/// 2^24 * 2/5 per unit of a, in Q20 for a in Q16: brings 0..=5 to -1..=1 in Q24.
const TO_UNIT: i64 = 107_374_182;
/// Coefficients of h in w = 2a/5 - 1, Q30, constant first (Chebyshev nodes).
const BUMP: [i64; 14] = [
    16_670_517,
    -100_960_723,
    249_809_450,
    -275_771_341,
    -18_491_277,
    448_714_739,
    -527_705_203,
    86_982_409,
    372_076_877,
    -276_652_725,
    -100_515_656,
    146_659_672,
    8_155_252,
    -28_972_066,
];

/// x * Phi(x) for x in Q16 below 2^41, in Q20; the largest error is below 2^-18.
#[inline(always)]
#[must_use]
pub fn gelu(x: i64) -> i64 {
    let a = x.abs().min(CUT);
    let w = rsh(a * TO_UNIT, 20) - (1 << 24);
    let mut y = BUMP[13];
    for c in BUMP[..13].iter().rev() {
        y = ((y * w + (1 << 23)) >> 24) + c;
    }
    let bump = if a == CUT { 0 } else { rsh(y, 10) };
    (x.max(0) << 4) - bump
}
