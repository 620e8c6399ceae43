//! Many tasks at once give the bits that each gives alone, whenever they come, park and go.

use crate::testing::{FAMILIES, Shape};
use crate::{Engine, Event, KvFormat, Outcome, RunError, Scope, Server, StreamId, Task};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use talkoo_base::generate::BIAS_BAN_Q16;
use talkoo_base::{Constraint, ConstraintForm, Digest, Finish, GenerateParams, sha256};

const ONE: Scope = Scope(Digest([1; 32]));
const TWO: Scope = Scope(Digest([2; 32]));

fn task(seed: u64, prompt: usize, max_tokens: u32) -> Task {
    let languages = [(ConstraintForm::Regex, "[ab(]{5,30}"), (ConstraintForm::JsonSchema, r#"{"type":"array"}"#)];
    let (form, source) = languages[seed as usize % 2];
    let constraint = seed.is_multiple_of(3).then(|| Constraint { form, source: source.to_owned() });
    let params = GenerateParams {
        max_tokens,
        temperature_q16: if seed.is_multiple_of(4) { 0 } else { 1 << 16 },
        ignore_eos: !seed.is_multiple_of(5) && constraint.is_none(),
        constraint,
        repeat_penalty_q16: if seed.is_multiple_of(2) { 3 << 15 } else { 1 << 16 },
        frequency_penalty_q16: (seed as i32 % 5 - 2) << 16,
        presence_penalty_q16: (seed as i32 % 3) << 15,
        logit_bias: if seed.is_multiple_of(7) { vec![(3, 2 << 16), (9, BIAS_BAN_Q16)] } else { Vec::new() },
        stop: if seed.is_multiple_of(4) { vec!["ab".into(), "!!".into()] } else { Vec::new() },
        ..GenerateParams::default()
    };
    let prompt = (0..prompt as u64).map(|i| ((seed * 31 + i * 17) % 90) as u32).collect();
    Task { prompt, params, seed, trace_id: sha256(&[&seed.to_be_bytes()]) }
}

fn alone(engine: &mut Engine, task: &Task) -> Outcome {
    engine.generate(task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap()
}

/// What a server told of each stream.
#[derive(Default)]
struct Told {
    tokens: BTreeMap<StreamId, Vec<u32>>,
    chunks: BTreeMap<StreamId, Vec<crate::Chunk>>,
    verified: BTreeMap<StreamId, crate::Verified>,
}

impl Told {
    fn hear(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Token { stream, token } => self.tokens.entry(stream).or_default().push(token),
                Event::Chunk { stream, chunk } => self.chunks.entry(stream).or_default().push(chunk),
                Event::Verified { stream, verified } => drop(self.verified.insert(stream, verified)),
                Event::Failed { stream, error } => panic!("stream {stream}: {error}"),
            }
        }
    }

    fn assert_is(&self, id: StreamId, outcome: &Outcome) {
        assert_eq!(self.tokens[&id], outcome.tokens, "stream {id}");
        let digests: Vec<_> = self.chunks[&id].iter().map(|c| c.digest).collect();
        assert_eq!(digests, outcome.chunk_digests, "stream {id}");
        assert_eq!(self.chunks[&id].last().unwrap().finish, Some(outcome.finish), "stream {id}");
    }
}

#[test]
fn random_arrivals_give_the_bits_of_solo_runs() {
    for seed in 0..6u64 {
        let family = FAMILIES[seed as usize % FAMILIES.len()];
        let shape = if seed < 4 { Shape::of_family(seed, family) } else { Shape::small(seed) };
        let shape = Shape { kv: KvFormat::ALL[seed as usize % 2], ..shape };
        let model = shape.load();
        let positions_max = 600 + 200 * seed as usize;
        let mut solo = Engine::new(model.clone(), 1);
        let mut server = Server::new(Engine::new(model, 1 + seed as usize % 3), positions_max);
        let mut dice = seed;
        let mut roll = |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % below
        };
        let (mut told, mut generations, mut checks) = (Told::default(), Vec::new(), Vec::new());
        let mut waiting: Vec<u64> = (0..24).collect();
        loop {
            while !waiting.is_empty() && roll(3) == 0 {
                let n = waiting.pop().unwrap();
                let mut task = task(seed * 100 + n, 1 + roll(80) as usize, 1 + roll(40) as u32);
                // Two of three begin as others do.
                let shared = roll(90).min(task.prompt.len() as u64) as usize;
                task.prompt[..if n.is_multiple_of(3) { 0 } else { shared }].fill(7);
                let scope = [ONE, TWO][n as usize % 4 / 2];
                let outcome = alone(&mut solo, &task);
                if n.is_multiple_of(4) {
                    let mut tokens = outcome.tokens.clone();
                    if n.is_multiple_of(8) {
                        let at = roll(tokens.len() as u64) as usize;
                        tokens[at] = (tokens[at] + 1) % 90;
                    }
                    let id = server.verify(task.clone(), scope, tokens.clone()).unwrap();
                    checks.push((id, solo.verify(&task, &tokens).unwrap()));
                } else {
                    let credit = (!n.is_multiple_of(3)).then_some(1);
                    generations.push((server.generate(task, scope, credit).unwrap(), outcome));
                }
            }
            let mut events = Vec::new();
            server.engine().set_threads(1 + roll(2) as usize);
            let went = server.step(&mut events);
            told.hear(events);
            assert!(server.kept() <= positions_max.saturating_sub(server.promised()), "prefixes give way");
            if roll(4) == 0 || !went {
                let parked: Vec<StreamId> = server.parked().collect();
                parked.into_iter().for_each(|id| server.credit(id, 1));
            }
            if waiting.is_empty() && server.is_empty() {
                break;
            }
        }
        assert!(server.reused() >= 32, "seed {seed}: {}", server.reused());
        generations.iter().for_each(|(id, outcome)| told.assert_is(*id, outcome));
        checks.iter().for_each(|(id, verified)| assert_eq!(&told.verified[id], verified, "stream {id}"));
    }
}

#[test]
fn a_stream_without_credit_is_parked_and_others_go_on() {
    let model = Shape::small(11).load();
    let mut server = Server::new(Engine::new(model.clone(), 1), 1_000);
    let free =
        |seed| Task { params: GenerateParams { ignore_eos: true, ..task(seed, 3, 70).params }, ..task(seed, 3, 70) };
    let (poor, rich) = (server.generate(free(1), ONE, Some(1)).unwrap(), server.generate(free(2), ONE, None).unwrap());
    let none = server.generate(free(4), ONE, Some(0)).unwrap();
    let mut told = Told::default();
    let run = |server: &mut Server, told: &mut Told| {
        let mut events = Vec::new();
        while server.step(&mut events) {}
        told.hear(events);
    };
    run(&mut server, &mut told);
    assert_eq!((told.tokens[&poor].len(), told.tokens[&rich].len(), told.tokens.get(&none)), (32, 70, None));
    assert_eq!(server.parked().collect::<Vec<_>>(), [poor, none]);
    server.stop(none);
    server.credit(poor, 2);
    run(&mut server, &mut told);
    assert!(server.is_empty());
    let mut solo = Engine::new(model, 1);
    told.assert_is(poor, &alone(&mut solo, &free(1)));
    told.assert_is(rich, &alone(&mut solo, &free(2)));
}

#[test]
fn room_is_counted_and_freed() {
    let mut server = Server::new(Engine::new(Shape::small(12).load(), 1), 50);
    let (a, b) = (task(1, 10, 20), task(2, 10, 20));
    assert!(server.has_room(30) && server.has_room(1_000), "a large task runs alone");
    let id = server.generate(a, ONE, None).unwrap();
    assert!(server.has_room(20) && !server.has_room(21));
    server.stop(id);
    server.stop(id);
    let id = server.verify(b, ONE, vec![1, 2, 3]).unwrap();
    assert!(server.has_room(38) && !server.has_room(39));
    let mut events = Vec::new();
    while server.step(&mut events) {}
    assert!(matches!(&events[..], [Event::Verified { stream, .. }] if *stream == id));
    let nothing = server.verify(task(3, 10, 20), ONE, Vec::new()).unwrap();
    events.clear();
    assert!(server.step(&mut events) && !server.step(&mut events), "nothing to check is soon checked");
    assert!(matches!(&events[..], [Event::Verified { stream, .. }] if *stream == nothing));
    assert!(server.is_empty() && server.has_room(50));
}

/// Runs one generation to its end.
fn finish(server: &mut Server, task: &Task, scope: Scope) -> Vec<u32> {
    let (id, mut events, mut told) = (server.generate(task.clone(), scope, None).unwrap(), Vec::new(), Told::default());
    while server.step(&mut events) {}
    told.hear(events);
    told.assert_is(id, &alone(&mut Engine::new(server.model().clone(), 1), task));
    told.tokens.remove(&id).unwrap()
}

#[test]
fn beginnings_are_taken_over_within_one_scope() {
    let mut server = Server::new(Engine::new(Shape::small(14).load(), 2), 1_000);
    let warm = GenerateParams { max_tokens: 8, temperature_q16: 1 << 16, ignore_eos: true, ..Default::default() };
    let task = |prompt: &[u32], seed| Task { params: warm.clone(), prompt: prompt.to_vec(), ..task(seed, 1, 8) };
    let first: Vec<u32> = (10..50).collect();
    let answer = finish(&mut server, &task(&first, 1), ONE);
    let talk = [&first[..], &answer, &[5, 6]].concat();
    let elsewhere: Vec<u32> = (10..42).chain(70..80).collect();
    // The prompt, whose it is, and how much of it was not computed again.
    let cases: [(&str, &[u32], Scope, usize); 9] = [
        ("another client asks the same", &first, TWO, 0),
        ("the same again, but for its last token", &first, ONE, 39),
        ("the talk goes on; the last token of an answer was never fed", &talk, ONE, 47),
        ("it goes another way after 32", &elsewhere, ONE, 32),
        ("too little in common", &[&first[..31], &[3]].concat(), ONE, 0),
        ("a part of what is known", &first[..35], ONE, 34),
        ("the other client again", &first, TWO, 39),
        ("nothing in common", &elsewhere[1..], TWO, 0),
        ("one token", &[10], ONE, 0),
    ];
    for (n, (what, prompt, scope, reused)) in cases.into_iter().enumerate() {
        let before = server.reused();
        finish(&mut server, &task(prompt, 20 + n as u64), scope);
        assert_eq!(server.reused() - before, reused as u64, "{what}");
    }
    let (told, before) = (task(&first, 1), server.reused());
    let id = server.verify(told.clone(), ONE, answer.clone()).unwrap();
    let mut events = Vec::new();
    while server.step(&mut events) {}
    let verified = Engine::new(server.model().clone(), 1).verify(&told, &answer).unwrap();
    assert_eq!(events, [Event::Verified { stream: id, verified }]);
    assert_eq!(server.reused() - before, 39, "every token of the answer is checked");
}

#[test]
fn beginnings_end_anywhere_in_a_segment() {
    for kv in KvFormat::ALL {
        let shape = Shape { context: 400, kv, ..Shape::of_family(16, "gemma3") };
        let mut server = Server::new(Engine::new(shape.load(), 2), 2_000);
        let task = |prompt: Vec<u32>| Task { prompt, ..task(1, 1, 3) };
        let long: Vec<u32> = (0..330).map(|i| (i * 17 + 5) % 90).collect();
        finish(&mut server, &task(long.clone()), ONE);
        for common in [127, 128, 129, 255, 256, 257, 301] {
            let before = server.reused();
            finish(&mut server, &task([&long[..common], &[(long[common] + 1) % 90, 4, 4]].concat()), ONE);
            assert_eq!(server.reused() - before, common as u64);
        }
    }
}

#[test]
fn beginnings_are_taken_over_from_streams_under_way_and_give_way_to_them() {
    let prompt: Vec<u32> = (0..60).map(|i| 20 + i).collect();
    let task = |seed, max_tokens| Task { prompt: prompt.clone(), ..task(seed, 1, max_tokens) };
    let mut server = Server::new(Engine::new(Shape::small(15).load(), 1), 200);
    let begin = |server: &mut Server, seed| server.generate(task(seed, 4), ONE, None).unwrap();
    let mut ids = vec![begin(&mut server, 1), begin(&mut server, 2)];
    let (mut events, mut told) = (Vec::new(), Told::default());
    while server.step(&mut events) {}
    assert_eq!(server.reused(), 0, "both began in one batch");
    ids.extend([begin(&mut server, 3), begin(&mut server, 4)]);
    while server.step(&mut events) {}
    assert_eq!(server.reused(), 118, "one of an ended stream, one of another under way");
    told.hear(events);
    let mut solo = Engine::new(server.model().clone(), 1);
    for (id, seed) in ids.into_iter().zip(1..) {
        told.assert_is(id, &alone(&mut solo, &task(seed, 4)));
    }
    assert!(server.kept() > 120, "{}", server.kept());
    let other = server.generate(Task { prompt: vec![3; 50], ..task(4, 40) }, TWO, None).unwrap();
    server.step(&mut Vec::new());
    assert!(server.kept() <= 110 && server.kept() > 0, "{} of 200, 90 are promised", server.kept());
    server.stop(other);
    assert!(server.has_room(200), "what is kept takes no room from others");
}

#[test]
fn only_the_guilty_fails() {
    assert_eq!(
        Server::new(Engine::new(Shape::small(13).load(), 1), 50).generate(task(1, 0, 4), ONE, None),
        Err(RunError::EmptyPrompt)
    );
    // A model whose numbers leave the range on one token only.
    let model = Shape::wild(13).load();
    let wild = Task { prompt: vec![3, 7, 4], ..task(1, 1, 8) };
    let mut solo = Engine::new(model.clone(), 1);
    let error = solo.generate(&wild, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, RunError::Range(_)));
    let tame = (0..40).map(|seed| Task { prompt: vec![3, 5], ..task(seed, 1, 8) });
    let (tame, outcome) = tame
        .filter_map(|t| solo.generate(&t, &mut |_| (), &mut |_| ControlFlow::Continue(())).ok().map(|o| (t, o)))
        .next()
        .expect("one of forty runs does not draw the wild token");
    assert_ne!(outcome.finish, Finish::Cancelled);
    let mut server = Server::new(Engine::new(model, 1), 1_000);
    let (good, bad) = (server.generate(tame, ONE, None).unwrap(), server.generate(wild, ONE, None).unwrap());
    let (mut events, mut told) = (Vec::new(), Told::default());
    while server.step(&mut events) {}
    let failed: Vec<Event> = events.extract_if(.., |e| matches!(e, Event::Failed { .. })).collect();
    assert_eq!(failed, [Event::Failed { stream: bad, error }]);
    told.hear(events);
    told.assert_is(good, &outcome);
}
