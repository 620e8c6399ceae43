//! What trust costs: every number that decides how often a worker is audited and what a lie loses.
//! `docs/ECONOMY.md` has their effect, computed. Changing one changes what cheating pays: run `cargo xtask sim report`.

/// Clean audited jobs before a worker is audited less than always.
pub const PROBATION: u64 = 10;
/// Of the audits after the probation so many of 2³² are the client's own, if it has an engine (25 %); on probation all are:
/// a newcomer loses nothing but its pay, so strangers in league with it would make its lies pay.
pub const OWN_SHARE_Q32: u64 = 1 << 30;
/// Least chance of an audit, of 2³² (3 %).
pub const CHANCE_MIN_Q32: u64 = 128_849_019;
/// κ, in halves: a worker is checked so often that a lie loses κ times what it brings. With a share f of the
/// verifiers in league that is κ·(1 − f), so κ = 1.5 holds while f is below a third.
pub const RISK_HALVES: u128 = 3;
/// A job worth more than this part of what the worker would lose is always audited.
pub const VALUE_PART: u128 = 10;
/// A verifier is drawn by its operator's stake: everybody has one share, and one more for each so many micro-units of bond.
pub const VERIFIER_UNIT: u128 = 1_000_000;
/// A streak ends after so many seconds without work (14 days): machines change hands.
pub const IDLE_S: u64 = 14 * 86_400;
/// Pay counts as a worker's stake as long as the vault holds it, in seconds (the ledger's `WINDOW_S`): so newcomers
/// need no capital. Beyond the pay of 50 jobs more of it changes nothing: κ/51 is below the least chance.
pub const VEST_S: u64 = 3_600;
/// Share of the verifiers that is assumed to be in league when the bond's cover is counted, in thousandths.
pub const LEAGUE_PERMILLE: u128 = 300;
/// Chance that our own engine weighs an answer of the float tier, of 2³² (25 %).
pub const WEIGH_CHANCE_Q32: u64 = 1 << 30;
/// The window of answers unlike the model from which on a float worker is not used again; before it engines may just differ.
pub const UNLIKE_MAX: u32 = 2;
/// The fault within 30 days that costs the whole stake; before it a machine may just have failed.
pub const FAULTS_MAX: u32 = 3;
