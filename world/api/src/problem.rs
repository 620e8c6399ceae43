//! What is said to whoever is refused (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use talkoo_base::{Refusal, RefusalCode};

/// Seconds after which whoever was refused for now may ask again.
const AGAIN_S: &str = "1";
/// Where the codes are explained.
pub(crate) const ERRORS: &str = "/api/v1/errors";

/// The status with which the native API says a code. 400 is for a request that does not fit the API's description, which
/// no code of the node means: it took the request and says no.
pub(crate) fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::UnknownId | RefusalCode::UnknownModel => StatusCode::NOT_FOUND,
        RefusalCode::Busy => StatusCode::TOO_MANY_REQUESTS,
        RefusalCode::InUse | RefusalCode::Over => StatusCode::CONFLICT,
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::Denied => StatusCode::FORBIDDEN,
        RefusalCode::InsufficientFunds => StatusCode::PAYMENT_REQUIRED,
        RefusalCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// A refusal as JSON: `{"error": {code, message, need, have, hint}}`, as the command line says it.
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

/// A refusal as an answer.
pub(crate) fn problem(status: StatusCode, refusal: &Refusal) -> Response {
    let value = json!({
        "type": format!("{ERRORS}#{}", refusal.code),
        "title": refusal.code.about(),
        "status": status.as_u16(),
        "detail": refusal.message,
        "code": refusal.code.as_str(),
        "hint": refusal.hint,
        "need": refusal.need,
        "have": refusal.have,
    });
    let kind = HeaderValue::from_static("application/problem+json");
    let mut response = (status, [(header::CONTENT_TYPE, kind)], value.to_string()).into_response();
    let headers = response.headers_mut();
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"talkoo\""));
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(AGAIN_S));
        }
        _ => {}
    }
    response
}

/// Every code, what it means, and its status.
pub(crate) fn codes() -> Value {
    let row =
        |code: &RefusalCode| json!({"code": code.as_str(), "title": code.about(), "status": status(*code).as_u16()});
    json!({"errors": RefusalCode::ALL.iter().map(row).collect::<Vec<_>>()})
}
