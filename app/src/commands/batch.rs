//! `batch`: a file of prompts on the network.

use super::{Show, print, say};
use crate::cli::BatchArgs;
use crate::client::Client;
use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How long a second Ctrl-C counts as one that cancels.
const AGAIN: Duration = Duration::from_secs(2);

/// A bar on stderr.
pub(crate) fn bar(length: u64, what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix:>10} [{bar:28}] {pos}/{len} {wide_msg}");
    bar.set_style(style.expect("a constant template").progress_chars("=> "));
    bar.set_prefix(what.to_owned());
    bar
}

/// What a watcher knows of a job from its events.
#[derive(Default)]
pub(crate) struct Watch {
    /// Output tokens of each lease under way.
    units: BTreeMap<(u64, u64), u64>,
    /// Output tokens of finished leases.
    settled: u64,
    nodes: BTreeMap<String, u64>,
}

impl Watch {
    /// Takes an event of the job; says whether a step was finished.
    pub(crate) fn take(&mut self, event: &Value) -> bool {
        let key = (event["step"].as_u64().unwrap_or(0), event["lease"].as_u64().unwrap_or(0));
        let units = event["units"].as_u64().unwrap_or(0);
        let node = event["node"].as_str().unwrap_or_default();
        match event["type"].as_str() {
            Some("lease.progress") => {
                let before = self.units.insert(key, units).unwrap_or(0);
                *self.nodes.entry(node.to_owned()).or_default() += units.saturating_sub(before);
                false
            }
            Some("step.done") => {
                self.settled += self.units.remove(&key).unwrap_or(units);
                true
            }
            Some("step.failed") => true,
            _ => false,
        }
    }

    /// Tokens so far and the short names of the nodes that made them.
    pub(crate) fn line(&self, since: Instant) -> String {
        let tokens: u64 = self.nodes.values().sum();
        let rate = tokens as f64 / since.elapsed().as_secs_f64().max(0.001);
        let nodes: Vec<&str> = self.nodes.keys().map(|n| short(n)).collect();
        format!("{rate:.0} tokens/s on {}", nodes.join(" "))
    }
}

/// The last six digits of a node's name.
pub(crate) fn short(node: &str) -> &str {
    &node[node.len().saturating_sub(6)..]
}

pub(super) fn run(args: &BatchArgs, output: Option<&Path>, data_dir: &Path, show: Show) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&args.file).with_context(|| format!("cannot read {}", args.file.display()))?;
    let client = Client::of(data_dir)?;
    let events = client.events()?;
    let order = json!({
        "file": text,
        "model": args.model,
        "nodes": args.nodes,
        "max_price": args.max_price,
        "verify": args.verify,
        "strict": args.strict,
    });
    let posted = client.post("/jobs", &order)?;
    let job = posted["job"].as_str().context("the node named no job")?.to_owned();
    let bad = posted["bad"].as_array().cloned().unwrap_or_default();
    for line in &bad {
        let id = line["custom_id"].as_str().unwrap_or("?");
        say(&format!("line {} ({id}): {}", line["line"], line["message"].as_str().unwrap_or("")));
    }
    say(&format!("job {job}: {} steps", posted["steps"]));
    detach_on_interrupt(data_dir, &job)?;
    follow(events, &job, posted["steps"].as_u64().unwrap_or(0))?;
    let done = client.get(&format!("/jobs/{job}/output"))?;
    let text = done["output"].as_str().unwrap_or_default();
    match output {
        Some(path) => std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?,
        None if !show.json() => print(text.trim_end()),
        None => {}
    }
    let status = client.get(&format!("/jobs/{job}"))?;
    if show.json() {
        show.value(&status);
    } else {
        say(&format!("{} done, {} failed, {} lines not run", status["done"], status["failed"], bad.len()));
        say(&format!("receipts: {}", data_dir.join("receipts").join(&job).display()));
    }
    let whole = status["failed"] == json!(0) && bad.is_empty() && status["status"] == json!("finished");
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Shows a job's progress until it is closed.
fn follow(events: crate::client::Events, job: &str, steps: u64) -> Result<()> {
    let (bar, mut watch, start) = (bar(steps, "steps"), Watch::default(), Instant::now());
    for event in events {
        if event["type"] == json!("node.convicted") {
            let message = event["message"].as_str().unwrap_or_default();
            bar.println(format!("node {} lied: {message}", short(event["node"].as_str().unwrap_or_default())));
        }
        if event["job"] != json!(job) {
            continue;
        }
        if watch.take(&event) {
            bar.inc(1);
        }
        bar.set_message(watch.line(start));
        if event["type"] == json!("lease.lost") {
            let message = event["message"].as_str().unwrap_or_default();
            let node = short(event["node"].as_str().unwrap_or_default());
            bar.println(format!("step {} left node {node}: {message}", event["step"]));
        }
        if event["type"] == json!("job.closed") {
            bar.finish_and_clear();
            return Ok(());
        }
    }
    bail!("the node stopped; the job goes on when it is up again: talkoo job show {job}")
}

/// The first Ctrl-C detaches and says how to come back; a second one within two seconds cancels.
fn detach_on_interrupt(data_dir: &Path, job: &str) -> Result<()> {
    let (job, data_dir) = (job.to_owned(), data_dir.to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("interrupt".into()).spawn(move || {
        runtime.block_on(async {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            say(&format!("\nthe job goes on; see it with: talkoo job show {job}"));
            say(&format!("its results: talkoo job output {job} -o OUT — Ctrl-C again within 2 s cancels it"));
            if tokio::time::timeout(AGAIN, tokio::signal::ctrl_c()).await.is_ok() {
                let cancel = Client::of(&data_dir).and_then(|c| c.delete(&format!("/jobs/{job}")));
                say(&cancel.map_or_else(|why| why.to_string(), |_| "cancelled".to_owned()));
            }
            std::process::exit(130);
        });
    })?;
    Ok(())
}
