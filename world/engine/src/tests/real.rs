//! The real model: golden root, golden output, golden ids.

use crate::testing::real_model;
use crate::{ChatMessage, Engine, Kernel, KvFormat, Task, define_generate};
use std::ops::ControlFlow;
use std::sync::Arc;
use talkoo_base::{Digest, Finish, GenerateParams, TokenLogprobs};

fn task(text: &str, params: GenerateParams) -> Task {
    let message = ChatMessage::text("user", text);
    let model = real_model();
    let text = model.vocabulary().render_chat(&[message]).unwrap();
    Task { prompt: model.vocabulary().encode_prompt(&text), params, seed: 7, trace_id: Digest::ZERO }
}

#[test]
fn the_root_is_known() {
    let model = real_model();
    assert_eq!(model.root().to_string(), "2ecb1851846844b4eb56a5c6d071c4b2e2fad4faa8e8942a5742ab387f565123");
    let fine = model.root_with(KvFormat::Int16).to_string();
    assert_eq!(fine, "890af62fd6956cd395ba8ac98661e6337ad08dc10d33aa098bb20ff689b0df26");
    assert_eq!(model.context_max(), 8192);
    assert_eq!(model.vocabulary().eos(), [0, 2]);
}

#[test]
fn every_kernel_gives_the_golden_output() {
    let params = GenerateParams { max_tokens: 24, ..GenerateParams::default() };
    let task = task("Write one sentence about the sea.", params);
    let generate = |kernel, threads| {
        let mut engine = Engine::with_kernel(real_model(), threads, kernel);
        engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap()
    };
    let outcome = generate(Kernel::Vnni, 1);
    assert_eq!(outcome.tokens, GREEDY);
    assert_eq!(outcome.trace_root.to_string(), GREEDY_ROOT);
    assert_eq!(generate(Kernel::Vnni, 2), outcome);
    assert_eq!(generate(Kernel::Avx2, 2), outcome);
    assert_eq!(generate(Kernel::Scalar, 2), outcome);
    let verified = Engine::new(real_model(), 2).verify(&task, &outcome.tokens).unwrap();
    assert_eq!((verified.diverged, verified.finish), (None, Some(Finish::Length)));
    assert_eq!(verified.chunk_digests, outcome.chunk_digests);
}

#[test]
fn the_definition_gives_the_sampled_output() {
    let params = GenerateParams {
        max_tokens: 6,
        temperature_q16: 52_429,
        top_k: 40,
        top_p_q16: 62_259,
        ..GenerateParams::default()
    };
    let mut task = task("Hello", params);
    task.prompt.drain(..task.prompt.len() - 12);
    let model = real_model();
    let outcome =
        Engine::new(Arc::clone(&model), 2).generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(outcome.tokens, SAMPLED);
    assert_eq!(define_generate(&model, &task).unwrap(), outcome);
}

#[test]
fn log_probabilities_are_those_of_a_softmax_in_floating_point() {
    let params = GenerateParams { max_tokens: 12, top_logprobs: Some(5), ..GenerateParams::default() };
    let task = task("Write one sentence about the sea.", params);
    let mut engine = Engine::new(real_model(), 2);
    let outcome = engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).unwrap();
    let told = TokenLogprobs::read_all(&outcome.logprobs).unwrap();
    let (unit, prompt) = (f64::from(1 << 16), task.prompt.len());
    let mut compared = 0;
    let input = [&task.prompt[..], &outcome.tokens[..11]].concat();
    let mut compare = |index: usize, logits: &[i64]| {
        let Some(output) = (index + 1).checked_sub(prompt) else { return };
        let largest = logits.iter().copied().max().unwrap() as f64 / unit;
        let of = |logit: i64| logit as f64 / unit - largest;
        let sum: f64 = logits.iter().map(|l| of(*l).exp()).sum();
        let own = (outcome.tokens[output], told[output].chosen);
        for (token, have) in told[output].top.iter().copied().chain([own]) {
            let want = of(logits[token as usize]) - sum.ln();
            assert!((f64::from(have) / unit - want).abs() * unit < 0.6, "token {token} of output {output}");
            compared += 1;
        }
    };
    engine.score(&input, &mut compare).unwrap();
    assert_eq!(compared, 12 * 6);
}

#[test]
fn text_becomes_the_known_ids() {
    let model = real_model();
    let v = model.vocabulary();
    assert_eq!(v.encode("user", true), [4093]);
    for line in include_str!("ids.txt").lines() {
        let (text, ids) = line.rsplit_once('\t').unwrap();
        let text = text.replace("\\n", "\n");
        let ids: Vec<u32> = ids.split(' ').map(|i| i.parse().unwrap()).collect();
        assert_eq!(v.encode(&text, true), ids, "{text:?}");
        assert_eq!(v.decode(&ids), text.replace("<|im_start|>", "").replace("<|im_end|>", ""), "{text:?}");
    }
}

#[test]
fn split_characters_wait_for_their_rest() {
    let model = real_model();
    let ids = model.vocabulary().encode("ж日é🦀", true);
    assert!(ids.len() > 4, "characters of several tokens");
    let mut decoder = model.vocabulary().decoder();
    let parts: Vec<String> = ids.iter().map(|t| decoder.push(*t)).collect();
    assert_eq!(parts.concat() + &decoder.finish(), "ж日é🦀");
    assert!(parts.iter().all(|p| !p.contains('\u{fffd}')));
    let mut decoder = model.vocabulary().decoder();
    let cut: String = ids[..ids.len() - 1].iter().map(|t| decoder.push(*t)).collect();
    assert!(!cut.contains('\u{fffd}') && decoder.finish().contains('\u{fffd}'));
}

#[test]
fn the_template_is_the_files_own() {
    let message = |role: &str, content: &str| ChatMessage::text(role, content);
    let text = real_model().vocabulary().render_chat(&[message("system", "Be brief."), message("user", "Hi")]).unwrap();
    assert_eq!(
        text,
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
}

const GREEDY: [u32; 24] = [
    504, 3426, 314, 253, 4749, 28, 11965, 28, 284, 27456, 29, 22846, 3166, 1248, 282, 913, 338, 26553, 260, 905, 284,
    314, 253, 3573,
];
const GREEDY_ROOT: &str = "c74ca4e17789ea6a6830d32ad8e90c6425bf43e79728fc9c669ccdc75462af82";
const SAMPLED: [u32; 6] = [19556, 17, 339, 5248, 1535, 288];
