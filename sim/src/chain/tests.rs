//! Quiet scenes for each misconduct, and many seeds.

use super::{Conduct, Report, Scene, run};
use Conduct::{BadBlocks, Boaster, Forger, Honest, Silent, TwoFaced};

fn play(scene: &Scene) -> Report {
    let report = run(scene, None);
    if let Err(why) = &report.verdict {
        panic!("seed {}: {why}\nreplay with: cargo xtask sim chain {} --trace", scene.seed, scene.seed);
    }
    report
}

#[test]
fn honest_validators_agree_in_the_first_round() {
    for count in 1..=7 {
        let report = play(&Scene::quiet(count, &vec![Honest; count as usize], 10));
        assert_eq!((report.convicted, report.late_rounds), (0, 0), "{count} validators");
        assert!(report.blocks >= 3, "{count} validators: {report:?}");
    }
}

#[test]
fn one_bad_validator_of_four_stops_nothing() {
    for bad in [TwoFaced, BadBlocks, Silent, Forger, Boaster] {
        for seed in 0..10 {
            let report = play(&Scene::quiet(seed, &[Honest, bad, Honest, Honest], 12));
            assert_eq!(report.convicted, usize::from(bad == TwoFaced), "{bad:?}, seed {seed}: {report:?}");
        }
    }
}

#[test]
fn who_voted_twice_is_out_and_stakes_come_and_go() {
    for seed in 0..10 {
        let mut scene = Scene::quiet(seed, &[Honest, TwoFaced, Honest, Honest, Honest], 40);
        // The last one joins; the first one gets more.
        scene.parts[4].power = 0;
        scene.stakes = vec![(4, 2), (0, 3)];
        let report = play(&scene);
        assert_eq!(report.convicted, 1, "seed {seed}: {report:?}");
        assert!(report.sets >= 2, "seed {seed}: {report:?}");
    }
}

#[test]
fn a_line_of_validators_agrees() {
    for count in 2..=7 {
        let mut scene = Scene::quiet(count, &vec![Honest; count as usize], 10);
        (scene.line, scene.delay_ms) = (true, (10, 10));
        assert!(play(&scene).blocks >= 3, "{count} validators");
    }
}

#[test]
fn a_seed_is_a_trace() {
    for seed in [1, 77, 500] {
        let (a, b) = (play(&Scene::of(seed)), play(&Scene::of(seed)));
        assert_eq!((a.trace, a.events), (b.trace, b.events), "seed {seed}");
    }
}

#[test]
fn two_hundred_chains_hold() {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (0..200u64).filter(|s| s % 2 == half).for_each(|s| drop(play(&Scene::of(s)))));
        }
    });
}
