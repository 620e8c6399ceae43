//! Keys that the owner gives away.

use super::{Answer, Daemon, optional, required};
use crate::daemon::config::price_of;
use serde_json::{Value, json};
use talkoo_base::Amount;
use talkoo_inference::Key;

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
    })
}

impl Daemon {
    pub(super) fn list_keys(&self) -> Value {
        json!({"keys": self.keys.all().iter().map(shown).collect::<Vec<_>>()})
    }

    pub(super) fn create_key(&self, args: &Value) -> Answer {
        let name =
            optional(args, "name", |v| v.as_str().filter(|n| n.len() <= 128).ok_or("a text of up to 128 bytes"))?;
        let budget = optional(args, "budget", |v| v.as_f64().ok_or("a number"))?;
        // A price of so much for a million is so much.
        let budget = budget.map(price_of).transpose()?.map(|price| Amount(price.output));
        let days = optional(args, "days", |v| v.as_u64().filter(|d| (1..=36_500).contains(d)).ok_or("1 to 36500"))?;
        let expires = days.map(|days| crate::ledger::unix() + days * 86_400);
        let (key, secret) = self.keys.create(name.unwrap_or_default(), budget, expires)?;
        let mut value = shown(&key);
        value["key"] = json!(secret);
        Ok(value)
    }

    pub(super) fn revoke_key(&self, args: &Value) -> Answer {
        Ok(shown(&self.keys.revoke(required(args, "id")?)?))
    }
}
