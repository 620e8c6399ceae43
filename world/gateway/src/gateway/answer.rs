//! Status and headers.

use super::asked::{Asked, Format};
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header, response};
use axum::response::{IntoResponse, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_store::RAW;
use talkoo_store::dag::Scope;

/// What never changes may be kept for ever.
const IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// The page of a folder may look different with the next version.
pub(super) const GENERATED: &str = "public, max-age=604800, stale-while-revalidate=2678400";

/// A refusal of the gateway: text for people, with what to do about it.
pub(super) fn refused(no: &Refusal) -> Response {
    let status = status(no.code);
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
    (status, text, format!("{no}\n")).into_response()
}

/// Status of a refusal.
pub(crate) fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::UnknownId => StatusCode::NOT_FOUND,
        RefusalCode::Denied => StatusCode::GONE,
        RefusalCode::Unfit => StatusCode::NOT_ACCEPTABLE,
        RefusalCode::Silent => StatusCode::GATEWAY_TIMEOUT,
        RefusalCode::Busy | RefusalCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RefusalCode::UnsupportedParameter => StatusCode::NOT_IMPLEMENTED,
        RefusalCode::RunFailed | RefusalCode::Other => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Like [`refused`], as JSON: `{"error": {code, message, hint}}`.
pub(crate) fn refused_json(no: &Refusal) -> Response {
    let body = json!({"error": {"code": no.code.as_str(), "message": no.message, "need": no.need, "have": no.have, "hint": no.hint}});
    (status(no.code), axum::Json(body)).into_response()
}

/// Names what a request is answered with: the same name, the same bytes. A CAR's is weak, for its blocks may come in
/// another order.
pub(super) fn etag(asked: &Asked, cid: &Cid, codec: u64) -> String {
    match asked.format {
        Format::Web if is_folder_page(asked, codec) => format!("\"folder-1-{cid}\""),
        Format::Web => format!("\"{cid}\""),
        Format::Car => {
            let Asked { scope, entity, dups, segments, root, .. } = asked;
            let scope = match scope {
                Scope::Block => "block",
                Scope::Entity => "entity",
                Scope::All => "all",
            };
            let part =
                entity.map(|part| format!("-{}-{}", part.from, part.to.map_or("end".to_owned(), |to| to.to_string())));
            let path = talkoo_base::sha256(&[root.to_bytes().as_slice(), segments.join("/").as_bytes()]);
            let (part, dups) = (part.unwrap_or_default(), if *dups { "-dups" } else { "" });
            format!("W/\"{cid}.car.{scope}{part}{dups}.{}\"", &path.to_string()[..16])
        }
        Format::Tar => format!("W/\"{cid}.tar\""),
        other => format!("\"{cid}.{}\"", other.extension()),
    }
}

/// Folders have codec DAG-PB and are shown with a slash at the end.
fn is_folder_page(asked: &Asked, codec: u64) -> bool {
    asked.slash && codec != RAW
}

/// Whether an `If-None-Match` header names a tag (RFC 9110 §13.1.2, weak comparison).
pub(super) fn matches(header: &str, tag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    header.trim() == "*" || header.split(',').any(|known| bare(known) == bare(tag))
}

/// The client has it already.
pub(super) fn not_modified(tag: String) -> Response {
    (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response()
}

/// Begins an answer: what it is, and what it may be kept as.
pub(super) fn begin(asked: &Asked, tag: &str, media: &str, roots: &[Cid]) -> response::Builder {
    let path = asked.segments.iter().map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string());
    let path = std::iter::once(asked.root.to_string()).chain(path).collect::<Vec<_>>().join("/");
    let roots: Vec<String> = roots.iter().map(ToString::to_string).collect();
    Response::builder()
        .header(header::ETAG, tag)
        .header(header::CONTENT_TYPE, media)
        .header(header::CACHE_CONTROL, IMMUTABLE)
        .header(HeaderName::from_static("x-ipfs-path"), format!("/ipfs/{path}"))
        .header(HeaderName::from_static("x-ipfs-roots"), roots.join(","))
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

/// `Content-Disposition` with an ASCII name for old programs and the real one (RFC 6266).
pub(super) fn disposition(kind: &str, name: &str) -> HeaderValue {
    let is_plain = |c: &char| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || *c == ' ';
    let plain: String = name.chars().map(|c| if is_plain(&c) { c } else { '_' }).collect();
    let full = utf8_percent_encode(name, NON_ALPHANUMERIC);
    HeaderValue::from_str(&format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{full}")).expect("ASCII")
}

/// The same for a download.
pub(crate) fn attachment(name: &str) -> HeaderValue {
    disposition("attachment", name)
}

/// Ends an answer. Of a HEAD request only the headers are sent.
pub(super) fn end(builder: response::Builder, asked: &Asked, body: Body) -> Response {
    let body = if asked.head { Body::empty() } else { body };
    builder.body(body).unwrap_or_else(|why| {
        tracing::error!(%why, "an answer could not be put together");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}
