//! What jobs write into the journal.

use serde::{Deserialize, Serialize};
use talkoo_base::{AuditPolicy, Digest, Finish, JobId, Kind, NodeId, Preferences, Price, Tier};

/// One step as posted. The program is the job's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepSpec {
    /// The user's name for it.
    pub custom_id: String,
    /// Prompt, as token ids.
    pub prompt: Vec<u32>,
    /// Canonical bytes of [`talkoo_base::GenerateParams`].
    #[serde(with = "serde_bytes")]
    pub params: Vec<u8>,
    /// Seed of the sampler.
    pub seed: u64,
}

/// A job as posted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Its id.
    pub id: JobId,
    /// What the user calls it.
    pub name: String,
    /// Root of the model; of the float tier its name, see [`talkoo_base::float_program`].
    pub program: Digest,
    /// How its answers can be checked; a job that does not say is exact, and keeps its bytes.
    #[serde(default = "exact", skip_serializing_if = "is_exact")]
    pub tier: Tier,
    /// What kind of work; a job that does not say generates, and keeps its bytes.
    #[serde(default = "generate", skip_serializing_if = "is_generate")]
    pub kind: Kind,
    /// Longest context of a step, in tokens.
    pub context: u32,
    /// The steps, in the order of the results.
    pub steps: Vec<StepSpec>,
    /// The last steps may be copied to faster workers.
    pub copies: bool,
    /// Highest price it pays.
    pub price_max: Price,
    /// Workers at most.
    pub nodes_max: u32,
    /// Whether the client's own node may work on it.
    pub own: bool,
    /// Who may re-run its steps.
    pub audit: AuditPolicy,
    /// Which workers it wants; a job without wishes keeps its bytes.
    #[serde(default, skip_serializing_if = "Preferences::is_none")]
    pub prefer: Preferences,
}

fn generate() -> Kind {
    Kind::Generate
}

fn is_generate(kind: &Kind) -> bool {
    *kind == Kind::Generate
}

fn exact() -> Tier {
    Tier::Exact
}

fn is_exact(tier: &Tier) -> bool {
    *tier == Tier::Exact
}

/// The accepted result of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneWire {
    /// Who ran it.
    pub node: NodeId,
    /// Which lease of the step it was.
    pub number: u32,
    /// The output.
    pub tokens: Vec<u32>,
    /// Canonical bytes of its log probabilities; a step that wants none keeps its bytes.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<u8>,
    /// Why it ended.
    pub finish: Finish,
    /// Whether somebody re-ran it.
    pub audited: bool,
}

/// A durable change of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// It was posted.
    Posted(JobSpec),
    /// A step has its result.
    Done {
        /// The job.
        job: JobId,
        /// The step.
        step: u32,
        /// The result.
        done: DoneWire,
    },
    /// A step failed for good.
    Failed {
        /// The job.
        job: JobId,
        /// The step.
        step: u32,
        /// Code of the refusal.
        code: String,
        /// Its message.
        message: String,
    },
    /// A result that nobody re-ran was thrown away because its worker lied elsewhere.
    Revoked {
        /// The job.
        job: JobId,
        /// The step.
        step: u32,
    },
    /// The user wants nothing left of it.
    Forgotten {
        /// The job.
        job: JobId,
    },
    /// It is over.
    Closed {
        /// The job.
        job: JobId,
        /// Whether the user cancelled it.
        cancelled: bool,
    },
}
