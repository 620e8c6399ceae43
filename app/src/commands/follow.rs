//! Following a job: progress, lost leases, liars; and why nobody works for it.

use super::{Failure, Show, say};
use crate::client::{Client, Events};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use talkoo_base::RefusalCode;

/// A job that nothing was heard of for so long may have no worker.
const QUIET: Duration = Duration::from_secs(3);
/// Events that wait to be shown; the node buffers more.
const EVENTS_MAX: usize = 256;
/// Nodes that are named when none works for a job.
const NAMED_MAX: usize = 8;

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
fn short(node: &str) -> &str {
    &node[node.len().saturating_sub(6)..]
}

/// Why nobody works for a job: said once, and again when it changes.
#[derive(Default)]
struct Idle {
    said: Option<BTreeSet<(String, String)>>,
}

impl Idle {
    /// Takes the node's explanation of the job; answers what to say, if there is something new.
    fn look(&mut self, explain: &Value) -> Option<Vec<String>> {
        let rows = |key: &str| explain[key].as_array().cloned().unwrap_or_default();
        if !rows("working").is_empty() {
            self.said = None;
            return None;
        }
        let alone = explain["peers"] == json!(0);
        // What keeps our own node away is said below, with what to do about it.
        let (own, others): (Vec<Value>, Vec<Value>) =
            rows("refused").into_iter().partition(|r| r["node"] == explain["node"]);
        if others.is_empty() && own.is_empty() && !alone {
            // Somebody is being asked.
            return None;
        }
        let key = |r: &Value| (text(r, "node").to_owned(), text(r, "code").to_owned());
        let mut why: BTreeSet<_> = own.iter().chain(&others).map(key).collect();
        why.extend(alone.then(|| (String::new(), String::new())));
        if self.said.as_ref() == Some(&why) {
            return None;
        }
        self.said = Some(why);
        let mut lines = vec!["no node works for this job yet; it waits, and goes on by itself".to_owned()];
        lines.extend(others.iter().take(NAMED_MAX).map(reason));
        if others.len() > NAMED_MAX {
            lines.push(format!(
                "  and {} more: `talkoo job explain {}`",
                others.len() - NAMED_MAX,
                text(explain, "job")
            ));
        }
        lines.extend(rows("reasons").iter().map(|row| told("  ".to_owned(), row)));
        // That it offers nothing stands among the reasons.
        lines.extend(own.iter().filter(|row| row["code"] != json!("not_providing")).map(reason));
        Some(lines)
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// One node and what is against it.
fn reason(row: &Value) -> String {
    told(format!("  node {}: ", short(text(row, "node"))), row)
}

/// A reason with its numbers and what to do about it.
fn told(mut line: String, row: &Value) -> String {
    line.push_str(text(row, "message"));
    if let (Some(need), Some(have)) = (row["need"].as_str(), row["have"].as_str()) {
        line.push_str(&format!(" (need {need}, have {have})"));
    }
    if !text(row, "hint").is_empty() {
        line.push_str(&format!("; {}", text(row, "hint")));
    }
    line
}

/// What is to be followed.
pub(super) struct Followed<'a> {
    /// The job.
    pub(super) job: &'a str,
    /// Its steps.
    pub(super) steps: u64,
    /// Those that were over before.
    pub(super) over: u64,
}

/// Shows a job's progress until it is closed.
pub(super) fn follow(client: &Client, events: Events, what: &Followed<'_>, show: &Show) -> Result<()> {
    let Followed { job, steps, over } = *what;
    let (bar, mut watch, start) = (bar(steps, "steps"), Watch::default(), Instant::now());
    bar.set_position(over);
    let talk = |line: &str| bar.suspend(|| say(&show.hint(line)));
    let events = received(events)?;
    let (mut idle, mut look) = (Idle::default(), Instant::now() + QUIET);
    loop {
        let event = events.recv_timeout(look.saturating_duration_since(Instant::now()));
        if Instant::now() >= look {
            look = Instant::now() + QUIET;
            // A node that is too busy to explain is asked again.
            let explain = client.get(&format!("/jobs/{job}/explain")).ok();
            explain.and_then(|e| idle.look(&e)).into_iter().flatten().for_each(|line| talk(&line));
        }
        let event = match event {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        heard(&event, job).into_iter().for_each(|line| talk(&line));
        if (event["type"] == json!("lagged") || event["type"] == json!("reset")) && is_closed(client, job) {
            return Ok(());
        }
        if event["job"] != json!(job) {
            continue;
        }
        look = Instant::now() + QUIET;
        bar.inc(u64::from(watch.take(&event)));
        bar.set_message(watch.line(start));
        if event["type"] == json!("job.closed") {
            bar.finish_and_clear();
            return Ok(());
        }
    }
    bar.finish_and_clear();
    let hint = format!("start it again with `talkoo up`, then `talkoo job show {job} --follow`");
    Err(Failure::new(RefusalCode::Stopping, "the node stopped; the job goes on when it is up again", hint).into())
}

/// Reads the events in a thread of their own, so that the follower can look around meanwhile. The
/// thread ends with the stream, or with the process.
fn received(events: Events) -> Result<Receiver<Value>> {
    let (sender, receiver) = sync_channel(EVENTS_MAX);
    let forward = move || {
        for event in events {
            if sender.send(event).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("events".into()).spawn(forward)?;
    Ok(receiver)
}

/// What an event is worth a line of.
fn heard(event: &Value, job: &str) -> Option<String> {
    let (node, message) = (short(text(event, "node")), text(event, "message"));
    match text(event, "type") {
        "node.convicted" => Some(format!("node {node} lied: {message}")),
        "dispute.ended" => {
            Some(format!("dispute {} with node {node}: {}", short(text(event, "id")), text(event, "state")))
        }
        "lease.lost" if event["job"] == json!(job) => {
            Some(format!("step {} left node {node}: {message}", event["step"]))
        }
        _ => None,
    }
}

/// Whether a job is over; events of its end may have been missed.
fn is_closed(client: &Client, job: &str) -> bool {
    client.get(&format!("/jobs/{job}")).is_ok_and(|j| j["status"] != json!("open"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(own: bool, peers: u32, refused: &Value) -> Value {
        // As the node tells them.
        let alone = json!({"code": "disconnected", "message": "no peer is connected", "hint": "talkoo join CODE"});
        let not_own = json!({"code": "not_providing", "message": "it offered nothing", "hint": "run the batch again"});
        let off = json!({"code": "not_providing", "message": "it offers nothing now", "hint": "talkoo provide start"});
        let reasons = [(peers == 0).then_some(alone), Some(if own { off } else { not_own })];
        let reasons: Vec<Value> = reasons.into_iter().flatten().collect();
        json!({"job": "j", "node": "me", "own": own, "peers": peers, "reasons": reasons, "working": [], "refused": refused})
    }

    #[test]
    fn why_nobody_works_is_said_once_and_again_when_it_changes() {
        let no_card =
            json!([{"node": "aaaa123456", "code": "not_providing", "message": "no card", "hint": "wait 3 s"}]);
        let other_words =
            json!([{"node": "aaaa123456", "code": "not_providing", "message": "no card", "hint": "wait 2 s"}]);
        let too_dear = json!([{"node": "aaaa123456", "code": "price_above_max", "message": "too dear", "need": "2", "have": "1", "hint": "raise --max-price"}]);
        let ours = json!([{"node": "me", "code": "not_providing", "message": "slots 0", "hint": ""}]);
        let mut working = explain(true, 1, &json!([]));
        working["working"] = json!([{"node": "aaaa123456"}]);
        let steps = [
            ("alone", explain(false, 0, &json!([])), Some("talkoo join CODE")),
            ("alone, still", explain(false, 0, &json!([])), None),
            ("being asked", explain(false, 1, &json!([])), None),
            ("a reason", explain(true, 1, &no_card), Some("node 123456: no card; wait 3 s")),
            ("other words for it", explain(true, 1, &other_words), None),
            ("another reason", explain(true, 1, &too_dear), Some("too dear (need 2, have 1); raise --max-price")),
            ("somebody works", working, None),
            ("nobody again", explain(true, 1, &too_dear), Some("too dear")),
            ("our own", explain(true, 0, &ours), Some("talkoo provide start")),
            ("our own was not to", explain(false, 1, &no_card), Some("run the batch again")),
        ];
        let mut idle = Idle::default();
        for (name, explain, want) in steps {
            let said = idle.look(&explain).map(|lines| lines.join("\n"));
            match want {
                None => assert_eq!(said, None, "{name}"),
                Some(text) => assert!(said.as_ref().is_some_and(|s| s.contains(text)), "{name}: {said:?}"),
            }
        }
    }
}
