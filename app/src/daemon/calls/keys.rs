//! Keys that the owner gives away.

use super::wallet::address;
use super::{Answer, Daemon, bad, optional, required};
use crate::daemon::config::price_of;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use talkoo_base::{Amount, Refusal};
use talkoo_inference::{AUDIT_LINES_MAX, Approval, Asset, Key, Keys, Policy, Scope};
use tokio::sync::oneshot;

/// Requests per minute that a key may be given.
const RATE_MAX: u64 = 1_000_000;
/// Addresses of a policy.
const ALLOW_MAX: usize = 256;
/// Decisions that a key is shown of itself.
const DECISIONS: usize = 20;

/// A key as it is shown: never the key itself.
fn shown(key: &Key) -> Value {
    json!({
        "id": key.id,
        "name": key.name,
        "created": key.created,
        "expires": key.expires,
        "budget": key.budget.map(|units| Amount(units).to_string()),
        "spent": Amount(key.spent).to_string(),
        "revoked": key.revoked,
        "scopes": key.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>(),
        "rate": key.rate,
        "policy": key.policy.as_ref().map(policy),
        "paid": key.policy.as_ref().map(|policy| policy.asset.shown(Keys::paid(key))),
        "waits": key.approvals.len(),
    })
}

fn policy(policy: &Policy) -> Value {
    let Policy { asset, per_payment, per_day, allow, approve_above, expires } = policy;
    json!({
        "asset": asset.name(),
        "per_payment": asset.shown(*per_payment),
        "per_day": asset.shown(*per_day),
        "allow": allow.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "approve_above": approve_above.map(|units| asset.shown(units)),
        "expires": expires,
    })
}

fn waiting(key: &str, approval: &Approval) -> Value {
    let payment = &approval.payment;
    json!({
        "id": approval.id,
        "key": key,
        "to": payment.to.to_string(),
        "amount": payment.asset.shown(payment.amount),
        "asset": payment.asset.name(),
        "why": payment.why,
        "data": payment.data,
        "expires": approval.expires,
    })
}

/// A list of words, as a list or with commas between.
fn words(args: &Value, key: &str) -> Result<Option<Vec<String>>, Refusal> {
    let list = |value: &Value| match value {
        Value::String(text) => {
            Ok(text.split(',').map(|word| word.trim().to_owned()).filter(|w| !w.is_empty()).collect())
        }
        Value::Array(all) => {
            all.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<_>>().ok_or("a list of texts")
        }
        _ => Err("a list of texts"),
    };
    optional(args, key, list)
}

/// What a call says of scopes, rate and policy; what it does not name stays.
fn apply(key: &mut Key, args: &Value, now: u64) -> Result<(), Refusal> {
    if let Some(words) = words(args, "scopes")? {
        let all: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        let scope = |word: &String| {
            Scope::parse(word)
                .ok_or_else(|| bad(format!("{word:?} is no scope"), &format!("there are {}", all.join(", "))))
        };
        key.scopes = words.iter().map(scope).collect::<Result<BTreeSet<_>, _>>()?;
    }
    if let Some(rate) = optional(args, "rate", |v| v.as_u64().filter(|n| *n <= RATE_MAX).ok_or("0 to 1000000"))? {
        key.rate = u32::try_from(rate).ok().filter(|rate| *rate > 0);
    }
    let names = ["asset", "per_payment", "per_day", "allow", "approve_above", "policy_days"];
    if names.iter().all(|name| args[*name].is_null()) {
        return Ok(());
    }
    let asset = optional(args, "asset", |v| v.as_str().and_then(Asset::parse).ok_or("money, stake or gas"))?;
    let before = key.policy.take();
    let asset = asset.or(before.as_ref().map(|policy| policy.asset)).unwrap_or_default();
    if before.as_ref().is_some_and(|before| before.asset != asset) && !key.payments.is_empty() {
        return Err(bad("what was paid within 24 hours is of another asset", "make a new key for this one"));
    }
    // Limits of another asset are of another unit.
    let before = before.filter(|policy| policy.asset == asset);
    let amount = |name: &str| {
        optional(args, name, |v| v.as_str().and_then(|text| asset.units(text)).ok_or("an amount as text, as \"1.5\""))
    };
    let needed = |name: &'static str, given: Option<u128>, had: Option<u128>| {
        given.or(had).ok_or_else(|| {
            let hint = "a policy has per_payment, per_day and allow: --per-payment, --per-day, --allow";
            bad(format!("`{name}` is missing"), hint)
        })
    };
    let allow = match words(args, "allow")? {
        Some(all) if all.len() > ALLOW_MAX => {
            return Err(bad(format!("`allow` has more than {ALLOW_MAX}"), "name fewer"));
        }
        Some(all) => all.iter().map(|word| address(word)).collect::<Result<_, _>>()?,
        None => before.as_ref().map(|policy| policy.allow.clone()).unwrap_or_default(),
    };
    let days = optional(args, "policy_days", |v| v.as_u64().filter(|d| (1..=36_500).contains(d)).ok_or("1 to 36500"))?;
    key.policy = Some(Policy {
        asset,
        per_payment: needed("per_payment", amount("per_payment")?, before.as_ref().map(|p| p.per_payment))?,
        per_day: needed("per_day", amount("per_day")?, before.as_ref().map(|p| p.per_day))?,
        allow,
        approve_above: amount("approve_above")?.or(before.as_ref().and_then(|p| p.approve_above)),
        expires: days.map(|days| now + days * 86_400).or(before.as_ref().and_then(|p| p.expires)),
    });
    Ok(())
}

impl Daemon {
    pub(super) fn about_keys(&self, name: &str, args: &Value) -> Answer {
        match name {
            "keys" => Ok(json!({"keys": self.keys.all().iter().map(shown).collect::<Vec<_>>()})),
            "key_create" => self.create_key(args),
            "key_revoke" => Ok(shown(&self.keys.revoke(required(args, "id")?)?)),
            "key_set" => {
                let now = crate::ledger::unix();
                Ok(shown(&self.keys.change(required(args, "id")?, |key| apply(key, args, now))?))
            }
            "approvals" => {
                let all = self.keys.approvals();
                Ok(json!({"approvals": all.iter().map(|(key, one)| waiting(key, one)).collect::<Vec<_>>()}))
            }
            other => Err(bad(format!("`{other}` is not a call"), "update the command line or the node")),
        }
    }

    /// Answers that are read from files, which others are not to wait for.
    pub(super) fn read_about_keys(&self, name: &'static str, args: Value, reply: oneshot::Sender<Answer>) {
        let keys = self.keys.clone();
        self.tasks.spawn_blocking(move || {
            let answer = required(&args, "id").and_then(|id| found(&keys, id)).map(|key| match name {
                "key_audit" => json!({"decisions": keys.audit(Some(&key.id), AUDIT_LINES_MAX)}),
                _ => whole(&keys, &key),
            });
            // Who asked may have gone.
            reply.send(answer).ok();
        });
    }

    fn create_key(&self, args: &Value) -> Answer {
        let name =
            optional(args, "name", |v| v.as_str().filter(|n| n.len() <= 128).ok_or("a text of up to 128 bytes"))?;
        let budget = optional(args, "budget", |v| v.as_f64().ok_or("a number"))?;
        // A price of so much for a million is so much.
        let budget = budget.map(price_of).transpose()?.map(|price| Amount(price.output));
        let days = optional(args, "days", |v| v.as_u64().filter(|d| (1..=36_500).contains(d)).ok_or("1 to 36500"))?;
        let now = crate::ledger::unix();
        let expires = days.map(|days| now + days * 86_400);
        let (key, secret) =
            self.keys.create_with(name.unwrap_or_default(), budget, expires, |key| apply(key, args, now))?;
        let mut value = shown(&key);
        value["key"] = json!(secret);
        Ok(value)
    }
}

/// A key by its id, be it revoked, or by its name.
fn found(keys: &Keys, name: &str) -> Result<Key, Refusal> {
    keys.one(name).or_else(|no| {
        let named: Vec<Key> = keys.all().into_iter().filter(|key| !key.revoked && key.name == name).collect();
        match <[Key; 1]>::try_from(named) {
            Ok([key]) => Ok(key),
            Err(none) if none.is_empty() => Err(no),
            Err(_) => Err(bad(format!("several keys are called {name}"), "say which by its id")),
        }
    })
}

/// A key, what waits for the owner of it, and what was decided last.
fn whole(keys: &Keys, key: &Key) -> Value {
    let mut value = shown(key);
    let now = crate::ledger::unix();
    let open = key.approvals.iter().filter(|one| one.expires > now);
    value["approvals"] = open.map(|one| waiting(&key.id, one)).collect();
    value["decisions"] = json!(keys.audit(Some(&key.id), DECISIONS));
    value
}
