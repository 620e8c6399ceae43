//! What goes into a download and what comes out.

use crate::bitswap::WantKind;
use crate::block::Block;
use crate::dagpb::NodeError;
use crate::limits::DAG_BLOCKS_MAX;
use cid::Cid;
use thiserror::Error;

/// A peer of this download; the caller numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerRef(pub u32);

/// A block that is already here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// A block without links.
    Leaf {
        /// Its length.
        bytes: u64,
    },
    /// A block that may have links, see [`crate::ipld::may_link`]; they are needed.
    Node(Block),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A peer can be asked.
    PeerUp(PeerRef),
    /// A peer is lost, or a message to it could not be sent.
    PeerGone(PeerRef),
    /// A peer said whether it has a block.
    Presence {
        /// Who.
        peer: PeerRef,
        /// Which.
        cid: Cid,
        /// It has it.
        have: bool,
    },
    /// A block arrived.
    Block {
        /// From whom.
        peer: PeerRef,
        /// What, already hashed.
        block: Block,
    },
    /// The answer to [`Output::Look`].
    Looked {
        /// Which.
        cid: Cid,
        /// What is here.
        held: Option<Held>,
    },
    /// A block could not be stored, for the reason given.
    StoreFailed(String),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look whether a block is here; answer with [`Input::Looked`].
    Look(Cid),
    /// Ask a peer.
    Want {
        /// Whom.
        peer: PeerRef,
        /// For what.
        cid: Cid,
        /// For the block or for a word.
        kind: WantKind,
    },
    /// Take a want back.
    Cancel {
        /// From whom.
        peer: PeerRef,
        /// Which.
        cid: Cid,
    },
    /// Keep a block.
    Store(Block),
    /// Use this peer no more.
    Drop {
        /// Whom.
        peer: PeerRef,
        /// Why.
        why: PeerFault,
    },
    /// Every block is here or has been handed out by [`Output::Store`].
    Done(Progress),
    /// The download is over without success.
    Failed(FetchFailure),
}

/// Why a peer is used no more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PeerFault {
    /// It sent blocks that nobody asked for: bytes that do not hash to what was wanted.
    #[error("sent blocks that were not asked for, or bytes that do not hash to the wanted cid")]
    WrongBlocks,
    /// It let wants expire.
    #[error("did not answer within the deadline")]
    Silent,
}

/// Why a download is over.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FetchFailure {
    /// No reachable peer has a block.
    #[error("no peer has block {cid} ({peers} asked): connect to a node that has it, or try later")]
    NotFound {
        /// Which.
        cid: Cid,
        /// Peers at the time.
        peers: usize,
    },
    /// Nothing arrived for too long.
    #[error(
        "nothing arrived for {waited_ms} ms while waiting for block {cid}: check the connection, then pull again to resume"
    )]
    Stalled {
        /// The first missing block.
        cid: Cid,
        /// How long.
        waited_ms: u64,
    },
    /// A node that cannot be read.
    #[error("block {cid} cannot be followed")]
    BadNode {
        /// Which.
        cid: Cid,
        /// Why.
        source: NodeError,
    },
    /// More blocks than a download may have.
    #[error("the dag has more than {DAG_BLOCKS_MAX} blocks: pull its parts one by one")]
    TooManyBlocks,
    /// A block could not be kept.
    #[error("a block could not be stored: {why}")]
    Store {
        /// What the store said.
        why: String,
    },
}

/// How far a download is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Blocks that are here.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, bytes that were on disk at the start.
    pub held_bytes: u64,
    /// Bytes of the whole file, once its root is known.
    pub total_bytes: Option<u64>,
    /// Peers in use.
    pub peers: usize,
}
