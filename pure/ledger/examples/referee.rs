//! Asks the contract that ends disputes for random elements, and compares with the definition. Prints what was asked and the
//! most gas that each kind of element took. usage: referee COUNT [SEED [ARTIFACTS]], where another folder of artifacts has
//! other contracts, to see that differences are found; with "small" (SmolLM2's shape) or "large" (Llama 3 8B's) for SEED, the
//! model has that shape.
#![allow(clippy::print_stdout, reason = "this is what it is for")]

#[path = "../../exact/src/tests/made_up.rs"]
mod made_up;
#[path = "../src/tests/referee/play.rs"]
mod play;

use made_up::{Dice, model, model_of};
use play::{Court, Player, Tally};
use serde_json::Value;
use talkoo_exact::{Architecture, Features, Model};

/// Elements asked of one model.
const EACH: usize = 400;

fn main() {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().and_then(|a| a.parse().ok()).expect("usage: referee COUNT [SEED [ARTIFACTS]]");
    let seed = args.next().unwrap_or("1000".into());
    let mut court = match args.next() {
        None => Court::new(),
        Some(folder) => Court::of(["AttentionReferee", "Referee"].map(|name| {
            let text = std::fs::read_to_string(format!("{folder}/{name}.json")).expect("the folder has artifacts");
            let json: Value = serde_json::from_str(&text).expect("an artifact is JSON");
            json["bytecode"].as_str().and_then(|code| code.parse().ok()).expect("hexadecimal code")
        })),
    };
    let mut tally = Tally::default();
    if let Some(model) = shaped(&seed) {
        Player::new(1, model, &mut court).play(count, &mut tally);
    } else {
        let first: u64 = seed.parse().expect("a seed is a number");
        for seed in (first..).take(count.div_ceil(EACH)) {
            Player::new(seed, model(seed, seed % 3 == 2), &mut court).play(EACH, &mut tally);
        }
    }
    for ((place, stage), gas) in &tally.gas {
        println!("{:<40} {gas:>9}", format!("{place:?} {stage:?}"));
    }
    println!("{} elements equal, {} of them range errors", tally.asked, tally.out_of_range);
}

/// One layer of a known model's shape, with fewer tokens and no weights of meaning.
fn shaped(name: &str) -> Option<Model> {
    let (embedding, heads, kv_heads, head_dim, feed_forward) = match name {
        "small" => (576, 9, 3, 64, 1_536),
        "large" => (4_096, 32, 8, 128, 14_336),
        _ => return None,
    };
    let (layers, vocabulary, context, rope_dim) = (2, 4_096, 8_192, head_dim);
    let architecture = Architecture {
        layers,
        embedding,
        heads,
        kv_heads,
        head_dim,
        rope_dim,
        feed_forward,
        vocabulary,
        context,
        tied: true,
    };
    Some(model_of(&mut Dice(1), architecture, Features::default(), false))
}
