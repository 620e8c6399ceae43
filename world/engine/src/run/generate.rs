//! Generation with the fast engine.

use super::course::Course;
use super::{Chunk, Outcome, Task};
use crate::engine::{Engine, Observer};
use crate::error::RunError;
use crate::model::Model;
use std::ops::ControlFlow;
use std::sync::Arc;
use talkoo_base::{Digest, Finish};
use talkoo_exact::trace::{ChunkBuilder, Closed, trace_root};

/// A generation under way: what it makes of states and logits.
pub(crate) struct Generator {
    task: Task,
    course: Course,
    builder: ChunkBuilder,
}

/// What a new token brings.
pub(crate) struct Grown {
    pub(crate) token: u32,
    /// A chunk that it completes.
    pub(crate) chunk: Option<Chunk>,
    pub(crate) finish: Option<Finish>,
}

impl Generator {
    pub(crate) fn new(model: &Arc<Model>, task: Task) -> Result<Self, RunError> {
        Ok(Self { course: task.check(model)?, builder: ChunkBuilder::new(task.trace_id), task })
    }

    pub(crate) fn task(&self) -> &Task {
        &self.task
    }

    /// Takes the state digests of the next positions, position outer, layer inner.
    pub(crate) fn states(&mut self, states: &[Digest]) {
        self.builder.push_states(states);
    }

    /// Takes the logits after the last position fed; the token is the next one to feed.
    pub(crate) fn logits(&mut self, logits: &[i64], engine: &Engine) -> Result<Grown, RunError> {
        let token = self.course.next(logits, |logits| engine.argmax(logits))?;
        let logprobs = self.course.logprobs(logits, token);
        let finish = self.course.after(token)?;
        let full = self.builder.push_token(token, logprobs.as_ref()) || finish.is_some();
        let chunk = full.then(|| {
            let Closed { index, tokens, digest, logprobs } = self.builder.close().expect("a token was just pushed");
            Chunk { index, tokens, digest, logprobs, finish }
        });
        Ok(Grown { token, chunk, finish })
    }
}

/// Feeds states to the generator and keeps the last logits.
struct Recorder<'a> {
    generator: &'a mut Generator,
    last: usize,
    logits: Vec<i64>,
}

impl Observer for Recorder<'_> {
    fn states(&mut self, _: usize, states: &[Digest]) {
        self.generator.states(states);
    }

    fn wants_logits(&self, index: usize) -> bool {
        index == self.last
    }

    fn logits(&mut self, _: usize, logits: &[i64]) -> bool {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        true
    }
}

impl Engine {
    /// Generates the output of `task`. Calls `on_token` with every token as it comes and `on_chunk`
    /// with every 32 and with the last ones; `on_chunk` may end the run, which is then `Cancelled`.
    ///
    /// # Errors
    /// If the task does not fit the model, or the model's numbers leave the contract's range.
    pub fn generate(
        &mut self,
        task: &Task,
        on_token: &mut dyn FnMut(u32),
        on_chunk: &mut dyn FnMut(&Chunk) -> ControlFlow<()>,
    ) -> Result<Outcome, RunError> {
        let mut generator = Generator::new(&self.model, task.clone())?;
        self.reset();
        let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
        let (mut next, mut logits) = (task.prompt.clone(), Vec::new());
        let finish = loop {
            let mut recorder = Recorder { generator: &mut generator, last: next.len() - 1, logits };
            self.advance(&next, &mut recorder)?;
            logits = recorder.logits;
            let grown = generator.logits(&logits, self)?;
            tokens.push(grown.token);
            on_token(grown.token);
            let told = grown.chunk.iter().flat_map(|chunk| &chunk.logprobs);
            told.for_each(|told| logprobs.extend_from_slice(&told.bytes));
            if let Some(chunk) = &grown.chunk
                && on_chunk(chunk).is_break()
                && grown.finish.is_none()
            {
                break Finish::Cancelled;
            }
            if let Some(finish) = grown.finish {
                break finish;
            }
            next.clear();
            next.push(grown.token);
        };
        let chunk_digests = generator.builder.digests().to_vec();
        Ok(Outcome { tokens, logprobs, trace_root: trace_root(&chunk_digests), chunk_digests, finish })
    }
}
