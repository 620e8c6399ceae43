//! HTTP on loopback: the native API, `/api/v1`, and its event stream.
//!
//! This crate knows routes, tokens and deadlines, not what a call means: every request becomes a
//! [`Call`] for the node's loop, which answers it with JSON or a [`Refusal`]. The command line is a
//! client of this API, so whatever it can do, any program can.
//!
//! Every request needs `Authorization: Bearer <token>`, the token of `<data-dir>/api.token`, and a
//! loopback `Host`, so that no web page can reach it.

mod limits;
mod routes;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use limits::{ANSWER_MS_MAX, BODY_BYTES_MAX, KEEP_ALIVE_MS};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub use routes::{ROUTES, Route, Verb};

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
    #[error("cannot listen on {addr}: {source}; choose another with --api")]
    Listen {
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
    /// Ends the server.
    pub stop: CancellationToken,
}

#[derive(Clone)]
struct Shared {
    token: Arc<str>,
    calls: mpsc::Sender<Call>,
    events: broadcast::Sender<Arc<str>>,
    stop: CancellationToken,
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
        let Attach { addr, token, calls, events, stop } = attach;
        let listen = |source| ApiError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let shared = Shared { token: token.into(), calls, events, stop: stop.clone() };
        Ok(Self { addr, listener, router: router(shared), stop })
    }

    /// Serves until stopped.
    ///
    /// # Errors
    /// What the socket says when it breaks.
    pub async fn serve(self) -> std::io::Result<()> {
        let stop = self.stop.clone();
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

fn router(shared: Shared) -> Router {
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
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

fn no_route() -> Refusal {
    Refusal::new(RefusalCode::UnknownId, "there is no such route", "see docs/API.md")
}

/// Lets only the owner's programs in.
async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !loopback(headers) {
        let no = Refusal::new(RefusalCode::BadSignature, "the Host header is not loopback", "use 127.0.0.1");
        return problem(StatusCode::FORBIDDEN, &no);
    }
    let given =
        headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    // Compared as digests, so that the time it takes says nothing of the token.
    let digest = |text: &str| talkoo_base::sha256(&[text.as_bytes()]);
    if given.is_none_or(|given| digest(given) != digest(&shared.token)) {
        let hint = "send `Authorization: Bearer` with the content of api.token in the data folder";
        let no = Refusal::new(RefusalCode::BadSignature, "no or wrong token", hint);
        return problem(StatusCode::UNAUTHORIZED, &no);
    }
    next.run(request).await
}

fn loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

async fn call(
    route: &'static Route,
    State(shared): State<Shared>,
    Path(path): Path<BTreeMap<String, String>>,
    Query(query): Query<BTreeMap<String, String>>,
    body: Bytes,
) -> Response {
    let mut args: Map<String, Value> = match body.is_empty() {
        true => Map::new(),
        false => match serde_json::from_slice(&body) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => {
                let no = Refusal::new(RefusalCode::Malformed, "the body is not a JSON object", "send one");
                return problem(StatusCode::BAD_REQUEST, &no);
            }
        },
    };
    args.extend(path.into_iter().chain(query).map(|(k, v)| (k, Value::String(v))));
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
