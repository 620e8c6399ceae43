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
mod finding;
mod heard;
mod shape;
mod tree;
mod wire;

pub use challenger::{Challenger, Move, Support, Unfit};
pub use defender::Defender;
pub use shape::Shape;
pub use wire::{Answer, Case, ChunkOpening, Question};

use std::sync::Arc;
use talkoo_base::wire::VectorRoots;
use talkoo_base::{Digest, Refusal, Signature};
use talkoo_exact::Model;
use talkoo_exact::steps::{Draw, ModelTree, Name, Witness};

/// Levels that one answer goes down at most: 512 nodes.
pub const DOWN_MAX: u8 = 9;
/// From this level on an answer has the leaves themselves: at most four.
pub const LEAVES_LEVEL: u8 = 2;

/// Our own run of a case's tokens: prompt and output as they were told, whatever a sampler would have drawn.
pub trait Rerun {
    /// The model.
    fn model(&self) -> Arc<Model>;
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
    /// Index of the first output token that the sampler does not give.
    ///
    /// # Errors
    /// If the engine can't.
    fn diverged(&mut self) -> Result<Option<u64>, Refusal>;
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
    /// The element before it, as the worker says; 0 of the first.
    pub previous: i128,
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
