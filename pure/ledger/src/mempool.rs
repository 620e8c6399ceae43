//! Transactions that wait for a block.
//!
//! A sender's transactions wait in the order of their nonces; those after a gap wait for what is missing. Everything is
//! bounded: by sender, by count and by bytes; who pays least makes room. Messages are go-ethereum's, which clients
//! look for.

use crate::block::SignedBy;
use crate::limits::{POOL_BYTES_MAX, POOL_MAX, POOL_SENDER_BYTES_MAX, POOL_SENDER_MAX};
use alloy_consensus::transaction::{Transaction as _, TxHashRef as _};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, U256};
use revm::context_interface::cfg::gas::calculate_initial_tx_gas;
use std::collections::{BTreeMap, BinaryHeap};
use thiserror::Error;

/// Why a transaction may not wait here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PoolError {
    /// It waits already.
    #[error("already known")]
    Known,
    /// Its nonce was used.
    #[error("nonce too low: next nonce {next}, tx nonce {have}")]
    NonceTooLow {
        /// What the sender's next is.
        next: u64,
        /// What it has.
        have: u64,
    },
    /// Too far ahead of what was used.
    #[error("nonce too high: next nonce {next}, tx nonce {have}")]
    NonceTooHigh {
        /// What the sender's next is.
        next: u64,
        /// What it has.
        have: u64,
    },
    /// The sender can't pay for it.
    #[error("insufficient funds for gas * price + value: address {sender} have {have} want {want}")]
    Funds {
        /// Who.
        sender: Address,
        /// Its balance.
        have: U256,
        /// What the transaction may cost.
        want: U256,
    },
    /// Less gas than it needs before anything happens.
    #[error("intrinsic gas too low: gas {have}, minimum needed {need}")]
    Intrinsic {
        /// What it has.
        have: u64,
        /// What it needs.
        need: u64,
    },
    /// It offers less than the least base fee.
    #[error("transaction underpriced: gas fee cap {have}, minimum needed {need}")]
    Underpriced {
        /// What it offers.
        have: u128,
        /// What is needed.
        need: u128,
    },
    /// The tip is above the whole.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFee,
    /// It would replace another and does not pay a tenth more.
    #[error("replacement transaction underpriced")]
    Replacement,
    /// There is no room, and it pays less than all that wait.
    #[error("txpool is full")]
    Full,
    /// The sender has as many waiting as anybody may.
    #[error("account limit exceeded: at most {POOL_SENDER_MAX} transactions of one sender wait, and 1 MiB of them")]
    SenderFull,
}

/// What the state says of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The next nonce.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
}

#[derive(Clone, Debug)]
struct Waiting {
    transaction: SignedBy,
    bytes: usize,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    /// The next nonce of the state.
    next: u64,
    by_nonce: BTreeMap<u64, Waiting>,
}

/// The transactions that wait.
#[derive(Clone, Debug, Default)]
pub struct Mempool {
    senders: BTreeMap<Address, Queue>,
    known: BTreeMap<B256, (Address, u64)>,
    bytes: usize,
}

impl Mempool {
    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Bytes of all that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// A waiting transaction.
    #[must_use]
    pub fn get(&self, hash: &B256) -> Option<&SignedBy> {
        let (sender, nonce) = self.known.get(hash)?;
        Some(&self.senders.get(sender)?.by_nonce.get(nonce)?.transaction)
    }

    /// The nonce after the last waiting transaction without a gap, if any waits.
    #[must_use]
    pub fn next_nonce(&self, sender: &Address) -> Option<u64> {
        let queue = self.senders.get(sender)?;
        Some((queue.next..).find(|nonce| !queue.by_nonce.contains_key(nonce)).unwrap_or(u64::MAX))
    }

    /// Whether any transaction could stand in the next block as far as nonces go.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.senders.values().any(|queue| queue.by_nonce.contains_key(&queue.next))
    }

    /// Takes a transaction in.
    ///
    /// # Errors
    /// [`PoolError`].
    pub fn add(&mut self, transaction: SignedBy, standing: Standing, least_fee: u128) -> Result<B256, PoolError> {
        let hash = *transaction.tx_hash();
        if self.known.contains_key(&hash) {
            return Err(PoolError::Known);
        }
        check(&transaction, standing, least_fee)?;
        let (sender, nonce) = (transaction.signer(), transaction.nonce());
        let bytes = transaction.encode_2718_len();
        let queue = self.senders.get(&sender);
        let old = queue.and_then(|queue| queue.by_nonce.get(&nonce));
        if old.is_some_and(|old| !outbids(&transaction, &old.transaction)) {
            return Err(PoolError::Replacement);
        }
        let others = || queue.into_iter().flat_map(|queue| &queue.by_nonce).filter(|(n, _)| **n != nonce);
        let sender_bytes: usize = others().map(|(_, waiting)| waiting.bytes).sum();
        if others().count() >= POOL_SENDER_MAX || sender_bytes + bytes > POOL_SENDER_BYTES_MAX {
            return Err(PoolError::SenderFull);
        }
        // All that one sender has waiting has to be payable together.
        let want =
            others().fold(cost(&transaction), |sum, (_, waiting)| sum.saturating_add(cost(&waiting.transaction)));
        if want > standing.balance {
            return Err(PoolError::Funds { sender, have: standing.balance, want });
        }
        let more = bytes.saturating_sub(old.map_or(0, |old| old.bytes));
        self.make_room(&transaction, more, usize::from(old.is_none()))?;
        self.remove(&sender, nonce);
        self.known.insert(hash, (sender, nonce));
        self.bytes += bytes;
        let queue = self.senders.entry(sender).or_default();
        queue.next = standing.nonce;
        queue.by_nonce.insert(nonce, Waiting { transaction, bytes });
        Ok(hash)
    }

    /// Transactions for a block: who tips most first, each sender's in the order of their nonces. They go on waiting
    /// until [`Mempool::advance`] hears that their nonces were used.
    pub fn best(&self, base_fee: u128) -> impl Iterator<Item = SignedBy> + '_ {
        let tip = move |w: &Waiting| w.transaction.effective_tip_per_gas(base_fee as u64);
        let mut heads = BinaryHeap::new();
        for (sender, queue) in &self.senders {
            if let Some(tip) = queue.by_nonce.get(&queue.next).and_then(tip) {
                heads.push((tip, std::cmp::Reverse((*sender, queue.next))));
            }
        }
        std::iter::from_fn(move || {
            let (_, std::cmp::Reverse((sender, nonce))) = heads.pop()?;
            let queue = &self.senders[&sender];
            if let Some(tip) = queue.by_nonce.get(&(nonce + 1)).and_then(tip) {
                heads.push((tip, std::cmp::Reverse((sender, nonce + 1))));
            }
            Some(queue.by_nonce[&nonce].transaction.clone())
        })
    }

    /// All that wait, by sender and nonce, and whether no nonce before it is missing.
    pub fn all(&self) -> impl Iterator<Item = (&SignedBy, bool)> {
        self.senders.values().flat_map(|queue| {
            let mut next = queue.next;
            queue.by_nonce.iter().map(move |(nonce, waiting)| {
                let is_ready = *nonce == next;
                next += u64::from(is_ready);
                (&waiting.transaction, is_ready)
            })
        })
    }

    /// An account's next nonce is another now: what was used no longer waits.
    pub fn advance(&mut self, sender: &Address, next: u64) {
        let Some(queue) = self.senders.get_mut(sender) else { return };
        queue.next = next;
        let used: Vec<u64> = queue.by_nonce.range(..next).map(|(nonce, _)| *nonce).collect();
        used.into_iter().for_each(|nonce| self.remove(sender, nonce));
    }

    /// Drops a transaction that no block will take.
    pub fn refuse(&mut self, hash: &B256) {
        if let Some((sender, nonce)) = self.known.get(hash).copied() {
            self.remove(&sender, nonce);
        }
    }

    fn remove(&mut self, sender: &Address, nonce: u64) {
        let Some(queue) = self.senders.get_mut(sender) else { return };
        let Some(gone) = queue.by_nonce.remove(&nonce) else { return };
        self.bytes -= gone.bytes;
        self.known.remove(gone.transaction.tx_hash());
        if queue.by_nonce.is_empty() {
            self.senders.remove(sender);
        }
    }

    /// Drops who waits behind a gap, whatever he bids, then who pays least for somebody who pays more. The last of a sender
    /// goes first: no gap is made.
    fn make_room(&mut self, newcomer: &SignedBy, bytes: usize, count: usize) -> Result<(), PoolError> {
        while self.known.len() + count > POOL_MAX || self.bytes + bytes > POOL_BYTES_MAX {
            let last = |(sender, queue): (&Address, &Queue)| {
                let (nonce, waiting) = queue.by_nonce.last_key_value()?;
                let is_next = (queue.next..*nonce).all(|n| queue.by_nonce.contains_key(&n));
                Some((is_next, waiting.transaction.max_fee_per_gas(), *sender, *nonce))
            };
            let others = self.senders.iter().filter(|(sender, _)| **sender != newcomer.signer());
            let (is_next, fee, sender, nonce) = others.filter_map(last).min().ok_or(PoolError::Full)?;
            if is_next && fee >= newcomer.max_fee_per_gas() {
                return Err(PoolError::Full);
            }
            self.remove(&sender, nonce);
        }
        Ok(())
    }
}

/// What a transaction may cost its sender.
fn cost(transaction: &SignedBy) -> U256 {
    let gas = U256::from(transaction.gas_limit());
    gas.saturating_mul(U256::from(transaction.max_fee_per_gas())).saturating_add(transaction.value())
}

/// Whether `new` pays a tenth more than `old`, in the whole and in the tip.
fn outbids(new: &SignedBy, old: &SignedBy) -> bool {
    let tip = |t: &SignedBy| t.max_priority_fee_per_gas().unwrap_or_else(|| t.max_fee_per_gas());
    let more = |new: u128, old: u128| new >= old.saturating_add(old.div_ceil(10)).max(old.saturating_add(1));
    more(new.max_fee_per_gas(), old.max_fee_per_gas()) && (tip(old) == 0 || more(tip(new), tip(old)))
}

fn check(transaction: &SignedBy, standing: Standing, least_fee: u128) -> Result<(), PoolError> {
    let (next, have) = (standing.nonce, transaction.nonce());
    if have < next {
        return Err(PoolError::NonceTooLow { next, have });
    }
    if have >= next.saturating_add(POOL_SENDER_MAX as u64) {
        return Err(PoolError::NonceTooHigh { next, have });
    }
    let fee = transaction.max_fee_per_gas();
    if transaction.max_priority_fee_per_gas().is_some_and(|tip| tip > fee) {
        return Err(PoolError::TipAboveFee);
    }
    if fee < least_fee {
        return Err(PoolError::Underpriced { have: fee, need: least_fee });
    }
    let want = cost(transaction);
    if want > standing.balance {
        return Err(PoolError::Funds { sender: transaction.signer(), have: standing.balance, want });
    }
    let list = transaction.access_list();
    let slots = list.map_or(0, |list| list.storage_keys_count() as u64);
    let needed = calculate_initial_tx_gas(
        crate::execute::SPEC,
        transaction.input(),
        transaction.is_create(),
        list.map_or(0, |list| list.len() as u64),
        slots,
        transaction.authorization_list().map_or(0, |list| list.len() as u64),
        None,
    );
    let need = needed.initial_total_gas().max(needed.floor_gas);
    match transaction.gas_limit() < need {
        true => Err(PoolError::Intrinsic { have: transaction.gas_limit(), need }),
        false => Ok(()),
    }
}
