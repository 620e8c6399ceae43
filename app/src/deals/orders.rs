//! What people ask for: a quote, an order, the list, an object back.

use super::client::{Client, Offer, Wanted};
use super::office::{collateral, is_over};
use super::record::{Fate, Object, Offering};
use super::{Shared, Told, refusal, replica};
use crate::ledger::unix;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::mpsc::Receiver;
use talkoo_base::{Cid, Digest, NodeId, Refusal};
use talkoo_ledger::bindings::{Deal, DealState, Draw};
use tracing::warn;

/// Replicas of one object.
const REPLICAS_MAX: u64 = 32;

/// Terms as an answer.
pub(super) fn terms_of(offering: Offering) -> Value {
    json!({"space_bytes": offering.space, "price": offering.rate})
}

/// A call's arguments, read.
struct Order {
    cid: Cid,
    replicas: usize,
    wanted: Wanted,
}

fn read(shared: &Shared, args: &Value) -> Result<Order> {
    let number = |key: &str| args[key].as_u64().with_context(|| format!("`{key}` is no whole number"));
    let cid = args["cid"].as_str().and_then(|cid| Cid::try_from(cid).ok()).context("`cid` is no CID")?;
    // As the store has it.
    let cid = Cid::new_v1(cid.codec(), *cid.hash());
    let (replicas, epochs, epoch_s, rate_max) =
        (number("replicas")?, number("epochs")?, number("epoch_s")?, number("price_max")?);
    ensure!((1..=REPLICAS_MAX).contains(&replicas), "an object has 1 to {REPLICAS_MAX} replicas");
    ensure!(epochs > 0 && epoch_s > 0 && epoch_s < 1 << 32, "a deal has at least one epoch, and that a length");
    let bytes = replica::measure(&shared.blocks, &cid).context("not all of it is here: `store pin` it first")?;
    let wanted = Wanted { bytes, epochs: u32::try_from(epochs)?, epoch_s, rate_max };
    Ok(Order { cid, replicas: usize::try_from(replicas)?, wanted })
}

fn told(order: &Order, offers: &[Offer]) -> Value {
    let epochs = u64::from(order.wanted.epochs);
    let rows: Vec<Value> = offers
        .iter()
        .map(|offer| {
            json!({"node": offer.node.to_string(), "owner": offer.owner.to_string(), "price": offer.price,
                   "answer_ms": u64::try_from(offer.took.as_millis()).unwrap_or(u64::MAX)})
        })
        .collect();
    let chosen = offers.iter().take(order.replicas);
    let total = chosen.map(|offer| u128::from(offer.price) * u128::from(epochs)).sum::<u128>();
    json!({"cid": order.cid.to_string(), "bytes": order.wanted.bytes, "replicas": order.replicas, "epochs": epochs,
           "epoch_s": order.wanted.epoch_s, "offers": rows, "total": total.to_string()})
}

impl Client {
    /// Who would keep something, and what that costs.
    pub(super) fn quote(&mut self, shared: &Shared, inbox: &Receiver<Told>, args: &Value) -> Result<Value, Refusal> {
        let quoted = read(shared, args).and_then(|order| {
            let offers = self.offers(shared, inbox, order.wanted);
            enough(&order, &offers).map(|()| told(&order, &offers))
        });
        quoted.map_err(|why| refusal(&why))
    }

    /// Has something kept.
    pub(super) fn order(&mut self, shared: &Shared, inbox: &Receiver<Told>, args: &Value) -> Result<Value, Refusal> {
        self.ordered(shared, inbox, args).map_err(|why| refusal(&why))
    }

    fn ordered(&mut self, shared: &Shared, inbox: &Receiver<Told>, args: &Value) -> Result<Value> {
        let order = read(shared, args)?;
        let name = order.cid.to_string();
        let before = shared.objects.get(&name);
        let is_kept = before.as_ref().is_some_and(|object| object.until > unix());
        ensure!(!is_kept, "it is kept already: `store deals`");
        let offers = self.offers(shared, inbox, order.wanted);
        enough(&order, &offers)?;
        let Wanted { epochs, epoch_s, rate_max, .. } = order.wanted;
        let total: u128 = offers.iter().take(order.replicas).map(|offer| collateral(offer.price, epochs)).sum();
        let have = shared.office.balance()?;
        ensure!(total <= have, "the price of all epochs is locked: {total} micro-units, and the owner has {have}");
        let (cid, wanted) = (order.cid, u32::try_from(order.replicas)?);
        let until = unix() + epoch_s.saturating_mul(epochs.into());
        let mut object = Object { cid, wanted, epoch_s, until, rate_max, replicas: Vec::new() };
        shared.objects.keep(&name, &object)?;
        let _hold = shared.blocks.hold();
        for offer in offers.iter().take(order.replicas) {
            shared.make(&mut object, offer, epochs)?;
        }
        let deals: Vec<String> = object.replicas.iter().map(|one| one.deal.to_string()).collect();
        let mut answer = told(&order, &offers);
        answer["deals"] = json!(deals);
        Ok(answer)
    }
}

fn enough(order: &Order, offers: &[Offer]) -> Result<()> {
    let (need, have) = (order.replicas, offers.len());
    ensure!(
        have >= need,
        "{need} replicas need as many owners of nodes that keep things for pay: {have} would at this price"
    );
    Ok(())
}

impl Shared {
    /// A provider will not accept: its deal is taken back at once.
    pub(super) fn declined(&self, from: &NodeId, deal: &Digest, reason: &str) {
        let is_ours = |object: &Object| object.replicas.iter().any(|one| one.deal == *deal && one.node == *from);
        if !self.objects.all().iter().any(is_ours) {
            return;
        }
        warn!(provider = ?from, deal = %deal.short(), reason, "a provider declines");
        let is_open = self.office.deal(deal).is_ok_and(|deal| deal.state == DealState::Proposed);
        if is_open && let Err(why) = self.office.cancel(deal) {
            warn!(%why, "the deal was not taken back; it lapses by itself");
        }
    }

    /// Brings an object of ours back, if it is one and not here.
    pub(super) fn bring_back(&self, cid: &Cid) -> Result<Value, Refusal> {
        let name = Cid::new_v1(cid.codec(), *cid.hash()).to_string();
        let restored = self.objects.get(&name).map(|object| self.restore(&object)).transpose();
        restored.map(|restored| json!({"restored": restored.unwrap_or(false)})).map_err(|why| refusal(&why))
    }
}

/// Everything, as it stands on chain.
pub(super) fn list(shared: &Shared) -> Result<Value> {
    let objects: Result<Vec<Value>> = shared.objects.all().iter().map(|object| object_row(shared, object)).collect();
    let mut kept = Vec::new();
    for one in shared.kept.all() {
        let mut row = deal_row(shared, &one.deal)?;
        (row["cid"], row["bytes"]) = (json!(one.cid.to_string()), json!(one.bytes));
        kept.push(row);
    }
    let terms = shared.offering().map(terms_of);
    Ok(json!({"objects": objects?, "kept": kept, "terms": terms}))
}

fn object_row(shared: &Shared, object: &Object) -> Result<Value> {
    let mut replicas = Vec::new();
    for one in &object.replicas {
        let mut row = deal_row(shared, &one.deal)?;
        (row["owner"], row["node"]) = (json!(one.owner.to_string()), json!(one.node.to_string()));
        (row["replica"], row["cid"]) = (json!(one.number), json!(one.cid.to_string()));
        (row["checks"], row["checks_failed"]) = (json!(one.checks), json!(one.failed));
        row["lost"] = json!(one.fate == Fate::Lost);
        replicas.push(row);
    }
    let live = object.replicas.iter().filter(|one| matches!(one.fate, Fate::Active | Fate::Done)).count();
    Ok(json!({"cid": object.cid.to_string(), "wanted": object.wanted, "live": live, "until": object.until,
              "epoch_s": object.epoch_s, "replicas": replicas}))
}

fn deal_row(shared: &Shared, id: &Digest) -> Result<Value> {
    let deal: Deal = shared.office.deal(id)?;
    let mut row = json!({
        "deal": id.to_string(),
        "state": match deal.state {
            DealState::None => "none",
            DealState::Proposed => "proposed",
            DealState::Active => "active",
            DealState::Completed => "completed",
            DealState::Terminated => "terminated",
            DealState::Lapsed | DealState::__Invalid => "lapsed",
        },
        "epochs": deal.epochs,
        "decided": deal.next,
        "price": deal.price.to_string(),
        "collateral": deal.collateral.to_string(),
        "missed_in_row": deal.misses,
    });
    if !shared.office.is_outside {
        let [proven, missed, void] = shared.office.told_of(id)?;
        (row["proven"], row["missed"], row["void"]) = (json!(proven), json!(missed), json!(void));
        row["paid"] = json!((u128::from(proven) * deal.price).to_string());
    }
    if !is_over(deal.state)
        && let Some(drawn) = shared.office.challenge(id)?
    {
        let draw = if drawn.draw == Draw::Open { "open" } else { "waits" };
        row["challenge"] = json!({"epoch": drawn.epoch, "draw": draw, "until": drawn.until.to::<u64>()});
    }
    Ok(row)
}
