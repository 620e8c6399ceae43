//! Benches: we and the peer in one run, as a ratio. `docs/BENCHMARKS.md` holds the figures.

mod llama;
mod peer;

use crate::cargo;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds of each side of the network bench; the best of each counts.
const ROUNDS: usize = 3;
/// How long anything may take to come up.
const WAIT: Duration = Duration::from_secs(120);

/// Runs the benches named, or all; `llama` alone may have options.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    if let Some((&"llama", options)) = args.split_first() {
        return llama::run(options);
    }
    let all = ["engine", "llama", "net", "path", "sim"];
    let names: Vec<&str> = if args.is_empty() { all.to_vec() } else { args.to_vec() };
    for name in names {
        match name {
            "engine" => engine()?,
            "llama" => llama::run(&[])?,
            "net" => cargo(&["run", "--release", "--quiet", "-p", "talkoo-net", "--example", "throughput"])?,
            "path" => path()?,
            "sim" => {
                cargo(&["run", "--release", "--quiet", "-p", "talkoo-sim", "--example", "replay", "--", "0..2000"])?;
            }
            other => bail!("there is no bench `{other}`; there are {}", all.join(", ")),
        }
    }
    Ok(())
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

/// A node that is killed when the bench ends.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The same 24 prompts through a client and one worker (one thread), and through that engine directly.
fn path() -> Result<()> {
    cargo(&["build", "--release", "--quiet", "-p", "talkoo"])?;
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
    let program = Path::new(&target).join("release/talkoo");
    let dir = std::env::temp_dir().join(format!("talkoo-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let batch = dir.join("batch.jsonl");
    let prompts = std::fs::read_to_string("app/src/demo/prompts.jsonl")?;
    std::fs::write(&batch, prompts.lines().take(24).map(|l| format!("{l}\n")).collect::<String>())?;
    let talkoo = |node: &str, args: &[&str]| -> Result<Value> {
        let output =
            Command::new(&program).arg("--data-dir").arg(dir.join(node)).args(["-o", "json"]).args(args).output()?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    };
    let up = |node: &str, args: &[&str]| -> Result<Node> {
        let mut command = Command::new(&program);
        command.arg("--data-dir").arg(dir.join(node)).args(["up", "--api", "127.0.0.1:0", "--network", "bench"]);
        let child = command.args(["--threads", "1", "--pull", "smollm2"]).args(args).stderr(Stdio::null()).spawn()?;
        Ok(Node(child))
    };
    let _client = up("client", &[])?;
    until("the client's model", || Ok(talkoo("client", &["ls"])?["models"][0]["root"].is_string()))?;
    let at = talkoo("client", &["invite"])?["at"][0].as_str().context("an address")?.to_owned();
    let _worker = up("worker", &["--sources", "peers", "--provide", "--bootstrap", &at])?;
    until("the worker's offer", || {
        Ok(talkoo("client", &["peers"])?["peers"][0]["offers"].as_u64().is_some_and(|n| n > 0))
    })?;
    let (mut network, mut direct) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let batch = batch.to_string_lossy();
        let done = talkoo("client", &["batch", &batch, "--verify", "none"])?;
        network = network.min(start.elapsed().as_secs_f64());
        ensure!(done["done"] == 24, "the batch did not end well: {done}");
        let output = Command::new(&program)
            .env("TALKOO_LOG", "info")
            .env("NO_COLOR", "1")
            .args(["demo-reference", "--threads", "1", "--name", "smollm2-135m-instruct", "--model"])
            .arg(model()?)
            .args(["--file", &batch, "--to"])
            .arg(dir.join("direct.jsonl"))
            .output()?;
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let seconds =
            log.split("seconds=").nth(1).and_then(|t| t.split_whitespace().next()).and_then(|t| t.parse().ok());
        direct = direct.min(seconds.with_context(|| format!("no time in `{log}`"))?);
    }
    println!(
        "24 prompts, one worker with one thread: network {network:.2} s, engine alone {direct:.2} s, ratio {:.3}",
        direct / network
    );
    std::fs::remove_dir_all(&dir).ok();
    Ok(())
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < WAIT, "waited {WAIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
