//! `key`: what the owner gives away to ask with.

use super::{Show, print, say};
use crate::cli::{Asset, KeyCommand, LimitArgs};
use crate::client::Client;
use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn run(data_dir: &Path, command: &KeyCommand, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    match command {
        KeyCommand::Create(args) => {
            let mut body = json!({"name": args.name, "budget": args.budget, "days": args.days});
            with_limits(&mut body, &args.limits);
            let key = client.post("/keys", &body)?;
            if show.json() {
                show.value(&key);
            } else {
                say("this is the only time that it is shown");
                print(key["key"].as_str().unwrap_or_default());
            }
        }
        KeyCommand::Ls => {
            let list = client.get("/keys")?;
            let rows = list["keys"].as_array().cloned().unwrap_or_default();
            if show.json() {
                show.value(&list);
            } else if rows.is_empty() {
                say("there are no keys: every program on this machine may ask for what costs nothing");
            }
            rows.iter().filter(|_| !show.json()).for_each(|row| print(&line(row)));
        }
        KeyCommand::Set { key, limits } => {
            let mut body = json!({});
            with_limits(&mut body, limits);
            show.value(&client.post(&path("keys", key), &body)?);
        }
        KeyCommand::Show { key } => show.value(&client.get(&path("keys", key))?),
        KeyCommand::Approvals => show.value(&client.get("/approvals")?),
        KeyCommand::Approve { payment } => show.value(&client.post(&path("approvals", payment), &json!({}))?),
        KeyCommand::Refuse { payment } => show.value(&client.delete(&path("approvals", payment))?),
        KeyCommand::Audit { key } => show.value(&client.get(&format!("{}/audit", path("keys", key)))?),
        KeyCommand::Revoke { key } => {
            let gone = client.delete(&path("keys", key))?;
            if show.json() {
                show.value(&gone);
            } else {
                say(&format!("{} is good for nothing any more", gone["id"].as_str().unwrap_or(key)));
            }
        }
    }
    Ok(())
}

/// A path of one thing by its name.
fn path(of: &str, name: &str) -> String {
    format!("/{of}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

fn with_limits(body: &mut Value, limits: &LimitArgs) {
    let LimitArgs { scopes, rate, per_payment, per_day, allow, approve_above, policy_days, asset } = limits;
    let more = json!({
        "scopes": scopes.as_ref().map(|all| all.split(',').map(str::trim).collect::<Vec<_>>()), "rate": rate, "per_payment": per_payment, "per_day": per_day,
        "allow": allow.as_ref().map(|all| all.iter().filter(|one| !one.is_empty()).collect::<Vec<_>>()),
        "approve_above": approve_above, "policy_days": policy_days, "asset": asset.map(Asset::name),
    });
    let fields = body.as_object_mut().expect("it is one");
    fields.extend(more.as_object().cloned().unwrap_or_default());
}

/// A key in one line.
fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let budget = row["budget"].as_str().map_or_else(|| "no limit".to_owned(), |most| format!("of {most}"));
    let state = if row["revoked"] == true { "  revoked" } else { "" };
    let scopes: Vec<&str> = row["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let rate = row["rate"].as_u64().map(|rate| format!("  {rate} a minute")).unwrap_or_default();
    let pays = if row["policy"].is_object() { "  pays by policy" } else { "" };
    let name = super::tame(&text("name"));
    format!("{}  {name:<16} {}  spent {} {budget}{rate}{pays}{state}", text("id"), scopes.join(","), text("spent"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    #[test]
    fn flags_become_the_fields_that_the_api_wants() {
        let line =
            "talkoo key create --scopes inference,mcp --rate 60 --per-payment 1 --per-day 3 --allow 0x01 --allow 0x02";
        let Command::Key(KeyCommand::Create(args)) = Cli::try_parse_from(line.split(' ')).unwrap().command else {
            panic!("it makes a key");
        };
        let mut body = json!({});
        with_limits(&mut body, &args.limits);
        assert_eq!(body["scopes"], json!(["inference", "mcp"]));
        assert_eq!((&body["rate"], &body["allow"]), (&json!(60), &json!(["0x01", "0x02"])));
        assert_eq!(body["per_payment"], json!("1"));
    }
}
