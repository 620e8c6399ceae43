//! `ledger deploy`: our contracts on a chain that has none.

use super::place::{Place, Url};
use super::rpc::{Rpc, RpcError};
use alloy_primitives::Address;
use anyhow::{Context, Result, ensure};
use serde_json::json;
use talkoo_base::{SecretKey, Signer};
use talkoo_ledger::bindings::IToken;
use talkoo_ledger::contracts::{ERC3009_COLLECTOR_AT, SETTLEMENT_AT};
use talkoo_ledger::{Code, Deployment, Existing};

/// What amounts are counted in: 10⁻⁶ of the payment token.
const DECIMALS: u8 = 6;

/// Creates what is missing, as `key`; `tell` hears of every step.
///
/// # Errors
/// A ledger that refuses, a token that our clients can't pay with, or a deployer whose key sent something else meanwhile.
pub(crate) fn run(
    url: &Url,
    key: &SecretKey,
    token: Option<Address>,
    window_s: u64,
    tell: impl Fn(&str),
) -> Result<Place> {
    let rpc = Rpc::new(&url.rpc);
    let deployer = Address::from(key.address().0);
    let chain_id = rpc.number("eth_chainId", &json!([]))?.saturating_to();
    if let Some(token) = token {
        check_token(&rpc, token).with_context(|| format!("nobody could pay with the token at {token}"))?;
    }
    let is_there = rpc.has_code(SETTLEMENT_AT)? && rpc.has_code(ERC3009_COLLECTOR_AT)?;
    let there = Existing { channels: is_there.then_some((SETTLEMENT_AT, ERC3009_COLLECTOR_AT)), token };
    let nonce = rpc.number("eth_getTransactionCount", &json!([deployer.to_string(), "pending"]))?.saturating_to();
    let (at, contracts) = Deployment::plan(deployer, nonce, there, window_s);
    tell(&format!("{} contracts for chain {chain_id}, by {deployer}", contracts.len()));
    if is_there {
        tell("x402's channels are there: used as they are");
    }
    for contract in contracts {
        let Code::Creation(code) = contract.code else { continue };
        let hash = rpc.create(key, &code).with_context(|| format!("{} was not created", contract.name))?;
        let included = rpc.wait(hash).with_context(|| format!("{} was not created", contract.name))?;
        ensure!(
            rpc.has_code(contract.address)?,
            "{} is not at {}: the deployer's key sent something else meanwhile; begin again",
            contract.name,
            contract.address
        );
        tell(&format!("{:<22} {}  {} gas", contract.name, contract.address, included.gas_used));
    }
    let place = Place { url: Url { rpc: url.rpc.clone(), list: Some(at.parameters) }, chain_id, at };
    let listed = Place::find(&place.url).context("the list of contracts can't be read back")?;
    ensure!(listed == place, "the list at {} names other contracts", at.parameters);
    Ok(place)
}

/// Deposits go by ERC-3009, amounts are counted in 10⁻⁶.
fn check_token(rpc: &Rpc, token: Address) -> Result<()> {
    let asked: Result<_, RpcError> = rpc.call(token, &IToken::DOMAIN_SEPARATORCall {});
    asked.context("it has no DOMAIN_SEPARATOR: clients deposit by ERC-3009")?;
    let decimals = rpc.call(token, &IToken::decimalsCall {}).context("it does not say its decimals")?;
    ensure!(decimals == DECIMALS, "it has {decimals} decimals, amounts here have {DECIMALS}");
    Ok(())
}
