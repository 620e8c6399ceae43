//! `dispute`: what became of workers that our engine refuted.

use super::{Show, print, say};
use crate::cli::DisputeCommand;
use crate::client::Client;
use anyhow::Result;
use serde_json::Value;
use std::path::Path;

pub(super) fn run(data_dir: &Path, command: &DisputeCommand, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    match command {
        DisputeCommand::List => {
            let list = client.get("/disputes")?;
            let rows = list["disputes"].as_array().cloned().unwrap_or_default();
            if show.json() {
                show.value(&list);
            } else if rows.is_empty() {
                say("no worker was refuted by our own engine");
            }
            rows.iter().filter(|_| !show.json()).for_each(|row| print(&summary(row)));
        }
        DisputeCommand::Show { id } => {
            let dispute = client.get(&format!("/disputes/{id}"))?;
            if show.json() {
                show.value(&dispute);
            } else {
                print(&summary(&dispute));
                story(&dispute).iter().for_each(|line| print(line));
            }
        }
    }
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A dispute in one line.
fn summary(row: &Value) -> String {
    let (id, node) = (text(row, "id"), text(row, "node"));
    let (id, node) = (&id[..id.len().min(12)], &node[node.len().saturating_sub(6)..]);
    let (questions, sent, gas) = (&row["questions"], &row["transactions"], &row["gas"]);
    let state = text(row, "state");
    format!("{id}  {state}: node {node}, questions answered {questions}, transactions {sent}, gas {gas}")
}

/// One line for each move, and what came of it.
fn story(dispute: &Value) -> Vec<String> {
    let line = |line: &Value| {
        let sent = line["transaction"].as_str();
        let sent = sent.map_or_else(String::new, |hash| format!(" (transaction {hash}, {} gas)", line["gas"]));
        format!("  {:<7} {}{sent}", text(line, "who"), text(line, "text"))
    };
    let mut lines: Vec<String> = dispute["story"].as_array().into_iter().flatten().map(line).collect();
    if let Some(why) = dispute["why"].as_str() {
        lines.push(format!("  no verdict: {why}"));
    }
    if dispute["state"] == "guilty" {
        let amount = |key: &str| {
            let micro: u128 = text(dispute, key).parse().unwrap_or(0);
            format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
        };
        let [slashed, refunded, seized] = ["slashed", "refunded", "seized"].map(amount);
        lines.push(format!(
            "  it lost {slashed} of its bond; of its held pay {refunded} to the payer, {seized} besides"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dispute_is_told_move_by_move() {
        let dispute = json!({
            "id": "ab".repeat(32), "node": "cd".repeat(33), "state": "guilty", "questions": 1, "transactions": 1,
            "gas": 500, "slashed": "0", "refunded": "31", "seized": "1000002",
            "story": [
                {"who": "worker", "text": "asked by message, it showed chunk 1 of 2"},
                {"who": "we", "text": "convicted it", "transaction": "0x01", "gas": 500},
            ],
        });
        let head = "abababababab  guilty: node cdcdcd, questions answered 1, transactions 1, gas 500";
        assert_eq!(summary(&dispute), head);
        assert_eq!(
            story(&dispute),
            [
                "  worker  asked by message, it showed chunk 1 of 2",
                "  we      convicted it (transaction 0x01, 500 gas)",
                "  it lost 0.000000 of its bond; of its held pay 0.000031 to the payer, 1.000002 besides",
            ]
        );
        let open = json!({"state": "no verdict", "story": [], "why": "its trace is ours"});
        assert_eq!(story(&open), ["  no verdict: its trace is ours"]);
    }
}
