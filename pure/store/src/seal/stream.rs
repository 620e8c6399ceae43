//! Sealed objects of any length: a file, or a CAR of a folder, encrypted before it is cut into blocks, so that names,
//! sizes and counts of what is inside tell nobody anything.
//!
//! ```text
//! leaf 0           header (64) ‖ segment 0 ‖ tag      1 MiB
//! leaf 1…          segment ‖ tag                      1 MiB each
//! last leaf        segment ‖ tag                      up to 1 MiB
//! header           "TALKSEAL" ‖ 1 ‖ leaf's bytes (u32 BE) ‖ nonce prefix (19) ‖ commitment (32)
//! plaintext        content ‖ zeros ‖ length of the content (u64 BE)
//! ```
//! Segments are XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) in the STREAM construction (Hoang, Reyhanitabar, Rogaway,
//! Vizár 2015): nonce = prefix ‖ counter (u32 BE) ‖ 1 for the last. So a part that is cut off, moved, doubled or of another
//! object does not open. Key and commitment are SHA-256 of a domain, the content key and the header before them: one
//! ciphertext opens under one key. The length is padded by Padmé (Nikitin et al. 2019): by at most 12 %.

use crate::limits::CHUNK_BYTES;
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use std::fmt;
use std::ops::Range;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a leaf: one block of a file of profile `unixfs-v1-2025`.
pub const LEAF_BYTES: usize = CHUNK_BYTES;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;
const TAG_BYTES: usize = 16;
const PREFIX_BYTES: usize = 19;
const LENGTH_BYTES: usize = 8;
const MAGIC: &[u8; 8] = b"TALKSEAL";
const VERSION: u8 = 1;
/// Bytes of the header before the commitment.
const NAMED_BYTES: usize = 32;
/// Bytes of a sealed object, for the counter has 32 bits: 4 PiB.
pub const SEALED_STREAM_BYTES_MAX: u64 = (LEAF_BYTES as u64) << 32;

/// The key of one version of one object: random, and never used for another. Erased when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct ContentKey(Zeroizing<[u8; 32]>);

impl ContentKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    /// The raw bytes, for wrapping.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    fn derive(&self, domain: &[u8], named: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(domain);
        hash.update(self.0.as_slice());
        hash.update(named);
        hash.finalize().into()
    }

    fn cipher(&self, named: &[u8]) -> XChaCha20Poly1305 {
        let mut key = self.derive(b"talkoo/stream/key/1", named);
        let cipher = XChaCha20Poly1305::new((&key).into());
        key.zeroize();
        cipher
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("content key")
    }
}

/// Why a sealed object does not open.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum StreamError {
    /// Another beginning.
    #[error("this is no sealed object")]
    NotSealed,
    /// A later program made it.
    #[error("sealed object of version {0}, this program knows version {VERSION}: update it")]
    Version(u8),
    /// The header commits to another key.
    #[error("the key is not that of this object")]
    WrongKey,
    /// No object has this length.
    #[error("no sealed object has {0} bytes: it was cut off")]
    Length(u64),
    /// A part does not open.
    #[error("part {0} of the sealed object is damaged, missing or of another object")]
    Damaged(u64),
}

/// Bytes of plaintext in the segment of a leaf.
fn room(index: u64) -> usize {
    LEAF_BYTES - TAG_BYTES - if index == 0 { HEADER_BYTES } else { 0 }
}

/// Where the segment of a leaf begins in the plaintext.
fn start(index: u64) -> u64 {
    if index == 0 { 0 } else { index * (LEAF_BYTES - TAG_BYTES) as u64 - HEADER_BYTES as u64 }
}

/// The leaf in which a byte of the plaintext lies.
fn leaf_of(at: u64) -> u64 {
    (at + HEADER_BYTES as u64) / (LEAF_BYTES - TAG_BYTES) as u64
}

/// Padmé: only as many leading bits of a length are told as the length of the length has bits.
fn padme(len: u64) -> u64 {
    let Some(exponent) = len.checked_ilog2().filter(|exponent| *exponent > 0) else { return len };
    let mask = (1_u64 << (exponent - exponent.ilog2() - 1)) - 1;
    (len + mask) & !mask
}

/// Bytes of plaintext with padding and length, for so much content. The length lies whole in the last segment.
fn padded(len: u64) -> u64 {
    let all = padme(len + LENGTH_BYTES as u64);
    let last = all - start(leaf_of(all - 1));
    all + (LENGTH_BYTES as u64).saturating_sub(last)
}

/// Bytes of the sealed object of so much content.
#[must_use]
pub fn sealed_bytes(len: u64) -> u64 {
    let all = padded(len);
    all + HEADER_BYTES as u64 + (leaf_of(all - 1) + 1) * TAG_BYTES as u64
}

fn nonce(prefix: &[u8], index: u64, is_last: bool) -> XNonce {
    let mut nonce = [0; 24];
    nonce[..PREFIX_BYTES].copy_from_slice(prefix);
    let counter = u32::try_from(index).expect("objects end before 4 PiB");
    nonce[PREFIX_BYTES..23].copy_from_slice(&counter.to_be_bytes());
    nonce[23] = u8::from(is_last);
    nonce.into()
}

/// Takes the content in any portions and hands out leaves. Holds one leaf.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    prefix: [u8; PREFIX_BYTES],
    leaf: Vec<u8>,
    index: u64,
    length: u64,
}

impl Sealer {
    /// Seals under a fresh key; `prefix` is random, too.
    #[must_use]
    pub fn new(key: &ContentKey, prefix: [u8; PREFIX_BYTES]) -> Self {
        let leaf_bytes = u32::try_from(LEAF_BYTES).expect("1 MiB").to_be_bytes();
        let mut leaf = Vec::with_capacity(LEAF_BYTES);
        leaf.extend_from_slice(MAGIC);
        leaf.push(VERSION);
        leaf.extend_from_slice(&leaf_bytes);
        leaf.extend_from_slice(&prefix);
        let commitment = key.derive(b"talkoo/stream/commit/1", &leaf);
        let cipher = key.cipher(&leaf);
        leaf.extend_from_slice(&commitment);
        Self { cipher, prefix, leaf, index: 0, length: 0 }
    }

    /// Appends content.
    ///
    /// # Errors
    /// Whatever `sink` answers.
    ///
    /// # Panics
    /// Beyond 4 PiB.
    pub fn push<E>(&mut self, plain: &[u8], sink: &mut impl FnMut(Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        self.length += plain.len() as u64;
        self.append(plain, sink)
    }

    fn append<E>(&mut self, mut plain: &[u8], sink: &mut impl FnMut(Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        while !plain.is_empty() {
            if self.leaf.len() == LEAF_BYTES - TAG_BYTES {
                self.seal(false, sink)?;
            }
            let (now, later) = plain.split_at(plain.len().min(LEAF_BYTES - TAG_BYTES - self.leaf.len()));
            self.leaf.extend_from_slice(now);
            plain = later;
        }
        Ok(())
    }

    /// Pads, and seals the last segment. Answers the content's length.
    ///
    /// # Errors
    /// Whatever `sink` answers.
    pub fn finish<E>(mut self, sink: &mut impl FnMut(Vec<u8>) -> Result<(), E>) -> Result<u64, E> {
        let length = self.length;
        let mut zeros = padded(length) - length - LENGTH_BYTES as u64;
        let some = vec![0; LEAF_BYTES.min(usize::try_from(zeros).unwrap_or(usize::MAX))];
        while zeros > 0 {
            let now = &some[..some.len().min(usize::try_from(zeros).unwrap_or(usize::MAX))];
            self.append(now, sink)?;
            zeros -= now.len() as u64;
        }
        self.append(&length.to_be_bytes(), sink)?;
        self.seal(true, sink)?;
        Ok(length)
    }

    fn seal<E>(&mut self, is_last: bool, sink: &mut impl FnMut(Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let begin = if self.index == 0 { HEADER_BYTES } else { 0 };
        let nonce = nonce(&self.prefix, self.index, is_last);
        let tag = self.cipher.encrypt_inout_detached(&nonce, b"", (&mut self.leaf[begin..]).into());
        self.leaf.extend_from_slice(&tag.expect("a segment is far below 256 GiB"));
        self.index += 1;
        sink(std::mem::replace(&mut self.leaf, Vec::with_capacity(LEAF_BYTES)))
    }
}

/// An object whose key, header and end were found right: its leaves can be read in any order.
pub struct Opened {
    cipher: XChaCha20Poly1305,
    prefix: [u8; PREFIX_BYTES],
    leaves: u64,
    length: u64,
}

impl Opened {
    /// Opens an object of `sealed` bytes: its first leaf, or the first 64 bytes of it, and its last.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn new(key: &ContentKey, sealed: u64, first: &[u8], last: &[u8]) -> Result<Self, StreamError> {
        let header = first.get(..HEADER_BYTES).ok_or(StreamError::NotSealed)?;
        let (named, commitment) = header.split_at(NAMED_BYTES);
        if !named.starts_with(MAGIC) {
            return Err(StreamError::NotSealed);
        }
        if named[8] != VERSION {
            return Err(StreamError::Version(named[8]));
        }
        if named[9..13] != u32::try_from(LEAF_BYTES).expect("1 MiB").to_be_bytes() {
            return Err(StreamError::NotSealed);
        }
        if commitment != key.derive(b"talkoo/stream/commit/1", named) {
            return Err(StreamError::WrongKey);
        }
        let prefix = named[13..].try_into().expect("19 bytes");
        let leaves = sealed.div_ceil(LEAF_BYTES as u64);
        let short = Err(StreamError::Length(sealed));
        if sealed > SEALED_STREAM_BYTES_MAX
            || leaves == 0
            || last.len() as u64 != sealed - (leaves - 1) * LEAF_BYTES as u64
        {
            return short;
        }
        let mut opened = Self { cipher: key.cipher(named), prefix, leaves, length: u64::MAX };
        let mut last = last.to_vec();
        let segment = opened.segment(leaves - 1, &mut last)?;
        let Some(length) = last[segment].last_chunk::<LENGTH_BYTES>() else { return short };
        opened.length = u64::from_be_bytes(*length);
        last.zeroize();
        let is_right = opened.length < SEALED_STREAM_BYTES_MAX && sealed_bytes(opened.length) == sealed;
        if is_right { Ok(opened) } else { short }
    }

    /// Bytes of the content.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// The leaf that has a byte of the content.
    #[must_use]
    pub fn leaf_of(&self, at: u64) -> u64 {
        leaf_of(at)
    }

    /// Opens a leaf in place: the content in it is at the range of `leaf` that is answered, which may be empty, and begins
    /// at the byte of the content that is answered.
    ///
    /// # Errors
    /// [`StreamError::Damaged`].
    pub fn open(&self, index: u64, leaf: &mut [u8]) -> Result<(u64, Range<usize>), StreamError> {
        let segment = self.segment(index, leaf)?;
        let begin = start(index);
        let content = usize::try_from(self.length.saturating_sub(begin)).unwrap_or(usize::MAX);
        Ok((begin, segment.start..segment.end.min(segment.start.saturating_add(content))))
    }

    fn segment(&self, index: u64, leaf: &mut [u8]) -> Result<Range<usize>, StreamError> {
        let damaged = StreamError::Damaged(index);
        let is_last = index + 1 == self.leaves;
        let begin = if index == 0 { HEADER_BYTES } else { 0 };
        let end = leaf.len().checked_sub(TAG_BYTES).filter(|end| *end >= begin && end - begin <= room(index));
        let end = end.filter(|_| index < self.leaves).ok_or(damaged)?;
        let (sealed, tag) = leaf.split_at_mut(end);
        let nonce = nonce(&self.prefix, index, is_last);
        let tag = Tag::try_from(&*tag).expect("16 bytes");
        let opened = self.cipher.decrypt_inout_detached(&nonce, b"", (&mut sealed[begin..]).into(), &tag);
        opened.map_err(|_| damaged)?;
        Ok(begin..end)
    }
}

#[cfg(test)]
mod tests;
