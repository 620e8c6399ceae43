//! The course of an output, token by token: which comes, and whether the output ends with it. The same
//! for generating, verifying and defining.

use super::Task;
use super::ending::Ending;
use crate::error::RunError;
use crate::model::Model;
use std::sync::Arc;
use talkoo_base::Finish;
use talkoo_exact::sample::Sampler;

/// Follows an output token by token.
pub(super) struct Course {
    sampler: Sampler,
    ending: Ending,
    count: usize,
}

impl Course {
    /// `room`: positions left in the context after the prompt.
    pub(super) fn new(model: &Arc<Model>, task: &Task, room: u32) -> Self {
        let sampler = Sampler::new(&task.params, task.seed, &task.prompt);
        Self { sampler, ending: Ending::new(Arc::clone(model), &task.params, room), count: 0 }
    }

    /// The next output token; `largest` as [`talkoo_exact::sample::argmax`].
    pub(super) fn next(&mut self, logits: &[i64], largest: impl Fn(&[i64]) -> u32) -> Result<u32, RunError> {
        self.sampler.next(logits, None, largest).ok_or(RunError::NoToken { after: self.count })
    }

    /// Takes the token that came; says why the output ends with it, if it does.
    pub(super) fn after(&mut self, token: u32) -> Option<Finish> {
        self.count += 1;
        self.sampler.push(token);
        self.ending.after(token)
    }
}
