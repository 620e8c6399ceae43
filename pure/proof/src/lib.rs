//! What was promised, done, paid and checked: requests, receipts, vouchers, audits, verdicts.
//!
//! Three roles of one node:
//! - `buyer`: signs a request for every lease, checks each chunk's receipt and answers it with a voucher;
//! - `seller`: checks a request before it works, signs a receipt for each chunk, stops two chunks
//!   ahead of the money;
//! - `audit`: draws a verifier that has not seen the worker's root, lets it commit before it reveals,
//!   and turns what it says into a verdict; whoever is refuted by the client's own re-run is convicted.
//!
//! ```text
//! client                         worker                      verifier
//! Lease(request) ──────────────► run
//!        ◄── Chunk(receipt 1) ──
//! Pay(voucher 1) ──────────────►  …
//!        ◄── Chunk(last receipt)
//! Lease(request, tokens) ──────────────────────────────────► re-run in one prefill
//!        ◄────────────────────────────────────── Commit(hash)
//! Reveal ──────────────────────────────────────────────────►
//!        ◄────────────────────────────────────── Answer(receipt)
//! equal: both are paid · different: a further node, then our own engine
//! ```
//!
//! It does not know when a lease is late (`job`) or who is fast (`market`), and it runs nothing.

mod audit;
mod buyer;
pub mod commit;
pub mod debts;
pub mod dispute;
mod drawn;
pub mod kept;
pub mod limits;
mod machine;
mod message;
mod notice;
mod order;
mod paid;
pub mod parameters;
mod purse;
mod recent;
mod sale;
mod seller;
pub mod trust;
mod verdict;
mod waiting;
mod weigh;
pub mod wire;

pub use kept::{Kept, Part, VerifyError, verify_kept, verify_part};
pub use machine::{Proof, Setup};
pub use message::{Answer, Chunk, Message, Order};
pub use notice::{Channel, Notice};
pub use purse::{Account, Earnings, channel};
pub use wire::{Event, Seen, Sold};

use dispute::Case;
use talkoo_base::{
    Address, Amount, Attempt, AuditPolicy, Digest, Finish, JobId, LeaseId, Likeness, Logprobs, NodeId, Price, Refusal,
    Tier, Work,
};

/// A run of our own engine that an input or effect is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ticket {
    /// For a client of ours.
    Sale(LeaseId),
    /// To judge an answer of a worker of ours.
    Own(LeaseId),
}

/// What our own engine is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which run.
    pub ticket: Ticket,
    /// Who pays for it; our own node if it judges for us.
    pub client: NodeId,
    /// What.
    pub work: Work,
    /// Mixed into every chunk digest.
    pub trace_id: Digest,
    /// To re-run: the output to check. Otherwise: generate.
    pub rerun: Option<Vec<u32>>,
}

/// What a worker takes, and how much of it one client has reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Least price.
    pub price: Price,
    /// How many of our slots the client holds.
    pub slots: u32,
    /// How answers of the program that it orders can be checked.
    pub tier: Tier,
}

/// A node that could verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The node.
    pub node: NodeId,
    /// Its owner.
    pub operator: Address,
    /// Its price.
    pub price: Price,
}

/// What the world and the other machines tell this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Lease a step to a worker.
    Open {
        /// Our name for the lease.
        attempt: Attempt,
        /// The worker.
        worker: Candidate,
        /// What to run.
        work: Box<Work>,
        /// Who may re-run it.
        audit: AuditPolicy,
    },
    /// End a lease of ours.
    Close {
        /// Which.
        attempt: Attempt,
        /// Why.
        refusal: Refusal,
    },
    /// A peer's message, its signatures checked.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// What we take as a worker, just before a [`Message::Lease`] from the same peer; `None`: nothing.
    Terms(Option<Terms>),
    /// Nodes that could verify an answer, best first.
    Candidates {
        /// The answer's lease.
        lease: LeaseId,
        /// The nodes.
        nodes: Vec<Candidate>,
    },
    /// Our engine made a chunk.
    Produced {
        /// Which run.
        ticket: Ticket,
        /// Number of the chunk.
        index: u32,
        /// Its tokens.
        tokens: Vec<u32>,
        /// Digest of its tokens and states, and of the log probabilities.
        digest: Digest,
        /// The log probabilities of its tokens, if the work wants them.
        logprobs: Option<Logprobs>,
        /// [`Finish::Running`], or why the output ended with it.
        finish: Finish,
    },
    /// Our engine re-ran an output.
    Verified {
        /// Which run.
        ticket: Ticket,
        /// Digests of its chunks.
        digests: Vec<Digest>,
        /// The first token that the sampler does not give.
        diverged: Option<u64>,
        /// Why an honest output would have ended.
        finish: Finish,
    },
    /// Our engine weighed an output of the float tier.
    Weighed {
        /// Which run.
        ticket: Ticket,
        /// How like it is to what our model says.
        likeness: Likeness,
    },
    /// Our engine could not.
    RunFailed {
        /// Which run.
        ticket: Ticket,
        /// Why.
        refusal: Refusal,
    },
    /// What the ledger says that a client's channel holds, in all.
    Funds {
        /// The client.
        client: NodeId,
        /// Its deposits, those included that were claimed.
        balance: Amount,
    },
    /// What the ledger says that an operator has at stake; nothing, as long as nobody says so.
    Bond {
        /// The operator of workers.
        operator: Address,
        /// Its bond, without what is on its way out.
        bond: Amount,
    },
    /// A connection is gone.
    PeerDown(NodeId),
    /// The node stops: hand leases back.
    Stopping,
    /// Time went by.
    Tick,
}

/// What this machine asks of the world and the other machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this down before anything else leaves.
    Record(Event),
    /// Send to a peer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Run something.
    Run(Box<Run>),
    /// Our engine may produce so many chunks more of a run.
    Credit {
        /// Which run.
        ticket: Ticket,
        /// Chunks.
        chunks: u32,
    },
    /// Stop a run.
    Stop(Ticket),
    /// Who could verify this? Answer with [`Input::Candidates`].
    Draw {
        /// The answer's lease.
        lease: LeaseId,
        /// Its job, which bounds the price.
        job: JobId,
        /// The model.
        program: Digest,
        /// Longest context it needs.
        context: u32,
        /// Nodes that must not.
        not: Vec<NodeId>,
    },
    /// A chunk was checked and paid.
    Progress {
        /// The lease.
        attempt: Attempt,
        /// Output tokens so far.
        units: u64,
    },
    /// A lease is complete.
    Delivered {
        /// The lease.
        attempt: Attempt,
        /// The output.
        tokens: Vec<u32>,
        /// Canonical bytes of its log probabilities; empty if the work wants none.
        logprobs: Vec<u8>,
        /// Why it ended.
        finish: Finish,
    },
    /// A lease failed.
    Broken {
        /// The lease.
        attempt: Attempt,
        /// Its worker.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// The verdict on a delivered lease.
    Verdict {
        /// The lease.
        attempt: Attempt,
        /// Its worker.
        node: NodeId,
        /// Whether its output stands.
        stands: bool,
        /// Whether anybody re-ran it.
        audited: bool,
    },
    /// A node was proved to have lied.
    Convicted {
        /// Which.
        node: NodeId,
        /// The lie.
        refusal: Refusal,
    },
    /// Nodes of one build, of different owners, gave the same wrong numbers for the same work: more likely the build's
    /// fault than theirs.
    Quarantined {
        /// The build.
        build: Digest,
        /// Those that gave them.
        nodes: Vec<NodeId>,
        /// What was wrong.
        refusal: Refusal,
    },
    /// Keep this record as a file.
    Keep(Box<Kept>),
    /// A receipt goes out: keep this until nobody can dispute it any more.
    Sold(Box<Sold>),
    /// Our own engine found another answer than the worker: it can be convicted before a contract.
    Dispute {
        /// The worker.
        worker: NodeId,
        /// What it can be held to.
        case: Box<Case>,
    },
    /// We use a slot that a client reserved.
    Used {
        /// The client.
        client: NodeId,
        /// How long it may take until we use it again, in milliseconds, besides the usual.
        for_ms: u64,
    },
    /// A channel is in use.
    Channel(Channel),
    /// For people who watch.
    Notice(Notice),
}

#[cfg(test)]
mod tests;
