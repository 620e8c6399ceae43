//! `webhook`: who is told what becomes of work that nobody waits for.

use super::{Show, print, say};
use crate::cli::WebhookCommand;
use crate::client::Client;
use anyhow::Result;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn run(data_dir: &Path, command: &WebhookCommand, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    let path = |id: &str| format!("/webhooks/{}", utf8_percent_encode(id, NON_ALPHANUMERIC));
    let (answer, words) = match command {
        WebhookCommand::Add { url, events } => {
            let hook = client.post("/webhooks", &json!({"url": url, "events": events}))?;
            if !show.json() {
                say(&format!(
                    "{} is told from now on; this is the only time that its secret is shown",
                    text(&hook, "id")
                ));
                print(text(&hook, "secret"));
            }
            (hook, String::new())
        }
        WebhookCommand::Ls => {
            let list = client.get("/webhooks")?;
            let rows = list["webhooks"].as_array().cloned().unwrap_or_default();
            rows.iter().filter(|_| !show.json()).for_each(|row| print(&line(row)));
            let words = if rows.is_empty() { "nobody is told: talkoo webhook add URL" } else { "" };
            (list, words.to_owned())
        }
        WebhookCommand::Rm { id } => (client.delete(&path(id))?, format!("{id} is told nothing any more")),
        WebhookCommand::Test { id } => {
            let hint = "`talkoo webhook ls` says whether it came";
            (client.post(&format!("{}/test", path(id)), &json!({}))?, format!("a test event is on its way; {hint}"))
        }
    };
    if show.json() {
        show.value(&answer);
    } else if !words.is_empty() {
        say(&words);
    }
    Ok(())
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_default()
}

/// A webhook in one line.
fn line(row: &Value) -> String {
    let events: Vec<&str> = row["events"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let events = if events.is_empty() { "all events".to_owned() } else { events.join(" ") };
    let trouble = row["trouble"].as_str().map_or_else(String::new, |why| format!("  last attempt: {why}"));
    let (told, waiting, lost) = (&row["delivered"], &row["waiting"], &row["given_up"]);
    format!(
        "{}  {}  {events}  told {told}, {waiting} waiting, {lost} given up{trouble}",
        text(row, "id"),
        text(row, "url"),
    )
}
