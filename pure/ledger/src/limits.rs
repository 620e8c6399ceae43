//! Bounds of the ledger, each with its reason.

/// Nibbles of a path whose nodes stay in memory after they were written: 16⁴ branches are some 50 MB at most.
pub(crate) const NODES_KEPT_DEPTH: usize = 4;
/// Contracts whose storage tries stay open after they were written.
pub(crate) const STORAGES_KEPT_MAX: usize = 1_024;
/// Analysed codes that stay in memory: a delegated account (EIP-7702) has one of its own.
pub(crate) const CODES_KEPT_MAX: usize = 4_096;
/// Gas of a block. Half of it is the target of EIP-1559; 1,000 transfers of a token are some 35 million.
pub const BLOCK_GAS: u64 = 120_000_000;
/// Gas of one transaction (EIP-7825).
pub const TX_GAS_MAX: u64 = 1 << 24;
/// Bytes of one encoded transaction: as Ethereum's clients relay them.
pub const TX_BYTES_MAX: usize = 128 * 1024;
/// Bytes of one encoded block: it travels in one message.
pub const BLOCK_BYTES_MAX: usize = 768 * 1024;
/// Base fee of the first block, in wei: the formula of EIP-1559 does not fall below it.
pub const BASE_FEE_MIN: u64 = 7;
/// Gas an `eth_call` may use.
pub const CALL_GAS_MAX: u64 = 50_000_000;
/// How often a call is made anew with the access list of the time before, if that changes the list.
pub(crate) const ACCESS_LIST_TURNS: usize = 8;
/// Bytes of a trace as text, about.
pub(crate) const TRACE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Calls within calls that a trace tells: it is a tree, which others read by recursion.
pub(crate) const TRACE_DEPTH_MAX: usize = 256;
/// Power of one validator: that of all together stays countable.
pub(crate) const POWER_MAX: u64 = 1 << 50;
/// Transactions that wait, of all senders.
pub(crate) const POOL_MAX: usize = 16_384;
/// Their bytes.
pub(crate) const POOL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one sender's that wait.
pub(crate) const POOL_SENDER_BYTES_MAX: usize = 1024 * 1024;
/// Transactions of one sender that wait: a batch of a thousand workers' deposits takes a few blocks.
pub(crate) const POOL_SENDER_MAX: usize = 1_024;
