//! Agreement of validators on blocks: Tendermint, as a machine.
//!
//! ```text
//! idle ─ Ready, or a validator's message ─► round 0: propose ─► prevote ─► precommit ─► commit ─► idle, next height
//!                                                      └── a wait is over: next round ──┘
//! behind ─ Fetch ─► blocks with certificates ─► execute ─► commit
//! ```
//! The algorithm is the core of Malachite (`arc-malachitebft-core-consensus`; Buchman, Kwon, Milosevic, "The latest
//! gossip on BFT consensus", arXiv:1807.04938). Here are its host and what it lacks: signatures that any EVM can check,
//! the log of what was signed, whose turn it is, quiet while there is nothing to do, and catching up.
//!
//! A block is opaque bytes and the hash of its header. The executor says whether the two belong together and whether
//! the block may follow the last one; nothing is voted for before. It does not know a transaction, a stake or a reward.

mod catchup;
mod chain;
mod context;
mod host;
mod journal;
pub mod limits;
mod validators;
pub mod wire;

pub use chain::Chain;
pub use wire::{Event, Message, SignedProposal, SignedVote, Step};

use talkoo_base::{Address, Certificate, Digest, NodeId, Validator};

/// What the executor, the network and time tell the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection to a peer is open.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer's message.
    Message {
        /// Who sent it; its signatures may be others'.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// There is something to put into a block. Said again after each [`Input::Committed`] if there still is.
    Ready,
    /// The block that [`Effect::Propose`] asked for.
    Proposed {
        /// As asked.
        height: u64,
        /// As asked.
        round: u32,
        /// Hash of its header.
        block: Digest,
        /// The block.
        bytes: Vec<u8>,
    },
    /// The answer to [`Effect::Validate`].
    Validated {
        /// As asked.
        height: u64,
        /// As asked.
        block: Digest,
        /// As asked.
        body: Digest,
        /// Whether the bytes have this hash and may follow the last block.
        valid: bool,
    },
    /// A block is executed and written, so that no crash takes it back: the answer to [`Effect::Commit`], or, after a
    /// restart, the word that the ledger is further than the journal.
    Committed {
        /// Its number.
        height: u64,
        /// Who built it, as its header says (the beneficiary).
        builder: Address,
        /// Who votes on the next block.
        validators: Vec<Validator>,
    },
    /// The node starts again after the journal was folded.
    Restarted,
    /// Time went by.
    Tick,
}

/// What the chain asks of the executor and the network, and tells the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this down before anything else leaves.
    Record(Box<Event>),
    /// Build a block. Answered always, with an empty one if nothing waits: a height that began has to end.
    Propose {
        /// Its number.
        height: u64,
        /// For which round.
        round: u32,
    },
    /// Execute a stranger's block, and keep the result until it is final or the height is over.
    Validate {
        /// Its number.
        height: u64,
        /// The hash its header is said to have.
        block: Digest,
        /// keccak256 of the bytes.
        body: Digest,
        /// Whom its header has to name as its builder; anybody if it was proposed before, or is final.
        builder: Option<Address>,
        /// The block.
        bytes: Vec<u8>,
    },
    /// A block is final. It may come twice.
    Commit {
        /// Why.
        certificate: Certificate,
        /// The block.
        bytes: Vec<u8>,
    },
    /// Send to one peer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// Send to every peer.
    Broadcast(Message),
    /// Send final blocks from the store, each as [`Message::Block`], in order.
    Serve {
        /// To whom.
        to: NodeId,
        /// The first one.
        height: u64,
        /// How many.
        count: u32,
    },
    /// Two votes of one validator that contradict each other, for the contract that judges them. They may come twice.
    Evidence(Box<[SignedVote; 2]>),
    /// Something that a user may want to see.
    Notice(Notice),
}

/// What happens, for the people who watch it. Not durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A round begins.
    Round {
        /// Of which height.
        height: u64,
        /// Which.
        round: u32,
        /// Who proposes.
        proposer: Address,
    },
    /// What a peer sent was refused.
    Refused {
        /// Who.
        from: NodeId,
        /// Why.
        why: &'static str,
    },
    /// Another node votes with our key: whoever runs it pays with the bond.
    Doubled {
        /// Where.
        height: u64,
    },
    /// The consensus core could not go on with an input; it goes on with the next one.
    Stuck(String),
}

#[cfg(test)]
mod tests;
