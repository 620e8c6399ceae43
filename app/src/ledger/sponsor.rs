//! Starter credit: a validator of a test network lets newcomers begin.
//!
//! The faucet's caps are the quota: an account gets its credit once, whoever is asked for it how often. A gift of ours that waits to
//! be mined is not sent again; of two validators' the faucet takes one. What is given has no value.

use super::rpc::signed;
use super::{Shared, unix};
use alloy_consensus::{Transaction, TxEip1559};
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_sol_types::{SolCall, SolError};
use std::collections::BTreeMap;
use talkoo_api::eth::{Chain, SponsorError, SubmitError};
use talkoo_base::{NodeId, SecretKey, Signer};
use talkoo_ledger::bindings::{CreditAndGas, IFaucet, IToken};
use talkoo_ledger::contracts::{CREDIT_AT, FAUCET_AT, STARTER_CREDIT};
use talkoo_ledger::{Call, CallError, Outcome, decode_transaction, next_base_fee};

/// Who has less, and never got any, gets credit.
const LITTLE: u128 = STARTER_CREDIT / 10;
/// What an account gets for its transactions, in wei: some thousands of them.
const GAS: u128 = 10u128.pow(16);

/// Who asks without an invite shares one with everybody else of the same day.
const DAY_S: u64 = 24 * 3_600;

/// Requests for starter credit that one peer may make on one day.
const ASKED_MAX: u32 = 8;
/// Peers whose requests are counted.
const ASKERS_MAX: usize = 1_024;

/// How often each peer asked for starter credit today.
#[derive(Default)]
pub(super) struct Askers {
    day: u64,
    counts: BTreeMap<NodeId, u32>,
}

impl Askers {
    /// Whether a peer may ask again, in this second; counts it.
    pub(super) fn may(&mut self, peer: NodeId, unix: u64) -> bool {
        if self.day != unix / DAY_S || self.counts.len() >= ASKERS_MAX {
            *self = Self { day: unix / DAY_S, counts: BTreeMap::new() };
        }
        let count = self.counts.entry(peer).or_default();
        *count = count.saturating_add(1);
        *count <= ASKED_MAX
    }
}

/// What an account would be given.
struct Gift {
    to: Address,
    amount: CreditAndGas,
}

impl Shared {
    /// Gives a newcomer's owner credit if it has little and never got any, and owner and node gas if they have none. A gift that
    /// waits already is told again instead.
    pub(super) fn give(&self, key: &SecretKey, owner: Address, node: Address) -> Result<Vec<B256>, SponsorError> {
        // One at a time: nonces are counted from what waits.
        let _turn = super::lock(&self.sponsoring);
        // Before balances are looked at: what is mined meanwhile is in one of the two.
        let waiting = self.gifts_waiting();
        let gas = |account| -> Result<u128, SponsorError> {
            let there = self.view().read(0, |reader| reader.account(account)).map_err(SubmitError::Kv)?;
            Ok(if there.balance.is_zero() { GAS } else { 0 })
        };
        let (is_poor, had) = self.credit_of(owner)?;
        let credit = if is_poor && had == 0 { STARTER_CREDIT } else { 0 };
        let gifts = [
            Gift { to: owner, amount: CreditAndGas { credit, gas: gas(owner)? } },
            Gift { to: node, amount: CreditAndGas { credit: 0, gas: if node == owner { 0 } else { gas(node)? } } },
        ];
        let wanted = gifts.into_iter().filter(|gift| gift.amount.credit + gift.amount.gas > 0);
        let sponsor = Address::from(key.address().0);
        let give = |gift: Gift| {
            if let Some(hash) = waiting.get(&gift.to) {
                return Ok(*hash);
            }
            let call =
                IFaucet::grantCall { account: gift.to, invite: U256::from(unix() / DAY_S).into(), amount: gift.amount };
            self.ask(sponsor, FAUCET_AT, &call)?;
            self.send(key, FAUCET_AT, &call)
        };
        let hashes = wanted.map(give).collect::<Result<Vec<B256>, _>>()?;
        if is_poor && hashes.is_empty() {
            return Err(SponsorError::Refused("the account has had its share of starter credit".into()));
        }
        Ok(hashes)
    }

    /// Whether an account has little credit, and what the faucet gave it.
    fn credit_of(&self, account: Address) -> Result<(bool, u128), SponsorError> {
        let balance = self.ask(Address::ZERO, CREDIT_AT, &IToken::balanceOfCall { account })?;
        let had = self.ask(Address::ZERO, FAUCET_AT, &IFaucet::toAccountCall { account })?;
        Ok((balance < U256::from(LITTLE), had.credit))
    }

    /// Gifts of ours that are not mined yet, by who gets them.
    fn gifts_waiting(&self) -> BTreeMap<Address, B256> {
        let (us, mut waiting) = (Address::from(self.key.address().0), BTreeMap::new());
        self.pool(&mut |transaction, _| {
            // Strangers' grants are refused when they are mined: they shall keep nobody from ours.
            if (transaction.signer(), transaction.to()) == (us, Some(FAUCET_AT))
                && let Ok(call) = IFaucet::grantCall::abi_decode(transaction.input())
            {
                waiting.insert(call.account, *transaction.tx_hash());
            }
            true
        });
        waiting
    }

    /// What would come of a call.
    pub(super) fn call<C: SolCall>(&self, from: Address, to: Address, call: &C) -> Result<Outcome, CallError> {
        let call = Call { from, to: Some(to), data: call.abi_encode().into(), ..Call::default() };
        self.view().read(unix(), |reader| reader.call(&call, &BTreeMap::new()))
    }

    /// What a call would answer; its refusal, if it would be refused.
    fn ask<C: SolCall>(&self, from: Address, to: Address, call: &C) -> Result<C::Return, SponsorError> {
        let outcome = self.call(from, to, call).map_err(|error| SponsorError::Refused(error.to_string()))?;
        let refused = || {
            let named = IFaucet::CapReached::abi_decode(&outcome.output);
            let why = named.map(|cap| format!("the {} has had its share of starter credit", cap.which));
            SponsorError::Refused(why.unwrap_or_else(|_| "the faucet refuses: are we its sponsor?".into()))
        };
        match outcome.success {
            true => C::abi_decode_returns(&outcome.output).map_err(|error| SponsorError::Refused(error.to_string())),
            false => Err(refused()),
        }
    }

    /// Sends a call of ours; the caller has the turn of [`Shared::sponsoring`].
    pub(super) fn send<C: SolCall>(&self, key: &SecretKey, to: Address, call: &C) -> Result<B256, SponsorError> {
        let (view, from) = (self.view(), Address::from(key.address().0));
        let used = view.read(0, |reader| reader.account(from)).map_err(SubmitError::Kv)?.nonce;
        let transaction = TxEip1559 {
            chain_id: view.head.chain_id,
            nonce: self.next_nonce(&from).unwrap_or(used).max(used),
            gas_limit: 300_000,
            max_fee_per_gas: u128::from(next_base_fee(&view.head.header)) * 4,
            to: TxKind::Call(to),
            value: U256::ZERO,
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        let bytes = signed(transaction, key);
        let signed = decode_transaction(&bytes, view.head.chain_id).expect("our own transaction");
        Ok(self.submit(signed)?)
    }
}
