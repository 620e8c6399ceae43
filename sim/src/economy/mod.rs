//! A pretended economy: does cheating pay? Thousands of workers, clients and verifiers trade jobs for money; some of
//! them follow a plan to take more than they earn.
//!
//! What decides is production's own: the audit rate, streaks, held pay, cover and slash of `talkoo_proof::trust`, a
//! client's debts of `talkoo_proof::debts`. What is around them is counted and not played: no messages, no clocks of
//! machines, no crashes (`crate::world` has those, with the real nodes). A re-run is always right, a price is known.
//!
//! **Honest work earns exactly what it costs.** So every figure is what a plan adds to honesty, and a good name is worth
//! nothing but what it lets its owner take later: no deterrence is assumed beyond what the rules take away.
//!
//! Money only moves between accounts ([`till`]); that none appears or vanishes is asserted at every step.

mod market;
mod optimise;
mod others;
mod plot;
mod race;
mod report;
mod stats;
mod till;

pub use market::{Market, Plan, Tally};
pub use optimise::best_plan;
pub use others::{accuse, buy_roots, never_audit, steal_prefills, walk_away};
pub use report::{Options, Report, report};
pub use stats::Estimate;

/// The price of a usual job, in millionths.
pub const PRICE: u64 = 1_000;

/// Which world it is.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether pay is held and a judge takes it, and bonds, from the refuted: on a ledger, for clients with an engine.
    pub judge: bool,
    /// Clients whose own engine has the last word, in thousandths.
    pub own_permille: u64,
    /// Whether clients re-run by themselves whatever is drawn for an audit, instead of asking strangers first.
    pub self_audit: bool,
    /// Whether they re-run a newcomer's answers by themselves, and a part of the others': `Trust::is_own_first`.
    pub own_first: bool,
    /// Cost of a re-run, in thousandths of the job's.
    pub phi_permille: u64,
    /// A verifier's bond, in fees.
    pub verifier_bond_fees: u64,
    /// Audits that are decoys with a false published root, in thousandths.
    pub decoys_permille: u64,
    /// Whether a stranger pays for its prefill before it is run.
    pub prepaid: bool,
    /// What a new name costs its owner.
    pub entry: u64,
    /// The vault holds pay so many times as long as `parameters::VEST_S`.
    pub window: u64,
    /// Seconds between two jobs of a client with one of its workers.
    pub gap_s: u64,
    /// Jobs that are twenty times as dear as usual, in thousandths.
    pub dear_permille: u64,
    /// What an honest worker stakes, in usual jobs.
    pub honest_bond: u64,
    /// Workers that follow the plan, in thousandths.
    pub hostile_permille: u64,
}

impl Rules {
    /// As the design has it, with bonds of verifiers, decoys and prepaid prefills.
    pub const DESIGN: Self = Self {
        judge: true,
        own_permille: 1_000,
        self_audit: false,
        own_first: true,
        phi_permille: 400,
        verifier_bond_fees: 20,
        decoys_permille: 100,
        prepaid: true,
        entry: 0,
        window: 1,
        gap_s: 60,
        dear_permille: 20,
        honest_bond: 0,
        hostile_permille: 250,
    };
    /// As it runs today.
    pub const TODAY: Self = Self { verifier_bond_fees: 0, decoys_permille: 0, prepaid: false, ..Self::DESIGN };
    /// The same without a ledger: audits and convictions, but what was paid stays paid.
    pub const NO_LEDGER: Self = Self { judge: false, ..Self::TODAY };

    /// What a verifier is paid for a job of this price: its cost and half of that again (`proof.md` §7).
    fn fee(&self, value: u128) -> u128 {
        value * u128::from(self.phi_permille) * 3 / 2_000
    }
}

#[cfg(test)]
mod tests;
