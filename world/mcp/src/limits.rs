//! Limits of the protocol.

use std::time::Duration;

/// Bytes of a message: a batch's prompts fit. Its values take some thirty times as much memory at most.
pub(crate) const BODY_BYTES_MAX: usize = 2 << 20;
/// Sessions of clients that speak a version which has them. The one that was silent longest makes room: its client is told that it
/// is gone, and begins a new one.
pub(crate) const SESSIONS_MAX: usize = 256;
/// A session that is silent so long ends.
pub(crate) const SESSION_WAIT: Duration = Duration::from_secs(3_600);
/// Tools that work at once, of all clients.
pub(crate) const CALLS_MAX: usize = 64;
/// Data that is read at once: a folder is unpacked for it, up to 256 MiB.
pub(crate) const READS_MAX: usize = 4;
/// How long the node may take to answer a question.
pub(crate) const NODE_WAIT: Duration = Duration::from_secs(60);
/// A payment waits for a block, a purchase for two.
pub(crate) const PAY_WAIT: Duration = Duration::from_secs(120);
/// Bytes of an answer of one of the node's own routes.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Bytes of an event of a stream, or of a line of a batch's results.
pub(crate) const LINE_BYTES_MAX: usize = 4 << 20;
/// Bytes of a page of a batch's results: what a model reads at once is less.
pub(crate) const PAGE_BYTES_MAX: usize = 256 << 10;
/// How often a client hears of progress at most.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_millis(200);
