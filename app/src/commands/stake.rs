//! `stake`: the owner's bond.

use super::keys::{known, owner_key, raw_key};
use super::wallet::{Books, units};
use super::{Failure, Show, print};
use crate::cli::{Role, StakeCommand};
use crate::client::Client;
use crate::ledger::set_validator_key;
use alloy_primitives::{Address, U256};
use alloy_sol_types::SolCall;
use anyhow::Result;
use clap::ValueEnum as _;
use serde_json::json;
use std::path::Path;
use talkoo_base::{RefusalCode, SecretKey, Signer as _};
use talkoo_disk::OwnerFiles;
use talkoo_inference::Asset;
use talkoo_ledger::bindings::{IStaking, IToken};

/// Roles by the bits that the contract gives them.
const ROLES: [(Role, u8); 4] = [(Role::Work, 1), (Role::Store, 2), (Role::Validate, 4), (Role::Verify, 8)];
/// Most validators there are.
const SEATS: u64 = talkoo_base::VALIDATORS_MAX as u64;

pub(super) fn run(data_dir: &Path, command: &StakeCommand, show: &Show) -> Result<()> {
    let books = Books::of(&Client::of(data_dir)?)?;
    match command {
        StakeCommand::Add { amount, role, secret } => {
            let key = owner_key(data_dir, secret.passphrase_file.as_deref())?;
            add(&books, data_dir, &key, amount, role)?;
        }
        StakeCommand::Withdraw { amount, secret } => {
            let key = owner_key(data_dir, secret.passphrase_file.as_deref())?;
            withdraw(&books, &key, amount.as_deref())?;
        }
        StakeCommand::Unjail { secret } => {
            let key = owner_key(data_dir, secret.passphrase_file.as_deref())?;
            send(&books, &key, books.place.at.staking, &IStaking::unjailCall {})?;
        }
        StakeCommand::Status => {}
    }
    status(&books, known(&OwnerFiles::of(data_dir))?.address().0.into(), show)
}

fn micro(amount: &str) -> Result<u128> {
    let bad =
        || Failure::usage(format!("{amount} is no amount"), "a number above 0 with at most 6 digits behind the point");
    Ok(Asset::Stake.units(amount).filter(|units| *units > 0).ok_or_else(bad)?)
}

/// Sends a call of the owner's and waits for its block.
fn send<C: SolCall>(books: &Books, key: &SecretKey, to: Address, call: &C) -> Result<()> {
    let hash = books.rpc.send(key, to, call)?;
    books.rpc.wait(hash)?;
    Ok(())
}

fn add(books: &Books, data_dir: &Path, key: &SecretKey, amount: &str, roles: &[Role]) -> Result<()> {
    let (at, owner) = (books.place.at, Address::from(key.address().0));
    let amount = micro(amount)?;
    let validates = roles.contains(&Role::Validate);
    if validates && books.place.is_outside() {
        let hint = "leave `--role validate` out: its own validators make its blocks";
        return Err(Failure::usage("this chain is not ours to validate", hint).into());
    }
    // Before anything is bonded: a seat whose key does not vote only stands in the way.
    let voter = validates.then(|| voter(data_dir)).transpose()?;
    let have: u128 = books.rpc.call(at.stake, &IToken::balanceOfCall { account: owner })?.saturating_to();
    if have < amount {
        let why = format!("{owner} has {} of what is staked", units(U256::from(have)));
        let hint = "it has to be sent there first: `wallet send --asset stake` of who has some";
        return Err(Failure::new(RefusalCode::Other, why, hint).into());
    }
    let now = books.rpc.call(at.staking, &IStaking::stakesCall { operator: owner })?;
    let wanted = ROLES.iter().filter(|(role, _)| roles.contains(role)).fold(now.roles, |bits, (_, bit)| bits | bit);
    send(books, key, at.stake, &IToken::approveCall { spender: at.staking, value: U256::from(amount) })?;
    send(books, key, at.staking, &IStaking::bondCall { amount, roles: wanted })?;
    if let Some(voter) = voter.filter(|voter| now.validatorKey != Address::from(voter.address().0)) {
        send(books, key, at.staking, &set_validator_key(&voter, key.address()))?;
    }
    Ok(())
}

/// The key with which this folder's node votes.
fn voter(data_dir: &Path) -> Result<SecretKey> {
    let key = raw_key(&data_dir.join("validator.key"));
    let is_followed = data_dir.join("chain/ledger.redb").exists();
    Ok(key.filter(|_| is_followed).ok_or_else(|| {
        let hint = "run it with the network's `--genesis FILE`: a validator follows the chain by itself";
        Failure::new(RefusalCode::Other, "this folder's node does not vote", hint)
    })?)
}

fn withdraw(books: &Books, key: &SecretKey, amount: Option<&str>) -> Result<()> {
    let (staking, owner) = (books.place.at.staking, Address::from(key.address().0));
    if let Some(amount) = amount {
        return send(books, key, staking, &IStaking::unbondCall { amount: micro(amount)? });
    }
    let now = books.rpc.call(staking, &IStaking::stakesCall { operator: owner })?;
    let (until, time) = (now.unbondsAt.to::<u64>(), books.rpc.time()?);
    if now.unbonding > 0 && until <= time {
        send(books, key, staking, &IStaking::finishUnbondCall {})?;
    }
    if books.rpc.call(staking, &IStaking::creditCall { account: owner })?.is_zero() {
        let why = match now.unbonding {
            0 => "nothing is on its way out".into(),
            _ => format!("what is on its way out is free at {until}, and it is {time} (seconds since 1970)"),
        };
        return Err(Failure::new(RefusalCode::Other, why, "`stake withdraw AMOUNT` starts the way out").into());
    }
    send(books, key, staking, &IStaking::withdrawCall { account: owner })
}

fn status(books: &Books, owner: Address, show: &Show) -> Result<()> {
    let staking = books.place.at.staking;
    let now = books.rpc.call(staking, &IStaking::stakesCall { operator: owner })?;
    let free = books.rpc.call(staking, &IStaking::creditCall { account: owner })?;
    let top = books.rpc.call(staking, &IStaking::topValidatorsCall { most: U256::from(SEATS) })?;
    let name = |role: &Role| Some(role.to_possible_value()?.get_name().to_owned());
    let roles: Vec<String> =
        ROLES.iter().filter(|(_, bit)| now.roles & bit != 0).filter_map(|(role, _)| name(role)).collect();
    let (until, jailed) = (now.unbondsAt.to::<u64>(), now.jailedUntil.to::<u64>());
    if show.json() {
        show.value(&json!({
            "owner": owner.to_string(),
            "bonded": now.bonded.to_string(),
            "unbonding": now.unbonding.to_string(),
            "unbonds_at": until,
            "free": free.to_string(),
            "roles": roles,
            "validator_key": (!now.validatorKey.is_zero()).then(|| now.validatorKey.to_string()),
            "among_the_largest": top.operators.contains(&owner),
            "jailed_until": jailed,
            "unit": "micro-units of what is staked",
        }));
        return Ok(());
    }
    print(&format!("Bonded     {:>16}   {}", units(U256::from(now.bonded)), roles.join(", ")));
    if now.unbonding > 0 {
        print(&format!("Leaving    {:>16}   until {until} (seconds since 1970)", units(U256::from(now.unbonding))));
    }
    if !free.is_zero() {
        print(&format!("Free       {:>16}   `stake withdraw` sends it to the owner", units(free)));
    }
    if jailed > 0 {
        print(&format!("in jail until {jailed} (seconds since 1970), for two votes that contradict each other"));
    }
    if top.operators.contains(&owner) {
        print("among the largest bonds: votes on blocks from the next epoch on");
    }
    Ok(())
}
