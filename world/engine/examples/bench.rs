//! Speed and quality of the exact engine on one model file.
//!
//! ```text
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf speed [THREADS]
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf image FILE
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf compare THREADS
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf more THREADS
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf streams THREADS
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf first THREADS
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf perplexity IDS.i32le CONTEXT
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf greedy IDS.i32le TOKENS
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf chat "PROMPT" [TOKENS]
//! cargo run --release -p talkoo-engine --example bench -- MODEL.gguf tokenize TEXT-FILE > IDS-PER-LINE
//! ```
//! With `--image FILE` at the end the model is loaded with the help of what `image` wrote, with `--kv int16` it keeps
//! keys and values in 16 bits.
//! `compare`, `more`, `perplexity` and `greedy` print `key value` lines for `cargo xtask bench llama`, and take the
//! same steps as `xtask/bench/llama.c`. Floating point is used only here, on finished logits.
#![allow(clippy::print_stdout)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::{Digest, GenerateParams};
use talkoo_engine::{
    ChatMessage, Engine, KvFormat, Model, Outcome, RunError, Scope, Server, Task, Vocabulary, define_generate,
};

type Failure = Box<dyn std::error::Error>;

/// Tokens of the measured prefill.
const PREFILL: u32 = 512;
/// Tokens of the prompt before the measured decode.
const PROMPT: usize = 16;
/// Tokens of the measured decode.
const DECODE: u32 = 128;
/// Tokens before the long decode of `more`.
const LONG: u32 = 4_000;
/// How often `speed` and `compare` measure.
const REPEATS: usize = 3;

fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let image = arguments.iter().position(|a| a == "--image").map(|at| arguments.drain(at..).nth(1));
    let kv = arguments.iter().position(|a| a == "--kv").map(|at| arguments.drain(at..).nth(1));
    let kv = if kv.flatten().as_deref() == Some("int16") { KvFormat::Int16 } else { KvFormat::Int8 };
    let argument = |i: usize| arguments.get(i).map_or("", String::as_str);
    if argument(1) == "tokenize" {
        return tokenize(&Vocabulary::open(Path::new(argument(0)))?, argument(2));
    }
    let start = Instant::now();
    let model = match image.flatten() {
        Some(image) => Model::load_with(Path::new(argument(0)), Path::new(&image))?,
        None => Model::load(Path::new(argument(0)))?,
    };
    let model = Arc::new(model.with_kv(kv));
    println!("loaded in {:.2} s, root {}", start.elapsed().as_secs_f64(), model.root());
    match argument(1) {
        "image" => Ok(model.save_image(Path::new(argument(2)))?),
        "speed" => speed(&model, argument(2).parse().unwrap_or(1)),
        "compare" => compare(&model, argument(2).parse()?, start),
        "more" => more(&model, argument(2).parse()?),
        "first" => first(&model, argument(2).parse()?),
        "streams" => streams(&model, argument(2).parse()?),
        "greedy" => greedy(&model, &read_ids(argument(2))?, argument(3).parse()?),
        "perplexity" => perplexity(&model, argument(2), argument(3).parse()?),
        "chat" => chat(&model, argument(2), argument(3).parse().unwrap_or(32)),
        mode => Err(format!("unknown mode {mode:?}; the modes stand at the top of bench.rs").into()),
    }
}

fn task(prompt: Vec<u32>, max_tokens: u32, ignore_eos: bool) -> Task {
    let params = GenerateParams { max_tokens, ignore_eos, ..GenerateParams::default() };
    Task { prompt, params, seed: 1, trace_id: Digest::ZERO }
}

fn generate(engine: &mut Engine, task: &Task, on_token: &mut dyn FnMut(u32)) -> Result<Outcome, RunError> {
    engine.generate(task, on_token, &mut |_| ControlFlow::Continue(()))
}

/// Made-up tokens of a measured prefill.
fn made_up(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 7919 + 13) % 40_000).collect()
}

fn prefill_ids() -> Vec<u32> {
    made_up(PREFILL)
}

/// What is decoded: the first token comes with the prompt, the others are measured.
fn decode_task() -> Task {
    task(prefill_ids()[..PROMPT].to_vec(), 1 + DECODE, true)
}

/// Tokens per second of a prefill, the choice of the first token included.
fn measure_prefill(engine: &mut Engine) -> Result<f64, RunError> {
    let task = task(prefill_ids(), 1, true);
    let start = Instant::now();
    generate(engine, &task, &mut |_| ())?;
    Ok(f64::from(PREFILL) / start.elapsed().as_secs_f64())
}

/// Tokens per second after the first one, and what came out.
fn measure_decode(engine: &mut Engine) -> Result<(f64, Outcome), RunError> {
    measure_decode_of(engine, &decode_task())
}

fn measure_decode_of(engine: &mut Engine, task: &Task) -> Result<(f64, Outcome), RunError> {
    let mut first = None;
    let outcome = generate(engine, task, &mut |_| {
        first.get_or_insert_with(Instant::now);
    })?;
    let seconds = first.map_or(f64::NAN, |f| f.elapsed().as_secs_f64());
    Ok((f64::from(DECODE) / seconds, outcome))
}

fn speed(model: &Arc<Model>, threads: usize) -> Result<(), Failure> {
    let mut engine = Engine::new(Arc::clone(model), threads);
    println!("{} threads, kernel {}", engine.threads(), engine.kernel_name());
    for _ in 0..REPEATS {
        let prefill = measure_prefill(&mut engine)?;
        let (decode, outcome) = measure_decode(&mut engine)?;
        let start = Instant::now();
        let verified = engine.verify(&decode_task(), &outcome.tokens)?;
        let verify = start.elapsed().as_secs_f64() / (PROMPT + outcome.tokens.len()) as f64;
        assert_eq!(verified.chunk_digests, outcome.chunk_digests, "a run must verify");
        println!(
            "prefill-512 {prefill:.0} tok/s, decode {decode:.1} tok/s, verify/decode per token {:.3}, measured {:?}",
            verify * decode,
            engine.measure()
        );
    }
    Ok(())
}

/// `started`: before the model was loaded.
fn compare(model: &Arc<Model>, threads: usize, started: Instant) -> Result<(), Failure> {
    let mut engine = Engine::new(Arc::clone(model), threads);
    generate(&mut engine, &task(prefill_ids()[..PROMPT].to_vec(), 1, true), &mut |_| ())?;
    println!("first_token_seconds {:.4}", started.elapsed().as_secs_f64());
    let (mut prefill, mut decode) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        prefill.push(measure_prefill(&mut engine)?);
        decode.push(measure_decode(&mut engine)?.0);
    }
    for (key, mut values) in [("prefill_tps", prefill), ("decode_tps", decode)] {
        values.sort_by(f64::total_cmp);
        println!("{key} {:.2}", values[REPEATS / 2]);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    println!("peak_kib {}", peak.trim().trim_end_matches(" kB"));
    println!("kernel {}", engine.kernel_name());
    Ok(())
}

fn read_ids(path: &str) -> Result<Vec<u32>, Failure> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// The likeliest continuation of a prompt, not ended by an end token.
fn greedy(model: &Arc<Model>, prompt: &[u32], tokens: u32) -> Result<(), Failure> {
    let mut engine = Engine::new(Arc::clone(model), 2);
    let outcome = generate(&mut engine, &task(prompt.to_vec(), tokens, true), &mut |_| ())?;
    let tokens: Vec<String> = outcome.tokens.iter().map(u32::to_string).collect();
    println!("tokens {}", tokens.join(" "));
    Ok(())
}

/// Decode of several streams at once, prefill apart: tokens per second over all of them.
fn measure_streams(model: &Arc<Model>, threads: usize, count: u64) -> Result<f64, RunError> {
    let mut server = Server::new(Engine::new(Arc::clone(model), threads), usize::MAX);
    for seed in 0..count {
        server.generate(Task { seed, ..decode_task() }, Scope(Digest::ZERO), None)?;
    }
    let (mut events, mut tokens) = (Vec::new(), 0);
    // All prompts first.
    while events.len() < count as usize {
        server.step(&mut events);
    }
    let start = Instant::now();
    events.clear();
    while server.step(&mut events) {
        tokens += events.iter().filter(|e| matches!(e, talkoo_engine::Event::Token { .. })).count();
        events.clear();
    }
    Ok(tokens as f64 / start.elapsed().as_secs_f64())
}

fn streams(model: &Arc<Model>, threads: usize) -> Result<(), Failure> {
    for count in [1, 4, 8, 16, 32, 64] {
        let mut best = 0f64;
        for _ in 0..REPEATS {
            best = best.max(measure_streams(model, threads, count)?);
        }
        println!("streams {count} {best:.1} tokens/s, {threads} threads");
    }
    Ok(())
}

/// What `cargo xtask bench inference` compares a node with: milliseconds to the first token behind 64, the median of 30, and 32 streams.
fn first(model: &Arc<Model>, threads: usize) -> Result<(), Failure> {
    let mut server = Server::new(Engine::new(Arc::clone(model), threads), usize::MAX);
    let mut took = Vec::new();
    for n in 0..30 {
        // Each begins otherwise, so that none is known.
        let prompt: Vec<u32> = (0..64).map(|i| 1_000 + 64 * n + i).collect();
        let start = Instant::now();
        let stream = server.generate(task(prompt, 8, true), Scope(Digest::ZERO), None)?;
        let mut events = Vec::new();
        while events.is_empty() {
            server.step(&mut events);
        }
        took.push(start.elapsed());
        server.stop(stream);
    }
    took.sort();
    println!("first_ms {:.2}", took[took.len() / 2].as_secs_f64() * 1e3);
    println!("streams32_tps {:.1}", measure_streams(model, threads, 32)?);
    Ok(())
}

fn more(model: &Arc<Model>, threads: usize) -> Result<(), Failure> {
    let long = task(made_up(LONG), 1 + DECODE, true);
    println!("long_tps {:.2}", measure_decode_of(&mut Engine::new(Arc::clone(model), threads), &long)?.0);
    println!("streams8_tps {:.2}", measure_streams(model, threads, 8)?);
    println!("streams32_tps {:.2}", measure_streams(model, threads, 32)?);
    Ok(())
}

fn perplexity(model: &Arc<Model>, path: &str, context: usize) -> Result<(), Failure> {
    let ids = read_ids(path)?;
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
    println!("scored {count}\nperplexity {:.4}", (loss / count as f64).exp());
    Ok(())
}

fn chat(model: &Arc<Model>, prompt: &str, max_tokens: u32) -> Result<(), Failure> {
    let message = ChatMessage::text("user", prompt);
    let text = model.vocabulary().render_chat(&[message])?;
    let task = task(model.vocabulary().encode_prompt(&text), max_tokens, false);
    let mut engine = Engine::new(Arc::clone(model), 2);
    let outcome = generate(&mut engine, &task, &mut |_| ())?;
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
