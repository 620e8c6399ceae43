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
