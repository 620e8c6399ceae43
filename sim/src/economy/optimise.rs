//! Looks for a plan that pays: random plans, then small changes of the best, on the same dice for all.

use super::{Estimate, Market, PRICE, Plan, Rules};
use crate::rng::Dice;

/// Neighbourhoods that a plan is tried in, and jobs in each: enough to tell a good plan from a bad one.
const TRIAL: (u64, u64) = (16, 12_000);
/// Lies, in usual jobs, without which a trial says nothing.
const LIES_MIN: f64 = 300.0;

/// A plan's value in so many neighbourhoods of so many jobs.
pub(crate) fn value(seed: u64, rules: &Rules, plan: &Plan, trial: (u64, u64)) -> Estimate {
    Estimate::ratio(&samples(seed, rules, plan, trial))
}

fn samples(seed: u64, rules: &Rules, plan: &Plan, trial: (u64, u64)) -> Vec<(f64, f64)> {
    (0..trial.0).map(|number| Market::new(seed ^ (number << 32), *rules, *plan).play(trial.1).value()).collect()
}

/// The best of `tries` random plans and as many changes of the best, with verifiers in league up to a share.
#[must_use]
pub fn best_plan(seed: u64, rules: &Rules, league_permille_max: u64, tries: u64) -> Plan {
    let mut dice = Dice::new(seed);
    let mut best = (f64::NEG_INFINITY, Plan::FREE_RIDER);
    for round in 0..2 * tries {
        let mut plan = if round < tries { anything(&mut dice, league_permille_max) } else { best.1 };
        if round >= tries {
            change(&mut dice, &mut plan, league_permille_max);
        }
        let samples = samples(seed, rules, &plan, TRIAL);
        if samples.iter().map(|(_, staked)| staked).sum::<f64>() < LIES_MIN * PRICE as f64 {
            continue;
        }
        // What is only luck does not count.
        let Estimate { mean, error } = Estimate::ratio(&samples);
        if mean - 3.0 * error > best.0 {
            best = (mean - 3.0 * error, plan);
        }
    }
    best.1
}

fn anything(dice: &mut Dice, league_permille_max: u64) -> Plan {
    let mut plan = Plan::FREE_RIDER;
    (0..FIELDS).for_each(|field| set(dice, &mut plan, field, league_permille_max));
    plan
}

fn change(dice: &mut Dice, plan: &mut Plan, league_permille_max: u64) {
    for _ in 0..=dice.below(2) {
        let field = dice.below(FIELDS);
        set(dice, plan, field, league_permille_max);
    }
}

const FIELDS: u64 = 9;

/// Sets one field of a plan to something else. Half of the time to an end of its range.
fn set(dice: &mut Dice, plan: &mut Plan, field: u64, league_permille_max: u64) {
    let from = |dice: &mut Dice, choices: &[u64]| choices[dice.below(choices.len() as u64) as usize];
    match field {
        0 => plan.after = from(dice, &[0, 0, 9, 10, 11, 15, 20, 33, 40]),
        1 => plan.lies_permille = from(dice, &[1_000, 1_000, 500, 200, 50, 10]),
        2 => plan.value_permille = from(dice, &[0, 0, 1_000, 1_400, 10_000]),
        3 => plan.burst = from(dice, &[1, 1, 2, 4, 8, 16, 48]),
        4 => plan.bond = from(dice, &[0, 0, 50, 150, 500, 2_000]),
        5 => plan.league_permille = from(dice, &[0, league_permille_max, league_permille_max / 2]),
        6 => plan.exit_after = from(dice, &[u64::MAX, 1, 1, 2, 3, 10]),
        7 => plan.chance_permille = from(dice, &[1_000, 1_000, 500, 100, 50, 31]),
        _ => plan.reports_itself = dice.below(2) == 0,
    }
}
