//! Embeddings for `cargo xtask bench embed` and `cargo xtask judge wordpiece`.
//!
//! ```text
//! cargo run --release -p talkoo-engine --example embed -- convert FOLDER MODEL.gguf
//! cargo run --release -p talkoo-engine --example embed -- tokenize MODEL.gguf LINES > IDS-PER-LINE
//! cargo run --release -p talkoo-engine --example embed -- vectors MODEL.gguf LINES THREADS OUT.f32le
//! ```
//! `vectors` embeds all lines several times and prints the median of the `seconds`; floating point is used only
//! on finished vectors.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::Digest;
use talkoo_engine::{Embedder, Encoder, gguf_of_folder};

type Failure = Box<dyn std::error::Error>;

/// How often `vectors` embeds all lines.
const REPEATS: usize = 3;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |i: usize| arguments.get(i).map_or("", String::as_str);
    match argument(0) {
        "convert" => convert(Path::new(argument(1)), argument(2)),
        "tokenize" => tokenize(argument(1), argument(2)),
        "vectors" => vectors(argument(1), argument(2), argument(3).parse()?, argument(4)),
        mode => Err(format!("unknown mode {mode:?}; the modes stand at the top of embed.rs").into()),
    }
}

fn convert(folder: &Path, to: &str) -> Result<(), Failure> {
    let file = gguf_of_folder(&mut |name| match std::fs::read(folder.join(name)) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    })?;
    std::fs::write(to, &file)?;
    println!("{} bytes, root {}", file.len(), Encoder::parse(&file)?.root());
    Ok(())
}

fn lines(path: &str) -> Result<Vec<String>, Failure> {
    Ok(std::fs::read_to_string(path)?.split('\n').map(str::to_owned).collect())
}

fn tokenize(model: &str, path: &str) -> Result<(), Failure> {
    let encoder = Encoder::load(Path::new(model))?;
    for line in lines(path)? {
        let ids: Vec<String> = encoder.encode(&line).tokens.iter().map(u32::to_string).collect();
        println!("{}", ids.join(" "));
    }
    Ok(())
}

fn vectors(model: &str, path: &str, threads: usize, to: &str) -> Result<(), Failure> {
    let encoder = Arc::new(Encoder::load(Path::new(model))?);
    let mut embedder = Embedder::new(Arc::clone(&encoder), threads);
    println!("kernel {}", embedder.kernel_name());
    let lines = lines(path)?;
    let (mut out, mut times) = (Vec::new(), Vec::new());
    for _ in 0..=REPEATS {
        let start = Instant::now();
        let texts: Vec<Vec<u32>> = lines.iter().map(|line| encoder.encode(line).tokens).collect();
        out = embedder.embed(&texts, &Digest::ZERO)?;
        times.push(start.elapsed().as_secs_f64());
    }
    times[1..].sort_by(f64::total_cmp);
    println!("seconds {:.4}", times[1..][REPEATS / 2]);
    println!("tokens {}", lines.iter().map(|line| encoder.encode(line).tokens.len()).sum::<usize>());
    let real = |x: &i32| (f64::from(*x) / f64::from(1 << 30)) as f32;
    let bytes: Vec<u8> = out.iter().flat_map(|e| &e.vector).flat_map(|x| real(x).to_le_bytes()).collect();
    std::fs::write(to, bytes)?;
    Ok(())
}
