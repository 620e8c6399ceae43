//! The command line's client of the node's local API.

use crate::commands::{Failure, Form, say};
use anyhow::{Context, Result};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use talkoo_base::{Refusal, RefusalCode};

/// A node that is up answers at once; this is for one that is very busy.
const ANSWER: Duration = Duration::from_secs(90);
/// Moving a large file takes its time.
const TRANSFER: Duration = Duration::from_secs(24 * 3600);
/// The event stream says something at least every ten seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// A reader of events that was cut off asks again for this long,
const RESUME: Duration = Duration::from_secs(5);
/// so often.
const RESUME_EACH: Duration = Duration::from_millis(250);

/// Whether every call is told: `--explain`.
static TELLS: AtomicBool = AtomicBool::new(false);
/// Characters of a told body.
const TOLD_MAX: usize = 2_000;

/// Tells every call from now on.
pub(crate) fn explain() {
    TELLS.store(true, Ordering::Relaxed);
}

/// A running node's API.
pub(crate) struct Client {
    base: String,
    token: String,
    /// Where the token is, for who wants to see how it is done.
    token_file: PathBuf,
    agent: ureq::Agent,
}

impl Client {
    /// Finds the node of a data folder.
    pub(crate) fn of(data_dir: &Path) -> Result<Self> {
        let read = |name: &str| std::fs::read_to_string(data_dir.join(name)).map(|t| t.trim().to_owned());
        let Ok(addr) = read("api.addr") else {
            let message = format!("no node runs with the data folder {}", data_dir.display());
            return Err(Failure::new(RefusalCode::Disconnected, message, "start one with `talkoo up`").into());
        };
        let addr = reachable(&addr);
        let token = read("api.token").with_context(|| format!("cannot read api.token in {}", data_dir.display()))?;
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_recv_response(Some(ANSWER));
        let token_file = data_dir.join("api.token");
        Ok(Self { base: format!("http://{addr}/api/v1"), token, token_file, agent: config.build().into() })
    }

    /// Says a call as a curl command, without the token and without secrets.
    fn tell(&self, method: &str, url: &str, body: Option<&Value>) {
        if TELLS.load(Ordering::Relaxed) {
            say(&curl(method, url, &self.token_file, body));
        }
    }

    /// Where it is, and what it wants as `Authorization`.
    pub(crate) fn at(&self) -> (String, String) {
        let addr = self.base.trim_start_matches("http://").trim_end_matches("/api/v1");
        (addr.to_owned(), self.bearer())
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }

    /// The dashboard, with the token in the fragment, which no browser sends to a server.
    pub(crate) fn dashboard(&self) -> String {
        format!("{}/#token={}", self.base.trim_end_matches("/api/v1"), self.token)
    }

    /// Reads.
    pub(crate) fn get(&self, path: &str) -> Result<Value> {
        self.tell("GET", &format!("{}{path}", self.base), None);
        let request = self.agent.get(format!("{}{path}", self.base)).header("Authorization", self.bearer());
        self.answer(request.call())
    }

    /// Reads of another face of the node, by its whole path.
    pub(crate) fn face(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.base.trim_end_matches("/api/v1"));
        self.tell("GET", &url, None);
        self.answer(self.agent.get(url).header("Authorization", self.bearer()).call())
    }

    /// Does.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let text = body.to_string();
        if text.len() > talkoo_api::BODY_BYTES_MAX {
            let no = Refusal::new(RefusalCode::TooLarge, "this is more than the node takes at once", "split the file");
            return Err(Failure::from(no.with(talkoo_api::BODY_BYTES_MAX, text.len())).into());
        }
        self.tell("POST", &format!("{}{path}", self.base), Some(body));
        let request = self.agent.post(format!("{}{path}", self.base)).header("Authorization", self.bearer());
        self.answer(request.content_type("application/json").send(text))
    }

    /// Ends or removes.
    pub(crate) fn delete(&self, path: &str) -> Result<Value> {
        self.tell("DELETE", &format!("{}{path}", self.base), None);
        let request = self.agent.delete(format!("{}{path}", self.base)).header("Authorization", self.bearer());
        self.answer(request.call())
    }

    fn answer(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value> {
        let mut response = response.map_err(|why| self.silent(&why))?;
        let status = response.status();
        let value: Value =
            response.body_mut().with_config().limit(1 << 30).read_json().context("the node's answer is not JSON")?;
        if status.is_success() {
            return Ok(value);
        }
        // The native API tells problems, other faces have an object of OpenAI's shape.
        let said = value.get("error").unwrap_or(&value);
        let text = |key: &str| said[key].as_str().map(str::to_owned);
        let code = text("code").unwrap_or_default();
        let refusal = Refusal {
            code: if code == "model_not_found" { RefusalCode::UnknownModel } else { RefusalCode::parse(&code) },
            message: text("detail")
                .or_else(|| text("message"))
                .unwrap_or_else(|| format!("the node answers with status {status}")),
            need: text("need"),
            have: text("have"),
            hint: text("hint").unwrap_or_default(),
        };
        Err(Failure::from(refusal).into())
    }

    /// A call of `/api/v0`, kubo's RPC.
    pub(crate) fn rpc(&self, call: &str, args: &[(&str, &str)]) -> Result<impl Read + use<>> {
        let url = self.rpc_url(call, args);
        self.tell("POST", &url, None);
        let request = self.patient().post(url).header("Authorization", self.bearer());
        self.body(request.send_empty())
    }

    /// The same with an upload.
    pub(crate) fn upload(&self, call: &str, args: &[(&str, &str)], mut form: Form) -> Result<impl Read + use<>> {
        let url = self.rpc_url(call, args);
        self.tell("POST", &url, Some(&Value::String("a form with the files".into())));
        let request = self.patient().post(url).header("Authorization", self.bearer());
        let request = request.content_type(Form::media_type());
        self.body(request.send(ureq::SendBody::from_reader(&mut form)))
    }

    fn rpc_url(&self, call: &str, args: &[(&str, &str)]) -> String {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let args: Vec<String> =
            args.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        format!("{}/api/v0/{call}?{}", self.base.trim_end_matches("/api/v1"), args.join("&"))
    }

    /// For calls that move files: as long as something moves, they go on.
    fn patient(&self) -> ureq::Agent {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        config.timeout_recv_response(Some(TRANSFER)).timeout_recv_body(Some(TRANSFER)).build().into()
    }

    fn body(&self, response: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<impl Read + use<>> {
        let mut response = response.map_err(|why| self.silent(&why))?;
        if response.status().is_success() {
            return Ok(response.into_body().into_reader());
        }
        let value: Value = response.body_mut().read_json().context("the node's answer is not JSON")?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Err(Failure::new(RefusalCode::parse(&text("Reason")), text("Message"), "").into())
    }

    fn silent(&self, why: &ureq::Error) -> Failure {
        let message = format!("the node at {} does not answer ({why})", self.base);
        Failure::new(RefusalCode::Silent, message, "is it up? start it with `talkoo up`")
    }

    /// Opens the event stream. It listens by the time this returns, so nothing after it is missed. A reader that is cut off
    /// goes on where it was; events `lagged` and `reset` say if it could not.
    pub(crate) fn events(&self) -> Result<Events> {
        let config = ureq::Agent::config_builder()
            .timeout_recv_body(Some(Duration::from_secs(24 * 3600)))
            .timeout_recv_response(Some(SILENCE));
        let agent: ureq::Agent = config.build().into();
        self.tell("GET", &format!("{}/events", self.base), None);
        let (url, bearer) = (format!("{}/events", self.base), self.bearer());
        let mut events = Events { agent, url, bearer, last: None, lines: BufReader::new(Box::new(std::io::empty())) };
        events.open().map_err(|why| self.silent(&why))?;
        let mut line = String::new();
        events.lines.read_line(&mut line).context("the event stream ended at once")?;
        Ok(events)
    }
}

/// A call as a curl command.
fn curl(method: &str, url: &str, token_file: &Path, body: Option<&Value>) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let token = format!("\"Authorization: Bearer $(cat {})\"", quoted(&token_file.display().to_string()));
    let mut line = format!("curl -X {method} {} -H {token}", quoted(url));
    if let Some(body) = body {
        let mut body = body.clone();
        for secret in ["passphrase", "key"] {
            if body.get(secret).is_some_and(Value::is_string) {
                body[secret] = "…".into();
            }
        }
        let mut text = body.to_string();
        if text.chars().count() > TOLD_MAX {
            text = text.chars().take(TOLD_MAX).chain("…".chars()).collect();
        }
        line.push_str(&format!(" -H 'Content-Type: application/json' -d {}", quoted(&text)));
    }
    line
}

/// Where a node on this machine answers that listens on all of its addresses.
fn reachable(addr: &str) -> String {
    match addr.parse::<SocketAddr>() {
        Ok(all) if all.ip().is_unspecified() => {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), all.port()).to_string()
        }
        _ => addr.to_owned(),
    }
}

/// The node's events, as they happen.
pub(crate) struct Events {
    agent: ureq::Agent,
    url: String,
    bearer: String,
    /// Id of the last event that was read.
    last: Option<String>,
    lines: BufReader<Box<dyn std::io::Read + Send>>,
}

impl Events {
    fn open(&mut self) -> Result<(), ureq::Error> {
        let mut request = self.agent.get(&self.url).header("Authorization", &self.bearer);
        if let Some(last) = &self.last {
            request = request.header("Last-Event-ID", last);
        }
        self.lines = BufReader::new(Box::new(request.call()?.into_body().into_reader()));
        Ok(())
    }

    /// Asks again, until the node answers or it took too long.
    fn resume(&mut self) -> Option<()> {
        let end = Instant::now() + RESUME;
        while Instant::now() < end {
            std::thread::sleep(RESUME_EACH);
            if self.open().is_ok() {
                return Some(());
            }
        }
        None
    }
}

impl Iterator for Events {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        let (mut line, mut coming) = (String::new(), None);
        loop {
            line.clear();
            // A line without its end is one that was cut off.
            if self.lines.read_line(&mut line).is_err() || !line.ends_with('\n') {
                self.resume()?;
                coming = None;
            } else if let Some(id) = line.strip_prefix("id: ") {
                coming = Some(id.trim().to_owned());
            } else if let Some(json) = line.strip_prefix("data: ") {
                self.last = coming.or(self.last.take());
                return serde_json::from_str(json).ok();
            } else if line == "\n" {
                self.last = coming.take().or(self.last.take());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_without_secrets() {
        let told = |body| curl("POST", "http://h/api/v1/unlock", Path::new("/d/it's"), Some(&body));
        let line = told(serde_json::json!({"passphrase": "correct horse", "days": 2}));
        assert!(!line.contains("horse") && line.contains("\"days\":2") && line.contains(r"'/d/it'\''s'"), "{line}");
        assert!(told(serde_json::json!({"text": "x".repeat(9_000)})).len() < 3_000);
    }

    #[test]
    fn a_node_that_listens_everywhere_is_reached_here() {
        let cases = [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "127.0.0.1:1"), ("10.0.0.1:1", "10.0.0.1:1")];
        for (addr, want) in cases {
            assert_eq!(reachable(addr), want);
        }
    }
}
