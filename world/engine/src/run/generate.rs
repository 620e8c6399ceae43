//! Generation with the fast engine.

use super::{Chunk, Outcome, Task};
use crate::engine::{Engine, Observer};
use crate::error::RunError;
use std::ops::ControlFlow;
use talkoo_base::{Digest, Finish};
use talkoo_exact::sample::sample;
use talkoo_exact::trace::{ChunkBuilder, trace_root};

/// Feeds states to the chunk builder and keeps the last logits.
struct Recorder<'a> {
    builder: &'a mut ChunkBuilder,
    last: usize,
    logits: Vec<i64>,
}

impl Observer for Recorder<'_> {
    fn states(&mut self, _: usize, states: &[Digest]) {
        self.builder.push_states(states);
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
        let model = std::sync::Arc::clone(&self.model);
        let mut ending = task.check(&model)?;
        self.reset();
        let mut builder = ChunkBuilder::new(task.trace_id);
        let (mut tokens, mut next, mut logits) = (Vec::new(), task.prompt.clone(), Vec::new());
        let finish = loop {
            let mut recorder = Recorder { builder: &mut builder, last: next.len() - 1, logits };
            self.advance(&next, &mut recorder)?;
            logits = recorder.logits;
            let token = self.sample(&logits, task, tokens.len() as u32);
            tokens.push(token);
            on_token(token);
            let finish = ending.after(token);
            if builder.push_token(token) || finish.is_some() {
                let (index, tokens, digest) = builder.close().expect("a token was just pushed");
                if on_chunk(&Chunk { index, tokens, digest, finish }).is_break() && finish.is_none() {
                    break Finish::Cancelled;
                }
            }
            if let Some(finish) = finish {
                break finish;
            }
            next.clear();
            next.push(token);
        };
        let chunk_digests = builder.digests().to_vec();
        Ok(Outcome { tokens, trace_root: trace_root(&chunk_digests), chunk_digests, finish })
    }

    /// Output token `index` of `task`.
    pub(super) fn sample(&self, logits: &[i64], task: &Task, index: u32) -> u32 {
        if task.params.temperature_q16 == 0 {
            self.argmax(logits)
        } else {
            sample(logits, &task.params, task.seed, index)
        }
    }
}
