//! The market report: what every known plan is worth, what checking costs, how long work takes.

use super::market::{Market, NAMES, PAIRS, Plan, Tally};
use super::optimise::{best_plan, value};
use super::others::{accuse, buy_roots, never_audit, steal_prefills, walk_away};
use super::plot::{Bar, Line, bars, lines};
use super::race::{Race, churn, race, stallers};
use super::{Estimate, PRICE, Rules};
use crate::liar::Strategy;
use crate::scene::Scene;
use std::fmt::Write;
use talkoo_base::Amount;
use talkoo_proof::trust::{ALWAYS_Q32, chance_q32};

/// How much is played.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything.
    pub seed: u64,
    /// Workers in all neighbourhoods of a plan's world.
    pub nodes: u64,
    /// Jobs in all of them.
    pub jobs: u64,
    /// Random plans that the search begins with, changes of the best that it tries then, and races of a kind at most.
    pub tries: u64,
}

/// The report and its plots.
pub struct Report {
    /// Markdown.
    pub text: String,
    /// File names and SVG.
    pub plots: Vec<(&'static str, String)>,
}

struct Row {
    name: &'static str,
    design: Estimate,
    today: Estimate,
}

/// Plays everything. The same options give the same report on every machine.
#[must_use]
pub fn report(options: &Options) -> Report {
    let mut text = String::new();
    let (rows, fixes) = (strategies(options), remedies(options));
    table(&mut text, &rows);
    text.push_str("\nWhere the design pays too, and what would help (nothing of it is in the rules yet):\n\n");
    text.push_str("| plan | remedy | value of a lie | |\n|---|---|---|---|\n");
    for (name, remedy, estimate) in &fixes {
        let _ = writeln!(text, "| {name} | {remedy} | {} | {} |", percent(estimate), estimate.verdict());
    }
    best(&mut text, options);
    detection(&mut text);
    let overheads = overhead(&mut text, options);
    wronged(&mut text, options);
    unpaid(&mut text);
    races(&mut text, options);
    let shown = |row: &Row| Bar { name: row.name, design: row.design, today: row.today };
    let rows: Vec<Bar> = rows.iter().map(shown).collect();
    let shares: Vec<String> = (0..=10).map(|n| (n * 5).to_string()).collect();
    let rates = GAPS_S.map(|gap_s| (86_400 / gap_s).to_string());
    let what = "What a lie brings after 33 clean audits, % of the price";
    let (below, paid) = ("verifiers in league, %", "Cost of checking at φ = 0.4, % of the price");
    let plots = vec![
        ("economy-plans.svg", bars("What a lie brings, of the price of the job", &rows)),
        ("economy-league.svg", lines(what, below, &shares, &league(options))),
        ("economy-overhead.svg", lines(paid, "jobs a day of a client with a worker", &rates, &overheads)),
    ];
    Report { text, plots }
}

fn trial(options: &Options) -> (u64, u64) {
    let neighbourhoods = (options.nodes / NAMES as u64).max(2);
    (neighbourhoods, options.jobs / neighbourhoods)
}

/// What is different in a plan's world.
type Twist = fn(Rules) -> Rules;

/// Every plan of a worker.
fn plans() -> Vec<(&'static str, Plan, Twist)> {
    let free = Plan::FREE_RIDER;
    let known = Plan { after: 33, chance_permille: 50, ..free };
    let same = |rules| rules;
    vec![
        ("free rider", free, same),
        ("other weights", Plan { cost_permille: 250, ..free }, same),
        ("small model decodes, honest prefill", Plan { cost_permille: 400, ..free }, same),
        ("copier", Plan { cost_permille: 50, ..free }, same),
        ("Sybil: a new name for each lie", Plan { exit_after: 1, ..free }, same),
        ("long con: 33 clean audits, then lies where an audit is unlikely", known, same),
        ("the same, one lie in ten", Plan { lies_permille: 100, ..known }, same),
        ("long con, dear jobs only", Plan { value_permille: 10_000, chance_permille: 1_000, ..known }, same),
        ("hit and run: 48 at once, then gone", Plan { burst: 48, exit_after: 1, ..known }, same),
        ("hit and run with a bond of 2,000 jobs", Plan { burst: 48, exit_after: 1, bond: 2_000, ..known }, same),
        (
            "self-slasher, bond of 2,000 jobs",
            Plan { burst: 48, exit_after: 1, bond: 2_000, reports_itself: true, ..known },
            same,
        ),
        ("self-dealer: 100 jobs with itself first", Plan { farmed: 100, exit_after: 1, ..free }, same),
        ("verifiers in league, 30 %", Plan { league_permille: 300, ..known }, same),
        ("… and clients have no engine of their own", Plan { league_permille: 300, ..known }, |r| Rules {
            own_permille: 0,
            ..r
        }),
        ("ten jobs an hour: long con", Plan { chance_permille: 300, ..known }, |r| Rules { gap_s: 360, ..r }),
        (
            "ten jobs an hour: 30 % in league, no engines",
            Plan { chance_permille: 300, league_permille: 300, ..known },
            |r| Rules { gap_s: 360, own_permille: 0, ..r },
        ),
        ("Sybil with 30 % of the verifiers", Plan { league_permille: 300, exit_after: 1, ..free }, same),
        ("eclipse: 90 % of workers and verifiers", Plan { league_permille: 900, ..known }, |r| Rules {
            hostile_permille: 900,
            ..r
        }),
    ]
}

/// A plan of somebody who is no worker.
type Play<'a> = &'a dyn Fn(u64, &Rules) -> Tally;

fn strategies(options: &Options) -> Vec<Row> {
    let (seed, trial) = (options.seed, trial(options));
    let mut rows: Vec<Row> = plans()
        .into_iter()
        .map(|(name, plan, world)| Row {
            name,
            design: value(seed, &world(Rules::DESIGN), &plan, trial),
            today: value(seed, &world(Rules::TODAY), &plan, trial),
        })
        .collect();
    let of = |play: Play<'_>, rules: Rules| {
        Estimate::ratio(&(0..trial.0).map(|n| play(seed ^ (n << 32), &rules).value()).collect::<Vec<_>>())
    };
    let mut add = |name, play: Play<'_>| {
        rows.push(Row { name, design: of(play, Rules::DESIGN), today: of(play, Rules::TODAY) });
    };
    let jobs = trial.1.min(10_000);
    add("griefing accuser (of its fee)", &|seed, rules| accuse(seed, rules, jobs));
    add("verifier that buys roots (of its fee)", &|seed, rules| buy_roots(seed, rules, jobs));
    add("client that never audits", &|seed, rules| never_audit(seed, rules, jobs));
    add("walk-away payer, one name", &|_, rules| walk_away(rules, jobs).0);
    add("prefill thief, a new name each time", &|_, rules| steal_prefills(rules, jobs));
    rows
}

/// What would help where the design does not.
fn remedies(options: &Options) -> Vec<(&'static str, &'static str, Estimate)> {
    let (seed, trial, design) = (options.seed, trial(options), Rules::DESIGN);
    let (free, known) =
        (Plan::FREE_RIDER, Plan { after: 33, chance_permille: 50, league_permille: 300, ..Plan::FREE_RIDER });
    let sybil = Plan { league_permille: 300, exit_after: 1, ..free };
    let eclipse = Plan { league_permille: 900, ..known };
    let thief = |entry| {
        let worth = steal_prefills(&Rules { entry, ..design }, 1_000).value();
        Estimate::ratio(&[worth, worth])
    };
    let of = |rules: Rules, plan: Plan| value(seed, &rules, &plan, trial);
    vec![
        ("Sybil with 30 %", "a name costs half of a usual job", of(Rules { entry: PRICE / 2, ..design }, sybil)),
        ("Sybil with 30 %", "a name costs a usual job", of(Rules { entry: PRICE, ..design }, sybil)),
        ("Sybil with 30 %", "clients audit by themselves", of(Rules { self_audit: true, ..design }, sybil)),
        (
            "eclipse",
            "clients audit by themselves",
            of(Rules { self_audit: true, hostile_permille: 900, ..design }, eclipse),
        ),
        (
            "ten jobs an hour: 30 % in league, no engines",
            "pay is held for 24 hours",
            of(Rules { gap_s: 360, own_permille: 0, window: 24, ..design }, Plan { chance_permille: 300, ..known }),
        ),
        ("prefill thief", "a name costs a quarter of a usual job", thief(PRICE / 4)),
        ("prefill thief", "a name costs half of a usual job", thief(PRICE / 2)),
    ]
}

fn percent(e: &Estimate) -> String {
    if e.mean.is_nan() {
        return "–".into();
    }
    format!("{:+.1} % ± {:.1}", 100.0 * e.mean, 100.0 * e.half_width())
}

fn table(text: &mut String, rows: &[Row]) {
    text.push_str("| plan | by design | | as it runs today | |\n|---|---|---|---|---|\n");
    for row in rows {
        let (design, today) = (percent(&row.design), percent(&row.today));
        let _ = writeln!(
            text,
            "| {} | {design} | {} | {today} | {} |",
            row.name,
            row.design.verdict(),
            row.today.verdict()
        );
    }
}

fn best(text: &mut String, options: &Options) {
    text.push_str(
        "\nThe best plans that a search found (random plans, then changes of the best; valued on other dice):\n\n",
    );
    let worlds = [
        ("no verifiers in league", Rules::DESIGN, 0),
        ("the same, ten jobs an hour", Rules { gap_s: 360, ..Rules::DESIGN }, 0),
        ("up to 30 % in league, clients audit by themselves", Rules { self_audit: true, ..Rules::DESIGN }, 300),
        ("up to 30 % in league", Rules::DESIGN, 300),
    ];
    for (name, rules, league) in worlds {
        let plan = best_plan(options.seed ^ 0xbe57, &rules, league, options.tries);
        let worth = value(options.seed ^ 0xf4e5, &rules, &plan, trial(options));
        let _ = writeln!(
            text,
            "- {name}: {}, {}. `{}`",
            percent(&worth),
            worth.verdict(),
            format!("{plan:?}").replace(&u64::MAX.to_string(), "never")
        );
    }
}

/// How many lies of a plan go through before one is found, from the audit rate alone.
fn detection(text: &mut String) {
    text.push_str(
        "\nDetection power: audit rate, and the chance that of so many lies in a row at least one is audited.\n\n",
    );
    text.push_str("| clean audits | stake in jobs | audit rate | 1 | 10 | 33 | 100 |\n|---|---|---|---|---|---|---|\n");
    for (clean, stake) in [(0, 0), (9, 9), (10, 11), (15, 50), (33, 20), (33, 50), (1_000, 50), (1_000, 1_000)] {
        let q = chance_q32(clean, Amount(PRICE.into()), Amount(stake * u128::from(PRICE))) as f64 / ALWAYS_Q32 as f64;
        let found = |lies: u32| 100.0 * (1.0 - (0..lies).fold(1.0, |left, _| left * (1.0 - q)));
        let [a, b, c, d] = [1, 10, 33, 100].map(found);
        let _ =
            writeln!(text, "| {clean} | {stake} | {:.1} % | {a:.1} % | {b:.1} % | {c:.1} % | {d:.1} % |", 100.0 * q);
    }
}

fn league(options: &Options) -> Vec<Line> {
    let known = Plan { after: 33, chance_permille: 50, ..Plan::FREE_RIDER };
    let worlds = [
        ("clients have an engine", Rules::DESIGN),
        ("they have none", Rules { own_permille: 0, ..Rules::DESIGN }),
        ("they audit by themselves", Rules { self_audit: true, ..Rules::DESIGN }),
    ];
    let of = |(name, rules): (&'static str, Rules)| {
        let at = |share: u64| {
            let plan = Plan { league_permille: share * 10, ..known };
            100.0 * value(options.seed, &rules, &plan, (8, trial(options).1)).mean
        };
        Line { name, points: (0..=10).map(|n| at(n * 5)).collect() }
    };
    worlds.map(of).into()
}

/// Seconds between two jobs of a pair, where it matters.
const GAPS_S: [u64; 7] = [86_400, 8_640, 2_160, 864, 288, 60, 10];

/// Fees of honest worlds, by how much a client and a worker have to do with each other.
fn overhead(text: &mut String, options: &Options) -> Vec<Line> {
    text.push_str("\nCost of checking, % of the price at φ = 0.4 / φ = 0.7, where all are honest and half of the workers live for 7 days:\n\n");
    let equal = Rules { hostile_permille: 0, dear_permille: 0, ..Rules::DESIGN };
    let dear = Rules { dear_permille: 20, ..equal };
    let worlds = [
        ("equal prices, pay held 1 h", equal),
        ("one job in 50 twenty times as dear", dear),
        ("the same, held 24 h", Rules { window: 24, ..dear }),
        ("the same, bond of 2,000 jobs", Rules { honest_bond: 2_000, ..dear }),
    ];
    let mut curves = worlds.map(|(name, _)| Line { name, points: Vec::new() });
    let _ = writeln!(text, "| jobs a day of a client with a worker | {} |", worlds.map(|(name, _)| name).join(" | "));
    text.push_str("|---|---|---|---|---|\n");
    for gap_s in GAPS_S {
        let _ = write!(text, "| {} |", 86_400 / gap_s);
        for ((_, rules), line) in worlds.iter().zip(&mut curves) {
            let cost = |phi_permille| {
                let jobs = (PAIRS * 28 * 86_400 / gap_s).min(options.jobs);
                let tally =
                    Market::new(options.seed, Rules { phi_permille, gap_s, ..*rules }, Plan::FREE_RIDER).play(jobs);
                assert_eq!(tally.wronged, 0, "honest work was refuted");
                100.0 * tally.fees as f64 / tally.turnover as f64
            };
            let (low, high) = (cost(400), cost(700));
            let _ = write!(text, " {low:.1} / {high:.1} |");
            line.points.push(low);
        }
        text.push('\n');
    }
    curves.into()
}

/// Honest work that was refuted, where verifiers in league accuse whom they can.
fn wronged(text: &mut String, options: &Options) {
    text.push_str("\nHonest answers refuted, of those audited, where 30 % of the verifiers accuse whoever is honest:");
    for (name, own_permille) in [("clients with an engine", 1_000), ("without one", 0)] {
        let rules = Rules { hostile_permille: 0, own_permille, ..Rules::DESIGN };
        let plan = Plan { league_permille: 300, accuses: true, ..Plan::FREE_RIDER };
        let tally = Market::new(options.seed, rules, plan).play(options.jobs.min(100_000));
        let share = 100.0 * tally.wronged as f64 / tally.audited as f64;
        let _ = write!(text, " {name} {} of {} ({share:.1} %).", tally.wronged, tally.audited);
    }
    text.push('\n');
}

fn unpaid(text: &mut String) {
    let (_, most, waited) = walk_away(&Rules::TODAY, 2_000);
    let minutes = waited / 60_000;
    let _ = writeln!(
        text,
        "\nUnpaid at most: {most} tokens of one name, then it waits ({minutes} minutes for 2,000 jobs); under new names there is no bound."
    );
}

/// A scene of a seed, with so many steps.
type Make = fn(u64, u32) -> Scene;

fn races(text: &mut String, options: &Options) {
    use Strategy::{Honest, Silent, Slow};
    text.push_str("\nTime of a job, with real nodes and all audits of newcomers. *Churn*: 16 workers, of which a tenth is twenty times slower");
    text.push_str(" and a fifth leaves within 30 s. *Stallers*: a silent one, a slow one and two honest ones.\n\n");
    text.push_str("| workers | steps | times an oracle's | honest nodes refuted | earned by the slow | by the silent |\n|---|---|---|---|---|---|\n");
    let kinds: [(_, _, _, Make); 3] =
        [("churn", 120, 20, churn), ("churn", 1_000, 10, churn), ("stallers", 60, 10, stallers)];
    for (name, steps, seeds, make) in kinds {
        let ran: Vec<Race> = (0..seeds.min(options.tries)).map(|n| race(&make(options.seed ^ n, steps))).collect();
        let ratio = Estimate::ratio(&ran.iter().map(|r| (r.took_ms as f64, r.oracle_ms as f64)).collect::<Vec<_>>());
        let rejected: u64 = ran.iter().map(|r| r.convicted).sum();
        let earned = |of: &[Strategy]| -> f64 {
            let all = ran.iter().flat_map(|r| &r.earned);
            all.filter(|(s, _)| of.contains(s)).fold(0.0, |sum, (_, amount)| sum + amount.0 as f64)
        };
        let [slow, silent] = [Slow, Silent].map(|s| 100.0 * earned(&[s]) / earned(&[Honest, Slow, Silent]));
        let (mean, error) = (ratio.mean, ratio.half_width());
        let _ =
            writeln!(text, "| {name} | {steps} | {mean:.2} ± {error:.2} | {rejected} | {slow:.1} % | {silent:.1} % |");
    }
}
