//! Questions for the state, and calls that change nothing.

use super::RpcError;
use super::desk::{Answer, Asked};
use super::error::failed;
use super::json::{access_list as access_list_json, hex, word};
use super::params::{BlockId, CallRequest, Overrides, Slots};
use alloy_primitives::{Address, Bytes, U256};
use serde_json::{Value, json};
use talkoo_ledger::{CallError, TX_GAS_MAX};

pub(super) fn balance(asked: &Asked<'_>) -> Answer {
    let (address, at): (Address, BlockId) = asked.read()?;
    asked.state(at, |reader| reader.account(address)).map(|account| hex(account.balance))
}

pub(super) fn nonce(asked: &Asked<'_>) -> Answer {
    let (address, at): (Address, BlockId) = asked.read()?;
    let waiting = if at == BlockId::Pending { asked.desk.chain.next_nonce(&address) } else { None };
    let nonce = asked.state(at, |reader| reader.account(address))?.nonce;
    Ok(hex(waiting.unwrap_or(nonce).max(nonce)))
}

pub(super) fn code(asked: &Asked<'_>) -> Answer {
    let (address, at): (Address, BlockId) = asked.read()?;
    asked.state(at, |reader| reader.account(address)).map(|account| hex(account.code))
}

pub(super) fn storage(asked: &Asked<'_>) -> Answer {
    let (address, slot, at): (Address, U256, BlockId) = asked.read()?;
    asked.state(at, |reader| reader.slot(address, slot)).map(word)
}

/// An account and some of its slots, with proofs (EIP-1186).
pub(super) fn proof(asked: &Asked<'_>) -> Answer {
    let (address, Slots(slots), at): (Address, Slots, BlockId) = asked.read()?;
    let proof = asked.state(at, |reader| reader.proof(address, &slots))?;
    let nodes = |nodes: Vec<Vec<u8>>| -> Vec<Value> { nodes.into_iter().map(|n| hex(Bytes::from(n))).collect() };
    let slots = proof.slots.into_iter();
    let slots: Vec<Value> = slots
        .map(|(slot, value, path)| json!({"key": word(slot), "value": hex(value), "proof": nodes(path)}))
        .collect();
    Ok(json!({
        "address": hex(address),
        "balance": hex(proof.account.balance),
        "codeHash": hex(proof.account.code_hash),
        "nonce": hex(proof.account.nonce),
        "storageHash": hex(proof.account.storage_root),
        "accountProof": nodes(proof.nodes),
        "storageProof": slots,
    }))
}

pub(super) fn call(asked: &Asked<'_>) -> Answer {
    let (request, at, overrides): (CallRequest, BlockId, Overrides) = asked.read()?;
    check(asked, &request, at, &overrides)?;
    let outcome = asked.state(at, |reader| reader.call(&request.call, &overrides.0))?;
    match outcome.success {
        true => Ok(hex(outcome.output)),
        false => Err(failed(&outcome)),
    }
}

pub(super) fn estimate(asked: &Asked<'_>) -> Answer {
    let (mut request, at, overrides): (CallRequest, BlockId, Overrides) = asked.read()?;
    let spare = check(asked, &request, at, &overrides)?;
    // Whoever names a price wants to pay it, so no more gas is tried than the account can buy.
    let most = spare.checked_div(U256::from(request.call.gas_price)).unwrap_or(U256::MAX);
    let most = request.call.gas.unwrap_or(TX_GAS_MAX).min(TX_GAS_MAX).min(most.saturating_to());
    request.call.gas = Some(most);
    let found = asked.state(at, |reader| match reader.estimate(&request.call, &overrides.0) {
        Err(CallError::Fails(outcome)) if outcome.halt.as_ref().is_some_and(|halt| halt.starts_with("OutOfGas")) => {
            Err(RpcError::server(format!("gas required exceeds allowance ({most})")))
        }
        found => Ok(found?),
    });
    found.map(hex)
}

/// What a call touches, and the gas it takes if that is listed (EIP-2930).
pub(super) fn access_list(asked: &Asked<'_>) -> Answer {
    let (request, at, overrides): (CallRequest, BlockId, Overrides) = asked.read()?;
    check(asked, &request, at, &overrides)?;
    let (list, outcome) = asked.state(at, |reader| reader.access_list(&request.call, &overrides.0))?;
    let mut answer = json!({"accessList": access_list_json(&list), "gasUsed": hex(outcome.gas_used)});
    if !outcome.success {
        answer["error"] = json!(failed(&outcome).message);
    }
    Ok(answer)
}

/// Whether a call can be made at all; tells what its sender has beyond the value.
pub(super) fn check(
    asked: &Asked<'_>,
    request: &CallRequest,
    at: BlockId,
    overrides: &Overrides,
) -> Result<U256, RpcError> {
    let CallRequest { call, chain_id } = request;
    let ours = asked.view.head.chain_id;
    if let Some(have) = chain_id.filter(|id| *id != ours) {
        return Err(RpcError::server(format!("invalid chain id for signer: have {have} want {ours}")));
    }
    let pretended = overrides.0.get(&call.from).and_then(|account| account.balance);
    let have = match pretended {
        Some(balance) => balance,
        None => asked.state(at, |reader| reader.account(call.from))?.balance,
    };
    let (address, want) = (call.from, call.value);
    have.checked_sub(want).ok_or_else(|| {
        RpcError::server(format!(
            "insufficient funds for gas * price + value: address {address} have {have} want {want}"
        ))
    })
}
