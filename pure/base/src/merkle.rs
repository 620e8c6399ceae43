//! SHA-256 Merkle trees with tagged leaves and nodes.
//!
//! - leaf = SHA-256(0x00 ‖ tag ‖ data), `tag` naming the kind of tree
//! - node = SHA-256(0x01 ‖ left ‖ right); an odd node moves up unchanged (no duplication, so
//!   CVE-2012-2459 cannot happen)
//! - root = SHA-256(0x02 ‖ tag ‖ leaf count as u64 big-endian ‖ top), so a root fixes its length
//!
//! The leaf and node prefixes are those of RFC 6962; the root prefix is ours.

use crate::hash::{Digest, sha256};

/// Digest of one leaf.
#[must_use]
pub fn leaf(tag: &str, data: &[u8]) -> Digest {
    sha256(&[&[0], tag.as_bytes(), data])
}

/// The node above two.
#[must_use]
pub fn node(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[1], &left.0, &right.0])
}

/// The root of a tree of `count` leaves with this top.
#[must_use]
pub fn seal(tag: &str, count: usize, top: &Digest) -> Digest {
    sha256(&[&[2], tag.as_bytes(), &(count as u64).to_be_bytes(), &top.0])
}

/// Root over data digests: each element is first hashed as a leaf under `tag`.
/// An empty list has the top [`Digest::ZERO`].
#[must_use]
pub fn root(tag: &str, data: &[Digest]) -> Digest {
    let leaves: Vec<Digest> = data.iter().map(|d| leaf(tag, &d.0)).collect();
    root_of_leaves(tag, leaves)
}

/// Root over leaves already hashed with [`leaf`].
#[must_use]
pub fn root_of_leaves(tag: &str, leaves: Vec<Digest>) -> Digest {
    let count = leaves.len();
    let mut level = leaves;
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| if let [l, r] = pair { node(l, r) } else { pair[0] }).collect();
    }
    seal(tag, count, &level.first().copied().unwrap_or(Digest::ZERO))
}

/// The root of a list that grows: of each full subtree only its top is kept.
#[derive(Clone, Debug, Default)]
pub struct Growing {
    /// Tops of the full subtrees, the largest first; one for each bit that is set in `count`.
    tops: Vec<Digest>,
    count: usize,
}

impl Growing {
    /// Adds a leaf, hashed with [`leaf`].
    pub fn push(&mut self, leaf: Digest) {
        let mut top = leaf;
        for _ in 0..self.count.trailing_ones() {
            let left = self.tops.pop().expect("one top for each bit that is set");
            top = node(&left, &top);
        }
        self.tops.push(top);
        self.count += 1;
    }

    /// What [`root_of_leaves`] gives for all leaves so far.
    #[must_use]
    pub fn root(&self, tag: &str) -> Digest {
        let mut tops = self.tops.iter().rev();
        let last = tops.next().copied().unwrap_or(Digest::ZERO);
        seal(tag, self.count, &tops.fold(last, |right, left| node(left, &right)))
    }
}

/// A proof that one leaf stands at one index of a tree: the siblings from bottom to top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Index of the leaf.
    pub index: u64,
    /// Number of leaves in the tree.
    pub count: u64,
    /// Sibling digests, bottom first; levels where the node moved up alone have none.
    pub siblings: Vec<Digest>,
}

/// Opens leaf `index` of the tree over `leaves`; `None` if there is no such leaf.
#[must_use]
pub fn open(leaves: &[Digest], index: usize) -> Option<Path> {
    leaves.get(index)?;
    let (mut level, mut at, mut siblings) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        if let Some(sibling) = level.get(at ^ 1) {
            siblings.push(*sibling);
        }
        level = level.chunks(2).map(|pair| if let [l, r] = pair { node(l, r) } else { pair[0] }).collect();
        at /= 2;
    }
    Some(Path { index: index as u64, count: leaves.len() as u64, siblings })
}

/// The root that `path` claims for `leaf`; `None` if the path cannot belong to any tree.
#[must_use]
pub fn root_of_path(tag: &str, leaf: Digest, path: &Path) -> Option<Digest> {
    let (mut at, mut width) = (path.index, path.count);
    if at >= width {
        return None;
    }
    let (mut top, mut siblings) = (leaf, path.siblings.iter());
    while width > 1 {
        if at % 2 == 1 {
            top = node(siblings.next()?, &top);
        } else if at + 1 < width {
            top = node(&top, siblings.next()?);
        }
        at /= 2;
        width = width.div_ceil(2);
    }
    if siblings.next().is_some() {
        return None;
    }
    Some(seal(tag, usize::try_from(path.count).ok()?, &top))
}
