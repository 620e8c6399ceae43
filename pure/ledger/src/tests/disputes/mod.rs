//! An honest worker is convicted of nothing; one false number convicts, in one transaction.

mod defender;
mod game;
mod questions;
mod worker;

use super::referee::made_up::{Dice, model};
use super::{Chain, address};
use crate::bindings::*;
use crate::contracts::DISPUTES_AT;
use crate::tests::contracts::beginning;
use crate::{Call, Outcome};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, SolError, SolEvent};
use std::collections::BTreeMap;
use talkoo_base::GenerateParams;
use talkoo_exact::Model;
use talkoo_exact::steps::{Name, OUT_OF_RANGE, Place, Stage};
use worker::{CHALLENGER, Lie, PROMPT, UNITS, Worker, leaf};

const WRONG_ROOT: [u8; 4] = IReferee::WrongRoot::SELECTOR;

fn params() -> GenerateParams {
    GenerateParams {
        temperature_q16: 80_000,
        top_k: 20,
        top_p_q16: 60_000,
        min_p_q16: 700,
        ..GenerateParams::default()
    }
}

impl Chain {
    /// What would come of a call by the challenger.
    fn attempt<C: SolCall>(&mut self, call: &C) -> Outcome {
        self.attempt_at(DISPUTES_AT, call)
    }

    fn attempt_at<C: SolCall>(&mut self, to: Address, call: &C) -> Outcome {
        let data = call.abi_encode().into();
        let call = Call { from: address(CHALLENGER), to: Some(to), data, ..Call::default() };
        self.reader(|r| r.call(&call, &BTreeMap::new())).unwrap()
    }
}

impl Worker {
    fn convict(&self, finding: Finding) -> IDisputes::convictElementCall {
        let (words, signatures) = (self.words.clone(), self.signatures.clone());
        IDisputes::convictElementCall { words, signatures, finding }
    }

    fn convict_state(&self, finding: StateFinding) -> IDisputes::convictStateCall {
        let (words, signatures) = (self.words.clone(), self.signatures.clone());
        IDisputes::convictStateCall { words, signatures, finding }
    }

    fn convict_missing(&self, finding: MissingFinding) -> IDisputes::convictMissingCall {
        let (words, signatures) = (self.words.clone(), self.signatures.clone());
        IDisputes::convictMissingCall { words, signatures, finding }
    }

    fn convict_output(&self, finding: OutputFinding) -> IDisputes::convictOutputCall {
        let (words, signatures) = (self.words.clone(), self.signatures.clone());
        IDisputes::convictOutputCall { words, signatures, finding }
    }
}

fn convicted(outcome: &Outcome, case: &str) {
    let told = outcome.logs.iter().any(|log| log.topics()[0] == IDisputes::Convicted::SIGNATURE_HASH);
    assert!(outcome.success && told, "{case}: {outcome:?}");
    println!("{case}: {} gas", outcome.gas_used);
}

fn refused<E: SolError>(outcome: &Outcome, case: &str) {
    assert!(!outcome.success && outcome.output.starts_with(&E::SELECTOR), "{case}: {outcome:?}");
}

/// A vector of a place of the trace, and one of its elements.
fn pick(dice: &mut Dice, worker: &Worker) -> ((usize, usize), Name, usize) {
    loop {
        let (position, layer) = (dice.below(PROMPT + UNITS - 1), dice.below(worker.layers()));
        let steps = worker.steps(position, layer);
        let (program, place) = (*steps.program(), Place::ALL[dice.below(Place::ALL.len())]);
        let stage = Stage::ALL[dice.below(Stage::ALL.len())];
        let count = program.count(place, stage);
        if count == 0 || place >= Place::OutputNorm && position + 1 < PROMPT {
            continue;
        }
        let mut name = Name::of(place, stage, program.first_sub(place) + dice.below(count) as u32);
        if (place, stage) == (Place::Sampler, Stage::Out) {
            name.sub = worker.tokens[position + 1 - PROMPT];
        }
        return ((position, layer), name, dice.below(program.length(name)));
    }
}

#[test]
fn nothing_convicts_an_honest_worker() {
    let (mut chain, mut dice) = (Chain::of(&beginning().genesis()), Dice(9));
    for seed in 0..4 {
        let worker = Worker::new(model(seed, false), params(), Lie::None);
        for _ in 0..50 {
            let (spot, name, index) = pick(&mut dice, &worker);
            let outcome = chain.attempt(&worker.convict(worker.finding(spot, name, index, 0)));
            refused::<IDisputes::NothingWrong>(&outcome, &format!("{spot:?} {name:?} [{index}]"));
        }
        for _ in 0..10 {
            let spot = (dice.below(PROMPT + UNITS - 1), dice.below(worker.layers()));
            for name in [Name::out(Place::Output), Name::of(Place::Row, Stage::Out, spot.0 as u32)] {
                let index = dice.below(worker.steps(spot.0, spot.1).program().length(name));
                let outcome = chain.attempt(&worker.convict_state(worker.state_finding(spot, name, index)));
                refused::<IDisputes::NothingWrong>(&outcome, &format!("state {spot:?} {name:?} [{index}]"));
            }
            let outcome = chain.attempt(&worker.convict_output(worker.output_finding(dice.below(UNITS))));
            refused::<IDisputes::NothingWrong>(&outcome, "output");
        }
    }
}

#[test]
fn one_false_number_of_a_vector_convicts() {
    let (mut chain, mut dice) = (Chain::of(&beginning().genesis()), Dice(10));
    for seed in 0..4 {
        let worker = Worker::new(model(seed, false), params(), Lie::None);
        for _ in 0..50 {
            let (spot, name, index) = pick(&mut dice, &worker);
            if (name.place, name.stage) == (Place::Sampler, Stage::Out) {
                continue;
            }
            let case = format!("{spot:?} {name:?} [{index}]");
            for more in [1, -1] {
                convicted(&chain.attempt(&worker.convict(worker.finding(spot, name, index, more))), &case);
            }
        }
    }
}

#[test]
fn a_verifier_answers_for_its_word() {
    let (mut chain, mut dice) = (Chain::of(&beginning().genesis()), Dice(11));
    for seed in 0..2 {
        let worker = Worker::verifier(model(seed, false), params(), Lie::None);
        for _ in 0..30 {
            let (spot, name, index) = pick(&mut dice, &worker);
            let case = format!("{spot:?} {name:?} [{index}]");
            let outcome = chain.attempt(&worker.convict(worker.finding(spot, name, index, 0)));
            refused::<IDisputes::NothingWrong>(&outcome, &case);
            if (name.place, name.stage) != (Place::Sampler, Stage::Out) {
                convicted(&chain.attempt(&worker.convict(worker.finding(spot, name, index, 1))), &case);
            }
        }
        let outcome = chain.attempt(&worker.convict_output(worker.output_finding(dice.below(UNITS))));
        refused::<IDisputes::NothingWrong>(&outcome, "output");
        let worker = Worker::verifier(model(seed, false), params(), Lie::State(PROMPT + 40, 1, 3));
        let found = worker.state_finding((PROMPT + 40, 1), Name::out(Place::Output), 0);
        convicted(&chain.attempt(&worker.convict_state(found)), "a false state");
    }
}

#[test]
fn a_fault_costs_what_the_rules_of_trust_say() {
    use crate::contracts::DISPUTES_AT;
    let mut chain = Chain::of(&beginning().genesis());
    for (held, pay) in [(0, 0), (0, 1), (0, 21), (1, 20), (500, 0), (9_999, 28), (77, 1_000_003), (1 << 50, 1 << 40)] {
        let call = IDisputes::costOfCall { held: U256::from(held), pay: U256::from(pay) };
        let cost: u128 = chain.ask(DISPUTES_AT, &call).to();
        let chance_q32 = talkoo_proof::parameters::CHANCE_MIN_Q32;
        let (value, unsettled) = (talkoo_base::Amount(pay), talkoo_base::Amount(held));
        let fault = talkoo_proof::trust::Fault { value, chance_q32, unsettled, number: 1 };
        let want = talkoo_proof::trust::slash(talkoo_base::Amount(u128::MAX), &fault).0;
        // 3 % of 2^32 is no whole number.
        assert!(want.abs_diff(cost) <= 2 + cost / 100_000_000, "{held} {pay}: {want}, the contract says {cost}");
    }
}

#[test]
fn one_false_byte_of_a_state_convicts() {
    let (mut chain, model) = (Chain::of(&beginning().genesis()), model(1, false));
    let honest = Worker::new(model.clone(), params(), Lie::None);
    let length = honest.states[0][0].len();
    let width = model.manifest.architecture.embedding;
    for (position, layer, byte) in [(0, 0, 0), (3, 1, 8 * width - 1), (20, 0, 8 * width), (PROMPT + 33, 1, length - 1)]
    {
        let position = position.min(PROMPT + UNITS - 2);
        let worker = Worker::new(model.clone(), params(), Lie::State(position, layer, byte));
        let spot = (position, layer);
        let names = [Name::out(Place::Output), Name::of(Place::Row, Stage::Out, position as u32)];
        let found = names.into_iter().any(|name| {
            let length = worker.steps(position, layer).program().length(name);
            (0..length)
                .any(|index| chain.attempt(&worker.convict_state(worker.state_finding(spot, name, index))).success)
        });
        assert!(found, "byte {byte} of {spot:?}");
    }
    let worker = Worker::new(model, params(), Lie::Long(2, 1));
    let found = worker.state_finding((2, 1), Name::out(Place::Output), 0);
    convicted(&chain.attempt(&worker.convict_state(found)), "a state that is no state");
}

#[test]
fn a_state_is_that_of_its_place_and_its_numbers_are_the_nodes_word() {
    let (mut chain, output) = (Chain::of(&beginning().genesis()), Name::out(Place::Output));
    let worker = Worker::new(game::wide(), params(), Lie::None);
    let honest = worker.state_finding((40, 1), output, 40);
    refused::<IDisputes::NothingWrong>(&chain.attempt(&worker.convict_state(honest.clone())), "before");
    let vector = worker.steps(40, 1).vector(output);
    let found = StateFinding { leaf: leaf(output, &vector, 0), ..honest.clone() };
    refused::<IDisputes::WrongClaim>(&chain.attempt(&worker.convict_state(found)), "another leaf");
    let mut found = honest.clone();
    found.roots.roots[0].0[0] ^= 1;
    refused::<IDisputes::WrongSigner>(&chain.attempt(&worker.convict_state(found)), "another root");
    // The chunk after it has as many states.
    let other = worker.state_finding((72, 1), output, 40);
    let found = StateFinding { chunk: other.chunk, state: other.state, siblings: other.siblings, ..honest };
    refused::<IDisputes::WrongClaim>(&chain.attempt(&worker.convict_state(found)), "a state of another chunk");
}

#[test]
fn a_false_token_convicts() {
    let (mut chain, model) = (Chain::of(&beginning().genesis()), model(1, false));
    let (place, layer) = (33, model.layers.len() - 1);
    let drawn = |token| Name::of(Place::Sampler, Stage::Out, token);
    let spot = (PROMPT - 1 + place, layer);
    let honest = Worker::new(model.clone(), params(), Lie::None);
    let truth = honest.tokens[place];
    let token = if truth == 0 { 1 } else { 0 };
    let other = honest.finding(spot, drawn(token), 0, 0);
    refused::<IDisputes::WrongClaim>(&chain.attempt(&honest.convict(other)), "a token that it did not say");
    let mut denied = honest.finding(spot, drawn(truth), 0, 0);
    denied.claim.claimed = 0;
    refused::<IDisputes::WrongClaim>(&chain.attempt(&honest.convict(denied)), "that its token is not the one");
    let worker = Worker::new(model.clone(), params(), Lie::Token(place, token));
    convicted(&chain.attempt(&worker.convict(worker.finding(spot, drawn(token), 0, 0))), "not the one drawn");
    // One that is in no vocabulary cannot even be asked about.
    let worker = Worker::new(model.clone(), params(), Lie::Token(place, 1 << 20));
    let mut finding = worker.finding(spot, drawn(truth), 0, 0);
    finding.claim.vector = drawn(1 << 20).number();
    convicted(&chain.attempt(&worker.convict(finding)), "no token");
    let worker = Worker::new(model, params(), Lie::Output(7));
    convicted(&chain.attempt(&worker.convict_output(worker.output_finding(7))), "another output");
    let outcome = chain.attempt(&worker.convict_output(worker.output_finding(8)));
    refused::<IDisputes::NothingWrong>(&outcome, "the token after it");
    let elsewhere = OutputFinding { chunk: worker.chunk(1), ..worker.output_finding(1) };
    let outcome = chain.attempt(&worker.convict_output(elsewhere));
    refused::<IReferee::LeafOutOfRange>(&outcome, "a token of another chunk");
}

#[test]
fn a_vector_denied_and_a_range_error_convict() {
    let mut chain = Chain::of(&beginning().genesis());
    let worker = Worker::new(model(1, false), params(), Lie::None);
    let last = worker.layers() - 1;
    // Gates and ups whose product leaves its range, as the program itself finds.
    let mut steps = worker.steps(3, 0);
    for place in [Place::Gate, Place::Up] {
        let length = steps.program().length(Name::out(place));
        steps.agree(Name::out(place), vec![1 << 39; length]);
    }
    let found = worker.finding_in(steps, Name::out(Place::Product), 0, 0);
    assert_eq!(found.claim.claimed, OUT_OF_RANGE);
    convicted(&chain.attempt(&worker.convict(found)), "a run would have ended");
    // Position, layer, vector, and whether the program has it.
    let cases = [
        (3, 0, Name::out(Place::Query).number(), true),
        (3, 0, Name::of(Place::Row, Stage::Out, 3).number(), true),
        (3, 0, Name::of(Place::Row, Stage::Out, 2).number(), false),
        (3, 0, Name::of(Place::Query, Stage::Out, 1).number(), false),
        (PROMPT - 1, last, Name::out(Place::Logits).number(), true),
        (PROMPT - 2, last, Name::out(Place::Logits).number(), false),
        (PROMPT - 1, 0, Name::out(Place::Logits).number(), false),
        (PROMPT - 1, last, Name::of(Place::Sampler, Stage::Kept, 0).number(), true),
    ];
    for (position, layer, vector, exists) in cases {
        let roots = worker.said(position, layer, &[(1, B256::repeat_byte(1)), (vector, B256::ZERO)]);
        let finding = MissingFinding { roots, index: 1, manifest: worker.manifest(), beneficiary: address(CHALLENGER) };
        let outcome = chain.attempt(&worker.convict_missing(finding));
        let case = format!("{position} {layer} {vector:x}");
        if exists {
            convicted(&outcome, &case);
        } else {
            refused::<IDisputes::NothingWrong>(&outcome, &case);
        }
    }
    // Of logits that are changed first there is no draw in the program.
    let changed = GenerateParams { repeat_penalty_q16: 70_000, ..params() };
    let worker = Worker::new(model(1, false), changed, Lie::None);
    let name = Name::of(Place::Sampler, Stage::Max, 0);
    let outcome = chain.attempt(&worker.convict(worker.finding((PROMPT, last), name, 0, 1)));
    refused::<IDisputes::NotInProgram>(&outcome, "a penalty");
    let roots = worker.said(PROMPT, last, &[(name.number(), B256::ZERO)]);
    let (manifest, beneficiary) = (worker.manifest(), address(CHALLENGER));
    let outcome = chain.attempt(&worker.convict_missing(MissingFinding { roots, index: 0, manifest, beneficiary }));
    refused::<IDisputes::NotInProgram>(&outcome, "a penalty and no draw");
}

#[test]
fn a_claim_that_is_nobodys_word_is_refused() {
    use IDisputes::*;
    type Change = fn(&mut IDisputes::convictElementCall);
    const RESIDUAL: Name = Name::out(Place::Residual);
    const SCORES: Name = Name::of(Place::Attention, Stage::Scores, 0);
    const TOTAL: Name = Name::of(Place::Sampler, Stage::Total, 0);
    let at = PROMPT + 2;
    /// What is changed of a claim about which element, and what comes of it.
    type Case = (&'static str, (usize, usize), Name, usize, Change, [u8; 4]);
    let cases: &[Case] = &[
        ("another model", (at, 0), RESIDUAL, 0, |c| c.finding.claim.modelRoot.0[0] ^= 1, WrongClaim::SELECTOR),
        ("another position", (at, 0), RESIDUAL, 0, |c| c.finding.claim.position += 1, WrongClaim::SELECTOR),
        ("another layer", (at, 0), RESIDUAL, 0, |c| c.finding.claim.layer += 1, WrongClaim::SELECTOR),
        ("another token", (at, 0), RESIDUAL, 0, |c| c.finding.claim.token ^= 1, WrongClaim::SELECTOR),
        ("another token of the prompt", (2, 0), RESIDUAL, 0, |c| c.finding.claim.token ^= 1, WRONG_ROOT),
        ("another vector", (at, 0), RESIDUAL, 0, |c| c.finding.claim.vector += 1 << 40, NotSaid::SELECTOR),
        ("another element", (at, 0), RESIDUAL, 3, |c| c.finding.claim.claimed += 1, WrongClaim::SELECTOR),
        ("another state", (at, 1), RESIDUAL, 0, |c| c.finding.claim.state.0[0] ^= 1, WRONG_ROOT),
        ("the state of another chunk", (at, 1), RESIDUAL, 0, |c| c.finding.chunk.index = 1, WRONG_ROOT),
        ("a state where none is", (at, 0), RESIDUAL, 0, |c| c.finding.claim.state.0[0] ^= 1, WrongClaim::SELECTOR),
        ("an earlier state", (at, 1), SCORES, 2, |c| c.finding.claim.state.0[0] ^= 1, WRONG_ROOT),
        ("another input", (at, 1), SCORES, 2, |c| c.finding.claim.inputs[0].root.0[0] ^= 1, WrongClaim::SELECTOR),
        ("an input not said", (at, 1), SCORES, 2, |c| c.finding.claim.inputs[0].vector += 1, NotSaid::SELECTOR),
        ("another element before", (at, 1), TOTAL, 1, |c| c.finding.claim.previous += 1, WrongClaim::SELECTOR),
        ("another temperature", (at, 1), TOTAL, 1, |c| c.finding.claim.temperature += 1, WrongClaim::SELECTOR),
        ("another seed", (at, 1), TOTAL, 1, |c| c.finding.claim.seed += 1, WrongClaim::SELECTOR),
        ("another output", (at, 1), TOTAL, 1, |c| c.finding.claim.output += 1, WrongClaim::SELECTOR),
        ("other roots", (at, 0), RESIDUAL, 0, |c| c.finding.roots[0].roots[0].0[0] ^= 1, WrongSigner::SELECTOR),
        ("another request", (at, 0), RESIDUAL, 0, |c| c.words.request.seed += 1, NotOneLease::SELECTOR),
        ("another receipt", (at, 0), RESIDUAL, 0, |c| c.words.receipt.units += 1, WrongSigner::SELECTOR),
        ("another channel", (at, 0), RESIDUAL, 0, |c| c.words.channel.salt.0[0] ^= 1, NotOneLease::SELECTOR),
    ];
    let fits = |m: &Model| m.layers.len() == 2 && m.manifest.features.window == 0;
    let model = (0..).map(|seed| model(seed, false)).find(fits).expect("one in four does");
    let (mut chain, worker) = (Chain::of(&beginning().genesis()), Worker::new(model, params(), Lie::None));
    for (case, spot, name, index, change, error) in cases {
        let mut call = worker.convict(worker.finding(*spot, *name, *index, 0));
        refused::<NothingWrong>(&chain.attempt(&call), case);
        change(&mut call);
        let outcome = chain.attempt(&call);
        assert!(!outcome.success && outcome.output.starts_with(error), "{case}: {}", outcome.output);
    }
}
