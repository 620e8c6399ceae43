//! How like other engines' answers are to what a model would say, for `cargo xtask bench float`.
//!
//! ```text
//! cargo run --release -p talkoo-engine --example weigh -- MODEL.gguf < LINES
//! ```
//! A line has a temperature in thousandths, the ids of a prompt with commas, and those of an answer. Prints, for each line:
//! tokens, matched, mean gap, drawn, outside, excess and standard deviation in nats.
#![allow(clippy::print_stdout)]

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use talkoo_base::{Digest, GenerateParams};
use talkoo_engine::{Engine, Model, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("give a model")?;
    let mut engine = Engine::new(Arc::new(Model::load(Path::new(&path))?), 2);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let ids = |text: &str| text.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>();
        let [milli, prompt, output] = line.split(' ').collect::<Vec<_>>()[..] else { return Err("three words".into()) };
        let params =
            GenerateParams { temperature_q16: milli.parse::<u32>()? * 65_536 / 1_000, ..GenerateParams::default() };
        let task = Task { prompt: ids(prompt)?, params, seed: 0, trace_id: Digest::ZERO };
        let l = engine.weigh(&task, &ids(output)?)?;
        let gap = l.gap_q16 as f64 / 65_536.0 / (l.tokens - l.drawn).max(1) as f64;
        let (excess, deviation) = (l.excess_milli as f64 / 1e3, (l.variance_milli as f64 / 1e3).sqrt());
        println!("{} {} {gap} {} {} {excess} {deviation}", l.tokens, l.matched, l.drawn, l.outside);
    }
    Ok(())
}
