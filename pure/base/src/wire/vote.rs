//! Agreement on blocks: what a validator signs, and the certificate that a block is final.
//!
//! A vote is EIP-712 like everything that is signed, so `ecrecover` in any contract, and any light client,
//! can check a certificate, and two votes that contradict each other are evidence anywhere.

use super::{Check, DecodeError, Typed};
use crate::eip712::StructHash;
use crate::{Address, Digest, KeyError, Network, Signature, recover};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;

/// Validators that one chain may have.
pub const VALIDATORS_MAX: usize = 128;

/// Which of the two votes of a round it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum VoteKind {
    /// First: the block is valid.
    Prevote,
    /// Second: more than two thirds found it valid.
    Precommit,
}

/// What a validator signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// Which.
    pub kind: VoteKind,
    /// Number of the block.
    pub height: u64,
    /// Attempt at this height, from 0.
    pub round: u32,
    /// Hash of the block's header; zero for none.
    pub block: Digest,
}

impl Check for Vote {
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Typed for Vote {
    fn struct_hash(&self) -> Digest {
        let kind = match self.kind {
            VoteKind::Prevote => 1,
            VoteKind::Precommit => 2,
        };
        StructHash::new("Vote(uint8 voteType,uint64 height,int64 round,bytes32 blockHash)")
            .uint(kind)
            .uint(self.height.into())
            .uint(self.round.into())
            .word(&self.block)
            .finish()
    }
}

/// What the proposer of a round signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Number of the block.
    pub height: u64,
    /// Attempt at this height, from 0.
    pub round: u32,
    /// The earlier round whose prevotes stand behind the block, if it is proposed again.
    pub valid_round: Option<u32>,
    /// Hash of the block's header.
    pub block: Digest,
    /// keccak256 of the block's bytes as they travel: nobody on the way puts others under the signature.
    pub body: Digest,
}

impl Check for Proposal {
    fn check(&self) -> Result<(), DecodeError> {
        if self.block == Digest::ZERO {
            return Err(DecodeError::Rule("a proposal names a block: zero is the vote for none"));
        }
        Ok(())
    }
}

impl Typed for Proposal {
    fn struct_hash(&self) -> Digest {
        StructHash::new("Proposal(uint64 height,int64 round,int64 validRound,bytes32 blockHash,bytes32 bodyHash)")
            .uint(self.height.into())
            .uint(self.round.into())
            .int(self.valid_round.map_or(-1, i128::from))
            .word(&self.block)
            .word(&self.body)
            .finish()
    }
}

/// What a validator's key signs to vote for a bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidatorKey {
    /// Whose the bond is.
    pub operator: Address,
    /// The address of the key.
    pub key: Address,
}

impl Check for ValidatorKey {
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Typed for ValidatorKey {
    fn struct_hash(&self) -> Digest {
        StructHash::new("ValidatorKey(address operator,address key)")
            .address(&self.operator)
            .address(&self.key)
            .finish()
    }
}

/// A validator: whose vote counts, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Validator {
    /// The address of its key.
    pub address: Address,
    /// Its voting power.
    pub power: u64,
}

/// Precommits of more than two thirds of the power for one block: it is final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Number of the block.
    pub height: u64,
    /// The round in which it was decided.
    pub round: u32,
    /// Hash of the block's header.
    pub block: Digest,
    /// Signatures of precommits.
    pub signatures: Vec<Signature>,
}

/// Why a certificate proves nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CertificateError {
    /// A signature is malformed.
    #[error(transparent)]
    Signature(#[from] KeyError),
    /// A signer is no validator of this height.
    #[error("{0} signed but is no validator of this height")]
    Stranger(Address),
    /// One validator's signature stands there twice.
    #[error("{0} signed twice")]
    Twice(Address),
    /// Not more than two thirds of the power.
    #[error("validators with {have} of {total} voting power signed: more than two thirds are needed")]
    Power {
        /// Who signed has so much.
        have: u64,
        /// All have so much.
        total: u64,
    },
}

impl Certificate {
    /// Checks that more than two thirds of the validators' power signed, nobody twice, and no stranger.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(&self, validators: &[Validator], network: &Network) -> Result<(), CertificateError> {
        let Self { height, round, block, .. } = *self;
        let digest = Vote { kind: VoteKind::Precommit, height, round, block }.digest(network);
        let (mut signed, mut have) = (BTreeSet::new(), 0u64);
        for signature in &self.signatures {
            let signer = recover(&digest, signature)?;
            let validator = validators.iter().find(|v| v.address == signer);
            let validator = validator.ok_or(CertificateError::Stranger(signer))?;
            if !signed.insert(signer) {
                return Err(CertificateError::Twice(signer));
            }
            have = have.saturating_add(validator.power);
        }
        let total = validators.iter().fold(0u64, |sum, v| sum.saturating_add(v.power));
        match u128::from(have) * 3 > u128::from(total) * 2 {
            true => Ok(()),
            false => Err(CertificateError::Power { have, total }),
        }
    }
}

impl Check for Certificate {
    fn check(&self) -> Result<(), DecodeError> {
        if self.signatures.len() > VALIDATORS_MAX {
            return Err(DecodeError::Rule("a certificate has at most 128 signatures"));
        }
        Ok(())
    }
}

/// A set of validators as bytes: address ‖ power (u64, big endian) of each, in the order of their addresses.
#[must_use]
pub fn validators_bytes(validators: &[Validator]) -> Vec<u8> {
    let mut sorted = validators.to_vec();
    sorted.sort_unstable();
    sorted.iter().flat_map(|v| v.address.0.into_iter().chain(v.power.to_be_bytes())).collect()
}

/// The hash of a set of validators, which a header's extra data holds: keccak256 of [`validators_bytes`].
#[must_use]
pub fn validators_hash(validators: &[Validator]) -> Digest {
    crate::keccak256(&[&validators_bytes(validators)])
}
