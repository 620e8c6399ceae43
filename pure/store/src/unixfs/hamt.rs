//! Sharded directories: a hash array mapped trie (specs.ipfs.tech/unixfs, "HAMTDirectory").
//!
//! A name's slot on each level is the next few bits of its hash, from the highest on. A link's name
//! is the slot in hex, followed by the entry's name; with nothing after it, the link leads to the
//! shard below.

use super::Entry;
use super::message::Message;
use crate::block::Block;
use crate::dagpb::{Link, NodeError};
use crate::limits::FANOUT_MAX;
use cid::Cid;

/// Multicodec of the first half of murmur3-x64-128, the only hash that shards have.
pub(super) const MURMUR3_X64_64: u64 = 0x22;

/// One block of a sharded directory, checked: slots are in order and as the bitfield says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    fanout: u32,
    slots: Vec<(u32, Slot)>,
}

/// What is in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// An entry with its whole name.
    Entry(Link),
    /// More than one: the shard below.
    Below(Cid),
}

impl Shard {
    /// The slots that are in use, in order.
    pub fn slots(&self) -> impl DoubleEndedIterator<Item = &Slot> {
        self.slots.iter().map(|(_, slot)| slot)
    }

    /// Reads a block as the shard on `level` below one of `fanout` slots: as wide, and not empty, so
    /// that whoever walks a directory finds an entry within a few blocks.
    pub(crate) fn below(block: &Block, fanout: u32, level: u32) -> Result<Self, NodeError> {
        if level >= 64 / fanout.trailing_zeros() {
            return Err(NodeError::TooDeep);
        }
        match Entry::of(block)? {
            Entry::Shard(shard) if shard.fanout == fanout && !shard.slots.is_empty() => Ok(shard),
            _ => Err(NodeError::Malformed { what: "(directory shard)" }),
        }
    }

    /// How many slots there are, used or not.
    #[must_use]
    pub fn fanout(&self) -> u32 {
        self.fanout
    }

    /// The slot for a name's hash on the given level; `None` also below the last bit of the hash.
    pub(super) fn slot(&self, hash: u64, level: u32) -> Option<&Slot> {
        let bits = self.fanout.trailing_zeros();
        let rest = 64_u32.checked_sub(bits * (level + 1))?;
        let index = (hash >> rest) as u32 & (self.fanout - 1);
        let at = self.slots.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        Some(&self.slots[at].1)
    }

    pub(super) fn build(links: Vec<Link>, message: &Message) -> Result<Self, NodeError> {
        const MALFORMED: NodeError = NodeError::Malformed { what: "(directory shard)" };
        let fanout = message.fanout.filter(|n| n.is_power_of_two() && (8..=FANOUT_MAX).contains(n)).ok_or(MALFORMED)?;
        let (fanout, bits) = (fanout as u32, &message.data);
        if message.hash != Some(MURMUR3_X64_64) || bits.len() * 8 > fanout as usize {
            return Err(MALFORMED);
        }
        let is_set = |slot: &u32| {
            let byte = bits.len().checked_sub(*slot as usize / 8 + 1);
            byte.is_some_and(|byte| bits[byte] >> (slot % 8) & 1 == 1)
        };
        let used: Vec<u32> = (0..fanout).filter(is_set).collect();
        if used.len() != links.len() {
            return Err(MALFORMED);
        }
        let width = width(fanout);
        let slot = |(slot, mut link): (u32, Link)| {
            let name = link.name.strip_prefix(&format!("{slot:0width$X}")).ok_or(MALFORMED)?;
            if name.is_empty() {
                return Ok((slot, Slot::Below(link.cid)));
            }
            link.name = name.to_owned();
            Ok((slot, Slot::Entry(link)))
        };
        let slots: Result<Vec<_>, NodeError> = used.into_iter().zip(links).map(slot).collect();
        Ok(Self { fanout, slots: slots? })
    }
}

/// Hex digits of a slot.
fn width(fanout: u32) -> usize {
    (fanout - 1).ilog2() as usize / 4 + 1
}

/// The first 64 bits of murmur3-x64-128 with seed 0 (A. Appleby, SMHasher, `MurmurHash3.cpp`).
pub(super) fn hash_of(name: &str) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let word = |bytes: &[u8]| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(word)
    };
    let (mut h1, mut h2) = (0_u64, 0_u64);
    let blocks = name.as_bytes().chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        h1 ^= mix1(word(&block[..8]));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= mix2(word(&block[8..]));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let (low, high) = tail.split_at(tail.len().min(8));
    // Mixing zero gives zero: a missing half changes nothing.
    h1 ^= mix1(word(low)) ^ name.len() as u64;
    h2 ^= mix2(word(high)) ^ name.len() as u64;
    let finish = |mut k: u64| {
        k = (k ^ k >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        k = (k ^ k >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        k ^ k >> 33
    };
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    finish(h1).wrapping_add(finish(h2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur3_equals_known_values() {
        // Of the reference implementation: the first 8 of its 16 bytes.
        let known = [("", 0), ("hello", 0xcbd8_a7b3_41bd_9b02), ("hello, world", 0x342f_ac62_3a5e_bc8e)];
        for (name, hash) in known {
            assert_eq!(hash_of(name), hash, "{name}");
        }
        let long = "The quick brown fox jumps over the lazy dog.";
        assert_eq!(hash_of(long), 0xcd99_481f_9ee9_02c9);
    }

    #[test]
    fn widths() {
        assert_eq!([8, 16, 32, 256, 1024].map(width), [1, 1, 2, 2, 3]);
    }
}
