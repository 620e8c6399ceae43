//! Names become directories.

use super::Profile;
use super::hamt::hash_of;
use super::message::Message;
use crate::block::{Block, BlockError};
use crate::dagpb::{Link, Node};
use crate::limits::{NAME_BYTES_MAX, SHARD_ABOVE_BYTES};
use cid::Cid;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Slots of the shards that we write.
const FANOUT: u64 = 256;

/// Why a name cannot stand in a directory.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// Empty, `.`, `..`, or with a `/` or NUL in it.
    #[error("{name:?} is no name of a file: it is empty, . or .., or has a slash or NUL in it")]
    Malformed {
        /// The name.
        name: String,
    },
    /// Longer than file systems take.
    #[error("a name of {bytes} bytes: at most {NAME_BYTES_MAX} are possible")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is there already.
    #[error("the directory has a {name:?} already: rename one of them")]
    Twice {
        /// The name.
        name: String,
    },
    /// Another name has the same 64 bits of hash; a sharded directory could not hold both.
    #[error("{name:?} has the same hash as another name: rename one of them")]
    Collides {
        /// The name.
        name: String,
    },
}

/// Whether a name can stand in a directory. Names that were read are as their writer chose: check
/// them before they become names of files.
///
/// # Errors
/// [`NameError::Malformed`], [`NameError::TooLong`].
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(NameError::Malformed { name: name.chars().take(NAME_BYTES_MAX).collect() });
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { bytes: name.len() });
    }
    Ok(())
}

/// A symlink to a path.
///
/// # Errors
/// [`BlockError::TooLarge`].
pub fn symlink(profile: Profile, target: &str) -> Result<Block, BlockError> {
    profile.node(&Node { links: Vec::new(), data: Message::of_symlink(target) })
}

/// The result of building a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirRoot {
    /// The name of the directory.
    pub cid: Cid,
    /// Bytes of all blocks below and of its own: what a link to it states.
    pub total_bytes: u64,
    /// Blocks of its own handed to the sink.
    pub blocks: u64,
}

/// Collects the entries of one directory, in any order.
pub struct DirBuilder {
    profile: Profile,
    entries: BTreeMap<String, (Cid, u64)>,
    hashes: BTreeSet<u64>,
}

impl DirBuilder {
    /// An empty directory.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile, entries: BTreeMap::new(), hashes: BTreeSet::new() }
    }

    /// Adds an entry; `total_bytes` are those of [`super::FileRoot`] or [`DirRoot`].
    ///
    /// # Errors
    /// [`NameError`].
    pub fn add(&mut self, name: &str, cid: Cid, total_bytes: u64) -> Result<(), NameError> {
        check_name(name)?;
        if self.entries.contains_key(name) {
            return Err(NameError::Twice { name: name.to_owned() });
        }
        if !self.hashes.insert(hash_of(name)) {
            return Err(NameError::Collides { name: name.to_owned() });
        }
        self.entries.insert(name.to_owned(), (cid, total_bytes));
        Ok(())
    }

    /// Names the directory; shards come before the shards that hold them.
    ///
    /// # Errors
    /// Whatever `sink` answers.
    pub fn finish<E>(self, sink: &mut impl FnMut(Block) -> Result<(), E>) -> Result<DirRoot, E> {
        let profile = self.profile;
        let link = |(name, (cid, total_bytes))| Link { cid, name, total_bytes };
        let links: Vec<Link> = self.entries.into_iter().map(link).collect();
        let links_bytes: usize = links.iter().map(|link| link.name.len() + link.cid.encoded_len()).sum();
        let mut writer = Writer { profile, blocks: 0, sink };
        // More bytes than that in names and CIDs alone are too many by either count.
        if links_bytes <= SHARD_ABOVE_BYTES {
            let node = Node { links, data: Message::of_directory() };
            if profile == Profile::V0_2015 || node.encode().len() <= SHARD_ABOVE_BYTES {
                let (cid, total_bytes) = writer.write(&node)?;
                return Ok(DirRoot { cid, total_bytes, blocks: writer.blocks });
            }
            return writer.shards(node.links);
        }
        writer.shards(links)
    }
}

struct Writer<'a, S> {
    profile: Profile,
    blocks: u64,
    sink: &'a mut S,
}

impl<E, S: FnMut(Block) -> Result<(), E>> Writer<'_, S> {
    fn shards(&mut self, links: Vec<Link>) -> Result<DirRoot, E> {
        let mut hashed: Vec<(u64, Link)> = links.into_iter().map(|link| (hash_of(&link.name), link)).collect();
        hashed.sort_unstable_by_key(|(hash, _)| *hash);
        let (cid, total_bytes) = self.shard(&hashed, 56)?;
        Ok(DirRoot { cid, total_bytes, blocks: self.blocks })
    }

    /// Writes the shard of entries that agree in all bits of their hashes above the eight at `shift`.
    /// Hashes differ, so it ends at the last byte.
    fn shard(&mut self, entries: &[(u64, Link)], shift: u32) -> Result<(Cid, u64), E> {
        let slot = |(hash, _): &(u64, Link)| (hash >> shift) as u8;
        let (mut links, mut bits) = (Vec::new(), [0_u8; FANOUT as usize / 8]);
        for group in entries.chunk_by(|a, b| slot(a) == slot(b)) {
            let at = slot(&group[0]);
            bits[bits.len() - 1 - usize::from(at) / 8] |= 1 << (at % 8);
            links.push(match group {
                [(_, link)] => Link { name: format!("{at:02X}{}", link.name), ..*link },
                _ => {
                    let (cid, total_bytes) = self.shard(group, shift - 8)?;
                    Link { cid, name: format!("{at:02X}"), total_bytes }
                }
            });
        }
        let from = bits.iter().position(|byte| *byte != 0).unwrap_or(bits.len());
        self.write(&Node { links, data: Message::of_shard(&bits[from..], FANOUT) })
    }

    fn write(&mut self, node: &Node) -> Result<(Cid, u64), E> {
        let block = self.profile.node(node).expect("256 slots, or a quarter of a megabyte, fit into a block");
        let below: u64 = node.links.iter().fold(0, |sum, link| sum.saturating_add(link.total_bytes));
        let done = (*block.cid(), below.saturating_add(block.bytes().len() as u64));
        self.blocks += 1;
        (self.sink)(block)?;
        Ok(done)
    }
}
