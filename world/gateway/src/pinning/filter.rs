//! What `GET /pins` asks for.

use super::{LIMIT_DEFAULT, NAME_CHARS_MAX, No, Status, bad, created, strings};
use crate::gateway::{form_pairs, parse_cid};
use crate::limits::PINS_LISTED_MAX;
use crate::time::parse_rfc3339;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use talkoo_base::Cid;
use talkoo_disk::blocks::Pin;

/// What `GET /pins` asks for.
pub(super) struct Filter {
    cids: Vec<Cid>,
    name: Option<(String, Match)>,
    statuses: Vec<String>,
    before: Option<u64>,
    after: Option<u64>,
    meta: BTreeMap<String, String>,
    pub(super) limit: usize,
}

/// How a name is compared.
#[derive(Clone, Copy)]
enum Match {
    Exact,
    IgnoreCase,
    Partial,
    PartialIgnoreCase,
}

fn has_twice<T: Ord>(items: &[T]) -> bool {
    items.iter().collect::<BTreeSet<_>>().len() < items.len()
}

impl Filter {
    pub(super) fn parse(query: &str) -> Result<Self, No> {
        let query: BTreeMap<String, String> = form_pairs(query)?.into_iter().collect();
        let list = |name: &str| query.get(name).into_iter().flat_map(|text| text.split(',')).map(str::to_owned);
        let cids: Vec<Cid> = list("cid")
            .map(|cid| parse_cid(&cid).ok_or_else(|| bad("`cid` is not a CID")))
            .collect::<Result<_, _>>()?;
        if query.contains_key("cid") && !(1..=10).contains(&cids.len()) {
            return Err(bad("`cid` takes one to ten CIDs"));
        }
        let statuses: Vec<String> = list("status").collect();
        if has_twice(&cids) || has_twice(&statuses) {
            return Err(bad("a CID or a status comes twice"));
        }
        let is_status = |status: &String| matches!(status.as_str(), "queued" | "pinning" | "pinned" | "failed");
        if !statuses.iter().all(is_status) {
            return Err(bad("`status` is of queued, pinning, pinned and failed"));
        }
        // The specification: without a status, and without a CID to look for, only what is pinned is told.
        let statuses = if statuses.is_empty() && cids.is_empty() { vec!["pinned".to_owned()] } else { statuses };
        let how = match query.get("match").map(String::as_str) {
            None | Some("exact") => Match::Exact,
            Some("iexact") => Match::IgnoreCase,
            Some("partial") => Match::Partial,
            Some("ipartial") => Match::PartialIgnoreCase,
            Some(_) => return Err(bad("`match` is exact, iexact, partial or ipartial")),
        };
        let limit = match query.get("limit") {
            None => LIMIT_DEFAULT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=PINS_LISTED_MAX).contains(limit))
                .ok_or_else(|| bad("`limit` is 1 to 1000"))?,
        };
        if query.get("name").is_some_and(|name| name.chars().count() > NAME_CHARS_MAX) {
            return Err(bad(format!("`name` has at most {NAME_CHARS_MAX} characters")));
        }
        let meta = match query.get("meta") {
            None => BTreeMap::new(),
            Some(text) => {
                let value: Value =
                    serde_json::from_str(text).map_err(|why| bad(format!("`meta` is not JSON: {why}")))?;
                value.as_object().and_then(strings).ok_or_else(|| bad("`meta` is an object of strings"))?
            }
        };
        Ok(Self {
            cids,
            name: query.get("name").map(|name| (name.clone(), how)),
            statuses,
            before: query.get("before").map(|at| time(at)).transpose()?,
            after: query.get("after").map(|at| time(at)).transpose()?,
            meta,
            limit,
        })
    }

    /// Whether a pin is among what is asked for.
    pub(super) fn takes(&self, pin: &Pin, status: &Status) -> bool {
        let is_named = self.name.as_ref().is_none_or(|(name, how)| match how {
            Match::Exact => pin.name == *name,
            Match::IgnoreCase => pin.name.to_lowercase() == name.to_lowercase(),
            Match::Partial => pin.name.contains(name.as_str()),
            Match::PartialIgnoreCase => pin.name.to_lowercase().contains(&name.to_lowercase()),
        });
        let at = created(pin);
        (self.cids.is_empty() || self.cids.iter().any(|cid| cid.hash() == pin.root.hash()))
            && (self.statuses.is_empty() || self.statuses.iter().any(|wanted| wanted == status.name()))
            && is_named
            && self.before.is_none_or(|before| at < before)
            && self.after.is_none_or(|after| at > after)
            && self.meta.iter().all(|(key, value)| pin.meta.get(key) == Some(value))
    }
}

fn time(text: &str) -> Result<u64, No> {
    parse_rfc3339(text).ok_or_else(|| bad("times are written as 2026-11-21T12:00:00Z"))
}
