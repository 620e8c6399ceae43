//! Blocks made and checked: the state transition.

use crate::block::{self, Block, BlockBody, Header, Receipt, SignedBy, TransactionError};
use crate::epoch;
use crate::kv::{KvError, KvRead};
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_GAS, TX_GAS_MAX};
use crate::state::{Reads, State, View};
use alloy_consensus::constants::EMPTY_OMMER_ROOT_HASH;
use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::transaction::{Transaction as _, TxHashRef as _};
use alloy_consensus::{Eip658Value, Receipt as PlainReceipt, TxType};
use alloy_eips::eip1559::{BaseFeeParams, calc_next_block_base_fee};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{Address, B256, Bloom, Bytes, U256};
use alloy_trie::EMPTY_ROOT_HASH;
use revm::context::result::{EVMError, ExecutionResult, InvalidTransaction};
use revm::context::{BlockEnv, Context, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::handler::{MainnetContext, MainnetEvm};
use revm::primitives::hardfork::SpecId;
use revm::{ExecuteEvm, MainBuilder, MainContext};
use std::collections::BTreeMap;
use std::sync::Arc;
use talkoo_base::{Validator, validators_hash};
use thiserror::Error;

/// The fork whose rules hold from the genesis on.
pub const SPEC: SpecId = SpecId::PRAGUE;

/// A block that was executed, and the state after it. A copy is cheap.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its header.
    pub header: Arc<Header>,
    /// The header's hash.
    pub hash: B256,
    /// The chain's id (EIP-155).
    pub chain_id: u64,
    /// Seconds of an epoch; 0 if the validators never change.
    pub epoch_s: u64,
    /// The state after it.
    pub state: State,
}

/// What the proposer of a block decides by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Seconds since 1970: not before the parent's.
    pub timestamp: u64,
    /// Who gets the tips.
    pub beneficiary: Address,
}

/// A block with what came of it.
#[derive(Clone, Debug)]
pub struct Executed {
    /// The block.
    pub block: Block,
    /// Who sent each of its transactions.
    pub senders: Vec<Address>,
    /// What became of each.
    pub receipts: Vec<Receipt>,
    /// What they found: enough to execute them again when the state is another.
    pub reads: Reads,
    /// The next nonces of all accounts that changed: senders', and of those who let others act for them (EIP-7702).
    pub nonces: BTreeMap<Address, u64>,
    /// Who decides the blocks after it, if they are others than those who decided it.
    pub handover: Option<Vec<Validator>>,
    /// The head it makes.
    pub head: Head,
}

impl Executed {
    /// The first block, in which nothing is executed.
    #[must_use]
    pub fn first(block: Block, head: Head) -> Self {
        let (senders, receipts, reads, nonces) = Default::default();
        Self { block, senders, receipts, reads, nonces, handover: None, head }
    }
}

/// Why a block can't follow its parent.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidBlock {
    /// A field of the header is not what it must be.
    #[error("the block's {field} is {have}, it must be {want}")]
    Header {
        /// Which field.
        field: &'static str,
        /// What it is.
        have: String,
        /// What it must be.
        want: String,
    },
    /// Too many bytes.
    #[error("the block has {0} bytes, at most {BLOCK_BYTES_MAX}")]
    Oversized(usize),
    /// A transaction that can't stand there.
    #[error("transaction {index}: {reason}")]
    Transaction {
        /// Its place.
        index: usize,
        /// Why.
        reason: String,
    },
    /// It has ommers or withdrawals, which nothing here makes.
    #[error("the block has ommers or withdrawals")]
    Foreign,
}

/// Why a block was not applied.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ApplyError {
    /// Because of what it is.
    #[error(transparent)]
    Invalid(#[from] InvalidBlock),
    /// Because of our disk.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// Finds the hash of a block by its number: for `BLOCKHASH`, at most 256 back.
pub type Ancestors<'a> = &'a dyn Fn(u64) -> Result<B256, KvError>;

/// Makes the block after `head` of as many candidates as fit, in their order. Those which can't stand there (by now)
/// are left out, with the reason.
///
/// # Errors
/// [`KvError`] if the state can't be read.
pub fn propose(
    head: &Head,
    kv: &dyn KvRead,
    ancestors: Ancestors<'_>,
    seal: Seal,
    candidates: impl IntoIterator<Item = SignedBy>,
) -> Result<(Executed, Vec<(B256, InvalidTransaction)>), KvError> {
    let header = draft(head, seal);
    let mut state = head.state.clone();
    let mut run = Run::new(View::new(&mut state, kv, ancestors), head.chain_id, &header);
    let (mut refused, mut bytes) = (Vec::new(), 1_024);
    for transaction in candidates {
        let size = transaction.encode_2718_len();
        if run.gas_used + transaction.gas_limit() > BLOCK_GAS || bytes + size > BLOCK_BYTES_MAX {
            break;
        }
        let hash = *transaction.tx_hash();
        match run.transact(transaction) {
            Ok(()) => bytes += size + 8,
            Err(EVMError::Transaction(reason)) => refused.push((hash, reason)),
            Err(error) => return Err(broken(error)),
        }
    }
    let done = run.finish(header)?;
    Ok((done.on(head, state, kv, ancestors)?, refused))
}

/// Checks and executes a block that follows `head`.
///
/// # Errors
/// [`ApplyError::Invalid`] if any node must refuse it, [`ApplyError::Kv`] if our disk fails.
pub fn apply(head: &Head, kv: &dyn KvRead, ancestors: Ancestors<'_>, block: Block) -> Result<Executed, ApplyError> {
    let Header { timestamp, beneficiary, .. } = block.header;
    let seal = Seal { timestamp, beneficiary };
    let header = draft(head, seal);
    check_header(head, &header, &block)?;
    let mut state = head.state.clone();
    let mut run = Run::new(View::new(&mut state, kv, ancestors), head.chain_id, &header);
    for (index, transaction) in block.body.transactions.into_iter().enumerate() {
        let invalid = |reason: String| InvalidBlock::Transaction { index, reason };
        let transaction =
            block::sender(transaction, head.chain_id).map_err(|e: TransactionError| invalid(e.to_string()))?;
        if run.gas_used + transaction.gas_limit() > BLOCK_GAS {
            return Err(invalid("gas limit of the block reached".into()).into());
        }
        run.transact(transaction).map_err(|error| match error {
            EVMError::Transaction(reason) => ApplyError::Invalid(invalid(reason.to_string())),
            error => ApplyError::Kv(broken(error)),
        })?;
    }
    let executed = run.finish(header)?.on(head, state, kv, ancestors)?;
    same("state root", block.header.state_root, executed.block.header.state_root)?;
    same("receipts root", block.header.receipts_root, executed.block.header.receipts_root)?;
    same("transactions root", block.header.transactions_root, executed.block.header.transactions_root)?;
    same("validators", &block.header.extra_data, &executed.block.header.extra_data)?;
    same("hash", block::hash(&block.header), executed.head.hash)?;
    Ok(executed)
}

fn same<T: PartialEq + ToString>(field: &'static str, have: T, want: T) -> Result<(), InvalidBlock> {
    match have == want {
        true => Ok(()),
        false => Err(InvalidBlock::Header { field, have: have.to_string(), want: want.to_string() }),
    }
}

/// What can be known of a block without executing it.
fn check_header(head: &Head, draft: &Header, block: &Block) -> Result<(), InvalidBlock> {
    let header = &block.header;
    same("parent", header.parent_hash, draft.parent_hash)?;
    same("number", header.number, draft.number)?;
    same("base fee", header.base_fee_per_gas.unwrap_or(0), draft.base_fee_per_gas.unwrap_or(0))?;
    if header.timestamp < head.header.timestamp {
        let (have, want) = (header.timestamp.to_string(), format!("at least {}", head.header.timestamp));
        return Err(InvalidBlock::Header { field: "timestamp", have, want });
    }
    if !block.body.ommers.is_empty() || block.body.withdrawals.as_ref().is_some_and(|w| !w.is_empty()) {
        return Err(InvalidBlock::Foreign);
    }
    let bytes = alloy_rlp::Encodable::length(block);
    match bytes > BLOCK_BYTES_MAX {
        true => Err(InvalidBlock::Oversized(bytes)),
        false => Ok(()),
    }
}

/// Wei for each gas that the block after this one asks for (EIP-1559).
#[must_use]
pub fn next_base_fee(header: &Header) -> u64 {
    let base_fee = header.base_fee_per_gas.expect("every block of ours has one");
    calc_next_block_base_fee(header.gas_used, header.gas_limit, base_fee, BaseFeeParams::ethereum())
}

/// The header of the next block, but for what its transactions decide.
fn draft(head: &Head, seal: Seal) -> Header {
    let parent = &head.header;
    Header {
        parent_hash: head.hash,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: seal.beneficiary,
        number: parent.number + 1,
        gas_limit: BLOCK_GAS,
        timestamp: seal.timestamp,
        extra_data: parent.extra_data.clone(),
        base_fee_per_gas: Some(next_base_fee(parent)),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// The world as a transaction of a block with this header sees it.
pub(crate) fn context<'a>(view: View<'a>, chain_id: u64, header: &Header) -> MainnetContext<View<'a>> {
    let block = BlockEnv {
        number: U256::from(header.number),
        beneficiary: header.beneficiary,
        timestamp: U256::from(header.timestamp),
        gas_limit: header.gas_limit,
        basefee: header.base_fee_per_gas.unwrap_or(0),
        prevrandao: Some(B256::ZERO),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new_with_spec(0, SPEC)),
        ..BlockEnv::default()
    };
    Context::mainnet().with_db(view).with_block(block).modify_cfg_chained(|cfg| {
        cfg.set_spec_and_mainnet_gas_params(SPEC);
        cfg.chain_id = chain_id;
        cfg.tx_gas_limit_cap = Some(TX_GAS_MAX);
    })
}

/// The environment of a signed transaction.
fn environment(transaction: &SignedBy) -> TxEnv {
    let authorizations = transaction.authorization_list().unwrap_or_default().to_vec();
    TxEnv {
        tx_type: transaction.tx_type() as u8,
        caller: transaction.signer(),
        gas_limit: transaction.gas_limit(),
        gas_price: transaction.max_fee_per_gas(),
        kind: transaction.kind(),
        value: transaction.value(),
        data: transaction.input().clone(),
        nonce: transaction.nonce(),
        chain_id: transaction.chain_id(),
        access_list: transaction.access_list().cloned().unwrap_or_default(),
        gas_priority_fee: transaction.max_priority_fee_per_gas(),
        authorization_list: authorizations.into_iter().map(revm::context::either::Either::Left).collect(),
        ..TxEnv::default()
    }
}

/// The world as a transaction of an executed block found it, when those before it are executed again; and the transaction.
pub(crate) fn before(
    view: View<'_>,
    chain_id: u64,
    block: Block,
    index: usize,
) -> Result<(MainnetContext<View<'_>>, TxEnv), KvError> {
    let lost = |why: String| KvError::Damaged(format!("block {}, {why}", block.header.number));
    let mut run = Run::new(view, chain_id, &block.header);
    for (place, transaction) in block.body.transactions.into_iter().take(index + 1).enumerate() {
        let signed = block::sender(transaction, chain_id).map_err(|why| lost(why.to_string()))?;
        if place == index {
            return Ok((run.evm.ctx, environment(&signed)));
        }
        run.transact(signed).map_err(broken)?;
    }
    Err(lost(format!("transaction {index}")))
}

/// What an error that no transaction is to blame for means.
pub(crate) fn broken(error: EVMError<KvError>) -> KvError {
    match error {
        EVMError::Database(error) => error,
        other => KvError::Damaged(other.to_string()),
    }
}

/// The execution of one block.
struct Run<'a> {
    evm: MainnetEvm<MainnetContext<View<'a>>>,
    gas_used: u64,
    bloom: Bloom,
    block: BlockBody<block::Transaction>,
    senders: Vec<Address>,
    receipts: Vec<Receipt>,
}

impl<'a> Run<'a> {
    fn new(view: View<'a>, chain_id: u64, header: &Header) -> Self {
        let evm = context(view, chain_id, header).build_mainnet();
        let block = BlockBody { withdrawals: Some(Vec::new().into()), ..BlockBody::default() };
        Self { evm, gas_used: 0, bloom: Bloom::ZERO, block, senders: Vec::new(), receipts: Vec::new() }
    }

    fn transact(&mut self, transaction: SignedBy) -> Result<(), EVMError<KvError>> {
        let done = self.evm.transact(environment(&transaction))?;
        self.evm.ctx.journaled_state.database.commit(done.state);
        self.gas_used += done.result.tx_gas_used();
        let status = Eip658Value::Eip658(matches!(done.result, ExecutionResult::Success { .. }));
        let plain = PlainReceipt { status, cumulative_gas_used: self.gas_used, logs: done.result.into_logs() };
        let receipt = plain.with_bloom();
        self.bloom |= receipt.logs_bloom;
        self.receipts.push(match transaction.tx_type() {
            TxType::Legacy => Receipt::Legacy(receipt),
            TxType::Eip2930 => Receipt::Eip2930(receipt),
            TxType::Eip1559 => Receipt::Eip1559(receipt),
            TxType::Eip4844 => Receipt::Eip4844(receipt),
            TxType::Eip7702 => Receipt::Eip7702(receipt),
        });
        let (transaction, sender) = transaction.into_parts();
        self.senders.push(sender);
        self.block.transactions.push(transaction);
        Ok(())
    }

    /// Writes the roots into the header.
    fn finish(self, header: Header) -> Result<Done, KvError> {
        let Self { evm, gas_used, bloom, block: body, senders, receipts } = self;
        let mut view = evm.ctx.journaled_state.database;
        let (reads, nonces) = (view.take_reads(), view.nonces());
        let state_root = view.finish()?;
        let header = Header {
            state_root,
            transactions_root: calculate_transaction_root(&body.transactions),
            receipts_root: calculate_receipt_root(&receipts),
            logs_bloom: bloom,
            gas_used,
            ..header
        };
        Ok(Done { block: Block { header, body }, senders, receipts, reads, nonces })
    }
}

/// A finished run, without the state that it was a change of.
struct Done {
    block: Block,
    senders: Vec<Address>,
    receipts: Vec<Receipt>,
    reads: Reads,
    nonces: BTreeMap<Address, u64>,
}

impl Done {
    /// The block that follows `parent`, and names who decides the next one.
    fn on(self, parent: &Head, state: State, kv: &dyn KvRead, ancestors: Ancestors<'_>) -> Result<Executed, KvError> {
        let Self { mut block, senders, receipts, reads, nonces } = self;
        let header = Arc::new(block.header.clone());
        let mut head = Head { header, hash: B256::ZERO, state, ..*parent };
        let handover = epoch::handover(&parent.header, &mut head, kv, ancestors)?;
        if let Some(validators) = &handover {
            block.header.extra_data = Bytes::copy_from_slice(&validators_hash(validators).0);
        }
        (head.header, head.hash) = (Arc::new(block.header.clone()), block::hash(&block.header));
        Ok(Executed { block, senders, receipts, reads, nonces, handover, head })
    }
}
