//! What this machine tells besides messages: which channels are in use, and what people may see.

use talkoo_base::{Amount, Attempt, ChannelConfig, Digest, NodeId, Refusal};

/// What the ledger has to do with a channel that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Channel {
    /// We buy on it.
    Fund {
        /// The channel.
        config: ChannelConfig,
        /// What it should hold in all, so that everything ordered can be paid.
        need: Amount,
    },
    /// We sell on it: say what it holds, and when that changes, with [`crate::Input::Funds`].
    Watch {
        /// The client.
        client: NodeId,
        /// The channel.
        config: ChannelConfig,
    },
}

/// What happened around a lease, for people. Not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A chunk of what we ordered was checked and paid.
    Chunk {
        /// The lease.
        attempt: Attempt,
        /// Its tokens.
        tokens: Vec<u32>,
        /// What the lease costs up to here.
        worth: Amount,
    },
    /// A re-run began.
    AuditStarted {
        /// The lease.
        attempt: Attempt,
        /// Whose answer.
        worker: NodeId,
        /// Who re-runs it; `None`: our own engine.
        verifier: Option<NodeId>,
    },
    /// A re-run ended.
    AuditEnded {
        /// The lease.
        attempt: Attempt,
        /// Whose answer.
        worker: NodeId,
        /// Who re-ran it; `None`: our own engine.
        verifier: Option<NodeId>,
        /// Whether it found the same.
        equal: bool,
    },
    /// A node lied.
    Convicted {
        /// Which.
        node: NodeId,
        /// How.
        refusal: Refusal,
    },
    /// A build gives wrong numbers.
    Quarantined {
        /// Which.
        build: Digest,
        /// What was wrong.
        refusal: Refusal,
    },
    /// As a worker: our engine gave two answers to one question.
    Faulty {
        /// What it means.
        refusal: Refusal,
    },
    /// As a worker: a client found other numbers than ours.
    Warned {
        /// The client.
        client: NodeId,
        /// What it says.
        refusal: Refusal,
    },
    /// As a worker: a lease ended.
    Sold {
        /// The client.
        client: NodeId,
        /// Output tokens.
        units: u64,
        /// Whether it was an audit.
        audit: bool,
    },
}
