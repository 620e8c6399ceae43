//! Who may ask: the token and the `Host`, before anything else is looked at.

use crate::call::too_large;
use crate::problem::problem;
use crate::{Caller, Shared};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use talkoo_base::{Refusal, RefusalCode};

/// Which `Host` a request may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// Only this machine.
    Loopback,
    /// Also an IP address, for the owner let others reach the API. A name never: a web page can
    /// point its own name here.
    Addresses,
    /// Any: who came by TLS asked for the name of our certificate, and no other page has that.
    Any,
}

/// Tells a face who asks. A wrong token counts as none: programs send the token of another service along.
pub(crate) async fn tell_caller(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
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

/// The answer to a request that does not name us as its host.
fn other_host(headers: &HeaderMap, hosts: Hosts) -> Option<Response> {
    if is_ours(headers, hosts) {
        return None;
    }
    let (message, hint) = match hosts {
        Hosts::Any => return None,
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
pub(crate) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
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
pub(crate) fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

pub(crate) fn is_ours(headers: &HeaderMap, hosts: Hosts) -> bool {
    let host = headers.get(header::HOST).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let is_address = || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
    matches!(name, "127.0.0.1" | "localhost" | "[::1]") || hosts == Hosts::Addresses && is_address()
}
