//! The first block of a network: who has gas, and the contracts that are there from the beginning.
//!
//! A contract of the genesis lies at an address everyone knows. Its creation code runs *there*, as if it were the
//! code of that address already, so constructors and immutables mean the same as in a common deployment; what it
//! returns becomes the code. `msg.sender` of a constructor is the zero address.

use crate::block::{self, Block, BlockBody, Header};
use crate::execute::{Head, context};
use crate::kv::{KvError, Memory, Writes};
use crate::limits::{BASE_FEE_MIN, BLOCK_GAS};
use crate::state::{State, View};
use alloy_consensus::constants::EMPTY_OMMER_ROOT_HASH;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use revm::bytecode::Bytecode;
use revm::context::result::ExecutionResult;
use revm::state::AccountInfo;
use revm::{Database as _, MainBuilder, SystemCallEvm};
use std::sync::Arc;
use thiserror::Error;

/// What a network begins with. The same genesis gives the same first block on every machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Genesis {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Seconds of an epoch, at whose beginning the validators follow the stakes; 0 if they never change.
    pub epoch_s: u64,
    /// At most 32 bytes: the hash of the first validators.
    pub extra_data: Bytes,
    /// Who has how much gas, in wei.
    pub balances: Vec<(Address, U256)>,
    /// Contracts, in the order in which they are made.
    pub contracts: Vec<Contract>,
}

/// A contract at a fixed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Its name, for errors.
    pub name: &'static str,
    /// Where it lies.
    pub address: Address,
    /// What makes it.
    pub code: Code,
}

/// What a contract of the genesis is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// Creation code with the constructor's arguments behind it.
    Creation(Bytes),
    /// The very code.
    Runtime(Bytes),
}

/// Why a genesis can't be built.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GenesisError {
    /// A constructor failed.
    #[error("the constructor of {name} failed: {reason}")]
    Constructor {
        /// Whose.
        name: &'static str,
        /// How.
        reason: String,
    },
    /// Longer than a header may hold.
    #[error("extra data of {0} bytes, at most 32")]
    ExtraData(usize),
}

impl Genesis {
    /// The first block and the state after it, and all of that state as writes.
    ///
    /// # Errors
    /// [`GenesisError`] if it is no genesis.
    pub fn build(&self) -> Result<(Head, Block, Writes), GenesisError> {
        if self.extra_data.len() > 32 {
            return Err(GenesisError::ExtraData(self.extra_data.len()));
        }
        let mut state = State::at(EMPTY_ROOT_HASH);
        let kv = Memory::default();
        let mut view = View::new(&mut state, &kv, &|_| Ok(B256::ZERO));
        for (address, balance) in &self.balances {
            view.put(*address, AccountInfo::from_balance(*balance));
        }
        for contract in &self.contracts {
            view = self.make(view, contract)?;
        }
        let state_root = view.finish().expect("there is nothing on this disk to be damaged");
        let header = self.header(state_root);
        let mut writes = Writes::new();
        state.save(&mut writes);
        let hash = block::hash(&header);
        let head =
            Head { header: Arc::new(header.clone()), hash, chain_id: self.chain_id, epoch_s: self.epoch_s, state };
        let body = BlockBody { withdrawals: Some(Vec::new().into()), ..BlockBody::default() };
        Ok((head, Block { header, body }, writes))
    }

    fn header(&self, state_root: B256) -> Header {
        Header {
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            state_root,
            gas_limit: BLOCK_GAS,
            timestamp: self.timestamp,
            extra_data: self.extra_data.clone(),
            base_fee_per_gas: Some(BASE_FEE_MIN),
            withdrawals_root: Some(EMPTY_ROOT_HASH),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        }
    }

    /// Puts one contract where it belongs.
    fn make<'a>(&self, mut view: View<'a>, contract: &Contract) -> Result<View<'a>, GenesisError> {
        let Contract { name, address, code } = contract;
        let creation = match code {
            Code::Runtime(code) => {
                view.put_code(*address, code.clone())?;
                return Ok(view);
            }
            Code::Creation(creation) => creation,
        };
        let mut info = view.basic(*address)?.unwrap_or_default();
        (info.nonce, info.code_hash) = (1, keccak256(creation));
        info.code = Some(Bytecode::new_raw(creation.clone()));
        view.put(*address, info);
        let mut evm = context(view, self.chain_id, &self.header(B256::ZERO)).build_mainnet();
        let failed = |reason: String| GenesisError::Constructor { name, reason };
        let done = evm.system_call_with_caller(Address::ZERO, *address, Bytes::new());
        let done = done.map_err(|error| failed(error.to_string()))?;
        let ExecutionResult::Success { output, .. } = done.result else {
            return Err(failed(format!("{:?}", done.result)));
        };
        let mut view = evm.ctx.journaled_state.database;
        view.commit(done.state);
        view.put_code(*address, output.into_data())?;
        Ok(view)
    }
}

impl From<KvError> for GenesisError {
    fn from(error: KvError) -> Self {
        Self::Constructor { name: "state", reason: error.to_string() }
    }
}
