//! Fixed seeds, quiet scenes for each lie, and the promise that a seed is a trace.

use crate::{Report, Scene, Strategy, run};
use talkoo_base::Tier;

fn play(scene: &Scene) -> Report {
    let mut show = |line: &str| println!("{}", line.chars().take(400).collect::<String>());
    let tell: Option<&mut dyn FnMut(&str)> =
        if std::env::var_os("TALKOO_SIM_TRACE").is_some() { Some(&mut show) } else { None };
    let report = run(scene, tell);
    if let Err(why) = &report.verdict {
        panic!("seed {}: {why}\nreplay with: cargo xtask sim {} --trace", scene.seed, scene.seed);
    }
    report
}

#[test]
fn honest_worlds_accuse_nobody() {
    for seed in 0..20 {
        let report = play(&Scene::quiet(seed, &[Strategy::Honest; 4], 20));
        assert_eq!((report.convicted, report.done), (0, 20), "seed {seed}");
    }
}

#[test]
fn every_lie_is_caught() {
    use Strategy::{
        CheatedSampler, CopiedAnswer, FalseAccuser, FalseLogprobs, OtherWeights, ReplayedReceipt, TamperedToken,
        Truncated,
    };
    let lies = [OtherWeights, Truncated, TamperedToken, CopiedAnswer, CheatedSampler, ReplayedReceipt, FalseLogprobs];
    for lie in lies {
        for seed in 0..10 {
            let report = play(&Scene::quiet(seed, &[Strategy::Honest, lie, Strategy::Honest], 16));
            assert_eq!((report.convicted, report.done), (1, 16), "{lie:?}, seed {seed}");
        }
    }
    // Strangers are asked only about workers that are off probation, and then seldom.
    let accused = |seed| play(&Scene::quiet(seed, &[Strategy::Honest, FalseAccuser, Strategy::Honest], 320)).convicted;
    let caught: Vec<u64> = (0..10).map(accused).collect();
    assert!(caught.iter().all(|caught| *caught <= 1) && caught.iter().sum::<u64>() >= 7, "{caught:?}");
}

#[test]
fn vectors_are_paid_by_their_texts_and_every_lie_is_caught() {
    use Strategy::{CheatedSampler, CopiedAnswer, Honest, OtherWeights, ReplayedReceipt, TamperedToken, Truncated};
    let vectors = |scene| Scene { kind: talkoo_base::Kind::Embed, ..scene };
    let lies = [OtherWeights, Truncated, TamperedToken, CopiedAnswer, CheatedSampler, ReplayedReceipt];
    for (lie, convicted) in lies.map(|lie| (lie, 1)).into_iter().chain([(Honest, 0)]) {
        for seed in 0..10 {
            let report = play(&vectors(Scene::quiet(seed, &[Honest, lie, Honest], 16)));
            assert_eq!((report.convicted, report.done), (convicted, 16), "{lie:?}, seed {seed}");
        }
    }
    for seed in 0..60 {
        play(&vectors(Scene::of(seed)));
    }
}

#[test]
fn the_float_tier_is_paid_and_nobody_is_judged() {
    let float = |scene| Scene { tier: Tier::Float, ..scene };
    // What only a re-run could tell goes through; what signatures and digests tell does not.
    let lies = [(Strategy::OtherWeights, 0), (Strategy::Truncated, 0), (Strategy::CopiedAnswer, 1)];
    for (lie, convicted) in lies {
        for seed in 0..10 {
            let report = play(&float(Scene::quiet(seed, &[Strategy::Honest, lie, Strategy::Honest], 16)));
            assert_eq!((report.convicted, report.done), (convicted, 16), "{lie:?}, seed {seed}");
        }
    }
    for seed in 0..200 {
        play(&float(Scene::of(seed)));
    }
}

#[test]
fn the_silent_cost_time_and_nothing_else() {
    let report = play(&Scene::quiet(1, &[Strategy::Silent, Strategy::Honest, Strategy::Slow], 12));
    assert_eq!((report.convicted, report.done), (0, 12));
}

#[test]
fn a_seed_is_a_trace() {
    for seed in [7, 107, 3, 999] {
        let (a, b) = (play(&Scene::of(seed)), play(&Scene::of(seed)));
        assert_eq!((a.trace, a.events), (b.trace, b.events), "seed {seed}");
    }
}

#[test]
fn two_thousand_worlds_hold() {
    let seeds = 0..2_000u64;
    std::thread::scope(|scope| {
        for half in 0..2 {
            let seeds = seeds.clone();
            scope.spawn(move || seeds.filter(|s| s % 2 == half).for_each(|seed| drop(play(&Scene::of(seed)))));
        }
    });
}
