//! Rule 17: log probabilities of output tokens, from the logits as the model gives them, before biases,
//! penalties and temperature (as vLLM's default `raw_logprobs` has it). An integer logarithm, digit by digit.

use crate::arith::{bit_length, rsh};
use crate::exp::{LOG2_E, exp2neg};
use std::cmp::Reverse;
use talkoo_base::TokenLogprobs;

/// Fraction bits of the weights: with 2^20 tokens the rounding of all of them stays below 2^-22.
const WEIGHT_BITS: i32 = 42;
/// Distance from the largest logit (Q16) from which a weight is 0: larger ones are cut to it.
const FAR: u64 = 1 << 22;
/// ln(2) in Q30.
const LN_2: i64 = 744_261_118;
/// Fraction bits of a base-2 logarithm.
const LOG_BITS: i32 = 24;

/// The log probability of `chosen` and those of the `top` likeliest of `logits` (Q16, below 2^41, one per token
/// id). In units of 2^-16 nats, less than 0.6 of them from the real number; -2^31 for whatever is less.
#[must_use]
pub fn logprobs(logits: &[i64], chosen: u32, top: u32) -> TokenLogprobs {
    let largest = logits.iter().copied().max().expect("a vocabulary has tokens");
    let sum: u64 = logits.iter().map(|l| weight(largest.abs_diff(*l))).sum();
    let logarithm = ln(sum);
    // A logit is no more than the largest and the logarithm no less than 0.
    let of = |logit: i64| i32::try_from(logit - largest - logarithm).unwrap_or(i32::MIN);
    let top = likeliest(logits, top as usize).map(|(logit, Reverse(token))| (token, of(logit))).collect();
    TokenLogprobs { chosen: of(logits[chosen as usize]), top }
}

/// e^-below in Q42 for `below` in Q16.
pub(crate) fn weight(below: u64) -> u64 {
    let u = (below.min(FAR) as i64 * LOG2_E) >> 26;
    (exp2neg(u & 0xf_ffff) << (WEIGHT_BITS - 30) >> (u >> 20).min(63)) as u64
}

/// floor(log2(v) * 2^24) for v > 0, but for the last digits: the squares are cut to 31 fraction bits.
#[must_use]
pub fn log2(v: u64) -> i64 {
    let whole = bit_length(v) - 1;
    let mut y = (v << (63 - whole)) >> 32;
    let mut log = u64::from(whole.unsigned_abs());
    for _ in 0..LOG_BITS {
        // y is 1 to 2 in Q31; its square 1 to 4, and the next digit says whether it is 2 at least.
        y = (y * y) >> 31;
        let digit = y >> 32;
        y >>= digit;
        log = 2 * log + digit;
    }
    log as i64
}

/// ln(sum / 2^42) in Q16, rounded half up, for a sum below 2^63 of weights one of which is 1.
pub(crate) fn ln(sum: u64) -> i64 {
    rsh((log2(sum) - (i64::from(WEIGHT_BITS) << LOG_BITS)) * LN_2, LOG_BITS + 30 - 16)
}

/// The `count` largest logits with their tokens, the largest first, equals by the lower id.
fn likeliest(logits: &[i64], count: usize) -> impl Iterator<Item = (i64, Reverse<u32>)> {
    let mut top = Vec::with_capacity(count + 1);
    for (token, logit) in (0..).zip(logits) {
        let candidate = (*logit, Reverse(token));
        let place = top.partition_point(|other| *other > candidate);
        if place < count {
            top.insert(place, candidate);
            top.truncate(count);
        }
    }
    top.into_iter()
}
