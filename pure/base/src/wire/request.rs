//! `Request`: the client's signed order for one lease.

use super::atoms::numbered;
use super::{Check, DecodeError, Typed, check_version};
use crate::eip712::StructHash;
use crate::limits::{PARAMS_BYTES_MAX, REQUEST_INPUTS_MAX};
use crate::{Address, CHUNK_TOKENS, Digest, GenerateParams, Price, Unix};
use serde::{Deserialize, Serialize};

/// What kind of work a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Generate tokens. Inputs: prompt root, trace id; an audit adds the root of the tokens to re-run.
    Generate = 0,
    /// Embed a text: the output is the vector, whole as one chunk, each number an i32 in Q30 written as u32. Only input is
    /// priced. Inputs as of `Generate`.
    Embed = 1,
    /// Layers i..j of a pipeline.
    Stage = 2,
    /// A training step.
    Train = 3,
    /// A WASM step over data.
    Map = 4,
    /// A render tile.
    Render = 5,
    /// Keep blocks.
    Store = 6,
}

impl Kind {
    /// Reads the number used in records.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        use Kind::{Embed, Generate, Map, Render, Stage, Store, Train};
        [Generate, Embed, Stage, Train, Map, Render, Store].into_iter().find(|k| *k as u8 == number)
    }

    /// Output units of a full chunk, where so many are ordered.
    #[must_use]
    pub fn chunk_units(self, output_units: u64) -> usize {
        match self {
            Self::Embed => usize::try_from(output_units).unwrap_or(usize::MAX).max(1),
            _ => CHUNK_TOKENS as usize,
        }
    }

    /// The `params` of an order for a vector of so many numbers: nothing else may be asked of it.
    #[must_use]
    pub fn params_of_embed(dimensions: u32) -> GenerateParams {
        GenerateParams { max_tokens: dimensions, ..GenerateParams::default() }
    }

    /// What a worker's price comes to for this kind of work.
    #[must_use]
    pub fn price(self, price: Price) -> Price {
        if self == Self::Embed { Price { output: 0, ..price } } else { price }
    }
}

/// Who may re-run the work and so read the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum AuditPolicy {
    /// Nobody: the answer is re-runnable but nobody re-runs it.
    None = 0,
    /// Only the client itself.
    Own = 1,
    /// Nodes that the client names.
    Named = 2,
    /// Any node that is drawn.
    Drawn = 3,
}

impl AuditPolicy {
    /// Reads the number used in records.
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Self> {
        [Self::None, Self::Own, Self::Named, Self::Drawn].into_iter().find(|p| *p as u8 == number)
    }
}

/// Upper bounds of one request; also what its price is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Input units: prompt tokens, exactly as many as the prompt root has leaves.
    pub input_units: u64,
    /// Output units at most.
    pub output_units: u64,
    /// Memory for state (KV cache) at most, in bytes.
    pub state_bytes: u64,
}

/// The client's order for one lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Version of the record: 1.
    pub version: u16,
    /// What kind of work.
    pub kind: Kind,
    /// The job this lease belongs to.
    pub job: Digest,
    /// Root of the model or code.
    pub program: Digest,
    /// What it is fed, as roots; see [`Kind`].
    pub inputs: Vec<Digest>,
    /// Parameters, canonical DAG-CBOR of the kind's own record.
    #[serde(with = "serde_bytes")]
    pub params: Vec<u8>,
    /// Upper bounds.
    pub limits: Limits,
    /// Seed of the sampler; does not depend on the worker.
    pub seed: u64,
    /// SHA-256 of the client's secret for the audit coin.
    pub audit_commit: Digest,
    /// Who may re-run.
    pub audit: AuditPolicy,
    /// Price agreed.
    pub price: Price,
    /// After this the client owes nothing more.
    pub deadline: Unix,
    /// Address of the worker's node.
    pub worker: Address,
    /// Channel that pays.
    pub channel: Digest,
}

impl Check for Request {
    fn check(&self) -> Result<(), DecodeError> {
        check_version(self.version)?;
        if self.inputs.len() > REQUEST_INPUTS_MAX {
            return Err(DecodeError::Rule("a request has at most 64 inputs"));
        }
        if self.params.len() > PARAMS_BYTES_MAX {
            return Err(DecodeError::Rule("a request's params have at most 65,536 bytes"));
        }
        Ok(())
    }
}

impl Typed for Request {
    fn struct_hash(&self) -> Digest {
        const LIMITS: &str = "Limits(uint64 inputUnits,uint64 outputUnits,uint64 stateBytes)";
        const PRICE: &str = "Price(uint128 input,uint128 output)";
        const REQUEST: &str = "Request(uint16 version,uint8 kind,bytes32 job,bytes32 program,bytes32[] inputs,\
            bytes params,Limits limits,uint64 seed,bytes32 auditCommit,uint8 audit,Price price,uint64 deadline,\
            address worker,bytes32 channelId)";
        let limits = StructHash::new(LIMITS)
            .uint(self.limits.input_units.into())
            .uint(self.limits.output_units.into())
            .uint(self.limits.state_bytes.into())
            .finish();
        let price = StructHash::new(PRICE).uint(self.price.input).uint(self.price.output).finish();
        StructHash::new(&[REQUEST, LIMITS, PRICE].concat())
            .uint(self.version.into())
            .uint((self.kind as u8).into())
            .word(&self.job)
            .word(&self.program)
            .words(&self.inputs)
            .bytes(&self.params)
            .word(&limits)
            .uint(self.seed.into())
            .word(&self.audit_commit)
            .uint((self.audit as u8).into())
            .word(&price)
            .uint(self.deadline.0.into())
            .address(&self.worker)
            .word(&self.channel)
            .finish()
    }
}

numbered!(Kind);
numbered!(AuditPolicy);
