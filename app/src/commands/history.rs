//! `wallet history`: what came and went, from the token's own events.

use super::wallet::{Books, Transfer, events, units};
use super::{Show, print};
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolEvent as _;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use talkoo_ledger::bindings::IToken;

/// Prints every movement of an owner's money, first the oldest.
pub(super) fn run(books: &Books, owner: Address, since: Option<u64>, csv: bool, show: &Show) -> Result<()> {
    let Books { place, rpc, .. } = books;
    let (kind, topic) = (IToken::Transfer::SIGNATURE_HASH.to_string(), owner.into_word().to_string());
    let mut rows = Vec::new();
    for topics in [json!([kind, topic]), json!([kind, null, topic])] {
        events(books, since, place.at.token, &topics, |log| rows.push(Transfer::of(log)))?;
    }
    rows.sort_by_key(|row| row.block);
    let mut times = BTreeMap::new();
    for row in &rows {
        if let Entry::Vacant(free) = times.entry(row.block) {
            let block = rpc.ask("eth_getBlockByNumber", &json!([format!("0x{:x}", row.block), false]))?;
            let time = block["timestamp"].as_str().and_then(|text| text.parse::<U256>().ok()).unwrap_or_default();
            free.insert(time.saturating_to::<u64>());
        }
    }
    let at = place.at;
    let what = |row: &Transfer| -> (&str, &str) {
        let other = |end: &str| end.parse::<Address>().unwrap_or_default();
        if row.from == format!("{owner:#x}") {
            let to = other(&row.to);
            (if to == at.settlement || to == at.collector { "reserved" } else { "sent" }, "-")
        } else {
            match other(&row.from) {
                from if from == at.vault => ("earned", "+"),
                from if from == at.settlement => ("returned", "+"),
                Address::ZERO => ("credit", "+"),
                _ => ("received", "+"),
            }
        }
    };
    if csv {
        print("time,block,what,amount,from,to,transaction");
    }
    let mut values: Vec<Value> = Vec::new();
    for row in &rows {
        let ((what, sign), time) = (what(row), times.get(&row.block).copied().unwrap_or(0));
        let Transfer { block, hash, from, to, amount } = row;
        if csv {
            print(&format!("{time},{block},{what},{sign}{},{from},{to},{hash}", units(*amount)));
        } else if show.json() {
            let amount = format!("{sign}{amount}");
            values.push(json!({"time": time, "block": block, "what": what, "amount": amount, "from": from, "to": to, "transaction": hash}));
        } else {
            print(&format!("{time}  block {block:<8} {what:<9} {sign}{:>16}  {hash}", units(*amount)));
        }
    }
    if show.json() && !csv {
        show.value(&json!({"history": values, "unit": "micro-units"}));
    }
    Ok(())
}
