//! Calls about money: what there is, what moved, and payments, those of keys under their policies. Each waits for the chain, so it
//! has a thread of its own.

use super::{Answer, Daemon, bad, optional, readable, required, text, yes_or_no};
use crate::commands::{Books, movements, refusal_of, wallet_summary};
use crate::data::{Choice, Desks};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use talkoo_base::{Address, Refusal, RefusalCode, SecretKey};
use talkoo_disk::{Owner, OwnerFiles};
use talkoo_inference::{Asset, Decision, Keys, Payment};
use tokio::sync::oneshot;

/// Movements that one answer tells.
const MOVEMENTS_MAX: u64 = 1_000;
/// Bytes of the reason of a payment.
const WHY_BYTES_MAX: usize = 2_000;

/// What pays.
struct Till {
    keys: Arc<Keys>,
    desks: Arc<Desks>,
    dir: PathBuf,
}

impl Daemon {
    pub(super) fn about_money(&self, name: &'static str, args: Value, reply: oneshot::Sender<Answer>) {
        let (status, dir) = (self.status(), self.config.data_dir.clone());
        let till = self.till();
        self.tasks.spawn_blocking(move || {
            let answer = match name {
                "wallet" => Books::with(status).and_then(|books| wallet_summary(&dir, &books, false)).map_err(no),
                "wallet_history" => history(status, &args),
                "wallet_pay" => till.and_then(|till| till.wallet_pay(&args)),
                "data_buy" => till.and_then(|till| till.data_buy(&args)),
                "approve" | "decline" => till.and_then(|till| till.answer(required(&args, "id")?, name == "approve")),
                other => Err(bad(format!("`{other}` is not a call"), "update the command line or the node")),
            };
            // Who asked may have gone.
            reply.send(answer).ok();
        });
    }

    fn till(&self) -> Result<Till, Refusal> {
        let none = || Refusal::new(RefusalCode::NotProviding, "this node has no ledger", "start it with --ledger");
        let desks = self.money.data.as_ref().and_then(crate::data::Data::desks).ok_or_else(none)?;
        Ok(Till { keys: self.keys.clone(), desks, dir: self.config.data_dir.clone() })
    }
}

fn no(error: anyhow::Error) -> Refusal {
    refusal_of(&error)
}

fn history(status: Value, args: &Value) -> Answer {
    let most =
        optional(args, "limit", |value| whole(value).filter(|n| (1..=MOVEMENTS_MAX).contains(n)).ok_or("1 to 1000"))?;
    let mut rows =
        Books::with(status).and_then(|books| movements(&books, None, most.map(|n| n as usize))).map_err(no)?;
    rows.reverse();
    Ok(json!({"history": rows, "unit": "micro-units"}))
}

/// A number of a body or a query.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The key that asks, if it is one.
fn key(args: &Value) -> Option<&str> {
    text(args, "key")
}

fn why(args: &Value) -> Result<String, Refusal> {
    let why = readable(args, "why")?;
    if why.len() > WHY_BYTES_MAX {
        return Err(bad(format!("`why` has more than {WHY_BYTES_MAX} bytes"), "say it shorter"));
    }
    Ok(why)
}

impl Till {
    fn wallet_pay(&self, args: &Value) -> Answer {
        let to = required(args, "to")?;
        let to =
            crate::cli::account(to).map_err(|why| bad(format!("`to` is no address ({why})"), "0x and 40 digits"))?;
        let asset = optional(args, "asset", |v| v.as_str().and_then(Asset::parse).ok_or("money, stake or gas"))?;
        let asset = asset.unwrap_or_default();
        let amount = asset.units(required(args, "amount")?).filter(|units| *units > 0).ok_or_else(|| {
            let message =
                format!("`amount` is no number above 0 with at most {} digits behind the point", asset.decimals());
            bad(message, "as text: \"1.5\"")
        })?;
        let payment = Payment { to, amount, asset, why: why(args)?, data: None };
        let secret = match text(args, "passphrase") {
            Some(passphrase) if key(args).is_none() => self.unlocked(passphrase)?,
            _ => None,
        };
        self.pay(key(args), &payment, secret)
    }

    /// The owner's key for one payment, while the wallet stays locked.
    fn unlocked(&self, passphrase: &str) -> Result<Option<SecretKey>, Refusal> {
        let files = OwnerFiles::of(&self.dir);
        let refuse = |why: talkoo_disk::OwnerError| {
            Refusal::new(RefusalCode::Malformed, why.to_string(), "the wallet stays locked")
        };
        match files.open().map_err(refuse)? {
            Owner::Open(_) => Ok(None),
            Owner::Locked(_) => files.unlock(passphrase).map(Some).map_err(refuse),
        }
    }

    fn data_buy(&self, args: &Value) -> Answer {
        let id = required(args, "id")?;
        match key(args) {
            None => self.desks.buy(id, choice(args)?, None).map(bought),
            Some(_) => self.pay(key(args), &self.desks.price_of(id, choice(args)?, &why(args)?)?, None),
        }
    }

    /// Pays as the owner, or as a key whose policy allows it.
    fn pay(&self, key: Option<&str>, payment: &Payment, secret: Option<SecretKey>) -> Answer {
        self.desks.can_pay(payment, secret.as_ref())?;
        let Some(key) = key else { return self.send(payment, secret) };
        match self.keys.decide(key, payment)? {
            Decision::Pay => self.send_for(key, payment),
            Decision::Waits(approval) => {
                let note =
                    "the payment waits for the node's owner: `talkoo key approve`; policy_show says what became of it";
                Ok(json!({"status": "waits", "approval": approval.id, "expires": approval.expires, "note": note}))
            }
        }
    }

    fn send(&self, payment: &Payment, secret: Option<SecretKey>) -> Answer {
        match &payment.data {
            Some(version) => self.desks.buy(version, Choice::Any, Some(payment.amount)).map(bought),
            None => self.desks.pay(payment, secret),
        }
    }

    /// Sends what is written as paid.
    fn send_for(&self, key: &str, payment: &Payment) -> Answer {
        let outcome = self.send(payment, None);
        self.keys.sent(key, payment, &outcome);
        outcome
    }

    /// The owner's word about a payment that waits.
    fn answer(&self, approval: &str, yes: bool) -> Answer {
        if yes && let Some((_, waits)) = self.keys.approvals().iter().find(|(_, one)| one.id == approval) {
            self.desks.can_pay(&waits.payment, None)?;
        }
        let (key, payment) = self.keys.answer(approval, yes)?;
        if yes { self.send_for(&key, &payment) } else { Ok(json!({"status": "declined", "approval": approval})) }
    }
}

/// Which offer is bought.
fn choice(args: &Value) -> Result<Choice, Refusal> {
    let offer = optional(args, "offer", |value| value.as_u64().ok_or("a whole number"))?;
    match (offer, optional(args, "per_query", yes_or_no)?.unwrap_or(false)) {
        (Some(_), true) => Err(bad("`offer` and `per_query` choose both", "leave one of them out")),
        (Some(offer), false) => Ok(Choice::Offer(offer)),
        (None, true) => Ok(Choice::PerQuery),
        (None, false) => Ok(Choice::Any),
    }
}

fn bought(mut value: Value) -> Value {
    value["status"] = json!("bought");
    value
}

/// An address of a list, for policies.
pub(super) fn address(word: &str) -> Result<Address, Refusal> {
    crate::cli::account(word)
        .map_err(|why| bad(format!("{word} is no address ({why})"), "0x and 40 hexadecimal digits"))
}
