//! Limits of the HTTP interface.

/// Largest body in bytes: a batch file of OpenAI may have 200 MB; ours travels as a JSON string.
pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long the node's loop has to answer a call, in milliseconds. Long work answers at once and
/// goes on as events.
pub(crate) const ANSWER_MS_MAX: u64 = 60_000;
/// A comment line keeps an idle event stream open, in milliseconds.
pub(crate) const KEEP_ALIVE_MS: u64 = 10_000;
