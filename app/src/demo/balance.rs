//! The end of the demo's money: everybody claims, and a balance sheet that is read from the chain.

use super::child::{Child, spawn};
use crate::commands::say;
use crate::ledger::Rpc;
use alloy_primitives::{Address, U256};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use talkoo_ledger::bindings::{IToken, IVault};
use talkoo_ledger::contracts::{CREDIT_AT, DISPUTES_AT, SETTLEMENT_AT, VAULT_AT};

/// Seconds that proceeds can be challenged on the demo's chain: the liar's have to be there until they are taken.
pub(super) const WINDOW_S: u64 = 15;
/// Seconds of a move in a dispute on the demo's chain: longer than an answer takes, for who is silent is guilty.
pub(super) const ANSWER_S: u64 = 5;
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

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
    /// What the liar earned and lost.
    pub(super) lost: U256,
}

/// Micro-units as people write them.
fn units(amount: U256) -> String {
    let micro = amount.saturating_to::<u128>();
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

impl Sheet {
    /// Whether the rows are all the money there is.
    pub(super) fn sums(&self) -> bool {
        self.rows.iter().fold(U256::ZERO, |sum, row| sum + row.amount) == self.supply
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| json!({"who": row.who, "amount": row.amount.to_string()}));
        let rows: Vec<Value> = rows.collect();
        let (supply, lost) = (self.supply.to_string(), self.lost.to_string());
        json!({"block": self.block, "rows": rows, "supply": supply, "sums": self.sums(), "liar_lost": lost})
    }

    pub(super) fn tell(&self) {
        say(&format!("balance sheet of block {}, in test credit (no value):", self.block));
        for row in &self.rows {
            say(&format!("  {:>13} {}", units(row.amount), row.who));
        }
        let sum = if self.sums() { "the lines above, to the last unit" } else { "NOT the lines above" };
        say(&format!("  {:>13} is all there is: {sum}", units(self.supply)));
    }
}

/// Starts the dead node again and lets every worker claim; when that was.
pub(super) fn claim(nodes: &mut [Child], cast: super::Cast, args: &[String]) -> Result<Instant> {
    let victim = cast.victim;
    let dir = nodes[victim].dir.clone();
    nodes[victim] = spawn(victim, &dir, args)?;
    say(&format!("node {victim} ({}) is started again: its journal has what it earned", nodes[victim].short()));
    settle(nodes).context("a worker could not claim what it earned")?;
    say(&format!(
        "all vouchers are claimed; the vault holds the proceeds for {WINDOW_S} s, in which they can be challenged"
    ));
    Ok(Instant::now())
}

fn settle(nodes: &[Child]) -> Result<()> {
    nodes[1..].iter().try_for_each(|node| node.client()?.post("/settle", &json!({})).map(drop))
}

/// Waits until nobody can challenge what was `claimed` then, pays every worker out, and reads the balance sheet.
pub(super) fn pay_out(nodes: &[Child], cast: super::Cast, claimed: Instant, is_judged: bool) -> Result<Sheet> {
    let window = Duration::from_secs(WINDOW_S + 1);
    if let Some(liar) = cast.liar.filter(|_| is_judged) {
        while held(&nodes[0], &nodes[liar])? > 0 && claimed.elapsed() < window {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
    std::thread::sleep(window.saturating_sub(claimed.elapsed()));
    settle(nodes).context("a worker was not paid out")?;
    sheet(nodes, cast.liar.filter(|_| is_judged))
}

fn rpc(client: &Child) -> Result<Rpc> {
    Ok(Rpc::new(client.ledger.as_deref().context("the client has no ledger")?))
}

fn owner(node: &Child) -> Result<Address> {
    let status = node.client()?.get("/status")?;
    let owner = status["owner"].as_str().unwrap_or_default();
    owner.parse().with_context(|| format!("node {} has no owner", node.number))
}

/// What the vault holds of a worker's pay.
fn held(client: &Child, worker: &Child) -> Result<u128> {
    let account = IVault::accountsCall { operator: owner(worker)? };
    Ok(rpc(client)?.call(VAULT_AT, &account)?.held)
}

/// What the client's disputes took from the liar.
fn lost(client: &Child) -> Result<U256> {
    let client = client.client()?;
    let list = client.get("/disputes")?;
    let mut lost = U256::ZERO;
    for dispute in list["disputes"].as_array().into_iter().flatten() {
        let told = client.get(&format!("/disputes/{}", dispute["id"].as_str().unwrap_or_default()))?;
        let amount = |key: &str| told[key].as_str().and_then(|text| text.parse::<U256>().ok()).unwrap_or_default();
        lost += amount("refunded") + amount("seized");
    }
    Ok(lost)
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
    let rpc = rpc(&nodes[0])?;
    let block = rpc.number("eth_blockNumber", &json!([]))?.saturating_to();
    let has = |account| rpc.call(CREDIT_AT, &IToken::balanceOfCall { account });
    let (mut rows, mut owed, lost) = (Vec::new(), U256::ZERO, lost(&nodes[0])?);
    for node in nodes {
        let owner = owner(node)?;
        let who = match node.number {
            0 => "the client's owner".into(),
            n if liar == Some(n) => {
                format!("owner of node {n} ({}), the liar: {} of its pay was taken", node.short(), units(lost))
            }
            n => format!("owner of node {n} ({})", node.short()),
        };
        rows.push(Row { who, amount: has(owner)? });
        let account = rpc.call(VAULT_AT, &IVault::accountsCall { operator: owner })?;
        owed += U256::from(account.held) + rpc.call(VAULT_AT, &IVault::creditCall { account: owner })?;
    }
    let held = has(VAULT_AT)?;
    ensure!(held == owed, "the vault has {held} and owes {owed}");
    rows.push(Row { who: "in the vault, for the workers".into(), amount: held });
    rows.push(Row { who: "with the judge, bonds of disputes".into(), amount: has(DISPUTES_AT)? });
    rows.push(Row { who: "in channels, the client's to use or to take back".into(), amount: has(SETTLEMENT_AT)? });
    let supply = rpc.call(CREDIT_AT, &IToken::totalSupplyCall {})?;
    Ok(Sheet { block, rows, supply, lost })
}
