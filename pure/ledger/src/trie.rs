//! A Merkle-Patricia trie that keeps in memory what was touched and reads the rest when it is needed.
//!
//! Nodes are those of Ethereum (Yellow Paper, appendix D), encoded by `alloy-trie`; a stored node lies under its
//! *path*, so that an update overwrites its forerunner and nothing has to be collected. What is read is checked
//! against the hash its parent names. Nodes are shared between copies (`Arc`): a copy of a trie is a snapshot, and
//! costs nothing until one of the two changes.
//!
//! Keys are 32 bytes (hashes), values never empty: writing nothing removes a key.

mod edit;

use crate::kv::{KvError, KvRead, Writes};
use alloy_primitives::{B256, keccak256};
use alloy_rlp::{Decodable, Encodable};
use alloy_trie::nodes::{BranchNodeRef, ExtensionNodeRef, LeafNodeRef, RlpNode, TrieNode};
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieMask};
use edit::Edit;
use std::sync::Arc;

/// A trie of which some nodes are in memory.
#[derive(Clone, Debug)]
pub(crate) struct Trie {
    /// Key prefix of its nodes.
    prefix: Vec<u8>,
    root: Option<Link>,
    /// Paths whose stored nodes nobody names any more.
    freed: Vec<Nibbles>,
}

/// A child: its reference, its node, or both. Without a reference it changed since the last hashing.
#[derive(Clone, Debug)]
struct Link {
    reference: Option<RlpNode>,
    node: Option<Arc<Node>>,
}

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    /// Whether the disk has it not yet.
    unsaved: bool,
}

#[derive(Clone, Debug)]
enum Kind {
    Leaf(Nibbles, Vec<u8>),
    Extension(Nibbles, Link),
    Branch(Box<[Option<Link>; 16]>),
}

impl Link {
    fn new(kind: Kind) -> Self {
        Self { reference: None, node: Some(Arc::new(Node { kind, unsaved: true })) }
    }

    fn named(reference: RlpNode) -> Self {
        Self { reference: Some(reference), node: None }
    }
}

/// What reading needs: the disk, and where in it this trie lies.
struct Reader<'a> {
    kv: &'a dyn KvRead,
    prefix: &'a [u8],
}

impl Reader<'_> {
    /// The node behind a link, read if it is not in memory yet.
    fn load<'l>(&self, path: &Nibbles, link: &'l mut Link) -> Result<&'l mut Arc<Node>, KvError> {
        let Link { reference, node } = link;
        if let Some(node) = node {
            return Ok(node);
        }
        let reference = reference.as_ref().expect("a link without a node has a reference");
        let bytes = match reference.as_hash() {
            None => reference.to_vec(),
            Some(hash) => {
                let key = key(self.prefix, path);
                let bytes = self.kv.get(&key)?.filter(|bytes| keccak256(bytes) == hash);
                bytes.ok_or_else(|| KvError::Damaged(format!("node {hash}")))?
            }
        };
        let kind = Kind::decode(&bytes).ok_or_else(|| KvError::Damaged(format!("node at {path:?}")))?;
        Ok(node.insert(Arc::new(Node { kind, unsaved: false })))
    }
}

fn key(prefix: &[u8], path: &Nibbles) -> Vec<u8> {
    let mut key = Vec::with_capacity(prefix.len() + path.len());
    key.extend_from_slice(prefix);
    key.extend(path.iter());
    key
}

fn child(path: &Nibbles, nibble: u8) -> Nibbles {
    let mut path = *path;
    path.push(nibble);
    path
}

impl Kind {
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        Some(match TrieNode::decode(&mut bytes).ok()? {
            TrieNode::EmptyRoot => return None,
            TrieNode::Leaf(leaf) => Self::Leaf(leaf.key, leaf.value),
            TrieNode::Extension(extension) => Self::Extension(extension.key, Link::named(extension.child)),
            TrieNode::Branch(branch) => {
                let mut links: [Option<Link>; 16] = Default::default();
                for (nibble, reference) in branch.as_ref().children() {
                    links[usize::from(nibble)] = reference.cloned().map(Link::named);
                }
                Self::Branch(Box::new(links))
            }
        })
    }

    /// The node as Ethereum writes it, into an empty buffer. Its children must have been hashed.
    fn encode(&self, out: &mut Vec<u8>) {
        let named = |link: &Link| link.reference.clone().expect("children are hashed before their parent");
        match self {
            Self::Leaf(key, value) => LeafNodeRef::new(key, value).encode(out),
            Self::Extension(key, link) => ExtensionNodeRef::new(key, &named(link)).encode(out),
            Self::Branch(links) => {
                let mut mask = TrieMask::default();
                let mut stack = Vec::with_capacity(16);
                for (nibble, link) in (0u8..).zip(links.iter()) {
                    let Some(link) = link else { continue };
                    mask.set_bit(nibble);
                    stack.push(named(link));
                }
                BranchNodeRef::new(&stack, mask).encode(out);
            }
        }
    }

    /// The next link on the way to a key, of which `depth` nibbles are behind us.
    fn step(&self, key: &Nibbles, depth: &mut usize) -> Option<&Link> {
        match self {
            Self::Leaf(..) => None,
            Self::Extension(part, link) => {
                let follows = key.slice(*depth..).starts_with(part);
                *depth += part.len();
                follows.then_some(link)
            }
            Self::Branch(links) => {
                *depth += 1;
                links[usize::from(key.get_unchecked(*depth - 1))].as_ref()
            }
        }
    }
}

impl Trie {
    /// The trie with a known root, nothing of it in memory.
    pub(crate) fn new(prefix: Vec<u8>, root: B256) -> Self {
        let root = (root != EMPTY_ROOT_HASH).then(|| Link::named(RlpNode::word_rlp(&root)));
        Self { prefix, root, freed: Vec::new() }
    }

    /// The value of a key.
    pub(crate) fn get(&mut self, kv: &dyn KvRead, key: &B256) -> Result<Option<&[u8]>, KvError> {
        let key = Nibbles::unpack(key);
        if self.find(&key).is_none() {
            self.load(kv, &key)?;
        }
        Ok(self.find(&key).expect("the way to it was loaded"))
    }

    /// The value of a key as far as memory knows: `None` if it does not.
    fn find(&self, key: &Nibbles) -> Option<Option<&[u8]>> {
        let (mut depth, mut next) = (0, self.root.as_ref());
        while let Some(link) = next {
            match &link.node.as_ref()?.kind {
                Kind::Leaf(rest, value) => return Some((key.slice(depth..) == *rest).then_some(value)),
                kind => next = kind.step(key, &mut depth),
            }
        }
        Some(None)
    }

    /// Reads the nodes on the way to a key.
    fn load(&mut self, kv: &dyn KvRead, key: &Nibbles) -> Result<(), KvError> {
        let reader = Reader { kv, prefix: &self.prefix };
        let (mut depth, mut next) = (0, self.root.as_mut());
        while let Some(link) = next {
            let node = Arc::make_mut(reader.load(&key.slice(..depth), link)?);
            next = match &mut node.kind {
                Kind::Leaf(..) => None,
                Kind::Extension(part, _) if !key.slice(depth..).starts_with(part) => None,
                Kind::Extension(part, link) => {
                    depth += part.len();
                    Some(link)
                }
                Kind::Branch(links) => {
                    depth += 1;
                    links[usize::from(key.get_unchecked(depth - 1))].as_mut()
                }
            };
        }
        Ok(())
    }

    /// Gives a key a value, or takes it away.
    pub(crate) fn set(&mut self, kv: &dyn KvRead, key: &B256, value: Option<Vec<u8>>) -> Result<(), KvError> {
        // A key that is not there and shall not be changes nothing, and must not undo any hash.
        if value.is_none() && self.get(kv, key)?.is_none() {
            return Ok(());
        }
        let Self { prefix, root, freed } = self;
        let mut edit = Edit { reader: Reader { kv, prefix }, freed };
        let (path, key) = (Nibbles::new(), Nibbles::unpack(key));
        *root = match (root.take(), value) {
            (None, None) => None,
            (None, Some(value)) => Some(Link::new(Kind::Leaf(key, value))),
            (Some(link), Some(value)) => Some(edit.insert(path, link, key, value)?),
            (Some(link), None) => edit.remove(path, link, key)?,
        };
        Ok(())
    }

    /// The root: hashes what changed.
    pub(crate) fn root(&mut self) -> B256 {
        let Some(root) = &mut self.root else { return EMPTY_ROOT_HASH };
        hash(root, &mut Vec::new());
        let reference = root.reference.as_ref().expect("hashed just now");
        // A root shorter than a hash is hashed all the same.
        reference.as_hash().unwrap_or_else(|| keccak256(reference.as_slice()))
    }

    /// Moves into `writes` what the disk has not, and forgets nodes from `keep` nibbles down.
    pub(crate) fn save(&mut self, writes: &mut Writes, keep: usize) {
        self.root();
        for path in self.freed.drain(..) {
            writes.insert(key(&self.prefix, &path), None);
        }
        if let Some(root) = &mut self.root {
            save(&self.prefix, &Nibbles::new(), root, writes, keep);
        }
    }

    /// The nodes from the root to where a key is or would be, as `eth_getProof` gives them.
    pub(crate) fn proof(&mut self, kv: &dyn KvRead, key: &B256) -> Result<Vec<Vec<u8>>, KvError> {
        let key = Nibbles::unpack(key);
        self.root();
        self.load(kv, &key)?;
        let (mut proof, mut depth, mut next) = (Vec::new(), 0, self.root.as_ref());
        while let Some(Link { reference: Some(reference), node: Some(node) }) = next {
            // A node shorter than a hash stands inside its parent already.
            if reference.is_hash() || depth == 0 {
                let mut bytes = Vec::new();
                node.kind.encode(&mut bytes);
                proof.push(bytes);
            }
            next = node.kind.step(&key, &mut depth);
        }
        Ok(proof)
    }
}

/// Names a link and all below it that has no name.
fn hash(link: &mut Link, buffer: &mut Vec<u8>) {
    if link.reference.is_some() {
        return;
    }
    let node = Arc::make_mut(link.node.as_mut().expect("a link without a reference has a node"));
    match &mut node.kind {
        Kind::Leaf(..) => {}
        Kind::Extension(_, next) => hash(next, buffer),
        Kind::Branch(links) => links.iter_mut().flatten().for_each(|link| hash(link, buffer)),
    }
    buffer.clear();
    node.kind.encode(buffer);
    link.reference = Some(RlpNode::from_rlp(buffer));
}

/// Below a node that the disk has, it has everything: an edit renews all nodes on its path.
fn save(prefix: &[u8], path: &Nibbles, link: &mut Link, writes: &mut Writes, keep: usize) {
    let Some(node) = link.node.as_mut() else { return };
    if node.unsaved || path.len() < keep {
        let node = Arc::make_mut(node);
        match &mut node.kind {
            Kind::Leaf(..) => {}
            Kind::Extension(part, next) => save(prefix, &path.join(part), next, writes, keep),
            Kind::Branch(links) => {
                for (nibble, next) in (0u8..).zip(links.iter_mut()) {
                    next.iter_mut().for_each(|next| save(prefix, &child(path, nibble), next, writes, keep));
                }
            }
        }
        let reference = link.reference.as_ref().expect("saved after hashing");
        if std::mem::take(&mut node.unsaved) && (reference.is_hash() || path.is_empty()) {
            let mut bytes = Vec::new();
            node.kind.encode(&mut bytes);
            writes.insert(key(prefix, path), Some(bytes));
        }
    }
    if path.len() >= keep {
        link.node = None;
    }
}

#[cfg(test)]
mod tests;
