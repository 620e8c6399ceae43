//! HTTP/1.1 to one server: a connection for each request, which ends with it. Every wait has a deadline, and
//! nothing is read before it is asked for: a slow reader slows the server.

use super::sse::{EVENT_BYTES_MAX, Events};
use super::words::{Piece, complaint, piece};
use super::{Server, failed};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;
use talkoo_base::Refusal;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

/// How long a server has to take a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// How long it may say nothing: a long prompt on a busy server takes its time, and the client's own patience is shorter.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// The answer to a request. Dropping it closes the connection.
pub(super) struct Answer {
    response: Response<Incoming>,
    _connection: AbortOnDropHandle<()>,
}

/// Sends a request; answers its head, whatever its status.
///
/// # Errors
/// If nothing listens there, it does not speak HTTP, or says nothing for too long.
pub(super) async fn send(server: &Server, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Refusal> {
    let silent = |_| failed("the engine said nothing for too long");
    let connect = timeout(CONNECT_WAIT, TcpStream::connect((server.host.as_str(), server.port))).await;
    let stream = connect.map_err(|_| failed("the engine takes no connection in time"))?;
    let stream = stream.map_err(|e| failed(format!("the engine takes no connection ({})", e.kind())))?;
    let broken = |e: hyper::Error| failed(format!("the engine's answer broke off ({e})"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = AbortOnDropHandle::new(tokio::spawn(async move { drop(connection.await) }));
    let mut request = Request::builder().method(method).uri(format!("{}{path}", server.prefix));
    // An IPv6 address stands in brackets.
    let host = if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.clone() };
    request = request.header(header::HOST, format!("{host}:{}", server.port));
    if let Some(key) = &server.key {
        request = request.header(header::AUTHORIZATION, key.header());
    }
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = request.header(header::CONTENT_TYPE, "application/json").body(Full::new(body));
    let request = request.map_err(|e| failed(format!("the request cannot be written ({e})")))?;
    let response = timeout(SILENCE_MAX, sender.send_request(request)).await.map_err(silent)?.map_err(broken)?;
    Ok(Answer { response, _connection: connection })
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The whole body, of a bounded length.
    pub(super) async fn text(self) -> Result<String, Refusal> {
        let body = Limited::new(self.response.into_body(), EVENT_BYTES_MAX).collect();
        let body = timeout(SILENCE_MAX, body).await.map_err(|_| failed("the engine said nothing for too long"))?;
        let body = body.map_err(|e| failed(format!("the engine's answer broke off ({e})")))?;
        Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }

    /// A stream of completions; a refusal if the server said no.
    pub(super) async fn pieces(self) -> Result<Pieces, Refusal> {
        let status = self.status();
        if status.is_success() {
            return Ok(Pieces { answer: self, events: Events::default(), ready: VecDeque::new() });
        }
        Err(failed(format!("the engine says {}: {}", status.as_u16(), complaint(&self.text().await?))))
    }
}

/// A stream of completions.
pub(super) struct Pieces {
    answer: Answer,
    events: Events,
    ready: VecDeque<String>,
}

impl Pieces {
    /// The next piece.
    ///
    /// # Errors
    /// If the stream ends before the answer does, breaks, is no stream of completions, or says nothing for too long.
    pub(super) async fn next(&mut self) -> Result<Piece, Refusal> {
        let early = || failed("the engine's answer ended before it was complete");
        loop {
            if let Some(data) = self.ready.pop_front() {
                return piece(&data)?.ok_or_else(early);
            }
            let frame = timeout(SILENCE_MAX, self.answer.response.body_mut().frame()).await;
            let frame = frame.map_err(|_| failed("the engine said nothing for too long"))?.ok_or_else(early)?;
            let frame = frame.map_err(|e| failed(format!("the engine's answer broke off ({e})")))?;
            if let Some(bytes) = frame.data_ref() {
                let events = self.events.push(bytes);
                self.ready.extend(events.map_err(|why| failed(format!("the engine sent {why}")))?);
            }
        }
    }
}
