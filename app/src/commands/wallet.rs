//! `wallet` and `ledger`: the node's money, and the chain that says so.

use super::{Failure, Show, print, proved, say};
use crate::cli::{LedgerCommand, WalletCommand};
use crate::client::Client;
use crate::ledger::{GenesisFile, Rpc};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolEvent, SolValue};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use talkoo_base::{Network, RefusalCode, Signer, Validator};
use talkoo_disk::DataDir;
use talkoo_ledger::bindings::{ChannelConfig, ISettlement, IToken, IVault};
use talkoo_ledger::contracts::{Beginning, CREDIT_AT, SETTLEMENT_AT, VAULT_AT};

/// Blocks that one question for events covers.
const LOG_BLOCKS: u64 = 1_000;

/// The ledger of the node here.
fn rpc(client: &Client) -> Result<(Rpc, Value)> {
    let status = client.get("/status")?;
    let url = status["ledger"].as_str().ok_or_else(|| {
        let hint = "start it with `--ledger own`, or with `--ledger URL` of a node that has one";
        Failure::new(RefusalCode::NotProviding, "this node has no ledger", hint)
    })?;
    Ok((Rpc::new(url), status))
}

/// Micro-units as people write them.
fn units(amount: U256) -> String {
    let micro: u128 = amount.saturating_to();
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

pub(super) fn wallet(data_dir: &Path, command: &WalletCommand, verbose: bool, show: &Show) -> Result<()> {
    let client = Client::of(data_dir)?;
    match command {
        WalletCommand::Show => balance(&client, verbose, show),
        WalletCommand::Settle => {
            client.post("/settle", &json!({}))?;
            balance(&client, verbose, show)
        }
    }
}

fn balance(client: &Client, verbose: bool, show: &Show) -> Result<()> {
    let (rpc, status) = rpc(client)?;
    let address = |key: &str| -> Result<Address> {
        status[key].as_str().unwrap_or_default().parse().with_context(|| format!("the node names no {key}"))
    };
    let (owner, node) = (address("owner")?, address("address")?);
    let available = rpc.call(CREDIT_AT, &IToken::balanceOfCall { account: owner })?;
    let account = rpc.call(VAULT_AT, &IVault::accountsCall { operator: owner })?;
    let free = rpc.call(VAULT_AT, &IVault::creditCall { account: owner })?;
    let held = U256::from(account.held) + free;
    let reserved = in_channels(&rpc, owner)?;
    let gas = rpc.number("eth_getBalance", &json!([node.to_string(), "latest"]))?;
    let nonce = rpc.number("eth_getTransactionCount", &json!([node.to_string(), "latest"]))?;
    let mut value = json!({
        "available": available.to_string(),
        "reserved": reserved.to_string(),
        "earned": held.to_string(),
        "unit": "micro-units of test credit, which has no value",
    });
    if verbose {
        value["owner"] = json!(owner.to_string());
        value["node"] = json!(node.to_string());
        value["gas_wei"] = json!(gas.to_string());
        value["nonce"] = json!(nonce.to_string());
        value["ledger"] = status["ledger"].clone();
    }
    if show.json() {
        show.value(&value);
        return Ok(());
    }
    print(&format!("Available  {:>16}", units(available)));
    print(&format!("Reserved   {:>16}   in channels, for what was ordered", units(reserved)));
    print(&format!("Earned     {:>16}   held until nobody can challenge it", units(held)));
    if verbose {
        print(&format!("owner {owner}, node {node}, gas {gas} wei, {nonce} transactions"));
    }
    say("test credit: no value");
    Ok(())
}

pub(super) fn ledger(data_dir: &Path, command: &LedgerCommand, show: &Show) -> Result<ExitCode> {
    if let LedgerCommand::Bench { count, accounts } = command {
        show.value(&crate::ledger::bench::run(*count, *accounts)?);
        return Ok(ExitCode::SUCCESS);
    }
    match command {
        LedgerCommand::Key => {
            print(&DataDir::open(data_dir)?.validator_key()?.address().to_string());
            return Ok(ExitCode::SUCCESS);
        }
        LedgerCommand::Genesis { validators, founder, challenge_window } => {
            print(&genesis(validators, *founder, *challenge_window)?);
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let (rpc, status) = match command.rpc() {
        Some(url) => (Rpc::new(url), json!({"ledger": url})),
        None => rpc(&Client::of(data_dir)?)?,
    };
    let found = |value: Value, what: &str| {
        let hint = "`ledger status` says which block is the last";
        let missing = || Failure::new(RefusalCode::Malformed, format!("the ledger has no such {what}"), hint);
        if value.is_null() { Err(missing()) } else { Ok(value) }
    };
    match command {
        LedgerCommand::Status { .. } => show.value(&state(&rpc, &status)?),
        LedgerCommand::Block { block, .. } => {
            let (method, block) = match block.len() {
                66 => ("eth_getBlockByHash", json!(block)),
                _ if block.chars().all(|c| c.is_ascii_digit()) => {
                    ("eth_getBlockByNumber", json!(format!("0x{:x}", block.parse::<u64>().unwrap_or(u64::MAX))))
                }
                _ => ("eth_getBlockByNumber", json!(block)),
            };
            show.value(&found(rpc.ask(method, &json!([block, true]))?, "block")?);
        }
        LedgerCommand::Tx { hash, .. } => {
            let transaction = found(rpc.ask("eth_getTransactionByHash", &json!([hash]))?, "transaction")?;
            let receipt = rpc.ask("eth_getTransactionReceipt", &json!([hash]))?;
            show.value(&json!({"transaction": transaction, "receipt": receipt}));
        }
        LedgerCommand::Export { csv, .. } => export(&rpc, *csv)?,
        LedgerCommand::Verify { files, genesis, .. } => {
            let own = data_dir.join("chain/genesis.json");
            return proved::run(files, genesis.as_deref().unwrap_or(&own), &rpc, show);
        }
        LedgerCommand::Bench { .. } | LedgerCommand::Key | LedgerCommand::Genesis { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The genesis of a network with these validators, dated now.
fn genesis(validators: &[Validator], founder: Option<talkoo_base::Address>, window_s: u64) -> Result<String> {
    let timestamp = crate::ledger::unix();
    let addresses: BTreeSet<_> = validators.iter().map(|validator| validator.address).collect();
    let hint = "name each validator once";
    if addresses.len() != validators.len() {
        return Err(Failure::usage("a validator is named twice", hint).into());
    }
    let founder = founder.unwrap_or(validators[0].address).0.into();
    let (chain_id, validators) = (Network::LOCAL_CHAIN_ID, validators.to_vec());
    Ok(GenesisFile::checked(Beginning { chain_id, timestamp, validators, founder, window_s })?.to_json())
}

fn state(rpc: &Rpc, status: &Value) -> Result<Value> {
    let head = rpc.ask("eth_getBlockByNumber", &json!(["latest", false]))?;
    let first = rpc.ask("eth_getBlockByNumber", &json!(["0x0", false]))?;
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<U256>().ok()).unwrap_or_default();
    let supply = rpc.call(CREDIT_AT, &IToken::totalSupplyCall {})?;
    let channels = rpc.call(CREDIT_AT, &IToken::balanceOfCall { account: SETTLEMENT_AT })?;
    Ok(json!({
        "ledger": status["ledger"],
        "chain": rpc.number("eth_chainId", &json!([]))?.to_string(),
        "block": number(&head["number"]).to_string(),
        "hash": head["hash"],
        "time": number(&head["timestamp"]).to_string(),
        "genesis": first["hash"],
        "state_root": head["stateRoot"],
        "credit": {"supply": supply.to_string(), "in_channels": channels.to_string()},
    }))
}

/// What an owner's channels hold that nobody has claimed.
fn in_channels(rpc: &Rpc, owner: Address) -> Result<U256> {
    let (mut ids, mut sum) = (BTreeSet::new(), U256::ZERO);
    events(rpc, SETTLEMENT_AT, ISettlement::ChannelCreated::SIGNATURE_HASH, |log| {
        let data: Bytes = log["data"].as_str().unwrap_or_default().parse().unwrap_or_default();
        let config = ChannelConfig::abi_decode(&data);
        let id = log["topics"][1].as_str().and_then(|id| id.parse::<B256>().ok());
        ids.extend(id.filter(|_| config.is_ok_and(|config| config.payer == owner)));
    })?;
    for id in ids {
        let channel = rpc.call(SETTLEMENT_AT, &ISettlement::channelsCall { channelId: id })?;
        sum += U256::from(channel.balance.saturating_sub(channel.totalClaimed));
    }
    Ok(sum)
}

/// Every event of one kind that a contract ever told.
fn events(rpc: &Rpc, contract: Address, kind: B256, mut tell: impl FnMut(&Value)) -> Result<()> {
    let last: u64 = rpc.number("eth_blockNumber", &json!([]))?.saturating_to();
    for from in (0..=last).step_by(usize::try_from(LOG_BLOCKS)?) {
        let to = last.min(from + LOG_BLOCKS - 1);
        let asked = json!([{
            "fromBlock": format!("0x{from:x}"),
            "toBlock": format!("0x{to:x}"),
            "address": contract.to_string(),
            "topics": [kind.to_string()],
        }]);
        rpc.ask("eth_getLogs", &asked)?.as_array().into_iter().flatten().for_each(&mut tell);
    }
    Ok(())
}

/// Every movement of the payment token, one line each.
fn export(rpc: &Rpc, csv: bool) -> Result<()> {
    if csv {
        print("block,transaction,from,to,amount");
    }
    events(rpc, CREDIT_AT, IToken::Transfer::SIGNATURE_HASH, |log| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| text(value).parse::<U256>().unwrap_or_default().to_string();
        let end = |topic: &Value| format!("0x{}", text(topic).chars().skip(26).collect::<String>());
        let (block, hash) = (number(&log["blockNumber"]), text(&log["transactionHash"]));
        let (from, to) = (end(&log["topics"][1]), end(&log["topics"][2]));
        let amount = number(&log["data"]);
        print(&if csv {
            format!("{block},{hash},{from},{to},{amount}")
        } else {
            json!({"block": block, "transaction": hash, "from": from, "to": to, "amount": amount}).to_string()
        });
    })
}
