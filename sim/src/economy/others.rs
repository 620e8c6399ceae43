//! Those who are no workers: clients that do not pay or do not look, verifiers that do not work.

use super::market::Tally;
use super::till::{Till, Who};
use super::{PRICE, Rules};
use crate::rng::Dice;
use talkoo_base::{Amount, CHUNK_TOKENS, Digest, Mono, NodeId, Unix};
use talkoo_proof::Seen;
use talkoo_proof::debts::Debts;
use talkoo_proof::limits::CHUNKS_AHEAD_MAX;
use talkoo_proof::trust::Trust;

/// A usual job, in tokens: prompt and output. An output token costs as much as four of the prompt.
const TOKENS: (u64, u64) = (400, 150);
/// What a token of the prompt costs, so that the job costs [`PRICE`].
const TOKEN: u64 = PRICE / (TOKENS.0 + 4 * TOKENS.1);
/// Output that a client has before it pays for any.
const AHEAD: u64 = (CHUNKS_AHEAD_MAX * CHUNK_TOKENS) as u64;

/// What a client that leaves has of a job without paying.
fn unpaid(rules: &Rules) -> u64 {
    TOKEN * (4 * AHEAD + if rules.prepaid { 0 } else { TOKENS.0 })
}

/// The work that a walker took is worth its price to it, and cost its worker that much.
fn walk(rules: &Rules, till: &mut Till, tally: &mut Tally) {
    let got = u128::from(unpaid(rules));
    till.pay(Who::Honest, Who::Outside, got);
    // What it has it need not buy: that is money to it.
    till.pay(Who::Outside, Who::League, got);
    tally.staked += u128::from(PRICE);
    tally.jobs += 1;
}

/// A client that takes what it can have before it pays, under one name: it has to wait for its debts to be forgiven.
/// Besides the tally: the most tokens that it had unpaid at one time, and the milliseconds that it waited.
#[must_use]
pub fn walk_away(rules: &Rules, jobs: u64) -> (Tally, u64, u64) {
    let (mut till, mut tally, mut debts) = (Till::new(), Tally::default(), Debts::default());
    let (client, mut now, mut most, mut waited) = (NodeId::pretended(1), Mono(0), 0, 0);
    let tokens = TOKENS.0 + AHEAD;
    for job in 0..jobs {
        let wait = debts.wait_ms(now, &client);
        if wait > 0 && waited == 0 {
            most = job * tokens;
        }
        (now, waited) = (now + wait, waited + wait);
        walk(rules, &mut till, &mut tally);
        debts.unpaid(now, client, tokens);
    }
    tally.profit = till.won(Who::League);
    (tally, most, waited)
}

/// A client that takes what it can have before it pays, under a new name each time.
#[must_use]
pub fn steal_prefills(rules: &Rules, jobs: u64) -> Tally {
    let (mut till, mut tally, mut debts) = (Till::new(), Tally::default(), Debts::default());
    for job in 0..jobs {
        let client = NodeId::pretended(u32::try_from(job + 1).expect("few jobs"));
        till.pay(Who::League, Who::Outside, rules.entry.into());
        assert_eq!(debts.wait_ms(Mono(0), &client), 0, "a new name has no debts");
        walk(rules, &mut till, &mut tally);
        debts.unpaid(Mono(0), client, TOKENS.0 + AHEAD);
    }
    tally.profit = till.won(Who::League);
    tally
}

/// A verifier that answers with any root instead of working. The client lets its own engine, if it has one, decide before it
/// pays; then the name is spoilt. An answer costs it the bytes. What it staked is what the fees are worth.
#[must_use]
pub fn accuse(seed: u64, rules: &Rules, audits: u64) -> Tally {
    let (mut till, mut tally, mut dice) = (Till::new(), Tally::default(), Dice::new(seed));
    let (fee, bond) = (rules.fee(PRICE.into()), u128::from(rules.verifier_bond_fees));
    for _ in 0..audits {
        till.pay(Who::League, Who::Outside, fee.div_ceil(1_000));
        if !dice.chance(rules.own_permille) {
            till.pay(Who::Clients, Who::League, fee);
        } else {
            till.pay(Who::League, Who::Outside, rules.entry.into());
            till.pay(Who::League, Who::Clients, fee * bond / 2);
            till.pay(Who::League, Who::Burnt, fee * bond - fee * bond / 2);
        }
        tally.staked += fee;
    }
    tally.profit = till.won(Who::League);
    tally
}

/// A verifier that buys the worker's root instead of working, from the worker: together they keep the fee. A decoy is
/// an audit whose root for sale is false; who repeats it loses its bond.
#[must_use]
pub fn buy_roots(seed: u64, rules: &Rules, audits: u64) -> Tally {
    let (mut till, mut tally, mut dice) = (Till::new(), Tally::default(), Dice::new(seed));
    let (fee, bond) = (rules.fee(PRICE.into()), u128::from(rules.verifier_bond_fees));
    for _ in 0..audits {
        till.pay(Who::Clients, Who::League, fee);
        if dice.chance(rules.decoys_permille) {
            till.pay(Who::League, Who::Burnt, fee * bond);
        }
        tally.staked += fee;
    }
    tally.profit = till.won(Who::League);
    tally
}

/// A client that forbids audits: it saves the fees that its neighbours pay, and its workers can read in the request
/// that nobody will look. The league is the client here.
#[must_use]
pub fn never_audit(seed: u64, rules: &Rules, jobs: u64) -> Tally {
    let (mut till, mut tally, mut dice) = (Till::new(), Tally::default(), Dice::new(seed));
    let (value, mut trust) = (Amount(PRICE.into()), Trust::default());
    for at in 0..jobs {
        let seen = Seen { at: Unix(60 * at), build: Digest::ZERO, bond: Amount::ZERO };
        let chance = trust.at(seen).chance_q32(value);
        let audited = dice.roll() >> 32 < chance;
        trust = trust.accepted(value, audited, seen);
        // The fee that it would have paid.
        let saved = rules.fee(value.0) * u128::from(audited);
        till.pay(Who::Outside, Who::League, saved);
        if dice.chance(rules.hostile_permille) {
            till.pay(Who::League, Who::Outside, value.0);
        }
        tally.staked += value.0;
    }
    tally.profit = till.won(Who::League);
    tally
}
