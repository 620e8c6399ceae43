//! The ledger: Ethereum's state machine, exactly as wallets, explorers and other clients know it.
//!
//! Blocks, transactions, receipts and roots are Ethereum's own (rules of [`SPEC`], [`revm`] executes), so anything that
//! reads an Ethereum chain reads ours. [`propose`] makes a block, [`apply`] checks one; both are functions of the
//! parent's state, which is a Merkle-Patricia trie over whatever [`KvRead`] gives. [`Reader`] answers questions,
//! with proofs if they are asked for. Which block is final is decided elsewhere.
//!
//! What differs from mainnet: blocks may share a second, prevrandao is zero, no blobs, withdrawals, or system
//! contracts of the beacon chain.

pub mod bindings;
mod block;
mod call;
pub mod contracts;
mod deployment;
mod epoch;
mod execute;
mod genesis;
mod kv;
pub mod light;
mod limits;
mod mempool;
mod state;
pub mod store;
mod trace;
mod trie;

pub use block::{
    Block, BlockBody, Header, Receipt, SignedBy, Transaction, TransactionError, decode_block, decode_transaction,
    encode_block, encode_transaction, hash,
};
pub use call::{Account, Call, CallError, Outcome, Override, Proof, Reader};
pub use deployment::{Deployment, Existing};
pub use execute::{Ancestors, ApplyError, Executed, Head, InvalidBlock, SPEC, Seal, apply, next_base_fee, propose};
pub use genesis::{Code, Contract, Genesis, GenesisError};
pub use kv::{KvError, KvRead, Memory, Writes};
pub use limits::{BASE_FEE_MIN, BLOCK_BYTES_MAX, BLOCK_GAS, CALL_GAS_MAX, TX_BYTES_MAX, TX_GAS_MAX};
pub use mempool::{Mempool, PoolError, Standing};
pub use revm::context::result::InvalidTransaction;
pub use state::{Reads, State};
pub use trace::{Frame, Step, StepParts, Trace, TraceError, Watch};

// What tests and examples share names it as they do.
#[cfg(test)]
extern crate self as talkoo_ledger;
#[cfg(test)]
mod tests;
