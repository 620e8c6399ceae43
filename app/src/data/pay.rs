//! Payments of the owner's, and what data costs before it is paid.

use super::chain::Offer;
use super::{Answer, Desks, no};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use talkoo_base::{Address, RefusalCode, SecretKey};
use talkoo_inference::{Asset, Payment};

/// Versions that one search looks at, the newest: each is asked of the chain, and its manifest perhaps of the network.
const SEARCHED_MAX: usize = 200;
/// How long a search looks on.
const SEARCH_WAIT: Duration = Duration::from_secs(30);

/// Which of a version's open offers is meant: it can have several at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The newest for more than one use, or the newest if there is none such.
    #[default]
    Any,
    /// The newest for one use.
    PerQuery,
    /// That with this number.
    Offer(u64),
}

/// The open offer that is meant, for at most so many micro-units.
pub(super) fn choose(offers: Vec<Offer>, choice: Choice, most: Option<u128>) -> Answer<Offer> {
    let is_meant = |offer: &Offer| match choice {
        Choice::Any => true,
        Choice::PerQuery => offer.terms.usesMost == 1,
        Choice::Offer(id) => offer.id == id,
    };
    let mut open: Vec<Offer> = offers.into_iter().filter(|offer| offer.terms.isOpen && is_meant(offer)).collect();
    let least = open.iter().map(|offer| offer.terms.price).min();
    let Some(least) = least else {
        let why = match choice {
            Choice::Any => "it is not for sale".to_owned(),
            Choice::PerQuery => "no single use of it is for sale".to_owned(),
            Choice::Offer(id) => format!("it has no open offer {id}"),
        };
        return Err(no(RefusalCode::NotProviding, why, "see `talkoo data show`, or ask its owner"));
    };
    open.retain(|offer| most.is_none_or(|most| offer.terms.price <= most));
    let newest = open.into_iter().max_by_key(|offer| (offer.terms.usesMost != 1, offer.id));
    newest.ok_or_else(|| {
        let no = no(RefusalCode::PriceAboveMax, "its owner asks more by now", "talkoo data show");
        no.with(most.unwrap_or_default(), least)
    })
}

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
    pub(crate) fn price_of(&self, id: &str, choice: Choice, why: &str) -> Answer<Payment> {
        let version = self.find(id)?;
        let offer = choose(self.desk.offers(version.id)?, choice, None)?;
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
            let open = choose(self.desk.offers(id)?, Choice::Any, None).ok();
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{B256, aliases::U40};
    use talkoo_ledger::bindings::Terms;

    #[test]
    fn of_several_offers_the_one_that_is_meant_is_taken() {
        let offer = |id, price, uses_most, is_open| Offer {
            id,
            terms: Terms {
                version: B256::ZERO,
                purpose: B256::ZERO,
                price,
                accessS: U40::from(9),
                deliverS: U40::from(9),
                usesMost: uses_most,
                isOpen: is_open,
            },
        };
        let both = || vec![offer(1, 30, 0, false), offer(2, 40, 0, true), offer(3, 1, 1, true), offer(4, 2, 1, false)];
        let check = |offers: Vec<Offer>, choice, most, want: Result<u64, RefusalCode>| {
            let taken = choose(offers, choice, most).map(|offer| offer.id).map_err(|why| why.code);
            assert_eq!(taken, want, "{choice:?} {most:?}");
        };
        check(both(), Choice::Any, None, Ok(2));
        check(both(), Choice::PerQuery, None, Ok(3));
        check(both(), Choice::Offer(3), None, Ok(3));
        check(both(), Choice::Offer(4), None, Err(RefusalCode::NotProviding));
        // What a key was allowed to pay says which one it meant.
        check(both(), Choice::Any, Some(40), Ok(2));
        check(both(), Choice::Any, Some(1), Ok(3));
        check(both(), Choice::Any, Some(0), Err(RefusalCode::PriceAboveMax));
        check(vec![offer(5, 7, 1, true)], Choice::Any, None, Ok(5));
        check(vec![offer(5, 7, 0, true)], Choice::PerQuery, None, Err(RefusalCode::NotProviding));
        check(Vec::new(), Choice::Any, None, Err(RefusalCode::NotProviding));
    }
}
