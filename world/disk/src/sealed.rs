//! Reads the plaintext of sealed objects from the block store. Holds one leaf and one branch of the tree.

use crate::Blocks;
use crate::blocks::BlocksError;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;
use talkoo_base::Cid;
use talkoo_store::dagpb::NodeError;
use talkoo_store::limits::DAG_DEPTH_MAX;
use talkoo_store::seal::stream::{ContentKey, LEAF_BYTES, Opened, StreamError};
use talkoo_store::unixfs::{Child, FileNode};
use talkoo_store::{Block, RAW};
use thiserror::Error;
use zeroize::Zeroize;

/// Why a sealed object cannot be read.
#[derive(Debug, Error)]
pub enum PlainError {
    /// A block is not here.
    #[error("block {0} of the sealed object is not here: get it again")]
    Missing(Cid),
    /// The store.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// A block is no part of a file.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The key is another one, or something is damaged.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// A file that no program of ours sealed.
    #[error("the sealed object is not cut into leaves of 1 MiB")]
    Layout,
}

/// The children of a branch, and which bytes of the file are below.
struct Branch {
    range: Range<u64>,
    children: Vec<Child>,
}

/// A leaf that is open.
struct Leaf {
    index: u64,
    /// Where its content begins.
    start: u64,
    /// Where that lies in its bytes.
    place: Range<usize>,
}

/// The plaintext of a sealed object, from any place.
pub struct Plain {
    blocks: Arc<Blocks>,
    root: Cid,
    opened: Opened,
    branch: Option<Branch>,
    bytes: Vec<u8>,
    leaf: Option<Leaf>,
    at: u64,
}

impl Plain {
    /// Opens an object that lies in the store: key, header and end are found right.
    ///
    /// # Errors
    /// [`PlainError`].
    pub fn open(blocks: Arc<Blocks>, root: Cid, key: &ContentKey) -> Result<Self, PlainError> {
        let bytes = FileNode::of(&need(&blocks, &root)?)?.bytes();
        let last = bytes.checked_sub(1).ok_or(PlainError::Layout)? / LEAF_BYTES as u64;
        let mut branch = None;
        let (mut start, mut end) = (Vec::new(), Vec::new());
        sealed(&blocks, &root, &mut branch, 0, &mut start)?;
        sealed(&blocks, &root, &mut branch, last, &mut end)?;
        let opened = Opened::new(key, bytes, &start, &end)?;
        Ok(Self { blocks, root, opened, branch, bytes: start, leaf: None, at: 0 })
    }

    /// Bytes of the plaintext.
    #[must_use]
    pub fn content_bytes(&self) -> u64 {
        self.opened.bytes()
    }

    /// Opens the leaf in which the next byte lies, if it is not open.
    fn load(&mut self) -> Result<(), PlainError> {
        let index = self.opened.leaf_of(self.at);
        if self.leaf.as_ref().is_some_and(|leaf| leaf.index == index) {
            return Ok(());
        }
        self.leaf = None;
        // Opened where it is read, over the plaintext before.
        sealed(&self.blocks, &self.root, &mut self.branch, index, &mut self.bytes)?;
        let (start, place) = self.opened.open(index, &mut self.bytes)?;
        self.leaf = Some(Leaf { index, start, place });
        Ok(())
    }
}

fn need(blocks: &Blocks, cid: &Cid) -> Result<Block, PlainError> {
    blocks.get(cid)?.ok_or(PlainError::Missing(*cid))
}

/// Reads a leaf. Its tag is checked later, which is as good as its hash: that is not computed again.
fn sealed(
    blocks: &Blocks,
    root: &Cid,
    branch: &mut Option<Branch>,
    index: u64,
    into: &mut Vec<u8>,
) -> Result<(), PlainError> {
    let at = index * LEAF_BYTES as u64;
    if branch.as_ref().is_none_or(|branch| !branch.range.contains(&at)) {
        *branch = find(blocks, root, at)?;
    }
    let cid = match branch {
        None => *root,
        Some(branch) => match child(branch, at).ok_or(PlainError::Layout)? {
            (child, start) if start == at => child.cid,
            _ => return Err(PlainError::Layout),
        },
    };
    if blocks.read_into(&cid, into)? { Ok(()) } else { Err(PlainError::Missing(cid)) }
}

/// The child that has a byte of the file, and where it begins.
fn child(branch: &Branch, at: u64) -> Option<(Child, u64)> {
    let mut end = branch.range.start;
    let found = branch.children.iter().find(|child| {
        end += child.bytes;
        end > at
    });
    found.map(|child| (*child, end - child.bytes))
}

/// The lowest branch that has a byte of the file; none if the file is one leaf.
fn find(blocks: &Blocks, root: &Cid, at: u64) -> Result<Option<Branch>, PlainError> {
    let (mut cid, mut start, mut found) = (*root, 0, None);
    for _ in 0..DAG_DEPTH_MAX {
        if cid.codec() == RAW {
            return Ok(found);
        }
        let FileNode::Branch { children, bytes } = FileNode::of(&need(blocks, &cid)?)? else {
            return Err(PlainError::Layout);
        };
        let branch = Branch { range: start..start.saturating_add(bytes), children };
        let (next, begin) = child(&branch, at).ok_or(PlainError::Layout)?;
        (cid, start, found) = (next.cid, begin, Some(branch));
    }
    Err(PlainError::Layout)
}

impl BufRead for Plain {
    /// What is left of the open leaf.
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.opened.bytes() {
            return Ok(&[]);
        }
        self.load().map_err(io::Error::other)?;
        let Some(leaf) = &self.leaf else { return Ok(&[]) };
        let from = usize::try_from(self.at - leaf.start).map_err(io::Error::other)?;
        Ok(&self.bytes[leaf.place.clone()][from..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count as u64;
    }
}

impl Read for Plain {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl Seek for Plain {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.opened.bytes().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = place.ok_or_else(|| io::Error::other("before the beginning"))?;
        Ok(self.at)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}
