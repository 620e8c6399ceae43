//! Payments of keys: what is decided about one, and kept before it is made.
//!
//! ```text
//! asked ─► refused, by a rule
//!    ├───► allowed ─► written as paid ─► sent
//!    └───► waits for the owner ─► approved ─► written as paid ─► sent
//!               └───► refused by him, or a day went by
//! ```
//! What is paid is on the disk before it is sent: a node that is killed in between counts what it may not have sent.

use super::audit::LINES_MAX;
use super::policy::{DAY_S, Paid, Payment, Policy, counts};
use super::{Key, Keys, Scope, unkept};
use crate::collect::{fresh, unix};
use crate::limits::APPROVALS_MAX;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use talkoo_base::{Refusal, RefusalCode};

/// A payment that waits for the owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its name.
    pub id: String,
    /// What is to be paid.
    pub payment: Payment,
    /// Until when it waits, in seconds since 1970.
    pub expires: u64,
}

/// What is to be done with a payment that no rule forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is written as paid: send it.
    Pay,
    /// It waits for the owner.
    Waits(Approval),
}

fn denied(message: String, hint: String) -> Refusal {
    Refusal::new(RefusalCode::Denied, message, hint)
}

impl Key {
    /// Whether it may do so.
    ///
    /// # Errors
    /// How its owner lets it.
    pub fn may(&self, scope: Scope) -> Result<(), Refusal> {
        if self.scopes.contains(&scope) {
            return Ok(());
        }
        let all: Vec<&str> = self.scopes.iter().chain([&scope]).map(|scope| scope.name()).collect();
        let hint = format!("its owner: talkoo key set {} --scopes {}", self.id, all.join(","));
        Err(denied(format!("the key has no scope `{}`", scope.name()), hint))
    }

    /// What the rules say, and which one.
    fn check(&self, payment: &Payment, now: u64) -> Result<bool, (&'static str, Refusal)> {
        if !self.is_good() {
            return Err(("key", Refusal::new(RefusalCode::BadSignature, "the key was revoked or has expired", "")));
        }
        let scopes = if payment.data.is_some() { &[Scope::Wallet, Scope::Data][..] } else { &[Scope::Wallet] };
        scopes.iter().try_for_each(|scope| self.may(*scope)).map_err(|no| ("scopes", no))?;
        let Some(policy) = &self.policy else {
            let hint = format!("its owner: talkoo key set {} --per-payment 1 --per-day 5 --allow ADDRESS", self.id);
            return Err(("policy", denied("the key has no spending policy, so it may pay nothing".into(), hint)));
        };
        policy.check(payment, &self.payments, now).map_err(|broken| (broken.rule, broken.refusal))
    }

    fn pay(&mut self, payment: &Payment, now: u64) {
        self.payments.retain(|paid| counts(paid, now));
        self.payments.push(Paid { at: now, amount: payment.amount });
    }

    /// What waits and has not waited too long.
    fn prune(&mut self, now: u64) {
        self.approvals.retain(|approval| approval.expires > now);
    }
}

impl Keys {
    /// Decides about a payment, and keeps what it decided.
    ///
    /// # Errors
    /// The rule that forbids it, or a disk that does not keep it: then nothing may be sent.
    pub fn decide(&self, key: &str, payment: &Payment) -> Result<Decision, Refusal> {
        self.decide_at(key, payment, unix())
    }

    pub(super) fn decide_at(&self, key: &str, payment: &Payment, now: u64) -> Result<Decision, Refusal> {
        let mut keys = self.lock();
        let mut changed = keys.clone();
        let Some(own) = changed.iter_mut().find(|own| own.id == key) else { return Err(no_key(key)) };
        let asks = match own.check(payment, now) {
            Ok(asks) => asks,
            Err((rule, no)) => {
                self.note(key, "refused", payment, &json!({"rule": rule, "message": no.message}))?;
                return Err(no);
            }
        };
        let decision = if asks {
            own.prune(now);
            if own.approvals.len() >= APPROVALS_MAX {
                let message = format!("{APPROVALS_MAX} payments of the key wait for its owner's word");
                let no = Refusal::new(RefusalCode::Busy, message, "its owner: talkoo key approvals");
                self.note(key, "refused", payment, &json!({"rule": "approvals", "message": no.message}))?;
                return Err(no);
            }
            let approval = Approval { id: fresh("pay_"), payment: payment.clone(), expires: now + DAY_S };
            own.approvals.push(approval.clone());
            Decision::Waits(approval)
        } else {
            own.pay(payment, now);
            Decision::Pay
        };
        let (word, more) = match &decision {
            Decision::Pay => ("allowed", json!({})),
            Decision::Waits(approval) => ("waits", json!({"rule": "approve_above", "approval": approval.id})),
        };
        self.note(key, word, payment, &more)?;
        self.save(&changed).map_err(|why| unkept(&why))?;
        *keys = changed;
        Ok(decision)
    }

    /// The owner's word about a payment that waits; with `yes` it is written as paid and has to be sent.
    ///
    /// # Errors
    /// If none waits by this name any more, or a rule forbids it by now.
    pub fn answer(&self, approval: &str, yes: bool) -> Result<(String, Payment), Refusal> {
        self.answer_at(approval, yes, unix())
    }

    pub(super) fn answer_at(&self, approval: &str, yes: bool, now: u64) -> Result<(String, Payment), Refusal> {
        let mut keys = self.lock();
        let mut changed = keys.clone();
        changed.iter_mut().for_each(|key| key.prune(now));
        let waits = |key: &&mut Key| key.approvals.iter().any(|one| one.id == approval);
        let Some(own) = changed.iter_mut().find(waits) else {
            let message = format!("no payment waits as {approval}");
            return Err(Refusal::new(RefusalCode::UnknownId, message, "talkoo key approvals"));
        };
        let at = own.approvals.iter().position(|one| one.id == approval).expect("it was found by it");
        let Approval { payment, .. } = own.approvals.remove(at);
        let id = own.id.clone();
        let more = json!({"approval": approval});
        if yes {
            // What the key paid meanwhile counts; it goes on waiting.
            if let Err((rule, no)) = own.check(&payment, now) {
                self.note(&id, "refused", &payment, &json!({"rule": rule, "approval": approval}))?;
                return Err(no);
            }
            own.pay(&payment, now);
        }
        self.note(&id, if yes { "approved" } else { "declined" }, &payment, &more)?;
        self.save(&changed).map_err(|why| unkept(&why))?;
        *keys = changed;
        Ok((id, payment))
    }

    /// Notes what became of a payment that was allowed.
    pub fn sent(&self, key: &str, payment: &Payment, outcome: &Result<Value, Refusal>) {
        let (word, more) = match outcome {
            Ok(value) => ("sent", json!({"transaction": value["transaction"], "grant": value["grant"]})),
            Err(no) => ("failed", json!({"message": no.message})),
        };
        // Nobody writes the notes anew meanwhile.
        let _keys = self.lock();
        if let Err(no) = self.note(key, word, payment, &more) {
            tracing::warn!(%no, key, "a payment's end was not noted");
        }
    }

    fn note(&self, key: &str, decision: &str, payment: &Payment, more: &Value) -> Result<(), Refusal> {
        let Payment { to, amount, asset, why, data } = payment;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = json!({
            "time": now.as_secs(), "nanos": now.subsec_nanos(), "key": key, "decision": decision, "to": to.to_string(),
            "amount": asset.shown(*amount), "asset": asset.name(), "why": why, "data": data,
        });
        let fields = line.as_object_mut().expect("it is one");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        self.audit.note(&line).map_err(|why| unkept(&why))
    }

    /// As [`Audit::forget_words`](super::audit::Audit); nobody notes a decision meanwhile.
    pub(crate) fn forget_words(&self, key: Option<&str>, before: u64, writes: bool) -> std::io::Result<(u64, u64)> {
        let _keys = self.lock();
        self.audit.forget_words(key, before, writes)
    }

    /// The last decisions about a key's payments, the oldest first.
    #[must_use]
    pub fn audit(&self, key: Option<&str>, most: usize) -> Vec<Value> {
        self.audit.last(key, most.min(LINES_MAX))
    }

    /// All payments that wait, with the keys that want them.
    #[must_use]
    pub fn approvals(&self) -> Vec<(String, Approval)> {
        let now = unix();
        let of = |key: &Key| key.approvals.iter().map(|one| (key.id.clone(), one.clone())).collect::<Vec<_>>();
        self.lock().iter().filter(|key| key.is_good()).flat_map(of).filter(|(_, one)| one.expires > now).collect()
    }

    /// A key by its id.
    ///
    /// # Errors
    /// If there is none.
    pub fn one(&self, id: &str) -> Result<Key, Refusal> {
        self.lock().iter().find(|key| key.id == id).cloned().ok_or_else(|| no_key(id))
    }

    /// What a key paid within 24 hours, in its policy's smallest unit.
    #[must_use]
    pub fn paid(key: &Key) -> u128 {
        Policy::paid(&key.payments, unix())
    }
}

fn no_key(id: &str) -> Refusal {
    Refusal::new(RefusalCode::UnknownId, format!("no key is called {id}"), "see `talkoo key ls`")
}
