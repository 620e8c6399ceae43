//! Names of jobs, steps and leases.

use crate::{Digest, Tier};
use std::fmt;

/// A job: random, chosen by the client's node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub Digest);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A lease on the wire: the EIP-712 digest of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub Digest);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A lease inside the client's node: the n-th attempt at one step of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The job.
    pub job: JobId,
    /// Position of the step in the job, from 0.
    pub step: u32,
    /// How many leases of this step came before.
    pub number: u32,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}.{}", self.job.0.short(), self.step, self.number)
    }
}

/// What one step asks of a worker, whoever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What kind of work.
    pub kind: crate::Kind,
    /// Root of the model; of the float tier its name, see [`crate::float_program`].
    pub program: Digest,
    /// How the answer can be checked.
    pub tier: Tier,
    /// Prompt, as token ids.
    pub prompt: Vec<u32>,
    /// How to generate; of an embedding only how many numbers it has, see [`crate::Kind::params_of_embed`].
    pub params: crate::GenerateParams,
    /// Seed of the sampler.
    pub seed: u64,
}

impl Work {
    /// Output units of a full chunk.
    #[must_use]
    pub fn chunk_units(&self) -> usize {
        self.kind.chunk_units(u64::from(self.params.max_tokens))
    }

    /// Tokens that the model has to hold at once.
    #[must_use]
    pub fn context(&self) -> usize {
        let output = if self.kind == crate::Kind::Embed { 0 } else { self.params.max_tokens as usize };
        self.prompt.len().saturating_add(output)
    }
}
