//! `Delegation` (an owner empowers a node key) and `Card` (what a worker offers).

use super::{Check, DecodeError, Typed, check_version, encode};
use crate::eip712::StructHash;
use crate::limits::CARD_MODELS_MAX;
use crate::{Address, Digest, NodeId, Price, Tier, Unix};
use serde::{Deserialize, Serialize};

/// The owner key lets a node key act for it until `expiry`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Holder of bond and earnings.
    pub owner: Address,
    /// The empowered node.
    pub node: Address,
    /// Bit set of roles: 1 work, 2 pay, 4 verify.
    pub roles: u8,
    /// When it ends.
    pub expiry: Unix,
}

impl Delegation {
    /// Every role.
    pub const ALL_ROLES: u8 = 7;
}

impl Check for Delegation {
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Typed for Delegation {
    fn struct_hash(&self) -> Digest {
        StructHash::new("Delegation(address owner,address nodeKey,uint8 roles,uint64 expiry)")
            .address(&self.owner)
            .address(&self.node)
            .uint(self.roles.into())
            .uint(self.expiry.0.into())
            .finish()
    }
}

/// One model that a worker can run now, with the speed its owner's bench measured.
/// Clients use the speed only until they have measured it themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelOffer {
    /// Root of the model; of the float tier its name, see [`crate::float_program`].
    pub program: Digest,
    /// How the answers can be checked: exact or float.
    pub tier: Tier,
    /// Longest context, in tokens.
    pub context: u32,
    /// Prompt tokens a second, in thousandths.
    pub prefill_mtps: u64,
    /// Output tokens a second of one stream, in thousandths.
    pub decode_mtps: u64,
}

/// A worker's signed, expiring statement of what it offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Version of the record: 1.
    pub version: u16,
    /// The node.
    pub node: NodeId,
    /// Its owner.
    pub operator: Address,
    /// Hash of the engine's build.
    pub build: Digest,
    /// Models it can run now.
    pub models: Vec<ModelOffer>,
    /// Streams it runs at once.
    pub slots: u32,
    /// Least price it takes.
    pub price: Price,
    /// When the card ends.
    pub expiry: Unix,
}

impl Check for Card {
    fn check(&self) -> Result<(), DecodeError> {
        check_version(self.version)?;
        if self.models.len() > CARD_MODELS_MAX {
            return Err(DecodeError::Rule("a card has at most 64 models"));
        }
        if self.models.iter().any(|offer| offer.tier == Tier::Quorum) {
            return Err(DecodeError::Rule("a card offers the exact or the float tier; a quorum takes several workers"));
        }
        Ok(())
    }
}

impl Typed for Card {
    fn struct_hash(&self) -> Digest {
        // A contract never opens a card's models: they are signed as one byte string.
        StructHash::new(
            "Card(uint16 version,bytes node,address operator,bytes32 buildHash,bytes models,uint32 slots,\
             uint128 inputPrice,uint128 outputPrice,uint64 expiry)",
        )
        .uint(self.version.into())
        .bytes(self.node.as_bytes())
        .address(&self.operator)
        .word(&self.build)
        .bytes(&encode(&self.models))
        .uint(self.slots.into())
        .uint(self.price.input)
        .uint(self.price.output)
        .uint(self.expiry.0.into())
        .finish()
    }
}
