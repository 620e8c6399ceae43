//! HTTP on loopback: the native API, `/api/v1`, and its event stream; beside it, on a port of its own, Ethereum's
//! JSON-RPC ([`eth`]).
//!
//! This crate knows routes, tokens and deadlines, not what a call means: every request becomes a
//! [`Call`] for the node's loop, which answers it with JSON or a [`Refusal`]. The command line is a
//! client of this API, so whatever it can do, any program can.
//!
//! Every request of the native API needs `Authorization: Bearer <token>`, the token of `<data-dir>/api.token`, and a
//! loopback `Host`, so that no web page can reach it. Whatever is wrong with a request, the answer
//! is a refusal as JSON. Without TLS ([`Tls`]) whoever listens in on the way
//! to an address that others reach has the token.

mod call;
mod callers;
mod check;
mod document;
pub mod eth;
mod feed;
mod guard;
mod limits;
mod problem;
mod repeats;
mod requests;
mod routes;
mod serve;
pub mod shapes;
mod tls;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use guard::{Hosts, guard, tell_caller};
use problem::problem;
use repeats::Repeats;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use talkoo_base::{Digest, Refusal, RefusalCode};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For whoever puts up other routes.
pub use axum;
pub use document::openapi;
pub use feed::{Feed, TYPES};
pub use limits::BODY_BYTES_MAX;
pub use problem::refusal_json;
pub use repeats::Repeated;
pub use routes::{ROUTES, Repeat, Route, Verb};
pub use serve::serve;
pub use tls::{Tls, TlsError};

/// A request on its way to the node's loop.
#[derive(Debug)]
pub struct Call {
    /// Name of the route.
    pub name: &'static str,
    /// Path and query parameters and the JSON body's fields, in one object.
    pub args: Value,
    /// Of a request with an `Idempotency-Key`: the same again if the same request comes again. What is made of it can be found again.
    pub once: Option<Digest>,
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
    /// What is kept for requests that come again cannot be read or written.
    #[error("cannot keep what was asked before in {}: is the disk full?", path.display())]
    Repeats {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The port for TLS is taken, or the address is not ours.
    #[error("the API cannot listen on {addr}: is the port taken? choose another with --tls-listen")]
    ListenTls {
        /// Where.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The same as [`ApiError::Listen`], for Ethereum's JSON-RPC.
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
    /// What happens.
    pub events: Feed,
    /// File of what was asked with an `Idempotency-Key`.
    pub repeats: PathBuf,
    /// Other routes of the same port. They hear who asks, as [`Caller`], and decide for themselves.
    pub faces: Router,
    /// Where others come in by TLS.
    pub tls: Option<Tls>,
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

/// Where a request comes from: an extension of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection: of a proxy, if there is one between.
    pub ip: std::net::IpAddr,
    /// Whether it came by TLS.
    pub is_tls: bool,
}

#[derive(Clone)]
struct Shared {
    token: Arc<str>,
    calls: mpsc::Sender<Call>,
    events: Feed,
    repeats: Arc<Repeats>,
    /// Requests that are done to their end, whoever waits for them.
    tasks: TaskTracker,
    stop: CancellationToken,
    hosts: Hosts,
    body_bytes_max: usize,
}

/// A listening API: where it listens, and the future that serves until it is stopped.
pub struct Api {
    /// The address, with the port that the system chose.
    pub addr: SocketAddr,
    /// That of TLS.
    pub tls_addr: Option<SocketAddr>,
    /// What was answered to requests with an `Idempotency-Key`.
    pub repeated: Repeated,
    listener: TcpListener,
    router: Router,
    tls: Option<(TcpListener, TlsAcceptor, Router)>,
    tasks: TaskTracker,
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
        let Attach { addr, token, calls, events, repeats: path, faces, tls, stop } = attach;
        let listen = |source| ApiError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let hosts = if addr.ip().is_loopback() { Hosts::Loopback } else { Hosts::Addresses };
        let repeats = Arc::new(Repeats::open(&path).map_err(|source| ApiError::Repeats { path, source })?);
        let (token, tasks, repeated) = (token.into(), TaskTracker::new(), Repeated(repeats.clone()));
        let shared =
            Shared { token, calls, events, repeats, tasks: tasks.clone(), stop: stop.clone(), hosts, body_bytes_max };
        let tls = match tls {
            None => None,
            Some(tls) => {
                let listen = |source| ApiError::ListenTls { addr: tls.addr, source };
                let acceptor = tls::acceptor(&tls)?;
                let listener = TcpListener::bind(tls.addr).await.map_err(listen)?;
                let shared = Shared { hosts: Hosts::Any, ..shared.clone() };
                Some((listener, acceptor, router(shared, faces.clone())))
            }
        };
        let tls_addr = tls.as_ref().and_then(|(listener, ..)| listener.local_addr().ok());
        Ok(Self { addr, tls_addr, repeated, listener, router: router(shared, faces), tls, tasks, stop })
    }

    /// Serves until stopped.
    ///
    /// # Errors
    /// What the socket says when it breaks.
    pub async fn serve(self) -> std::io::Result<()> {
        let plain = serve::serve(self.listener, self.router, self.stop.clone());
        let served = match self.tls {
            None => plain.await,
            Some((listener, tls, router)) => {
                let (plain, tls) = tokio::join!(plain, serve::serve_tls(listener, tls, router, self.stop));
                plain.and(tls)
            }
        };
        self.tasks.close();
        // The node's loop has ended or is about to: what has no answer by then has none.
        tokio::time::timeout(limits::STOP_WAIT, self.tasks.wait()).await.ok();
        served
    }
}

fn router(shared: Shared, faces: Router) -> Router {
    let mut router = call::described(Router::new());
    for route in ROUTES {
        router = router.route(route.path, call::method(route));
    }
    router
        .fallback(|| async { problem(StatusCode::NOT_FOUND, &no_route()) })
        .method_not_allowed_fallback(|| async { problem(StatusCode::METHOD_NOT_ALLOWED, &no_method()) })
        .layer(axum::extract::DefaultBodyLimit::max(shared.body_bytes_max))
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared.clone())
        .merge(faces.layer(from_fn_with_state(shared, tell_caller)))
}

fn no_route() -> Refusal {
    Refusal::new(RefusalCode::UnknownId, "there is no such route", "see docs/API.md")
}

fn no_method() -> Refusal {
    let hint = "the `Allow` header says which there are; see docs/API.md";
    Refusal::new(RefusalCode::Malformed, "this route does not have this method", hint)
}

#[cfg(test)]
mod tests;
