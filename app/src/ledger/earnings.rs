//! What a worker earned: vouchers claimed through the vault, and paid out when their time is over.

use super::rpc::RpcError;
use super::treasury::{GAS_TIMES, Purse};
use alloy_primitives::{Address, U256};
use std::time::{Duration, Instant};
use talkoo_base::{Delegation, Digest};
use talkoo_ledger::bindings::{self, IDelegations, IVault, VoucherClaim};
use tracing::{info, warn};

/// How long earnings that are not worth a transaction wait for more.
pub(super) const CLAIM_AFTER: Duration = Duration::from_secs(20);
/// Channels in one claim: some 80,000 gas each, well within a transaction's cap.
const CLAIM_BATCH: usize = 64;
/// What one channel in a batch, and its share of what follows, take of gas.
const CLAIM_GAS: u64 = 150_000;
/// What release and withdrawal take of gas.
const COLLECT_GAS: u64 = 130_000;
/// Proceeds released by one transaction.
const RELEASE_BATCH: u64 = 64;
/// The role that lets a node key claim.
const WORK: u8 = 1;

impl Purse {
    /// Claims what is worth it, or `all`.
    pub(super) fn claim(&mut self, all: bool) -> Result<(), RpcError> {
        if self.claims.is_empty() {
            return Ok(());
        }
        let (least, outside) = (self.worth(CLAIM_GAS)?, self.setup.place.is_outside());
        let (mut due, mut looked) = (Vec::new(), Vec::new());
        for (id, claim) in &self.claims {
            let promised = claim.voucher.body.max_claimable.0;
            let open = promised.saturating_sub(claim.booked);
            let late = open > 0 && Instant::now() >= claim.next;
            // Where gas has a price, only the money's leaving makes less worth it.
            let leaves = late && outside && open >= least / GAS_TIMES && self.funds(id)?.1;
            if open > 0 && (all || promised >= claim.tried + least || (late && !outside) || leaves) {
                due.push(*id);
            } else if late {
                looked.push(*id);
            }
        }
        for id in looked {
            self.claims.entry(id).and_modify(|claim| claim.next = Instant::now() + CLAIM_AFTER);
        }
        for batch in due.chunks(CLAIM_BATCH) {
            let mut rows = Vec::new();
            for id in batch {
                let balance = self.balance(id)?;
                let booked = self.rpc.call(self.at().vault, &IVault::bookedCall { channelId: id.0.into() })?;
                let Some(claim) = self.claims.get_mut(id) else { continue };
                claim.booked = booked;
                (claim.tried, claim.next) = (claim.voucher.body.max_claimable.0, Instant::now() + CLAIM_AFTER);
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
            match self.book(&rows) {
                // One that the chain refuses shall not keep the others from their money.
                Err(RpcError::Refused { .. } | RpcError::Reverted(_)) => {
                    rows.iter().try_for_each(|row| self.book_one(row))?;
                }
                done => done?,
            }
        }
        Ok(())
    }

    /// Claims a row by itself; a refusal is said, and the row looked at again later.
    fn book_one(&mut self, row: &(Digest, VoucherClaim)) -> Result<(), RpcError> {
        match self.book(std::slice::from_ref(row)) {
            Err(why @ (RpcError::Refused { .. } | RpcError::Reverted(_))) => {
                warn!(channel = %row.0, %why, "the chain refuses a claim; it is tried again later");
                Ok(())
            }
            done => done,
        }
    }

    /// Claims rows in one transaction.
    fn book(&mut self, rows: &[(Digest, VoucherClaim)]) -> Result<(), RpcError> {
        let claims = rows.iter().map(|(_, row)| row.clone()).collect();
        let hash = self.rpc.send(&self.setup.node, self.at().vault, &IVault::claimCall { claims })?;
        let included = self.rpc.wait(hash)?;
        info!(channels = rows.len(), block = included.block, gas = included.gas_used, "claimed");
        for (id, row) in rows {
            if let Some(claim) = self.claims.get_mut(id) {
                claim.booked = row.totalClaimed;
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
        let least = self.worth(COLLECT_GAS)?;
        let operator = Address::from(self.setup.owner.0);
        let account = self.rpc.call(self.at().vault, &IVault::accountsCall { operator })?;
        if account.held > 0 && (all || account.held >= least) {
            let first = IVault::tranchesCall { operator, index: U256::from(account.head) };
            if self.rpc.call(self.at().vault, &first)?.releaseAt.to::<u64>() <= self.rpc.time()? {
                let release = IVault::releaseCall { operator, most: U256::from(RELEASE_BATCH) };
                self.rpc.wait(self.rpc.send(&self.setup.node, self.at().vault, &release)?)?;
            }
        }
        let free: u128 = self.rpc.call(self.at().vault, &IVault::creditCall { account: operator })?.saturating_to();
        if free > 0 && (all || free >= least) {
            let withdraw = IVault::withdrawCall { account: operator };
            let included = self.rpc.wait(self.rpc.send(&self.setup.node, self.at().vault, &withdraw)?)?;
            info!(amount = free, block = included.block, gas = included.gas_used, "paid out to the owner");
        }
        Ok(())
    }

    /// Makes the owner's delegation to this node count, once.
    fn delegate(&mut self) -> Result<(), RpcError> {
        let Delegation { owner, node, roles, expiry } = self.setup.delegation.body;
        let (owner, node) = (Address::from(owner.0), Address::from(node.0));
        let active = IDelegations::isActiveCall { owner, nodeKey: node, roles: WORK };
        if self.delegated || owner == node || self.rpc.call(self.at().delegations, &active)? {
            self.delegated = true;
            return Ok(());
        }
        let delegation = bindings::Delegation { owner, nodeKey: node, roles, expiry: expiry.0 };
        let signature = self.setup.delegation.signature.0.to_vec().into();
        let hash = self.rpc.send(
            &self.setup.node,
            self.at().delegations,
            &IDelegations::grantCall { delegation, signature },
        )?;
        self.rpc.wait(hash)?;
        self.delegated = true;
        Ok(())
    }
}
