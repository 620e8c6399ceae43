//! `data`: sealed data, and its sale. A client of the node's API.

use super::{Failure, Show, say};
use crate::cli::{AddArgs, Class, DataCommand, Profile, PublishArgs, TermsArgs};
use crate::client::Client;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};
use talkoo_base::RefusalCode;
use talkoo_inference::Asset;

pub(super) fn run(data_dir: &Path, command: &DataCommand, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let post = |call: &str, body: Value| client.post(&format!("/data-{call}"), &body);
    let answer = match command {
        DataCommand::Add { path } => client.post("/data", &json!({"path": whole(path)?}))?,
        DataCommand::Publish(args) => match publish(&client, args, show)? {
            Some(answer) => answer,
            None => return Ok(()),
        },
        DataCommand::Price { id, price } => {
            let mut body = json!({"id": id, "price": micro(&price.price)?});
            with_terms(&mut body, &price.terms);
            with_per_query(&mut body, price.per_query.as_deref())?;
            post("price", body)?
        }
        DataCommand::Grant { id, node } => post("grant", json!({"id": id, "node": node}))?,
        DataCommand::Requests => client.get("/data-requests")?,
        DataCommand::OnRequest { id, off } => post("on-request", json!({"id": id, "on": !off}))?,
        DataCommand::Approve { grant } => post("approve", json!({"grant": grant}))?,
        DataCommand::Refuse { grant, why } => post("refuse", json!({"grant": grant, "why": why}))?,
        DataCommand::Buy { id, per_query, offer } => {
            buy(&client, &json!({"id": id, "per_query": per_query, "offer": offer}))?
        }
        DataCommand::Get { id, to } => post("get", json!({"id": id, "path": whole(to)?}))?,
        DataCommand::Revoke { grant } => post("revoke", json!({"grant": grant}))?,
        DataCommand::Check { grant, code } => post("check", json!({"grant": grant, "code": code}))?,
        DataCommand::Keep { space } => post("keep", json!({"space_bytes": space}))?,
        DataCommand::Drop { id } => post("drop", json!({"id": id}))?,
        DataCommand::Income { id } => post("collect", json!({"id": id}))?,
        DataCommand::Audit { verify } => client.get(if *verify { "/data-audit?verify=true" } else { "/data-audit" })?,
        DataCommand::Ls => client.get("/data")?,
        DataCommand::Show { id } => post("show", json!({"id": id}))?,
    };
    show.value(&answer);
    Ok(())
}

/// The node may have another working folder.
fn whole(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()))
}

fn micro(amount: &str) -> Result<String> {
    let bad = || Failure::usage(format!("{amount} is no amount"), "a number with at most 6 digits behind the point");
    // Nothing is a price, too.
    Ok(Asset::Money.units(amount).ok_or_else(bad)?.to_string())
}

fn with_terms(body: &mut Value, terms: &TermsArgs) {
    body["access_s"] = json!(terms.expires);
    body["deliver_s"] = json!(terms.deliver);
    body["uses"] = json!(terms.uses);
}

fn with_per_query(body: &mut Value, price: Option<&str>) -> Result<()> {
    if let Some(price) = price {
        body["per_query"] = json!(micro(price)?);
    }
    Ok(())
}

/// Shows what becomes public, asks, and publishes.
fn publish(client: &Client, args: &PublishArgs, show: &Show) -> Result<Option<Value>> {
    let mut body = json!({
        "id": args.id, "name": args.name, "title": args.title, "description": args.description, "licence": args.licence,
        "purposes": args.purpose, "parents": args.parent, "compute": args.compute, "asset": args.asset, "dry": true,
        "on_request": args.on_request, "keepers": args.keepers, "keeper_nodes": args.keeper, "keepers_with_data": !args.without_data,
    });
    with_terms(&mut body, &args.terms);
    if let Some(price) = &args.price {
        body["price"] = json!(micro(price)?);
    }
    with_per_query(&mut body, args.per_query.as_deref())?;
    let excerpt = |path: &PathBuf, only_hash| {
        let (path, name, class) = (path.clone(), String::new(), Class::Public);
        super::store::cid_of(client, &AddArgs { path, profile: Profile::V1, wrap: false, class, name, only_hash })
    };
    if let Some(path) = &args.preview {
        // Named only: nothing is public before the owner said yes.
        body["preview"] = json!(excerpt(path, true)?);
    }
    let dry = client.post("/data-publish", &body)?;
    if !show.json() {
        say("this becomes public, and cannot be taken back:");
        show.value(&dry["public"]);
        say(dry["retained"].as_str().unwrap_or_default());
    }
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            let why = "nothing was published: nobody is there to say yes";
            return Err(Failure::new(RefusalCode::Cancelled, why, "look at it, then add --yes").into());
        }
        say("publish it? [y/N]");
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        if !line.trim().eq_ignore_ascii_case("y") {
            say("nothing was published");
            return Ok(None);
        }
    }
    args.preview.iter().try_for_each(|path| excerpt(path, false).map(drop))?;
    body["dry"] = json!(false);
    let answer = client.post("/data-publish", &body)?;
    if let Some(keepers) = answer["kept"]["keepers"].as_array() {
        let (done, n) = (answer["kept"]["done"].as_u64().unwrap_or_default(), keepers.len() as u64);
        let rest = if done < n { ": the node goes on asking the others, see `talkoo data ls`" } else { "" };
        say(&format!("{done} of {n} keepers have all that they are to have{rest}"));
    }
    Ok(Some(answer))
}

/// Pays, and waits until the key is here or it is over.
fn buy(client: &Client, what: &Value) -> Result<Value> {
    let events = client.events()?;
    let bought = client.post("/data-buy", what)?;
    say(&format!("paid {} micro-units, on hold until the key is here: grant {}", bought["price"], bought["grant"]));
    for event in events.filter(|event| event["grant"] == bought["grant"]) {
        match event["type"].as_str() {
            Some("data.here") => break,
            Some("data.over") => {
                let why = event["why"].as_str().unwrap_or_default();
                return Err(Failure::new(
                    RefusalCode::Silent,
                    why,
                    "see `talkoo data ls`; if the price came back, buy it again when its owner is there",
                )
                .into());
            }
            _ => {}
        }
    }
    Ok(bought)
}
