//! How trust is won and lost, and what it costs to abuse it.

use crate::parameters::{CHANCE_MIN_Q32, FAULTS_MAX, IDLE_S, VEST_S};
use crate::trust::{ALWAYS_Q32 as ONE, Fault, Trust, chance_q32, cover, slash};
use crate::wire::Seen;
use talkoo_base::{Amount, Digest, Unix};

#[test]
fn the_chance_of_an_audit() {
    let cases = [
        // (clean audits, value at risk, what the worker would lose) → chance
        (0, 1, u128::MAX, ONE),
        (9, 1, u128::MAX, ONE),
        (10, 1, 1 << 80, ONE / 11),
        (20, 0, 0, ONE / 21),
        (100, 1, 1 << 80, CHANCE_MIN_Q32),
        (u64::MAX, 0, 0, CHANCE_MIN_Q32),
        // 1.5 · v / (v + S): about an eighth at the most, for more than a tenth of S is always checked.
        (100, 1, 14, ONE / 10),
        (100, 1, 10, 3 * ONE / 2 / 11),
        (100, 1, 9, ONE),
        (100, 5, 0, ONE),
        (100, u128::MAX, 0, ONE),
        (100, u128::MAX, u128::MAX, ONE),
        (100, 1 << 100, 1 << 104, 3 * ONE / 2 / 17),
    ];
    for (clean, value, stake, want) in cases {
        let have = chance_q32(clean, Amount(value), Amount(stake));
        assert_eq!(have, want, "{clean} clean, {value} against {stake}");
    }
}

fn seen(at: u64, build: u8, bond: u128) -> Seen {
    Seen { at: Unix(at), build: Digest([build; 32]), bond: Amount(bond) }
}

#[test]
fn a_streak_ends_with_its_reasons() {
    let half = VEST_S / 2;
    let worker = (0..30).fold(Trust::default(), |trust, at| trust.accepted(Amount(100), true, seen(at, 1, 50)));
    let worker = worker.accepted(Amount(7), false, seen(half, 1, 50));
    let cases = [
        // (when, build, bond) → clean audits, pay held
        (half, 1, 50, 30, 3_007),
        (half, 1, 90, 30, 3_007),
        (half, 1, 49, 0, 3_007),
        (half, 2, 50, 0, 3_007),
        // The vault may let the first pay go, then all of it.
        (VEST_S - 1, 1, 50, 30, 3_007),
        (VEST_S, 1, 50, 30, 7),
        (half + VEST_S, 1, 50, 30, 0),
        (half + IDLE_S, 1, 50, 30, 0),
        (half + IDLE_S + 1, 1, 50, 0, 0),
        // A clock that was set back.
        (0, 1, 50, 30, 3_007),
    ];
    for (at, build, bond, clean, held) in cases {
        let trust = worker.at(seen(at, build, bond));
        assert_eq!((trust.clean, trust.held()), (clean, Amount(held)), "at {at}, build {build}, bond {bond}");
    }
}

#[test]
fn a_stranger_is_always_audited_and_answers_nobody_checked_add_no_streak() {
    let mut trust = Trust::default();
    for at in 0..100 {
        assert_eq!(trust.at(seen(at, 1, 1 << 60)).chance_q32(Amount(1)), ONE);
        trust = trust.accepted(Amount(1), false, seen(at, 1, 1 << 60));
    }
    assert_eq!(trust.clean, 0);
}

#[test]
fn a_bond_never_makes_a_worker_less_trusted() {
    let known =
        |vested, bond| Trust { clean: 1_000, vested: [Amount(vested), Amount::ZERO], seen: Some(seen(0, 1, bond)) };
    let cases = [
        // (pay held, bond) → chance for a job worth 1,000
        (0, 0, ONE),
        (50_000, 0, CHANCE_MIN_Q32),
        // A small bond covers nothing; held pay counts by itself.
        (20_000, 1_000, 3 * ONE / 2 / 21),
        (0, 60_000, ONE),
        (0, 100_000, CHANCE_MIN_Q32),
        (20_000, 200_000, CHANCE_MIN_Q32),
    ];
    for (vested, bond, want) in cases {
        let have = known(vested, bond).chance_q32(Amount(1_000));
        assert_eq!(have, want, "{vested} held, {bond} bonded");
        assert!(have <= known(vested, 0).chance_q32(Amount(1_000)));
    }
}

#[test]
fn what_a_bond_answers_for_is_what_a_slash_takes() {
    // §7's example: R = $0.001, q = 3 %, f = 0.3, a bond of $20: all but $0.048 of its half.
    let (value, chance_q32) = (Amount(1_000), CHANCE_MIN_Q32);
    assert_eq!(cover(Amount(20_000_000), value, chance_q32), Amount(10_000_000 - 47_620));
    assert_eq!(cover(Amount(95_238), value, chance_q32), Amount::ZERO);
    assert_eq!(cover(Amount(u128::MAX), Amount(u128::MAX), 0), Amount::ZERO);
    let fault = |unsettled, number| Fault { value, chance_q32, unsettled: Amount(unsettled), number };
    let cases = [
        (20_000_000, 5_000, 1, 2 * (5_000 + 47_620)),
        (20_000_000, 5_000, FAULTS_MAX, 20_000_000),
        (50_000, 5_000, 1, 50_000),
        (u128::MAX, u128::MAX, 1, u128::MAX),
    ];
    for (stake, unsettled, number, want) in cases {
        assert_eq!(slash(Amount(stake), &fault(unsettled, number)), Amount(want), "{unsettled} of {stake}");
    }
    // Whatever a bond covers, half of the slash is more than that.
    for bond in [100_000, 1_000_000, 20_000_000] {
        let covered = cover(Amount(bond), value, chance_q32);
        assert!(slash(Amount(bond), &fault(covered.0, 1)).0 / 2 > covered.0, "{bond}");
    }
}
