//! Many tasks at once give the bits that each gives alone, whenever they come, park and go.

use crate::testing::{FAMILIES, Shape};
use crate::{Engine, Event, Outcome, RunError, Server, StreamId, Task};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use talkoo_base::generate::BIAS_BAN_Q16;
use talkoo_base::{Constraint, ConstraintForm, Finish, GenerateParams, sha256};

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
        let model = shape.load();
        let mut solo = Engine::new(model.clone(), 1);
        let mut server = Server::new(Engine::new(model, 1 + seed as usize % 2), 1_000);
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
                let task = task(seed * 100 + n, 1 + roll(60) as usize, 1 + roll(40) as u32);
                let outcome = alone(&mut solo, &task);
                if n.is_multiple_of(4) {
                    let mut tokens = outcome.tokens.clone();
                    if n.is_multiple_of(8) {
                        let at = roll(tokens.len() as u64) as usize;
                        tokens[at] = (tokens[at] + 1) % 90;
                    }
                    let id = server.verify(task.clone(), tokens.clone()).unwrap();
                    checks.push((id, solo.verify(&task, &tokens).unwrap()));
                } else {
                    let credit = (!n.is_multiple_of(3)).then_some(1);
                    generations.push((server.generate(task, credit).unwrap(), outcome));
                }
            }
            let mut events = Vec::new();
            let went = server.step(&mut events);
            told.hear(events);
            if roll(4) == 0 || !went {
                let parked: Vec<StreamId> = server.parked().collect();
                parked.into_iter().for_each(|id| server.credit(id, 1));
            }
            if waiting.is_empty() && server.is_empty() {
                break;
            }
        }
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
    let (poor, rich) = (server.generate(free(1), Some(1)).unwrap(), server.generate(free(2), None).unwrap());
    let none = server.generate(free(4), Some(0)).unwrap();
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
    let id = server.generate(a, None).unwrap();
    assert!(server.has_room(20) && !server.has_room(21));
    server.stop(id);
    server.stop(id);
    let id = server.verify(b, vec![1, 2, 3]).unwrap();
    assert!(server.has_room(38) && !server.has_room(39));
    let mut events = Vec::new();
    while server.step(&mut events) {}
    assert!(matches!(&events[..], [Event::Verified { stream, .. }] if *stream == id));
    assert!(server.is_empty() && server.has_room(50));
}

#[test]
fn only_the_guilty_fails() {
    assert_eq!(
        Server::new(Engine::new(Shape::small(13).load(), 1), 50).generate(task(1, 0, 4), None),
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
    let (good, bad) = (server.generate(tame, None).unwrap(), server.generate(wild, None).unwrap());
    let (mut events, mut told) = (Vec::new(), Told::default());
    while server.step(&mut events) {}
    let failed: Vec<Event> = events.extract_if(.., |e| matches!(e, Event::Failed { .. })).collect();
    assert_eq!(failed, [Event::Failed { stream: bad, error }]);
    told.hear(events);
    told.assert_is(good, &outcome);
}
