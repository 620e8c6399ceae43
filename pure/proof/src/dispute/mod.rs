//! The search for the one number in which a false trace is wrong.
//!
//! Only the worker shows things: what it says is opened against its own receipt, or signed. The challenger asks, compares
//! with its own run, and in the end holds a [`Finding`], which `contracts/src/Disputes.sol` checks without anybody's word. What
//! the worker does not tell by message it is asked on chain, with a clock; whoever told the truth can always answer.
//!
//! ```text
//! chunk ─► its states, 512 at a time ─► one (position, layer): roots of all outputs ─► the first that differs
//!   ─► its leaves ─► one element: roots of what it follows from ─► the first that differs ─► its leaves ─► one element
//! ```
//! At most 8 questions, for 2^18 states of a chunk and vectors of 2^16 numbers.
//!
//! It sends nothing and runs nothing: a [`Rerun`] is our engine, questions and answers are values. Money and clocks are the
//! contract's. What the program does not have (constraints, biases, penalties, which log probabilities are told) is not disputed.

mod bench;
mod challenger;
mod defender;
mod shape;
mod tree;

pub use challenger::{Challenger, Move, Unfit};
pub use defender::Defender;
pub use shape::Shape;

use serde::{Deserialize, Serialize};
use std::rc::Rc;
use talkoo_base::wire::{Check, DecodeError, Sealed, VectorRoots};
use talkoo_base::{ChannelConfig, Digest, Receipt, Refusal, Request, Signature};
use talkoo_exact::Model;
use talkoo_exact::steps::{Draw, ModelTree, Name, Witness};

/// Levels that one answer goes down at most: 512 nodes.
pub const DOWN_MAX: u8 = 9;
/// From this level on an answer has the leaves themselves: at most four.
pub const LEAVES_LEVEL: u8 = 2;

/// A lease, as client and worker keep it for as long as it can be disputed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The signed order.
    pub request: Sealed<Request>,
    /// The worker's last receipt.
    pub receipt: Sealed<Receipt>,
    /// The channel that pays.
    pub channel: ChannelConfig,
    /// Salt of the prompt root.
    pub prompt_salt: Digest,
    /// Salt of trace id and output root.
    pub trace_salt: Digest,
    /// The prompt.
    pub prompt: Vec<u32>,
    /// The output.
    pub output: Vec<u32>,
    /// Digests of the chunks.
    pub digests: Vec<Digest>,
    /// Canonical bytes of each chunk's log probabilities; empty if the order wants none.
    pub logprobs: Vec<Vec<u8>>,
}

impl Check for Case {
    fn check(&self) -> Result<(), DecodeError> {
        self.request.body.check()?;
        self.receipt.body.check()
    }
}

/// Our own run of a case's tokens: prompt and output as they were told, whatever a sampler would have drawn.
pub trait Rerun {
    /// The model.
    fn model(&self) -> Rc<Model>;
    /// Its tree.
    fn tree(&self) -> &ModelTree;
    /// State digests of all positions but that of the last token: position outer, layer inner.
    ///
    /// # Errors
    /// If the engine can't.
    fn states(&mut self) -> Result<Vec<Digest>, Refusal>;
    /// What those digests are of, in one layer, at the first `positions` positions.
    ///
    /// # Errors
    /// If the engine can't.
    fn layer(&mut self, layer: usize, positions: usize) -> Result<Vec<Vec<u8>>, Refusal>;
}

/// What a challenger asks. Trees are those of pure/base's `merkle`, level 0 their leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// What a chunk's digest is of, and the nodes `down` levels below the top of its states' tree.
    Chunk {
        /// The chunk.
        chunk: u32,
        /// Levels.
        down: u8,
    },
    /// Nodes of its states' tree.
    States {
        /// The chunk.
        chunk: u32,
        /// Level of the node they are below.
        level: u8,
        /// Its place there.
        index: u64,
        /// So many levels below.
        down: u8,
    },
    /// What one state digest is of.
    State {
        /// The chunk.
        chunk: u32,
        /// Number of the state in it.
        state: u64,
    },
    /// Roots of vectors of one position and layer.
    Roots {
        /// The position.
        position: u32,
        /// The layer.
        layer: u32,
        /// The vectors' numbers.
        vectors: Vec<u64>,
    },
    /// Nodes of a vector's tree, or, with `down` 0 and at most two levels up, all leaves below.
    Vector {
        /// The position.
        position: u32,
        /// The layer.
        layer: u32,
        /// The vector's number.
        vector: u64,
        /// Its root, as it was signed.
        root: Digest,
        /// Level of the node they are below.
        level: u8,
        /// Its place there.
        index: u64,
        /// So many levels below.
        down: u8,
    },
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A chunk.
    Chunk {
        /// What its digest is of.
        opening: ChunkOpening,
        /// Nodes of its states' tree.
        nodes: Vec<Digest>,
    },
    /// Nodes of a tree.
    Nodes {
        /// The nodes.
        nodes: Vec<Digest>,
        /// Siblings from the node they are below up to the top.
        siblings: Vec<Digest>,
    },
    /// A state, or leaves of a vector.
    Bytes {
        /// The bytes; of a vector elements as i128 BE.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// Siblings from its node up to the top.
        siblings: Vec<Digest>,
    },
    /// Roots.
    Roots {
        /// The statement.
        roots: VectorRoots,
        /// Over its digest.
        signature: Signature,
    },
}

/// What a chunk's digest is of, and its way to the receipt's trace root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkOpening {
    /// Number of the chunk.
    pub index: u32,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Root of its states.
    pub states_root: Digest,
    /// Canonical bytes of its log probabilities; empty if the order wants none.
    #[serde(with = "serde_bytes")]
    pub logprobs: Vec<u8>,
    /// Siblings on the way to the trace root.
    pub siblings: Vec<Digest>,
}

/// A leaf of a vector that a worker signed the root of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaf {
    /// Its number.
    pub leaf: u32,
    /// Elements, i128 BE each.
    pub elements: Vec<u8>,
    /// Siblings on the way to the root.
    pub siblings: Vec<Digest>,
}

/// The way of something in a chunk to the receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InChunk {
    /// The chunk.
    pub chunk: ChunkOpening,
    /// Of a state: siblings on the way to the root of the chunk's states.
    pub siblings: Vec<Digest>,
}

/// The token at a position of the prompt, shown by the request's prompt root; at a later one by a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenProof {
    /// Nothing to show.
    Unread,
    /// Of the prompt: salt of the prompt root, siblings on the way to it.
    Prompt(Digest, Vec<Digest>),
    /// Of the output.
    Output(ChunkOpening),
}

/// One element that does not follow from what it follows from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The position.
    pub position: u32,
    /// The layer.
    pub layer: u32,
    /// The token there.
    pub token: u32,
    /// Digest of the state that it reads; zero if none.
    pub state: Digest,
    /// How the next token is drawn.
    pub draw: Draw,
    /// The vector.
    pub name: Name,
    /// Which element of it.
    pub index: u32,
    /// What the worker says it is.
    pub claimed: i128,
    /// What shows what it is.
    pub witness: Witness,
    /// The worker's statements with the roots of all vectors that are opened.
    pub roots: Vec<(VectorRoots, Signature)>,
    /// The leaf with the element; of the sampler's output none: a chunk claims it.
    pub leaf: Option<Leaf>,
    /// The leaf before, if the element before is in it.
    pub before: Option<Leaf>,
    /// Where that state is.
    pub in_chunk: Option<InChunk>,
    /// What shows the token.
    pub shown: TokenProof,
}

/// A state whose bytes are not what its vectors say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// Its chunk, and its way there.
    pub in_chunk: InChunk,
    /// Its number in the chunk.
    pub state: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The vector, and which element.
    pub name: Name,
    /// Which element of it.
    pub index: u32,
    /// The statement with the vector's root.
    pub roots: (VectorRoots, Signature),
    /// The leaf with the element.
    pub leaf: Leaf,
}

/// What convicts a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// An element.
    Element(Box<Element>),
    /// A state.
    State(Box<Torn>),
    /// A chunk commits to another token than the receipt's output root has.
    Output {
        /// The chunk.
        chunk: ChunkOpening,
        /// Index of the output token.
        token: u32,
        /// The token that the output root has.
        told: u32,
        /// Siblings on the way to the output root.
        siblings: Vec<Digest>,
    },
    /// It says of a vector of the program that there is none.
    Missing {
        /// The statement.
        roots: (VectorRoots, Signature),
        /// The vector's number.
        vector: u64,
    },
}

#[cfg(test)]
mod tests;
