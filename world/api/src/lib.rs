//! HTTP on loopback: the native API, `/api/v1`, and its event stream; beside it, on a port of its own, Ethereum's
//! JSON-RPC ([`eth`]).
//!
//! This crate knows routes, tokens and deadlines, not what a call means: every request becomes a
//! [`Call`] for the node's loop, which answers it with JSON or a [`Refusal`]. The command line is a
//! client of this API, so whatever it can do, any program can.
//!
//! Every request of the native API needs `Authorization: Bearer <token>`, the token of `<data-dir>/api.token`, and a
//! loopback `Host`, so that no web page can reach it. Whatever is wrong with a request, the answer
//! is a refusal as JSON. There is no TLS: on an address that others reach, whoever listens in on
//! the way has the token.

pub mod eth;
mod limits;
mod routes;
mod serve;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use limits::{ANSWER_MS_MAX, KEEP_ALIVE_MS};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// For whoever puts up other routes.
pub use axum;
pub use limits::BODY_BYTES_MAX;
pub use routes::{ROUTES, Route, Verb};
pub use serve::serve;

/// A request on its way to the node's loop.
#[derive(Debug)]
pub struct Call {
    /// Name of the route.
    pub name: &'static str,
    /// Path and query parameters and the JSON body's fields, in one object.
    pub args: Value,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<Value, Refusal>>,
}

/// Why the API did not start.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The port is taken, or the address is not ours.
    #[error("the API cannot listen on {addr}: is the port taken? choose another with --api")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The same, for Ethereum's JSON-RPC.
    #[error("the Ethereum RPC cannot listen on {addr}: is the port taken? choose another with --ledger-rpc")]
    ListenRpc {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What the API needs of the node.
pub struct Attach {
    /// Where to listen; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// The bearer token.
    pub token: String,
    /// To the node's loop.
    pub calls: mpsc::Sender<Call>,
    /// From the node's loop: one JSON object for each event.
    pub events: broadcast::Sender<Arc<str>>,
    /// Other routes of the same port. They hear who asks, as [`Caller`], and decide for themselves.
    pub faces: Router,
    /// Ends the server.
    pub stop: CancellationToken,
}

/// Who asks, as the token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Whoever has it.
    Owner,
    /// Anybody else who reaches the port.
    Stranger,
}

#[derive(Clone)]
struct Shared {
    token: Arc<str>,
    calls: mpsc::Sender<Call>,
    events: broadcast::Sender<Arc<str>>,
    stop: CancellationToken,
    hosts: Hosts,
    body_bytes_max: usize,
}

/// Which `Host` a request may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hosts {
    /// Only this machine.
    Loopback,
    /// Also an IP address, for the owner let others reach the API. A name never: a web page can
    /// point its own name here.
    Addresses,
}

/// A listening API: where it listens, and the future that serves until it is stopped.
pub struct Api {
    /// The address, with the port that the system chose.
    pub addr: SocketAddr,
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
}

impl Api {
    /// Takes the port.
    ///
    /// # Errors
    /// [`ApiError::Listen`].
    pub async fn bind(attach: Attach) -> Result<Self, ApiError> {
        Self::bind_with(attach, BODY_BYTES_MAX).await
    }

    async fn bind_with(attach: Attach, body_bytes_max: usize) -> Result<Self, ApiError> {
        let Attach { addr, token, calls, events, faces, stop } = attach;
        let listen = |source| ApiError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let hosts = if addr.ip().is_loopback() { Hosts::Loopback } else { Hosts::Addresses };
        let shared = Shared { token: token.into(), calls, events, stop: stop.clone(), hosts, body_bytes_max };
        Ok(Self { addr, listener, router: router(shared, faces), stop })
    }

    /// Serves until stopped.
    ///
    /// # Errors
    /// What the socket says when it breaks.
    pub async fn serve(self) -> std::io::Result<()> {
        serve::serve(self.listener, self.router, self.stop).await
    }
}

fn router(shared: Shared, faces: Router) -> Router {
    let mut router = Router::new().route("/api/v1/events", axum::routing::get(events));
    for route in ROUTES {
        let handle = move |state, path, query, body| call(route, state, path, query, body);
        let method = match route.verb {
            Verb::Get => axum::routing::get(handle),
            Verb::Post => axum::routing::post(handle),
            Verb::Delete => axum::routing::delete(handle),
        };
        router = router.route(route.path, method);
    }
    router
        .fallback(|| async { problem(StatusCode::NOT_FOUND, &no_route()) })
        .method_not_allowed_fallback(|| async { problem(StatusCode::METHOD_NOT_ALLOWED, &no_method()) })
        .layer(axum::extract::DefaultBodyLimit::max(shared.body_bytes_max))
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared.clone())
        .merge(faces.layer(from_fn_with_state(shared, tell_caller)))
}

/// Tells a face who asks. A wrong token counts as none: programs send the token of another service along.
async fn tell_caller(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    if let Some(no) = other_host(request.headers(), shared.hosts) {
        return no;
    }
    let caller = if has_token(request.headers(), &shared) { Caller::Owner } else { Caller::Stranger };
    let is_question = request.method() == axum::http::Method::OPTIONS;
    if caller == Caller::Stranger && !is_question && is_of_another_page(request.headers()) {
        let hint = "open it yourself, or send the token";
        let no = Refusal::new(RefusalCode::BadSignature, "a web page of another origin asks, without the token", hint);
        return problem(StatusCode::FORBIDDEN, &no);
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn no_route() -> Refusal {
    Refusal::new(RefusalCode::UnknownId, "there is no such route", "see docs/API.md")
}

fn no_method() -> Refusal {
    let hint = "the `Allow` header says which there are; see docs/API.md";
    Refusal::new(RefusalCode::Malformed, "this route does not have this method", hint)
}

/// The answer to a request that does not name us as its host.
fn other_host(headers: &HeaderMap, hosts: Hosts) -> Option<Response> {
    if is_ours(headers, hosts) {
        return None;
    }
    let (message, hint) = match hosts {
        Hosts::Loopback => ("the Host header is not loopback", "use 127.0.0.1"),
        Hosts::Addresses => ("the Host header is not an IP address", "use the address instead of a name"),
    };
    Some(problem(StatusCode::FORBIDDEN, &Refusal::new(RefusalCode::BadSignature, message, hint)))
}

fn has_token(headers: &HeaderMap, shared: &Shared) -> bool {
    let given = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(bearer);
    // Compared as digests, so that the time it takes says nothing of the token.
    let digest = |text: &str| talkoo_base::sha256(&[text.as_bytes()]);
    given.is_some_and(|given| digest(given) == digest(&shared.token))
}

/// Whether a browser asks for a page that is not ours (w3.org/TR/fetch-metadata) without a key: to have the node fetch something
/// can be all that it wants. A key is not sent along without asking first, so a face may look at it.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let has_key = headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key");
    let host_of = |origin: &str| origin.split_once("://").map(|(_, host)| host.to_owned());
    let is_other = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, origin) => origin.is_some_and(|origin| host_of(origin).as_deref() != text("host")),
    };
    is_other && !has_key
}

/// Lets only the owner's programs in.
async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if let Some(no) = other_host(headers, shared.hosts) {
        return no;
    }
    if !has_token(headers, &shared) {
        let hint = "send `Authorization: Bearer` with the content of api.token in the data folder";
        let no = Refusal::new(RefusalCode::BadSignature, "no or wrong token", hint);
        return problem(StatusCode::UNAUTHORIZED, &no);
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok());
    let length = length.and_then(|v| v.parse::<u64>().ok());
    if let Some(bytes) = length.filter(|bytes| *bytes > shared.body_bytes_max as u64) {
        // Said before a byte of it is read.
        return problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            &too_large(shared.body_bytes_max).with(shared.body_bytes_max, bytes),
        );
    }
    next.run(request).await
}

/// The token of an `Authorization` header. The scheme's case says nothing (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

fn is_ours(headers: &HeaderMap, hosts: Hosts) -> bool {
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let is_address = || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") || hosts == Hosts::Addresses && is_address()
}

fn too_large(bytes_max: usize) -> Refusal {
    let hint = "split the batch into several files";
    let message = format!("the body has more than {bytes_max} bytes");
    Refusal::new(RefusalCode::TooLarge, message, hint)
}

fn malformed(message: &str, detail: &impl std::fmt::Display, hint: &str) -> (StatusCode, Refusal) {
    let no = Refusal::new(RefusalCode::Malformed, format!("{message} ({detail})"), hint);
    (StatusCode::BAD_REQUEST, no)
}

/// Path, query and body of a request as one object.
fn arguments(
    path: Result<Path<BTreeMap<String, String>>, PathRejection>,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
    body_bytes_max: usize,
) -> Result<Map<String, Value>, (StatusCode, Refusal)> {
    let Path(path) = path.map_err(|e| malformed("the path cannot be read", &e.body_text(), "write it in UTF-8"))?;
    let Query(query) =
        query.map_err(|e| malformed("the query cannot be read", &e.body_text(), "write it as name=value&…"))?;
    let body = body.map_err(|e| match e.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => (status, too_large(body_bytes_max)),
        _ => malformed("the body could not be read", &e.body_text(), "send it whole"),
    })?;
    let mut args: Map<String, Value> = match serde_json::from_slice(&body) {
        _ if body.is_empty() => Map::new(),
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(malformed("the body is not a JSON object", &"it is another value", "see docs/API.md")),
        Err(e) => return Err(malformed("the body is not a JSON object", &e, "see docs/API.md")),
    };
    args.extend(path.into_iter().chain(query).map(|(k, v)| (k, Value::String(v))));
    Ok(args)
}

async fn call(
    route: &'static Route,
    State(shared): State<Shared>,
    path: Result<Path<BTreeMap<String, String>>, PathRejection>,
    query: Result<Query<BTreeMap<String, String>>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let args = match arguments(path, query, body, shared.body_bytes_max) {
        Ok(args) => args,
        Err((status, no)) => return problem(status, &no),
    };
    let (reply, answer) = oneshot::channel();
    if shared.calls.send(Call { name: route.name, args: Value::Object(args), reply }).await.is_err() {
        let no = Refusal::new(RefusalCode::Stopping, "the node is stopping", "start it again");
        return problem(StatusCode::SERVICE_UNAVAILABLE, &no);
    }
    match tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), answer).await {
        Ok(Ok(Ok(value))) => axum::Json(value).into_response(),
        Ok(Ok(Err(refusal))) => problem(status(refusal.code), &refusal),
        Ok(Err(_)) => {
            let no = Refusal::new(RefusalCode::Stopping, "the node stopped before it answered", "start it again");
            problem(StatusCode::SERVICE_UNAVAILABLE, &no)
        }
        Err(_) => {
            let message = format!("the node's loop did not answer `{}` in {ANSWER_MS_MAX} ms", route.name);
            problem(StatusCode::GATEWAY_TIMEOUT, &Refusal::new(RefusalCode::Silent, message, "see the node's log"))
        }
    }
}

fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::UnknownId | RefusalCode::UnknownModel => StatusCode::NOT_FOUND,
        RefusalCode::Busy => StatusCode::TOO_MANY_REQUESTS,
        RefusalCode::InUse => StatusCode::CONFLICT,
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// A refusal as JSON: `{"error": {code, message, need, have, hint}}`.
#[must_use]
pub fn refusal_json(refusal: &Refusal) -> Value {
    json!({"error": {
        "code": refusal.code.as_str(),
        "message": refusal.message,
        "need": refusal.need,
        "have": refusal.have,
        "hint": refusal.hint,
    }})
}

fn problem(status: StatusCode, refusal: &Refusal) -> Response {
    (status, axum::Json(refusal_json(refusal))).into_response()
}

/// The event stream (`text/event-stream`): one `data:` line of JSON for each event.
async fn events(State(shared): State<Shared>) -> Response {
    let body = axum::body::Body::from_stream(lines(shared).map(Ok::<_, Infallible>));
    let headers = [(header::CONTENT_TYPE, "text/event-stream; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
}

fn lines(shared: Shared) -> impl Stream<Item = String> {
    let receiver = shared.events.subscribe();
    // Says at once that it listens: a client that posts a job after this line misses nothing.
    stream::once(async { ": listening\n\n".to_owned() }).chain(stream::unfold(
        (receiver, shared.stop),
        |(mut receiver, stop)| async move {
            let wait = Duration::from_millis(KEEP_ALIVE_MS);
            // In this order: what happened before the stop is still told.
            let line = tokio::select! {
                biased;
                event = receiver.recv() => match event {
                    Ok(json) => format!("data: {json}\n\n"),
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        format!("data: {{\"type\":\"lagged\",\"missed\":{missed}}}\n\n")
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(wait) => ": still here\n\n".to_owned(),
            };
            Some((line, (receiver, stop)))
        },
    ))
}

#[cfg(test)]
mod tests;
