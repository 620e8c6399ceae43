//! Whatever question the contract admits, the defender answers, and the contract takes the answer.

use super::worker::{Lie, NODE, PROMPT, UNITS, Worker, network};
use super::{Chain, Dice, game::question, model, params, worker::CHALLENGER};
use crate::bindings::{self as abi, *};
use crate::contracts::DISPUTE_QUESTIONS_AT;
use crate::limits::{TX_BYTES_MAX, TX_GAS_MAX};
use crate::tests::contracts::beginning;
use crate::tests::{address, key};
use alloy_primitives::{B256, Bytes};
use alloy_sol_types::SolCall;
use std::collections::BTreeMap;
use std::sync::Arc;
use talkoo_base::wire::VectorRoots as Stated;
use talkoo_base::{Digest, GenerateParams, Refusal, Signature};
use talkoo_exact::Model;
use talkoo_exact::steps::{ModelTree, Name, Place, Stage};
use talkoo_proof::dispute::{self, Defender, Rerun};

/// The worker's own run, again.
struct Run<'a>(&'a Worker, Arc<Model>, ModelTree);

impl Rerun for Run<'_> {
    fn model(&self) -> Arc<Model> {
        Arc::clone(&self.1)
    }

    fn tree(&self) -> &ModelTree {
        &self.2
    }

    fn states(&mut self) -> Result<Vec<Digest>, Refusal> {
        Ok(self.0.all_digests())
    }

    fn layer(&mut self, layer: usize, positions: usize) -> Result<Vec<Vec<u8>>, Refusal> {
        Ok(self.0.states[..positions].iter().map(|layers| layers[layer].clone()).collect())
    }

    fn diverged(&mut self) -> Result<Option<u64>, Refusal> {
        Ok(None)
    }
}

fn question_of(q: &Question) -> dispute::Question {
    let Question { chunk, position, layer, level, index, down, .. } = *q;
    match q.ask {
        Ask::Chunk => dispute::Question::Chunk { chunk, down },
        Ask::States => dispute::Question::States { chunk, level, index, down },
        Ask::State => dispute::Question::State { chunk, state: index },
        Ask::Roots => dispute::Question::Roots { position, layer, vectors: q.vectors.clone() },
        _ => {
            let (vector, root) = (q.vectors[0], Digest(q.root.0));
            dispute::Question::Vector { position, layer, vector, root, level, index, down }
        }
    }
}

fn words(digests: &[Digest]) -> Vec<B256> {
    digests.iter().map(|digest| digest.0.into()).collect()
}

fn said(roots: &Stated, signature: &Signature) -> abi::VectorRoots {
    let (position, layer, vectors) = (roots.position, roots.layer, roots.vectors.clone());
    let signature = signature.0.to_vec().into();
    abi::VectorRoots { position, layer, vectors, roots: words(&roots.roots), signature }
}

fn answer_of(answer: dispute::Answer) -> Answer {
    let none = Answer::default();
    match answer {
        dispute::Answer::Chunk { opening: o, nodes } => {
            let chunk = ChunkOpening {
                index: o.index,
                tokens: o.tokens.iter().flat_map(|token| token.to_be_bytes()).collect::<Vec<u8>>().into(),
                statesRoot: o.states_root.0.into(),
                logprobs: Bytes::from(o.logprobs),
                siblings: words(&o.siblings),
            };
            Answer { chunk, nodes: words(&nodes), ..none }
        }
        dispute::Answer::Nodes { nodes, siblings } => {
            Answer { nodes: words(&nodes), siblings: words(&siblings), ..none }
        }
        dispute::Answer::Bytes { bytes, siblings } => Answer { data: bytes.into(), siblings: words(&siblings), ..none },
        dispute::Answer::Roots { roots, signature } => Answer { roots: said(&roots, &signature), ..none },
    }
}

/// A number below a limit, at it or far off.
fn near(dice: &mut Dice, limit: u64) -> u64 {
    match dice.below(12) {
        0 => limit,
        1 => limit.wrapping_sub(1),
        2 => [u64::MAX, 1 << 63, 1 << 32, 255, limit + 1][dice.below(5)],
        3 => 0,
        _ => dice.next() % limit.max(1),
    }
}

struct Asker<'a> {
    dice: Dice,
    worker: &'a Worker,
    defender: Defender,
    run: Run<'a>,
}

impl Asker<'_> {
    fn near(&mut self, limit: usize) -> u64 {
        near(&mut self.dice, limit as u64)
    }

    fn spot(&mut self) -> (u32, u32) {
        let is_drawn = self.dice.below(3) == 0;
        let (end, layers) = (PROMPT + UNITS - 1, self.worker.layers());
        match is_drawn {
            true => ((PROMPT - 1 + self.dice.below(UNITS)) as u32, layers as u32 - 1),
            false => (self.near(end) as u32, self.near(layers) as u32),
        }
    }

    /// A vector's number that is one or looks like one.
    fn vector(&mut self, spot: (u32, u32)) -> u64 {
        let inside = (spot.0 as usize) < PROMPT + UNITS - 1 && (spot.1 as usize) < self.worker.layers();
        if !inside || self.dice.below(30) == 0 {
            return self.dice.next();
        }
        let steps = self.worker.steps(spot.0 as usize, spot.1 as usize);
        // One in ten of what no program has, for most pairs are that.
        let any = self.dice.below(10) == 0;
        let (place, stage, count) = loop {
            let place = Place::ALL[self.dice.below(Place::ALL.len())];
            let stage = Stage::ALL[self.dice.below(Stage::ALL.len())];
            let count = steps.program().count(place, stage);
            if any || count > 0 {
                break (place, stage, count);
            }
        };
        let sub = self.near(count) as u32;
        Name::of(place, stage, sub.wrapping_add(steps.program().first_sub(place))).number()
    }

    fn states(&mut self, ask: Ask) -> (Question, Support) {
        let chunk = self.dice.below(UNITS.div_ceil(32));
        let count = self.worker.state_leaves(chunk).len();
        let height = count.next_power_of_two().trailing_zeros() as usize;
        let level = self.near(height + 1) as u8;
        let opening = self.worker.chunk(chunk);
        let one = Question {
            chunk: if self.dice.below(20) == 0 { self.near(4) as u32 } else { chunk as u32 },
            root: opening.statesRoot,
            count: count as u64,
            level,
            index: if ask == Ask::State { self.near(count) } else { self.near((count >> level.min(20)) + 1) },
            down: self.near(if ask == Ask::Chunk { height + 1 } else { usize::from(level) + 1 }) as u8,
            ..question(ask)
        };
        (one, Support { chunk: opening, manifest: self.worker.manifest(), ..Support::default() })
    }

    fn question(&mut self) -> (Question, Support) {
        let manifest = self.worker.manifest();
        match self.dice.below(7) {
            0 => self.states(Ask::Chunk),
            1 => self.states(Ask::States),
            2 => self.states(Ask::State),
            3 | 4 => {
                let ((position, layer), most) = (self.spot(), [1, 4, 96, 97][self.dice.below(4)]);
                let mut vectors: Vec<u64> = (0..most).map(|_| self.vector((position, layer))).collect();
                if self.dice.below(10) == 0 {
                    let first = vectors[0];
                    vectors.fill(first);
                }
                let one = Question { position, layer, vectors, ..question(Ask::Roots) };
                (one, Support { manifest, ..Support::default() })
            }
            _ => self.numbers(manifest),
        }
    }

    /// About a vector whose root the defender itself says.
    fn numbers(&mut self, manifest: Tensor) -> (Question, Support) {
        let (position, layer) = self.spot();
        let vector = self.vector((position, layer));
        let roots = dispute::Question::Roots { position, layer, vectors: vec![vector] };
        let none = (question(Ask::Vector), Support::default());
        let Ok(dispute::Answer::Roots { roots, signature }) = self.defender.answer(&mut self.run, &roots) else {
            return none;
        };
        let steps = self.worker.steps(position as usize, layer as usize);
        let length = Name::from_number(vector).filter(|name| steps.program().exists(*name));
        let count = length.map_or(1, |name| steps.program().length(name));
        let height = count.div_ceil(32).next_power_of_two().trailing_zeros() as usize;
        let level = self.near(height + 1) as u8;
        let one = Question {
            position,
            layer,
            vectors: vec![vector],
            root: roots.roots[0].0.into(),
            count: count as u64,
            level,
            index: self.near((count.div_ceil(32) >> level.min(20)) + 1),
            down: self.near(usize::from(level) + 1) as u8,
            ..question(Ask::Vector)
        };
        (one, Support { roots: said(&roots, &signature), manifest, ..Support::default() })
    }
}

#[test]
fn what_may_be_asked_is_answered_and_the_answer_is_taken() {
    let mut chain = Chain::of(&beginning().genesis());
    let (mut admitted, mut refused) = (BTreeMap::<u8, u32>::new(), 0);
    let kinds = [
        params(),
        GenerateParams { temperature_q16: 0, ..params() },
        GenerateParams { top_k: 1, top_p_q16: 1, min_p_q16: 1 << 16, ..params() },
        GenerateParams { temperature_q16: 1, repeat_penalty_q16: 70_000, ..GenerateParams::default() },
        GenerateParams { temperature_q16: u32::MAX, top_k: u32::MAX, ..GenerateParams::default() },
    ];
    for (seed, kind) in (0..10).zip(kinds.iter().cycle()) {
        let (model, is_audit) = (model(seed, false), seed % 2 == 1);
        let (exact, tree) = (Arc::new(model.clone()), ModelTree::of(&model));
        let make = if is_audit { Worker::verifier } else { Worker::new };
        let worker = make(model, kind.clone(), Lie::None);
        let case = worker.case.clone().expect("it signed");
        let defender = Defender::new(case, network(), Arc::new(key(NODE)));
        let mut asker = Asker { dice: Dice(seed), worker: &worker, defender, run: Run(&worker, exact, tree) };
        for _ in 0..250 {
            let (question, support) = asker.question();
            let ask = worker.ask(B256::ZERO, question.clone(), support);
            if !chain.attempt_at(DISPUTE_QUESTIONS_AT, &ask).success {
                refused += 1;
                continue;
            }
            *admitted.entry(question.ask as u8).or_default() += 1;
            let said = asker.defender.answer(&mut asker.run, &question_of(&question));
            let said = said.unwrap_or_else(|why| panic!("seed {seed}: {question:?}: {why}"));
            let (words, challenger, what) = (worker.words.clone(), address(CHALLENGER), format!("{question:?}"));
            let said = answer_of(said);
            let denied = (0..said.roots.roots.len()).filter(|i| said.roots.roots[*i] == B256::ZERO);
            for index in denied.take(3) {
                let (roots, manifest, index) = (said.roots.clone(), worker.manifest(), index as u32);
                let finding = MissingFinding { roots, index, manifest, beneficiary: challenger };
                let outcome = chain.attempt(&worker.convict_missing(finding));
                assert!(!outcome.success, "seed {seed}: number {index} of {what} is denied");
            }
            let call = IDisputes::answerCall { words, challenger, question, said };
            let outcome = chain.attempt_at(DISPUTE_QUESTIONS_AT, &call);
            assert!(outcome.success, "seed {seed}: {what}: {}", outcome.output);
            assert!(outcome.gas_used < TX_GAS_MAX / 2 && call.abi_encode().len() < TX_BYTES_MAX / 2, "{what}");
        }
    }
    assert!(admitted.len() == 5 && admitted.values().all(|n| *n > 30), "{admitted:?}");
    assert!(refused > 100, "{refused}");
}
