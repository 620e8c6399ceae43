//! Erasure of prompts and answers.

use utoipa::ToSchema;

/// What to erase: exactly one of `job`, `key`, `before` and `all`.
#[derive(ToSchema)]
pub struct EraseAsk {
    /// A job, whole or by its first digits; a batch, `batch_…`; or a kept response, `resp_…`, with all that goes on with it.
    #[schema(min_length = 1, max_length = 128)]
    pub job: Option<String>,
    /// All that a key asked for: its id or its name.
    #[schema(min_length = 1, max_length = 256)]
    pub key: Option<String>,
    /// All that came, or was over, before this day, in UTC.
    #[schema(format = Date, max_length = 32, example = "2026-01-31")]
    pub before: Option<String>,
    /// All of it.
    pub all: Option<bool>,
    /// Only say what would go.
    pub dry_run: Option<bool>,
}

/// What was erased, or would be.
#[derive(ToSchema)]
pub struct Erased {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// How much of each kind.
    pub kinds: Vec<ErasedKind>,
    /// What is worked at and stays: jobs, batches, responses. Cancel it, then ask again.
    pub running: Vec<String>,
    /// What this node can't erase, in words.
    pub left: Vec<String>,
}

/// How much of a kind.
#[derive(ToSchema)]
pub struct ErasedKind {
    /// `jobs`, `responses`, `files`, `batches`, `events`, `repeated_answers`, `payment_words`, `disputes`; `receipts`, which lose prompt
    /// and answer and stay; `receipts_removed`, which do not.
    pub kind: String,
    /// How many.
    pub count: u64,
    /// Their bytes on the disk; of receipts, what they lose.
    pub bytes: u64,
}
