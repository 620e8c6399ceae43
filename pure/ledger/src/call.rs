//! Calls that change nothing: `eth_call`, `eth_estimateGas`, `eth_getProof` and what else reads the state.

use crate::block::Header;
use crate::execute::{Ancestors, Head, SPEC, broken, context};
use crate::kv::{KvError, KvRead};
use crate::limits::{ACCESS_LIST_TURNS, CALL_GAS_MAX, TX_GAS_MAX};
use crate::state::{State, View};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, B256, Bytes, Log, TxKind, U256, keccak256};
use revm::bytecode::Bytecode;
use revm::context::TxEnv;
use revm::context::either::Either;
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction, ResultAndState};
use revm::handler::{EthPrecompiles, MainnetContext};
use revm::{Database as _, ExecuteEvm, MainBuilder};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// A message call, as `eth_call` takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Who calls.
    pub from: Address,
    /// Whom; nobody for a creation.
    pub to: Option<Address>,
    /// Wei sent along.
    pub value: U256,
    /// The call's data.
    pub data: Bytes,
    /// Gas, if not as much as a call may have.
    pub gas: Option<u64>,
    /// Wei for each gas: 0 needs no balance.
    pub gas_price: u128,
    /// What is said to be touched (EIP-2930).
    pub access_list: AccessList,
    /// Accounts that take on code (EIP-7702).
    pub authorizations: Vec<SignedAuthorization>,
}

/// What a call pretends of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// Wei.
    pub balance: Option<U256>,
    /// Transactions sent.
    pub nonce: Option<u64>,
    /// Code.
    pub code: Option<Bytes>,
    /// Slots.
    pub slots: BTreeMap<U256, U256>,
    /// Whether they are all that the account has.
    pub is_all: bool,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it succeeded.
    pub success: bool,
    /// What it returned, or the data of its revert.
    pub output: Bytes,
    /// Gas used, refunds taken off.
    pub gas_used: u64,
    /// Why it stopped, unless it succeeded or reverted.
    pub halt: Option<String>,
    /// Its events.
    pub logs: Vec<Log>,
}

/// Why a call was not made.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CallError {
    /// It can't be a transaction.
    #[error("{0}")]
    Invalid(#[from] InvalidTransaction),
    /// The disk failed.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The call fails, however much gas it gets.
    #[error("execution fails")]
    Fails(Box<Outcome>),
}

/// An account as a reader sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Transactions sent.
    pub nonce: u64,
    /// Wei.
    pub balance: U256,
    /// Code, empty for a person's account.
    pub code: Bytes,
    /// Hash of the code.
    pub code_hash: B256,
    /// Root of its storage.
    pub storage_root: B256,
}

/// Proof of an account and some of its slots against a state root (EIP-1186).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The account.
    pub account: Account,
    /// Nodes from the state root to it.
    pub nodes: Vec<Vec<u8>>,
    /// For every slot: itself, its value, nodes from the storage root to it.
    pub slots: Vec<(U256, U256, Vec<Vec<u8>>)>,
}

/// The state after a block, to be read. Nodes it reads are remembered for the next question.
pub struct Reader<'a> {
    /// The block.
    pub head: &'a mut Head,
    /// The disk of the same time.
    pub kv: &'a dyn KvRead,
    /// Older blocks' hashes.
    pub ancestors: Ancestors<'a>,
    /// The second in which calls pretend to be made, if it is after the block's: no block is made while nobody sends.
    pub timestamp: u64,
}

impl Reader<'_> {
    /// An account; one that is not there is empty.
    ///
    /// # Errors
    /// [`KvError`] if the state can't be read.
    pub fn account(&mut self, address: Address) -> Result<Account, KvError> {
        let record = self.head.state.account(self.kv, address)?.unwrap_or_default();
        let code = self.head.state.code(self.kv, record.code_hash)?.original_bytes();
        let (nonce, balance) = (record.nonce, record.balance);
        Ok(Account { nonce, balance, code, code_hash: record.code_hash, storage_root: record.storage_root })
    }

    /// A slot of an account's storage.
    ///
    /// # Errors
    /// [`KvError`] if the state can't be read.
    pub fn slot(&mut self, address: Address, slot: U256) -> Result<U256, KvError> {
        self.head.state.slot(self.kv, address, slot)
    }

    /// Proofs of an account and slots against the block's state root.
    ///
    /// # Errors
    /// [`KvError`] if the state can't be read.
    pub fn proof(&mut self, address: Address, slots: &[U256]) -> Result<Proof, KvError> {
        let (nodes, proofs) = self.head.state.proofs(self.kv, address, slots)?;
        let values: Vec<_> = slots.iter().map(|slot| self.slot(address, *slot)).collect::<Result<_, _>>()?;
        let slots = slots.iter().zip(values).zip(proofs);
        let slots = slots.map(|((slot, value), proof)| (*slot, value, proof)).collect();
        Ok(Proof { account: self.account(address)?, nodes, slots })
    }

    /// Makes a call on top of the block, and forgets what it changed.
    ///
    /// # Errors
    /// [`CallError::Invalid`] if it can't be made, [`CallError::Kv`] if the state can't be read.
    pub fn call(&mut self, call: &Call, overrides: &BTreeMap<Address, Override>) -> Result<Outcome, CallError> {
        let gas = call.gas.unwrap_or(CALL_GAS_MAX).min(CALL_GAS_MAX);
        self.execute(call, overrides, gas)
    }

    /// Makes a call of our own, with as much gas as it takes.
    pub(crate) fn ask(&mut self, call: &Call) -> Result<Outcome, CallError> {
        self.execute(call, &BTreeMap::new(), u64::MAX)
    }

    /// The least gas with which a call succeeds, found by halving as go-ethereum does.
    ///
    /// # Errors
    /// [`CallError::Fails`] if no gas suffices.
    pub fn estimate(&mut self, call: &Call, overrides: &BTreeMap<Address, Override>) -> Result<u64, CallError> {
        let most = call.gas.unwrap_or(TX_GAS_MAX).min(TX_GAS_MAX);
        let all = self.execute(call, overrides, most)?;
        if !all.success {
            return Err(CallError::Fails(Box::new(all)));
        }
        // Mostly what was used suffices; if not, refunds or the 64th that a call keeps back (EIP-150) are the reason.
        let (mut low, mut high, mut middle) = (all.gas_used.saturating_sub(1), most, all.gas_used);
        while low + 1 < high {
            match self.execute(call, overrides, middle) {
                Ok(outcome) if outcome.success => high = middle,
                Ok(_) | Err(CallError::Invalid(_)) => low = middle,
                Err(error) => return Err(error),
            }
            // Within 1.5 % is near enough, and never too little.
            if (high - low) * 1_000 < high * 15 {
                break;
            }
            middle = low.midpoint(high).min(low.saturating_mul(2).max(1));
        }
        Ok(high)
    }

    /// What a call touches, as an access list that makes it cheaper (EIP-2930), and what comes of it with that list. Who
    /// calls, who is called and who is paid are known without being listed.
    ///
    /// # Errors
    /// [`CallError`], as for [`Reader::call`].
    pub fn access_list(
        &mut self,
        call: &Call,
        overrides: &BTreeMap<Address, Override>,
    ) -> Result<(AccessList, Outcome), CallError> {
        let gas = call.gas.unwrap_or(CALL_GAS_MAX).min(CALL_GAS_MAX);
        let mut call = call.clone();
        // What is listed costs other gas, which may lead elsewhere.
        for _ in 0..ACCESS_LIST_TURNS {
            let (done, env) = self.transact(&call, overrides, gas)?;
            let made = call.to.is_none().then(|| call.from.create(env.nonce));
            let known = [Some(call.from), call.to, made, Some(self.head.header.beneficiary)];
            let precompiles = EthPrecompiles::new(SPEC);
            let touched = done.state.iter().map(|(address, account)| {
                let slots: BTreeSet<B256> = account.storage.keys().map(|slot| B256::from(*slot)).collect();
                AccessListItem { address: *address, storage_keys: slots.into_iter().collect() }
            });
            let is_unknown = |address: &Address| !known.contains(&Some(*address)) && !precompiles.contains(address);
            let wanted = touched.filter(|item| !item.storage_keys.is_empty() || is_unknown(&item.address));
            let mut list: Vec<_> = wanted.collect();
            list.sort_by_key(|item| item.address);
            if list == call.access_list.0 {
                return Ok((call.access_list, outcome(done.result)));
            }
            call.access_list = AccessList(list);
        }
        let (done, _) = self.transact(&call, overrides, gas)?;
        Ok((call.access_list, outcome(done.result)))
    }

    fn execute(
        &mut self,
        call: &Call,
        overrides: &BTreeMap<Address, Override>,
        gas: u64,
    ) -> Result<Outcome, CallError> {
        self.transact(call, overrides, gas).map(|(done, _)| outcome(done.result))
    }

    fn transact(
        &mut self,
        call: &Call,
        overrides: &BTreeMap<Address, Override>,
        gas: u64,
    ) -> Result<(ResultAndState, TxEnv), CallError> {
        let mut state: State = self.head.state.clone();
        let (context, env) = self.prepare(&mut state, call, overrides, gas)?;
        let done = context.build_mainnet().transact(env.clone()).map_err(|error| match error {
            EVMError::Transaction(reason) => CallError::Invalid(reason),
            error => CallError::Kv(broken(error)),
        })?;
        Ok((done, env))
    }

    /// The world that a call pretends, and the call.
    pub(crate) fn prepare<'s>(
        &'s self,
        state: &'s mut State,
        call: &Call,
        overrides: &BTreeMap<Address, Override>,
        gas: u64,
    ) -> Result<(MainnetContext<View<'s>>, TxEnv), CallError> {
        let mut view = View::new(state, self.kv, self.ancestors);
        for (address, pretended) in overrides {
            let mut info = view.basic(*address)?.unwrap_or_default();
            info.balance = pretended.balance.unwrap_or(info.balance);
            info.nonce = pretended.nonce.unwrap_or(info.nonce);
            if let Some(code) = &pretended.code {
                let invalid = |e: revm::bytecode::BytecodeDecodeError| CallError::Invalid(e.to_string().into());
                info.code_hash = keccak256(code);
                info.code = Some(Bytecode::new_raw_checked(code.clone()).map_err(invalid)?);
            }
            view.put(*address, info);
            if pretended.is_all {
                view.empty_storage(*address);
            }
            pretended.slots.iter().for_each(|(slot, value)| view.put_slot(*address, *slot, *value));
        }
        let nonce = view.basic(call.from)?.map_or(0, |info| info.nonce);
        let timestamp = self.timestamp.max(self.head.header.timestamp);
        let header = Header { timestamp, ..Header::clone(&self.head.header) };
        let chain_id = self.head.chain_id;
        let mut context = context(view, chain_id, &header);
        context.cfg.disable_eip3607 = true;
        context.cfg.disable_base_fee = true;
        context.cfg.disable_balance_check = call.gas_price == 0;
        context.cfg.disable_block_gas_limit = true;
        context.cfg.tx_gas_limit_cap = Some(gas.max(CALL_GAS_MAX));
        Ok((context, environment(call, nonce, gas, chain_id)))
    }
}

fn environment(call: &Call, nonce: u64, gas: u64, chain_id: u64) -> TxEnv {
    let mut env = TxEnv {
        caller: call.from,
        gas_limit: gas,
        gas_price: call.gas_price,
        kind: call.to.map_or(TxKind::Create, TxKind::Call),
        value: call.value,
        data: call.data.clone(),
        nonce,
        access_list: call.access_list.clone(),
        authorization_list: call.authorizations.iter().cloned().map(Either::Left).collect(),
        chain_id: Some(chain_id),
        ..TxEnv::default()
    };
    env.tx_type = match (env.authorization_list.is_empty(), env.access_list.0.is_empty()) {
        (false, _) => 4,
        (true, false) => 1,
        (true, true) => 0,
    };
    env
}

fn outcome(result: ExecutionResult) -> Outcome {
    let gas_used = result.tx_gas_used();
    let (success, halt) = match &result {
        ExecutionResult::Success { .. } => (true, None),
        ExecutionResult::Revert { .. } => (false, None),
        ExecutionResult::Halt { reason, .. } => (false, Some(format!("{reason:?}"))),
    };
    let output = result.output().cloned().unwrap_or_default();
    Outcome { success, output, gas_used, halt, logs: if success { result.into_logs() } else { Vec::new() } }
}
