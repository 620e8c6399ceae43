//! Blocks become files.

use super::{Child, FileNode};
use crate::block::Block;
use crate::dagpb::NodeError;
use crate::limits::DAG_DEPTH_MAX;
use bytes::Bytes;
use cid::Cid;
use thiserror::Error;

/// Why a file cannot be read. `E` is the error of the block getter.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReadError<E> {
    /// A block of the file is not here.
    #[error("block {cid} is missing: pull the file again")]
    Missing {
        /// Which.
        cid: Cid,
    },
    /// A block is not a node of a file.
    #[error("block {cid} is no part of a file")]
    Node {
        /// Which.
        cid: Cid,
        /// Why.
        source: NodeError,
    },
    /// The getter failed.
    #[error("block {cid} cannot be read")]
    Get {
        /// Which.
        cid: Cid,
        /// Why.
        source: E,
    },
}

/// Walks the leaves of a file in order. Holds one node's links per level and checks every size,
/// so the work is bounded by the file's declared length.
pub struct Reader {
    /// Nodes still to visit; the next one is last.
    pending: Vec<(Child, u8)>,
    root: Option<Cid>,
    bytes: Option<u64>,
}

impl Reader {
    /// A reader of the file `root`.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self { pending: Vec::new(), root: Some(root), bytes: None }
    }

    /// The file's length; known after the first call of [`Reader::next`].
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.bytes
    }

    /// The next stretch of the file, or `None` at its end. An empty file has one empty leaf.
    ///
    /// # Errors
    /// [`ReadError`]; the reader must not be used after one.
    pub fn next<E>(
        &mut self,
        get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>,
    ) -> Result<Option<Bytes>, ReadError<E>> {
        if let Some(root) = self.root.take() {
            let node = load(&root, get)?;
            self.bytes = Some(node.bytes());
            if let Some(leaf) = self.visit(node, root, 0)? {
                return Ok(Some(leaf));
            }
        }
        while let Some((child, depth)) = self.pending.pop() {
            let node = load(&child.cid, get)?;
            if node.bytes() != child.bytes {
                return Err(ReadError::Node { cid: child.cid, source: NodeError::SizeMismatch });
            }
            if let Some(leaf) = self.visit(node, child.cid, depth)? {
                return Ok(Some(leaf));
            }
        }
        Ok(None)
    }

    fn visit<E>(&mut self, node: FileNode, cid: Cid, depth: u8) -> Result<Option<Bytes>, ReadError<E>> {
        match node {
            FileNode::Leaf(data) => Ok(Some(data)),
            FileNode::Branch { .. } if depth >= DAG_DEPTH_MAX => {
                Err(ReadError::Node { cid, source: NodeError::TooDeep })
            }
            FileNode::Branch { children, .. } => {
                self.pending.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
                Ok(None)
            }
        }
    }
}

fn load<E>(cid: &Cid, get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>) -> Result<FileNode, ReadError<E>> {
    let block = get(cid).map_err(|source| ReadError::Get { cid: *cid, source })?;
    let block = block.ok_or(ReadError::Missing { cid: *cid })?;
    FileNode::of(&block).map_err(|source| ReadError::Node { cid: *cid, source })
}
