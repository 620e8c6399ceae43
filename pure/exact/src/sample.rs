//! Rule 10: the canonical sampler. The same logits, parameters, seed and index give the same token
//! everywhere. Biases and penalties change the logits first; then candidates are ordered by logit,
//! largest first, ties by the lower id, and every filter keeps a prefix of that order.

use crate::arith::rsh;
use crate::exp::{LOG2_E, exp2neg};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use talkoo_base::generate::{BIAS_BAN_Q16, ONE_Q16};
use talkoo_base::{GenerateParams, sha256};

/// One in Q16.
const ONE: u64 = 1 << 16;

/// The logit of a token that must not come.
pub const FORBIDDEN: i64 = i64::MIN;

/// Which tokens an output may go on with.
pub type Allowed<'a> = &'a dyn Fn(u32) -> bool;

/// A candidate, ordered by logit, then by the lower id; its weight in Q30.
type Candidate = (i64, Reverse<u32>, u64);

/// The sampler of one run: what it was asked, and the tokens so far, counted.
#[derive(Clone, Debug)]
pub struct Sampler {
    params: GenerateParams,
    seed: u64,
    /// How often the output has each token; 0 for a token of the prompt alone.
    counts: BTreeMap<u32, u32>,
    /// Output tokens so far.
    index: u32,
}

impl Sampler {
    /// A sampler before the first output token.
    #[must_use]
    pub fn new(params: &GenerateParams, seed: u64, prompt: &[u32]) -> Self {
        let repeats = params.repeat_penalty_q16 != ONE_Q16;
        let counts = prompt.iter().filter(|_| repeats).map(|token| (*token, 0)).collect();
        Self { params: params.clone(), seed, counts, index: 0 }
    }

    /// The next output token from `logits` (Q16, below 2^41); `None` if none is allowed. `largest` finds the
    /// largest logit, the lowest of equals, as [`argmax`] does.
    pub fn next(&self, logits: &[i64], allowed: Option<Allowed<'_>>, largest: impl Fn(&[i64]) -> u32) -> Option<u32> {
        let logits = self.shape(logits, allowed);
        if self.params.temperature_q16 > 0 && logits.iter().any(|l| *l != FORBIDDEN) {
            return Some(sample(&logits, &self.params, self.seed, self.index));
        }
        Some(largest(&logits)).filter(|token| logits[*token as usize] != FORBIDDEN)
    }

    /// How likely each token is that may come next, in proportion, the likeliest first: all that survive the filters. At
    /// temperature 0 the largest alone. Never empty.
    #[must_use]
    pub fn distribution(&self, logits: &[i64]) -> Vec<(u32, u64)> {
        let logits = self.shape(logits, None);
        if self.params.temperature_q16 == 0 {
            return vec![(argmax(&logits), 1)];
        }
        let (heap, total) = candidates(&logits, &self.params);
        keep(heap, total, &self.params).into_iter().map(|(_, Reverse(id), weight)| (id, weight)).collect()
    }

    /// How far a token's logit is below the largest, biases and penalties applied (Q16).
    #[must_use]
    pub fn gap(&self, logits: &[i64], token: u32) -> u64 {
        let logits = self.shape(logits, None);
        logits[argmax(&logits) as usize].abs_diff(logits[token as usize])
    }

    /// Counts an output token.
    pub fn push(&mut self, token: u32) {
        self.index += 1;
        *self.counts.entry(token).or_default() += 1;
    }

    /// The logits with what is not allowed forbidden, then biased, then penalised.
    fn shape<'a>(&self, logits: &'a [i64], allowed: Option<Allowed<'_>>) -> Cow<'a, [i64]> {
        let p = &self.params;
        let penalises = p.repeat_penalty_q16 != ONE_Q16 || p.frequency_penalty_q16 != 0 || p.presence_penalty_q16 != 0;
        if allowed.is_none() && p.logit_bias.is_empty() && !penalises {
            return logits.into();
        }
        let mut out = logits.to_vec();
        if let Some(allowed) = allowed {
            (0..).zip(&mut out).filter(|(id, _)| !allowed(*id)).for_each(|(_, logit)| *logit = FORBIDDEN);
        }
        for (id, bias) in &p.logit_bias {
            change(&mut out, *id, |logit| if *bias == BIAS_BAN_Q16 { FORBIDDEN } else { logit + i64::from(*bias) });
        }
        for (id, count) in self.counts.iter().filter(|_| penalises) {
            change(&mut out, *id, |logit| penalised(logit, *count, p));
        }
        out.into()
    }
}

/// Changes the logit of a token that may come.
fn change(logits: &mut [i64], id: u32, to: impl Fn(i64) -> i64) {
    if let Some(logit) = logits.get_mut(id as usize).filter(|logit| **logit != FORBIDDEN) {
        *logit = to(*logit);
    }
}

/// The logit of a token of prompt or output that the output has `count` times: divided by the repeat penalty,
/// or multiplied if it is negative (<https://arxiv.org/abs/1909.05858>, section 4.1), less the others.
fn penalised(logit: i64, count: u32, params: &GenerateParams) -> i64 {
    let repeat = i64::from(params.repeat_penalty_q16.max(1));
    let logit = if logit > 0 { (logit << 16) / repeat } else { rsh(logit * repeat, 16) };
    let presence = if count > 0 { i64::from(params.presence_penalty_q16) } else { 0 };
    logit - i64::from(count) * i64::from(params.frequency_penalty_q16) - presence
}

/// Output token number `index` from `logits` (Q16, one per token id, not all [`FORBIDDEN`]).
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
pub(crate) fn weight(below: u64, temperature: u32) -> u64 {
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
