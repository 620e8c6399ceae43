//! Workers of made-up models that lie in one thing, and a challenger that runs the model they promised.

#[path = "../../../../exact/src/tests/made_up.rs"]
mod made_up;
mod scalar;

use super::bench::VECTOR;
use super::*;
use crate::commit::{output_root, prompt_root, trace_id, trace_root};
use made_up::{Dice, model};
use scalar::{Fault, Scalar};
use talkoo_base::wire::{Sealed, Typed};
use talkoo_base::{
    Address, Amount, AuditPolicy, ChannelConfig, Finish, GenerateParams, Kind, Limits, Network, Price, Receipt,
    Request, SecretKey, Signed, Signer, Tier, Unit, Unix, Work, merkle, recover, sha256,
};
use talkoo_exact::Model;
use talkoo_exact::steps::{Place, Stage};
use talkoo_exact::trace::chunk_digest;

const PROMPT: usize = 5;

fn key(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

/// A lease of the model that `promised` names, worked on by `worker`, with the tokens that it gave.
fn case(promised: &Model, worker: &mut Scalar, units: usize, params: &GenerateParams) -> Case {
    let (network, client, node) = (Network::local("test"), key(1), key(2));
    let (prompt_salt, trace_salt, seed) = (Digest([3; 32]), Digest([4; 32]), 77);
    let prompt = worker.tokens[..PROMPT].to_vec();
    worker.generate(units, params, seed);
    let output = worker.tokens[PROMPT..].to_vec();
    let root = prompt_root(&prompt_salt, &prompt);
    let (program, tier) = (promised.root(), Tier::Exact);
    let work =
        Work { kind: talkoo_base::Kind::Generate, program, tier, prompt: prompt.clone(), params: params.clone(), seed };
    let channel = ChannelConfig {
        payer: Address([8; 20]),
        payer_authorizer: client.address(),
        receiver: network.contracts.vault,
        receiver_authorizer: node.address(),
        token: network.contracts.token,
        withdraw_delay: 900,
        salt: Digest([9; 32]),
    };
    let request = Request {
        version: 1,
        kind: Kind::Generate,
        job: Digest([5; 32]),
        program,
        inputs: vec![root, trace_id(&trace_salt, &root, &work)],
        params: params.to_bytes(),
        limits: Limits { input_units: PROMPT as u64, output_units: units as u64, state_bytes: 0 },
        seed,
        audit_commit: Digest([6; 32]),
        audit: AuditPolicy::Own,
        price: Price { input: 1, output: 1 },
        deadline: Unix(1_000),
        worker: node.address(),
        channel: channel.id(&network),
    };
    let states = worker.states().unwrap();
    let shape = Shape { prompt: PROMPT, units, layers: promised.layers.len() };
    let chunk = |chunk: usize| {
        let root = talkoo_exact::trace::states_root(&states[shape.states(chunk)]);
        chunk_digest(&request.inputs[1], chunk as u32, &output[shape.tokens(chunk)], &root)
    };
    let digests: Vec<Digest> = (0..shape.chunks()).map(chunk).collect();
    let receipt = Receipt {
        version: 1,
        tier: Tier::Exact,
        request: request.digest(&network),
        unit: Unit::Token,
        units: units as u64,
        output_root: output_root(&trace_salt, &output),
        trace_root: trace_root(&digests),
        build: Digest::ZERO,
        operator: node.address(),
        node: node.address(),
        channel: request.channel,
        cumulative: Amount(1),
        finish: Finish::Length,
    };
    let request = Sealed::from(&Signed::new(request, &network, &client));
    let receipt = Sealed::from(&Signed::new(receipt, &network, &node));
    Case { request, receipt, channel, prompt_salt, trace_salt, prompt, output, digests, logprobs: Vec::new() }
}

/// The same lease as an audit's: the worker re-ran the output for somebody, and told nothing but its receipt.
fn audited(mut case: Case, told: &[u32]) -> Case {
    let (network, client, node) = (Network::local("test"), key(1), key(2));
    let mut request = case.request.body;
    request.inputs.push(output_root(&case.trace_salt, told));
    request.limits.input_units += told.len() as u64;
    let receipt = Receipt { request: request.digest(&network), ..case.receipt.body };
    case.request = Sealed::from(&Signed::new(request, &network, &client));
    case.receipt = Sealed::from(&Signed::new(receipt, &network, &node));
    case
}

/// How a dispute went: the questions, and the end.
fn play(case: &Case, honest: &mut Scalar, worker: &mut Scalar) -> (Vec<Question>, Move) {
    let network = Network::local("test");
    let mut challenger = Challenger::new(case.clone(), network.clone());
    let mut defender = Defender::new(case.clone(), network, Arc::new(key(2)));
    let mut questions = Vec::new();
    loop {
        match challenger.next(honest).unwrap() {
            Move::Ask(question) => {
                let answer = defender.answer(worker, &question).unwrap();
                let bytes = talkoo_base::wire::encode(&answer);
                assert_eq!(talkoo_base::wire::decode_shape::<Answer>(&bytes).unwrap(), answer);
                questions.push(question);
                challenger.hear(honest, answer).unwrap();
            }
            end => return (questions, end),
        }
    }
}

fn tokens(dice: &mut Dice, model: &Model, count: usize) -> Vec<u32> {
    (0..count).map(|_| dice.below(model.manifest.architecture.vocabulary) as u32).collect()
}

/// Checks a finding as somebody who knows only request and receipt, but for the recomputation of the element.
fn check(case: &Case, finding: &Finding) {
    let network = Network::local("test");
    let receipt = case.receipt.body.digest(&network);
    let signed = |(roots, signature): &(VectorRoots, Signature)| {
        assert_eq!(recover(&roots.digest(&network), signature), Ok(case.request.body.worker));
        assert_eq!(roots.receipt, receipt);
    };
    let opened = |chunk: &ChunkOpening| {
        let inner = chunk_digest(&case.request.body.inputs[1], chunk.index, &chunk.tokens, &chunk.states_root);
        let count = case.output.len().div_ceil(32) as u64;
        let path = merkle::Path { index: chunk.index.into(), count, siblings: chunk.siblings.clone() };
        let leaf = merkle::leaf("talkoo/trace/1", &inner.0);
        assert_eq!(merkle::root_of_path("talkoo/trace/1", leaf, &path), Some(case.receipt.body.trace_root));
    };
    match finding {
        Finding::Element(found) => {
            found.roots.iter().for_each(signed);
            let root = |vector: u64| found.roots.iter().find_map(|(roots, _)| roots.root(vector));
            let earlier = |name: Name| name.place == Place::Row && name.sub < found.position;
            for opening in found.witness.openings.iter().filter(|opening| !earlier(opening.name)) {
                assert_eq!(root(opening.name.number()), Some(opening.root), "{:?}", opening.name);
            }
            for (leaf, is_before) in found.leaf.iter().map(|l| (l, false)).chain(found.before.iter().map(|l| (l, true)))
            {
                let bytes = [&found.name.number().to_be_bytes()[..], &leaf.elements].concat();
                assert_eq!(found.index / 32, leaf.leaf + u32::from(is_before));
                let at = |i: usize| i128::from_be_bytes(leaf.elements[16 * i..][..16].try_into().unwrap());
                match (is_before, found.index as usize % 32) {
                    (true, i) => assert_eq!((i, at(31)), (0, found.previous)),
                    (false, i) => {
                        assert_eq!(at(i), found.claimed);
                        assert!(i == 0 || at(i - 1) == found.previous);
                    }
                }
                let leaves = merkle::leaf(VECTOR, &bytes);
                let (index, siblings) = (leaf.leaf.into(), leaf.siblings.clone());
                let opens = |count| {
                    let path = merkle::Path { index, count, siblings: siblings.clone() };
                    merkle::root_of_path(VECTOR, leaves, &path) == root(found.name.number())
                };
                assert!((index + 1..200).any(opens), "a leaf of {:?}", found.name);
            }
            assert_eq!(found.leaf.is_none(), (found.name.place, found.name.stage) == (Place::Sampler, Stage::Out));
            found.in_chunk.iter().for_each(|at| opened(&at.chunk));
            if let TokenProof::Output(chunk) = &found.shown {
                opened(chunk);
            }
            assert_eq!(found.in_chunk.is_some(), found.state != Digest::ZERO);
            assert_eq!(found.witness.state.is_empty(), found.state == Digest::ZERO);
        }
        Finding::State(torn) => {
            signed(&torn.roots);
            opened(&torn.in_chunk.chunk);
            let leaf = merkle::leaf("talkoo/states/1", &sha256(&[&torn.bytes]).0);
            let opens = |count| {
                let path = merkle::Path { index: torn.state, count, siblings: torn.in_chunk.siblings.clone() };
                merkle::root_of_path("talkoo/states/1", leaf, &path) == Some(torn.in_chunk.chunk.states_root)
            };
            assert!((torn.state + 1..1_000).any(opens));
        }
        Finding::Output { chunk, .. } => opened(chunk),
        Finding::Missing { roots, .. } => signed(roots),
    }
}

/// What a worker does to its model, and where a challenger has to find it.
type Lie = (&'static str, fn(&mut Model, usize), &'static [Place]);

const LIES: &[Lie] = &[
    ("embedding", |m, _| m.embedding.ew.iter_mut().for_each(|e| *e += 1), &[Place::Residual]),
    ("norm", |m, l| m.layers[l].attention_norm.iter_mut().for_each(|g| *g ^= 64), &[Place::AttentionNorm]),
    ("query", |m, l| m.layers[l].query.ew.iter_mut().for_each(|e| *e += 1), &[Place::Query]),
    ("one key", |m, l| m.layers[l].key.codes.iter_mut().for_each(|c| *c ^= 1), &[Place::Key]),
    ("value", |m, l| m.layers[l].value.sw.iter_mut().for_each(|s| *s ^= 1), &[Place::Value]),
    ("out", |m, l| m.layers[l].attention_output.sw.iter_mut().for_each(|s| *s ^= 1), &[Place::AttentionOutput]),
    ("second norm", |m, l| m.layers[l].feed_forward_norm[0] ^= 1 << 14, &[Place::FeedForwardNorm]),
    ("gate", |m, l| m.layers[l].gate.codes.iter_mut().for_each(|c| *c ^= 1), &[Place::Gate]),
    ("up", |m, l| m.layers[l].up.ew.iter_mut().for_each(|e| *e -= 1), &[Place::Up]),
    ("down", |m, l| m.layers[l].down.ew.iter_mut().for_each(|e| *e += 1), &[Place::Down]),
    ("epsilon", |m, _| m.manifest.epsilon ^= 1 << 55, &[Place::AttentionNorm]),
    (
        "frequencies",
        |m, _| m.manifest.frequencies.iter_mut().for_each(|f| *f ^= 1 << 62),
        &[Place::QueryTurned, Place::KeyTurned],
    ),
    ("scale", |m, _| m.manifest.score_scale ^= 1 << 20, &[Place::Attention]),
];

#[test]
fn whoever_runs_another_program_is_convicted_where_it_differs() {
    let (mut found, mut most) = (0, 0);
    for seed in 0..3 {
        let dice = &mut Dice(seed);
        let promised = Arc::new(model(seed, false));
        for (what, lie, places) in LIES {
            let mut false_model = (*promised).clone();
            lie(&mut false_model, 0);
            let units = [1, 3, 33, 40][dice.below(4)];
            let prompt = tokens(dice, &promised, PROMPT);
            let mut worker = Scalar::new(Arc::new(false_model), prompt);
            let case = case(&promised, &mut worker, units, &GenerateParams::default());
            let mut honest = Scalar::new(Arc::clone(&promised), worker.tokens.clone());
            honest.prompt = PROMPT;
            let (questions, end) = play(&case, &mut honest, &mut worker);
            most = most.max(questions.len());
            let Move::Convict(finding) = end else {
                // What a lie does may vanish in rounding.
                assert_eq!(honest.states(), worker.states(), "seed {seed}, {what}: {end:?}");
                continue;
            };
            check(&case, &finding);
            let Finding::Element(element) = &finding else { panic!("seed {seed}, {what}: {finding:?}") };
            assert!(places.contains(&element.name.place), "seed {seed}, {what}: {:?}", element.name);
            assert_ne!(element.claimed, honest.element(&case, element), "seed {seed}, {what}");
            found += 1;
        }
    }
    assert!(found > 30, "{found} of {}", 3 * LIES.len());
    assert!(most <= 8, "{most} questions");
}

#[test]
fn a_state_that_is_not_what_its_vectors_say_convicts() {
    for seed in 0..8 {
        let dice = &mut Dice(seed);
        let promised = Arc::new(model(seed, false));
        let prompt = tokens(dice, &promised, PROMPT);
        let mut worker = Scalar::new(Arc::clone(&promised), prompt);
        let (position, layer) = (dice.below(PROMPT + 30), dice.below(promised.layers.len()));
        worker.fault = Some(Fault { position, layer, byte: dice.below(2_000), mask: 1 });
        let case = case(&promised, &mut worker, 40, &GenerateParams::default());
        let mut honest = Scalar::new(Arc::clone(&promised), worker.tokens.clone());
        honest.prompt = PROMPT;
        let (questions, end) = play(&case, &mut honest, &mut worker);
        let Move::Convict(finding) = end else { panic!("seed {seed}: {end:?}") };
        check(&case, &finding);
        let Finding::State(torn) = &finding else { panic!("seed {seed}: {finding:?}") };
        let shape = Shape::of(&case, promised.layers.len());
        assert_eq!(shape.place(torn.in_chunk.chunk.index as usize, torn.state as usize), (position, layer));
        assert!(matches!(torn.name.place, Place::Output | Place::Row));
        assert!(questions.len() <= 8);
    }
}

#[test]
fn a_token_that_is_not_drawn_convicts() {
    for seed in 0..6 {
        let dice = &mut Dice(seed);
        let promised = Arc::new(model(seed, false));
        let prompt = tokens(dice, &promised, PROMPT);
        let mut worker = Scalar::new(Arc::clone(&promised), prompt);
        let params = GenerateParams {
            temperature_q16: [0, 1 << 16, 3 << 15][dice.below(3)],
            top_k: [0, 5][dice.below(2)],
            top_p_q16: [1 << 16, 50_000][dice.below(2)],
            ..GenerateParams::default()
        };
        worker.false_token = Some(dice.below(6));
        let case = case(&promised, &mut worker, 6, &params);
        let mut honest = Scalar::new(Arc::clone(&promised), worker.tokens.clone());
        (honest.prompt, honest.draw) = (PROMPT, Some((params, 77)));
        let (_, end) = play(&case, &mut honest, &mut worker);
        let Move::Convict(finding) = end else { panic!("seed {seed}: {end:?}") };
        check(&case, &finding);
        let Finding::Element(element) = &finding else { panic!("seed {seed}: {finding:?}") };
        assert_eq!((element.name.place, element.name.stage, element.claimed), (Place::Sampler, Stage::Out, 1));
        assert_eq!(honest.element(&case, element), 0, "seed {seed}");
    }
}

#[test]
fn a_verifier_is_found_in_whatever_chunk_it_lied() {
    let promised = Arc::new(model(2, false));
    for (seed, position) in
        [0, PROMPT - 1, PROMPT + 40, PROMPT + 70, PROMPT + 100, PROMPT + 128].into_iter().enumerate()
    {
        let dice = &mut Dice(seed as u64);
        let prompt = tokens(dice, &promised, PROMPT);
        let mut worker = Scalar::new(Arc::clone(&promised), prompt);
        let layer = dice.below(promised.layers.len());
        worker.fault = Some(Fault { position, layer, byte: dice.below(2_000), mask: 1 });
        let case = case(&promised, &mut worker, 132, &GenerateParams::default());
        let case = audited(case.clone(), &case.output);
        let mut honest = Scalar::new(Arc::clone(&promised), worker.tokens.clone());
        honest.prompt = PROMPT;
        let network = Network::local("test");
        let mut challenger = Challenger::new(Case { digests: Vec::new(), ..case.clone() }, network.clone());
        let mut defender = Defender::new(case.clone(), network, Arc::new(key(2)));
        let mut asked = 0;
        let finding = loop {
            match challenger.next(&mut honest).unwrap() {
                Move::Ask(question) => {
                    challenger.hear(&mut honest, defender.answer(&mut worker, &question).unwrap()).unwrap();
                    asked += 1;
                }
                Move::Convict(finding) => break finding,
                end @ Move::Nothing(_) => panic!("{position}: {end:?}"),
            }
        };
        check(&case, &finding);
        let Finding::State(torn) = &finding else { panic!("{position}: {finding:?}") };
        let shape = Shape::of(&case, promised.layers.len());
        assert_eq!(shape.place(torn.in_chunk.chunk.index as usize, torn.state as usize), (position, layer));
        assert!(asked <= 10, "{position}: {asked} questions");
    }
    // One that told the truth is asked nothing.
    let mut worker = Scalar::new(Arc::clone(&promised), vec![1, 2, 3, 4, 5]);
    let case = case(&promised, &mut worker, 70, &GenerateParams::default());
    let case = Case { digests: Vec::new(), ..audited(case.clone(), &case.output) };
    let mut honest = Scalar::new(promised, worker.tokens.clone());
    (honest.prompt, honest.draw) = (PROMPT, Some((GenerateParams::default(), 77)));
    let (questions, end) = play(&case, &mut honest, &mut worker);
    assert!(questions.is_empty() && matches!(end, Move::Nothing(_)), "{end:?}");
}

#[test]
fn nobody_honest_is_convicted_of_anything() {
    let promised = Arc::new(model(3, false));
    let mut worker = Scalar::new(Arc::clone(&promised), vec![1, 2, 3, 4, 5]);
    let case = case(&promised, &mut worker, 40, &GenerateParams::default());
    let mut honest = Scalar::new(promised, worker.tokens.clone());
    (honest.prompt, honest.draw) = (PROMPT, Some((GenerateParams::default(), 77)));
    let (questions, end) = play(&case, &mut honest, &mut worker);
    assert!(questions.is_empty() && matches!(end, Move::Nothing(_)), "{end:?}");
}

#[test]
fn a_chunk_of_other_tokens_convicts() {
    let promised = Arc::new(model(5, false));
    let mut worker = Scalar::new(Arc::clone(&promised), vec![1, 2, 3, 4, 5]);
    let mut case = case(&promised, &mut worker, 40, &GenerateParams::default());
    let true_case = case.clone();
    // What was delivered and receipted is not what the trace is of.
    case.output[35] ^= 1;
    let mut receipt = case.receipt.body.clone();
    receipt.output_root = output_root(&case.trace_salt, &case.output);
    let (network, node) = (Network::local("test"), key(2));
    case.receipt = Sealed::from(&Signed::new(receipt, &network, &node));
    let mut honest = Scalar::new(promised, [&case.prompt[..], &case.output].concat());
    honest.prompt = PROMPT;
    let mut challenger = Challenger::new(case.clone(), network.clone());
    let mut defender = Defender::new(true_case, network, Arc::new(node));
    let Move::Ask(question) = challenger.next(&mut honest).unwrap() else { panic!("a question") };
    let answer = defender.answer(&mut worker, &question).unwrap();
    challenger.hear(&mut honest, answer).unwrap();
    let Move::Convict(finding) = challenger.next(&mut honest).unwrap() else { panic!("a finding") };
    check(&case, &finding);
    assert!(matches!(finding, Finding::Output { token: 35, told, .. } if told == case.output[35]));
}

#[test]
fn an_answer_that_is_none_teaches_nothing() {
    let promised = Arc::new(model(1, false));
    let mut false_model = (*promised).clone();
    false_model.layers[0].gate.ew.iter_mut().for_each(|e| *e += 1);
    let mut worker = Scalar::new(Arc::new(false_model), vec![1, 2, 3, 4, 5]);
    let case = case(&promised, &mut worker, 40, &GenerateParams::default());
    let mut honest = Scalar::new(promised, worker.tokens.clone());
    honest.prompt = PROMPT;
    let network = Network::local("test");
    let mut challenger = Challenger::new(case.clone(), network.clone());
    let mut defender = Defender::new(case.clone(), network.clone(), Arc::new(key(2)));
    let mut stranger = Defender::new(case, network, Arc::new(key(3)));
    let mut answers = Vec::new();
    let mut kinds = 0;
    while let Move::Ask(question) = challenger.next(&mut honest).unwrap() {
        let answer = defender.answer(&mut worker, &question).unwrap();
        let mut wrong = answers.clone();
        wrong.push(match answer.clone() {
            Answer::Chunk { mut opening, nodes } => {
                opening.states_root.0[0] ^= 1;
                Answer::Chunk { opening, nodes }
            }
            Answer::Nodes { mut nodes, siblings } => {
                nodes[0].0[0] ^= 1;
                Answer::Nodes { nodes, siblings }
            }
            Answer::Bytes { mut bytes, siblings } => {
                bytes[0] ^= 1;
                Answer::Bytes { bytes, siblings }
            }
            Answer::Roots { .. } => stranger.answer(&mut worker, &question).unwrap(),
        });
        kinds += wrong.len();
        for wrong in wrong {
            challenger.hear(&mut honest, wrong).unwrap_err();
            assert_eq!(challenger.next(&mut honest).unwrap(), Move::Ask(question.clone()));
        }
        challenger.hear(&mut honest, answer.clone()).unwrap();
        answers = vec![answer];
    }
    assert!(kinds > 5);
}
