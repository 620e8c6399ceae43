//! Receipts that this node keeps of what it bought.

use utoipa::ToSchema;

/// A page of receipts.
#[derive(ToSchema)]
pub struct Receipts {
    /// The newest first.
    pub receipts: Vec<ReceiptRow>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// What a receipt says of itself: nothing of it is checked here.
#[derive(ToSchema)]
pub struct ReceiptRow {
    /// Its id, JOB/STEP-LEASE, as an answer calls it.
    pub id: String,
    /// Its file in the data folder.
    pub file: String,
    /// The job.
    pub job: String,
    /// Number of the step in its job, from 0.
    pub step: u64,
    /// Address of the worker.
    pub worker: String,
    /// Output tokens.
    pub units: u64,
    /// Tokens of money for a million input tokens.
    pub price_input: String,
    /// Tokens of money for a million output tokens.
    pub price_output: String,
    /// What that price makes of its tokens, in tokens of money.
    pub amount: String,
    /// `exact` or `float`.
    pub tier: String,
    /// Root of the model.
    pub model_root: String,
    /// When it was written, in Unix seconds.
    pub time: u64,
    /// Whether somebody ran it again.
    pub audited: bool,
    /// Whether it has prompt and answer: of the exact tier, that anybody with the model can compute it again.
    pub disclosed: bool,
    /// When prompt or receipt go here, in Unix seconds; none if they are kept for ever, or nothing can be computed again.
    pub rerunnable_until: Option<u64>,
    /// Why it cannot be read; all else but its names is empty then.
    pub error: Option<String>,
}

/// A receipt, and what checking it found.
#[derive(ToSchema)]
pub struct ReceiptShown {
    /// Its id, JOB/STEP-LEASE.
    pub id: String,
    /// Its file in the data folder.
    pub file: String,
    /// The job.
    pub job: String,
    /// When it was written, in Unix seconds.
    pub time: u64,
    /// Whether all of it holds that needs no model.
    pub holds: bool,
    /// Why not.
    pub why: Option<String>,
    /// Check by check.
    pub checks: Vec<ReceiptCheck>,
    /// How far it was checked, in words.
    pub badge: Option<String>,
    /// Address of the client.
    pub client: Option<String>,
    /// Address of the worker.
    pub worker: Option<String>,
    /// What the last voucher promises over its channel's life, in tokens of money.
    pub voucher: Option<String>,
    /// Output tokens, or numbers of a vector.
    pub units: Option<u64>,
    /// Why the answer ends: `stop` or `length`.
    pub finish: Option<String>,
    /// Chunks of 32 tokens; a vector is one.
    pub chunks: Option<u64>,
    /// `generate`, or `embed` for a vector.
    pub kind: Option<String>,
    /// `exact` or `float`.
    pub tier: Option<String>,
    /// Root of the model.
    pub model_root: Option<String>,
    /// Root of all states.
    pub trace_root: Option<String>,
    /// Id of the last receipt.
    pub receipt: Option<String>,
    /// Whether it has prompt and answer.
    pub disclosed: Option<bool>,
    /// When prompt or receipt go here, in Unix seconds; none if they are kept for ever, or nothing can be computed again.
    pub rerunnable_until: Option<u64>,
}

/// One check.
#[derive(ToSchema)]
pub struct ReceiptCheck {
    /// `order`, `chunks`, `end`, `disclosure`, `reruns` or `stands`.
    pub check: String,
    /// What is checked.
    pub what: String,
    /// Whether it holds; none if there is nothing to check.
    pub holds: Option<bool>,
    /// Why not, or why there is nothing.
    pub why: Option<String>,
}
