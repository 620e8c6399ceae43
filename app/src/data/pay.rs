//! Payments of the owner's, and what data costs before it is paid.

use super::{Answer, Desks, no};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use talkoo_base::{Address, RefusalCode, SecretKey};
use talkoo_inference::{Asset, Payment};

/// Versions that one search looks at, the newest: each is asked of the chain, and its manifest perhaps of the network.
const SEARCHED_MAX: usize = 200;
/// How long a search looks on.
const SEARCH_WAIT: Duration = Duration::from_secs(30);

impl Desks {
    /// Whether the owner's key is here, unless it comes along, and the asset one that can be sent.
    pub(crate) fn can_pay(&self, payment: &Payment, key: Option<&SecretKey>) -> Answer<()> {
        if payment.data.is_none() && payment.asset == Asset::Money && !self.desk.is_outside() {
            let hint = "others get their own: `wallet top-up` there";
            return Err(no(RefusalCode::Malformed, "test credit can't be sent: it has no value", hint));
        }
        if key.is_some() { Ok(()) } else { self.desk.key().map(drop) }
    }

    /// Sends what the owner has; `key` is his, if the wallet is locked.
    pub(crate) fn pay(&self, payment: &Payment, key: Option<SecretKey>) -> Answer<Value> {
        let key = key.map_or_else(|| self.desk.key(), Ok)?;
        let included = self.desk.give(&key, payment)?;
        Ok(json!({
            "status": "sent",
            "transaction": included.hash.to_string(),
            "block": included.block,
            "gas": included.gas_used,
        }))
    }

    /// What access to a version costs now, and to whom it is paid.
    pub(crate) fn price_of(&self, id: &str, why: &str) -> Answer<Payment> {
        let version = self.find(id)?;
        let offers = self.desk.offers(version.id)?;
        let open = offers.into_iter().rev().find(|offer| offer.terms.isOpen);
        let offer = open.ok_or_else(|| no(RefusalCode::NotProviding, "it is not for sale", "ask its owner"))?;
        Ok(Payment {
            to: Address(version.owner.into_array()),
            amount: offer.terms.price,
            asset: Asset::Money,
            why: why.to_owned(),
            data: Some(super::chain::digest(version.id).to_string()),
        })
    }

    /// Published versions whose names, titles or descriptions have all these words, the newest first.
    pub(crate) fn search(&self, words: &str, most: usize) -> Answer<Value> {
        let (begun, mut rows) = (Instant::now(), Vec::new());
        for id in self.desk.published()?.into_iter().rev().take(SEARCHED_MAX) {
            if rows.len() >= most || begun.elapsed() > SEARCH_WAIT {
                break;
            }
            let version = self.desk.version(id)?;
            // What is revoked is not told; a manifest that nobody has is nothing to choose by.
            let Some((_, manifest)) = (version.of.state != 3).then(|| self.manifest(&version).ok()).flatten() else {
                continue;
            };
            let owner = version.owner.to_string();
            if !talkoo_mcp::matches(words, &[&manifest.name, &manifest.title, &manifest.description, &owner]) {
                continue;
            }
            let open = self.desk.offers(id)?.into_iter().rev().find(|offer| offer.terms.isOpen);
            rows.push(json!({
                "id": super::chain::digest(id).to_string(),
                "asset": version.of.asset.to_string(),
                "name": manifest.name,
                "title": manifest.title,
                "description": manifest.description,
                "owner": owner,
                "licence": manifest.licence,
                "kind": manifest.kind.name(),
                "bytes": manifest.sealed_bytes,
                "price": open.map(|offer| Asset::Money.shown(offer.terms.price)),
            }));
        }
        Ok(json!({"data": rows}))
    }
}
