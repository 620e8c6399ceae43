//! UnixFS files (specs.ipfs.tech/unixfs), profile `unixfs-v1-2025` of IPIP-499: CIDv1, SHA-256,
//! raw leaves of 1 MiB, 1,024 links per node, balanced.
//!
//! Writes single files; reads also what other profiles wrote (DAG-PB leaves, other chunk sizes).
//! Deliberately absent: directories, HAMT shards, symlinks, mode and mtime.

mod import;
mod read;

pub use import::{FileRoot, Importer};
pub use read::{ReadError, Reader};

use crate::block::{Block, DAG_PB, RAW};
use crate::dagpb::{self, NodeError};
use crate::pb::{self, Fields, Value};
use bytes::Bytes;
use cid::Cid;

const TYPE_RAW: u64 = 0;
const TYPE_FILE: u64 = 2;

/// A child of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its block.
    pub cid: Cid,
    /// Bytes of the file below it; never zero.
    pub bytes: u64,
}

/// One node of a file, checked: a branch's children add up to its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileNode {
    /// A stretch of the file.
    Leaf(Bytes),
    /// An inner node.
    Branch {
        /// In the order of the file.
        children: Vec<Child>,
        /// Bytes of the file below this node.
        bytes: u64,
    },
}

impl FileNode {
    /// Reads a block as a node of a file.
    ///
    /// # Errors
    /// [`NodeError`]: malformed, not a file, or sizes that contradict one another.
    pub fn of(block: &Block) -> Result<Self, NodeError> {
        match block.cid().codec() {
            RAW => Ok(Self::Leaf(block.bytes().clone())),
            DAG_PB => Self::decode(block.bytes()),
            _ => Err(NodeError::NotAFile { what: "a block of another codec" }),
        }
    }

    /// Bytes of the file below this node.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Leaf(data) => data.len() as u64,
            Self::Branch { bytes, .. } => *bytes,
        }
    }

    fn decode(bytes: &Bytes) -> Result<Self, NodeError> {
        let node = dagpb::Node::decode(bytes)?;
        let file = Message::decode(&node.data)?;
        if node.links.is_empty() {
            if file.size.is_some_and(|size| size != file.data.len() as u64) {
                return Err(NodeError::SizeMismatch);
            }
            return Ok(Self::Leaf(file.data));
        }
        if !file.data.is_empty() || file.child_sizes.len() != node.links.len() {
            return Err(NodeError::SizeMismatch);
        }
        let mut total = 0_u64;
        let mut children = Vec::with_capacity(node.links.len());
        for (link, size) in node.links.iter().zip(file.child_sizes) {
            // An empty child would let a small DAG unfold into endless work of no bytes.
            total = total.checked_add(size).filter(|_| size > 0).ok_or(NodeError::SizeMismatch)?;
            children.push(Child { cid: link.cid, bytes: size });
        }
        if file.size != Some(total) {
            return Err(NodeError::SizeMismatch);
        }
        Ok(Self::Branch { children, bytes: total })
    }
}

/// The UnixFS message inside a node's data.
struct Message {
    data: Bytes,
    size: Option<u64>,
    child_sizes: Vec<u64>,
}

impl Message {
    fn decode(bytes: &[u8]) -> Result<Self, NodeError> {
        let mut message = Self { data: Bytes::new(), size: None, child_sizes: Vec::new() };
        let mut kind = None;
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Varint(value)) => kind = Some(value),
                (2, Value::Bytes(data)) => message.data = Bytes::copy_from_slice(data),
                (3, Value::Varint(size)) => message.size = Some(size),
                (4, Value::Varint(size)) => message.child_sizes.push(size),
                _ => {}
            }
        }
        match kind {
            Some(TYPE_RAW | TYPE_FILE) => Ok(message),
            Some(1) => Err(NodeError::NotAFile { what: "a directory" }),
            Some(4) => Err(NodeError::NotAFile { what: "a symlink" }),
            Some(5) => Err(NodeError::NotAFile { what: "a sharded directory" }),
            _ => Err(NodeError::Malformed { what: "(unixfs type)" }),
        }
    }

    /// Type, size, sizes of the children, in the order kubo writes them.
    fn of_branch(child_sizes: &[u64]) -> Vec<u8> {
        let mut out = Vec::with_capacity(12 + child_sizes.len() * 4);
        pb::write_number(1, TYPE_FILE, &mut out);
        pb::write_number(3, child_sizes.iter().sum(), &mut out);
        for size in child_sizes {
            pb::write_number(4, *size, &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests;
