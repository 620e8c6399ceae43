//! One node process of the demo.

use crate::client::{Client, Events};
use crate::commands::{bar, say};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a node has to see everybody's offer.
const OFFERS_WAIT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A node process. It dies with this value.
pub(crate) struct Child {
    pub(crate) number: usize,
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) listen: Vec<String>,
    /// URL of its ledger.
    pub(crate) ledger: Option<String>,
    process: std::process::Child,
}

/// Starts a node and waits until it serves.
pub(crate) fn spawn(number: usize, dir: &Path, args: &[String]) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    if std::env::var_os("TALKOO_LOG").is_none() {
        // What happens to the liar, and in disputes, is told from the client's events.
        let is_liar = args.first().is_some_and(|command| command == "demo-node");
        let log = if is_liar { "error" } else { "warn,libp2p_kad=error,talkoo::disputes=error" };
        command.env("TALKOO_LOG", log);
    }
    let mut process = command
        .arg("--data-dir")
        .arg(dir)
        .args(["-o", "json"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start node {number}"))?;
    let stdout = process.stdout.take().context("a piped stdout")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let ready: Value = serde_json::from_str(&line).with_context(|| format!("node {number} did not come up"))?;
    let listen = ready["listen"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let id = ready["node"].as_str().unwrap_or_default().to_owned();
    let ledger = ready["ledger"].as_str().map(str::to_owned);
    Ok(Child { number, id, dir: dir.to_owned(), listen: listen.collect(), ledger, process })
}

impl Child {
    /// Its API.
    pub(crate) fn client(&self) -> Result<Client> {
        Client::of(&self.dir)
    }

    /// The last digits of its name.
    pub(crate) fn short(&self) -> &str {
        &self.id[self.id.len().saturating_sub(6)..]
    }

    /// Waits until the model is here and, on a worker, loaded and measured.
    pub(crate) fn wait_for_model(&self, how: &str) -> Result<()> {
        let client = self.client()?;
        let events = client.events()?;
        let provides = self.number > 0;
        if !self.is_ready(&client, provides)? {
            self.follow(events, provides)?;
        }
        let models = client.get("/models")?;
        let cid = models["models"][0]["cid"].as_str().unwrap_or_default().to_owned();
        if provides {
            let why = client.get("/provide")?;
            let offer = &why["offers"][0];
            let (prefill, decode) = (&offer["prefill_tps"], &offer["decode_tps"]);
            say(&format!("node {} ({}) has it {how}, runs {prefill}/{decode} tokens/s", self.number, self.short()));
        } else {
            say(&format!("node {} ({}) has {} as {cid}", self.number, self.short(), models["models"][0]["file"]));
        }
        Ok(())
    }

    fn is_ready(&self, client: &Client, provides: bool) -> Result<bool> {
        Ok(if provides {
            client.get("/provide")?["offers"].as_array().is_some_and(|o| !o.is_empty())
        } else {
            client.get("/models")?["models"].as_array().is_some_and(|m| !m.is_empty())
        })
    }

    fn follow(&self, events: Events, provides: bool) -> Result<()> {
        let bar = bar(0, &format!("node {}", self.number));
        let done = if provides { "model.ready" } else { "model.pulled" };
        for event in events {
            match event["type"].as_str() {
                Some("model.pulling") => {
                    bar.set_length(event["total"].as_u64().unwrap_or(0));
                    bar.set_position(event["bytes"].as_u64().unwrap_or(0));
                    bar.set_message(event["from"].as_str().unwrap_or_default().to_owned());
                }
                Some("model.failed") => {
                    bar.finish_and_clear();
                    bail!("node {}: {}", self.number, event["message"].as_str().unwrap_or("no model"));
                }
                Some(kind) if kind == done => {
                    bar.finish_and_clear();
                    return Ok(());
                }
                _ => {}
            }
        }
        bail!("node {} stopped before it had the model", self.number)
    }

    /// Waits until so many peers' offers are known here.
    pub(crate) fn wait_for_offers(&self, count: usize) -> Result<()> {
        let (client, start) = (self.client()?, Instant::now());
        loop {
            let peers = client.get("/peers")?;
            let offers = peers["peers"].as_array().into_iter().flatten().filter(|p| p["offers"] != json!(0)).count();
            if offers >= count {
                return Ok(());
            }
            let waited = start.elapsed();
            ensure!(waited < OFFERS_WAIT, "after {waited:?} node {} sees {offers} of {count} offers", self.number);
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Where the model's file is.
    pub(crate) fn model_file(&self) -> Result<PathBuf> {
        let models = self.client()?.get("/models")?;
        let file = models["models"][0]["file"].as_str().context("the client has no model")?.to_owned();
        Ok(self.dir.join("models").join(file))
    }

    /// SIGKILL: no goodbye.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill().with_context(|| format!("cannot kill node {}", self.number))
    }

    /// Asks it to stop, and waits.
    pub(crate) fn stop(&mut self) {
        if let Ok(client) = self.client() {
            client.post("/stop", &json!({})).ok();
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
