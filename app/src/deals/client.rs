//! The client's side: finds providers, makes replicas, fetches a part of each now and then, and makes new ones of those that are lost.

use super::office::{OfficeError, collateral, terms};
use super::provider::pin_of;
use super::record::{Fate, Object, Replica, price_of};
use super::replica::{self, Name};
use super::talk::Said;
use super::{Shared, Told};
use crate::ledger::unix;
use anyhow::{Context, Result, bail, ensure};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};
use talkoo_base::{Address, Cid, Digest, NodeId};
use talkoo_ledger::bindings::DealState;
use tracing::{info, warn};

/// How long providers have to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How often a replica that is missing is tried to be placed anew: twice an epoch, within these.
const AGAIN: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(600)];
/// Seconds that a provider may fetch a replica.
const FETCH_S: u64 = 24 * 3_600;
/// Fetches in a row that may fail.
const FAILED_MAX: u32 = 3;
/// Replicas that were ever made of an object.
const NUMBERS_MAX: usize = 256;

/// What a provider said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) node: NodeId,
    pub(super) owner: Address,
    /// Of an epoch.
    pub(super) price: u64,
    /// How long its answer took.
    pub(super) took: Duration,
}

/// What is wanted of providers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) bytes: u64,
    pub(super) epochs: u32,
    pub(super) epoch_s: u64,
    /// For a GiB and 30 days.
    pub(super) rate_max: u64,
}

/// The thread's own.
#[derive(Default)]
pub(super) struct Client {
    number: u64,
    /// What came while offers were waited for.
    pub(super) later: VecDeque<Told>,
    /// When an object was last tried to be mended.
    tried: BTreeMap<Cid, Instant>,
    /// What was said of an object last, so that it is not said again and again.
    trouble: BTreeMap<Cid, String>,
}

impl Client {
    /// Asks everybody; those who would, at most at our price, the fastest first, one of each owner.
    pub(super) fn offers(&mut self, shared: &Shared, inbox: &Receiver<Told>, wanted: Wanted) -> Vec<Offer> {
        let Wanted { bytes, epochs, epoch_s, rate_max } = wanted;
        // Answers to an earlier start's questions are none to ours.
        self.number = self.number.max(unix() << 20) + 1;
        let (id, start) = (self.number, Instant::now());
        let ask = Said::Ask { id, bytes, epochs, epoch_s }.to_bytes();
        let mut silent = shared.net.peers().into_iter().filter(|peer| (shared.post)(peer.id, ask.clone())).count();
        let (me, most) = (Address(shared.office.owner.0.0), price_of(bytes, epoch_s, rate_max));
        let mut offers: Vec<Offer> = Vec::new();
        while silent > 0 && start.elapsed() < ANSWER && !shared.stop.is_cancelled() {
            match inbox.recv_timeout(ANSWER.saturating_sub(start.elapsed())) {
                Ok(Told::Heard(node, Said::Offer { id: of, owner, price })) if of == id => {
                    silent -= 1;
                    let is_new = offers.iter().all(|offer| offer.owner != owner);
                    if owner != me && price <= most && is_new {
                        offers.push(Offer { node, owner, price, took: start.elapsed() });
                    }
                }
                Ok(Told::Heard(_, Said::Refuse { id: of, .. })) if of == id => silent -= 1,
                Ok(other) => self.later.push_back(other),
                Err(_) => break,
            }
        }
        offers
    }

    /// Looks after everything that we want kept.
    pub(super) fn tend(&mut self, shared: &Shared, inbox: &Receiver<Told>) {
        for mut object in shared.objects.all() {
            if let Err(why) = self.mend(shared, inbox, &mut object) {
                let why = format!("{why:#}");
                if self.trouble.get(&object.cid) != Some(&why) {
                    warn!(object = %object.cid, why, "not all replicas are kept; trying again");
                    self.trouble.insert(object.cid, why);
                }
            }
        }
    }

    fn mend(&mut self, shared: &Shared, inbox: &Receiver<Told>, object: &mut Object) -> Result<()> {
        for at in 0..object.replicas.len() {
            let before = object.replicas[at].clone();
            let followed = follow(shared, object, at);
            if object.replicas[at] != before {
                shared.objects.keep(&object.cid.to_string(), object)?;
            }
            followed?;
        }
        let missing = object.wanted as usize
            - object.replicas.iter().filter(|one| one.counts()).count().min(object.wanted as usize);
        let epochs = u32::try_from(object.until.saturating_sub(unix()).div_ceil(object.epoch_s))?;
        let again = Duration::from_secs(object.epoch_s / 2).clamp(AGAIN[0], AGAIN[1]);
        let is_soon = self.tried.get(&object.cid).is_some_and(|at| at.elapsed() < again);
        if missing == 0 || epochs == 0 || is_soon {
            return Ok(());
        }
        ensure!(object.replicas.len() < NUMBERS_MAX, "{NUMBERS_MAX} replicas were made already");
        let placed = self.place(shared, inbox, object, (missing, epochs));
        self.tried.insert(object.cid, Instant::now());
        placed
    }

    /// Makes up to so many replicas with providers that had none of this object, for so many epochs.
    fn place(
        &mut self,
        shared: &Shared,
        inbox: &Receiver<Told>,
        object: &mut Object,
        (missing, epochs): (usize, u32),
    ) -> Result<()> {
        let bytes = match object.replicas.first() {
            Some(one) => one.bytes,
            None => replica::measure(&shared.blocks, &object.cid)?,
        };
        let wanted = Wanted { bytes, epochs, epoch_s: object.epoch_s, rate_max: object.rate_max };
        let mut offers = self.offers(shared, inbox, wanted);
        offers.retain(|offer| object.replicas.iter().all(|one| one.owner != offer.owner));
        if !offers.is_empty() {
            let _hold = shared.blocks.hold();
            shared.restore(object)?;
            offers.iter().take(missing).try_for_each(|offer| shared.make(object, offer, epochs))?;
        }
        ensure!(offers.len() >= missing, "{missing} more providers are needed, {} offer to", offers.len());
        Ok(())
    }
}

/// Does what a replica's deal asks for now.
fn follow(shared: &Shared, object: &mut Object, at: usize) -> Result<()> {
    let one = &object.replicas[at];
    if matches!(one.fate, Fate::Done | Fate::Lost) {
        return Ok(());
    }
    let deal = shared.office.deal(&one.deal)?;
    match deal.state {
        DealState::None => {
            shared.office.propose(terms(shared.office.owner, object, one), one.cid.to_bytes())?;
        }
        DealState::Proposed if shared.office.time()? >= deal.acceptBy.to::<u64>() => shared.office.poke(&one.deal)?,
        DealState::Proposed => {}
        DealState::Active if one.fate == Fate::Placing => {
            info!(object = %object.cid, deal = %one.deal.short(), owner = %one.owner, "a replica is kept");
            shared.drop_own(one)?;
            object.replicas[at].fate = Fate::Active;
        }
        DealState::Active => check(shared, object, at)?,
        DealState::Completed => object.replicas[at].fate = Fate::Done,
        DealState::Terminated | DealState::Lapsed => {
            warn!(object = %object.cid, deal = %one.deal.short(), owner = %one.owner, "a replica is lost");
            shared.drop_own(one)?;
            object.replicas[at].fate = Fate::Lost;
        }
        DealState::__Invalid => bail!("the contract says something that we do not know"),
    }
    Ok(())
}

/// Fetches a random part of a replica, when it is time; a provider that gives nothing three times is done with.
fn check(shared: &Shared, object: &mut Object, at: usize) -> Result<()> {
    let (now, epoch_s) = (unix(), object.epoch_s);
    let one = &mut object.replicas[at];
    if now < one.check_at {
        return Ok(());
    }
    let first = one.check_at == 0;
    one.check_at = now + epoch_s / 2 + random()? % epoch_s.max(1);
    if first {
        return Ok(());
    }
    one.checks += 1;
    match shared.sample(&one.cid, &one.node) {
        Ok(()) => one.failed = 0,
        Err(why) => {
            one.failed += 1;
            warn!(deal = %one.deal.short(), failed = one.failed, why = format!("{why:#}"), "a replica could not be fetched");
        }
    }
    if one.failed >= FAILED_MAX {
        one.fate = Fate::Lost;
        match shared.office.cancel(&one.deal) {
            // It ends soon anyway.
            Ok(()) | Err(OfficeError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A number that nobody can foresee.
pub(super) fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|why| anyhow::anyhow!("the system gives no random bytes: {why}"))?;
    Ok(u64::from_be_bytes(bytes))
}

impl Shared {
    /// Makes a replica for a provider and proposes the deal.
    pub(super) fn make(&self, object: &mut Object, offer: &Offer, epochs: u32) -> Result<()> {
        let number = u32::try_from(object.replicas.len())?;
        let (cid, tree) = replica::seal(&self.blocks, Name { key: &self.key, object: &object.cid, number })?;
        let mut one = Replica {
            number,
            node: offer.node,
            owner: offer.owner,
            cid,
            root: tree.root(),
            bytes: tree.bytes(),
            epochs,
            price: offer.price,
            deal: Digest::ZERO,
            fate: Fate::Placing,
            failed: 0,
            checks: 0,
            check_at: 0,
        };
        let terms = terms(self.office.owner, object, &one);
        debug_assert_eq!(terms.collateral, collateral(one.price, epochs));
        one.deal = self.office.id_of(&terms);
        self.blocks.pin(&pin_of(&one.deal), &cid)?;
        self.blocks.grant(&cid, &offer.node, Some(unix() + FETCH_S))?;
        object.replicas.push(one);
        self.objects.keep(&object.cid.to_string(), object)?;
        Ok(self.office.propose(terms, cid.to_bytes())?)
    }

    /// Removes our own copy of a replica: its provider has it, or never will.
    fn drop_own(&self, one: &Replica) -> Result<()> {
        self.blocks.unpin(&pin_of(&one.deal))?;
        replica::remove(&self.blocks, &one.cid)
    }

    /// Brings an object back from a replica, if it is not whole here; whether it had to.
    pub(super) fn restore(&self, object: &Object) -> Result<bool> {
        if replica::measure(&self.blocks, &object.cid).is_ok() {
            return Ok(false);
        }
        let mut last = anyhow::anyhow!("no replica of {} is kept anywhere", object.cid);
        for one in object.replicas.iter().filter(|one| matches!(one.fate, Fate::Active | Fate::Done)) {
            let name = Name { key: &self.key, object: &object.cid, number: one.number };
            let opened =
                self.fetch(&one.cid, &one.node, one.bytes).and_then(|()| replica::open(&self.blocks, name, &one.cid));
            replica::remove(&self.blocks, &one.cid)?;
            match opened {
                Ok(()) => {
                    info!(object = %object.cid, owner = %one.owner, "an object was brought back from its replica");
                    return Ok(true);
                }
                Err(why) => last = why,
            }
        }
        Err(last).context("the object is not here, and no replica could be fetched")
    }
}
