//! Speed and quality of the exact engine on one model file.
//!
//! ```text
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf speed [THREADS]
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf perplexity IDS.i32le CONTEXT
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf chat "PROMPT" [TOKENS]
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf tokenize TEXT-FILE > IDS-PER-LINE
//! ```
//! Floating point is used only here, on finished logits.
#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::{Digest, GenerateParams};
use talkoo_engine::{ChatMessage, Engine, Model, Task, Vocabulary, define_generate};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |i: usize| arguments.get(i).map_or("", String::as_str);
    if argument(1) == "tokenize" {
        return tokenize(&Vocabulary::open(Path::new(argument(0)))?, argument(2));
    }
    let start = Instant::now();
    let model = Arc::new(Model::load(Path::new(argument(0)))?);
    println!("loaded in {:.2} s, root {}", start.elapsed().as_secs_f64(), model.root());
    match argument(1) {
        "speed" => speed(&model, argument(2).parse().unwrap_or(1)),
        "perplexity" => perplexity(&model, argument(2), argument(3).parse()?),
        "chat" => chat(&model, argument(2), argument(3).parse().unwrap_or(32)),
        mode => Err(format!("unknown mode {mode:?}; use speed, perplexity or chat").into()),
    }
}

fn task(prompt: Vec<u32>, max_tokens: u32, ignore_eos: bool) -> Task {
    let params = GenerateParams { max_tokens, ignore_eos, ..GenerateParams::default() };
    Task { prompt, params, seed: 1, trace_id: Digest::ZERO }
}

fn speed(model: &Arc<Model>, threads: usize) -> Result<(), Failure> {
    let mut engine = Engine::new(Arc::clone(model), threads);
    println!("{} threads, kernel {}", engine.threads(), engine.kernel_name());
    let prompt: Vec<u32> = (0..512).map(|i| (i * 7919 + 13) % 40_000).collect();
    for _ in 0..3 {
        let start = Instant::now();
        engine.generate(&task(prompt.clone(), 1, true), &mut |_| (), &mut |_| ControlFlow::Continue(()))?;
        let prefill = 512.0 / start.elapsed().as_secs_f64();

        let decode_task = task(prompt[..16].to_vec(), 129, true);
        let mut first = None;
        let outcome = engine.generate(
            &decode_task,
            &mut |_| {
                first.get_or_insert_with(Instant::now);
            },
            &mut |_| ControlFlow::Continue(()),
        )?;
        let decode = first.map_or(0.0, |f| f.elapsed().as_secs_f64()) / 128.0;

        let start = Instant::now();
        let verified = engine.verify(&decode_task, &outcome.tokens)?;
        let verify = start.elapsed().as_secs_f64() / (16.0 + 129.0);
        assert_eq!(verified.chunk_digests, outcome.chunk_digests, "a run must verify");
        println!(
            "prefill-512 {prefill:.0} tok/s, decode {:.1} tok/s, verify/decode per token {:.3}, measured {:?}",
            1.0 / decode,
            verify / decode,
            engine.measure()
        );
    }
    Ok(())
}

fn perplexity(model: &Arc<Model>, path: &str, context: usize) -> Result<(), Failure> {
    let bytes = std::fs::read(path)?;
    let ids: Vec<u32> = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let mut engine = Engine::new(Arc::clone(model), 2);
    let (mut loss, mut count) = (0f64, 0usize);
    for tokens in ids.chunks_exact(context) {
        engine.score(tokens, &mut |i, logits| {
            let Some(target) = tokens.get(i + 1) else { return };
            let largest = logits.iter().copied().fold(i64::MIN, i64::max);
            let real = |l: i64| (l - largest) as f64 / 65_536.0;
            let sum: f64 = logits.iter().map(|l| real(*l).exp()).sum();
            loss += sum.ln() - real(logits[*target as usize]);
            count += 1;
        })?;
        println!("{count} tokens: perplexity {:.4}", (loss / count as f64).exp());
    }
    Ok(())
}

fn chat(model: &Arc<Model>, prompt: &str, max_tokens: u32) -> Result<(), Failure> {
    let message = ChatMessage { role: "user".into(), content: prompt.into() };
    let text = model.vocabulary().render_chat(&[message])?;
    let task = task(model.vocabulary().encode_prompt(&text), max_tokens, false);
    let mut engine = Engine::new(Arc::clone(model), 2);
    let outcome = engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(()))?;
    println!("prompt {:?}\noutput {:?}", task.prompt, outcome.tokens);
    println!(
        "{:?}\n{:?}, trace root {}",
        model.vocabulary().decode(&outcome.tokens),
        outcome.finish,
        outcome.trace_root
    );
    let start = Instant::now();
    let defined = define_generate(model, &task)?;
    println!("the definition agrees: {} ({:.1} s)", defined == outcome, start.elapsed().as_secs_f64());
    Ok(())
}

/// One line of ids per line of text, to compare with another tokenizer; `\\n` in the text is a line break.
fn tokenize(vocabulary: &Vocabulary, path: &str) -> Result<(), Failure> {
    let text = std::fs::read_to_string(path)?;
    let mut out = String::new();
    for line in text.split('\n') {
        let ids = vocabulary.encode(&line.replace("\\n", "\n"), true);
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        out.push_str(&ids.join(" "));
        out.push('\n');
    }
    print!("{out}");
    Ok(())
}
