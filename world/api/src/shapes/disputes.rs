//! Disputes with workers that this node's engine refuted.

use utoipa::ToSchema;

/// All disputes.
#[derive(ToSchema)]
pub struct Disputes {
    /// The oldest first.
    pub disputes: Vec<DisputeSummary>,
}

/// A dispute in short.
#[derive(ToSchema)]
pub struct DisputeSummary {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// The worker.
    pub node: String,
    /// The job.
    pub job: String,
    /// When it began, in Unix seconds.
    pub begun: u64,
    /// How it stands, in a word or two.
    pub state: String,
    /// Whether it is over.
    pub over: bool,
    /// Questions that were asked.
    pub questions: u64,
    /// Transactions of ours.
    pub transactions: u64,
    /// Gas of them.
    pub gas: u64,
}

/// A dispute, move by move.
#[derive(ToSchema)]
pub struct Dispute {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// The worker.
    pub node: String,
    /// The job.
    pub job: String,
    /// When it began, in Unix seconds.
    pub begun: u64,
    /// How it stands, in a word or two.
    pub state: String,
    /// Whether it is over.
    pub over: bool,
    /// Questions that were asked.
    pub questions: u64,
    /// Transactions of ours.
    pub transactions: u64,
    /// Gas of them.
    pub gas: u64,
    /// The lease, as the contracts call it.
    pub lease: String,
    /// Address of the worker's owner.
    pub operator: String,
    /// What happened.
    pub story: Vec<DisputeMove>,
    /// Why there is no verdict.
    pub why: Option<String>,
    /// Taken of the worker's bond, in micro-units.
    pub slashed: Option<String>,
    /// Given back to us, in micro-units.
    pub refunded: Option<String>,
    /// Of what the worker had earned, in micro-units.
    pub seized: Option<String>,
    /// What the worker claimed.
    pub claimed: Option<String>,
    /// What is right.
    pub right: Option<String>,
}

/// A move of a dispute.
#[derive(ToSchema)]
pub struct DisputeMove {
    /// When, in Unix seconds.
    pub at: u64,
    /// `we`, `worker` or `chain`.
    pub who: String,
    /// What it did.
    pub text: String,
    /// Hash of its transaction.
    pub transaction: Option<String>,
    /// Block of it.
    pub block: Option<u64>,
    /// Gas of it.
    pub gas: Option<u64>,
}
