//! Limits of receipts and audits.

/// Chunks a worker runs ahead of the money.
pub const CHUNKS_AHEAD_MAX: u32 = 2;
/// Leases a worker takes at once, audits apart, over all clients.
pub const SALES_MAX: usize = 256;
/// Audits a worker takes at once over all clients.
pub const RERUNS_MAX: usize = 64;
/// Audits a worker takes at once of one client, so that no stranger fills it with free re-runs.
pub const RERUNS_PER_CLIENT_MAX: usize = 8;
/// Prompt and output tokens of one order: what a record may hold.
pub const ORDER_TOKENS_MAX: usize = 131_072;
/// Numbers of a vector.
pub const DIMENSIONS_MAX: usize = 8_192;
/// Tokens, prompt and output, of leases that a client may leave unpaid before it has to wait.
pub const DEBT_TOKENS_MAX: u64 = 65_536;
/// One millisecond of waiting is worth so many tokens of debt, in thousandths: 4,096 in a minute.
pub const DEBT_FORGIVEN_MTPS: u64 = 68_267;
/// How long the slowest machine that we wait for needs for one token of a prefill, in milliseconds.
pub const PREFILL_TOKEN_MS_MAX: u64 = 20;
/// Clients whose unpaid leases are remembered.
pub const DEBTORS_MAX: usize = 4_096;
/// Leases of one client for each slot that it holds, those included that wait for the last payment.
pub const SALES_PER_SLOT_MAX: usize = 2;
/// A worker sends an unanswered chunk, commitment or answer again after this, in milliseconds.
pub const RESEND_MS: u64 = 1_500;
/// … so many times, then the client is gone.
pub const RESENDS_MAX: u32 = 8;
/// Leases that are over whose vouchers are kept for workers that did not get them: far more than end
/// within the time that a worker sends again.
pub const PAID_KEPT_MAX: usize = 1_024;
/// How long a request is good for, in seconds.
pub const REQUEST_S: u64 = 3_600;
/// How long a verifier has for all it does, in milliseconds; and [`PREFILL_TOKEN_MS_MAX`] for each token.
pub const AUDIT_MS_MAX: u64 = 30_000;
/// How long our own engine has to judge, in milliseconds; and the same for each token.
pub const OWN_AUDIT_MS_MAX: u64 = 120_000;
/// Verifiers tried for one answer before our own engine judges it.
pub const VERIFIERS_MAX: usize = 4;
/// Operators whose bond is remembered.
pub const BONDS_MAX: usize = 4_096;
/// Withdraw delay of the channels we open, in seconds (one day).
pub const WITHDRAW_DELAY_S: u64 = 86_400;
/// Memory for state that a request allows, in bytes for each token of context.
pub const STATE_BYTES_PER_TOKEN: u64 = 262_144;
/// Ended leases whose client may still warn us.
pub const RECENT_MAX: usize = 1_024;
/// Of so many finished answers one is run again before its last receipt is signed away: a hundredth of the work.
pub const RECHECK_ONE_IN: u64 = 64;
