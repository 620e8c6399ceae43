//! What a worker earned: vouchers claimed through the vault, and paid out when their time is over.

use super::rpc::RpcError;
use super::treasury::{CLAIM_MIN, Claimable, Purse};
use super::unix;
use alloy_primitives::{Address, U256};
use std::time::{Duration, Instant};
use talkoo_base::{Delegation, Digest, Signer as _};
use talkoo_ledger::bindings::{self, IDelegations, IVault, VoucherClaim};
use talkoo_ledger::contracts::{DELEGATIONS_AT, VAULT_AT};
use tracing::info;

/// How long earnings that are not worth a transaction wait for more.
const CLAIM_AFTER: Duration = Duration::from_secs(20);
/// Channels in one claim: some 80,000 gas each, well within a transaction's cap.
const CLAIM_BATCH: usize = 64;
/// Proceeds released by one transaction.
const RELEASE_BATCH: u64 = 64;
/// The role that lets a node key claim.
const WORK: u8 = 1;

impl Purse {
    /// Claims what is worth it, or `all`.
    pub(super) fn claim(&mut self, all: bool) -> Result<(), RpcError> {
        let due = |claim: &&Claimable| {
            let open = claim.voucher.body.max_claimable.0.saturating_sub(claim.booked);
            open > 0 && (all || open >= CLAIM_MIN || claim.since.elapsed() >= CLAIM_AFTER)
        };
        let due: Vec<Digest> = self.claims.iter().filter(|(_, claim)| due(claim)).map(|(id, _)| *id).collect();
        for batch in due.chunks(CLAIM_BATCH) {
            let mut rows = Vec::new();
            for id in batch {
                let balance = self.balance(id)?;
                let booked = self.rpc.call(VAULT_AT, &IVault::bookedCall { channelId: id.0.into() })?;
                let Some(claim) = self.claims.get_mut(id) else { continue };
                claim.booked = booked;
                claim.since = Instant::now();
                // Never more than the channel holds: the rest waits for a top-up.
                let total = claim.voucher.body.max_claimable.0.min(balance);
                if total > booked {
                    let (channel, most) = ((&claim.config).into(), claim.voucher.body.max_claimable.0);
                    let voucher = bindings::Voucher { channel, maxClaimableAmount: most };
                    let signature = claim.voucher.signature.0.to_vec().into();
                    rows.push((*id, VoucherClaim { voucher, signature, totalClaimed: total }));
                }
            }
            if rows.is_empty() {
                continue;
            }
            self.delegate()?;
            let totals: Vec<(Digest, u128)> = rows.iter().map(|(id, row)| (*id, row.totalClaimed)).collect();
            let claims = rows.into_iter().map(|(_, row)| row).collect();
            let hash = self.rpc.send(&self.setup.node, VAULT_AT, &IVault::claimCall { claims })?;
            let included = self.rpc.wait(hash)?;
            info!(channels = totals.len(), block = included.block, gas = included.gas_used, "claimed");
            for (id, total) in totals {
                if let Some(claim) = self.claims.get_mut(&id) {
                    claim.booked = total;
                }
            }
        }
        Ok(())
    }

    /// Releases what was held long enough, and brings it to the owner.
    pub(super) fn collect(&mut self, all: bool) -> Result<(), RpcError> {
        if self.claims.is_empty() || !(all || self.collected.is_none_or(|at| at.elapsed() >= CLAIM_AFTER)) {
            return Ok(());
        }
        self.collected = Some(Instant::now());
        let operator = Address::from(self.setup.owner.address().0);
        let account = self.rpc.call(VAULT_AT, &IVault::accountsCall { operator })?;
        if account.held > 0 {
            let first = IVault::tranchesCall { operator, index: U256::from(account.head) };
            if self.rpc.call(VAULT_AT, &first)?.releaseAt.to::<u64>() <= unix() {
                let release = IVault::releaseCall { operator, most: U256::from(RELEASE_BATCH) };
                self.rpc.wait(self.rpc.send(&self.setup.node, VAULT_AT, &release)?)?;
            }
        }
        let free: u128 = self.rpc.call(VAULT_AT, &IVault::creditCall { account: operator })?.saturating_to();
        if free > 0 && (all || free >= CLAIM_MIN) {
            let withdraw = IVault::withdrawCall { account: operator };
            let included = self.rpc.wait(self.rpc.send(&self.setup.node, VAULT_AT, &withdraw)?)?;
            info!(amount = free, block = included.block, gas = included.gas_used, "paid out to the owner");
        }
        Ok(())
    }

    /// Makes the owner's delegation to this node count, once.
    fn delegate(&mut self) -> Result<(), RpcError> {
        let Delegation { owner, node, roles, expiry } = self.setup.delegation.body;
        let (owner, node) = (Address::from(owner.0), Address::from(node.0));
        let active = IDelegations::isActiveCall { owner, nodeKey: node, roles: WORK };
        if self.delegated || owner == node || self.rpc.call(DELEGATIONS_AT, &active)? {
            self.delegated = true;
            return Ok(());
        }
        let delegation = bindings::Delegation { owner, nodeKey: node, roles, expiry: expiry.0 };
        let signature = self.setup.delegation.signature.0.to_vec().into();
        let hash =
            self.rpc.send(&self.setup.node, DELEGATIONS_AT, &IDelegations::grantCall { delegation, signature })?;
        self.rpc.wait(hash)?;
        self.delegated = true;
        Ok(())
    }
}
