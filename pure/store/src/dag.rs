//! The blocks of a DAG in the order in which trustless gateways send them
//! (specs.ipfs.tech/http-gateways/trustless-gateway): depth first, parents before children, after
//! the blocks of the path that leads there.

use crate::block::{Block, DAG_PB};
use crate::dagpb::NodeError;
use crate::ipld;
use crate::limits::{DAG_BLOCKS_MAX, DAG_DEPTH_MAX};
use crate::unixfs::{Child, Entry, FileNode, ReadError, Resolved, Shard, Slot, inside, load};
use cid::Cid;
use std::collections::BTreeMap;
use std::ops::Range;

/// How much of a DAG (`dag-scope`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// One block.
    Block,
    /// What is needed to read a file, or the names of a directory.
    Entity,
    /// Everything below.
    #[default]
    All,
}

/// A part of a file (`entity-bytes=from:to`). Negative numbers count from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub from: i64,
    /// The last byte, inclusive; `None` is the end of the file.
    pub to: Option<i64>,
}

impl ByteRange {
    /// The same in a file of `bytes`; empty if nothing of it is inside.
    #[must_use]
    pub fn within(self, bytes: u64) -> Range<u64> {
        let place = |at: i64| if at < 0 { bytes.checked_sub(at.unsigned_abs()) } else { Some(at.unsigned_abs()) };
        let end = self.to.map_or(Some(bytes), |to| place(to).map(|last| last.saturating_add(1)));
        let (start, end) = (place(self.from).unwrap_or(0), end.unwrap_or(0).min(bytes));
        start..end.max(start)
    }
}

/// What a walk hands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// How much of the DAG.
    pub scope: Scope,
    /// Only what verifies these bytes of a file; means [`Scope::Entity`].
    pub bytes: Option<ByteRange>,
    /// Whether a block is handed out each time it is met (`dups=y`).
    pub dups: Dups,
}

/// What to do with blocks that are met again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dups {
    /// Hand them out once; remembers every CID, so a walk has at most a million blocks.
    #[default]
    Skip,
    /// Hand them out each time. A small hostile DAG may then have no end: whoever takes the blocks
    /// has to bound how many.
    Keep,
}

enum What {
    /// The block itself.
    Only,
    /// All below; in the first block, below the value that the keys lead to.
    All(Vec<String>),
    /// The file or directory that begins here.
    Entity(Option<ByteRange>),
    /// A part of a file: where it begins, how long it is, on which level.
    File { start: u64, bytes: u64, depth: u8, range: Range<u64> },
    /// A shard on this level of a directory.
    Shard { fanout: u32, level: u32 },
}

impl What {
    /// Whether its blocks are always the same ones.
    fn is_whole(&self) -> bool {
        match self {
            Self::Only => false,
            Self::All(keys) => keys.is_empty(),
            Self::Entity(bytes) => bytes.is_none(),
            Self::File { start, bytes, range, .. } => {
                range.start <= *start && start.saturating_add(*bytes) <= range.end
            }
            Self::Shard { .. } => true,
        }
    }
}

/// Walks over a DAG.
pub struct Walk {
    /// What is still to do; the next is last.
    pending: Vec<(Cid, What)>,
    dups: Dups,
    /// What was handed out, and whether with all that is below it.
    seen: BTreeMap<Cid, bool>,
}

impl Walk {
    /// A walk along a path and over what is at its end. Blocks that are CIDs by themselves are not
    /// handed out, as the specification demands.
    #[must_use]
    pub fn new(target: &Resolved, options: Options) -> Self {
        let what = match (options.scope, options.bytes) {
            (_, Some(range)) => What::Entity(Some(range)),
            (Scope::Block, None) => What::Only,
            (Scope::Entity, None) => What::Entity(None),
            (Scope::All, None) => What::All(target.rest.clone()),
        };
        let mut pending = vec![(target.cid, what)];
        pending.extend(target.parents.iter().rev().map(|cid| (*cid, What::Only)));
        Self { pending, dups: options.dups, seen: BTreeMap::new() }
    }

    /// The next block, or `None` at the end.
    ///
    /// # Errors
    /// [`ReadError`]; the walk must not be used after one.
    pub fn next<E>(
        &mut self,
        get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>,
    ) -> Result<Option<Block>, ReadError<E>> {
        while let Some((cid, what)) = self.pending.pop() {
            let is_whole = what.is_whole();
            let seen = self.seen.get(&cid).copied();
            if seen == Some(true) || seen.is_some() && matches!(what, What::Only) {
                continue;
            }
            let block = load(&cid, get)?;
            let first = self.pending.len();
            self.expand(&block, what).map_err(|source| ReadError::Node { cid, source })?;
            self.pending[first..].reverse();
            if self.pending.len() > DAG_BLOCKS_MAX || self.seen.len() >= DAG_BLOCKS_MAX {
                return Err(ReadError::Node { cid, source: NodeError::TooManyBlocks });
            }
            if self.dups == Dups::Skip {
                self.seen.insert(cid, is_whole);
            }
            if seen.is_none() && Block::inlined(&cid).is_none() {
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Appends what comes after a block, in order.
    fn expand(&mut self, block: &Block, what: What) -> Result<(), NodeError> {
        match what {
            What::Only => {}
            What::All(keys) => {
                let links = if keys.is_empty() { ipld::links(block) } else { ipld::links_at(block, &keys) };
                self.pending.extend(links?.into_iter().map(|cid| (cid, What::All(Vec::new()))));
            }
            What::Entity(bytes) => match entity(block)? {
                Some(Entry::File(file)) => {
                    let range = bytes.map_or(0..u64::MAX, |bytes| bytes.within(file.bytes()));
                    self.branch(file, 0, 0, &range)?;
                }
                Some(Entry::Shard(shard)) => self.below(&shard, 1),
                Some(Entry::Dir(_) | Entry::Symlink(_)) | None => {}
            },
            What::File { start, bytes, depth, range } => {
                let file = FileNode::of(block)?;
                if file.bytes() != bytes {
                    return Err(NodeError::SizeMismatch);
                }
                self.branch(file, start, depth, &range)?;
            }
            What::Shard { fanout, level } => self.below(&Shard::below(block, fanout, level)?, level + 1),
        }
        Ok(())
    }

    fn branch(&mut self, file: FileNode, start: u64, depth: u8, range: &Range<u64>) -> Result<(), NodeError> {
        let FileNode::Branch { children, .. } = file else { return Ok(()) };
        if depth >= DAG_DEPTH_MAX {
            return Err(NodeError::TooDeep);
        }
        let part = |(child, start): (Child, u64)| {
            let range = range.clone();
            (child.cid, What::File { start, bytes: child.bytes, depth: depth + 1, range })
        };
        self.pending.extend(inside(children, start, range).map(part));
        Ok(())
    }

    fn below(&mut self, shard: &Shard, level: u32) {
        let below = shard.slots().filter_map(|slot| match slot {
            Slot::Below(cid) => Some(*cid),
            Slot::Entry(_) => None,
        });
        self.pending.extend(below.map(|cid| (cid, What::Shard { fanout: shard.fanout(), level })));
    }
}

/// A block as UnixFS; `None` for what has another codec.
fn entity(block: &Block) -> Result<Option<Entry>, NodeError> {
    match block.cid().codec() {
        DAG_PB => Entry::of(block).map(Some),
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests;
