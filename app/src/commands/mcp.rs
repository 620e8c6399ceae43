//! `mcp`: the Model Context Protocol on standard input and output, for clients that start a command. It passes messages on to the
//! running node's `/mcp` and adds nothing, so it is the same server by another way.
//!
//! ```text
//! a line ─► POST /mcp ─► events of the answer ─► lines
//! ```
//! A client of a version with sessions gets one; if the node forgets it, or starts again, it is begun again unseen. A cancelled request's
//! connection is closed, which ends its work.

use super::{Failure, print, say};
use crate::client::Client;
use crate::daemon::remote::Events;
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use talkoo_base::RefusalCode;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// How long a node may take to start.
const START_WAIT: Duration = Duration::from_secs(60);
/// How long it may take to take a connection, and to begin an answer.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// An answer's stream says something every fifteen seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// How long answers that are under way may take after the client has said all.
const END_WAIT: Duration = Duration::from_secs(30);
/// Messages that are under way, and bytes of one: as the node takes.
const AT_ONCE: usize = 64;
const LINE_BYTES_MAX: u64 = 2 << 20;
/// The key under which a message of a version without sessions names its version.
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Runs until the client has nothing more to say.
pub(super) fn run(data_dir: &Path, key: Option<String>) -> Result<()> {
    be_there(data_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start")?;
    runtime.block_on(Bridge::new(data_dir, key).serve());
    Ok(())
}

/// Starts a node in a data folder if none runs there.
fn be_there(data_dir: &Path) -> Result<()> {
    let runs = || Client::of(data_dir).and_then(|client| client.get("/status")).is_ok();
    if runs() {
        return Ok(());
    }
    std::fs::create_dir_all(data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    let log = data_dir.join("up.log");
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&log);
    let file = file.with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program")?);
    command.arg("--data-dir").arg(data_dir).arg("up").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    // It goes on when the client of this command is gone.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut node = command.spawn().context("cannot start a node")?;
    say("no node runs here: starting one");
    let begun = Instant::now();
    while begun.elapsed() < START_WAIT {
        if runs() {
            return Ok(());
        }
        if node.try_wait().context("cannot look after the node")?.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let message = format!("the node did not start; {} says why", log.display());
    Err(Failure::new(RefusalCode::Silent, message, "start it yourself: `talkoo up`").into())
}

/// What a version with sessions needs of its beginning.
#[derive(Clone, Default)]
struct Session {
    /// The client's `initialize`, to begin again with.
    begun: Option<Value>,
    id: Option<String>,
    version: Option<String>,
}

struct Bridge {
    data_dir: PathBuf,
    /// What to ask with; none asks as the owner.
    key: Option<String>,
    session: Mutex<Session>,
    running: Mutex<BTreeMap<String, AbortHandle>>,
    places: Arc<Semaphore>,
}

/// A line for the client.
fn tell(message: &Value) {
    print(&message.to_string());
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

impl Bridge {
    fn new(data_dir: &Path, key: Option<String>) -> Arc<Self> {
        let data_dir = data_dir.to_owned();
        let places = Arc::new(Semaphore::new(AT_ONCE));
        Arc::new(Self { data_dir, key, session: Mutex::default(), running: Mutex::default(), places })
    }

    async fn serve(self: Arc<Self>) {
        let (to, mut lines) = mpsc::channel(AT_ONCE);
        // It ends with its input, or with the process.
        std::thread::spawn(move || read_lines(&to));
        let mut tasks = JoinSet::new();
        while let Some(line) = lines.recv().await {
            let message: Value =
                match line.map_err(str::to_owned).and_then(|l| serde_json::from_slice(&l).map_err(|e| e.to_string())) {
                    Ok(message) => message,
                    Err(why) => {
                        tell(&error(&Value::Null, -32_700, &format!("the line is no message ({why})")));
                        continue;
                    }
                };
            if !message.is_object() {
                tell(&error(&Value::Null, -32_600, "a message is one object: there are no batches since 2025-06-18"));
                continue;
            }
            while tasks.try_join_next().is_some() {}
            if message["method"] == "initialize" {
                self.clone().begin(message).await;
            } else if message["method"] == "notifications/cancelled" {
                self.cancel(message).await;
            } else {
                let place = self.places.clone().acquire_owned().await.expect("it is never closed");
                let (id, own) = (message["id"].to_string(), self.clone());
                let task = tasks.spawn(async move {
                    let _place = place;
                    own.pass(&message).await;
                    own.running().remove(&message["id"].to_string());
                });
                self.running().insert(id, task);
            }
        }
        timeout(END_WAIT, async { while tasks.join_next().await.is_some() {} }).await.ok();
    }

    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(self: Arc<Self>, message: Value) {
        *self.session() = Session { begun: Some(message.clone()), ..Session::default() };
        self.pass(&message).await;
    }

    /// With a session the node ends the work; without, the end of the connection does.
    async fn cancel(&self, message: Value) {
        let id = message["params"]["requestId"].to_string();
        if self.session().id.is_some() {
            self.pass(&message).await;
        } else if let Some(task) = self.running().remove(&id) {
            task.abort();
        }
    }

    /// Sends a message, and prints what is answered.
    async fn pass(&self, message: &Value) {
        let id = &message["id"];
        let answered = match self.post(message).await {
            Ok(response) if response.status() == 404 && self.again(message).await => self.post(message).await,
            other => other,
        };
        let told = match answered {
            Ok(response) => self.told(response, message).await,
            Err(why) => Err(why),
        };
        if let Err(why) = told
            && !id.is_null()
        {
            tell(&error(id, -32_603, &format!("{why:#}")));
        }
    }

    /// Begins the session again that the node does not know any more.
    async fn again(&self, message: &Value) -> bool {
        let (begun, had) = {
            let session = self.session();
            (session.begun.clone(), session.id.is_some())
        };
        let Some(begun) = begun.filter(|_| had && message["method"] != "initialize") else { return false };
        let Ok(response) = self.post(&begun).await else { return false };
        self.keep(&response);
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        response.status().is_success() && self.post(&initialized).await.is_ok()
    }

    fn keep(&self, response: &Response<Incoming>) {
        let id = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok());
        if let Some(id) = id {
            self.session().id = Some(id.to_owned());
        }
    }

    async fn post(&self, message: &Value) -> Result<Response<Incoming>> {
        // A node that was started again may be elsewhere.
        let (addr, owner) = Client::of(&self.data_dir)?.at();
        let bearer = self.key.as_ref().map_or(owner, |key| format!("Bearer {key}"));
        let connected =
            timeout(CONNECT_WAIT, TcpStream::connect(&addr)).await.context("the node takes no connection")?;
        let stream = connected.context("the node takes no connection: is it up?")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or when that is dropped.
        tokio::spawn(async move { drop(connection.await) });
        let mut request = Request::post("/mcp")
            .header(header::HOST, &addr)
            .header(header::AUTHORIZATION, &bearer)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream");
        let session = self.session().clone();
        let own = message["params"]["_meta"][VERSION].as_str().map(str::to_owned);
        if let Some(version) = &own {
            // A version without sessions has these headers instead (SEP-2243).
            request = request.header("mcp-protocol-version", version);
            request = request.header("mcp-method", message["method"].as_str().unwrap_or_default());
            if let Some(name) = message["params"]["name"].as_str().or_else(|| message["params"]["uri"].as_str()) {
                request = request.header("mcp-name", name);
            }
        } else if message["method"] != "initialize" {
            if let Some(id) = session.id {
                request = request.header("mcp-session-id", id);
            }
            if let Some(version) = session.version {
                request = request.header("mcp-protocol-version", version);
            }
        }
        let request =
            request.body(Full::new(Bytes::from(message.to_string()))).context("the message names something odd")?;
        Ok(timeout(SILENCE, sender.send_request(request)).await.context("the node says nothing")??)
    }

    async fn told(&self, response: Response<Incoming>, message: &Value) -> Result<()> {
        if message["method"] == "initialize" {
            self.keep(&response);
        }
        let status = response.status();
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            let body =
                timeout(SILENCE, response.into_body().collect()).await.context("the node says nothing")??.to_bytes();
            return match serde_json::from_slice::<Value>(&body) {
                Ok(mut answer) if answer.is_object() && !message["id"].is_null() => {
                    // What is refused at the door has no id yet.
                    answer["id"] = message["id"].clone();
                    tell(&answer);
                    Ok(())
                }
                _ if status.is_success() => Ok(()),
                _ => anyhow::bail!("the node answers {status}: {}", String::from_utf8_lossy(&body)),
            };
        }
        let (mut body, mut lines) = (response.into_body(), Events::default());
        while let Some(frame) = timeout(SILENCE, body.frame()).await.context("the node says nothing")? {
            let Ok(bytes) = frame?.into_data() else { continue };
            for event in lines.push(&bytes).map_err(anyhow::Error::msg)? {
                let Ok(answer) = serde_json::from_str::<Value>(&event) else { continue };
                if message["method"] == "initialize" {
                    let version = answer["result"]["protocolVersion"].as_str().map(str::to_owned);
                    self.session().version = version;
                }
                tell(&answer);
            }
        }
        Ok(())
    }
}

/// Lines of the input, each of a bounded length.
fn read_lines(to: &mpsc::Sender<Result<Vec<u8>, &'static str>>) {
    let mut input = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        match (&mut input).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let is_long = line.len() as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n');
        if is_long && input.skip_until(b'\n').is_err() {
            return;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let said = if is_long { Err("it is longer than 2 MiB") } else { Ok(line) };
        if to.blocking_send(said).is_err() {
            return;
        }
    }
}
