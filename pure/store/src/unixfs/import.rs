//! Files become blocks.

use super::message::Message;
use super::{Leaf, Profile};
use crate::block::Block;
use crate::dagpb::{Link, Node};
use bytes::Bytes;
use cid::Cid;

/// The result of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileRoot {
    /// The name of the file.
    pub cid: Cid,
    /// Its length.
    pub bytes: u64,
    /// Bytes of all its blocks: what a link to it states.
    pub total_bytes: u64,
    /// Blocks handed to the sink; equal ones are counted each time.
    pub blocks: u64,
}

struct Entry {
    cid: Cid,
    /// Bytes of the file below.
    bytes: u64,
    /// Bytes of all blocks below.
    total_bytes: u64,
}

/// Takes a file's bytes in any portions, or its leaves, and hands out blocks, children before
/// parents. Holds one chunk and one node's links per level.
pub struct Importer {
    profile: Profile,
    chunk: Vec<u8>,
    levels: Vec<Vec<Entry>>,
    blocks: u64,
}

impl Importer {
    /// An importer of one file.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile, chunk: Vec::new(), levels: Vec::new(), blocks: 0 }
    }

    /// Appends `bytes` to the file.
    ///
    /// # Errors
    /// Whatever `sink` answers; the import is over then.
    pub fn push<E>(&mut self, mut bytes: &[u8], sink: &mut impl FnMut(Block) -> Result<(), E>) -> Result<(), E> {
        let chunk_bytes = self.profile.chunk_bytes();
        while !bytes.is_empty() {
            let room = chunk_bytes - self.chunk.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
            if self.chunk.len() == chunk_bytes {
                self.flush_chunk(sink)?;
            }
        }
        Ok(())
    }

    /// Appends one leaf, hashed by [`Profile::leaf`]. All leaves but the last hold a whole chunk.
    ///
    /// # Errors
    /// Whatever `sink` answers.
    ///
    /// # Panics
    /// If bytes of [`Importer::push`] wait to become a leaf.
    pub fn push_leaf<E>(&mut self, leaf: Leaf, sink: &mut impl FnMut(Block) -> Result<(), E>) -> Result<(), E> {
        assert!(self.chunk.is_empty(), "a leaf comes between whole chunks");
        let entry = Entry { cid: *leaf.block.cid(), bytes: leaf.bytes, total_bytes: leaf.block.bytes().len() as u64 };
        self.emit(leaf.block, sink)?;
        self.add(0, entry, sink)
    }

    /// Ends the file and names it.
    ///
    /// # Errors
    /// Whatever `sink` answers.
    pub fn finish<E>(mut self, sink: &mut impl FnMut(Block) -> Result<(), E>) -> Result<FileRoot, E> {
        if !self.chunk.is_empty() || self.blocks == 0 {
            self.flush_chunk(sink)?;
        }
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.levels.len();
            if is_top && self.levels[level].len() == 1 {
                let root = &self.levels[level][0];
                let Entry { cid, bytes, total_bytes } = *root;
                return Ok(FileRoot { cid, bytes, total_bytes, blocks: self.blocks });
            }
            if !self.levels[level].is_empty() {
                self.fold(level, sink)?;
            }
            level += 1;
        }
    }

    fn flush_chunk<E>(&mut self, sink: &mut impl FnMut(Block) -> Result<(), E>) -> Result<(), E> {
        let data = Bytes::from(std::mem::take(&mut self.chunk));
        self.chunk.reserve_exact(self.profile.chunk_bytes());
        self.push_leaf(self.profile.leaf(data), sink)
    }

    fn add<E>(
        &mut self,
        mut level: usize,
        entry: Entry,
        sink: &mut impl FnMut(Block) -> Result<(), E>,
    ) -> Result<(), E> {
        self.place(level, entry);
        let full = self.profile.links_per_node();
        while self.levels.get(level).is_some_and(|nodes| nodes.len() == full) {
            self.fold(level, sink)?;
            level += 1;
        }
        Ok(())
    }

    fn place(&mut self, level: usize, entry: Entry) {
        if self.levels.len() == level {
            self.levels.push(Vec::new());
        }
        self.levels[level].push(entry);
    }

    /// Makes one parent of all waiting nodes of `level`.
    fn fold<E>(&mut self, level: usize, sink: &mut impl FnMut(Block) -> Result<(), E>) -> Result<(), E> {
        let nodes = std::mem::take(&mut self.levels[level]);
        let sizes: Vec<u64> = nodes.iter().map(|node| node.bytes).collect();
        let link = |node: &Entry| Link { cid: node.cid, name: String::new(), total_bytes: node.total_bytes };
        let node = Node { links: nodes.iter().map(link).collect(), data: Message::of_branch(&sizes) };
        let block = self.profile.node(&node).expect("1,024 links fit into a block");
        let total_bytes = block.bytes().len() as u64 + nodes.iter().map(|node| node.total_bytes).sum::<u64>();
        let entry = Entry { cid: *block.cid(), bytes: sizes.iter().sum(), total_bytes };
        self.emit(block, sink)?;
        self.place(level + 1, entry);
        Ok(())
    }

    fn emit<E>(&mut self, block: Block, sink: &mut impl FnMut(Block) -> Result<(), E>) -> Result<(), E> {
        self.blocks += 1;
        sink(block)
    }
}
