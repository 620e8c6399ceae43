//! Limits of the HTTP interface.

use std::time::Duration;

/// Largest body in bytes: a batch file of OpenAI may have 200 MB; ours travels as a JSON string.
pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long the node's loop has to answer a call, in milliseconds. Long work answers at once and
/// goes on as events.
pub(crate) const ANSWER_MS_MAX: u64 = 60_000;
/// A comment line keeps an idle event stream open, in milliseconds.
pub(crate) const KEEP_ALIVE_MS: u64 = 10_000;

/// Readers of the event stream at once: each holds a connection.
pub(crate) const LISTENERS_MAX: usize = 64;
/// Events that are kept for readers who were cut off.
pub(crate) const EVENTS_MAX: usize = 4_096;
/// The most bytes of them.
pub(crate) const EVENTS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Events that are written to a reader at once.
pub(crate) const EVENTS_AT_ONCE: usize = 64;
/// How long an answer is kept for whoever asks again with the same key, in seconds.
pub(crate) const REPEAT_S: u64 = 24 * 3600;
/// Requests with a key that are kept.
pub(crate) const REPEATS_MAX: usize = 16_384;
/// The most bytes of their answers.
pub(crate) const REPEATS_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest answer that is kept, in bytes.
pub(crate) const REPEAT_ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest `Idempotency-Key`, in bytes.
pub(crate) const KEY_BYTES_MAX: usize = 255;

/// Largest body or message of Ethereum's JSON-RPC in bytes: as go-ethereum takes.
pub(crate) const RPC_BODY_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Bytes of one answer, all of a batch together: a full block of 4 MiB is 8 MiB in hexadecimal.
pub(crate) const RPC_ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Requests of one batch.
pub(crate) const BATCH_MAX: usize = 100;
/// Bodies that are answered at once: calls run on processors which the owner's programs need too.
pub(crate) const RPC_AT_ONCE_MAX: usize = 4;
/// The node's own, besides.
pub(crate) const RPC_AT_ONCE_OWN_MAX: usize = 2;
/// How long a body may wait for its turn, and how long its requests may take, in milliseconds.
pub(crate) const RPC_MS_MAX: u64 = 10_000;
/// Changes of validators in one answer: each has up to 128 signatures and as many validators.
pub(crate) const RPC_HANDOVERS_MAX: usize = 32;
/// Accounts of one set of overrides, of an access list, of a filter.
pub(crate) const ADDRESSES_MAX: usize = 1_000;
/// Alternatives of one topic.
pub(crate) const TOPICS_MAX: usize = 1_000;
/// Slots of one proof or entry of an access list.
pub(crate) const SLOTS_MAX: usize = 1_024;
/// Percentiles of one question for fees.
pub(crate) const PERCENTILES_MAX: usize = 100;
/// Blocks that a question for fees tells of: go-ethereum, too, tells of fewer than were asked for.
pub(crate) const FEE_BLOCKS_MAX: u64 = 128;
/// Blocks that a question for logs goes through.
pub(crate) const LOG_BLOCKS_MAX: u64 = 10_000;
/// Logs of one answer.
pub(crate) const LOGS_MAX: usize = 10_000;
/// Waiting transactions of one answer, and their bytes: each is twice as long in hexadecimal.
pub(crate) const POOL_TOLD_MAX: usize = 4_096;
/// The most bytes of it.
pub(crate) const POOL_TOLD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Filters that wait to be asked, of all clients.
pub(crate) const FILTERS_MAX: usize = 1_024;
/// A filter that nobody asks so long is gone, in milliseconds: as with go-ethereum.
pub(crate) const FILTER_MS_MAX: u64 = 5 * 60_000;
/// Hashes of transactions that came in last, for filters and subscriptions of them.
pub(crate) const ARRIVALS_MAX: usize = 4_096;
/// WebSockets that are open at once.
pub(crate) const SOCKETS_MAX: usize = 256;
/// Subscriptions of one WebSocket.
pub(crate) const SUBSCRIPTIONS_MAX: usize = 64;
/// A client that takes no message so long is gone, in milliseconds.
pub(crate) const SOCKET_MS_MAX: u64 = 10_000;
/// How long a transaction that is sent and waited for may wait (EIP-7966), in milliseconds: unless told, and at most.
pub(crate) const SEND_MS: u64 = 2_000;
/// The most of it.
pub(crate) const SEND_MS_MAX: u64 = 60_000;

/// Connections of one listener at once.
pub(crate) const CONNECTIONS_MAX: usize = 1024;
/// Of one address of another machine.
pub(crate) const CONNECTIONS_OF_ONE_MAX: usize = CONNECTIONS_MAX / 4;
/// A TLS handshake takes two turns; who takes longer is let go.
pub(crate) const SHAKE_WAIT: Duration = Duration::from_secs(10);
/// A request's head has to come within this time; so an idle connection lasts no longer.
pub(crate) const HEAD_WAIT: Duration = Duration::from_secs(30);
/// A client that takes nothing of its answer for this long is gone.
pub(crate) const TAKE_WAIT: Duration = Duration::from_secs(60);
/// After a stop, answers that have begun go on for this long.
pub(crate) const STOP_WAIT: Duration = Duration::from_secs(3);
