//! The door: HTTP and WebSockets on one port.
//!
//! Every origin may ask (`Access-Control-Allow-Origin: *`), for nothing here is secret or signs; only names that a web page
//! could point at this machine are refused, as by the native API.

use super::desk::{Answer, Asker, Desk, Visit};
use super::filters::fresh_id;
use super::request::{Batch, Request, answer};
use super::{Chain, RpcError, socket};
use crate::ApiError;
use crate::guard::{Hosts, is_ours};
use crate::limits::{
    RPC_AT_ONCE_MAX, RPC_AT_ONCE_OWN_MAX, RPC_BODY_BYTES_MAX, RPC_MS_MAX, SEND_MS, SEND_MS_MAX, SOCKETS_MAX,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{DefaultBodyLimit, Request as HttpRequest, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// What the RPC needs of the node.
pub struct RpcAttach {
    /// Where to listen; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// The chain it answers for.
    pub chain: Arc<dyn Chain>,
    /// Name of the network, told with the client's version.
    pub network_name: String,
    /// Ends the server.
    pub stop: CancellationToken,
}

/// A listening RPC: where it listens, and the future that serves until it is stopped.
pub struct Rpc {
    /// The address, with the port that the system chose.
    pub addr: SocketAddr,
    /// Where the node itself asks: a path that nobody guesses. Its requests have turns of their own, so no flood of others'
    /// keeps it from its money.
    pub own_url: String,
    listener: TcpListener,
    pub(super) server: Arc<Server>,
}

/// What all connections share.
pub(super) struct Server {
    desk: Arc<Desk>,
    /// Who may work now.
    pub(super) turns: Arc<Semaphore>,
    /// The node's own turns.
    own_turns: Arc<Semaphore>,
    /// Where the node asks.
    pub(super) own_path: String,
    /// Who may have a WebSocket.
    sockets: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
    hosts: Hosts,
}

impl Rpc {
    /// Takes the port.
    ///
    /// # Errors
    /// [`ApiError::ListenRpc`].
    pub async fn bind(attach: RpcAttach) -> Result<Self, ApiError> {
        let RpcAttach { addr, chain, network_name, stop } = attach;
        let listen = |source| ApiError::ListenRpc { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let own_path = format!("/{}", fresh_id().map_err(|why| listen(std::io::Error::other(why)))?);
        let own_url = format!("http://{addr}{own_path}");
        let server = Server {
            desk: Arc::new(Desk::new(chain, network_name)),
            turns: Arc::new(Semaphore::new(RPC_AT_ONCE_MAX)),
            own_turns: Arc::new(Semaphore::new(RPC_AT_ONCE_OWN_MAX)),
            own_path,
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            stop,
            hosts: if addr.ip().is_loopback() { Hosts::Loopback } else { Hosts::Addresses },
        };
        Ok(Self { addr, own_url, listener, server: Arc::new(server) })
    }

    /// Serves until stopped.
    ///
    /// # Errors
    /// What the socket says when it breaks.
    pub async fn serve(self) -> std::io::Result<()> {
        let Self { listener, server, .. } = self;
        crate::serve(listener, router(server.clone()), server.stop.clone()).await?;
        // WebSockets end by the same word; each holds one of these until it did.
        server.sockets.acquire_many(SOCKETS_MAX as u32).await.map(drop).map_err(std::io::Error::other)
    }
}

fn router(server: Arc<Server>) -> Router {
    let methods = axum::routing::post(post).get(upgrade).options(|| async { StatusCode::NO_CONTENT });
    Router::new()
        .route("/", methods)
        .route(&server.own_path, axum::routing::post(post_own))
        .layer(DefaultBodyLimit::max(RPC_BODY_BYTES_MAX))
        .layer(from_fn_with_state(server.clone(), guard))
        .with_state(server)
}

/// Refuses forged names, and lets web pages read the answers.
async fn guard(State(server): State<Arc<Server>>, request: HttpRequest, next: Next) -> Response {
    let mut response = match is_ours(request.headers(), server.hosts) {
        true => next.run(request).await,
        false => {
            problem(StatusCode::FORBIDDEN, RpcError::request("the Host header names another machine: use 127.0.0.1"))
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "*"),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        // Browsers ask before a page from outside may reach this machine.
        (header::HeaderName::from_static("access-control-allow-private-network"), "true"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn problem(status: StatusCode, why: RpcError) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], answer(&Value::Null, Err(why))).into_response()
}

/// Who sends a request by the public way: browsers tell the origin of a page, and it is no stranger if the page is ours.
fn asker(headers: &HeaderMap) -> Asker {
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    match headers.get(header::ORIGIN) {
        None => Asker::Program,
        Some(origin) if origin.as_bytes().strip_prefix(b"http://") == host => Asker::Program,
        Some(_) => Asker::Page,
    }
}

async fn post(State(server): State<Arc<Server>>, headers: HeaderMap, body: Result<Bytes, BytesRejection>) -> Response {
    take(&server, asker(&headers), body).await
}

async fn post_own(State(server): State<Arc<Server>>, body: Result<Bytes, BytesRejection>) -> Response {
    take(&server, Asker::Node, body).await
}

async fn take(server: &Server, asker: Asker, body: Result<Bytes, BytesRejection>) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(why) if why.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("content length too large: at most {RPC_BODY_BYTES_MAX} bytes");
            return problem(why.status(), RpcError::request(message));
        }
        Err(why) => return problem(why.status(), RpcError::unreadable(why.body_text())),
    };
    match server.respond(asker, &body).await {
        Some(text) => ([(header::CONTENT_TYPE, "application/json")], text).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn upgrade(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let why = RpcError::request("POST a JSON-RPC request here, or open a WebSocket");
        return problem(StatusCode::METHOD_NOT_ALLOWED, why);
    };
    let Ok(place) = server.sockets.clone().try_acquire_owned() else {
        let why = RpcError::limit(format!("too many WebSockets: {SOCKETS_MAX} are open"));
        return problem(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let asker = asker(&headers);
    let upgrade = upgrade.max_message_size(RPC_BODY_BYTES_MAX).max_frame_size(RPC_BODY_BYTES_MAX);
    upgrade.on_upgrade(move |socket| async move {
        socket::talk(server, asker, socket).await;
        drop(place);
    })
}

impl Server {
    /// The answer to a body, if any is expected.
    async fn respond(&self, asker: Asker, bytes: &[u8]) -> Option<String> {
        match Batch::parse(bytes) {
            Ok(batch) => self.respond_to(asker, batch).await,
            Err(why) => Some(answer(&Value::Null, Err(why))),
        }
    }

    pub(super) async fn respond_to(&self, asker: Asker, batch: Batch) -> Option<String> {
        if let Batch::One(Ok(request)) = &batch
            && request.method == "eth_sendRawTransactionSync"
        {
            let result = self.send_and_wait(asker, request).await;
            return request.id.as_ref().map(|id| answer(id, result));
        }
        let batch = Arc::new(batch);
        let asked = batch.clone();
        match self.work(asker, move |desk| desk.answer(&asked, asker)).await {
            Ok(text) => text,
            Err(why) => batch.refuse(&why),
        }
    }

    /// Does long work on a thread of its own, when it is its turn.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        asker: Asker,
        run: impl FnOnce(&Desk) -> T + Send + 'static,
    ) -> Result<T, RpcError> {
        let turns = if asker == Asker::Node { &self.own_turns } else { &self.turns };
        let turn = timeout(Duration::from_millis(RPC_MS_MAX), turns.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(RpcError::limit("too many requests at once: ask again later"));
        };
        let desk = self.desk.clone();
        let work = spawn_blocking(move || {
            let done = run(&desk);
            drop(turn);
            done
        });
        work.await.map_err(|_| RpcError::internal("method handler crashed"))
    }

    pub(super) fn desk(&self) -> &Desk {
        &self.desk
    }

    async fn ask(&self, asker: Asker, method: &'static str, params: Vec<Value>) -> Answer {
        let visit = Visit::of(asker);
        self.work(asker, move |desk| desk.ask(method, &params, visit)).await?
    }

    /// Sends a transaction and answers with its receipt (EIP-7966).
    async fn send_and_wait(&self, asker: Asker, request: &Request) -> Answer {
        let mut params = request.params.clone();
        let wait_ms = match params.get(1).filter(|wait| !wait.is_null()) {
            None => SEND_MS,
            Some(wait) => <u64 as super::Param>::read(Some(wait)).map_err(RpcError::params)?.clamp(1, SEND_MS_MAX),
        };
        params.truncate(1);
        let mut blocks = self.desk.chain.blocks();
        let hash = self.ask(asker, "eth_sendRawTransaction", params).await?;
        let found = timeout(Duration::from_millis(wait_ms), async {
            loop {
                let receipt = self.ask(asker, "eth_getTransactionReceipt", vec![hash.clone()]).await?;
                if !receipt.is_null() {
                    return Ok(receipt);
                }
                // Whoever missed blocks looks as well.
                if let Err(broadcast::error::RecvError::Closed) = blocks.recv().await {
                    return Err(RpcError::internal("the node is stopping"));
                }
            }
        });
        found.await.unwrap_or_else(|_| Err(RpcError::not_yet(&hash, wait_ms)))
    }
}

/// One notification of a subscription, as text.
pub(super) fn notification(subscription: &str, result: &Value) -> String {
    let params = json!({"subscription": subscription, "result": result});
    json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}).to_string()
}
