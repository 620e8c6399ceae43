//! What a provider commits to and shows: a Merkle tree over the bytes of a replica.
//!
//! ```text
//! bytes ─► leaves of 128 ─► tree of `talkoo_base::merkle`, tag "replica/1" ─► root, in the deal
//!               └─ 8,192 of them: a chunk of 1 MiB, whose top is kept (32 bytes for each MiB)
//! ```
//! A leaf is opened from its chunk's bytes and the kept tops; `contracts/src/StorageDeals.sol` checks it. It shows that these bytes
//! were at hand, not that they lie where somebody says, nor that they are a copy of their own: `replica` is for that.

use std::ops::Range;
use talkoo_base::{Digest, merkle};

/// Bytes of a leaf, but for the last. Small: a proof's calldata is mostly its path.
pub const LEAF_BYTES: usize = 128;
/// Bytes below one kept top: a power of two of leaves.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Kind of tree.
pub const TAG: &str = "replica/1";

/// A tree, as far as it is kept: the tops of its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    tops: Vec<Digest>,
    bytes: u64,
}

/// A leaf and what shows that it is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Its bytes.
    pub data: Vec<u8>,
    /// From it to the top.
    pub path: merkle::Path,
}

impl Proof {
    /// Whether this is leaf `leaf` of a replica of `bytes` with this root.
    #[must_use]
    pub fn shows(&self, root: &Digest, bytes: u64, leaf: u64) -> bool {
        let count = bytes.div_ceil(LEAF_BYTES as u64);
        let place = (self.path.index, self.path.count) == (leaf, count) && leaf < count;
        let length = (LEAF_BYTES as u64).min(bytes.saturating_sub(leaf.saturating_mul(LEAF_BYTES as u64)));
        let top = || merkle::root_of_path(TAG, merkle::leaf(TAG, &self.data), &self.path);
        place && self.data.len() as u64 == length && top() == Some(*root)
    }
}

/// Makes a tree of bytes that come in portions; holds one chunk.
#[derive(Debug)]
pub struct Committer {
    chunk: Vec<u8>,
    tree: Tree,
}

impl Default for Committer {
    fn default() -> Self {
        Self { chunk: Vec::with_capacity(CHUNK_BYTES), tree: Tree { tops: Vec::new(), bytes: 0 } }
    }
}

impl Committer {
    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        self.tree.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = rest;
            if self.chunk.len() == CHUNK_BYTES {
                self.close();
            }
        }
    }

    /// The tree of all of them.
    #[must_use]
    pub fn finish(mut self) -> Tree {
        if !self.chunk.is_empty() {
            self.close();
        }
        self.tree
    }

    fn close(&mut self) {
        self.tree.tops.push(top(leaves(&self.chunk)));
        self.chunk.clear();
    }
}

fn leaves(chunk: &[u8]) -> Vec<Digest> {
    chunk.chunks(LEAF_BYTES).map(|data| merkle::leaf(TAG, data)).collect()
}

fn above(level: &[Digest]) -> Vec<Digest> {
    level.chunks(2).map(|pair| if let [l, r] = pair { merkle::node(l, r) } else { pair[0] }).collect()
}

fn top(mut level: Vec<Digest>) -> Digest {
    while level.len() > 1 {
        level = above(&level);
    }
    level.first().copied().unwrap_or(Digest::ZERO)
}

/// Siblings of a node up to the top of its level's tree.
fn climb(mut level: Vec<Digest>, mut at: usize, siblings: &mut Vec<Digest>) -> Digest {
    while level.len() > 1 {
        siblings.extend(level.get(at ^ 1));
        level = above(&level);
        at /= 2;
    }
    level.first().copied().unwrap_or(Digest::ZERO)
}

impl Tree {
    /// What a deal names; [`Digest::ZERO`] at the top of no bytes.
    #[must_use]
    pub fn root(&self) -> Digest {
        let count = usize::try_from(self.leaves()).expect("as many bytes lie on a disk");
        merkle::seal(TAG, count, &top(self.tops.clone()))
    }

    /// How many bytes it is of.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many leaves.
    #[must_use]
    pub fn leaves(&self) -> u64 {
        self.bytes.div_ceil(LEAF_BYTES as u64)
    }

    /// The bytes that a leaf's chunk is of: what [`Tree::open`] wants.
    #[must_use]
    pub fn chunk_of(&self, leaf: u64) -> Range<u64> {
        let from = leaf.saturating_mul(LEAF_BYTES as u64) / CHUNK_BYTES as u64 * CHUNK_BYTES as u64;
        from.min(self.bytes)..from.saturating_add(CHUNK_BYTES as u64).min(self.bytes)
    }

    /// Opens a leaf with the bytes of its chunk; `None` if there is no such leaf, or these are other bytes.
    #[must_use]
    pub fn open(&self, leaf: u64, chunk: &[u8]) -> Option<Proof> {
        let (within, of) = (CHUNK_BYTES / LEAF_BYTES, usize::try_from(leaf).ok()?);
        let (number, at) = (of / within, of % within);
        let (data, mut siblings) = (chunk.chunks(LEAF_BYTES).nth(at)?.to_vec(), Vec::new());
        if climb(leaves(chunk), at, &mut siblings) != *self.tops.get(number)? {
            return None;
        }
        climb(self.tops.clone(), number, &mut siblings);
        Some(Proof { data, path: merkle::Path { index: leaf, count: self.leaves(), siblings } })
    }

    /// As it is kept: length (u64, big endian), tops.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let tops = self.tops.iter().flat_map(|top| top.0);
        self.bytes.to_be_bytes().into_iter().chain(tops).collect()
    }

    /// The reverse of [`Tree::to_bytes`]; `None` for what no tree gives.
    #[must_use]
    pub fn from_bytes(kept: &[u8]) -> Option<Self> {
        let (bytes, tops) = kept.split_first_chunk::<8>()?;
        let (tops, rest) = tops.as_chunks::<32>();
        let tree = Self { bytes: u64::from_be_bytes(*bytes), tops: tops.iter().map(|top| Digest(*top)).collect() };
        let is_whole = rest.is_empty() && tree.tops.len() as u64 == tree.bytes.div_ceil(CHUNK_BYTES as u64);
        is_whole.then_some(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect()
    }

    fn tree_of(data: &[u8], portion: usize) -> Tree {
        let mut committer = Committer::default();
        data.chunks(portion).for_each(|part| committer.push(part));
        committer.finish()
    }

    #[test]
    fn the_tree_is_that_of_all_leaves_and_opens_at_every_edge() {
        for len in [1, 128, 129, 1_000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 700] {
            let data = bytes(len);
            let tree = tree_of(&data, 77_777);
            assert_eq!(tree.root(), merkle::root_of_leaves(TAG, leaves(&data)), "{len}");
            assert_eq!(Tree::from_bytes(&tree.to_bytes()), Some(tree.clone()));
            assert_eq!(Tree::from_bytes(&tree.to_bytes()[1..]), None);
            let last = tree.leaves() - 1;
            for leaf in [0, last / 2, last, 8_191.min(last), 8_192.min(last)] {
                let chunk = tree.chunk_of(leaf);
                let chunk = &data[chunk.start as usize..chunk.end as usize];
                let proof = tree.open(leaf, chunk).unwrap();
                assert!(proof.shows(&tree.root(), tree.bytes(), leaf), "{len} {leaf}");
                assert!(!proof.shows(&tree.root(), tree.bytes(), leaf + 1));
                assert!(!proof.shows(&Digest::ZERO, tree.bytes(), leaf));
                let mut damaged = chunk.to_vec();
                damaged[0] ^= 1;
                assert_eq!(tree.open(leaf, &damaged), None);
            }
            assert_eq!(tree.open(last + 1, &data[tree.chunk_of(last).start as usize..]), None);
        }
    }

    proptest! {
        #[test]
        fn portions_do_not_matter_and_proofs_hold_at_one_place(len in 1usize..20_000, portion in 1usize..5_000, leaf: u64, flip: usize) {
            let data = bytes(len);
            let tree = tree_of(&data, portion);
            prop_assert_eq!(&tree, &tree_of(&data, len));
            let leaf = leaf % tree.leaves();
            let mut proof = tree.open(leaf, &data).unwrap();
            prop_assert!(proof.shows(&tree.root(), tree.bytes(), leaf));
            let at = flip % proof.data.len();
            proof.data[at] ^= 1;
            prop_assert!(!proof.shows(&tree.root(), tree.bytes(), leaf));
        }
    }
}
