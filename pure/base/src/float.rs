//! The float tier: answers of engines that compute in floating point, whose bits differ from machine to machine. They
//! are ordered, signed and paid like exact ones, under names that no exact model can have, and nobody re-runs them.

use crate::generate::ONE_Q16;
use crate::{Digest, GenerateParams, Refusal, RefusalCode, sha256};

/// What a request of the float tier names as its program: SHA-256("talkoo/float/1" ‖ digest of the vocabulary ‖ the
/// name's bytes as u32 big-endian ‖ the model's name). Client and worker need the same tokenizer, not the same weights.
#[must_use]
pub fn float_program(vocabulary: &Digest, name: &str) -> Digest {
    let bytes = u32::try_from(name.len()).unwrap_or(u32::MAX);
    sha256(&[b"talkoo/float/1", &vocabulary.0, &bytes.to_be_bytes(), name.as_bytes()])
}

/// Digest of chunk `index` of the float tier, which commits to the tokens and to nothing behind them:
/// SHA-256("talkoo/float-chunk/1" ‖ trace id ‖ index ‖ number of tokens ‖ tokens), numbers as u32 big-endian.
#[must_use]
pub fn float_chunk(trace_id: &Digest, index: u32, tokens: &[u32]) -> Digest {
    let count = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    let tokens: Vec<u8> = tokens.iter().flat_map(|token| token.to_be_bytes()).collect();
    sha256(&[b"talkoo/float-chunk/1", &trace_id.0, &index.to_be_bytes(), &count.to_be_bytes(), &tokens])
}

impl GenerateParams {
    /// Checks that an OpenAI-compatible server can be asked for it: what its API does not name would be dropped in silence.
    ///
    /// # Errors
    /// [`RefusalCode::UnsupportedParameter`], with the first that it cannot.
    pub fn check_float(&self) -> Result<(), Refusal> {
        let foreign = [
            ("top_k", self.top_k != 0),
            ("min_p", self.min_p_q16 != 0),
            ("repetition_penalty", self.repeat_penalty_q16 != ONE_Q16),
            ("a constraint on the answer", self.constraint.is_some()),
            ("stop tokens", !self.stop_tokens.is_empty()),
            ("ignore_eos", self.ignore_eos),
            ("logprobs", self.top_logprobs.is_some()),
        ];
        foreign.iter().find(|(_, asked)| *asked).map_or(Ok(()), |(name, _)| {
            let message = format!("the float tier does not have {name}");
            let hint = "leave it out, or ask for an exact model";
            Err(Refusal::new(RefusalCode::UnsupportedParameter, message, hint))
        })
    }
}

/// How like an answer of the float tier is to what a model would say: sums over output tokens, of our own exact run
/// of the same model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Likeness {
    /// Tokens.
    pub tokens: u64,
    /// Of those that had no choice (temperature 0, or one candidate): how many are the one.
    pub matched: u64,
    /// How far their logits are below the largest, each at most [`Likeness::GAP_MAX_Q16`].
    pub gap_q16: u64,
    /// Tokens that had a choice.
    pub drawn: u64,
    /// Of those: no candidates at all.
    pub outside: u64,
    /// Of the others: log probability above its expectation, in thousandths of a nat.
    pub excess_milli: i64,
    /// Its variance, in thousandths of a square nat.
    pub variance_milli: u64,
}

impl Likeness {
    /// What one token counts at most as a gap: 4 in Q16.
    pub const GAP_MAX_Q16: u64 = 4 << 16;
    /// Fewer tokens say nothing.
    pub const TOKENS_MIN: u64 = 300;

    /// With another answer's.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            matched: self.matched + other.matched,
            gap_q16: self.gap_q16 + other.gap_q16,
            drawn: self.drawn + other.drawn,
            outside: self.outside + other.outside,
            excess_milli: self.excess_milli.saturating_add(other.excess_milli),
            variance_milli: self.variance_milli + other.variance_milli,
        }
    }

    /// Whether so many tokens could come from the model, in another engine's rounding; `None` as long as they are too few.
    /// Thresholds: docs/BENCHMARKS.md, "Float tier".
    #[must_use]
    pub fn is_like(&self) -> Option<bool> {
        let (given, kept) = (self.tokens - self.drawn, self.drawn - self.outside);
        if self.tokens < Self::TOKENS_MIN {
            return None;
        }
        // 95 % are the one, the rest nearly so: 0.02 in Q16 on average.
        let close = self.matched * 1_000 >= given * 950 && self.gap_q16 <= given * 1_311;
        // At most 2 % out of reach; the likelihood at most five standard deviations below what it should be.
        let inside = self.outside * 1_000 <= self.drawn * 20;
        let below = u128::from(self.excess_milli.min(0).unsigned_abs());
        let likely = below * below <= 25 * u128::from(self.variance_milli) * 1_000 || kept == 0;
        Some(close && inside && likely)
    }
}
