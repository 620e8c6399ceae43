//! What cannot be asked, and what answers nothing.

use super::Chain;
use super::game::{moves, wide};
use super::params;
use super::worker::{CHALLENGER, Lie, PROMPT, UNITS, Worker};
use crate::bindings::*;
use crate::contracts::DISPUTE_QUESTIONS_AT;
use crate::tests::address;
use crate::tests::contracts::beginning;
use IDisputes::{Diverged, NotJudged, NotOneLease, OutsideTrace, TooLong, WrongAnswer, WrongQuestion, WrongSigner};
use IReferee::{IndexOutOfRange, LeafOutOfRange, WrongLength, WrongPath, WrongRoot};
use alloy_primitives::B256;
use alloy_sol_types::SolError;
use talkoo_base::GenerateParams;
use talkoo_exact::steps::{Name, Place, Stage};

// Numbers of the moves.
const CHUNK: usize = 0;
const STATES: usize = 1;
const STATE: usize = 2;
const ROOTS: usize = 3;
const NODES: usize = 4;
const NUMBERS: usize = 5;

#[test]
fn what_an_honest_worker_could_not_answer_is_no_question() {
    type Change = fn(&mut IDisputes::askCall);
    let cases: &[(&str, usize, Change, [u8; 4])] = &[
        ("a chunk behind the last", CHUNK, |c| c.question.chunk = 4, LeafOutOfRange::SELECTOR),
        ("a chunk of another count", CHUNK, |c| c.question.count += 1, WrongQuestion::SELECTOR),
        ("nodes below the leaves", CHUNK, |c| c.question.down = 9, WrongQuestion::SELECTOR),
        ("another root of states", STATES, |c| c.question.root.0[0] ^= 1, WrongQuestion::SELECTOR),
        ("states of another chunk", STATES, |c| c.question.chunk = 1, WrongQuestion::SELECTOR),
        ("a node of a level that is not", STATES, |c| c.question.level = 12, WrongQuestion::SELECTOR),
        ("a node behind the last", STATES, |c| c.question.index = 99, WrongQuestion::SELECTOR),
        ("no levels down", STATES, |c| c.question.down = 0, WrongQuestion::SELECTOR),
        ("nodes below the leaves", STATES, |c| c.question.down += 1, WrongQuestion::SELECTOR),
        ("a state behind the last", STATE, |c| c.question.index = c.question.count, WrongQuestion::SELECTOR),
        ("a state of another chunk", STATE, |c| c.support.chunk.statesRoot.0[0] ^= 1, WrongRoot::SELECTOR),
        ("a position behind the last", ROOTS, |c| c.question.position = END, OutsideTrace::SELECTOR),
        ("a layer behind the last", ROOTS, |c| c.question.layer = 2, IndexOutOfRange::SELECTOR),
        ("no vectors", ROOTS, |c| c.question.vectors.clear(), WrongQuestion::SELECTOR),
        ("too many vectors", ROOTS, |c| c.question.vectors.push(1), WrongQuestion::SELECTOR),
        ("a vector of another root", NODES, |c| c.question.root.0[0] ^= 1, WrongQuestion::SELECTOR),
        ("a vector of no root", NODES, deny, WrongSigner::SELECTOR),
        ("two vectors", NODES, |c| c.question.vectors.push(1), WrongQuestion::SELECTOR),
        ("a vector that was not said", NODES, |c| c.question.vectors[0] = 28 << 40, WrongQuestion::SELECTOR),
        ("a vector of another length", NODES, |c| c.question.count += 32, WrongQuestion::SELECTOR),
        ("a vector of another position", NODES, |c| c.question.position += 1, WrongQuestion::SELECTOR),
        ("a vector of another layer", NODES, |c| c.question.layer = 0, WrongQuestion::SELECTOR),
        ("roots that nobody signed", NODES, |c| c.support.roots.roots[0].0[0] ^= 1, WrongSigner::SELECTOR),
        ("all numbers at once", NUMBERS, |c| (c.question.level, c.question.index) = (3, 0), WrongQuestion::SELECTOR),
        ("numbers behind the last", NUMBERS, |c| c.question.index = 2, WrongQuestion::SELECTOR),
        ("another model", CHUNK, |c| c.support.manifest.data = flipped(&c.support.manifest.data), WrongRoot::SELECTOR),
        ("another request", CHUNK, |c| c.words.request.seed += 1, NotOneLease::SELECTOR),
        ("another operator", CHUNK, |c| c.words.receipt.operator = address(9), NotOneLease::SELECTOR),
        ("another client", CHUNK, |c| c.signatures.request = c.signatures.receipt.clone(), WrongSigner::SELECTOR),
        ("another node", CHUNK, |c| c.signatures.receipt = c.signatures.request.clone(), WrongSigner::SELECTOR),
    ];
    let mut chain = Chain::of(&beginning().genesis());
    let worker = Worker::new(wide(), params(), Lie::None);
    for (case, number, change, error) in cases {
        let one = moves(&worker).into_iter().nth(*number).expect("there is such a move");
        let mut call = worker.ask(B256::ZERO, one.question, one.support);
        assert!(chain.attempt_at(DISPUTE_QUESTIONS_AT, &call).success, "before: {case}");
        change(&mut call);
        let outcome = chain.attempt_at(DISPUTE_QUESTIONS_AT, &call);
        assert!(!outcome.success && outcome.output.starts_with(error), "{case}: {}", outcome.output);
    }
}

/// One past the last position of the trace.
const END: u32 = (PROMPT + UNITS - 1) as u32;

fn deny(call: &mut IDisputes::askCall) {
    call.question.root = B256::ZERO;
    call.support.roots.roots[95] = B256::ZERO;
}

fn flipped(bytes: &[u8]) -> alloy_primitives::Bytes {
    let mut bytes = bytes.to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes.into()
}

#[test]
fn what_the_node_denied_is_not_asked_about() {
    let mut chain = Chain::of(&beginning().genesis());
    let worker = Worker::new(wide(), params(), Lie::None);
    let [.., one] = moves(&worker);
    let vector = one.question.vectors[0];
    let mut asked = |root: B256| {
        let support = Support { roots: worker.said(7, 1, &[(vector, root)]), ..one.support.clone() };
        let question = Question { root, ..one.question.clone() };
        chain.attempt_at(DISPUTE_QUESTIONS_AT, &worker.ask(B256::ZERO, question, support))
    };
    assert!(asked(one.question.root).success);
    super::refused::<WrongQuestion>(&asked(B256::ZERO), "a root of zero");
}

#[test]
fn an_order_of_another_kind_is_not_judged() {
    let mut chain = Chain::of(&beginning().genesis());
    let logprobs = GenerateParams { top_logprobs: Some(2), ..params() };
    for (what, worker) in [
        ("float", Worker::new(wide(), params(), Lie::Float)),
        ("log probabilities that a verifier does not keep", Worker::verifier(wide(), logprobs, Lie::None)),
    ] {
        let [first, ..] = moves(&worker);
        let outcome = chain.attempt(&worker.ask(B256::ZERO, first.question, first.support));
        super::refused::<NotJudged>(&outcome, what);
    }
    let worker = Worker::verifier(wide(), params(), Lie::Diverged);
    let outcome = chain.attempt(&worker.convict(worker.finding((3, 0), Name::out(Place::Query), 1, 1)));
    super::refused::<Diverged>(&outcome, "a verifier that found another token");
    // For a worker's own answer there is no such word, and so no way out.
    let worker = Worker::new(wide(), params(), Lie::Diverged);
    super::convicted(
        &chain.attempt(&worker.convict(worker.finding((3, 0), Name::out(Place::Query), 1, 1))),
        "diverged",
    );
    let worker = Worker::new(wide(), params(), Lie::Stranger);
    let [first, ..] = moves(&worker);
    let outcome = chain.attempt(&worker.ask(B256::ZERO, first.question, first.support));
    super::refused::<NotOneLease>(&outcome, "an order to another node");
}

#[test]
fn what_says_nothing_new_is_no_answer() {
    type Change = fn(&mut IDisputes::answerCall);
    let cases: &[(&str, usize, Change, [u8; 4])] = &[
        ("another chunk", CHUNK, |c| c.said.chunk.index = 1, WrongAnswer::SELECTOR),
        ("another token", CHUNK, |c| c.said.chunk.tokens = flipped(&c.said.chunk.tokens), WrongRoot::SELECTOR),
        ("log probabilities", CHUNK, |c| c.said.chunk.logprobs = vec![1].into(), WrongRoot::SELECTOR),
        (
            "more log probabilities than any",
            CHUNK,
            |c| c.said.chunk.logprobs = vec![1; 5_377].into(),
            TooLong::SELECTOR,
        ),
        ("a state longer than any", STATE, |c| c.said.data = vec![1; 100_001].into(), TooLong::SELECTOR),
        ("another node of states", CHUNK, |c| c.said.nodes[0].0[0] ^= 1, WrongRoot::SELECTOR),
        ("a node too few", CHUNK, |c| c.said.nodes.truncate(1), WrongLength::SELECTOR),
        ("another node", STATES, |c| c.said.nodes[0].0[0] ^= 1, WrongRoot::SELECTOR),
        ("a node too many", STATES, |c| c.said.nodes.push(B256::ZERO), WrongLength::SELECTOR),
        ("a sibling too few", STATES, |c| c.said.siblings.truncate(1), WrongPath::SELECTOR),
        ("another state", STATE, |c| c.said.data = flipped(&c.said.data), WrongRoot::SELECTOR),
        ("another sibling", STATE, |c| c.said.siblings[0].0[0] ^= 1, WrongRoot::SELECTOR),
        ("another root", ROOTS, |c| c.said.roots.roots[0].0[0] ^= 1, WrongSigner::SELECTOR),
        ("roots of other vectors", ROOTS, |c| c.said.roots.vectors[0] ^= 1, WrongAnswer::SELECTOR),
        ("roots of another position", ROOTS, |c| c.said.roots.position += 1, WrongAnswer::SELECTOR),
        ("a root too few", ROOTS, |c| c.said.roots.roots.truncate(95), WrongLength::SELECTOR),
        ("another node of a vector", NODES, |c| c.said.nodes[0].0[0] ^= 1, WrongRoot::SELECTOR),
        ("another number", NUMBERS, |c| c.said.data = flipped(&c.said.data), WrongRoot::SELECTOR),
        ("a number too few", NUMBERS, |c| c.said.data.truncate(16), WrongLength::SELECTOR),
        ("a receipt of another request", STATE, |c| c.words.request.seed += 1, NotOneLease::SELECTOR),
    ];
    let mut chain = Chain::of(&beginning().genesis());
    let worker = Worker::new(wide(), params(), Lie::None);
    for (case, number, change, error) in cases {
        let one = moves(&worker).into_iter().nth(*number).expect("there is such a move");
        let (words, challenger) = (worker.words.clone(), address(CHALLENGER));
        let mut call = IDisputes::answerCall { words, challenger, question: one.question, said: one.said };
        assert!(chain.attempt_at(DISPUTE_QUESTIONS_AT, &call).success, "before: {case}");
        change(&mut call);
        let outcome = chain.attempt_at(DISPUTE_QUESTIONS_AT, &call);
        assert!(!outcome.success && outcome.output.starts_with(error), "{case}: {}", outcome.output);
    }
}

#[test]
fn every_window_of_a_vector_is_answered() {
    let mut chain = Chain::of(&beginning().genesis());
    let worker = Worker::new(wide(), params(), Lie::None);
    let (position, layer) = (PROMPT, worker.layers() - 1);
    let mut steps = worker.steps(position, layer);
    // Vectors of 1, 2, 3, 5 and more leaves.
    let names = [
        Name::of(Place::Sampler, Stage::Kept, 0),
        Name::out(Place::Logits),
        Name::out(Place::Output),
        Name::out(Place::Product),
        Name::of(Place::Row, Stage::Out, position as u32),
    ];
    for name in names {
        let vector = steps.vector(name);
        for one in super::game::windows(&worker, (position, layer), name, &vector) {
            let ask = worker.ask(B256::ZERO, one.question.clone(), one.support);
            let outcome = chain.attempt_at(DISPUTE_QUESTIONS_AT, &ask);
            assert!(outcome.success, "{name:?} {:?}: {}", one.question, outcome.output);
            let (words, challenger) = (worker.words.clone(), address(CHALLENGER));
            let answer = IDisputes::answerCall { words, challenger, question: one.question.clone(), said: one.said };
            let outcome = chain.attempt_at(DISPUTE_QUESTIONS_AT, &answer);
            assert!(outcome.success, "{name:?} {:?}: {}", one.question, outcome.output);
        }
    }
}
