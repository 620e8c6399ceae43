//! The table at the end.

use super::child::Child;
use super::story::Story;
use crate::commands;
use serde_json::{Value, json};

/// One row for each node.
pub(crate) fn rows(story: &Story, nodes: &[Child], status: &Value, accounts: &Value) -> Vec<Value> {
    let account = |id: &str| accounts["accounts"].as_array().into_iter().flatten().find(|a| a["node"] == json!(id));
    let done: Vec<&Value> = status["rows"].as_array().into_iter().flatten().collect();
    nodes
        .iter()
        .map(|node| {
            let deeds = story.deeds.get(&node.id).copied().unwrap_or_default();
            let steps = done.iter().filter(|r| r["node"] == json!(node.id)).count();
            let tokens: u64 =
                done.iter().filter(|r| r["node"] == json!(node.id)).filter_map(|r| r["units"].as_u64()).sum();
            let money = |key: &str| account(&node.id).map_or("0.000000", |a| a[key].as_str().unwrap_or("?")).to_owned();
            json!({
                "node": format!("{} ({})", node.number, node.short()),
                "steps": steps,
                "tokens": tokens,
                "tokens_per_second": (tokens as f64 / story.seconds.max(0.001) * 10.0).round() / 10.0,
                "audits_done": deeds.audits,
                "verdicts": format!("{} equal, {} false", deeds.matched, deeds.refuted),
                "owed": money("owed"),
                "contested": money("contested"),
                "why": story.convicted.get(&node.id),
            })
        })
        .collect()
}

/// Prints the rows in columns.
pub(crate) fn print(rows: &[Value]) {
    let columns = [
        ("node", "node"),
        ("steps", "steps"),
        ("tokens", "tokens"),
        ("tokens/s", "tokens_per_second"),
        ("audits", "audits_done"),
        ("verdicts", "verdicts"),
        ("owed", "owed"),
        ("contested", "contested"),
        ("refused because", "why"),
    ];
    let cell = |row: &Value, key: &str| match &row[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let width =
        |title: &str, key: &str| rows.iter().map(|r| cell(r, key).chars().count()).max().unwrap_or(0).max(title.len());
    let line = |text: &dyn Fn(&str, &str) -> String| {
        let cells: Vec<String> =
            columns.iter().map(|(title, key)| format!("{:<1$}", text(title, key), width(title, key))).collect();
        cells.join("  ").trim_end().to_owned()
    };
    commands::print(&line(&|title, _| title.to_owned()));
    for row in rows {
        commands::print(&line(&|_, key| cell(row, key)));
    }
}
