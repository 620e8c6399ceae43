//! `key`: what the owner gives away to ask with.

use super::{Show, print, say};
use crate::cli::KeyCommand;
use crate::client::Client;
use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn run(data_dir: &Path, command: &KeyCommand, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    match command {
        KeyCommand::Create(args) => {
            let body = json!({"name": args.name, "budget": args.budget, "days": args.days});
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
        KeyCommand::Revoke { key } => {
            let name = utf8_percent_encode(key, NON_ALPHANUMERIC);
            let gone = client.delete(&format!("/keys/{name}"))?;
            if show.json() {
                show.value(&gone);
            } else {
                say(&format!("{} is good for nothing any more", gone["id"].as_str().unwrap_or(key)));
            }
        }
    }
    Ok(())
}

/// A key in one line.
fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let budget = row["budget"].as_str().map_or_else(|| "no limit".to_owned(), |most| format!("of {most}"));
    let state = if row["revoked"] == true { "  revoked" } else { "" };
    format!("{}  {:<16} spent {} {budget}{state}", text("id"), text("name"), text("spent"))
}
