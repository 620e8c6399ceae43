//! Verification: one prefill over prompt and output, the sampler checked at every output token.

use super::course::Course;
use super::{Task, Verified, check_tokens};
use crate::engine::{Engine, Observer};
use crate::error::RunError;
use crate::model::Model;
use std::sync::Arc;
use talkoo_base::{Digest, Finish};
use talkoo_exact::sample::argmax;
use talkoo_exact::trace::ChunkBuilder;

/// A verification under way: replays sampler, ending and chunks over states and logits as they come.
pub(crate) struct Checker {
    task: Task,
    tokens: Vec<u32>,
    /// Tokens to feed: the prompt and what of the output can be.
    input: Vec<u32>,
    course: Course,
    builder: ChunkBuilder,
    /// States of positions whose token has not been checked yet.
    waiting: std::collections::VecDeque<Vec<Digest>>,
    checked: usize,
    diverged: Option<u32>,
    finish: Option<Finish>,
    /// Why it cannot go on: no word about the output.
    failed: Option<RunError>,
}

impl Checker {
    pub(crate) fn new(model: &Arc<Model>, task: Task, tokens: Vec<u32>) -> Result<Self, RunError> {
        let course = task.check(model)?;
        // Tokens beyond the context, or unknown ones, diverge where they stand: what is before counts.
        let room = (model.context_max() as usize - task.prompt.len()).min(tokens.len());
        let known = tokens[..room].iter().position(|t| check_tokens(model, &[*t]).is_err()).unwrap_or(room);
        // The position of the last token is never run, so an unknown or surplus token may end the input.
        let fed = known.min(tokens.len().saturating_sub(1));
        let mut input = task.prompt.clone();
        input.extend_from_slice(&tokens[..fed]);
        input.truncate(if tokens.is_empty() { 0 } else { model.context_max() as usize });
        Ok(Self {
            builder: ChunkBuilder::new(task.trace_id),
            task,
            tokens,
            input,
            course,
            waiting: std::collections::VecDeque::new(),
            checked: 0,
            diverged: None,
            finish: None,
            failed: None,
        })
    }

    pub(crate) fn input(&self) -> &[u32] {
        &self.input
    }

    /// Length of the prompt.
    pub(crate) fn prompt(&self) -> usize {
        self.task.prompt.len()
    }

    /// Whether what comes after says no more.
    pub(crate) fn is_decided(&self) -> bool {
        self.diverged.is_some() || self.failed.is_some()
    }

    /// What was found, once all input was fed or a token diverged.
    ///
    /// # Errors
    /// If its constraint cannot be followed to the end.
    pub(crate) fn verified(mut self) -> Result<Verified, RunError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.diverged.is_none() && self.checked < self.tokens.len() {
            self.diverge();
        }
        let finish = self.finish.filter(|_| self.diverged.is_none());
        Ok(Verified { chunk_digests: self.builder.digests().to_vec(), diverged: self.diverged, finish })
    }

    /// Index of the output token sampled after position `index`, if it is one.
    fn output(&self, index: usize) -> Option<usize> {
        (index + 1).checked_sub(self.task.prompt.len())
    }

    fn diverge(&mut self) -> bool {
        self.diverged = Some(self.checked as u32);
        false
    }

    /// Whether the sampler gives `token` here; an honest run without any token gives none.
    fn gives(&mut self, logits: &[i64], token: u32) -> Result<bool, RunError> {
        match self.course.next(logits, argmax) {
            Ok(honest) => Ok(honest == token),
            Err(RunError::NoToken { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn check(&mut self, logits: &[i64]) -> Result<bool, RunError> {
        let token = self.tokens[self.checked];
        if self.finish.is_some() || !self.gives(logits, token)? {
            return Ok(self.diverge());
        }
        let states = self.waiting.pop_front().expect("states come before logits");
        self.builder.push_states(&states);
        self.checked += 1;
        let logprobs = self.course.logprobs(logits, token);
        self.finish = self.course.after(token)?;
        let full = self.builder.push_token(token, logprobs.as_ref());
        if full || self.finish.is_some() || self.checked == self.tokens.len() {
            self.builder.close();
        }
        Ok(true)
    }
}

impl Observer for Checker {
    fn states(&mut self, index: usize, states: &[Digest]) {
        match self.output(index) {
            None => self.builder.push_states(states),
            Some(_) => self.waiting.push_back(states.to_vec()),
        }
    }

    fn wants_logits(&self, index: usize) -> bool {
        self.output(index).is_some()
    }

    fn logits(&mut self, _: usize, logits: &[i64]) -> bool {
        self.check(logits).unwrap_or_else(|error| {
            self.failed = Some(error);
            false
        })
    }
}

impl Engine {
    /// Re-runs `task` and compares: were `tokens` the (beginning of the) honest output?
    /// Costs one prefill over prompt and output.
    ///
    /// # Errors
    /// As [`Engine::generate`]; a token that the model does not have is a divergence, not an error.
    pub fn verify(&mut self, task: &Task, tokens: &[u32]) -> Result<Verified, RunError> {
        let mut checker = Checker::new(&self.model, task.clone(), tokens.to_vec())?;
        self.reset();
        let input = checker.input.clone();
        self.advance(&input, &mut checker)?;
        checker.verified()
    }
}
