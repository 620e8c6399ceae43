//! Logits of given text, for measuring quality.

use super::Engine;
use super::forward::Observer;
use crate::error::RunError;
use talkoo_base::Digest;

struct AllLogits<'a>(&'a mut dyn FnMut(usize, &[i64]));

impl Observer for AllLogits<'_> {
    fn states(&mut self, _: usize, _: &[Digest]) {}

    fn wants_logits(&self, _: usize) -> bool {
        true
    }

    fn logits(&mut self, index: usize, logits: &[i64]) -> bool {
        (self.0)(index, logits);
        true
    }

    fn wants_states(&self) -> bool {
        false
    }
}

impl Engine {
    /// Runs `tokens` from an empty context and calls `on_logits` with each position's index and its
    /// logits (Q16, one per token of the vocabulary).
    ///
    /// # Errors
    /// If there are no tokens, too many or unknown ones, or the numbers leave the contract's range.
    pub fn score(&mut self, tokens: &[u32], on_logits: &mut dyn FnMut(usize, &[i64])) -> Result<(), RunError> {
        let (context, count) = (self.model.context_max(), u32::try_from(tokens.len()).unwrap_or(u32::MAX));
        if count == 0 {
            return Err(RunError::EmptyPrompt);
        }
        if count > context {
            return Err(RunError::PromptTooLong { need: context, have: count });
        }
        crate::run::check_tokens(&self.model, tokens)?;
        self.reset();
        self.advance(tokens, &mut AllLogits(on_logits))?;
        Ok(())
    }
}
