//! Blocks, transactions and receipts: Ethereum's own, byte for byte.

use crate::limits::{BLOCK_BYTES_MAX, TX_BYTES_MAX, TX_GAS_MAX};
use alloy_consensus::transaction::{Recovered, SignerRecoverable, Transaction as _};
use alloy_consensus::{EthereumTxEnvelope, TxEip4844};
use alloy_eips::eip2718::{Decodable2718, Encodable2718};
use alloy_primitives::B256;
use alloy_rlp::Decodable;
use thiserror::Error;

pub use alloy_consensus::{BlockBody, Header, ReceiptEnvelope as Receipt};

/// A signed transaction: legacy, EIP-2930, EIP-1559 or EIP-7702. Blobs have no place here.
pub type Transaction = EthereumTxEnvelope<TxEip4844>;
/// A transaction with its sender.
pub type SignedBy = Recovered<Transaction>;
/// A block of them.
pub type Block = alloy_consensus::Block<Transaction>;

/// Why bytes are no transaction of this chain, whatever the state is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TransactionError {
    /// Longer than anybody relays.
    #[error("oversized data: {0} bytes, at most {TX_BYTES_MAX}")]
    Oversized(usize),
    /// Not the RLP of a transaction, or more than that.
    #[error("rlp: {0}")]
    Malformed(String),
    /// A blob transaction.
    #[error("transaction type not supported: this chain has no blobs")]
    Blob,
    /// Signed for another chain, or for any.
    #[error("invalid chain id for signer: have {have} want {want}")]
    ChainId {
        /// What it was signed for; 0 for none.
        have: u64,
        /// Our chain.
        want: u64,
    },
    /// No key made this signature, or it is the malleable twin of one.
    #[error("invalid sender: the signature is not valid")]
    Signature,
    /// More gas than a transaction may have.
    #[error("exceeds maximum per-transaction gas limit: cap {TX_GAS_MAX}, have {0}")]
    Gas(u64),
}

/// Reads a transaction (EIP-2718) and finds its sender.
///
/// # Errors
/// [`TransactionError`]: nothing of the state is looked at.
pub fn decode_transaction(bytes: &[u8], chain_id: u64) -> Result<SignedBy, TransactionError> {
    if bytes.len() > TX_BYTES_MAX {
        return Err(TransactionError::Oversized(bytes.len()));
    }
    if bytes.first() == Some(&3) {
        return Err(TransactionError::Blob);
    }
    let transaction = Transaction::decode_2718_exact(bytes).map_err(|e| TransactionError::Malformed(e.to_string()))?;
    sender(transaction, chain_id)
}

/// The bytes of a transaction (EIP-2718).
#[must_use]
pub fn encode_transaction(transaction: &Transaction) -> Vec<u8> {
    transaction.encoded_2718()
}

/// Finds the sender of a transaction, if it may stand in a block of ours at all.
pub(crate) fn sender(transaction: Transaction, chain_id: u64) -> Result<SignedBy, TransactionError> {
    if transaction.is_eip4844() {
        return Err(TransactionError::Blob);
    }
    // A legacy transaction without chain id could be replayed from any chain.
    let have = transaction.chain_id().unwrap_or(0);
    if have != chain_id {
        return Err(TransactionError::ChainId { have, want: chain_id });
    }
    if transaction.gas_limit() > TX_GAS_MAX {
        return Err(TransactionError::Gas(transaction.gas_limit()));
    }
    let signer = transaction.recover_signer().map_err(|_| TransactionError::Signature)?;
    Ok(Recovered::new_unchecked(transaction, signer))
}

/// The RLP of a block.
#[must_use]
pub fn encode_block(block: &Block) -> Vec<u8> {
    alloy_rlp::encode(block)
}

/// Reads the RLP of a block.
///
/// # Errors
/// A line why the bytes are none, or too many.
pub fn decode_block(mut bytes: &[u8]) -> Result<Block, String> {
    if bytes.len() > BLOCK_BYTES_MAX {
        return Err(format!("a block of {} bytes, at most {BLOCK_BYTES_MAX}", bytes.len()));
    }
    let block = Block::decode(&mut bytes).map_err(|e| e.to_string())?;
    if !bytes.is_empty() {
        return Err("bytes after the block".into());
    }
    Ok(block)
}

/// The hash of a header: the block's name.
#[must_use]
pub fn hash(header: &Header) -> B256 {
    header.hash_slow()
}
