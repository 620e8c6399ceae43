//! Tasks: generate, verify, and the same through the definition.

mod course;
mod define;
mod ending;
mod generate;
mod states;
mod verify;
mod weigh;

pub use define::define_generate;
pub(crate) use generate::Generator;
pub(crate) use verify::Checker;

use crate::error::RunError;
use crate::model::Model;
use course::Course;
use std::sync::Arc;
use talkoo_base::wire::Check;
use talkoo_base::{Digest, Finish, GenerateParams, Logprobs};

/// One generation: what is fixed before it starts.
#[derive(Clone, Debug)]
pub struct Task {
    /// Token ids of the prompt, at least one.
    pub prompt: Vec<u32>,
    /// Length, sampler and stops.
    pub params: GenerateParams,
    /// Seed of the sampler's draws.
    pub seed: u64,
    /// Binds the chunk digests to the job.
    pub trace_id: Digest,
}

/// Up to 32 output tokens and the digest that commits to them and to all states behind them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Number of the chunk, from 0.
    pub index: u32,
    /// Its output tokens; fewer than 32 only in the last one.
    pub tokens: Vec<u32>,
    /// What it commits to.
    pub digest: Digest,
    /// The log probabilities of its tokens, if the task wants them.
    pub logprobs: Option<Logprobs>,
    /// Why the output ended, in the last chunk.
    pub finish: Option<Finish>,
}

/// A finished generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// All output tokens, the ending one included.
    pub tokens: Vec<u32>,
    /// Canonical bytes of their log probabilities, see [`talkoo_base::TokenLogprobs`]; empty if none are wanted.
    pub logprobs: Vec<u8>,
    /// One digest per chunk.
    pub chunk_digests: Vec<Digest>,
    /// Merkle root over them.
    pub trace_root: Digest,
    /// Why it ended; [`Finish::Cancelled`] if the receiver of chunks said so.
    pub finish: Finish,
}

/// What an honest run says of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Digests of the chunks before the divergence, of all if there is none. The last one may be
    /// shorter than 32 tokens if the output is.
    pub chunk_digests: Vec<Digest>,
    /// The first output token that the sampler does not give, or that comes after an honest run
    /// would have ended.
    pub diverged: Option<u32>,
    /// How an honest run ends exactly here; `None` if it would go on (or diverged before).
    pub finish: Option<Finish>,
}

impl Task {
    /// Checks the task against the model; returns the course that its output takes.
    fn check(&self, model: &Arc<Model>) -> Result<Course, RunError> {
        let (context, prompt) = (model.context_max(), u32::try_from(self.prompt.len()).unwrap_or(u32::MAX));
        if prompt == 0 {
            return Err(RunError::EmptyPrompt);
        }
        if prompt >= context {
            return Err(RunError::PromptTooLong { need: context - 1, have: prompt });
        }
        check_tokens(model, &self.prompt)?;
        self.params.check()?;
        Course::new(model, self, context - prompt)
    }
}

pub(crate) fn check_tokens(model: &Model, tokens: &[u32]) -> Result<(), RunError> {
    let vocabulary = model.manifest.architecture.vocabulary as u32;
    match tokens.iter().find(|t| **t >= vocabulary) {
        Some(token) => Err(RunError::UnknownToken { token: *token, vocabulary }),
        None => Ok(()),
    }
}
