//! What tools ask of the node: its routes of inference and the calls of its loop.

use crate::limits::{ANSWER_BYTES_MAX, LINE_BYTES_MAX};
use axum::Router;
use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{Request, header};
use axum::response::Response;
use futures::StreamExt as _;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use talkoo_api::Call;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_inference::{Keys, Scope, Who};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tower::ServiceExt as _;

/// Why a tool has no answer, for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct No {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl From<Refusal> for No {
    fn from(no: Refusal) -> Self {
        let numbers = match (&no.need, &no.have) {
            (Some(need), Some(have)) => format!(" (need {need}, have {have})"),
            _ => String::new(),
        };
        Self { code: no.code.as_str().to_owned(), message: format!("{}{numbers}", no.message), hint: no.hint }
    }
}

impl No {
    pub(crate) fn malformed(message: impl Into<String>, hint: &str) -> Self {
        Refusal::new(RefusalCode::Malformed, message, hint).into()
    }
}

/// The node, as tools see it.
pub(crate) struct Office {
    inference: Router,
    calls: mpsc::Sender<Call>,
    pub(crate) keys: Arc<Keys>,
    /// Tools that may still begin.
    pub(crate) places: Arc<Semaphore>,
    /// Data that may still be read at once.
    pub(crate) reads: Semaphore,
}

impl Office {
    pub(crate) fn new(inference: Router, calls: mpsc::Sender<Call>, keys: Arc<Keys>) -> Self {
        let places = Arc::new(Semaphore::new(crate::limits::CALLS_MAX));
        Self { inference, calls, keys, places, reads: Semaphore::new(crate::limits::READS_MAX) }
    }

    /// Whether somebody may use a tool of this scope.
    pub(crate) fn may(&self, who: &Who, scope: Scope) -> Result<(), No> {
        match who {
            Who::Owner => Ok(()),
            Who::Key(id) => Ok(self.keys.one(id)?.may(scope)?),
            Who::Anybody if matches!(scope, Scope::Inference | Scope::Batch | Scope::Mcp) => Ok(()),
            Who::Payer(_) => {
                Err(Refusal::new(RefusalCode::Denied, "who pays by x402 buys answers only", "docs/X402.md").into())
            }
            Who::Anybody => {
                let hint = format!("talkoo key create --scopes inference,batch,mcp,{}", scope.name());
                let message = format!("without a key there is no scope `{}`", scope.name());
                Err(Refusal::new(RefusalCode::Denied, message, hint).into())
            }
        }
    }

    /// A request of one of the routes of inference. Dropping the answer ends the work on it.
    pub(crate) async fn ask(
        &self,
        who: &Who,
        method: &str,
        path: &str,
        kind: &str,
        body: Body,
    ) -> Result<Response, No> {
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
        let request = request.extension(who.clone()).body(body);
        let request =
            request.map_err(|_| No::malformed("the name is none", "names have letters, digits, - _ . : /"))?;
        let response = self.inference.clone().oneshot(request).await.expect("a router has no errors");
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.unwrap_or_default();
        let error = serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let text = |key: &str| error["error"][key].as_str().map(str::to_owned);
        let message = text("message").unwrap_or_else(|| format!("the node answers with status {status}"));
        Err(No { code: text("code").unwrap_or_else(|| "other".into()), message, hint: String::new() })
    }

    /// The same with JSON both ways.
    pub(crate) async fn json(&self, who: &Who, method: &str, path: &str, body: Option<&Value>) -> Result<Value, No> {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        read(self.ask(who, method, path, "application/json", body).await?).await
    }

    /// A call of the node's loop.
    pub(crate) async fn call(&self, name: &'static str, args: Value, wait: Duration) -> Result<Value, No> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Refusal::new(RefusalCode::Stopping, "the node is stopping", "start it again");
        let call = Call { name, args, once: None, reply };
        let asked = async {
            self.calls.send(call).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())?
        };
        let late = |_| {
            let message = format!("the node did not answer `{name}` in {} s", wait.as_secs());
            Refusal::new(RefusalCode::Silent, message, "what it was told to do may still happen: ask how it stands")
        };
        Ok(tokio::time::timeout(wait, asked).await.map_err(late)??)
    }
}

/// A whole answer as JSON.
pub(crate) async fn read(response: Response) -> Result<Value, No> {
    let no = || Refusal::new(RefusalCode::TooLarge, "the node's answer is too large", "ask for less");
    let body = to_bytes(response.into_body(), ANSWER_BYTES_MAX).await.map_err(|_| no())?;
    let broken = |_| Refusal::new(RefusalCode::Other, "the node's answer is not JSON", "please report it");
    Ok(serde_json::from_slice(&body).map_err(broken)?)
}

/// The lines of an answer, as they come.
pub(crate) struct Lines {
    stream: BodyDataStream,
    rest: Vec<u8>,
    ready: VecDeque<String>,
}

impl Lines {
    pub(crate) fn of(response: Response) -> Self {
        Self { stream: response.into_body().into_data_stream(), rest: Vec::new(), ready: VecDeque::new() }
    }

    /// The next one; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, No> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Ok(Some(line));
            }
            let Some(bytes) = self.stream.next().await else {
                let last = String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned();
                return Ok(Some(last).filter(|last| !last.is_empty()));
            };
            let broke = |why| Refusal::new(RefusalCode::Silent, format!("the answer broke off ({why})"), "ask again");
            self.rest.extend_from_slice(&bytes.map_err(broke)?);
            if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                let rest = self.rest.split_off(end + 1);
                let whole = std::mem::replace(&mut self.rest, rest);
                self.ready.extend(String::from_utf8_lossy(&whole).lines().map(str::to_owned));
            }
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(
                    Refusal::new(RefusalCode::TooLarge, "a line of the answer is too long", "ask for less").into()
                );
            }
        }
    }
}

/// A refusal as the structured content of a tool's error.
pub(crate) fn no_json(no: &No) -> Value {
    json!({"code": no.code, "message": no.message, "hint": no.hint})
}
