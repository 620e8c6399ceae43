//! Calls about offering compute: whether, under which terms, and why nobody comes.

use super::{Answer, Daemon, bad, optional, quote, yes_or_no};
use crate::commands::{Books, refusal_of};
use crate::daemon::remote::Remote;
use crate::daemon::terms;
use crate::income;
use serde_json::{Value, json};
use talkoo_base::Amount;
use tokio::sync::oneshot;
use tracing::info;

/// Days that are told, unless it is said how many.
const DAYS: u64 = 7;

impl Daemon {
    /// Begins or stops to offer, and changes the terms; what is not named stays.
    pub(super) fn provide(&mut self, args: &Value) -> Answer {
        let on = optional(args, "on", yes_or_no)?;
        let named = |name: &str| args.get(name).filter(|value| !value.is_null());
        let limits = named("limits").map(terms::limits_of).transpose()?;
        let prices = named("price").map(terms::prices_of).transpose()?;
        if on.is_none() && limits.is_none() && prices.is_none() {
            return Err(bad("it says nothing", "send `on`, `limits` or `price`"));
        }
        if let Some(prices) = prices {
            info!(least = %prices[0].output, most = %prices[1].output, "another price, by the owner");
            self.config.prices = prices;
            self.price = prices[0];
        }
        if let Some(limits) = limits {
            info!(limits = %terms::limits_json(&limits), "other limits of the owner");
            self.config.limits = limits;
        }
        terms::agree(&self.config, &mut self.memory);
        if let Some(on) = on {
            self.begin_or_stop(on);
        }
        // What the machine was like at the last look counts at once.
        self.sensed_again();
        self.offer();
        Ok(self.why())
    }

    fn begin_or_stop(&mut self, on: bool) {
        self.providing = on;
        self.memory.provides(on);
        if on {
            for held in self.shelf.every() {
                self.load_offered(held);
            }
            self.remote.iter().for_each(Remote::load);
        }
    }

    /// What came in, by day and source. The ledger is asked on a thread.
    pub(super) fn earnings(&mut self, args: &Value, reply: oneshot::Sender<Answer>) {
        let days = optional(args, "days", |value| {
            let days = value.as_u64().or_else(|| value.as_str()?.parse().ok());
            days.filter(|days| (1..=income::DAYS_MAX).contains(days)).ok_or("1 to 366")
        });
        let days = match days {
            Ok(days) => days.unwrap_or(DAYS),
            Err(no) => return drop(reply.send(Err(no))),
        };
        let (status, now) = (self.status(), self.now().unix.0);
        let (inference, since) = self.book.days();
        self.tasks.spawn_blocking(move || {
            let books = (!status["ledger"].is_null()).then(|| Books::with(status)).transpose();
            let answer = books
                .map_err(|why| refusal_of(&why))
                .and_then(|books| income::answer(inference, since, books.as_ref(), days, now));
            // Who asked may have gone.
            reply.send(answer).ok();
        });
    }

    /// Why this node has work or has none.
    pub(super) fn why(&self) -> Value {
        let mut reasons: Vec<Value> = Vec::new();
        let mut reason = |code: &str, message: &str, hint: &str| {
            reasons.push(json!({"code": code, "message": message, "hint": hint}));
        };
        if !self.providing {
            reason("not_providing", "this node offers no compute", "talkoo provide start");
        }
        if let Some((why, _)) = self.held_back.as_ref().filter(|_| self.providing) {
            reason(why.code.as_str(), &why.message, &why.hint);
        }
        if self.shelf.every().next().is_none() && self.remote.is_none() {
            reason("unknown_model", "no model is here", "talkoo pull smollm2");
        } else if self.providing && self.offers.is_empty() {
            reason("busy", "the model is being loaded and measured", "wait a few seconds");
        }
        if self.net.peers().is_empty() {
            reason("disconnected", "no peer is connected", "talkoo join CODE");
        }
        let earned: u128 = self.node.proof().earnings().map(|(_, e)| e.received.0).sum();
        let offered = self.node.market().offered();
        json!({
            "providing": self.providing,
            "offers": self.offers.values().map(|o| json!({
                "program": o.program.to_string(),
                "tier": o.tier.name(),
                "prefill_tps": o.prefill_mtps / 1000,
                "decode_tps": o.decode_mtps / 1000,
            })).collect::<Vec<_>>(),
            "slots_taken": offered.map_or(0, |(_, taken)| taken),
            "earned": Amount(earned).to_string(),
            "reasons": reasons,
            "limits": terms::limits_json(&self.config.limits),
            "price": self.price.output.to_string(),
            "prices": self.config.prices.map(|price| price.output.to_string()),
            "lost": quote::rows(&self.node.market().lost()),
            "summary": talkoo_market::line(&self.node.market().lost()),
        })
    }
}
