//! What a client deposits for its orders.

use super::rpc::RpcError;
use super::treasury::{Ours, POOR, Purse};
use super::unix;
use alloy_primitives::{Address, B256, U256};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use talkoo_base::{ChannelConfig, Digest, SecretKey, Signer as _};
use talkoo_ledger::bindings::{self, ISettlement, IToken, authorization};
use tracing::{info, warn};

/// The least deposit, in micro-units: several jobs' worth, so that most need no second one.
const DEPOSIT_MIN: u128 = 10_000;
/// Seconds that an authorization to deposit is good for.
const AUTHORIZATION_S: u64 = 600;
/// What a deposit takes of gas.
const DEPOSIT_GAS: u64 = 140_000;

impl Purse {
    /// What a channel holds in all, claimed or not, without what its client takes back; and whether it does.
    pub(super) fn funds(&self, channel: &Digest) -> Result<(u128, bool), RpcError> {
        let call = ISettlement::pendingWithdrawalsCall { channelId: channel.0.into() };
        let pending = self.rpc.call(self.at().settlement, &call)?;
        Ok((self.balance(channel)?.saturating_sub(pending.amount), !pending.initiatedAt.is_zero()))
    }

    /// What a channel holds in all, claimed or not.
    pub(super) fn balance(&self, channel: &Digest) -> Result<u128, RpcError> {
        let call = ISettlement::channelsCall { channelId: channel.0.into() };
        Ok(self.rpc.call(self.at().settlement, &call)?.balance)
    }

    /// Deposits what our orders may cost, all channels in one block if it can be.
    pub(super) fn fund(&mut self) -> Result<(), RpcError> {
        if self.poor_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let (mut sent, mut done, mut trouble) = (Vec::new(), Vec::new(), Ok(()));
        let least = DEPOSIT_MIN.max(self.worth(DEPOSIT_GAS)?);
        for (id, Ours { config, need, .. }) in &self.ours {
            if let Some((hash, since)) = self.sent.get(id).copied() {
                if self.rpc.included(hash)?.is_none() && since.elapsed().as_secs() < AUTHORIZATION_S {
                    continue;
                }
                self.sent.remove(id);
            }
            let held = match self.held.get(id) {
                Some(held) if held >= need => continue,
                _ => self.funds(id)?.0,
            };
            if held >= *need {
                done.push((*id, held));
                continue;
            }
            let Some(key) = &self.setup.owner_key else {
                self.poor_until = Some(Instant::now() + POOR);
                warn!("something is ordered and the wallet is locked: talkoo wallet unlock");
                break;
            };
            let owner = Address::from(self.setup.owner.0);
            let have: u128 = self.rpc.call(self.at().token, &IToken::balanceOfCall { account: owner })?.saturating_to();
            let missing = need - held;
            // Twice what is missing, so that the next order seldom waits; but not more than there is.
            let amount = missing.saturating_mul(2).max(least.min(have / 10)).min(have);
            if amount < missing {
                self.poor_until = Some(Instant::now() + POOR);
                warn!(have, missing, "not enough credit for what was ordered: get more, or order less");
            }
            if amount > 0 {
                match self.deposit(key, *id, config, amount) {
                    Ok(hash) => {
                        self.sent.insert(*id, (hash, Instant::now()));
                        sent.push((*id, held + amount, hash));
                    }
                    Err(error) => trouble = Err(error),
                }
            }
        }
        for (id, total, hash) in sent {
            let included = self.rpc.wait(hash)?;
            info!(channel = %id, total, block = included.block, gas = included.gas_used, "deposited");
            self.sent.remove(&id);
            done.push((id, total));
        }
        self.held.extend(done);
        trouble
    }

    fn deposit(&self, owner: &SecretKey, id: Digest, config: &ChannelConfig, amount: u128) -> Result<B256, RpcError> {
        let (until, salt) = (unix() + AUTHORIZATION_S, random_salt());
        let separator = self.rpc.call(self.at().token, &IToken::DOMAIN_SEPARATORCall {})?;
        let nonce = authorization::nonce(id.0.into(), salt);
        let payer = Address::from(owner.address().0);
        let digest = authorization::digest(separator, payer, self.at().collector, amount, until, nonce);
        let signature = owner.sign(&Digest(digest.0));
        let data = authorization::payload(until, salt, signature.0);
        let config = bindings::ChannelConfig::from(config);
        let call = ISettlement::depositCall { config, amount, collector: self.at().collector, data };
        self.rpc.send(&self.setup.node, self.at().settlement, &call)
    }
}

/// Makes two deposits of the same amount in one second two authorizations.
fn random_salt() -> U256 {
    let mut bytes = [0; 32];
    // Without randomness the clock has to do: a clash only means that one deposit is refused and tried again.
    if getrandom::fill(&mut bytes).is_err() {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        bytes[..16].copy_from_slice(&since.to_be_bytes());
    }
    U256::from_be_bytes(bytes)
}
