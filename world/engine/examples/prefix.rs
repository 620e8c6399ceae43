//! Time to the first token of a question after a long system prompt: computed anew, and taken over from
//! the question before it.
//!
//! ```text
//! cargo run --release -p talkoo-engine --example prefix -- MODEL.gguf THREADS
//! ```
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::{Digest, GenerateParams};
use talkoo_engine::{Engine, Event, Model, Scope, Server, Task};

type Failure = Box<dyn std::error::Error>;

/// Tokens of the system prompt.
const SYSTEM: u32 = 1_000;
/// Tokens of a question.
const QUESTION: u32 = 20;
/// How often both are measured; the medians are printed.
const ROUNDS: u32 = 7;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |i: usize| arguments.get(i).map_or("", String::as_str);
    let model = Arc::new(Model::load(Path::new(argument(0)))?);
    let mut server = Server::new(Engine::new(model, argument(1).parse()?), 16_384);
    let mut seconds = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        // A new scope begins anew; the second question in it does not.
        for (question, seconds) in seconds.iter_mut().enumerate() {
            let scope = Scope(Digest([round as u8; 32]));
            seconds.push(first_token(&mut server, scope, round * 2 + question as u32)?);
        }
    }
    for (what, mut seconds) in ["first question", "second question"].into_iter().zip(seconds) {
        seconds.sort_by(f64::total_cmp);
        println!("{what}: {:.1} ms to its first token", seconds[seconds.len() / 2] * 1e3);
    }
    println!("{} positions were taken over", server.reused());
    Ok(())
}

/// Seconds until the first token of question `n` after the system prompt.
fn first_token(server: &mut Server, scope: Scope, n: u32) -> Result<f64, Failure> {
    let system = (0..SYSTEM).map(|i| (i * 7919 + 13) % 40_000);
    let prompt = system.chain((0..QUESTION).map(|i| (i * 31 + n * 977 + 5) % 40_000)).collect();
    let params = GenerateParams { max_tokens: 4, ignore_eos: true, ..GenerateParams::default() };
    let (start, mut first, mut events) = (Instant::now(), None, Vec::new());
    server.generate(Task { prompt, params, seed: 1, trace_id: Digest::ZERO }, scope, None)?;
    while server.step(&mut events) {
        if first.is_none() && events.iter().any(|e| matches!(e, Event::Token { .. })) {
            first = Some(start.elapsed().as_secs_f64());
        }
    }
    first.ok_or_else(|| format!("no token came: {events:?}").into())
}
