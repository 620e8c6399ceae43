//! Who worked for a job, and when.

use utoipa::ToSchema;

/// The runs of a job, of this run of the node.
#[derive(ToSchema)]
pub struct Timeline {
    /// The job.
    pub job: String,
    /// Each run, in the order of their beginnings.
    pub spans: Vec<TimelineSpan>,
    /// Older ones that are not kept.
    pub dropped: u64,
}

/// A run of a step.
#[derive(ToSchema)]
pub struct TimelineSpan {
    /// The step, from 0.
    pub step: u64,
    /// Number of its lease.
    pub lease: u64,
    /// Who ran it; none: this node.
    pub node: Option<String>,
    /// `run` or `check`.
    pub kind: String,
    /// Whether it is a copy of another run.
    pub copy: bool,
    /// When it began, in milliseconds since 1970.
    pub from_ms: u64,
    /// When it ended.
    pub to_ms: Option<u64>,
    /// `open`, `done`, `lost`, `equal` or `unequal`.
    pub end: String,
    /// Tokens of it.
    pub units: Option<u64>,
    /// Why it was lost.
    pub why: Option<String>,
}
