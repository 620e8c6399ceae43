//! UnixFS files, directories and symlinks (specs.ipfs.tech/unixfs), written as a [`Profile`] of
//! IPIP-499 says and read as anyone wrote them.
//!
//! ```text
//! bytes ──Importer──► FileRoot ┐                          ┌ Reader ──► bytes (or a range of them)
//! target ──symlink──► Block    ├─DirBuilder──► DirRoot ───┤ resolve, lookup ──► CID below a path
//! DirRoot ─────────────────────┘                          └ list ──► names, also of sharded directories
//! ```
//! Readers ask a `get` for blocks, one at a time, so they work over a disk as over the network.
//! Deliberately absent: writing mode and mtime (no profile has them), trickle layout, changing a DAG.

mod dir;
mod hamt;
mod import;
mod message;
mod path;
mod profile;
mod read;

pub use dir::{DirBuilder, DirRoot, NameError, check_name, symlink};
pub use hamt::{Shard, Slot};
pub use import::{FileRoot, Importer};
pub use path::{PathError, Resolved, list, lookup, resolve};
pub use profile::{Leaf, Profile};
pub use read::{ReadError, Reader};

pub(crate) use read::{inside, load};

use crate::block::{Block, DAG_PB, RAW};
use crate::dagpb::{Link, Node, NodeError};
use bytes::Bytes;
use cid::Cid;
use message::Message;

/// What a block is the root of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file, or a part of one.
    File(FileNode),
    /// A directory in one block; names as they were written, see [`check_name`].
    Dir(Vec<Link>),
    /// A directory over several blocks, or a part of one.
    Shard(Shard),
    /// A symlink to a path.
    Symlink(String),
}

impl Entry {
    /// Reads a block.
    ///
    /// # Errors
    /// [`NodeError`]: malformed, another codec, sizes or slots that contradict one another.
    pub fn of(block: &Block) -> Result<Self, NodeError> {
        match block.cid().codec() {
            RAW => return Ok(Self::File(FileNode::Leaf(block.bytes().clone()))),
            DAG_PB => {}
            _ => return Err(NodeError::NotAFile { what: "a block of another codec" }),
        }
        let node = Node::decode(block.bytes())?;
        let message = Message::decode(&node.data)?;
        match message.kind {
            message::RAW | message::FILE => FileNode::build(&node, message).map(Self::File),
            message::DIRECTORY => Ok(Self::Dir(node.links)),
            message::SHARD => Shard::build(node.links, &message).map(Self::Shard),
            message::SYMLINK => match std::str::from_utf8(&message.data) {
                Ok(target) => Ok(Self::Symlink(target.to_owned())),
                Err(_) => Err(NodeError::Malformed { what: "(symlink that is not UTF-8)" }),
            },
            _ => Err(NodeError::Malformed { what: "(unixfs type)" }),
        }
    }
}

/// What a writer may have noted of a file or directory; no profile writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The twelve permission bits of POSIX.
    pub mode: Option<u32>,
    /// When it was changed.
    pub mtime: Option<Mtime>,
}

impl Meta {
    /// Reads it from a root block; nothing for blocks that are not DAG-PB.
    ///
    /// # Errors
    /// [`NodeError::Malformed`].
    pub fn of(block: &Block) -> Result<Self, NodeError> {
        if block.cid().codec() != DAG_PB {
            return Ok(Self::default());
        }
        Ok(Message::decode(&Node::decode(block.bytes())?.data)?.meta)
    }
}

/// A time since 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtime {
    /// Whole seconds.
    pub seconds: i64,
    /// And nanoseconds, below 10⁹.
    pub nanos: u32,
}

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
        match Entry::of(block)? {
            Entry::File(node) => Ok(node),
            Entry::Dir(_) | Entry::Shard(_) => Err(NodeError::NotAFile { what: "a directory" }),
            Entry::Symlink(_) => Err(NodeError::NotAFile { what: "a symlink" }),
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

    fn build(node: &Node, file: Message) -> Result<Self, NodeError> {
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

#[cfg(test)]
mod tests;
