//! What must hold in every economy, and that the rules are what makes cheating lose.

use super::optimise::value;
use super::race::{churn, race};
use super::{Market, Options, Plan, Rules, report, steal_prefills, walk_away};
use talkoo_proof::limits::DEBT_TOKENS_MAX;

const TRIAL: (u64, u64) = (16, 20_000);

#[test]
fn a_lie_loses_and_pays_without_a_ledger() {
    let (free, known) = (Plan::FREE_RIDER, Plan { after: 33, chance_permille: 50, ..Plan::FREE_RIDER });
    let plans = [
        free,
        Plan { cost_permille: 400, ..free },
        Plan { exit_after: 1, ..free },
        Plan { lies_permille: 100, ..known },
        Plan { value_permille: 10_000, chance_permille: 1_000, ..known },
        Plan { burst: 48, exit_after: 1, ..known },
        Plan { burst: 48, exit_after: 1, bond: 2_000, reports_itself: true, ..known },
    ];
    for plan in plans {
        let [today, without] = [Rules::TODAY, Rules::NO_LEDGER].map(|rules| value(1, &rules, &plan, TRIAL));
        assert_eq!((today.verdict(), without.verdict()), ("loses", "**PAYS**"), "{plan:?}: {today:?}, {without:?}");
    }
}

#[test]
fn nobody_is_refuted_for_honest_work() {
    for seed in 0..4 {
        let rules = Rules { hostile_permille: 0, ..Rules::DESIGN };
        let tally = Market::new(seed, rules, Plan::FREE_RIDER).play(20_000);
        assert_eq!((tally.wronged, tally.profit, tally.staked), (0, 0, 0), "seed {seed}");
    }
}

#[test]
fn debts_are_bounded_for_a_name_and_not_for_many() {
    let (_, most, waited) = walk_away(&Rules::TODAY, 2_000);
    assert!((DEBT_TOKENS_MAX..DEBT_TOKENS_MAX + 1_000).contains(&most), "{most}");
    assert!(waited > 0);
    let thief = |entry| steal_prefills(&Rules { entry, ..Rules::DESIGN }, 100).profit;
    assert!(thief(0) > 0 && thief(500) < 0);
}

#[test]
fn a_job_ends_though_workers_crawl_and_leave() {
    let ran = race(&churn(1, 60));
    assert_eq!(ran.convicted, 0);
    assert!(ran.took_ms >= ran.oracle_ms, "{ran:?}");
}

#[test]
fn a_seed_is_a_report() {
    let play = || report(&Options { seed: 3, nodes: 80, jobs: 2_000, tries: 2 });
    let (a, b) = (play(), play());
    assert_eq!((a.text, a.plots), (b.text, b.plots));
}
