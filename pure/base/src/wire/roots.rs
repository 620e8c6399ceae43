//! `VectorRoots`: what a worker says in a dispute of the vectors behind one state of its trace.

use super::{Check, DecodeError, Typed};
use crate::Digest;
use crate::eip712::StructHash;
use crate::limits::VECTOR_ROOTS_MAX;
use serde::{Deserialize, Serialize};

/// Roots of vectors of the program of one (position, layer), signed by the node that signed the receipt. Numbers and roots
/// are those of "Steps" in `docs/EXACT.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorRoots {
    /// EIP-712 digest of the receipt whose trace it is about.
    pub receipt: Digest,
    /// The position.
    pub position: u32,
    /// The layer.
    pub layer: u32,
    /// Numbers of the vectors.
    pub vectors: Vec<u64>,
    /// Their roots, in the same order; zero: the program has no such vector.
    pub roots: Vec<Digest>,
}

impl VectorRoots {
    /// The root that it gives a vector.
    #[must_use]
    pub fn root(&self, vector: u64) -> Option<Digest> {
        self.vectors.iter().position(|v| *v == vector).map(|at| self.roots[at])
    }
}

impl Check for VectorRoots {
    fn check(&self) -> Result<(), DecodeError> {
        if self.vectors.len() != self.roots.len() || self.vectors.len() > VECTOR_ROOTS_MAX {
            return Err(DecodeError::Rule("each vector has one root, and at most 96 are named"));
        }
        Ok(())
    }
}

impl Typed for VectorRoots {
    fn struct_hash(&self) -> Digest {
        let word = |vector: &u64| {
            let mut word = Digest::ZERO;
            word.0[24..].copy_from_slice(&vector.to_be_bytes());
            word
        };
        let vectors: Vec<Digest> = self.vectors.iter().map(word).collect();
        StructHash::new("VectorRoots(bytes32 receipt,uint32 position,uint32 layer,uint64[] vectors,bytes32[] roots)")
            .word(&self.receipt)
            .uint(self.position.into())
            .uint(self.layer.into())
            .words(&vectors)
            .words(&self.roots)
            .finish()
    }
}
