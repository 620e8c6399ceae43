//! `bench`: what this machine does with a model. The figures hold for this moment; other work slows them.

use super::{Show, run::load};
use crate::cli::BenchArgs;
use anyhow::Result;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::{Digest, GenerateParams};
use talkoo_engine::{Engine, Event, Model, Scope, Server, Task};

/// Output tokens of each stream.
const DECODE: u32 = 64;
/// Prompt tokens of each stream.
const PROMPT: u32 = 16;
/// Streams measured side by side.
const STREAMS: [u64; 3] = [1, 8, 32];
/// Bytes read to measure the memory: more than any cache holds.
const MEMORY_BYTES: usize = 512 << 20;
/// How often each figure is measured; the best counts.
const REPEATS: usize = 3;

pub(super) fn run(args: &BenchArgs, data_dir: &Path, show: &Show) -> Result<()> {
    let start = Instant::now();
    let model = load(&args.model, data_dir, args.kv.format)?;
    let load_s = start.elapsed().as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut engine = Engine::new(Arc::clone(&model), args.threads.unwrap_or(cores));
    let (kernels, threads) = (engine.kernel_name(), engine.threads());
    let speed =
        (0..REPEATS).map(|_| engine.measure()).max_by_key(|s| s.decode_milli_tps).unwrap_or_else(|| engine.measure());
    drop(engine);
    let memory = best(|| Ok(read_bytes_per_s(threads)))?;
    let mut streams = Vec::new();
    for count in STREAMS {
        let rate = best(|| decode(&model, threads, count))?;
        streams.push(json!({"streams": count, "decode_tps": tenth(rate)}));
    }
    let decode_tps = streams[0]["decode_tps"].as_f64().unwrap_or(0.0);
    let weights = model.weight_bytes() as f64;
    show.value(&json!({
        "model": args.model,
        "model_root": model.root().to_string(),
        "kv": args.kv.format.name(),
        "kernels": kernels,
        "threads": threads,
        "load_s": hundredth(load_s),
        "prefill_tps": tenth(speed.prefill_milli_tps as f64 / 1e3),
        "decode": streams,
        "memory_gb_per_s": tenth(memory / 1e9),
        // One stream reads all weights for each token: no machine decodes it faster than its memory.
        "of_memory_roofline": hundredth(decode_tps * weights / memory),
    }));
    Ok(())
}

fn best(mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut best = 0f64;
    for _ in 0..REPEATS {
        best = best.max(measure()?);
    }
    Ok(best)
}

fn tenth(x: f64) -> Value {
    json!((x * 10.0).round() / 10.0)
}

fn hundredth(x: f64) -> Value {
    json!((x * 100.0).round() / 100.0)
}

/// Output tokens a second of `count` streams together, their prompts apart.
fn decode(model: &Arc<Model>, threads: usize, count: u64) -> Result<f64> {
    let mut server = Server::new(Engine::new(Arc::clone(model), threads), usize::MAX);
    let vocabulary = u32::try_from(model.vocabulary().len()).unwrap_or(u32::MAX).max(2);
    let params = GenerateParams { max_tokens: DECODE, ignore_eos: true, ..GenerateParams::default() };
    for seed in 0..count {
        let prompt = (0..PROMPT).map(|i| (i * 7919 + 13) % vocabulary).collect();
        let task = Task { prompt, params: params.clone(), seed, trace_id: Digest::ZERO };
        server.generate(task, Scope(Digest::ZERO), None)?;
    }
    let (mut events, mut first) = (Vec::new(), 0);
    while first < count && server.step(&mut events) {
        first = events.iter().filter(|e| matches!(e, Event::Token { .. })).count() as u64;
    }
    let (start, mut tokens) = (Instant::now(), 0);
    events.clear();
    while server.step(&mut events) {
        tokens += events.iter().filter(|e| matches!(e, Event::Token { .. })).count();
        events.clear();
    }
    Ok(tokens as f64 / start.elapsed().as_secs_f64())
}

/// Bytes a second that so many threads read from memory together.
fn read_bytes_per_s(threads: usize) -> f64 {
    let words = vec![1u64; MEMORY_BYTES / 8];
    let start = Instant::now();
    let sum: u64 = std::thread::scope(|scope| {
        let parts = words.chunks(words.len().div_ceil(threads.max(1)));
        let sums: Vec<_> = parts.map(|part| scope.spawn(|| part.iter().sum::<u64>())).collect();
        sums.into_iter().map(|sum| sum.join().unwrap_or(0)).sum()
    });
    let seconds = start.elapsed().as_secs_f64();
    std::hint::black_box(sum);
    MEMORY_BYTES as f64 / seconds
}
