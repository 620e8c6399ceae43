//! `Receipt`: the worker's signed statement of cumulative work on one request.

use super::atoms::numbered;
use super::{Check, DecodeError, Typed, check_version, cid_of, encode};
use crate::eip712::StructHash;
use crate::{Address, Amount, Digest, Finish};
use cid::Cid;
use serde::{Deserialize, Serialize};

/// How the work can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Tier {
    /// One honest answer, bit for bit.
    Exact = 0,
    /// Floating point: answers of a foreign engine, not checked by recomputation.
    Float = 1,
    /// Several independent runs that agree.
    Quorum = 2,
}

impl Tier {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Float => "float",
            Self::Quorum => "quorum",
        }
    }

    /// Reads the number used in records.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::Exact, Self::Float, Self::Quorum].into_iter().find(|t| *t as u8 == number)
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Unit {
    /// Tokens.
    Token = 0,
    /// Bytes kept or moved.
    Byte = 1,
    /// Fuel of a sandbox.
    Fuel = 2,
}

impl Unit {
    /// Reads the number used in records.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::Token, Self::Byte, Self::Fuel].into_iter().find(|u| *u as u8 == number)
    }
}

/// The worker's statement after a chunk. Each replaces the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Version of the record: 1.
    pub version: u16,
    /// How it can be checked.
    pub tier: Tier,
    /// EIP-712 digest of the request.
    pub request: Digest,
    /// What `units` counts.
    pub unit: Unit,
    /// Output units so far; for [`Finish::Diverged`] the index of the first false token.
    pub units: u64,
    /// Salted Merkle root over the output so far.
    pub output_root: Digest,
    /// Merkle root over the chunk digests so far.
    pub trace_root: Digest,
    /// Hash of the engine's build.
    pub build: Digest,
    /// Owner of the node.
    pub operator: Address,
    /// The node that ran and signs.
    pub node: Address,
    /// Channel that pays.
    pub channel: Digest,
    /// Owed on this channel in all, this request's work so far included.
    pub cumulative: Amount,
    /// Whether and why the output ended.
    pub finish: Finish,
}

impl Receipt {
    /// The receipt's id: the CID of its canonical bytes.
    #[must_use]
    pub fn id(&self) -> Cid {
        cid_of(&encode(self))
    }
}

impl Check for Receipt {
    fn check(&self) -> Result<(), DecodeError> {
        check_version(self.version)
    }
}

impl Typed for Receipt {
    fn struct_hash(&self) -> Digest {
        StructHash::new(
            "Receipt(uint16 version,uint8 tier,bytes32 requestHash,uint8 unit,uint64 units,bytes32 outputRoot,\
             bytes32 traceRoot,bytes32 buildHash,address operator,address node,bytes32 channelId,uint128 cumulative,\
             uint8 finish)",
        )
        .uint(self.version.into())
        .uint((self.tier as u8).into())
        .word(&self.request)
        .uint((self.unit as u8).into())
        .uint(self.units.into())
        .word(&self.output_root)
        .word(&self.trace_root)
        .word(&self.build)
        .address(&self.operator)
        .address(&self.node)
        .word(&self.channel)
        .uint(self.cumulative.0)
        .uint((self.finish as u8).into())
        .finish()
    }
}

numbered!(Tier);
numbered!(Unit);
