//! What happens, told in one line each, from the client node's events.

use super::Cast;
use super::child::Child;
use crate::commands::{Watch, bar, say};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use talkoo_base::CHUNK_TOKENS;

/// Longest silence of the client while its job runs.
const SILENCE: Duration = Duration::from_secs(300);
/// How long a verdict may take that is open when the last answer comes.
const VERDICT: Duration = Duration::from_secs(120);

/// What one node did, counted from events.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deeds {
    pub(crate) steps: u64,
    pub(crate) tokens: u64,
    pub(crate) audits: u64,
    pub(crate) matched: u64,
    pub(crate) refuted: u64,
}

/// The demo as it was seen.
pub(crate) struct Story {
    cast: Cast,
    numbers: BTreeMap<String, usize>,
    pub(crate) deeds: BTreeMap<String, Deeds>,
    pub(crate) lost: u64,
    pub(crate) liar_convicted: bool,
    pub(crate) wrongly_accused: u64,
    pub(crate) seconds: f64,
    killed: bool,
    streaming: BTreeMap<(u64, u64), u64>,
    /// The job's latest convictions, for the table.
    pub(crate) convicted: BTreeMap<String, String>,
    /// Steps that leave one node for one reason, to be told in one line.
    leaving: Option<Leaving>,
    /// Disputes that have no end yet.
    disputed: BTreeSet<String>,
    /// Disputes that ended, guilty or not.
    pub(crate) judged: Vec<Value>,
    /// Leases whose answer is being checked, and whether somebody found it to be false.
    checked: BTreeMap<(u64, u64), bool>,
}

struct Leaving {
    node: String,
    why: String,
    steps: Vec<String>,
    units: u64,
}

impl Story {
    pub(crate) fn new(cast: Cast, nodes: &[Child]) -> Self {
        Self {
            cast,
            numbers: nodes.iter().map(|n| (n.id.clone(), n.number)).collect(),
            deeds: BTreeMap::new(),
            lost: 0,
            liar_convicted: false,
            wrongly_accused: 0,
            seconds: 0.0,
            killed: false,
            streaming: BTreeMap::new(),
            convicted: BTreeMap::new(),
            leaving: None,
            checked: BTreeMap::new(),
            disputed: BTreeSet::new(),
            judged: Vec::new(),
        }
    }

    /// Posts the batch, kills the victim in mid-stream, follows to the end. Returns the job's id.
    pub(crate) fn play(&mut self, nodes: &mut [Child], file: &str, verify: &str) -> Result<String> {
        let client = nodes[0].client()?;
        let events = client.events()?;
        let posted = client.post("/jobs", &json!({"file": file, "verify": verify, "own": false}))?;
        let job = posted["job"].as_str().context("the client named no job")?.to_owned();
        let steps = posted["steps"].as_u64().unwrap_or(0);
        if let Some(bad) = posted["bad"].as_array().and_then(|b| b.first()) {
            bail!("a shipped prompt cannot be run: {bad}");
        }
        let (bar, mut watch, start) = (bar(steps, "steps"), Watch::default(), Instant::now());
        let (sender, heard) = mpsc::channel();
        std::thread::spawn(move || events.into_iter().try_for_each(|event| sender.send(event)));
        let mut over: Option<Instant> = None;
        while over.is_none_or(|at| self.waits() && at.elapsed() < VERDICT) {
            let event = match heard.recv_timeout(if over.is_none() { SILENCE } else { VERDICT }) {
                Ok(event) => event,
                Err(RecvTimeoutError::Timeout) if over.is_some() => break,
                Err(RecvTimeoutError::Timeout) => bail!("the client said nothing for {} s", SILENCE.as_secs()),
                Err(RecvTimeoutError::Disconnected) => bail!("the client node stopped before the job was over"),
            };
            let line = self.hear(&event, nodes)?;
            let left = if event["type"] == json!("lease.lost") { None } else { self.leave() };
            left.into_iter().chain(line).for_each(|line| bar.suspend(|| say(&line)));
            if event["job"] != json!(job) || over.is_some() {
                continue;
            }
            if watch.take(&event) {
                bar.inc(1);
            }
            bar.set_message(watch.line(start));
            if event["type"] == json!("job.closed") {
                bar.finish_and_clear();
                self.seconds = start.elapsed().as_secs_f64();
                say(&format!("{steps} answers in {:.1} s, {}", self.seconds, watch.line(start)));
                over = Some(Instant::now());
            }
        }
        Ok(job)
    }

    /// Whether a verdict is open, here or on chain.
    fn waits(&self) -> bool {
        !self.checked.is_empty() || !self.disputed.is_empty()
    }

    /// What people call a node here.
    fn name(&self, node: &str) -> String {
        let number = self.numbers.get(node).map_or_else(|| "?".to_owned(), ToString::to_string);
        format!("node {number} ({})", &node[node.len().saturating_sub(6)..])
    }

    /// One event; the line it deserves, if any.
    fn hear(&mut self, event: &Value, nodes: &mut [Child]) -> Result<Option<String>> {
        let node = event["node"].as_str().unwrap_or_default();
        let (step, lease) = (event["step"].as_u64().unwrap_or(0), event["lease"].as_u64().unwrap_or(0));
        let message = event["message"].as_str().unwrap_or_default();
        let line = match event["type"].as_str().unwrap_or_default() {
            "lease.progress" => {
                let units = event["units"].as_u64().unwrap_or(0);
                self.streaming.insert((step, lease), units);
                return self.maybe_kill(node, step, units, nodes);
            }
            "step.done" => {
                let deeds = self.deeds.entry(node.to_owned()).or_default();
                deeds.steps += 1;
                deeds.tokens += event["units"].as_u64().unwrap_or(0);
                return Ok(None);
            }
            "audit.started" => {
                self.checked.entry((step, lease)).or_default();
                return Ok(None);
            }
            "audit.ended" => {
                let equal = event["equal"] == json!(true);
                let worker = self.deeds.entry(node.to_owned()).or_default();
                *(if equal { &mut worker.matched } else { &mut worker.refuted }) += 1;
                if let Some(verifier) = event["verifier"].as_str() {
                    let disputed = self.checked.entry((step, lease)).or_default();
                    *disputed |= !equal;
                    if !*disputed {
                        self.checked.remove(&(step, lease));
                    }
                    self.deeds.entry(verifier.to_owned()).or_default().audits += 1;
                } else {
                    self.checked.remove(&(step, lease));
                }
                return Ok(None);
            }
            "lease.lost" => {
                if self.numbers.get(node) == Some(&self.cast.victim) && self.killed {
                    self.lost += 1;
                }
                let same = |l: &mut Leaving| l.node == node && l.why == message;
                let before = if self.leaving.as_mut().is_some_and(same) { None } else { self.leave() };
                let fresh = Leaving { node: node.to_owned(), why: message.to_owned(), steps: Vec::new(), units: 0 };
                let leaving = self.leaving.get_or_insert(fresh);
                leaving.steps.push(step.to_string());
                leaving.units += event["units"].as_u64().unwrap_or(0);
                return Ok(before);
            }
            "node.convicted" => {
                let is_liar = self.cast.liar.is_some_and(|liar| self.numbers.get(node) == Some(&liar));
                self.liar_convicted |= is_liar;
                self.wrongly_accused += u64::from(!is_liar);
                self.convicted.insert(node.to_owned(), message.to_owned());
                format!("{} lied: {message}; it is refused from now on", self.name(node))
            }
            "dispute.begun" | "dispute.move" | "dispute.ended" => return Ok(self.judge(event)),
            "evidence.kept" => format!("evidence is kept: {}", event["file"].as_str().unwrap_or_default()),
            _ => return Ok(None),
        };
        Ok(Some(line))
    }

    /// A move of a dispute.
    fn judge(&mut self, event: &Value) -> Option<String> {
        let id = event["id"].as_str().unwrap_or_default();
        match event["type"].as_str().unwrap_or_default() {
            "dispute.begun" => {
                self.disputed.insert(id.to_owned());
                return None;
            }
            "dispute.ended" => {
                self.disputed.remove(id);
                self.judged.push(event.clone());
                return None;
            }
            _ => {}
        }
        let name = self.name(event["node"].as_str().unwrap_or_default());
        let gas = event["transaction_gas"].as_u64().map_or_else(String::new, |gas| format!(" [{gas} gas]"));
        let message = event["message"].as_str().unwrap_or_default();
        Some(format!("dispute {} with {name}: {message}{gas}", &id[..id.len().min(8)]))
    }

    /// Whether the liar was found guilty on chain, and nobody else.
    pub(crate) fn is_judged(&self) -> bool {
        let liar = |event: &Value| {
            let number = self.numbers.get(event["node"].as_str().unwrap_or_default());
            number.is_some() && number == self.cast.liar.as_ref()
        };
        let guilty = |event: &&Value| event["state"] == json!("guilty");
        self.judged.iter().any(|event| guilty(&event)) && self.judged.iter().filter(guilty).all(liar)
    }

    /// The line for the steps that left a node last.
    fn leave(&mut self) -> Option<String> {
        let Leaving { node, why, steps, units } = self.leaving.take()?;
        let (word, them) = if steps.len() == 1 { ("step", "it moves") } else { ("steps", "they move") };
        let name = self.name(&node);
        Some(format!("{word} {} left {name} after {units} tokens: {why}; {them} on", steps.join(", ")))
    }

    /// Kills the victim while it streams: at least one chunk came, and the answer goes on.
    fn maybe_kill(&mut self, node: &str, step: u64, units: u64, nodes: &mut [Child]) -> Result<Option<String>> {
        let is_victim = self.numbers.get(node) == Some(&self.cast.victim);
        let mid_stream = units >= u64::from(CHUNK_TOKENS) && units.is_multiple_of(u64::from(CHUNK_TOKENS));
        if self.killed || !is_victim || !mid_stream {
            return Ok(None);
        }
        self.killed = true;
        nodes[self.cast.victim].kill()?;
        Ok(Some(format!("SIGKILL to {} in the middle of step {step}, {units} tokens sent", self.name(node))))
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "seconds": self.seconds,
            "leases_lost": self.lost,
            "liar_convicted": self.liar_convicted,
            "wrongly_accused": self.wrongly_accused,
            "judged": self.judged,
        })
    }
}
