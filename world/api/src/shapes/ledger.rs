//! The chain that this node serves, as an explorer shows it.

use utoipa::ToSchema;

/// The chain that this node serves.
#[derive(ToSchema)]
pub struct LedgerShown {
    /// Its chain id.
    pub chain: u64,
    /// Where wallets find it.
    pub rpc: String,
    /// Number of the last block.
    pub height: u64,
    /// Our contracts.
    pub contracts: Vec<LedgerContract>,
}

/// A contract of ours.
#[derive(ToSchema)]
pub struct LedgerContract {
    /// What we call it.
    pub name: String,
    /// Where it is.
    pub address: String,
}

/// A page of blocks.
#[derive(ToSchema)]
pub struct LedgerBlocks {
    /// Number of the last block.
    pub height: u64,
    /// The newest first.
    pub blocks: Vec<LedgerBlock>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

/// A block in short. Every block is final.
#[derive(ToSchema)]
pub struct LedgerBlock {
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: String,
    /// When it was made, in Unix seconds.
    pub time: u64,
    /// Address of the validator that proposed it.
    pub proposer: String,
    /// How many transactions it has.
    pub transactions: u64,
    /// Gas that they used.
    pub gas_used: u64,
}

/// A block with a page of its transactions.
#[derive(ToSchema)]
pub struct LedgerBlockDetail {
    /// The block.
    pub block: LedgerBlock,
    /// Hash of the block before.
    pub parent: String,
    /// Root of the state after it.
    pub state_root: String,
    /// Gas that it could have used.
    pub gas_limit: u64,
    /// Price of a unit of gas, in wei.
    pub base_fee: Option<String>,
    /// Bytes of it.
    pub bytes: u64,
    /// How many validators signed it; none of the first block, which needs none.
    pub signatures: Option<u64>,
    /// As they stand in it.
    pub transactions: Vec<LedgerTransactionRow>,
    /// Where the next page of transactions begins, if there is one.
    pub next_cursor: Option<String>,
}

/// A transaction in short.
#[derive(ToSchema)]
pub struct LedgerTransactionRow {
    /// Its hash.
    pub hash: String,
    /// Who signed it.
    pub from: String,
    /// Whom it calls or pays; none if it makes a contract.
    pub to: Option<String>,
    /// What we call the contract that it calls.
    pub contract: Option<String>,
    /// The function that it calls, if it is one of ours.
    pub function: Option<String>,
    /// What it pays, in units of gas money (10¹⁸ wei).
    pub value: String,
}

/// A transaction.
#[derive(ToSchema)]
pub struct LedgerTransaction {
    /// The transaction.
    pub transaction: LedgerTransactionRow,
    /// `waiting`, `done` or `reverted`.
    pub status: String,
    /// Number of its block, once it stands in one.
    pub block: Option<u64>,
    /// When that block was made, in Unix seconds.
    pub time: Option<u64>,
    /// Number among its sender's transactions, from 0.
    pub nonce: u64,
    /// Gas that it may use.
    pub gas_limit: u64,
    /// Gas that it used.
    pub gas_used: Option<u64>,
    /// What its gas cost, in units of gas money.
    pub fee: Option<String>,
    /// The contract that it made.
    pub made: Option<String>,
    /// Bytes of its input.
    pub input_bytes: u64,
    /// The first 4,096 bytes of its input, as hexadecimal digits.
    pub input: String,
    /// The first 200 events.
    pub events: Vec<LedgerEvent>,
    /// Events beyond them.
    pub events_left: u64,
}

/// An event of a contract.
#[derive(ToSchema)]
pub struct LedgerEvent {
    /// Who told it.
    pub address: String,
    /// What we call that contract.
    pub contract: Option<String>,
    /// The event, if it is one of ours.
    pub event: Option<String>,
    /// Its topics.
    pub topics: Vec<String>,
    /// The first 4,096 bytes of its data, as hexadecimal digits.
    pub data: String,
}

/// An address after the last block.
#[derive(ToSchema)]
pub struct LedgerAddress {
    /// The address.
    pub address: String,
    /// What we call the contract there.
    pub contract: Option<String>,
    /// Whether there is a contract.
    pub is_contract: bool,
    /// Transactions that it sent.
    pub nonce: u64,
    /// Units of gas money (10¹⁸ wei).
    pub gas: String,
    /// Tokens of money.
    pub money: String,
    /// Tokens of stake, without what is bonded.
    pub stake: String,
}
