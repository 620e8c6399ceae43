//! Ethereum's JSON-RPC over a chain of ours: what wallets, explorers and libraries expect of a node.
//!
//! This module answers; it decides nothing. A [`Chain`] gives it final blocks as immutable [`View`]s and takes
//! transactions in.
//!
//! ```text
//! HTTP (server) ──┐ bytes ► request ► desk: table of methods ─► params, then state │ history │ logs │ filters │ fees │ pool │ trace ─► json
//! WebSocket ──────┘          └ subscriptions (socket)                                └──────── a View of the chain
//! ```
//! Any web page may ask: all that it can do here is to read the chain and to hand in what its owner has signed. There are no
//! accounts and no keys. What differs from go-ethereum: only the last block's state is kept, and every block is final.

mod desk;
mod error;
mod fees;
mod filters;
mod finality;
mod history;
mod json;
mod logs;
mod params;
mod pool;
mod request;
mod server;
mod socket;
mod state;
#[cfg(test)]
mod tests;
mod trace;

pub use error::RpcError;
pub use params::{BlockId, CallRequest, Criteria, Overrides, Param, Params, Percentiles, Slots};
pub use request::{Batch, Refused, Request};
pub use server::{Rpc, RpcAttach};
pub use trace::TraceOptions;

use alloy_primitives::{Address, B256};
use std::sync::Arc;
use talkoo_ledger::{Executed, Head, KvError, KvRead, PoolError, Reader, SignedBy, store};
use tokio::sync::broadcast;

/// The chain at one final block, with the disk of the same moment.
pub struct View {
    /// The block and the state after it.
    pub head: Head,
    /// The disk.
    pub kv: Box<dyn KvRead + Send + Sync>,
}

impl View {
    /// Asks the state after the block, as if in the second `timestamp`.
    pub fn read<T>(&self, timestamp: u64, ask: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let ancestors = |number| self.hash(number);
        let mut head = self.head.clone();
        ask(&mut Reader { head: &mut head, kv: &*self.kv, ancestors: &ancestors, timestamp })
    }

    /// The hash of a final block; zero if there is none.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn hash(&self, number: u64) -> Result<B256, KvError> {
        if number == self.head.header.number {
            return Ok(self.head.hash);
        }
        Ok(store::block(&*self.kv, number)?.map_or(B256::ZERO, |block| talkoo_ledger::hash(&block.header)))
    }
}

/// What the RPC needs of a chain.
pub trait Chain: Send + Sync {
    /// The last final block.
    fn view(&self) -> Arc<View>;

    /// Takes a transaction into the pool and gives its hash.
    ///
    /// # Errors
    /// [`SubmitError`].
    fn submit(&self, transaction: SignedBy) -> Result<B256, SubmitError>;

    /// A transaction that waits.
    fn waiting(&self, hash: &B256) -> Option<SignedBy>;

    /// Tells of those that wait, each with whether none before it is missing, until told to stop.
    fn pool(&self, tell: &mut dyn FnMut(&SignedBy, bool) -> bool);

    /// The nonce after an account's waiting transactions, if any waits.
    fn next_nonce(&self, account: &Address) -> Option<u64>;

    /// Gives a newcomer starter credit and gas, each if it has none; the hashes of what was sent. None if there is nothing to
    /// give, or if others were asked to.
    ///
    /// # Errors
    /// [`SponsorError`].
    fn sponsor(&self, owner: Address, node: Address) -> Result<Vec<B256>, SponsorError>;

    /// Every block as it becomes final.
    fn blocks(&self) -> broadcast::Receiver<Arc<Executed>>;
}

/// Why a newcomer gets nothing.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SponsorError {
    /// The faucet refuses.
    #[error("{0}")]
    Refused(String),
    /// The gift could not be sent.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// Why a transaction was not taken.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SubmitError {
    /// For what it is.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The disk failed.
    #[error(transparent)]
    Kv(#[from] KvError),
}
