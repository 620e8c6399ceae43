//! How far a client trusts a worker, and what a lie costs it: the audit rate, the cover of a bond, the slash.
//! Pure numbers, so the simulated economy (`sim/src/economy`) decides with the same functions.
//!
//! A worker's stake is what it would lose: its bond, and the pay that the vault still holds. Of two ways to be trusted
//! the better one counts: by held pay alone, or with the bond as far as [`cover`] reaches.

use crate::parameters::{
    CHANCE_MIN_Q32, FAULTS_MAX, IDLE_S, LEAGUE_PERMILLE, OWN_SHARE_Q32, PROBATION, RISK_HALVES, VALUE_PART, VEST_S,
};
use crate::wire::Seen;
use talkoo_base::{Amount, Unix};

/// Certainty, as a chance of 2³².
pub const ALWAYS_Q32: u64 = 1 << 32;

/// What a client knows of a worker from its own audits. Other people's audits do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Trust {
    /// Clean audits since the last reset.
    pub clean: u64,
    /// Pay for jobs that an audit could have met: in this half of [`VEST_S`] and in the one before, so that the vault
    /// still holds all of it.
    pub vested: [Amount; 2],
    /// The last of these jobs.
    pub seen: Option<Seen>,
}

impl Trust {
    /// What is left of it when an answer comes. The streak starts anew after another build, a smaller bond or
    /// [`IDLE_S`] without work; held pay is released with time.
    #[must_use]
    pub fn at(self, seen: Seen) -> Self {
        let Some(before) = self.seen else { return Self { seen: Some(seen), ..Self::default() } };
        let idle = seen.at.0.saturating_sub(before.at.0);
        let same = before.build == seen.build && before.bond <= seen.bond && idle <= IDLE_S;
        let half = |at: Unix| at.0 / (VEST_S / 2);
        let vested = match half(seen.at).saturating_sub(half(before.at)) {
            0 => self.vested,
            1 => [Amount::ZERO, self.vested[0]],
            _ => [Amount::ZERO; 2],
        };
        Self { clean: if same { self.clean } else { 0 }, vested, seen: Some(seen) }
    }

    /// With one more answer that stands, and that an audit could have met.
    #[must_use]
    pub fn accepted(self, worth: Amount, audited: bool, seen: Seen) -> Self {
        let trust = self.at(seen);
        let [now, before] = trust.vested;
        Self { clean: trust.clean + u64::from(audited), vested: [now + worth, before], ..trust }
    }

    /// Pay that the vault holds back, for sure.
    #[must_use]
    pub fn held(&self) -> Amount {
        self.vested[0] + self.vested[1]
    }

    /// Whether the client's own engine, if it has one, judges before strangers do; `draw` is a number below 2³².
    #[must_use]
    pub fn is_own_first(&self, draw: u64) -> bool {
        self.clean < PROBATION || draw < OWN_SHARE_Q32
    }

    /// Chance of an audit of an answer worth `value`, of 2³².
    #[must_use]
    pub fn chance_q32(self, value: Amount) -> u64 {
        let bond = self.seen.map_or(Amount::ZERO, |seen| seen.bond);
        let by_pay = chance_q32(self.clean, value, self.held());
        let by_bond = chance_q32(self.clean, value, self.held() + bond);
        let covered = self.held() + value <= cover(bond, value, by_bond);
        if covered { by_bond.min(by_pay) } else { by_pay }
    }
}

/// Chance of an audit, of 2³²: 1 below ten clean audits and for a job worth more than a tenth of the stake, else
/// max(3 %, 1/(n+1), 1.5·v/(v+S)). `value` is the price of the work, `stake` what the worker would lose.
#[must_use]
pub fn chance_q32(clean: u64, value: Amount, stake: Amount) -> u64 {
    if clean < PROBATION || value.0 > stake.0 / VALUE_PART {
        return ALWAYS_Q32;
    }
    let one = u128::from(ALWAYS_Q32);
    let streak = one / (u128::from(clean) + 1);
    let whole = value.0.saturating_add(stake.0).max(1);
    // Amounts beyond 2⁹⁰ lose digits that do not matter, so that the product below fits.
    let digits = if whole >> 90 == 0 { 0 } else { 40 };
    let risk = (value.0 >> digits) * (RISK_HALVES * one / 2) / (whole >> digits);
    let chance = streak.max(risk).max(u128::from(CHANCE_MIN_Q32)).min(one);
    u64::try_from(chance).expect("at most 2^32")
}

/// R/q_e: what a lie about one job of `value` has to lose, besides all that is unsettled, so that it does not pay.
/// q_e is the chance of an audit by a verifier that is not in league.
fn price_of_a_lie(value: Amount, chance_q32: u64) -> Amount {
    let effective = u128::from(chance_q32) * (1_000 - LEAGUE_PERMILLE) / 1_000;
    let sure = value.0.checked_mul(u128::from(ALWAYS_Q32));
    Amount(sure.map_or(u128::MAX, |sure| sure.div_ceil(effective.max(1))))
}

/// How much unsettled work a bond answers for: S/2 − R/q_e. Half, for a liar that reports itself under a second name
/// wins back the other half.
#[must_use]
pub fn cover(bond: Amount, value: Amount, chance_q32: u64) -> Amount {
    Amount(bond.0 / 2).saturating_sub(price_of_a_lie(value, chance_q32))
}

/// A lie that was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Price of the job.
    pub value: Amount,
    /// How likely an audit of it was, of 2³².
    pub chance_q32: u64,
    /// What its worker has unsettled in all, this job included.
    pub unsettled: Amount,
    /// Which fault it is within 30 days, from 1.
    pub number: u32,
}

/// What a refuted worker loses of its stake: 2·(V + R/q_e), and all of it from the last fault on that is forgiven a
/// failing machine. Twice, because half goes to whoever refuted it, and that may be itself.
#[must_use]
pub fn slash(stake: Amount, fault: &Fault) -> Amount {
    if fault.number >= FAULTS_MAX {
        return stake;
    }
    let loss = fault.unsettled + price_of_a_lie(fault.value, fault.chance_q32);
    Amount(loss.0.saturating_mul(2)).min(stake)
}
