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

/// Movements of the owner's money, the oldest first; the last `most` of them.
pub(crate) fn movements(books: &Books, since: Option<u64>, most: Option<usize>) -> Result<Vec<Value>> {
    let (Books { place, rpc, .. }, owner) = (books, books.account("owner")?);
    let (kind, topic) = (IToken::Transfer::SIGNATURE_HASH.to_string(), owner.into_word().to_string());
    let mut rows = Vec::new();
    for topics in [json!([kind, topic]), json!([kind, null, topic])] {
        events(books, since, place.at.token, &topics, |log| rows.push(Transfer::of(log)))?;
    }
    rows.sort_by_key(|row| row.block);
    let rows = rows.split_off(most.map_or(0, |most| rows.len().saturating_sub(most)));
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
    let shown = |row: &Transfer| {
        let ((what, sign), time) = (what(row), times.get(&row.block).copied().unwrap_or(0));
        let Transfer { block, hash, from, to, amount } = row;
        json!({"time": time, "block": block, "what": what, "amount": format!("{sign}{amount}"), "from": from, "to": to, "transaction": hash})
    };
    Ok(rows.iter().map(shown).collect())
}

/// Prints them.
pub(super) fn run(books: &Books, since: Option<u64>, csv: bool, show: &Show) -> Result<()> {
    let rows = movements(books, since, None)?;
    if show.json() && !csv {
        show.value(&json!({"history": rows, "unit": "micro-units"}));
        return Ok(());
    }
    if csv {
        print("time,block,what,amount,from,to,transaction");
    }
    for row in &rows {
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let (sign, amount) = text("amount").split_at_checked(1).unwrap_or_default();
        let amount = units(amount.parse().unwrap_or_default());
        let (time, block, what, hash) = (&row["time"], &row["block"], text("what"), text("transaction"));
        if csv {
            print(&format!("{time},{block},{what},{sign}{amount},{},{},{hash}", text("from"), text("to")));
        } else {
            print(&format!("{time}  block {block:<8} {what:<9} {sign}{amount:>16}  {hash}"));
        }
    }
    Ok(())
}
