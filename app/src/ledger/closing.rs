//! A client's channels on which nobody orders any more: what nobody earned comes back.
//!
//! ```text
//! Open ──nothing ordered for an hour, or `wallet close`: initiateWithdraw──► Leaving ──its delay: finalizeWithdraw──► Open, emptier
//! ```
//! What our vouchers promise stays. A worker hears of the withdrawal before it ends, and counts without that money.

use super::rpc::RpcError;
use super::treasury::{News, Ours, Promises, Purse};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};
use talkoo_base::wire::{decode, encode};
use talkoo_base::{Address, ChannelConfig, Digest};
use talkoo_ledger::bindings::ISettlement;
use tracing::{info, warn};

/// How long a channel waits for another order.
const IDLE: Duration = Duration::from_secs(3_600);
/// How often idle channels are looked for.
const LOOK: Duration = Duration::from_secs(60);
/// What both steps of a withdrawal take of gas.
const WITHDRAW_GAS: u64 = 110_000;

impl Purse {
    /// Asks what our vouchers promise, if any channel may be given up.
    pub(super) fn ask_promises(&mut self) {
        if !self.ours.is_empty() && self.asked_promises.elapsed() >= LOOK {
            self.asked_promises = Instant::now();
            (self.tell)(News::Promises);
        }
    }

    /// Takes back what is neither ordered for nor promised, of idle channels or of `all`.
    pub(super) fn close(&mut self, promised: &Promises, all: bool) -> Result<(), RpcError> {
        let (least, now) = (self.worth(WITHDRAW_GAS)?, self.rpc.time()?);
        let ids: Vec<_> = self.ours.keys().copied().collect();
        for id in ids {
            match self.close_one(id, least, now, promised, all) {
                // One that the chain refuses, another key's perhaps, keeps no other open.
                Err(why @ (RpcError::Refused { .. } | RpcError::Reverted(_))) => {
                    warn!(channel = %id, %why, "the chain does not let go of a channel");
                }
                done => done?,
            }
        }
        Ok(())
    }

    fn close_one(&mut self, id: Digest, least: u128, now: u64, promised: &Promises, all: bool) -> Result<(), RpcError> {
        let Some(Ours { config, ordered, .. }) = self.ours.get(&id) else { return Ok(()) };
        let (settlement, call) = (self.at().settlement, config.into());
        let pending = self.rpc.call(settlement, &ISettlement::pendingWithdrawalsCall { channelId: id.0.into() })?;
        if !pending.initiatedAt.is_zero() {
            if now > pending.initiatedAt.to::<u64>() + config.withdraw_delay {
                let call = ISettlement::finalizeWithdrawCall { config: call };
                let included = self.rpc.wait(self.rpc.send(&self.setup.node, settlement, &call)?)?;
                info!(channel = %id, gas = included.gas_used, "what was left of a channel came back");
                self.held.remove(&id);
            }
            return Ok(());
        }
        if !all && ordered.elapsed() < IDLE {
            return Ok(());
        }
        let mut worker = Address::default();
        worker.0.copy_from_slice(&config.salt.0[12..]);
        let channel = self.rpc.call(settlement, &ISettlement::channelsCall { channelId: id.0.into() })?;
        let kept = channel.totalClaimed.max(promised.get(&worker).copied().unwrap_or(0));
        let amount = channel.balance.saturating_sub(kept);
        if amount < least.max(1) {
            return Ok(());
        }
        let delay = config.withdraw_delay;
        let call = ISettlement::initiateWithdrawCall { config: call, amount };
        self.rpc.wait(self.rpc.send(&self.setup.node, settlement, &call)?)?;
        info!(channel = %id, amount, delay_s = delay, "taking back what was not spent");
        self.held.insert(id, channel.balance - amount);
        if let Some(ours) = self.ours.get_mut(&id) {
            ours.need = 0;
        }
        Ok(())
    }
}

/// The channels that were ever paid on: each line one's config, DAG-CBOR in hexadecimal. A torn last line is none.
pub(crate) fn read(path: &Path) -> Vec<ChannelConfig> {
    let text = String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    text.lines().filter_map(|line| decode(&hex::decode(line).ok()?).ok()).collect()
}

/// Remembers a channel before anything is paid into it.
pub(super) fn remember(path: &Path, config: &ChannelConfig) {
    let line = format!("\n{}\n", hex::encode(encode(config)));
    let open = || std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = open().and_then(|mut file| file.write_all(line.as_bytes()).and_then(|()| file.sync_data()));
    if let Err(why) = written {
        warn!(%why, path = %path.display(), "a channel is not remembered: after a restart it is not closed by itself");
    }
}
