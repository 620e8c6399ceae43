//! The door: who asks, and whether the body is a message at all. What is wrong is said as JSON-RPC says it.

use crate::limits::BODY_BYTES_MAX;
use crate::sessions::Sessions;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use std::sync::Arc;
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_inference::{Admitted, Keys, Scope, in_time};
use tokio_util::sync::CancellationToken;

/// JSON-RPC 2.0, section 5.1: the body is no JSON.
const PARSE_ERROR: i64 = -32_700;
/// The same: it is JSON and no request.
const INVALID_REQUEST: i64 = -32_600;
/// Of ours, for who may not ask: JSON-RPC leaves -32000 to -32099 to servers.
const DENIED: i64 = -32_001;

/// How a service is put up.
#[derive(Clone)]
pub struct Shape {
    /// Who may ask.
    pub keys: Arc<Keys>,
    /// Ends sessions and streams.
    pub stop: CancellationToken,
}

/// A service at `/mcp`, behind the guard, with sessions for clients that need them. The API's port has looked at `Host` before.
pub fn mount<S: ServerHandler>(shape: Shape, make: impl Fn() -> S + Send + Sync + 'static) -> Router {
    let config = StreamableHttpServerConfig::default()
        // The port knows which names it has, and where it listens.
        .disable_allowed_hosts()
        .with_max_request_body_bytes(BODY_BYTES_MAX)
        .with_cancellation_token(shape.stop.clone());
    let service = StreamableHttpService::new(move || Ok(make()), Arc::new(Sessions::default()), config);
    Router::new().route_service("/mcp", service).layer(from_fn_with_state(shape, guard))
}

fn fault(status: StatusCode, code: i64, refusal: &Refusal) -> Response {
    let data = json!({"code": refusal.code.as_str(), "hint": refusal.hint});
    let error = json!({"code": code, "message": refusal.message, "data": data});
    (status, Json(json!({"jsonrpc": "2.0", "id": null, "error": error}))).into_response()
}

fn denied(refusal: &Refusal) -> Response {
    let status = match refusal.code {
        RefusalCode::BadSignature => StatusCode::UNAUTHORIZED,
        RefusalCode::InsufficientFunds => StatusCode::PAYMENT_REQUIRED,
        RefusalCode::Busy => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::FORBIDDEN,
    };
    let mut response = fault(status, DENIED, refusal);
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer realm=\"talkoo\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

async fn guard(State(shape): State<Shape>, mut request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().copied().unwrap_or(Caller::Stranger);
    let Admitted { who, standing } = shape.keys.admit(caller, request.headers(), Scope::Mcp);
    let mut response = match who {
        Ok(who) => {
            request.extensions_mut().insert(who);
            match checked(request.map(in_time)).await {
                Ok(request) => next.run(request).await,
                Err(response) => response,
            }
        }
        Err(refusal) => denied(&refusal),
    };
    standing.iter().for_each(|standing| standing.tell(response.headers_mut()));
    response
}

/// Reads a message before anybody works on it.
async fn checked(request: Request) -> Result<Request, Response> {
    if request.method() != Method::POST {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let no = |code, message: String, hint: &str| Refusal::new(code, message, hint);
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|why| {
        let message = format!("the message could not be read ({why}); it may have {BODY_BYTES_MAX} bytes");
        fault(StatusCode::PAYLOAD_TOO_LARGE, INVALID_REQUEST, &no(RefusalCode::TooLarge, message, "send less at once"))
    })?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|why| {
        let message = format!("the body is not JSON ({why})");
        fault(StatusCode::BAD_REQUEST, PARSE_ERROR, &no(RefusalCode::Malformed, message, "send one JSON-RPC message"))
    })?;
    if value.as_object().is_none_or(|message| message.get("jsonrpc") != Some(&json!("2.0"))) {
        let message = "the body is no JSON-RPC 2.0 message".to_owned();
        let hint = "send one object in each POST: there are no batches since 2025-06-18";
        return Err(fault(StatusCode::BAD_REQUEST, INVALID_REQUEST, &no(RefusalCode::Malformed, message, hint)));
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}
