//! Benches: we and the peer in one run, as a ratio. `docs/BENCHMARKS.md` holds the figures.

use crate::cargo;
use anyhow::{Result, bail};

/// Runs the benches named, or all.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let all = ["engine", "net", "sim"];
    let names: Vec<&str> = if args.is_empty() { all.to_vec() } else { args.to_vec() };
    for name in names {
        match name {
            "engine" => cargo(&["run", "--release", "--quiet", "-p", "talkoo-engine", "--example", "bench"])?,
            "net" => cargo(&["run", "--release", "--quiet", "-p", "talkoo-net", "--example", "throughput"])?,
            "sim" => cargo(&["run", "--release", "--quiet", "-p", "talkoo-sim", "--example", "replay", "--", "0..2000"])?,
            other => bail!("there is no bench `{other}`; there are {}", all.join(", ")),
        }
    }
    Ok(())
}
