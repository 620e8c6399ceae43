//! Who decides the next block: the largest stakes, read from the state after the first block of an epoch.
//!
//! ```text
//! epoch n, decided by set A ─► first block of epoch n+1: still decided by A, names set B ─► decided by B from the next one on
//! ```
//! An epoch is a block's time divided by [`Head::epoch_s`]. The question is a call outside the block, so it costs nobody gas
//! and changes nothing; its own gas is unbounded, because what bonds cost bounds how long it takes.

use crate::bindings::IStaking;
use crate::block::Header;
use crate::call::{Call, CallError, Reader};
use crate::contracts::{STAKING_AT, VALIDATOR_BOND_MIN};
use crate::execute::{Ancestors, Head};
use crate::kv::{KvError, KvRead};
use crate::limits::POWER_MAX;
use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use std::collections::BTreeMap;
use talkoo_base::{Address, VALIDATORS_MAX, Validator, validators_hash};

/// Who decides the blocks after `head`, if an epoch begins with it and the set changes. `parent` is the block before.
pub(crate) fn handover(
    parent: &Header,
    head: &mut Head,
    kv: &dyn KvRead,
    ancestors: Ancestors<'_>,
) -> Result<Option<Vec<Validator>>, KvError> {
    let epoch = |header: &Header| header.timestamp.checked_div(head.epoch_s);
    if epoch(parent) == epoch(&head.header) {
        return Ok(None);
    }
    let call = IStaking::topValidatorsCall { most: U256::from(VALIDATORS_MAX) };
    let call = Call { to: Some(STAKING_AT), data: call.abi_encode().into(), ..Call::default() };
    let outcome = match (Reader { head, kv, ancestors, timestamp: 0 }).ask(&call) {
        Ok(outcome) => outcome,
        Err(CallError::Kv(error)) => return Err(error),
        Err(CallError::Invalid(_) | CallError::Fails(_)) => return Ok(None),
    };
    let Ok(top) = IStaking::topValidatorsCall::abi_decode_returns(&outcome.output) else { return Ok(None) };
    let validators = validators(top.keys.iter().map(|key| Address(key.0.0)).zip(top.bonds));
    let same = validators_hash(&validators).0[..] == parent.extra_data[..];
    Ok(Some(validators).filter(|validators| !validators.is_empty() && !same))
}

/// Keys with their bonds, the largest first, as validators in the order of their addresses: each once, and with power.
pub(crate) fn validators(bonds: impl Iterator<Item = (Address, u128)>) -> Vec<Validator> {
    let mut powers = BTreeMap::new();
    for (address, bond) in bonds {
        let power = u64::try_from(bond / VALIDATOR_BOND_MIN).unwrap_or(POWER_MAX).min(POWER_MAX);
        if power > 0 {
            powers.entry(address).or_insert(power);
        }
    }
    powers.into_iter().map(|(address, power)| Validator { address, power }).collect()
}
