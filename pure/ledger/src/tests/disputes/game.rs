//! A whole game on the chain, every question asked and answered, and the three ways it ends.

use super::super::referee::made_up::model;
use super::worker::{CHALLENGER, Lie, OPERATOR, Worker, leaves};
use super::{Chain, params};
use crate::bindings::*;
use crate::contracts::*;
use crate::tests::contracts::beginning;
use crate::tests::{address, sign};
use alloy_consensus::TxEip1559;
use alloy_primitives::{B256, TxKind, U256};
use alloy_sol_types::SolCall;
use talkoo_base::{Digest, merkle, sha256};
use talkoo_exact::steps::{Name, Place, Program, Stage, vector_root};

/// Who relays the worker's answers.
const RELAY: u8 = 0;

impl Chain {
    /// A chain on which the challenger can pay.
    fn with_challenger() -> Self {
        let mut chain = Self::of(&beginning().genesis());
        let amount = CreditAndGas { credit: 1_000_000, gas: 10u128.pow(18) };
        let grant = IFaucet::grantCall { account: address(CHALLENGER), invite: B256::ZERO, amount };
        assert!(chain.send(RELAY, FAUCET_AT, &grant, 0));
        chain
    }

    /// Calls the judge in a block of its own, `later` seconds on: gas, if it succeeded.
    fn judge<C: SolCall>(&mut self, who: u8, call: &C, later: u64) -> Option<u64> {
        let nonce = self.reader(|r| r.account(address(who))).unwrap().nonce;
        let transaction = TxEip1559 {
            chain_id: 825_566,
            nonce,
            gas_limit: 8_000_000,
            max_fee_per_gas: 1_000,
            to: TxKind::Call(DISPUTES_AT),
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        self.later = later;
        let (executed, refused) = self.extend(vec![sign(who, transaction)]);
        assert!(refused.is_empty(), "{refused:?}");
        executed.receipts[0].status().then(|| executed.receipts[0].cumulative_gas_used())
    }

    fn case(&mut self, worker: &Worker) -> (Turn, u8) {
        let case = self.ask(DISPUTES_AT, &IDisputes::casesCall { id: worker.id, challenger: address(CHALLENGER) });
        (case.turn, case.rounds)
    }

    fn credit_at_judge(&mut self, who: u8) -> u128 {
        self.ask(DISPUTES_AT, &IDisputes::creditCall { account: address(who) }).to()
    }

    /// Asks, and has it answered.
    fn round(&mut self, worker: &Worker, Move { what, question, support, said }: Move) -> [u64; 2] {
        let separator = self.ask(CREDIT_AT, &IToken::DOMAIN_SEPARATORCall {});
        let asked = self.judge(CHALLENGER, &worker.ask(separator, question.clone(), support), 1);
        let (words, challenger) = (worker.words.clone(), address(CHALLENGER));
        let answered = self.judge(RELAY, &IDisputes::answerCall { words, challenger, question, said }, 1);
        [asked, answered].map(|gas| gas.unwrap_or_else(|| panic!("{what}: {asked:?} {answered:?}")))
    }
}

impl Worker {
    pub(super) fn ask(&self, separator: B256, question: Question, support: Support) -> IDisputes::askCall {
        let (words, signatures) = (self.words.clone(), self.signatures.clone());
        IDisputes::askCall { words, signatures, question, support, bond: self.bond(separator, address(CHALLENGER)) }
    }
}

pub(super) fn question(ask: Ask) -> Question {
    Question {
        ask,
        chunk: 0,
        position: 0,
        layer: 0,
        vectors: Vec::new(),
        root: B256::ZERO,
        count: 0,
        level: 0,
        index: 0,
        down: 0,
    }
}

/// The levels of a tree, from the leaves up.
fn levels(leaves: Vec<Digest>) -> Vec<Vec<Digest>> {
    let mut levels = vec![leaves];
    while levels[levels.len() - 1].len() > 1 {
        let node = |pair: &[Digest]| {
            if let [left, right] = pair { sha256(&[&[1], &left.0, &right.0]) } else { pair[0] }
        };
        levels.push(levels[levels.len() - 1].chunks(2).map(node).collect());
    }
    levels
}

/// The nodes `down` levels below a node, and its siblings.
fn window(levels: &[Vec<Digest>], level: usize, index: usize, down: usize) -> Answer {
    let nodes = levels[level - down].chunks(1 << down).nth(index).expect("there is such a node");
    let siblings = merkle::open(&levels[level], index).expect("there is such a node").siblings;
    let words = |digests: &[Digest]| digests.iter().map(|d| B256::from(d.0)).collect();
    Answer { nodes: words(nodes), siblings: words(&siblings), ..Answer::default() }
}

/// A question, what shows that it can be asked, and its answer.
pub(super) struct Move {
    pub(super) what: &'static str,
    pub(super) question: Question,
    pub(super) support: Support,
    pub(super) said: Answer,
}

/// All questions about the state of one position in layer 1, as one who searches asks them.
pub(super) fn moves(worker: &Worker) -> [Move; 6] {
    let (position, layer) = (7, 1);
    let tree = levels(worker.state_leaves(0));
    let (height, count) = (tree.len() - 1, tree[0].len() as u64);
    let (chunk, manifest) = (worker.chunk(0), worker.manifest());
    let number = position * worker.layers() + layer;
    let with_manifest = Support { manifest: manifest.clone(), ..Support::default() };
    let with_chunk = Support { chunk: chunk.clone(), ..with_manifest.clone() };
    let (level, root) = (height - 3, chunk.statesRoot);
    let index = number >> level;
    let mut steps = worker.steps(position, layer);
    let names = some(steps.program());
    let roots: Vec<(u64, B256)> =
        names.iter().map(|name| (name.number(), vector_root(*name, &steps.vector(*name)).0.into())).collect();
    let said = worker.said(position, layer, &roots);
    let with_roots = Support { roots: said.clone(), manifest, ..Support::default() };
    let vector = steps.vector(Name::out(Place::Output));
    let vector_tree = levels(leaves(Name::out(Place::Output), &vector));
    let top = vector_tree.len() - 1;
    let here = Question { position: 7, layer: 1, ..question(Ask::Roots) };
    let of_vector = Question {
        vectors: vec![roots[95].0],
        root: roots[95].1,
        count: vector.len() as u64,
        ask: Ask::Vector,
        ..here.clone()
    };
    // The last leaf is the odd one.
    let data: Vec<u8> = vector[128..].iter().flat_map(|e| e.to_be_bytes()).collect();
    [
        Move {
            what: "Chunk",
            question: Question { count, down: 3, ..question(Ask::Chunk) },
            support: with_manifest.clone(),
            said: Answer { chunk, ..window(&tree, height, 0, 3) },
        },
        Move {
            what: "States",
            question: Question {
                count,
                root,
                level: level as u8,
                index: index as u64,
                down: level as u8,
                ..question(Ask::States)
            },
            support: with_chunk.clone(),
            said: window(&tree, level, index, level),
        },
        Move {
            what: "State",
            question: Question { count, root, index: number as u64, ..question(Ask::State) },
            support: with_chunk,
            said: Answer {
                data: worker.states[position][layer].clone().into(),
                siblings: worker.state_siblings(position, layer),
                ..Answer::default()
            },
        },
        Move {
            what: "Roots of 96",
            question: Question { vectors: said.vectors.clone(), ..here },
            support: with_manifest,
            said: Answer { roots: said, ..Answer::default() },
        },
        Move {
            what: "Vector, nodes",
            question: Question { level: top as u8, down: 1, ..of_vector.clone() },
            support: with_roots.clone(),
            said: window(&vector_tree, top, 0, 1),
        },
        Move {
            what: "Vector, numbers",
            question: Question { level: 2, index: 1, ..of_vector },
            support: with_roots,
            said: Answer { nodes: Vec::new(), data: data.into(), ..window(&vector_tree, 2, 1, 0) },
        },
    ]
}

/// Every question about nodes or numbers of a vector.
pub(super) fn windows(worker: &Worker, spot: (usize, usize), name: Name, vector: &[i128]) -> Vec<Move> {
    let (tree, root) = (levels(leaves(name, vector)), vector_root(name, vector).0.into());
    let roots = worker.said(spot.0, spot.1, &[(1, B256::ZERO), (name.number(), root)]);
    let support = Support { roots, manifest: worker.manifest(), ..Support::default() };
    let mut moves = Vec::new();
    for level in 0..tree.len() {
        let downs = (1..=level).chain((level <= 2).then_some(0));
        for (down, index) in downs.flat_map(|down| (0..tree[level].len()).map(move |index| (down, index))) {
            let question = Question {
                position: spot.0 as u32,
                layer: spot.1 as u32,
                vectors: vec![name.number()],
                root,
                count: vector.len() as u64,
                level: level as u8,
                index: index as u64,
                down: down as u8,
                ..question(Ask::Vector)
            };
            let mut said = window(&tree, level, index, down);
            if down == 0 {
                let part = vector.chunks(32 << level).nth(index).expect("there is such a node");
                let data: Vec<u8> = part.iter().flat_map(|e| e.to_be_bytes()).collect();
                said = Answer { nodes: Vec::new(), data: data.into(), ..said };
            }
            moves.push(Move { what: "Vector", question, support: support.clone(), said });
        }
    }
    moves
}

/// As many vectors as one question may name: the first of all, and Output.
fn some(program: &Program<'_>) -> Vec<Name> {
    let mut names = Vec::new();
    for place in Place::ALL {
        for stage in Stage::ALL {
            let subs = program.first_sub(place)..;
            names.extend(subs.take(program.count(place, stage)).map(|sub| Name::of(place, stage, sub)));
        }
    }
    names.truncate(95);
    names.push(Name::out(Place::Output));
    names
}

/// Plays all of them; gas of asking and answering.
fn questions(chain: &mut Chain, worker: &Worker) -> Vec<(&'static str, [u64; 2])> {
    moves(worker).into_iter().map(|m| (m.what, chain.round(worker, m))).collect()
}

/// A model with vectors of five leaves.
pub(super) fn wide() -> talkoo_exact::Model {
    let fits = |m: &talkoo_exact::Model| m.manifest.architecture.embedding == 160 && m.layers.len() == 2;
    (0..).map(|seed| model(seed, false)).find(fits).expect("one in three does")
}

#[test]
fn every_question_is_answered_and_a_challenger_who_finds_nothing_pays() {
    let (mut chain, worker) = (Chain::with_challenger(), Worker::new(wide(), params(), Lie::None));
    let gas = questions(&mut chain, &worker);
    for (what, [asked, answered]) in &gas {
        println!("{what}: asked {asked}, answered {answered}");
    }
    assert_eq!(chain.case(&worker), (Turn::Ask, 6));
    let lapse = IDisputes::lapseCall { words: worker.words.clone(), challenger: address(CHALLENGER) };
    assert!(chain.judge(RELAY, &lapse, 1).is_none(), "the challenger has its time");
    println!("lapse: {:?}", chain.judge(RELAY, &lapse, ANSWER_S));
    assert_eq!(chain.case(&worker).0, Turn::Acquitted);
    assert_eq!((chain.credit_at_judge(OPERATOR), chain.credit_at_judge(CHALLENGER)), (DISPUTE_BOND, 0));
}

#[test]
fn a_game_ends_with_one_number() {
    let (mut chain, worker) = (Chain::with_challenger(), Worker::new(wide(), params(), Lie::None));
    questions(&mut chain, &worker);
    let finding = worker.finding((7, 1), Name::of(Place::Down, Stage::Sums, 3), 1, 1);
    let finding = Finding { beneficiary: address(9), ..finding };
    println!("convictElement: {:?}", chain.judge(CHALLENGER, &worker.convict(finding), 1));
    assert_eq!(chain.case(&worker).0, Turn::Guilty);
    assert_eq!(chain.credit_at_judge(CHALLENGER), DISPUTE_BOND);
    let guilt = chain.ask(DISPUTES_AT, &IDisputes::guiltsCall { lease: worker.lease });
    // 5 tokens at 1 and 98 at 2; whose case it was gets the share, whoever the finding names.
    assert_eq!((guilt.operator, guilt.beneficiary), (address(OPERATOR), address(CHALLENGER)));
    assert_eq!(guilt.refund, U256::from(201));
    // 2 * 201 / 0.021 of a bond of 10^9 is less than a ten-thousandth of it.
    let stake = chain.ask(STAKING_AT, &IStaking::stakesCall { operator: address(OPERATOR) });
    assert_eq!(stake.bonded, VALIDATOR_BOND_MIN - VALIDATOR_BOND_MIN / 10_000);
    let share = chain.ask(STAKING_AT, &IStaking::creditCall { account: address(CHALLENGER) });
    assert_eq!(share, U256::from(VALIDATOR_BOND_MIN / 20_000));
    let again = worker.convict(worker.finding((7, 1), Name::out(Place::Query), 1, 1));
    assert!(chain.judge(CHALLENGER, &again, 1).is_none(), "once for a lease");
}

#[test]
fn silence_loses() {
    let (mut chain, worker) = (Chain::with_challenger(), Worker::new(wide(), params(), Lie::None));
    let separator = chain.ask(CREDIT_AT, &IToken::DOMAIN_SEPARATORCall {});
    let count = worker.state_leaves(0).len() as u64;
    let support = Support { manifest: worker.manifest(), ..Support::default() };
    let ask = worker.ask(separator, Question { count, ..question(Ask::Chunk) }, support);
    assert!(chain.judge(RELAY, &ask, 1).is_none(), "the bond is for the challenger's question alone");
    assert!(chain.judge(CHALLENGER, &ask, 1).is_some());
    let timeout = IDisputes::timeoutCall { words: worker.words.clone(), challenger: address(CHALLENGER) };
    assert!(chain.judge(RELAY, &timeout, ANSWER_S - 1).is_none());
    println!("timeout: {:?}", chain.judge(RELAY, &timeout, 1));
    assert_eq!(chain.case(&worker).0, Turn::Guilty);
    assert_eq!(chain.credit_at_judge(CHALLENGER), DISPUTE_BOND);
    assert!(chain.ask(STAKING_AT, &IStaking::isPunishedCall { evidence: worker.lease }));
}
