//! A Merkle tree of which one side knows the other's nodes only in part.

use super::Unfit;
use talkoo_base::{Digest, merkle};

/// All levels of a tree, leaves first. Made from our own leaves; what the other side shows is laid over it, so nodes are theirs
/// wherever it matters: on the way to what is disputed and beside it.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    tag: &'static str,
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// The tree over leaves that are hashed already; there is at least one.
    pub(super) fn of(tag: &'static str, leaves: Vec<Digest>) -> Self {
        let mut levels = vec![leaves];
        while let Some(level) = levels.last().filter(|level| level.len() > 1) {
            let above = fold(level);
            levels.push(above);
        }
        Self { tag, levels }
    }

    pub(super) fn count(&self) -> usize {
        self.levels[0].len()
    }

    /// Level of the top: 0 for one leaf.
    pub(super) fn top(&self) -> u8 {
        u8::try_from(self.levels.len() - 1).expect("a tree has fewer levels than a number has bits")
    }

    pub(super) fn root(&self) -> Digest {
        let top = self.levels[self.levels.len() - 1][0];
        merkle::seal(self.tag, self.count(), &top)
    }

    /// The nodes `down` levels below node `index` of `level`; `None` if there are none.
    pub(super) fn below(&self, level: u8, index: u64, down: u8) -> Option<&[Digest]> {
        let at = self.levels.get(usize::from(level.checked_sub(down)?))?;
        self.levels.get(usize::from(level))?.get(usize::try_from(index).ok()?)?;
        let first = usize::try_from(index << down).ok()?;
        at.get(first..at.len().min(first + (1 << down)))
    }

    /// Siblings from node `index` of `level` up to the top.
    pub(super) fn siblings(&self, level: u8, index: u64) -> Vec<Digest> {
        let (mut at, mut siblings) = (usize::try_from(index).expect("a node of the tree"), Vec::new());
        for level in &self.levels[usize::from(level)..self.levels.len() - 1] {
            siblings.extend(level.get(at ^ 1).copied());
            at /= 2;
        }
        siblings
    }

    /// The first leaf behind this one below a node beside its way that the other tree has not.
    pub(super) fn differs_behind(&self, other: &Self, leaf: u64) -> Option<u64> {
        let right = |level: u8| Some((leaf >> level) + 1).filter(|at| at % 2 == 1);
        let other_node = |level: u8, at: &u64| self.below(level, *at, 0) != other.below(level, *at, 0);
        (0..self.top()).find_map(|level| right(level).filter(|at| other_node(level, at)).map(|at| at << level))
    }

    /// Takes what they show below and beside a node, if it leads to their root.
    pub(super) fn take(
        &mut self,
        root: &Digest,
        (level, index, down): (u8, u64, u8),
        nodes: &[Digest],
        siblings: &[Digest],
    ) -> Result<(), Unfit> {
        if !leads(self.tag, root, self.count() as u64, (level, index, down), nodes, siblings) {
            return Err(Unfit("what it shows does not lead to the root that it gave"));
        }
        self.believe(level, index, down, nodes, siblings);
        Ok(())
    }

    /// Takes their root for ours: what is shown from now on has to lead to it.
    pub(super) fn believe(&mut self, level: u8, index: u64, down: u8, nodes: &[Digest], siblings: &[Digest]) {
        let mut row = nodes.to_vec();
        let first = usize::try_from(index << down).expect("a node of the tree");
        for (up, level) in self.levels[usize::from(level - down)..=usize::from(level)].iter_mut().enumerate() {
            level[first >> up..][..row.len()].copy_from_slice(&row);
            row = fold(&row);
        }
        let (mut at, mut siblings) = (usize::try_from(index).expect("a node of the tree"), siblings.iter());
        for level in usize::from(level)..self.levels.len() - 1 {
            let [below, above] = &mut self.levels[level..level + 2] else { unreachable!("two levels") };
            if let Some(sibling) = below.get_mut(at ^ 1) {
                *sibling = *siblings.next().expect("a path that was checked");
            }
            let pair = &below[at / 2 * 2..below.len().min(at / 2 * 2 + 2)];
            above[at / 2] = fold(pair)[0];
            at /= 2;
        }
    }
}

/// The nodes above a row that begins at an even place.
fn fold(row: &[Digest]) -> Vec<Digest> {
    row.chunks(2).map(|pair| if let [left, right] = pair { merkle::node(left, right) } else { pair[0] }).collect()
}

/// Nodes at a level of a tree with so many leaves.
fn width(count: u64, level: u8) -> u64 {
    count.div_ceil(1 << level.min(63))
}

/// Whether these nodes, `down` levels below node `index` of `level`, lead to the root of a tree of `count` leaves.
pub(super) fn leads(
    tag: &str,
    root: &Digest,
    count: u64,
    (level, index, down): (u8, u64, u8),
    nodes: &[Digest],
    siblings: &[Digest],
) -> bool {
    let Some(base) = level.checked_sub(down).filter(|_| level < 63) else { return false };
    let first = index << down;
    let want = width(count, base).saturating_sub(first).min(1 << down);
    if want == 0 || nodes.len() as u64 != want || index >= width(count, level) {
        return false;
    }
    let mut row = nodes.to_vec();
    for _ in 0..down {
        row = fold(&row);
    }
    let (mut top, mut at, mut level, mut siblings) = (row[0], index, level, siblings.iter());
    while width(count, level) > 1 {
        if at % 2 == 1 || at + 1 < width(count, level) {
            let Some(sibling) = siblings.next() else { return false };
            top = if at % 2 == 1 { merkle::node(sibling, &top) } else { merkle::node(&top, sibling) };
        }
        (at, level) = (at / 2, level + 1);
    }
    let sealed = usize::try_from(count).map(|count| merkle::seal(tag, count, &top));
    siblings.next().is_none() && sealed == Ok(*root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<Digest> {
        (0..count).map(|i| merkle::leaf("t", &i.to_be_bytes())).collect()
    }

    #[test]
    fn every_window_of_every_tree_leads_to_its_root_and_no_other() {
        for count in 1..70 {
            let tree = Tree::of("t", leaves(count));
            assert_eq!(tree.root(), merkle::root_of_leaves("t", leaves(count)));
            for level in 0..=tree.top() {
                for index in 0..tree.levels[usize::from(level)].len() as u64 {
                    for down in 0..=level {
                        let nodes = tree.below(level, index, down).expect("a node");
                        let siblings = tree.siblings(level, index);
                        let check = |root: Digest, count, place, nodes: &[Digest]| {
                            leads("t", &root, count, place, nodes, &siblings)
                        };
                        let place = (level, index, down);
                        assert!(check(tree.root(), count as u64, place, nodes), "{count} {place:?}");
                        assert!(!check(Digest::ZERO, count as u64, place, nodes));
                        assert!(!check(tree.root(), count as u64 + 1, place, nodes));
                        assert!(!check(tree.root(), count as u64, place, &nodes[1..]));
                        assert!(!check(tree.root(), count as u64, (level, index + 1, down), nodes));
                    }
                }
            }
            assert_eq!(tree.below(tree.top() + 1, 0, 1), None);
        }
    }

    #[test]
    fn what_is_believed_gives_paths_of_the_other_tree() {
        for count in 1..40 {
            for wrong in 0..count {
                let mut theirs = leaves(count);
                (wrong..count).for_each(|i| theirs[i].0[0] ^= 1);
                let theirs = Tree::of("t", theirs);
                let mut ours = Tree::of("t", leaves(count));
                let (mut level, mut index) = (ours.top(), 0);
                while level > 0 {
                    let down = level.min(2);
                    let nodes = theirs.below(level, index, down).expect("a node");
                    let at =
                        ours.below(level, index, down).expect("a node").iter().zip(nodes).position(|(a, b)| a != b);
                    ours.believe(level, index, down, nodes, &theirs.siblings(level, index));
                    (level, index) = (level - down, (index << down) + at.expect("they differ") as u64);
                }
                assert_eq!(index, wrong as u64);
                ours.believe(0, index, 0, &theirs.levels[0][wrong..=wrong], &theirs.siblings(0, index));
                assert_eq!(ours.root(), theirs.root());
                for leaf in 0..=wrong as u64 {
                    assert_eq!(
                        ours.siblings(0, leaf),
                        theirs.siblings(0, leaf),
                        "{leaf} of {count}, wrong from {wrong}"
                    );
                }
            }
        }
    }
}
