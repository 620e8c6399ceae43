//! Generate, verify and define agree, and end where they should.

use crate::testing::Shape;
use crate::{Chunk, Engine, Kernel, KvFormat, Outcome, RunError, Task, define_generate};
use std::ops::ControlFlow;
use talkoo_base::generate::BIAS_BAN_Q16;
use talkoo_base::{Constraint, Finish, GenerateParams, TokenLogprobs, sha256};

fn task(prompt: &[u32], params: GenerateParams) -> Task {
    Task { prompt: prompt.to_vec(), params, seed: 42, trace_id: sha256(&[b"trace"]) }
}

fn warm(max_tokens: u32) -> GenerateParams {
    GenerateParams { max_tokens, temperature_q16: 3 << 15, ignore_eos: true, ..GenerateParams::default() }
}

/// Generates, checks that callbacks and outcome tell the same, and that verify and definition agree.
fn generate(engine: &mut Engine, task: &Task) -> Outcome {
    let (mut tokens, mut chunks) = (Vec::new(), Vec::new());
    let outcome = engine
        .generate(task, &mut |t| tokens.push(t), &mut |c: &Chunk| {
            chunks.push(c.clone());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(tokens, outcome.tokens);
    assert_eq!(chunks.iter().flat_map(|c| c.tokens.clone()).collect::<Vec<_>>(), tokens);
    assert_eq!(chunks.iter().map(|c| c.digest).collect::<Vec<_>>(), outcome.chunk_digests);
    assert!(chunks.iter().enumerate().all(|(i, c)| c.index as usize == i));
    assert_eq!(chunks.last().unwrap().finish, Some(outcome.finish));
    assert_eq!(
        chunks.iter().flat_map(|c| &c.logprobs).flat_map(|l| l.bytes.clone()).collect::<Vec<_>>(),
        outcome.logprobs
    );
    assert!(chunks.iter().all(|c| c.logprobs.as_ref().is_none_or(|l| l.digest() == c.digest)));
    let verified = engine.verify(task, &outcome.tokens).unwrap();
    assert_eq!((verified.diverged, verified.finish), (None, Some(outcome.finish)));
    assert_eq!(verified.chunk_digests, outcome.chunk_digests);
    assert_eq!(define_generate(engine.model(), task).unwrap(), outcome);
    outcome
}

#[test]
fn outputs_end_at_the_length_and_verify() {
    let mut engine = Engine::new(Shape::small(1).load(), 2);
    for max_tokens in [1, 31, 32, 33, 70] {
        let outcome = generate(&mut engine, &task(&[5, 9, 11], warm(max_tokens)));
        assert_eq!((outcome.tokens.len() as u32, outcome.finish), (max_tokens, Finish::Length));
        assert_eq!(outcome.chunk_digests.len() as u32, max_tokens.div_ceil(32));
    }
    let full = generate(&mut engine, &task(&[7; 60], warm(500)));
    assert_eq!((full.tokens.len(), full.finish), (36, Finish::Length), "the context ends it");
    assert_eq!(generate(&mut engine, &task(&[7; 95], warm(500))).tokens.len(), 1, "room for one");
}

#[test]
fn stop_tokens_and_strings_end_with_themselves() {
    let mut engine = Engine::new(Shape::small(2).load(), 1);
    let free = generate(&mut engine, &task(&[8, 20], warm(40)));
    let stop = free.tokens[11];
    let first = free.tokens.iter().position(|t| *t == stop).unwrap();
    let stopped = generate(&mut engine, &task(&[8, 20], GenerateParams { stop_tokens: vec![stop], ..warm(40) }));
    assert_eq!((&stopped.tokens[..], stopped.finish), (&free.tokens[..=first], Finish::Stop));

    let text = engine.model().vocabulary().decode(&free.tokens[5..8]);
    let params = GenerateParams { stop: vec!["no such words".into(), text.clone()], ..warm(40) };
    let stopped = generate(&mut engine, &task(&[8, 20], params));
    assert_eq!(stopped.finish, Finish::Stop);
    assert!(engine.model().vocabulary().decode(&stopped.tokens).ends_with(&text));

    // From the first chunk into the second.
    let text = engine.model().vocabulary().decode(&free.tokens[28..35]);
    let params = GenerateParams { stop: vec![text], ..warm(40) };
    let stopped = generate(&mut engine, &task(&[8, 20], params));
    assert_eq!((&stopped.tokens[..], stopped.finish), (&free.tokens[..35], Finish::Stop));
    assert_eq!(stopped.chunk_digests.len(), 2);
}

#[test]
fn end_tokens_count_unless_ignored() {
    let mut engine = Engine::new(Shape::small(3).load(), 1);
    let eos = engine.model().vocabulary().eos().to_vec();
    assert_eq!(eos, [1], "</s>");
    let hot = |ignore_eos| GenerateParams { temperature_q16: 60 << 16, ignore_eos, ..warm(90) };
    let outcome = (0..40)
        .map(|seed| Task { seed, ..task(&[4], hot(false)) })
        .map(|task| engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap())
        .find(|o| o.finish == Finish::Stop)
        .expect("one of forty hot runs draws the end token");
    assert_eq!(outcome.tokens.last(), Some(&1));
    assert_eq!(generate(&mut engine, &task(&[4], hot(true))).finish, Finish::Length);
}

#[test]
fn greedy_and_sampled_runs_repeat_on_every_kernel() {
    let model = Shape::small(4).load();
    for params in [warm(20), GenerateParams { temperature_q16: 0, ..warm(20) }] {
        let task = task(&[30, 31, 32], params);
        let outcomes = [Kernel::Scalar, Kernel::Avx2, Kernel::Vnni].map(|kernel| {
            let mut engine = Engine::with_kernel(model.clone(), 2, kernel);
            engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap()
        });
        assert!(outcomes.iter().all(|o| *o == outcomes[0]));
    }
}

#[test]
fn another_format_of_keys_and_values_is_another_program() {
    let shape = |kv| Shape { kv, ..Shape::small(4) };
    let [coarse, fine] = KvFormat::ALL.map(|kv| shape(kv).load());
    assert_eq!((coarse.root_with(KvFormat::Int16), fine.root_with(KvFormat::Int8)), (fine.root(), coarse.root()));
    assert!(coarse.root() != fine.root() && fine.definition().root() == fine.root());
    let room = |model: &crate::Model| model.cache_bytes_per_position();
    assert_eq!(room(&fine) - room(&coarse), 2 * 2 * 2 * 32, "a byte more for every number of every head");
    let task = task(&[30, 31, 32], warm(70));
    let [first, second] = [coarse, fine].map(|model| generate(&mut Engine::new(model, 2), &task));
    assert!(first.chunk_digests.iter().zip(&second.chunk_digests).all(|(a, b)| a != b));
    let mut engine = Engine::new(shape(KvFormat::Int8).load(), 1);
    let verified = engine.verify(&task, &second.tokens).unwrap();
    assert_ne!(verified.chunk_digests, second.chunk_digests, "neither passes for the other");
}

#[test]
fn divergence_is_found_where_it_is() {
    let mut engine = Engine::new(Shape::small(5).load(), 2);
    let task = task(&[5, 6], warm(80));
    let honest = generate(&mut engine, &task);
    for at in [0, 1, 31, 32, 79] {
        let mut tokens = honest.tokens.clone();
        tokens[at] = (tokens[at] + 1) % 90;
        let verified = engine.verify(&task, &tokens).unwrap();
        assert_eq!((verified.diverged, verified.finish), (Some(at as u32), None), "tampered at {at}");
        assert_eq!(verified.chunk_digests, honest.chunk_digests[..at / 32], "chunks before {at}");
    }
    let mut longer = honest.tokens.clone();
    longer.push(3);
    assert_eq!(engine.verify(&task, &longer).unwrap().diverged, Some(80), "it should have ended");
    longer.extend([4; 200]);
    assert_eq!(engine.verify(&task, &longer).unwrap().diverged, Some(80), "far beyond the context");
    let mut unknown = honest.tokens.clone();
    unknown[40] = 1_000_000;
    assert_eq!(engine.verify(&task, &unknown).unwrap().diverged, Some(40), "a token that is none");
    unknown.truncate(41);
    assert_eq!(engine.verify(&task, &unknown).unwrap().diverged, Some(40), "the same at the end");

    let part = engine.verify(&task, &honest.tokens[..64]).unwrap();
    assert_eq!((part.diverged, part.finish), (None, None), "a part is honest but not finished");
    assert_eq!(part.chunk_digests, honest.chunk_digests[..2]);
    assert_eq!(engine.verify(&task, &[]).unwrap().chunk_digests, []);
    let other_seed = Task { seed: 43, ..task };
    assert!(engine.verify(&other_seed, &honest.tokens).unwrap().diverged.is_some());
}

#[test]
fn penalties_and_biases_are_replayed() {
    let mut engine = Engine::new(Shape::small(9).load(), 2);
    let greedy = GenerateParams { temperature_q16: 0, ..warm(70) };
    let loops = generate(&mut engine, &task(&[5, 6], greedy.clone())).tokens;
    let most = |tokens: &[u32]| (0..98).map(|id| tokens.iter().filter(|t| **t == id).count()).max().unwrap();
    let cases = [
        GenerateParams { repeat_penalty_q16: 3 << 15, ..greedy.clone() },
        GenerateParams { frequency_penalty_q16: 2 << 16, ..greedy.clone() },
        GenerateParams { presence_penalty_q16: 2 << 16, repeat_penalty_q16: 2 << 16, ..greedy.clone() },
        GenerateParams { logit_bias: vec![(loops[0], BIAS_BAN_Q16)], ..greedy.clone() },
        GenerateParams { frequency_penalty_q16: 1 << 16, repeat_penalty_q16: 5 << 14, ..warm(70) },
    ];
    for (case, params) in cases.into_iter().enumerate() {
        let task = task(&[5, 6], params);
        let honest = generate(&mut engine, &task);
        if task.params.frequency_penalty_q16 > 0 {
            assert!(most(&honest.tokens) < most(&loops) || most(&loops) == 1, "case {case}");
        }
        for token in task.params.logit_bias.iter().filter(|b| b.1 == BIAS_BAN_Q16).map(|b| b.0) {
            assert!(!honest.tokens.contains(&token), "case {case}");
        }
        let without = Task { params: GenerateParams { max_tokens: 70, ..greedy.clone() }, ..task.clone() };
        assert!(engine.verify(&without, &honest.tokens).unwrap().diverged.is_some(), "case {case} changes something");
        for at in [1, 33, 69] {
            let mut tokens = honest.tokens.clone();
            tokens[at] = (tokens[at] + 1) % 90;
            assert_eq!(engine.verify(&task, &tokens).unwrap().diverged, Some(at as u32), "case {case}, at {at}");
        }
    }
    let all = (0..98).map(|id| (id, BIAS_BAN_Q16)).collect();
    let task = task(&[5, 6], GenerateParams { logit_bias: all, ..greedy });
    let error = engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert_eq!((error.clone(), define_generate(engine.model(), &task)), (RunError::NoToken { after: 0 }, Err(error)));
    assert_eq!(engine.verify(&task, &[3]).unwrap().diverged, Some(0), "no honest run gives a token");
}

#[test]
fn log_probabilities_are_committed_to_and_replayed() {
    let mut engine = Engine::new(Shape::small(11).load(), 2);
    let asked = |top_logprobs| GenerateParams { top_logprobs, logit_bias: vec![(9, BIAS_BAN_Q16)], ..warm(40) };
    let plain = generate(&mut engine, &task(&[5, 6], asked(None)));
    assert!(plain.logprobs.is_empty());
    for top in [0, 3, 20] {
        let task = task(&[5, 6], asked(Some(top)));
        let outcome = generate(&mut engine, &task);
        let told = TokenLogprobs::read_all(&outcome.logprobs).unwrap();
        assert_eq!((&outcome.tokens, told.len()), (&plain.tokens, 40), "they change no token");
        assert!(told.iter().all(|t| t.top.len() == top as usize && t.top.iter().all(|(_, p)| *p <= 0)));
        // They are the model's own: what a run forbids keeps its place.
        assert_eq!(top == 20, told.iter().any(|t| t.top.iter().any(|(id, _)| *id == 9)));
        for (token, told) in outcome.tokens.iter().zip(&told) {
            assert!(told.top.iter().all(|(id, p)| id != token || *p == told.chosen));
        }
        assert!(outcome.chunk_digests.iter().zip(&plain.chunk_digests).all(|(a, b)| a != b));
        // Whoever leaves out or changes one of them commits to something else.
        for other in [None, Some(top + 1).filter(|n| *n <= 20)] {
            let verified = engine.verify(&Task { params: asked(other), ..task.clone() }, &outcome.tokens).unwrap();
            assert_ne!(verified.chunk_digests, outcome.chunk_digests);
        }
    }
}

#[test]
fn a_receiver_may_end_a_run() {
    let mut engine = Engine::new(Shape::small(6).load(), 1);
    let task = task(&[5], warm(90));
    let whole = generate(&mut engine, &task);
    let mut seen = 0;
    let cut = engine.generate(&task, &mut |_| seen += 1, &mut |_| ControlFlow::Break(())).unwrap();
    assert_eq!((cut.finish, seen), (Finish::Cancelled, 32));
    assert_eq!((&cut.tokens[..], &cut.chunk_digests[..]), (&whole.tokens[..32], &whole.chunk_digests[..1]));
}

#[test]
fn impossible_tasks_are_refused() {
    let mut engine = Engine::new(Shape::small(7).load(), 1);
    let mut error = |prompt: &[u32], params| {
        let task = task(prompt, params);
        let error = engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(engine.verify(&task, &[1]).unwrap_err(), error);
        error
    };
    assert_eq!(error(&[], warm(1)), RunError::EmptyPrompt);
    assert_eq!(error(&[1; 96], warm(1)), RunError::PromptTooLong { need: 95, have: 96 });
    assert_eq!(error(&[1, 98], warm(1)), RunError::UnknownToken { token: 98, vocabulary: 98 });
    assert!(matches!(error(&[1], warm(0)), RunError::Parameters(_)));
}

#[test]
fn speed_is_measured() {
    let speed = Engine::new(Shape::small(8).load(), 2).measure();
    assert!(speed.prefill_milli_tps > 0 && speed.decode_milli_tps > 0);
}

#[test]
fn constraints_are_kept_and_replayed() {
    use talkoo_base::ConstraintForm::{JsonSchema, Lark, Regex};
    let mut engine = Engine::new(Shape::small(10).load(), 2);
    let schema =
        r#"{"type":"object","properties":{"a":{"enum":["x","yz"]}},"required":["a"],"additionalProperties":false}"#;
    let cases = [
        (Regex, "(ab|ca){3}", 60),
        (Regex, "[a-z]{40}", 60),
        (JsonSchema, schema, 60),
        (Lark, "start: \"(\" start \")\" | \"x\"", 20),
    ];
    for (form, source, max_tokens) in cases {
        let constraint = Some(Constraint { form, source: source.to_owned() });
        for temperature_q16 in [0, 1 << 16, 60 << 16] {
            let params = GenerateParams {
                ignore_eos: false,
                temperature_q16,
                constraint: constraint.clone(),
                ..warm(max_tokens)
            };
            let task = task(&[5, 6], params);
            let honest = generate(&mut engine, &task);
            let text = engine.model().vocabulary().decode(&honest.tokens);
            let is_whole = match form {
                JsonSchema => {
                    serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|v| v["a"] == "x" || v["a"] == "yz")
                }
                Regex => regex::Regex::new(&format!("^{source}$")).unwrap().is_match(&text),
                Lark => text.matches('(').count() == text.matches(')').count() && text.contains('x'),
            };
            assert_eq!(is_whole, honest.finish == Finish::Stop, "{source}: {text:?}");
            assert!(is_whole || form == Lark, "{source}: {text:?}");
            for at in [0, honest.tokens.len() - 1] {
                let mut tokens = honest.tokens.clone();
                tokens[at] = (tokens[at] + 1) % 90;
                assert_eq!(engine.verify(&task, &tokens).unwrap().diverged, Some(at as u32), "{source} at {at}");
            }
        }
    }
    for (form, source) in [(Regex, "("), (JsonSchema, "{"), (JsonSchema, r#"{"type":"no"}"#), (Lark, "start: x")] {
        let constraint = Some(Constraint { form, source: source.to_owned() });
        let task = task(&[5], GenerateParams { ignore_eos: false, constraint, ..warm(9) });
        let error = engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(&error, RunError::Constraint(_)), "{source}: {error}");
        assert_eq!(engine.verify(&task, &[1]), Err(error.clone()), "{source}");
        assert_eq!(engine.model().vocabulary().check_constraint(task.params.constraint.as_ref().unwrap()), Err(error));
    }
}

#[test]
fn the_dialect_of_constraints_is_the_one_in_use() {
    let lock = include_str!("../../../../Cargo.lock");
    let has = |name: &str, version: &str| lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"\n"));
    let (name, version) = talkoo_base::generate::CONSTRAINT_DIALECT.split_once('/').unwrap();
    assert!(has(name, version) && has("toktrie", version) && has("derivre", "0.3.13"), "a new dialect");
}

#[test]
fn a_constraint_of_a_stranger_costs_no_stack() {
    use talkoo_base::ConstraintForm::{JsonSchema, Lark, Regex};
    let vocabulary = Shape::small(10).load().vocabulary().clone();
    let nested = |open: &str, inner: &str, close: &str, depth: usize| open.repeat(depth) + inner + &close.repeat(depth);
    let hostile = [
        (Regex, nested("(", "a", ")", 16_000)),
        (Regex, nested("(?:", "a", "){9}", 200)),
        (Lark, format!("start: {}", nested("(", "\"a\"", ")", 16_000))),
        (Lark, format!("start: {}", nested("[", "\"a\"", "]", 16_000))),
        (Lark, format!("start: A\nA: {}", nested("(", "\"a\"", ")", 16_000))),
        (JsonSchema, nested(r#"{"not":"#, "{}", "}", 4_000)),
    ];
    for (form, source) in hostile {
        let start: String = source.chars().take(30).collect();
        let checked = vocabulary.check_constraint(&Constraint { form, source });
        assert!(matches!(checked, Err(RunError::Constraint(_))), "{start}");
    }
}

#[test]
fn a_chain_of_rules_costs_no_stack() {
    use talkoo_base::ConstraintForm::{JsonSchema, Lark};
    let mut engine = Engine::new(Shape::small(10).load(), 1);
    let letters = |first: u8, n: usize| [n / 676, n / 26, n].map(|n| char::from(first + (n % 26) as u8));
    let chain = |first: u8| {
        let name = |n| letters(first, n).iter().collect::<String>();
        let rules: String = (0..1_000).map(|n| format!("{}:{}\n", name(n), name(n + 1))).collect();
        format!("start:{}\n{rules}{}:\"x\"", name(0), name(1_000))
    };
    let references: String = (0..30).map(|n| format!(r##""{n}":{{"$ref":"#/$defs/{}"}},"##, n + 1)).collect();
    let schema = format!(r##"{{"$ref":"#/$defs/0","$defs":{{{references}"30":{{"type":"null"}}}}}}"##);
    for (form, source, text) in [(Lark, chain(b'a'), "x"), (Lark, chain(b'A'), "x"), (JsonSchema, schema, "null")] {
        let constraint = Some(Constraint { form, source });
        let honest = generate(&mut engine, &task(&[5], GenerateParams { ignore_eos: false, constraint, ..warm(20) }));
        assert_eq!(engine.model().vocabulary().decode(&honest.tokens), text);
    }
}

#[test]
fn the_states_of_any_tokens_can_be_shown_and_are_those_of_the_definition() {
    for (seed, kv) in [(1, KvFormat::Int8), (2, KvFormat::Int16)] {
        let model = Shape { kv, ..Shape::small(seed) }.load();
        let (layers, tokens) = (model.manifest().architecture.layers, [5, 9, 11, 3, 3, 40, 7]);
        let mut engine = Engine::new(model.clone(), 2);
        // Several batches, and a task before and between.
        engine.set_batch(3);
        generate(&mut engine, &task(&[5, 9], warm(4)));
        let definition = model.definition();
        let mut scalar = talkoo_exact::Kv::new(&definition);
        let steps = tokens.map(|token| talkoo_exact::forward(&definition, &mut scalar, token).unwrap().states);
        let states = engine.states(&tokens).unwrap();
        assert_eq!(states, steps.concat());
        for layer in 0..layers {
            let shown: Vec<_> = engine.layer(&tokens, layer).unwrap().iter().map(|bytes| sha256(&[bytes])).collect();
            assert_eq!(shown, states.iter().skip(layer).step_by(layers).copied().collect::<Vec<_>>());
        }
        let refused = [vec![u32::MAX], vec![1; model.context_max() as usize + 1]];
        for tokens in refused {
            assert!(engine.states(&tokens).is_err() && engine.layer(&tokens, 0).is_err());
        }
        assert_eq!(engine.states(&tokens).unwrap(), states);
    }
}
