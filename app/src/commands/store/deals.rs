//! `store deal`, `store deals`, `store provide`: storage for pay.

use crate::cli::DealArgs;
use crate::client::Client;
use crate::commands::wallet::units;
use crate::commands::{Failure, Show, print, say};
use crate::daemon::config::price_of;
use alloy_primitives::U256;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::IsTerminal;
use talkoo_base::RefusalCode;

/// Micro-units of a price in tokens.
fn micro(tokens: f64) -> Result<u64> {
    let price = price_of(tokens).map_err(Failure::from)?;
    u64::try_from(price.output).context("nobody pays that much")
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

fn money(row: &Value, key: &str) -> String {
    units(text(row, key).parse().unwrap_or(U256::ZERO))
}

pub(super) fn provide(client: &Client, space: u64, price: f64, show: &Show) -> Result<()> {
    show.value(&client.post("/deals/provide", &json!({"space_bytes": space, "price": micro(price)?}))?);
    Ok(())
}

/// Asks who would, shows what it costs, and orders if that is wanted.
pub(super) fn deal(client: &Client, args: &DealArgs, show: &Show) -> Result<()> {
    let cid = args.cid.trim_start_matches("/ipfs/");
    let order = json!({"cid": cid, "replicas": args.replicas, "epochs": args.epochs, "epoch_s": args.epoch,
                       "price_max": micro(args.price_max)?});
    if !args.yes {
        let quote = client.post("/deals/quote", &order)?;
        let (bytes, total) = (&quote["bytes"], money(&quote, "total"));
        for offer in quote["offers"].as_array().into_iter().flatten() {
            let price = units(U256::from(offer["price"].as_u64().unwrap_or(0)));
            say(&format!("{}  {price} for an epoch, answered in {} ms", text(offer, "owner"), offer["answer_ms"]));
        }
        say(&format!(
            "{} replicas of {bytes} bytes for {} epochs of {} s: {total}",
            args.replicas, args.epochs, args.epoch
        ));
        confirm()?;
    }
    let placed = client.post("/deals", &order)?;
    if show.json() {
        show.value(&placed);
    } else {
        placed["deals"].as_array().into_iter().flatten().for_each(|id| print(id.as_str().unwrap_or_default()));
        say(
            "`store deals` says how they stand; keep this node running, or start it now and then: it mends what is lost",
        );
    }
    Ok(())
}

fn confirm() -> Result<()> {
    let stop = |why: &str, hint: &str| Err(Failure::new(RefusalCode::Unfit, why, hint).into());
    if !std::io::stdin().is_terminal() {
        return stop("nobody is here to say yes", "--yes says it");
    }
    say("the price is locked now, and paid epoch by epoch. Go on? [y/N]");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line.trim().eq_ignore_ascii_case("y") { Ok(()) } else { stop("nothing was ordered", "y says yes") }
}

pub(super) fn list(client: &Client, show: &Show) -> Result<()> {
    let all = client.get("/deals")?;
    if show.json() {
        show.value(&all);
        return Ok(());
    }
    let rows = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for object in rows(&all["objects"]) {
        print(&format!("{}  {} of {} replicas", text(&object, "cid"), object["live"], object["wanted"]));
        rows(&object["replicas"]).iter().for_each(|row| print(&line(row, text(row, "owner"))));
    }
    for row in rows(&all["kept"]) {
        print(&line(&row, &format!("kept for pay, {} bytes", row["bytes"])));
    }
    if all["terms"].is_object() {
        let price = units(U256::from(all["terms"]["price"].as_u64().unwrap_or(0)));
        say(&format!("keeping up to {} bytes at {price} for a GiB and 30 days", all["terms"]["space_bytes"]));
    }
    Ok(())
}

/// A deal in one line.
fn line(row: &Value, whose: &str) -> String {
    let id = text(row, "deal");
    let next = &row["challenge"];
    let next = if next.is_object() {
        format!(", epoch {} {} until {}", next["epoch"], text(next, "draw"), next["until"])
    } else {
        String::new()
    };
    let counts = if row["proven"].is_null() {
        format!("{} of {} epochs decided", row["decided"], row["epochs"])
    } else {
        let paid = money(row, "paid");
        format!(
            "{} epochs: {} proven, {} missed, {} void, paid {paid}",
            row["epochs"], row["proven"], row["missed"], row["void"]
        )
    };
    format!("  {}  {}: {counts}{next}; {whose}", &id[..id.len().min(12)], text(row, "state"))
}

/// Has the node bring an object back that others keep for it, if it has none of it any more.
pub(super) fn bring_back(client: &Client, path: &str) {
    let cid = path.trim_start_matches("/ipfs/").split('/').next().unwrap_or_default();
    match client.post("/deals/restore", &json!({"cid": cid})) {
        Ok(answer) if answer["restored"] == true => say("it was lost here; it is back from a replica"),
        Ok(_) => {}
        // Perhaps the network has it nevertheless.
        Err(why) => tracing::debug!(%why, "no replica"),
    }
}
