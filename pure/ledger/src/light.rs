//! What can be known of a chain without running it: a header that its validators made final, and what is proved
//! against it.
//!
//! Trust begins with the validators of a genesis. A header names in its extra data who decides the next block, so as
//! long as that stays the same set, any header with a certificate of theirs is final; a change has to be followed
//! header by header, and nothing here changes the set yet.

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
    /// The header says that others decide the next block.
    #[error(
        "the header names other validators than the genesis: their change has to be followed, which this version can't"
    )]
    OtherValidators,
    /// The proof does not lead from the root to what is claimed.
    #[error("the proof of {0} does not hold")]
    Proof(&'static str),
}

/// Checks that the validators of a genesis made a block final.
///
/// # Errors
/// [`LightError`].
pub fn check_final(
    header: &Header,
    certificate: &Certificate,
    validators: &[Validator],
    network: &Network,
) -> Result<(), LightError> {
    if certificate.height != header.number || certificate.block != Digest(block::hash(header).0) {
        return Err(LightError::OtherBlock);
    }
    if header.extra_data[..] != validators_hash(validators).0[..] {
        return Err(LightError::OtherValidators);
    }
    Ok(certificate.verify(validators, network)?)
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
