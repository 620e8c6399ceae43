//! What nodes say to each other about leases.

use talkoo_base::{ChannelConfig, Digest, LeaseId, Logprobs, Receipt, Refusal, Request, Signed, Voucher};

/// A client's order as it travels: the signed request with everything its roots stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The signed request.
    pub request: Signed<Request>,
    /// The channel that pays.
    pub channel: ChannelConfig,
    /// Salt of the prompt root.
    pub prompt_salt: Digest,
    /// Salt of the trace id and of the output root.
    pub trace_salt: Digest,
    /// The prompt.
    pub prompt: Vec<u32>,
    /// For an audit: the output to re-run.
    pub rerun: Option<Vec<u32>>,
}

/// A chunk as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Which lease.
    pub lease: LeaseId,
    /// Number of the chunk, from 0.
    pub index: u32,
    /// Its output units, at most [`talkoo_base::Work::chunk_units`].
    pub tokens: Vec<u32>,
    /// Digest of its tokens and states, and of the log probabilities.
    pub digest: Digest,
    /// The log probabilities of its tokens, if the order wants them.
    pub logprobs: Option<Logprobs>,
    /// The cumulative receipt up to and with it.
    pub receipt: Signed<Receipt>,
}

/// What a verifier found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which lease.
    pub lease: LeaseId,
    /// Its receipt: the trace root it found, or [`talkoo_base::Finish::Diverged`] with the first false token.
    pub receipt: Signed<Receipt>,
    /// Salt of its commitment.
    pub salt: Digest,
}

/// What nodes say to each other about leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Client to worker or verifier: run this.
    Lease(Box<Order>),
    /// Worker to client: a chunk is done.
    Chunk(Box<Chunk>),
    /// Client to worker: paid up to here.
    Pay {
        /// Which lease.
        lease: LeaseId,
        /// Which chunk of it; 0 for an audit.
        index: u32,
        /// The cumulative voucher.
        voucher: Signed<Voucher>,
    },
    /// Either way: this lease is over, and why.
    Close {
        /// Which lease.
        lease: LeaseId,
        /// Why.
        refusal: Refusal,
    },
    /// Verifier to client: I have an answer and cannot change it any more.
    Commit {
        /// Which lease.
        lease: LeaseId,
        /// See [`crate::commit::verdict_commit`].
        commit: Digest,
    },
    /// Client to verifier: show it.
    Reveal {
        /// Which lease.
        lease: LeaseId,
    },
    /// Verifier to client: here it is.
    Answer(Box<Answer>),
    /// Client to a worker or verifier, once for a lease: our own engine finds other numbers than yours.
    Warning {
        /// Which lease.
        lease: LeaseId,
        /// What differs.
        refusal: Refusal,
    },
    /// Worker to client that refused its sum: your own largest voucher, in case you lost your journal.
    Owed {
        /// The voucher.
        voucher: Signed<Voucher>,
    },
}
