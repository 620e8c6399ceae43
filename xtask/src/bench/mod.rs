//! Benches: we and the peer in one run, as a ratio. `docs/BENCHMARKS.md` holds the figures.

pub(crate) mod bitswap;
mod embed;
mod float;
mod llama;
mod path;
pub(crate) mod peer;

use crate::{cargo, run_program};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// Runs the benches named, or all; `llama` alone may have options.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    if let Some((&"llama", options)) = args.split_first() {
        return llama::run(options);
    }
    let all = [
        "bitswap",
        "chain",
        "embed",
        "engine",
        "float",
        "gc",
        "import",
        "inference",
        "ledger",
        "llama",
        "path",
        "sealed",
        "sim",
    ];
    let names: Vec<&str> = if args.is_empty() { all.to_vec() } else { args.to_vec() };
    for name in names {
        match name {
            "bitswap" => bitswap::run()?,
            "chain" => {
                cargo(&["run", "--release", "--quiet", "-p", "talkoo-sim", "--example", "chain", "--", "bench"])?;
            }
            "embed" => embed::run()?,
            "engine" => engine()?,
            "float" => float::run()?,
            "gc" | "import" => {
                cargo(&["run", "--release", "--quiet", "-p", "talkoo-disk", "--example", "speed", "--", name])?;
            }
            "inference" => inference()?,
            "ledger" => ledger()?,
            "llama" => llama::run(&[])?,
            "path" => path::run()?,
            "sealed" => cargo(&["run", "--release", "--quiet", "-p", "talkoo-disk", "--example", "sealed"])?,
            "sim" => {
                cargo(&["run", "--release", "--quiet", "-p", "talkoo-sim", "--example", "replay", "--", "0..2000"])?;
            }
            other => bail!("there is no bench `{other}`; there are {}", all.join(", ")),
        }
    }
    Ok(())
}

/// Our RPC and anvil's, in turns.
fn ledger() -> Result<()> {
    let target = crate::target();
    let folder = "xtask/judges/ethereum";
    cargo(&["build", "--quiet", "--release", "-p", "talkoo"])?;
    run_program("npm", &["ci", "--silent", "--no-audit", "--no-fund", "--prefix", folder])?;
    run_program("node", &[&format!("{folder}/bench.mjs"), &format!("{target}/release/talkoo")])
}

/// A node's API and its own engine.
fn inference() -> Result<()> {
    let target = crate::target();
    cargo(&["build", "--quiet", "--release", "-p", "talkoo"])?;
    cargo(&["build", "--quiet", "--release", "-p", "talkoo-engine", "--example", "bench"])?;
    let threads = std::thread::available_parallelism()?.to_string();
    let (node, bench) = (format!("{target}/release/talkoo"), format!("{target}/release/examples/bench"));
    run_program("python3", &["xtask/bench/inference.py", &node, &bench, &model()?.to_string_lossy(), &threads])
}

fn model() -> Result<PathBuf> {
    let home = std::env::var("HOME").context("HOME is not set")?;
    let path = Path::new(&home).join(".cache/talkoo/models/SmolLM2-135M-Instruct.Q4_1.gguf");
    ensure!(path.exists(), "no model at {}; `cargo run --release -- run smollm2 hi` fetches it", path.display());
    Ok(path)
}

fn engine() -> Result<()> {
    let model = model()?;
    for threads in ["1", "2"] {
        let file = model.to_string_lossy();
        let bench = ["run", "--release", "--quiet", "-p", "talkoo-engine", "--example", "bench", "--"];
        cargo(&[&bench[..], &[&file, "speed", threads]].concat())?;
    }
    Ok(())
}
