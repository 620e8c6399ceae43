//! `Bundle`: a node's word that a bundle for auditors is as it made it.

use super::{Check, DecodeError, Typed, check_version};
use crate::eip712::StructHash;
use crate::{Digest, NodeId};
use serde::{Deserialize, Serialize};

/// What a node signs of a bundle: its manifest, which names every other member by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Version of the record: 1.
    pub version: u16,
    /// The node that made it.
    pub node: NodeId,
    /// SHA-256 of the manifest's bytes.
    pub manifest: Digest,
}

impl Check for Bundle {
    fn check(&self) -> Result<(), DecodeError> {
        check_version(self.version)
    }
}

impl Typed for Bundle {
    fn struct_hash(&self) -> Digest {
        StructHash::new("Bundle(uint16 version,bytes node,bytes32 manifest)")
            .uint(self.version.into())
            .bytes(self.node.as_bytes())
            .word(&self.manifest)
            .finish()
    }
}
