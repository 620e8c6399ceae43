//! The states of given tokens, whatever a sampler would have drawn: what a dispute is about.

use super::check_tokens;
use crate::engine::{Engine, Observer};
use crate::error::RunError;
use talkoo_base::Digest;

/// Collects state digests, if they are wanted.
struct States {
    wanted: bool,
    digests: Vec<Digest>,
}

impl Observer for States {
    fn states(&mut self, _: usize, states: &[Digest]) {
        self.digests.extend_from_slice(states);
    }

    fn wants_logits(&self, _: usize) -> bool {
        false
    }

    fn logits(&mut self, _: usize, _: &[i64]) -> bool {
        true
    }

    fn wants_states(&self) -> bool {
        self.wanted
    }
}

impl Engine {
    /// The state digests of `tokens` in one prefill: position outer, layer inner.
    ///
    /// # Errors
    /// Tokens that the model does not have, more than fit it, or numbers out of the contract's range.
    pub fn states(&mut self, tokens: &[u32]) -> Result<Vec<Digest>, RunError> {
        self.observe(tokens, true)
    }

    /// What those digests are of, in one layer: the canonical bytes of each position's state.
    ///
    /// # Errors
    /// As [`Engine::states`].
    pub fn layer(&mut self, tokens: &[u32], layer: usize) -> Result<Vec<Vec<u8>>, RunError> {
        self.memory.shown = Some((layer, Vec::new()));
        let run = self.observe(tokens, false);
        let (_, shown) = self.memory.shown.take().expect("asked for above");
        run.map(|_| shown)
    }

    fn observe(&mut self, tokens: &[u32], wanted: bool) -> Result<Vec<Digest>, RunError> {
        let (need, have) = (self.model.context_max(), u32::try_from(tokens.len()).unwrap_or(u32::MAX));
        if have > need {
            return Err(RunError::PromptTooLong { need, have });
        }
        check_tokens(&self.model, tokens)?;
        self.reset();
        let mut states = States { wanted, digests: Vec::new() };
        self.advance(tokens, &mut states)?;
        Ok(states.digests)
    }
}
