//! What the network costs: the same prompts through a client and its workers, and through the same
//! engines directly.

use super::model;
use crate::cargo;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds of each side; the best of each counts.
const ROUNDS: usize = 5;
/// How long anything may take to come up.
const WAIT: Duration = Duration::from_secs(120);
/// Prompts of one round.
const PROMPTS: usize = 48;

/// A process that is killed when the bench ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Bench {
    program: PathBuf,
    dir: PathBuf,
}

pub(super) fn run() -> Result<()> {
    cargo(&["build", "--release", "--quiet", "-p", "talkoo"])?;
    let target = crate::target();
    let dir = std::env::temp_dir().join(format!("talkoo-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let bench = Bench { program: Path::new(&target).join("release/talkoo"), dir };
    for (part, of) in [(0, 1), (0, 2), (1, 2)] {
        let prompts = std::fs::read_to_string("app/src/demo/prompts.jsonl")?;
        let mine = prompts.lines().take(PROMPTS).enumerate().filter(|(n, _)| n % of == part);
        std::fs::write(bench.file(part, of), mine.map(|(_, line)| format!("{line}\n")).collect::<String>())?;
    }
    let result = bench.compare();
    std::fs::remove_dir_all(&bench.dir).ok();
    result
}

impl Bench {
    fn file(&self, part: usize, of: usize) -> PathBuf {
        self.dir.join(format!("batch-{part}-{of}.jsonl"))
    }

    fn compare(&self) -> Result<()> {
        let _client = self.up("client", None, &[])?;
        until("the client's model", || Ok(self.talkoo("client", &["ls"])?["models"][0]["root"].is_string()))?;
        let at = self.talkoo("client", &["invite"])?["at"][0].as_str().context("an address")?.to_owned();
        let worker = |name: &str, core: usize| {
            self.up(name, Some(core), &["--sources", "peers", "--provide", "--bootstrap", &at])
        };
        let _one = worker("one", 0)?;
        self.until_offers(1)?;
        let (network, direct) = self.both(&[(0, 1, 0)])?;
        println!(
            "one worker on one core: network {network:.2} s, engine alone {direct:.2} s, ratio {:.3}",
            direct / network
        );

        let two = worker("two", 1)?;
        self.until_offers(2)?;
        let (network, direct) = self.both(&[(0, 2, 0), (1, 2, 1)])?;
        println!(
            "two workers on a core each: network {network:.2} s, engines alone side by side {direct:.2} s, ratio {:.3}",
            direct / network
        );

        // A third into the batch one of them dies: the other one has all the rest to do.
        let (at, start) = (network / 3.0, Instant::now());
        let took = std::thread::scope(|scope| {
            let batch = scope.spawn(|| self.batch());
            std::thread::sleep(Duration::from_secs_f64(at));
            drop(two);
            batch.join().expect("the batch's thread does not panic")
        })?;
        let share = at + 2.0 * (network - at);
        println!(
            "the same, one of them killed after {at:.2} s: {took:.2} s; its share done by the other one is {share:.2} s, so \
             the kill costs {:.2} s ({:.2} s in all)",
            took - share,
            start.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn talkoo(&self, node: &str, args: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        let output = command.arg("--data-dir").arg(self.dir.join(node)).args(["-o", "json"]).args(args).output()?;
        Ok(serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }

    fn pinned(&self, core: Option<usize>) -> Command {
        let Some(core) = core else { return Command::new(&self.program) };
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(&self.program);
        command
    }

    fn up(&self, node: &str, core: Option<usize>, args: &[&str]) -> Result<Running> {
        let mut command = self.pinned(core);
        command.arg("--data-dir").arg(self.dir.join(node)).args(["up", "--api", "127.0.0.1:0", "--network", "bench"]);
        command.args(["--threads", "1", "--pull", "smollm2"]).args(args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Running(child.context("cannot start a node; pinning needs `taskset`")?))
    }

    fn until_offers(&self, workers: usize) -> Result<()> {
        until("the workers' offers", || {
            let peers = self.talkoo("client", &["peers"])?;
            let offers = |p: &&Value| p["offers"].as_u64().is_some_and(|n| n > 0);
            Ok(peers["peers"].as_array().is_some_and(|all| all.iter().filter(offers).count() == workers))
        })
    }

    /// Seconds through the network and directly, one after the other in each round; the best of each.
    fn both(&self, parts: &[(usize, usize, usize)]) -> Result<(f64, f64)> {
        let (mut network, mut direct) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            network = network.min(self.batch()?);
            direct = direct.min(self.direct(parts)?);
        }
        Ok((network, direct))
    }

    /// Seconds of a batch through the network.
    fn batch(&self) -> Result<f64> {
        let start = Instant::now();
        let file = self.file(0, 1);
        let done = self.talkoo("client", &["batch", &file.to_string_lossy(), "--verify", "none"])?;
        ensure!(done["done"] == PROMPTS, "the batch did not end well: {done}");
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds of the slowest of some engines that run a part each, side by side; each tells its own.
    fn direct(&self, parts: &[(usize, usize, usize)]) -> Result<f64> {
        let start = |(part, of, core): &(usize, usize, usize)| -> Result<Child> {
            let mut command = self.pinned(Some(*core));
            command.env("TALKOO_LOG", "info").env("NO_COLOR", "1");
            command.args(["demo-reference", "--threads", "1", "--name", "smollm2-135m-instruct", "--model"]);
            command.arg(model()?).arg("--file").arg(self.file(*part, *of)).arg("--to");
            let to = self.dir.join(format!("direct-{part}.jsonl"));
            Ok(command.arg(to).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?)
        };
        let children = parts.iter().map(start).collect::<Result<Vec<Child>>>()?;
        let mut slowest = 0f64;
        for child in children {
            let log = String::from_utf8_lossy(&child.wait_with_output()?.stderr).into_owned();
            let word = log.split("seconds=").nth(1).and_then(|t| t.split_whitespace().next());
            let seconds: f64 = word.and_then(|t| t.parse().ok()).with_context(|| format!("no time in `{log}`"))?;
            slowest = slowest.max(seconds);
        }
        Ok(slowest)
    }
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < WAIT, "waited {WAIT:?} for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
