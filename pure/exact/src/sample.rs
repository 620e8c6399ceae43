//! Rule 10: the canonical sampler. The same logits, parameters, seed and index give the same token
//! everywhere. Candidates are ordered by logit, largest first, ties by the lower id; every filter
//! keeps a prefix of that order.

use crate::exp::{LOG2_E, exp2neg};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use talkoo_base::{GenerateParams, sha256};

/// One in Q16.
const ONE: u64 = 1 << 16;

/// A candidate, ordered by logit, then by the lower id; its weight in Q30.
type Candidate = (i64, Reverse<u32>, u64);

/// Output token number `index` from `logits` (Q16, one per token id, not empty).
#[must_use]
pub fn sample(logits: &[i64], params: &GenerateParams, seed: u64, index: u32) -> u32 {
    if params.temperature_q16 == 0 {
        return argmax(logits);
    }
    let (mut heap, mut total) = candidates(logits, params);
    if u64::from(params.top_p_q16) < ONE || params.min_p_q16 > 0 {
        let kept = keep(heap, total, params);
        total = kept.iter().map(|c| c.2).sum();
        heap = kept.into();
    }
    let target = u128::from(draw(seed, index)) * u128::from(total);
    let mut sum = 0u128;
    while let Some((_, Reverse(id), weight)) = heap.pop() {
        sum += u128::from(weight);
        if sum << 64 > target {
            return id;
        }
    }
    unreachable!("the draw is below one, so the last candidate is above it")
}

/// The id of the largest logit; the lowest of equals.
#[must_use]
pub fn argmax(logits: &[i64]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// The draw for one output token: the first 8 bytes, big-endian, of
/// SHA-256("talkoo/draw/1" ‖ seed u64 BE ‖ index u32 BE).
#[must_use]
pub fn draw(seed: u64, index: u32) -> u64 {
    sha256(&[b"talkoo/draw/1", &seed.to_be_bytes(), &index.to_be_bytes()]).first_u64()
}

/// The weight of a candidate `below` the largest logit (Q16): 2^-u in Q30 with
/// u = floor(below * log2(e) / temperature) in Q20.
fn weight(below: u64, temperature: u32) -> u64 {
    let divisor = u64::from(temperature) << 10;
    let log2_e = LOG2_E as u64;
    let u = match below.checked_mul(log2_e) {
        Some(product) => product / divisor,
        None => u64::try_from(u128::from(below) * u128::from(log2_e) / u128::from(divisor)).unwrap_or(u64::MAX),
    };
    exp2neg(u.min(64 << 20) as i64) as u64
}

/// The candidates of non-zero weight that survive top-k, and the sum of their weights.
fn candidates(logits: &[i64], params: &GenerateParams) -> (BinaryHeap<Candidate>, u64) {
    let largest = logits[argmax(logits) as usize];
    let mut all: Vec<Candidate> = Vec::new();
    for (id, logit) in logits.iter().enumerate() {
        let weight = weight(largest.abs_diff(*logit), params.temperature_q16);
        if weight > 0 {
            all.push((*logit, Reverse(id as u32), weight));
        }
    }
    let k = params.top_k as usize;
    if k > 0 && k < all.len() {
        all.select_nth_unstable_by(k - 1, |a, b| b.cmp(a));
        all.truncate(k);
    }
    let total = all.iter().map(|c| c.2).sum();
    (all.into(), total)
}

/// The candidates that survive top-p and min-p, in order: the smallest prefix whose mass reaches
/// top-p of `total`, cut where a weight is below min-p of the first.
fn keep(mut heap: BinaryHeap<Candidate>, total: u64, params: &GenerateParams) -> Vec<Candidate> {
    let enough = u128::from(total) * u128::from(u64::from(params.top_p_q16).min(ONE));
    let least = u64::from(params.min_p_q16).min(ONE) * heap.peek().map_or(0, |c| c.2);
    let (mut kept, mut sum) = (Vec::new(), 0u64);
    while let Some(candidate) = heap.pop() {
        if candidate.2 * ONE < least {
            break;
        }
        sum += candidate.2;
        kept.push(candidate);
        if u128::from(sum) * u128::from(ONE) >= enough {
            break;
        }
    }
    kept
}
