//! Blocks become files.

use super::{Child, FileNode};
use crate::block::Block;
use crate::dagpb::NodeError;
use crate::limits::DAG_DEPTH_MAX;
use bytes::Bytes;
use cid::Cid;
use std::ops::Range;
use thiserror::Error;

/// Why a file or DAG cannot be read. `E` is the error of the block getter.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ReadError<E> {
    /// A block is not here.
    #[error("block {cid} is missing: fetch it again")]
    Missing {
        /// Which.
        cid: Cid,
    },
    /// A block is not what is read here.
    #[error("block {cid} cannot be used")]
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
    /// Nodes still to visit, where each begins in the file, and its depth; the next one is last.
    pending: Vec<(Child, u64, u8)>,
    root: Option<Cid>,
    bytes: Option<u64>,
    range: Range<u64>,
}

impl Reader {
    /// A reader of the file `root`.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self::range(root, 0..u64::MAX)
    }

    /// A reader of a part of the file `root`, as far as the file goes. What lies outside is not asked for.
    #[must_use]
    pub fn range(root: Cid, range: Range<u64>) -> Self {
        Self { pending: Vec::new(), root: Some(root), bytes: None, range }
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
            let node = load_file(&root, get)?;
            self.bytes = Some(node.bytes());
            if let Some(leaf) = self.visit(node, root, 0, 0)? {
                return Ok(Some(leaf));
            }
        }
        while let Some((child, start, depth)) = self.pending.pop() {
            let node = load_file(&child.cid, get)?;
            if node.bytes() != child.bytes {
                return Err(ReadError::Node { cid: child.cid, source: NodeError::SizeMismatch });
            }
            if let Some(leaf) = self.visit(node, child.cid, start, depth)? {
                return Ok(Some(leaf));
            }
        }
        Ok(None)
    }

    fn visit<E>(&mut self, node: FileNode, cid: Cid, start: u64, depth: u8) -> Result<Option<Bytes>, ReadError<E>> {
        match node {
            FileNode::Leaf(data) => {
                let len = data.len() as u64;
                let inside = |at: u64| at.saturating_sub(start).min(len) as usize;
                let (from, to) = (inside(self.range.start), inside(self.range.end));
                Ok((from < to || data.is_empty()).then(|| data.slice(from..to)))
            }
            FileNode::Branch { .. } if depth >= DAG_DEPTH_MAX => {
                Err(ReadError::Node { cid, source: NodeError::TooDeep })
            }
            FileNode::Branch { children, .. } => {
                let inside = inside(children, start, &self.range);
                let first = self.pending.len();
                self.pending.extend(inside.map(|(child, start)| (child, start, depth + 1)));
                self.pending[first..].reverse();
                Ok(None)
            }
        }
    }
}

/// The children of a branch that begins at `start` of which some byte lies in `range`, and where
/// each begins.
pub(crate) fn inside(children: Vec<Child>, start: u64, range: &Range<u64>) -> impl Iterator<Item = (Child, u64)> {
    let place = move |at: &mut u64, child: Child| {
        let start = *at;
        *at += child.bytes;
        Some((child, start))
    };
    let placed = children.into_iter().scan(start, place);
    placed.filter(move |(child, start)| range.start.max(*start) < range.end.min(start + child.bytes))
}

/// The block `cid`, from `get` or out of the CID itself.
pub(crate) fn load<E>(
    cid: &Cid,
    get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>,
) -> Result<Block, ReadError<E>> {
    if let Some(block) = Block::inlined(cid) {
        return Ok(block);
    }
    let block = get(cid).map_err(|source| ReadError::Get { cid: *cid, source })?;
    block.ok_or(ReadError::Missing { cid: *cid })
}

fn load_file<E>(cid: &Cid, get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>) -> Result<FileNode, ReadError<E>> {
    FileNode::of(&load(cid, get)?).map_err(|source| ReadError::Node { cid: *cid, source })
}
