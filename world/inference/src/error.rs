//! What is wrong, in the shape of each protocol.

use crate::limits::{DRAIN_BYTES_MAX, DRAIN_WAIT, VALUES_MAX};
use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use talkoo_base::{Refusal, RefusalCode};

/// A "no" on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    /// OpenAI's `type`.
    pub(crate) kind: &'static str,
    /// OpenAI's `code`.
    pub(crate) code: String,
    /// The field that it is about.
    pub(crate) param: Option<String>,
    pub(crate) message: String,
}

/// Whose words an answer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tongue {
    OpenAi,
    Anthropic,
    Ollama,
}

impl Tongue {
    /// Of a path.
    pub(crate) fn of(path: &str) -> Self {
        match path {
            _ if path.starts_with("/v1/messages") => Self::Anthropic,
            _ if path.starts_with("/api/") => Self::Ollama,
            _ => Self::OpenAi,
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        let code = refusal.code.as_str();
        let (status, kind, code) = match refusal.code {
            RefusalCode::Malformed => (400, "invalid_request_error", "invalid_value"),
            RefusalCode::UnsupportedParameter => (400, "invalid_request_error", code),
            RefusalCode::ContextExceeded => (400, "invalid_request_error", "context_length_exceeded"),
            RefusalCode::TooLarge => (413, "invalid_request_error", code),
            RefusalCode::UnknownModel => (404, "invalid_request_error", "model_not_found"),
            RefusalCode::UnknownId => (404, "invalid_request_error", "not_found"),
            RefusalCode::InUse => (409, "invalid_request_error", code),
            RefusalCode::BadSignature => (401, "authentication_error", "invalid_api_key"),
            RefusalCode::Denied => (403, "permission_error", code),
            RefusalCode::InsufficientFunds => (402, "insufficient_quota", code),
            RefusalCode::Busy => (429, "rate_limit_error", "rate_limit_exceeded"),
            RefusalCode::Silent => (504, "server_error", code),
            RefusalCode::Stopping | RefusalCode::NotWanted | RefusalCode::NotProviding | RefusalCode::PriceAboveMax => {
                (503, "server_error", code)
            }
            _ => (500, "server_error", code),
        };
        let status = StatusCode::from_u16(status).expect("a known status");
        Self { status, kind, code: code.to_owned(), param: None, message }
    }
}

impl From<BytesRejection> for Fault {
    fn from(why: BytesRejection) -> Self {
        let (code, hint) = match why.status() {
            StatusCode::PAYLOAD_TOO_LARGE => (RefusalCode::TooLarge, "send less at once"),
            _ => (RefusalCode::Malformed, "send it whole"),
        };
        Refusal::new(code, format!("the body could not be read ({})", why.body_text()), hint).into()
    }
}

impl Fault {
    /// The fault of a body: the field that its message names in backquotes, if the body has it, is its `param`.
    pub(crate) fn of(refusal: Refusal, body: &Value) -> Self {
        let named = refusal.message.split('`').nth(1).map(|name| name.split('.').next().unwrap_or(name).to_owned());
        let param = named.filter(|name| body.get(name).is_some());
        Self { param, ..refusal.into() }
    }

    /// OpenAI's error object.
    pub(crate) fn body(&self) -> Value {
        json!({"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}})
    }

    /// In the words of a protocol.
    pub(crate) fn response(&self, tongue: Tongue) -> Response {
        let body = match tongue {
            Tongue::OpenAi => self.body(),
            Tongue::Anthropic => self.anthropic(),
            Tongue::Ollama => json!({"error": self.message}),
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }

    /// Anthropic's error object (docs.anthropic.com, "Errors").
    pub(crate) fn anthropic(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 => "overloaded_error",
            400..=499 => "invalid_request_error",
            _ => "api_error",
        };
        json!({"type": "error", "error": {"type": kind, "message": self.message}})
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        self.response(Tongue::OpenAi)
    }
}

/// Whether JSON would take much more memory than its bytes.
pub(crate) fn has_too_many_values(json: &[u8]) -> bool {
    json.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() > VALUES_MAX
}

/// The body of a request as JSON.
pub(crate) fn json_of(body: Result<axum::body::Bytes, BytesRejection>) -> Result<Value, Fault> {
    let body = body?;
    if has_too_many_values(&body) {
        let message = format!("the body has more than {VALUES_MAX} values");
        return Err(Refusal::new(RefusalCode::TooLarge, message, "send less at once").into());
    }
    serde_json::from_slice(&body).map_err(|why| {
        Refusal::new(RefusalCode::Malformed, format!("the body is not JSON ({why})"), "send a JSON object").into()
    })
}

/// Reads a body that nobody wants, if it is small and comes soon: a connection with unread bytes can't be used again, and
/// clients that use theirs again see it break.
pub(crate) async fn drain(request: Request) {
    let read = axum::body::to_bytes(request.into_body(), DRAIN_BYTES_MAX);
    tokio::time::timeout(DRAIN_WAIT, read).await.ok();
}

/// The answer where no route is.
pub(crate) async fn no_route(request: Request) -> Response {
    let message = format!("there is no {} {}", request.method(), request.uri().path());
    let fault = Fault::from(Refusal::new(RefusalCode::UnknownId, message, "docs/INFERENCE.md has the list"));
    let tongue = Tongue::of(request.uri().path());
    drain(request).await;
    fault.response(tongue)
}

/// The answer to a method that a route does not have.
pub(crate) async fn no_method(request: Request) -> Response {
    let message = format!("{} is no method of {}", request.method(), request.uri().path());
    let fault = Fault::from(Refusal::new(RefusalCode::Malformed, message, "the `Allow` header has the list"));
    let fault = Fault { status: StatusCode::METHOD_NOT_ALLOWED, ..fault };
    let tongue = Tongue::of(request.uri().path());
    drain(request).await;
    fault.response(tongue)
}
