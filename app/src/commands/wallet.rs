//! `wallet`: the node's money.

use super::{Failure, Show, history, keys, print, say};
use crate::cli::WalletCommand;
use crate::client::Client;
use crate::ledger::{Place, Rpc, Url, closing};
use alloy_primitives::{Address, U256};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;
use talkoo_base::RefusalCode;
use talkoo_ledger::bindings::{ISettlement, IToken, IVault};

/// Blocks that one question for events covers.
const LOG_BLOCKS: u64 = 1_000;

/// Blocks of an outside chain that are looked at, if nobody says how many.
const OUTSIDE_BLOCKS: u64 = 10_000;

/// The ledger that a command is about.
pub(crate) struct Books {
    pub(crate) place: Place,
    pub(crate) rpc: Rpc,
    status: Value,
}

impl Books {
    pub(super) fn at(place: Place) -> Self {
        Self { rpc: place.rpc(), place, status: Value::Null }
    }

    /// The one of the node here.
    pub(super) fn of(client: &Client) -> Result<Self> {
        Self::with(client.get("/status")?)
    }

    /// The one of a node with this status.
    pub(crate) fn with(status: Value) -> Result<Self> {
        let url = status["ledger"].as_str().ok_or_else(|| {
            let hint = "start it with `--ledger own`, or with `--ledger URL` of a node that has one";
            Failure::new(RefusalCode::NotProviding, "this node has no ledger", hint)
        })?;
        let url: Url = url.parse().map_err(|why| anyhow::anyhow!("the node's ledger is {url}: {why}"))?;
        Ok(Self { status, ..Self::at(Place::find(&url)?) })
    }

    /// One of the node's accounts: `owner`, or `address` of the node itself.
    pub(crate) fn account(&self, key: &str) -> Result<Address> {
        self.status[key].as_str().unwrap_or_default().parse().with_context(|| format!("the node names no {key}"))
    }

    /// What the money is called.
    fn unit(&self) -> Result<String> {
        match self.place.is_outside() {
            true => Ok(self.rpc.call(self.place.at.token, &IToken::symbolCall {})?),
            false => Ok("test credit, which has no value".into()),
        }
    }
}

/// Micro-units as people write them.
pub(super) fn units(amount: U256) -> String {
    let micro: u128 = amount.saturating_to();
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

pub(super) fn run(data_dir: &Path, command: &WalletCommand, verbose: bool, show: &Show) -> Result<()> {
    let books = || Client::of(data_dir).and_then(|client| Books::of(&client));
    match command {
        WalletCommand::Keys => return keys::list(data_dir, show),
        WalletCommand::Words => return keys::words(data_dir, show),
        WalletCommand::Restore => return keys::restore(data_dir, show),
        WalletCommand::Lock { secret } => return keys::lock(data_dir, secret.passphrase_file.as_deref(), show),
        WalletCommand::Unlock { secret } => return keys::unlock(data_dir, secret.passphrase_file.as_deref(), show),
        WalletCommand::Export { to, secret } => {
            return keys::export(data_dir, to, secret.passphrase_file.as_deref(), show);
        }
        WalletCommand::Send { to, amount, asset, secret } => {
            return keys::send(data_dir, &to.to_string(), amount, *asset, secret.passphrase_file.as_deref(), show);
        }
        WalletCommand::History { csv, since } => {
            let books = books()?;
            return history::run(&books, *since, *csv, show);
        }
        WalletCommand::TopUp => return top_up(&books()?, show),
        WalletCommand::Show => {}
        WalletCommand::Settle => drop(Client::of(data_dir)?.post("/settle", &json!({}))?),
        WalletCommand::Close => drop(Client::of(data_dir)?.post("/close", &json!({}))?),
    }
    balance(data_dir, &books()?, verbose, show)
}

/// Asks a test network for credit; elsewhere says what is wanted where.
fn top_up(books: &Books, show: &Show) -> Result<()> {
    let Books { place, rpc, .. } = books;
    let (owner, node) = (books.account("owner")?, books.account("address")?);
    if place.is_outside() {
        let unit = books.unit()?;
        show.value(&json!({
            "chain": place.chain_id,
            "send": [
                {"what": unit, "token": place.at.token.to_string(), "to": owner.to_string()},
                {"what": "gas", "to": node.to_string()},
            ],
        }));
        return Ok(());
    }
    let sent = rpc.ask("talkoo_sponsor", &json!([owner.to_string(), node.to_string()]))?;
    for hash in sent.as_array().into_iter().flatten().filter_map(|hash| hash.as_str()?.parse().ok()) {
        rpc.wait(hash)?;
    }
    let account = IToken::balanceOfCall { account: owner };
    let has = rpc.call(place.at.token, &account)?;
    show.value(&json!({"transactions": sent, "available": has.to_string(), "unit": "micro-units of test credit, which has no value"}));
    Ok(())
}

/// What there is, in micro-units; with `verbose` also accounts, gas and nonce.
pub(crate) fn summary(data_dir: &Path, books: &Books, verbose: bool) -> Result<Value> {
    let Books { place, rpc, status } = books;
    let (owner, node) = (books.account("owner")?, books.account("address")?);
    let available = rpc.call(place.at.token, &IToken::balanceOfCall { account: owner })?;
    let account = rpc.call(place.at.vault, &IVault::accountsCall { operator: owner })?;
    let free = rpc.call(place.at.vault, &IVault::creditCall { account: owner })?;
    let held = U256::from(account.held) + free;
    let (reserved, leaving) = in_channels(data_dir, books)?;
    let unit = books.unit()?;
    let mut value = json!({
        "available": available.to_string(),
        "reserved": reserved.to_string(),
        "leaving": leaving.to_string(),
        "earned": held.to_string(),
        "unit": format!("micro-units of {unit}"),
    });
    if !verbose {
        return Ok(value);
    }
    let gas = rpc.number("eth_getBalance", &json!([node.to_string(), "latest"]))?;
    let nonce = rpc.number("eth_getTransactionCount", &json!([node.to_string(), "latest"]))?;
    value["owner"] = json!(owner.to_string());
    value["node"] = json!(node.to_string());
    value["gas_wei"] = json!(gas.to_string());
    value["nonce"] = json!(nonce.to_string());
    value["ledger"] = status["ledger"].clone();
    Ok(value)
}

fn balance(data_dir: &Path, books: &Books, verbose: bool, show: &Show) -> Result<()> {
    let value = summary(data_dir, books, verbose)?;
    if show.json() {
        show.value(&value);
        return Ok(());
    }
    let text = |key: &str| value[key].as_str().unwrap_or_default();
    let amount = |key: &str| units(text(key).parse().unwrap_or_default());
    print(&format!("Available  {:>16}", amount("available")));
    print(&format!("Reserved   {:>16}   in channels, for what was ordered", amount("reserved")));
    if text("leaving") != "0" {
        print(&format!("Leaving    {:>16}   on its way back from channels", amount("leaving")));
    }
    print(&format!("Earned     {:>16}   held until nobody can challenge it", amount("earned")));
    if verbose {
        let [owner, node, gas, nonce] = ["owner", "node", "gas_wei", "nonce"].map(text);
        print(&format!("owner {owner}, node {node}, gas {gas} wei, {nonce} transactions"));
    }
    say(text("unit").trim_start_matches("micro-units of "));
    Ok(())
}

/// What our channels hold that nobody has claimed, and how much of that is on its way back.
fn in_channels(data_dir: &Path, books: &Books) -> Result<(U256, U256)> {
    let Books { place, rpc, .. } = books;
    let (network, settlement) = (place.network(""), place.at.settlement);
    let (mut held, mut leaving) = (U256::ZERO, U256::ZERO);
    for config in closing::read(&data_dir.join("channels")) {
        let channel = config.id(&network).0.into();
        let now = rpc.call(settlement, &ISettlement::channelsCall { channelId: channel })?;
        let pending = rpc.call(settlement, &ISettlement::pendingWithdrawalsCall { channelId: channel })?;
        let open = now.balance.saturating_sub(now.totalClaimed);
        leaving += U256::from(pending.amount.min(open));
        held += U256::from(open.saturating_sub(pending.amount));
    }
    Ok((held, leaving))
}

/// A movement of a token.
pub(super) struct Transfer {
    pub(super) block: u64,
    pub(super) hash: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) amount: U256,
}

impl Transfer {
    pub(super) fn of(log: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| text(value).parse::<U256>().unwrap_or_default();
        let end = |topic: &Value| format!("0x{}", text(topic).chars().skip(26).collect::<String>());
        Self {
            block: number(&log["blockNumber"]).saturating_to(),
            hash: text(&log["transactionHash"]),
            from: end(&log["topics"][1]),
            to: end(&log["topics"][2]),
            amount: number(&log["data"]),
        }
    }
}

/// Every event with these topics that a contract told since a block: of a chain that is long, the last ones.
pub(super) fn events(
    books: &Books,
    since: Option<u64>,
    contract: Address,
    topics: &Value,
    mut tell: impl FnMut(&Value),
) -> Result<()> {
    let Books { place, rpc, .. } = books;
    let last: u64 = rpc.number("eth_blockNumber", &json!([]))?.saturating_to();
    let since = since.unwrap_or(if place.is_outside() { last.saturating_sub(OUTSIDE_BLOCKS) } else { 0 });
    for from in (since..=last).step_by(usize::try_from(LOG_BLOCKS)?) {
        let to = last.min(from + LOG_BLOCKS - 1);
        let asked = json!([{
            "fromBlock": format!("0x{from:x}"),
            "toBlock": format!("0x{to:x}"),
            "address": contract.to_string(),
            "topics": topics,
        }]);
        rpc.ask("eth_getLogs", &asked)?.as_array().into_iter().flatten().for_each(&mut tell);
    }
    Ok(())
}
