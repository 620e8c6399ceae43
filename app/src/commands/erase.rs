//! `erase`: prompts, answers, and what is kept of them.

use super::{Show, print, say};
use crate::cli::EraseArgs;
use crate::client::Client;
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;

pub(super) fn run(data_dir: &Path, args: &EraseArgs, show: &Show) -> Result<()> {
    let EraseArgs { job, key, before, all, dry_run } = args;
    let ask = json!({"job": job, "key": key, "before": before, "all": all.then_some(true), "dry_run": dry_run});
    let answer = Client::of(data_dir)?.post("/erase", &ask)?;
    if show.json() {
        show.value(&answer);
        return Ok(());
    }
    let texts = |name: &str| answer[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    let rows = answer["kinds"].as_array().into_iter().flatten();
    let lines: Vec<String> = rows.map(line).collect();
    let verb = if *dry_run { "would be erased" } else { "erased" };
    match lines.is_empty() {
        true => say(&format!("nothing {verb}")),
        false => say(&format!("{verb}:")),
    }
    lines.iter().for_each(|line| print(line));
    texts("running").for_each(|id| say(&format!("stays, for it is not over: {id}; cancel it, then erase again")));
    texts("left").for_each(|what| say(&format!("not in this node's hands: {what}")));
    Ok(())
}

/// A kind in one line.
fn line(row: &Value) -> String {
    let kind = row["kind"].as_str().unwrap_or_default().replace('_', " ");
    format!("{:>8}  {kind}  ({} bytes)", row["count"], row["bytes"])
}
