//! A block: bytes together with the CID they hash to.

use crate::limits::BLOCK_BYTES_MAX;
use crate::pb;
use bytes::Bytes;
use cid::{Cid, Version};
use multihash::Multihash;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Multicodec of raw bytes: a leaf without structure.
pub const RAW: u64 = 0x55;
/// Multicodec of DAG-PB: a node of a UnixFS file or directory.
pub const DAG_PB: u64 = 0x70;
/// Multicodec of DAG-CBOR.
pub const DAG_CBOR: u64 = 0x71;
/// Multicodec of DAG-JSON.
pub const DAG_JSON: u64 = 0x0129;
/// Multihash code of SHA-256, the only hash that we accept.
pub const SHA2_256: u64 = 0x12;
/// Multihash code of the identity: the "digest" is the content itself.
const IDENTITY: u64 = 0x00;
const DIGEST_BYTES: u64 = 32;

/// Why bytes and a CID do not make a block.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BlockError {
    /// The bytes hash to something else.
    #[error("the bytes do not hash to {cid}: fetch the block from another peer")]
    HashMismatch {
        /// The CID that was claimed.
        cid: Cid,
    },
    /// A multihash other than SHA-256.
    #[error("unsupported hash function 0x{code:x}: only sha2-256 (0x12) blocks are accepted")]
    UnsupportedHash {
        /// Its multicodec.
        code: u64,
    },
    /// More bytes than a block may have.
    #[error("block of {bytes} bytes is over the limit of {BLOCK_BYTES_MAX}: split it into a DAG")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A CID prefix that does not parse, or of an unknown CID version.
    #[error("malformed cid prefix: version, codec, hash and length are needed")]
    BadPrefix,
}

/// Who may be given a block (`decisions.md` §9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// Served to anyone.
    Public,
    /// Served to those whom its owner granted it.
    Granted,
    /// Served to nobody.
    #[default]
    Private,
}

/// Everything of a CID except the digest: what a bitswap 1.2 block carries on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidPrefix {
    /// CID version 0 or 1.
    pub version: Version,
    /// Multicodec of the content.
    pub codec: u64,
    /// Multicodec of the hash.
    pub hash: u64,
    /// Length of the digest in bytes.
    pub digest_bytes: u64,
}

impl CidPrefix {
    /// The prefix of `cid`.
    #[must_use]
    pub fn of(cid: &Cid) -> Self {
        Self {
            version: cid.version(),
            codec: cid.codec(),
            hash: cid.hash().code(),
            digest_bytes: u64::from(cid.hash().size()),
        }
    }

    /// Four varints: version, codec, hash, digest length (bitswap 1.1 specification, "prefix").
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(6);
        for word in [u64::from(self.version), self.codec, self.hash, self.digest_bytes] {
            pb::write_varint(word, &mut out);
        }
        out
    }

    /// Reads four varints and nothing after them.
    ///
    /// # Errors
    /// [`BlockError::BadPrefix`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlockError> {
        let mut at = 0;
        let mut word = || pb::read_varint(bytes, &mut at).ok_or(BlockError::BadPrefix);
        let (version, codec, hash, digest_bytes) = (word()?, word()?, word()?, word()?);
        if at != bytes.len() {
            return Err(BlockError::BadPrefix);
        }
        let version = Version::try_from(version).map_err(|_| BlockError::BadPrefix)?;
        Ok(Self { version, codec, hash, digest_bytes })
    }
}

/// Bytes that hash to their CID. Cloning is cheap: the bytes are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    bytes: Bytes,
}

impl Block {
    /// Names `bytes` as a CIDv1 with SHA-256 and the given content codec.
    ///
    /// # Errors
    /// [`BlockError::TooLarge`].
    pub fn of(codec: u64, bytes: Bytes) -> Result<Self, BlockError> {
        let digest = digest_of(&bytes)?;
        Ok(Self { cid: Cid::new_v1(codec, digest), bytes })
    }

    /// The block that an identity CID is by itself; `None` for any other CID. Such blocks are neither
    /// stored nor sent. Our CIDs hold at most 64 bytes of digest, so longer ones do not parse.
    #[must_use]
    pub fn inlined(cid: &Cid) -> Option<Self> {
        let is_inlined = cid.hash().code() == IDENTITY;
        is_inlined.then(|| Self { cid: *cid, bytes: Bytes::copy_from_slice(cid.hash().digest()) })
    }

    /// Checks that `bytes` hash to `cid`.
    ///
    /// # Errors
    /// Another hash, a hash function other than SHA-256, too many bytes.
    pub fn verified(cid: Cid, bytes: Bytes) -> Result<Self, BlockError> {
        check_hash(cid.hash().code(), u64::from(cid.hash().size()))?;
        if digest_of(&bytes)? != *cid.hash() {
            return Err(BlockError::HashMismatch { cid });
        }
        Ok(Self { cid, bytes })
    }

    /// Names received bytes by hashing them as their prefix says.
    ///
    /// # Errors
    /// A hash function other than SHA-256, too many bytes, a CIDv0 that is not DAG-PB.
    pub fn received(prefix: CidPrefix, bytes: Bytes) -> Result<Self, BlockError> {
        check_hash(prefix.hash, prefix.digest_bytes)?;
        let digest = digest_of(&bytes)?;
        let cid = Cid::new(prefix.version, prefix.codec, digest).map_err(|_| BlockError::BadPrefix)?;
        Ok(Self { cid, bytes })
    }

    /// Its name.
    #[must_use]
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// Its content.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

fn check_hash(code: u64, digest_bytes: u64) -> Result<(), BlockError> {
    // A truncated digest is a weaker name for the same bytes: refused like another function.
    if code == SHA2_256 && digest_bytes == DIGEST_BYTES {
        return Ok(());
    }
    Err(BlockError::UnsupportedHash { code })
}

fn digest_of(bytes: &[u8]) -> Result<Multihash<64>, BlockError> {
    if bytes.len() > BLOCK_BYTES_MAX {
        return Err(BlockError::TooLarge { bytes: bytes.len() });
    }
    Ok(Multihash::wrap(SHA2_256, &Sha256::digest(bytes)).expect("32 bytes fit into a multihash of 64"))
}
