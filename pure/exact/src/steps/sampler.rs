//! Rule 10's draw, one number at a time: "is token `sub` the one?", and rule 17's log probability of one.
//!
//! No order has to be built. Every filter keeps a prefix of the sampler's order, and a prefix is known by its last token:
//! so many come before it, with so much mass. Which tokens these are is said ([`Draw::ends`]) and then checked. Token c is
//! drawn if the mass before it is at most r * Z', and more than that with its own weight.

use super::element::Read;
use super::{Name, Place, Program, Stage};
use crate::exp::exp2neg;
use crate::limits::BLOCK;
use crate::logprobs;
use crate::sample::{draw, weight};
use std::cmp::Reverse;
use talkoo_base::GenerateParams;

/// How one output token is drawn from given logits. Constraints, biases and penalties, which change logits, are not in the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// Temperature in Q16; 0: the largest, and nothing else matters.
    pub temperature: u32,
    /// The run's seed.
    pub seed: u64,
    /// Number of the output token.
    pub index: u32,
    /// Tokens that are kept at most; 0: all.
    pub top_k: u32,
    /// Part of their mass that is kept, in Q16.
    pub top_p: u32,
    /// Least weight against the first, in Q16.
    pub min_p: u32,
    /// The last token that top-k keeps, the last one kept at all, and the one after it; 0 where there is none.
    pub ends: [u32; 3],
}

impl Draw {
    /// The draw of output token `index`, with its ends.
    #[must_use]
    pub fn new(params: &GenerateParams, seed: u64, index: u32, logits: &[i64]) -> Self {
        let [top_p, min_p] = [params.top_p_q16, params.min_p_q16].map(|p| p.min(1 << 16));
        let largest = logits.iter().copied().max().expect("a vocabulary has tokens");
        let weigh = |logit: i64| weight(largest.abs_diff(logit), params.temperature_q16.max(1));
        let mut order: Vec<(i64, Reverse<u32>)> = logits.iter().copied().zip((0..).map(Reverse)).collect();
        order.retain(|(logit, _)| weigh(*logit) > 0);
        order.sort_unstable_by(|a, b| b.cmp(a));
        let limit = if params.top_k == 0 { order.len() } else { order.len().min(params.top_k as usize) };
        let mass: u128 = order[..limit].iter().map(|(logit, _)| u128::from(weigh(*logit))).sum();
        let (mut kept, mut sum) = (0, 0);
        for (logit, _) in &order[..limit] {
            let weight = u128::from(weigh(*logit));
            if kept > 0 && sum << 16 >= mass * u128::from(top_p)
                || weight << 16 < u128::from(min_p) * first().unsigned_abs()
            {
                break;
            }
            (kept, sum) = (kept + 1, sum + weight);
        }
        let token = |i: usize| order.get(i).map_or(0, |(_, Reverse(token))| *token);
        let ends = [token(limit - 1), token(kept - 1), token(kept)];
        Self { temperature: params.temperature_q16, seed, index, top_k: params.top_k, top_p, min_p, ends }
    }
}

/// The weight of the first token.
fn first() -> i128 {
    exp2neg(0).into()
}

/// A token's place in the order of logit, then of the lower id.
fn key(logit: i128, token: usize) -> i128 {
    (logit << 20) + (0xf_ffff - token as i128)
}

/// A token in a count * 2^64 + mass.
fn counted(weight: i128) -> i128 {
    if weight > 0 { (1 << 64) + weight } else { 0 }
}

/// Count and mass.
fn split(sum: i128) -> (i128, i128) {
    (sum >> 64, sum & ((1 << 64) - 1))
}

impl Program<'_> {
    pub(super) fn sampler(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        let (logits, token) = (Name::out(Place::Logits), name.sub as usize);
        let of = |stage| Name::of(Place::Sampler, stage, 0);
        let keys = |read: Read<'_>| -> Vec<i128> {
            let block = self.block(logits, index, read);
            block.into_iter().enumerate().map(|(i, logit)| key(logit, index * BLOCK + i)).collect()
        };
        match name.stage {
            Stage::Max => {
                let largest = keys(read).into_iter().max().expect("a block has tokens");
                previous.map_or(largest, |p| p.max(largest))
            }
            Stage::Weights => {
                let below = (self.last(of(Stage::Max), read) >> 20) - read(logits, index);
                weight(below as u64, self.draw.temperature.max(1)).into()
            }
            Stage::Total => {
                let weights = self.block(of(Stage::Weights), index, read);
                previous.unwrap_or(0) + weights.into_iter().map(counted).sum::<i128>()
            }
            Stage::Before => {
                let own = key(read(logits, token), token);
                let tokens = keys(read).into_iter().zip(self.block(of(Stage::Weights), index, read));
                previous.unwrap_or(0) + tokens.filter(|(key, _)| *key > own).map(|(_, w)| counted(w)).sum::<i128>()
            }
            Stage::Kept => self.kept(previous, read),
            _ if self.draw.temperature == 0 => {
                let largest = self.last(of(Stage::Max), read);
                i128::from(largest & 0xf_ffff == 0xf_ffff - token as i128)
            }
            _ => {
                let target = i128::from(draw(self.draw.seed, self.draw.index)) * self.last(of(Stage::Kept), read);
                let (_, before, with) = self.standing(name.sub, read);
                i128::from(before << 64 <= target && target < with << 64)
            }
        }
    }

    /// How many come before a token, their mass, and that with its own weight.
    fn standing(&self, token: u32, read: Read<'_>) -> (i128, i128, i128) {
        let (rank, before) = split(self.last(Name::of(Place::Sampler, Stage::Before, token), read));
        (rank, before, before + read(Name::of(Place::Sampler, Stage::Weights, 0), token as usize))
    }

    /// The mass that top-k keeps or, with that as `previous`, what is left in the end.
    fn kept(&self, previous: Option<i128>, read: Read<'_>) -> i128 {
        let draw = &self.draw;
        let (count, all) = split(self.last(Name::of(Place::Sampler, Stage::Total, 0), read));
        let limit = if draw.top_k == 0 { count } else { count.min(draw.top_k.into()) };
        let Some(mass) = previous else {
            if limit == count {
                return all;
            }
            let (rank, before, with) = self.standing(draw.ends[0], read);
            assert!(rank + 1 == limit && with > before, "the draw has another last token of top-k");
            return with;
        };
        let [top_p, min_p] = [draw.top_p, draw.min_p].map(i128::from);
        let (rank, before, with) = self.standing(draw.ends[1], read);
        let is_kept = rank < limit
            && with > before
            && (rank == 0 || before << 16 < top_p * mass)
            && (with - before) << 16 >= min_p * first();
        let mut is_last = rank + 1 == limit || with << 16 >= top_p * mass;
        if is_kept && !is_last {
            let (next, before, with) = self.standing(draw.ends[2], read);
            is_last = next == rank + 1 && (with - before) << 16 < min_p * first();
        }
        assert!(is_kept && is_last, "the draw has another last token");
        with
    }

    /// Rule 17.
    pub(super) fn logprob(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        let logits = Name::out(Place::Logits);
        let of = |stage| Name::of(Place::Logprobs, stage, 0);
        if name.stage == Stage::Total {
            return previous.unwrap_or(0) + self.block(of(Stage::Weights), index, read).iter().sum::<i128>();
        }
        let largest = self.last(Name::of(Place::Sampler, Stage::Max, 0), read) >> 20;
        if name.stage == Stage::Weights {
            return logprobs::weight((largest - read(logits, index)) as u64).into();
        }
        let logarithm = i128::from(logprobs::ln(self.last(of(Stage::Total), read) as u64));
        (read(logits, name.sub as usize) - largest - logarithm).max(i32::MIN.into())
    }
}
