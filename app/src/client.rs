//! The command line's client of the node's local API.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

/// A node that is up answers at once; this is for one that is very busy.
const ANSWER: Duration = Duration::from_secs(90);
/// The event stream says something at least every ten seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// A running node's API.
pub(crate) struct Client {
    base: String,
    token: String,
    agent: ureq::Agent,
}

impl Client {
    /// Finds the node of a data folder.
    pub(crate) fn of(data_dir: &Path) -> Result<Self> {
        let read = |name: &str| std::fs::read_to_string(data_dir.join(name)).map(|t| t.trim().to_owned());
        let Ok(addr) = read("api.addr") else {
            bail!("no node runs with the data folder {}; start one with `talkoo up`", data_dir.display());
        };
        let token = read("api.token").with_context(|| format!("cannot read api.token in {}", data_dir.display()))?;
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_recv_response(Some(ANSWER));
        Ok(Self { base: format!("http://{addr}/api/v1"), token, agent: config.build().into() })
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// Reads.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        let request = self.agent.get(format!("{}{path}", self.base)).header("Authorization", self.bearer());
        self.answer(request.call())
    }

    /// Does.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.base)).header("Authorization", self.bearer());
        self.answer(request.send_json(body))
    }

    /// Ends or removes.
    pub(crate) fn delete(&self, path: &str) -> Result<Value> {
        let request = self.agent.delete(format!("{}{path}", self.base)).header("Authorization", self.bearer());
        self.answer(request.call())
    }

    fn answer(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
        let mut response = response.map_err(|why| {
            anyhow!("the node at {} does not answer ({why}); is it up? start it with `talkoo up`", self.base)
        })?;
        let status = response.status();
        let value: Value =
            response.body_mut().with_config().limit(1 << 30).read_json().context("the node's answer is not JSON")?;
        if status.is_success() {
            return Ok(value);
        }
        let text = |key: &str| value["error"][key].as_str().unwrap_or_default().to_owned();
        let mut message = format!("{} [{}]", text("message"), text("code"));
        if let (Some(need), Some(have)) = (value["error"]["need"].as_str(), value["error"]["have"].as_str()) {
            message.push_str(&format!(" (need {need}, have {have})"));
        }
        if !text("hint").is_empty() {
            message.push_str(&format!("; {}", text("hint")));
        }
        bail!(message)
    }

    /// Opens the event stream. It listens by the time this returns, so nothing after it is missed.
    pub(crate) fn events(&self) -> Result<Events> {
        let config = ureq::Agent::config_builder()
            .timeout_recv_body(Some(Duration::from_secs(24 * 3600)))
            .timeout_recv_response(Some(SILENCE));
        let agent: ureq::Agent = config.build().into();
        let response = agent.get(format!("{}/events", self.base)).header("Authorization", self.bearer()).call()?;
        let mut events = Events(BufReader::new(Box::new(response.into_body().into_reader())));
        let mut line = String::new();
        events.0.read_line(&mut line).context("the event stream ended at once")?;
        Ok(events)
    }
}

/// The node's events, as they happen.
pub(crate) struct Events(BufReader<Box<dyn std::io::Read + Send>>);

impl Iterator for Events {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(json) = line.strip_prefix("data: ") {
                return serde_json::from_str(json).ok();
            }
        }
    }
}
