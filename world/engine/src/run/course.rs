//! The course of an output, token by token: which comes, and whether the output ends with it. The same
//! for generating, verifying and defining.

use super::Task;
use super::ending::Ending;
use crate::constraint::Text;
use crate::error::RunError;
use crate::model::Model;
use std::sync::Arc;
use talkoo_base::{Finish, TokenLogprobs};
use talkoo_exact::logprobs::logprobs;
use talkoo_exact::sample::Sampler;

/// Follows an output token by token.
pub(super) struct Course {
    sampler: Sampler,
    constraint: Option<Text>,
    ending: Ending,
    top_logprobs: Option<u32>,
    count: usize,
}

impl Course {
    /// `room`: positions left in the context after the prompt.
    ///
    /// # Errors
    /// If the constraint is none.
    pub(super) fn new(model: &Arc<Model>, task: &Task, room: u32) -> Result<Self, RunError> {
        let sampler = Sampler::new(&task.params, task.seed, &task.prompt);
        let compile = |constraint| model.vocabulary().compiler()?.compile(constraint);
        let constraint = task.params.constraint.as_ref().map(compile).transpose()?;
        let ending = Ending::new(Arc::clone(model), &task.params, room);
        Ok(Self { sampler, constraint, ending, top_logprobs: task.params.top_logprobs, count: 0 })
    }

    /// The next output token; `largest` as [`talkoo_exact::sample::argmax`].
    pub(super) fn next(&mut self, logits: &[i64], largest: impl Fn(&[i64]) -> u32) -> Result<u32, RunError> {
        let none = RunError::NoToken { after: self.count };
        let Some(text) = &mut self.constraint else {
            return self.sampler.next(logits, None, largest).ok_or(none);
        };
        let set = text.allowed()?;
        self.sampler.next(logits, Some(&|token| set.is_allowed(token)), largest).ok_or(none)
    }

    /// The log probabilities that the task wants of `token`, from the logits that it came of.
    pub(super) fn logprobs(&self, logits: &[i64], token: u32) -> Option<TokenLogprobs> {
        self.top_logprobs.map(|top| logprobs(logits, token, top))
    }

    /// Takes the token that came; says why the output ends with it, if it does.
    pub(super) fn after(&mut self, token: u32) -> Result<Option<Finish>, RunError> {
        self.count += 1;
        self.sampler.push(token);
        let finish = self.ending.after(token);
        match &mut self.constraint {
            Some(text) if finish.is_none() => text.push(token)?,
            _ => {}
        }
        Ok(finish)
    }
}
