//! Changes of a trie: a key set, a key removed, and the branches that appear and vanish with it.

use super::{Kind, Link, Reader, child};
use crate::kv::KvError;
use alloy_trie::Nibbles;
use std::sync::Arc;

/// One change on its way down the trie.
pub(super) struct Edit<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) freed: &'a mut Vec<Nibbles>,
}

impl Edit<'_> {
    /// Takes a node out of its link, to be changed.
    fn own(&self, path: &Nibbles, mut link: Link) -> Result<Kind, KvError> {
        self.reader.load(path, &mut link)?;
        let node = link.node.take().expect("loaded above");
        Ok(Arc::unwrap_or_clone(node).kind)
    }

    pub(super) fn insert(&mut self, path: Nibbles, link: Link, key: Nibbles, value: Vec<u8>) -> Result<Link, KvError> {
        let kind = match self.own(&path, link)? {
            Kind::Leaf(rest, _) if rest == key => Kind::Leaf(key, value),
            Kind::Leaf(rest, old) => fork(rest, &key, |rest| Link::new(Kind::Leaf(rest, old)), value),
            Kind::Extension(part, next) if key.starts_with(&part) => {
                let below = path.join(&part);
                Kind::Extension(part, self.insert(below, next, key.slice(part.len()..), value)?)
            }
            Kind::Extension(part, next) => fork(part, &key, |rest| extend(rest, next), value),
            Kind::Branch(mut links) => {
                let nibble = key.get_unchecked(0);
                let (place, rest) = (&mut links[usize::from(nibble)], key.slice(1..));
                *place = Some(match place.take() {
                    None => Link::new(Kind::Leaf(rest, value)),
                    Some(next) => self.insert(child(&path, nibble), next, rest, value)?,
                });
                Kind::Branch(links)
            }
        };
        Ok(Link::new(kind))
    }

    /// Removes a key that is there.
    pub(super) fn remove(&mut self, path: Nibbles, link: Link, key: Nibbles) -> Result<Option<Link>, KvError> {
        match self.own(&path, link)? {
            Kind::Leaf(..) => {
                self.freed.push(path);
                Ok(None)
            }
            Kind::Extension(part, next) => {
                let below = path.join(&part);
                let next = self.remove(below, next, key.slice(part.len()..))?;
                Ok(Some(self.join(path, part, next.expect("below an extension is a branch"))?))
            }
            Kind::Branch(mut links) => {
                let nibble = key.get_unchecked(0);
                let place = &mut links[usize::from(nibble)];
                let next = place.take().expect("the key is there");
                *place = self.remove(child(&path, nibble), next, key.slice(1..))?;
                let mut left = (0u8..).zip(links.iter_mut()).filter(|(_, link)| link.is_some());
                let (only, more) = (left.next(), left.next());
                match (only, more) {
                    (Some((nibble, link)), None) => {
                        let link = link.take().expect("it is some");
                        Ok(Some(self.join(path, Nibbles::from_nibbles([nibble]), link)?))
                    }
                    _ => Ok(Some(Link::new(Kind::Branch(links)))),
                }
            }
        }
    }

    /// One node for `part` and what follows it: a leaf or an extension takes the part in.
    fn join(&mut self, path: Nibbles, part: Nibbles, mut link: Link) -> Result<Link, KvError> {
        let below = path.join(&part);
        let node = self.reader.load(&below, &mut link)?;
        let kind = match &node.kind {
            Kind::Leaf(rest, value) => Kind::Leaf(part.join(rest), value.clone()),
            Kind::Extension(rest, next) => Kind::Extension(part.join(rest), next.clone()),
            Kind::Branch(_) => return Ok(Link::new(Kind::Extension(part, link))),
        };
        self.freed.push(below);
        Ok(Link::new(kind))
    }
}

/// `part` before a branch, if there is any part.
fn extend(part: Nibbles, link: Link) -> Link {
    match part.is_empty() {
        true => link,
        false => Link::new(Kind::Extension(part, link)),
    }
}

/// A branch where `old` and `new` part, with what they share before it.
fn fork(old: Nibbles, new: &Nibbles, rest: impl FnOnce(Nibbles) -> Link, value: Vec<u8>) -> Kind {
    let shared = old.common_prefix_length(new);
    let mut links: [Option<Link>; 16] = Default::default();
    links[usize::from(old.get_unchecked(shared))] = Some(rest(old.slice(shared + 1..)));
    let leaf = Kind::Leaf(new.slice(shared + 1..), value);
    links[usize::from(new.get_unchecked(shared))] = Some(Link::new(leaf));
    let branch = Kind::Branch(Box::new(links));
    match shared {
        0 => branch,
        _ => Kind::Extension(old.slice(..shared), Link::new(branch)),
    }
}
