//! Records as they are signed, stored and sent.
//!
//! Stored and sent: canonical DAG-CBOR (<https://ipld.io/specs/codecs/dag-cbor/spec/>), at most
//! [`RECORD_BYTES_MAX`] bytes; a record's id is the CID (v1, dag-cbor, sha2-256) of those bytes.
//! Signed: the EIP-712 digest (`crate::eip712`). Golden bytes stand in `tests.rs`; changing them
//! is a change of the protocol.

mod atoms;
mod bundle;
mod card;
mod params;
mod preferences;
mod receipt;
mod request;
mod roots;
mod signed;
mod vote;
mod voucher;

pub use bundle::Bundle;
pub use card::{Card, Delegation, ModelOffer};
pub use preferences::{PREFERRED_MAX, Preferences, Sort};
pub use receipt::{Receipt, Tier, Unit};
pub use request::{AuditPolicy, Kind, Limits, Request};
pub use roots::VectorRoots;
pub use signed::{Sealed, SignError, Signed, Typed};
pub use vote::{
    Certificate, CertificateError, Proposal, VALIDATORS_MAX, Validator, ValidatorKey, Vote, VoteKind, validators_bytes,
    validators_hash,
};
pub use voucher::{ChannelConfig, Voucher};

use crate::limits::RECORD_BYTES_MAX;
use cid::Cid;
use multihash::Multihash;
use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// Version of every record written by this program.
pub const VERSION: u16 = 1;
/// Multicodec of DAG-CBOR.
const DAG_CBOR: u64 = 0x71;
/// Multicodec of SHA2-256.
const SHA2_256: u64 = 0x12;

/// Why bytes are not a record.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Longer than any record may be.
    #[error("record of {have} bytes is too large (at most {RECORD_BYTES_MAX})")]
    TooLarge {
        /// Bytes given.
        have: usize,
    },
    /// Not DAG-CBOR of this record.
    #[error("not a valid record: {0}")]
    Malformed(String),
    /// Another spelling of the same data: every record has exactly one.
    #[error("record is not in canonical form")]
    NotCanonical,
    /// Written by a newer or unknown version.
    #[error("record has version {0}, this program knows version {VERSION}; update it")]
    UnsupportedVersion(u16),
    /// A field breaks a rule.
    #[error("{0}")]
    Rule(&'static str),
}

/// Rules beyond the shape of a record: versions, limits, ranges.
pub trait Check {
    /// Checks them.
    ///
    /// # Errors
    /// The first rule that is broken.
    fn check(&self) -> Result<(), DecodeError>;
}

/// Canonical DAG-CBOR of a record.
#[must_use]
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(record).expect("records hold no floats, no maps with other keys, no unsized sequences")
}

/// Reads a record; refuses anything but its one canonical spelling.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode<T: Serialize + DeserializeOwned + Check>(bytes: &[u8]) -> Result<T, DecodeError> {
    let record: T = decode_shape(bytes)?;
    record.check()?;
    Ok(record)
}

/// Reads any canonical DAG-CBOR of a known shape that has no rules of its own.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_shape<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(DecodeError::TooLarge { have: bytes.len() });
    }
    let record: T = serde_ipld_dagcbor::from_slice(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
    if encode(&record) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(record)
}

/// The CID of DAG-CBOR bytes.
#[must_use]
pub fn cid_of(bytes: &[u8]) -> Cid {
    let digest = crate::sha256(&[bytes]);
    let hash = Multihash::wrap(SHA2_256, &digest.0).expect("32 bytes fit a multihash");
    Cid::new_v1(DAG_CBOR, hash)
}

fn check_version(version: u16) -> Result<(), DecodeError> {
    if version == VERSION { Ok(()) } else { Err(DecodeError::UnsupportedVersion(version)) }
}
