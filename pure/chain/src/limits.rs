//! Every bound of the chain, with its reason.

use talkoo_base::Millis;

/// Bytes of one block: some four thousand transfers, and a message with it stays a record.
pub const BLOCK_BYTES_MAX: usize = 768 * 1024;
/// Heights and rounds stay far below what their types hold, so that nothing that counts on from them overflows.
pub const HEIGHT_MAX: u64 = 1 << 62;
/// See [`HEIGHT_MAX`].
pub const ROUND_MAX: u32 = 1 << 30;
/// Power of all validators together: three times it has to fit 64 bits.
pub const POWER_MAX: u64 = 1 << 62;

/// A proposer has so long in round 0: a block is made and crosses the world.
pub const PROPOSE_MS: Millis = 500;
/// The last votes of a round have so long after two thirds came.
pub const VOTE_MS: Millis = 250;
/// Every further round waits so much longer: whatever the network's delay is, some round is long enough for it.
pub const ROUND_MORE_MS: Millis = 250;
/// No wait of a round is longer.
pub const ROUND_MS_MAX: Millis = 10_000;
/// A validator that hears nothing says its votes again after so long.
pub const REPEAT_MS: Millis = 1_000;

/// A validator whose turn went by is no proposer again until the height is a multiple of this: a dead one costs
/// one wait in so many blocks, and any node can work out who is left out from so many blocks.
pub const ABSENT_HEIGHTS: u64 = 64;

/// Checked signatures that are remembered for a height: those of twenty rounds of all validators.
pub const CHECKED_MAX: usize = 6_000;
/// Messages of one validator for the next height that are kept until this one is final: one round of it.
pub const EARLY_PER_VALIDATOR_MAX: usize = 6;
/// What is said again after so long is said on again: whoever it was for may have been away.
pub const RELAY_MS: Millis = 500;
/// Peers with whom a node agrees: all validators and some who follow.
pub const PEERS_MAX: usize = 256;

/// How often a node tells its height while it works on one.
pub const STATUS_MS: Millis = 1_000;
/// How often it does when there is nothing to do.
pub const STATUS_IDLE_MS: Millis = 5_000;
/// Who is one block behind waits so long before it asks for it: usually it is about to decide by itself.
pub const BEHIND_MS: Millis = 200;
/// Blocks asked for at once.
pub const FETCH_BLOCKS_MAX: u32 = 16;
/// A peer that sends nothing for so long is not asked again until it tells its height again.
pub const FETCH_MS: Millis = 2_000;
