//! What can be known of a chain without running it: a header that its validators made final, and what is proved
//! against it.
//!
//! Trust begins with the validators of a genesis. A header names in its extra data who decides the next block, so a header
//! is final by the certificate of those whom its parent names. From one set to the next leads the header that first names it:
//! [`Trusted::hand_over`] follows these, one for each change, however many blocks lie between.

use crate::block::{self, Header};
use crate::contracts::SETTLEMENT_AT;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_rlp::Decodable;
use alloy_trie::proof::verify_proof;
use alloy_trie::{KECCAK_EMPTY, Nibbles, TrieAccount};
use talkoo_base::wire::CertificateError;
use talkoo_base::{Certificate, Digest, Network, Validator, validators_hash};
use thiserror::Error;

/// Where `X402BatchSettlement` keeps its channels: slot 2 of its storage, a mapping by channel id to
/// `(uint128 balance, uint128 totalClaimed)` in one word, the balance in its lower half.
const CHANNELS_SLOT: u64 = 2;

/// Why something is not proved.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LightError {
    /// The certificate is for another block.
    #[error("the certificate is for another block than the header")]
    OtherBlock,
    /// Not enough of those who may decide signed.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The header before is of another block than the parent.
    #[error("the header before is not the parent")]
    OtherParent,
    /// The header before names others than those who are known to decide.
    #[error("others decided this block: a change of validators was left out, forged, or told in another order")]
    OtherValidators,
    /// The set is not the one that the header names.
    #[error("the header names other validators than those that it is told with")]
    OtherSet,
    /// The change lies before one that is known.
    #[error("a change of validators at block {have} comes after that at block {last}")]
    Order {
        /// Where it is.
        have: u64,
        /// Where the last one is.
        last: u64,
    },
    /// The proof does not lead from the root to what is claimed.
    #[error("the proof of {0} does not hold")]
    Proof(&'static str),
}

/// A block that names other validators than its parent, with the proof that it is final.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The header before: it names who decided the block.
    pub parent: Header,
    /// The block's header.
    pub header: Header,
    /// Why it is final.
    pub certificate: Certificate,
    /// Who decides from the next block on.
    pub validators: Vec<Validator>,
}

/// Who decides, as far as the changes are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    validators: Vec<Validator>,
    /// The block that named them.
    since: u64,
}

impl Trusted {
    /// Begins with the validators of a genesis.
    #[must_use]
    pub fn new(validators: Vec<Validator>) -> Self {
        Self { validators, since: 0 }
    }

    /// Begins with a block that is known by other means, and the validators that it names.
    ///
    /// # Errors
    /// [`LightError::OtherSet`].
    pub fn at(header: &Header, validators: Vec<Validator>) -> Result<Self, LightError> {
        if header.extra_data[..] != validators_hash(&validators).0[..] {
            return Err(LightError::OtherSet);
        }
        Ok(Self { validators, since: header.number })
    }

    /// The block that named those who decide.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.since
    }

    /// Follows a change of validators.
    ///
    /// # Errors
    /// [`LightError`]; then nothing changed.
    pub fn hand_over(&mut self, handover: Handover, network: &Network) -> Result<(), LightError> {
        let Handover { parent, header, certificate, validators } = handover;
        if header.number <= self.since {
            return Err(LightError::Order { have: header.number, last: self.since });
        }
        self.check_final(&parent, &header, &certificate, network)?;
        if header.extra_data[..] != validators_hash(&validators).0[..] {
            return Err(LightError::OtherSet);
        }
        *self = Self { validators, since: header.number };
        Ok(())
    }

    /// Checks that those who decide made a block final. `parent` is the header before.
    ///
    /// # Errors
    /// [`LightError`].
    pub fn check_final(
        &self,
        parent: &Header,
        header: &Header,
        certificate: &Certificate,
        network: &Network,
    ) -> Result<(), LightError> {
        if certificate.height != header.number || certificate.block != Digest(block::hash(header).0) {
            return Err(LightError::OtherBlock);
        }
        if header.parent_hash != block::hash(parent) {
            return Err(LightError::OtherParent);
        }
        if parent.extra_data[..] != validators_hash(&self.validators).0[..] {
            return Err(LightError::OtherValidators);
        }
        Ok(certificate.verify(&self.validators, network)?)
    }
}

/// An account's storage root, from the nodes that lead to it from a state root.
///
/// # Errors
/// [`LightError::Proof`].
pub fn storage_root(state_root: B256, address: Address, nodes: &[Bytes]) -> Result<B256, LightError> {
    let wrong = LightError::Proof("the account");
    let record = leaf(nodes).and_then(|value| TrieAccount::decode(&mut value.as_slice()).ok()).ok_or(wrong.clone())?;
    if record.code_hash == KECCAK_EMPTY {
        return Err(wrong);
    }
    let key = Nibbles::unpack(keccak256(address));
    verify_proof(state_root, key, Some(alloy_rlp::encode(record)), nodes).map_err(|_| wrong)?;
    Ok(record.storage_root)
}

/// Checks that a slot has a value, from the nodes that lead to it from a storage root.
///
/// # Errors
/// [`LightError::Proof`].
pub fn check_slot(root: B256, slot: B256, value: U256, nodes: &[Bytes]) -> Result<(), LightError> {
    let leaf = (!value.is_zero()).then(|| alloy_rlp::encode(value));
    verify_proof(root, Nibbles::unpack(keccak256(slot)), leaf, nodes).map_err(|_| LightError::Proof("the slot"))
}

/// The value in the last node of a proof, if it is a leaf.
fn leaf(nodes: &[Bytes]) -> Option<Vec<u8>> {
    match alloy_trie::nodes::TrieNode::decode(&mut nodes.last()?.as_ref()).ok()? {
        alloy_trie::nodes::TrieNode::Leaf(leaf) => Some(leaf.value),
        _ => None,
    }
}

/// The slot in which the settlement keeps a channel.
#[must_use]
pub fn channel_slot(channel: &Digest) -> B256 {
    keccak256([channel.0, U256::from(CHANNELS_SLOT).to_be_bytes()].concat())
}

/// What the settlement's word of a channel says: what it holds in all, and what was claimed of it.
#[must_use]
pub fn channel_of(word: U256) -> (u128, u128) {
    let low: U256 = word & U256::from(u128::MAX);
    let high: U256 = word >> 128;
    (low.to(), high.to())
}

/// The contract whose storage holds the channels.
pub const CHANNELS_AT: Address = SETTLEMENT_AT;
