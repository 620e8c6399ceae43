//! The provider's side: keeps what is proposed on its terms, and shows leaves of it.

use super::office::{OfficeError, collateral, is_over};
use super::record::{Kept, price_of, write};
use super::talk::Said;
use super::{Shared, replica};
use crate::ledger::unix;
use anyhow::{Context, Result, anyhow, ensure};
use std::collections::BTreeSet;
use talkoo_base::{Cid, Digest, NodeId};
use talkoo_ledger::bindings::{DealState, Draw, IDeals};
use talkoo_store::possession::Tree;
use tracing::{info, warn};

/// Longest time that something is kept for, in seconds: who knows what a byte costs then.
const LASTS_S_MAX: u64 = 366 * 24 * 3_600;
/// Blocks before the last one that are looked through at the start for proposals.
const LOOK_BACK: u64 = 4_000;

/// The pin that keeps a deal's replica.
pub(super) fn pin_of(deal: &Digest) -> String {
    format!("deal/{deal}")
}

impl Shared {
    /// Answers a client that looks for somebody.
    pub(super) fn offer(&self, id: u64, bytes: u64, epochs: u32, epoch_s: u64) -> Said {
        let fits = self.fits(bytes, epochs, epoch_s);
        match (fits, self.offering()) {
            (Ok(()), Some(offering)) => {
                let owner = talkoo_base::Address(self.office.owner.0.0);
                Said::Offer { id, owner, price: price_of(bytes, epoch_s, offering.rate) }
            }
            (Ok(()), None) => Said::Refuse { id, reason: "this node keeps nothing for pay".into() },
            (Err(why), _) => Said::Refuse { id, reason: why.to_string() },
        }
    }

    fn fits(&self, bytes: u64, epochs: u32, epoch_s: u64) -> Result<()> {
        let offering = self.offering().context("this node keeps nothing for pay")?;
        let lasts = epoch_s.saturating_mul(epochs.into());
        ensure!(lasts <= LASTS_S_MAX, "nothing is kept for {lasts} s: at most {LASTS_S_MAX}");
        let used: u64 = self.kept.all().iter().map(|kept| kept.bytes).sum();
        let room = offering.space.saturating_sub(used);
        ensure!(bytes <= room, "there is room for {room} bytes, not for {bytes}");
        let usage = self.blocks.usage()?;
        let free = usage.quota_bytes.saturating_sub(usage.used_bytes);
        ensure!(bytes <= free, "the store has {free} bytes left, not {bytes}: up --quota");
        Ok(())
    }

    /// Shows what the beacon drew of a replica, or lets go of one whose deal is over.
    pub(super) fn show(&self, kept: &Kept) -> Result<()> {
        let Some(drawn) = self.office.challenge(&kept.deal)? else {
            let deal = self.office.deal(&kept.deal)?;
            if deal.state == DealState::Proposed && self.office.time()? >= deal.acceptBy.to::<u64>() {
                self.office.poke(&kept.deal)?;
            } else if is_over(deal.state) {
                info!(deal = %kept.deal.short(), "a deal is over: its replica is not kept any more");
                self.forget(kept)?;
            }
            return Ok(());
        };
        match drawn.draw {
            Draw::Open => {
                let path = self.kept.tree(&kept.deal.to_string());
                let tree = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let tree = Tree::from_bytes(&tree).with_context(|| format!("{} is damaged", path.display()))?;
                let [a, b] = drawn.leaves.map(|leaf| replica::prove(&self.blocks, &kept.cid, &tree, leaf.to()));
                self.office.prove(&kept.deal, [a?, b?])?;
                info!(deal = %kept.deal.short(), epoch = drawn.epoch, "proven");
            }
            Draw::Missed | Draw::Void => self.office.poke(&kept.deal)?,
            Draw::Waits | Draw::__Invalid => {}
        }
        Ok(())
    }

    fn forget(&self, kept: &Kept) -> Result<()> {
        // The next collection removes it, unless it is something of our own that a client named.
        self.blocks.unpin(&pin_of(&kept.deal))?;
        let name = kept.deal.to_string();
        std::fs::remove_file(self.kept.tree(&name)).ok();
        self.kept.remove(&name);
        Ok(())
    }
}

/// What a provider has looked at.
#[derive(Default)]
pub(super) struct Proposals {
    /// The next block.
    block: Option<u64>,
    refused: BTreeSet<Digest>,
}

impl Proposals {
    /// Takes what was proposed to us since the last look.
    pub(super) fn look(&mut self, shared: &Shared) -> Result<(), OfficeError> {
        if shared.offering().is_none() {
            return Ok(());
        }
        let last = shared.office.block()?;
        let from = self.block.unwrap_or_else(|| last.saturating_sub(LOOK_BACK));
        if from > last {
            return Ok(());
        }
        for proposed in shared.office.proposals(from, last)? {
            let deal = Digest(proposed.id.0);
            if self.refused.contains(&deal) || shared.office.deal(&deal)?.state != DealState::Proposed {
                continue;
            }
            let agent = talkoo_base::Address(proposed.agent.0.0);
            let client = shared.net.peers().into_iter().find(|peer| peer.id.address() == agent).map(|peer| peer.id);
            match take(shared, &deal, &proposed, client) {
                Ok(()) => info!(deal = %deal.short(), bytes = proposed.terms.size, "a replica is kept for pay"),
                Err(why) => {
                    warn!(deal = %deal.short(), why = format!("{why:#}"), "a deal was not accepted");
                    self.refused.insert(deal);
                    if let Some(client) = client {
                        (shared.post)(client, Said::Decline { deal, reason: format!("{why:#}") }.to_bytes());
                    }
                }
            }
        }
        self.block = Some(last + 1);
        Ok(())
    }
}

/// Fetches a replica, checks what was committed to, and locks the collateral.
fn take(shared: &Shared, deal: &Digest, proposed: &IDeals::Proposed, client: Option<NodeId>) -> Result<()> {
    let terms = &proposed.terms;
    let (size, epoch_s) = (terms.size, terms.epochS.to::<u64>());
    // What a kill left half done fits, for it is counted already.
    if shared.kept.get(&deal.to_string()).is_none() {
        shared.fits(size, terms.epochs, epoch_s)?;
    }
    let rate = shared.offering().context("this node keeps nothing for pay")?.rate;
    let price = price_of(size, epoch_s, rate);
    ensure!(terms.price >= u128::from(price), "an epoch costs {price} micro-units, not {}", terms.price);
    let most = collateral(u64::try_from(terms.price)?, terms.epochs);
    ensure!(terms.collateral <= most, "at most {most} micro-units are put up");
    let client = client.context("the client is not connected")?;
    let cid = Cid::try_from(proposed.name.as_ref()).map_err(|why| anyhow!("the replica has no name: {why}"))?;
    let kept = Kept { deal: *deal, cid, bytes: size };
    shared.kept.keep(&deal.to_string(), &kept)?;
    let taken = (|| {
        shared.blocks.pin(&pin_of(deal), &cid)?;
        shared.fetch(&cid, &client, size)?;
        let tree = replica::commitment(&shared.blocks, &cid)?;
        let is_it = tree.bytes() == size && tree.root().0 == terms.root.0;
        ensure!(is_it, "the replica is not what the deal commits to");
        // Who accepts has it, whatever happens.
        shared.blocks.flush()?;
        write(&shared.kept.tree(&deal.to_string()), &tree.to_bytes())?;
        let until = shared.office.deal(deal)?.acceptBy.to::<u64>();
        ensure!(unix() < until, "it took too long to fetch");
        Ok(shared.office.accept(deal, terms.collateral)?)
    })();
    // A transaction may have gone through though its answer did not come.
    if taken.is_err() && shared.office.deal(deal).is_ok_and(|deal| deal.state != DealState::Active) {
        shared.forget(&kept)?;
    }
    taken
}
