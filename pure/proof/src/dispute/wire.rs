//! A case as it is kept, questions and answers as they travel: canonical DAG-CBOR, at most a record's size.

use serde::{Deserialize, Serialize};
use talkoo_base::wire::{Check, DecodeError, Sealed, VectorRoots};
use talkoo_base::{ChannelConfig, Digest, Receipt, Request, Signature};

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
    /// Digests of the chunks; a verifier tells none, so its client has none.
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
