//! The owner's limits on a running node.

use super::executor::Load;
use super::limits::{LOOK, Senses};
use super::{Daemon, Event};
use crate::disputes::Disputes;
use serde_json::json;
use std::time::{Duration, Instant};
use talkoo_base::{NodeId, Refusal, Tier};
use talkoo_market::{Demand, next_price};
use talkoo_node::Input;
use tracing::{error, info, warn};

/// How often clients' warnings make us test ourselves at most.
const DOUBTED: Duration = Duration::from_secs(3_600);
/// How often a price that moves is thought over.
const PRICED: Duration = Duration::from_secs(60);

impl Daemon {
    /// Starts to look at the machine: its owner may set limits at any time.
    pub(super) fn watch_owner(&self) {
        let (inbox, stop) = (self.inbox.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let mut load = Load::default();
            loop {
                if inbox.send(Event::Senses(Senses::look(&mut load))).await.is_err() {
                    return;
                }
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
    }

    /// Thinks the price over from time to time: it may move, or may do so later.
    pub(super) fn watch_demand(&self) {
        let (inbox, stop) = (self.inbox.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PRICED) => {}
                }
                if inbox.send(Event::Price).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Asks more or less, as clients came and went.
    pub(super) fn think_price_over(&mut self) {
        let all = Demand::of(&self.node.market().lost());
        let came = all.since(std::mem::replace(&mut self.demand, all));
        let Some((ask, taken)) =
            self.node.market().offered().filter(|_| self.config.prices[0] != self.config.prices[1])
        else {
            return;
        };
        let price = next_price(ask, taken, came, &self.config.prices);
        if price != self.price {
            info!(output = %price.output, "another price, for demand changed");
            self.price = price;
            self.offer();
        }
    }

    /// A client found other numbers than ours: every model that is offered has to pass its self-test again.
    pub(super) fn doubt(&mut self, client: &NodeId, refusal: &Refusal) {
        warn!(%client, %refusal, "a client warns us");
        if !self.providing || self.doubted.is_some_and(|at| at.elapsed() < DOUBTED) {
            return;
        }
        self.doubted = Some(Instant::now());
        for held in self.shelf.every() {
            if held.root_with(self.config.kv).is_ok_and(|root| self.offers.contains_key(&root)) {
                self.load_offered(held);
            }
        }
    }

    /// Our own engine gave two answers to one question: nothing of it is offered any more.
    pub(super) fn give_up(&mut self, refusal: &Refusal) {
        error!(%refusal, "this machine computes wrong numbers: it offers no exact work until the next start");
        self.offers.retain(|_, offer| offer.tier != Tier::Exact);
        self.offer();
    }

    /// What was sold and can be disputed fills its shelf, or has room again.
    pub(super) fn look_at_shelf(&mut self) {
        let is_full = self.money.disputes.as_ref().is_some_and(Disputes::is_full);
        if self.sold_out != is_full {
            self.sold_out = is_full;
            match is_full {
                true => warn!("all that may be disputed fills its room: no new exact work until some of it is over"),
                false => info!("what was sold has room again: offering"),
            }
            self.offer();
        }
    }

    /// Takes back the offer of a model that failed its self-test.
    pub(super) fn retract(&mut self, name: &str) {
        let held = self.shelf.every().find(|held| held.name == name);
        let root = held.and_then(|held| held.root_with(self.config.kv).ok());
        if root.is_some_and(|root| self.offers.remove(&root).is_some()) {
            self.offer();
        }
    }

    /// Looks again at what was seen last, for limits changed.
    pub(super) fn sensed_again(&mut self) {
        if let Some(senses) = self.senses {
            self.sensed(&senses);
        }
    }

    /// Takes the offer back, or makes it again; gives running work back when its time is over.
    pub(super) fn sensed(&mut self, senses: &Senses) {
        self.senses = Some(*senses);
        let against = self.config.limits.against(senses);
        match (against, &mut self.held_back) {
            (None, None) => {}
            (None, Some(_)) => {
                self.held_back = None;
                info!("no limit of the owner is touched any more: offering again");
                self.tell(&json!({"type": "provide.free"}));
                self.offer();
            }
            (Some(why), None) => {
                info!(%why, "held back for the owner: no new work");
                self.tell(&json!({"type": "provide.held_back", "message": why.to_string()}));
                self.held_back = Some((why, Some(Instant::now() + self.config.limits.reclaim)));
                self.offer();
            }
            (Some(why), Some((there, until))) => {
                *there = why;
                if until.is_some_and(|until| until <= Instant::now()) {
                    *until = None;
                    // Every client pays the chunks it has, and takes the rest to another worker.
                    self.pending.push(Input::Stopping);
                }
            }
        }
    }
}
