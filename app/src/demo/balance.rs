//! The end of the demo's money: everybody claims, and a balance sheet that is read from the chain.

use super::child::{Child, spawn};
use crate::commands::say;
use crate::ledger::Rpc;
use alloy_primitives::{Address, U256};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::Duration;
use talkoo_ledger::bindings::{IToken, IVault};
use talkoo_ledger::contracts::{CREDIT_AT, SETTLEMENT_AT, VAULT_AT};

/// Seconds that proceeds can be challenged on the demo's chain.
pub(super) const WINDOW_S: u64 = 2;

/// One line of the balance sheet, in micro-units of test credit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) who: String,
    pub(super) amount: U256,
}

/// What the chain says at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sheet {
    pub(super) block: u64,
    pub(super) rows: Vec<Row>,
    pub(super) supply: U256,
}

impl Sheet {
    /// Whether the rows are all the money there is.
    pub(super) fn sums(&self) -> bool {
        self.rows.iter().fold(U256::ZERO, |sum, row| sum + row.amount) == self.supply
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| json!({"who": row.who, "amount": row.amount.to_string()}));
        let rows: Vec<Value> = rows.collect();
        json!({"block": self.block, "rows": rows, "supply": self.supply.to_string(), "sums": self.sums()})
    }

    pub(super) fn tell(&self) {
        say(&format!("balance sheet of block {}, in test credit (no value):", self.block));
        let units = |amount: U256| {
            let micro = amount.saturating_to::<u128>();
            format!("{:>6}.{:06}", micro / 1_000_000, micro % 1_000_000)
        };
        for row in &self.rows {
            say(&format!("  {} {}", units(row.amount), row.who));
        }
        let sum = if self.sums() { "the lines above, to the last unit" } else { "NOT the lines above" };
        say(&format!("  {} is all there is: {sum}", units(self.supply)));
    }
}

/// Starts the dead node again, lets every worker claim and be paid out, and reads the balance sheet.
pub(super) fn settle(nodes: &mut [Child], cast: super::Cast, args: &[String]) -> Result<Sheet> {
    let victim = cast.victim;
    let dir = nodes[victim].dir.clone();
    nodes[victim] = spawn(victim, &dir, args)?;
    say(&format!("node {victim} ({}) is started again: its journal has what it earned", nodes[victim].short()));
    let settle = |nodes: &[Child]| -> Result<()> {
        nodes[1..].iter().try_for_each(|node| node.client()?.post("/settle", &json!({})).map(drop))
    };
    settle(nodes).context("a worker could not claim what it earned")?;
    say(&format!(
        "all vouchers are claimed; the vault holds the proceeds for {WINDOW_S} s, in which they can be challenged"
    ));
    std::thread::sleep(Duration::from_secs(WINDOW_S + 1));
    settle(nodes).context("a worker was not paid out")?;
    sheet(nodes, cast.liar)
}

/// Lets a fresh process prove from headers, certificates and storage proofs which receipts were paid.
pub(super) fn proved(client: &Child, job: &str) -> Result<bool> {
    let folder = client.dir.join("receipts").join(job);
    let files = std::fs::read_dir(&folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
    let output = Command::new(std::env::current_exe()?)
        .args(["-o", "json", "ledger", "verify", "--rpc", client.ledger.as_deref().unwrap_or_default(), "--genesis"])
        .arg(client.dir.join("chain/genesis.json"))
        .args(&files)
        .stdin(Stdio::null())
        .output()
        .context("cannot start the payments' check")?;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let paid = said["receipts"].as_array().into_iter().flatten().filter(|row| row["paid"] == json!(true)).count();
    say(&format!("{paid} of {} receipts are proved to be paid, from the chain's headers alone", files.len()));
    // What the dead node never received it can't claim; nobody else has that excuse.
    Ok(paid > 0)
}

fn sheet(nodes: &[Child], liar: Option<usize>) -> Result<Sheet> {
    let url = nodes[0].ledger.as_deref().context("the client has no ledger")?;
    let rpc = Rpc::new(url);
    let block = rpc.number("eth_blockNumber", &json!([]))?.saturating_to();
    let has = |account| rpc.call(CREDIT_AT, &IToken::balanceOfCall { account });
    let mut rows = Vec::new();
    for node in nodes {
        let owner = node.client()?.get("/status")?["owner"].as_str().unwrap_or_default().to_owned();
        let owner: Address = owner.parse().with_context(|| format!("node {} has no owner", node.number))?;
        let who = match node.number {
            0 => "the client's owner".into(),
            // What was promised before a verdict is good: taking it back needs a bond, and a judge on chain.
            n if liar == Some(n) => {
                format!("owner of node {n} ({}), the liar: promised before the verdict", node.short())
            }
            n => format!("owner of node {n} ({})", node.short()),
        };
        rows.push(Row { who, amount: has(owner)? });
    }
    let held = has(VAULT_AT)?;
    let inside = |node: &Child| -> Result<U256> {
        let owner: Address = node.client()?.get("/status")?["owner"].as_str().unwrap_or_default().parse()?;
        let account = rpc.call(VAULT_AT, &IVault::accountsCall { operator: owner })?;
        Ok(U256::from(account.held) + rpc.call(VAULT_AT, &IVault::creditCall { account: owner })?)
    };
    let owed = nodes[1..].iter().map(inside).try_fold(U256::ZERO, |sum, one| one.map(|one| sum + one))?;
    ensure!(held == owed, "the vault has {held} and owes {owed}");
    rows.push(Row { who: "in the vault, for the workers".into(), amount: held });
    rows.push(Row { who: "in channels, the client's to use or to take back".into(), amount: has(SETTLEMENT_AT)? });
    let supply = rpc.call(CREDIT_AT, &IToken::totalSupplyCall {})?;
    Ok(Sheet { block, rows, supply })
}
