//! The logits of one model file after every one of some token ids, for `cargo xtask judge`.
//!
//! ```text
//! cargo run --release -p talkoo-engine --example logits -- MODEL.gguf IDS.i32le OUT.f32le
//! cargo run --release -p talkoo-engine --example logits -- MODEL.gguf tokenize TEXT-FILE
//! ```
//! The second form prints the ids of the whole text on one line, control tokens parsed. Floating point is
//! used only here, on finished logits.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use talkoo_engine::{Engine, Model, Vocabulary};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, ids, out] = &arguments[..] else { return Err("give a model, token ids and an output file".into()) };
    if ids == "tokenize" {
        let ids = Vocabulary::open(Path::new(model))?.encode(&std::fs::read_to_string(out)?, true);
        println!("{}", ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
        return Ok(());
    }
    let bytes = std::fs::read(ids)?;
    let ids: Vec<u32> = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let mut engine = Engine::new(Arc::new(Model::load(Path::new(model))?), 2);
    let mut bytes = Vec::new();
    engine.score(&ids, &mut |_, logits| {
        bytes.extend(logits.iter().flat_map(|l| (*l as f32 / 65_536.0).to_le_bytes()));
    })?;
    std::fs::write(out, bytes)?;
    Ok(())
}
