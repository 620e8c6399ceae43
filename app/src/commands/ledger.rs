//! `ledger`: the chain that holds the money.

use super::wallet::{Books, Transfer, events};
use super::{Failure, Show, keys, print, proved, read_receipt, say};
use crate::cli::LedgerCommand;
use crate::client::Client;
use crate::daemon::FOUNDERS_POWER;
use crate::ledger::{GenesisFile, Place, Rpc, Url, deploy, set_validator_key};
use alloy_primitives::{U256, hex};
use alloy_sol_types::{SolCall as _, SolEvent};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use talkoo_base::{Network, RefusalCode, SecretKey, Signer};
use talkoo_disk::DataDir;
use talkoo_ledger::bindings::{ISettlement, IToken};
use talkoo_ledger::contracts::{Beginning, Staker};
use talkoo_proof::verify_kept;

pub(super) fn run(data_dir: &Path, command: &LedgerCommand, show: &Show) -> Result<ExitCode> {
    if let LedgerCommand::Bench { count, accounts } = command {
        show.value(&crate::ledger::bench::run(*count, *accounts)?);
        return Ok(ExitCode::SUCCESS);
    }
    match command {
        LedgerCommand::Key { operator } => {
            let dir = DataDir::open(data_dir)?;
            let key = dir.validator_key()?;
            print(&match operator {
                Some(operator) => hex::encode_prefixed(set_validator_key(&key, *operator).abi_encode()),
                None => format!("{}@{}", key.address(), dir.owner().open()?.address()),
            });
            return Ok(ExitCode::SUCCESS);
        }
        LedgerCommand::Genesis { stakers, founder, challenge_window, dispute_clock, epoch, beacon } => {
            print(&genesis(stakers, *founder, [*challenge_window, *dispute_clock, *epoch, *beacon])?);
            return Ok(ExitCode::SUCCESS);
        }
        LedgerCommand::Deploy { rpc, key, token, challenge_window } => {
            deploy(data_dir, rpc, key.as_deref(), *token, *challenge_window, show)?;
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    let books = match command.rpc() {
        Some(url) => Books::at(Place::find(url)?),
        None => Books::of(&Client::of(data_dir)?)?,
    };
    let Books { place, rpc, .. } = &books;
    let found = |value: Value, what: &str| {
        let hint = "`ledger status` says which block is the last";
        let missing = || Failure::new(RefusalCode::Malformed, format!("the ledger has no such {what}"), hint);
        if value.is_null() { Err(missing()) } else { Ok(value) }
    };
    match command {
        LedgerCommand::Status { .. } => show.value(&state(rpc, place)?),
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
        LedgerCommand::Export { csv, since, .. } => export(&books, *since, *csv)?,
        LedgerCommand::Verify { files, genesis, .. } => {
            if place.is_outside() {
                let hint = "ask a server you trust: `ledger receipt` says what it answers";
                let why = "an outside chain's headers have no certificates that this program can check";
                return Err(Failure::new(RefusalCode::Malformed, why, hint).into());
            }
            let own = data_dir.join("chain/genesis.json");
            return proved::run(files, genesis.as_deref().unwrap_or(&own), rpc, show);
        }
        LedgerCommand::Receipt { files, .. } => receipts(rpc, place, files, show)?,
        LedgerCommand::Bench { .. }
        | LedgerCommand::Key { .. }
        | LedgerCommand::Genesis { .. }
        | LedgerCommand::Deploy { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The genesis of a network with these validators, dated now.
fn genesis(
    stakers: &[Staker],
    founder: Option<talkoo_base::Address>,
    [window_s, answer_s, epoch_s, beacon_s]: [u64; 4],
) -> Result<String> {
    let timestamp = crate::ledger::unix();
    let founder = founder.unwrap_or(stakers[0].operator).0.into();
    let (chain_id, mut stakers) = (Network::LOCAL_CHAIN_ID, stakers.to_vec());
    let share = FOUNDERS_POWER / stakers.len() as u64;
    stakers.iter_mut().filter(|staker| staker.validator.power == 0).for_each(|staker| staker.validator.power = share);
    let beginning = Beginning { chain_id, timestamp, stakers, founder, window_s, answer_s, epoch_s, beacon_s };
    let file = GenesisFile::checked(beginning).map_err(|why| {
        let hint = "name each validator once, with an operator of its own and power that bonds can pay";
        Failure::usage(why.to_string(), hint)
    })?;
    Ok(file.to_json())
}

/// Our contracts on a chain without them.
fn deploy(
    data_dir: &Path,
    url: &Url,
    key: Option<&Path>,
    token: Option<talkoo_base::Address>,
    window_s: u64,
    show: &Show,
) -> Result<()> {
    let key = match key {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let key = hex::decode(text.trim().trim_start_matches("0x")).ok();
            let key = key.and_then(|bytes| SecretKey::from_bytes(&bytes.try_into().ok()?).ok());
            key.ok_or_else(|| Failure::usage("the key file holds no key", "it has 64 hexadecimal digits"))?
        }
        None => keys::owner_key(data_dir, None)?,
    };
    let place = deploy::run(url, &key, token.map(|token| token.0.into()), window_s, say)?;
    let mut value = place.to_json();
    value["ledger"] = json!(place.url.to_string());
    show.value(&value);
    say(&format!("nodes use it with: talkoo up --ledger '{}'", place.url));
    Ok(())
}

/// What a ledger says of the payment of receipts; nothing is proved.
fn receipts(rpc: &Rpc, place: &Place, files: &[PathBuf], show: &Show) -> Result<()> {
    let row = |file: &PathBuf| -> Result<Value> {
        let kept = read_receipt(file)?;
        let facts = verify_kept(&kept).with_context(|| format!("{} does not hold by itself", file.display()))?;
        let channel = kept.channel.id(&kept.network());
        let call = ISettlement::channelsCall { channelId: channel.0.into() };
        let held = rpc.call(place.at.settlement, &call)?;
        Ok(json!({
            "file": file,
            "channel": channel.to_string(),
            "promised": facts.paid.0.to_string(),
            "claimed": held.totalClaimed.to_string(),
            "held": held.balance.to_string(),
            "paid": held.totalClaimed >= facts.paid.0,
        }))
    };
    let rows = files.iter().map(row).collect::<Result<Vec<_>>>()?;
    show.value(&json!({"ledger": place.url.to_string(), "receipts": rows}));
    Ok(())
}

fn state(rpc: &Rpc, place: &Place) -> Result<Value> {
    let head = rpc.ask("eth_getBlockByNumber", &json!(["latest", false]))?;
    let first = rpc.ask("eth_getBlockByNumber", &json!(["0x0", false]))?;
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<U256>().ok()).unwrap_or_default();
    let supply = rpc.call(place.at.token, &IToken::totalSupplyCall {})?;
    let in_channels = IToken::balanceOfCall { account: place.at.settlement };
    let channels = rpc.call(place.at.token, &in_channels)?;
    Ok(json!({
        "ledger": place.url.to_string(),
        "contracts": place.to_json()["contracts"],
        "chain": rpc.number("eth_chainId", &json!([]))?.to_string(),
        "block": number(&head["number"]).to_string(),
        "hash": head["hash"],
        "time": number(&head["timestamp"]).to_string(),
        "genesis": first["hash"],
        "state_root": head["stateRoot"],
        "money": {"supply": supply.to_string(), "in_channels": channels.to_string()},
    }))
}

/// Every movement of the payment token, one line each.
fn export(books: &Books, since: Option<u64>, csv: bool) -> Result<()> {
    if csv {
        print("block,transaction,from,to,amount");
    }
    let topics = json!([IToken::Transfer::SIGNATURE_HASH.to_string()]);
    events(books, since, books.place.at.token, &topics, |log| {
        let Transfer { block, hash, from, to, amount } = Transfer::of(log);
        print(&if csv {
            format!("{block},{hash},{from},{to},{amount}")
        } else {
            json!({"block": block.to_string(), "transaction": hash, "from": from, "to": to, "amount": amount.to_string()})
                .to_string()
        });
    })
}
