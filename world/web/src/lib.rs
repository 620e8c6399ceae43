//! The dashboard: the files of `web/`, which are in the binary, under `/` and `/web/` of the API's port.
//!
//! The browser runs what the repository holds; nothing is built. A debug build reads the files from the disk, so that a
//! change is seen at once. A path is looked up in a list of names and never joined to a folder. The pages hold no
//! secret: what they show they ask of the API, with the token that the owner brings (docs/DASHBOARD.md).

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::borrow::Cow;
use talkoo_base::sha256;

/// Bytes of all that a page loads, at most.
pub const BYTES_MAX: usize = 300_000;

const INDEX: &str = "index.html";

macro_rules! files {
    ($($name:literal),* $(,)?) => { &[$(($name, include_bytes!(concat!("../../../web/", $name)))),*] };
}

/// All that is served.
const FILES: &[(&str, &[u8])] = files![
    "index.html",
    "style.css",
    "icon.svg",
    "app.mjs",
    "api.mjs",
    "gantt.mjs",
    "map.mjs",
    "parts.mjs",
    "theme.mjs",
    "world.mjs",
    "pages/chat.mjs",
    "pages/data.mjs",
    "pages/home.mjs",
    "pages/jobs.mjs",
    "pages/keys.mjs",
    "pages/ledger.mjs",
    "pages/models.mjs",
    "pages/network.mjs",
    "pages/proofs.mjs",
    "pages/provide.mjs",
    "pages/receipts.mjs",
    "pages/settings.mjs",
    "vendor/hooks.mjs",
    "vendor/htm.mjs",
    "vendor/preact.mjs",
    "vendor/signals-core.mjs",
    "vendor/signals.mjs",
];

/// The routes, for the API's port.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let file = async |Path(name): Path<String>, headers: HeaderMap| answer(&name, &headers);
    Router::new().route("/", get(async |headers: HeaderMap| answer(INDEX, &headers))).route("/web/{*name}", get(file))
}

/// A file's bytes: those of the binary, in debug builds those of the disk.
fn bytes_of(name: &str) -> Option<Cow<'static, [u8]>> {
    let (name, built) = FILES.iter().find(|(known, _)| *known == name)?;
    if cfg!(debug_assertions) {
        let path = [env!("CARGO_MANIFEST_DIR"), "/../../web/", name].concat();
        if let Ok(bytes) = std::fs::read(path) {
            return Some(Cow::Owned(bytes));
        }
    }
    Some(Cow::Borrowed(built))
}

fn answer(name: &str, asked: &HeaderMap) -> Response {
    let Some(bytes) = bytes_of(name) else {
        return (StatusCode::NOT_FOUND, "there is no such file; the dashboard is at /\n").into_response();
    };
    let tag = format!("\"{}\"", sha256(&[&bytes]));
    let (kind, cache) = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => ("text/html; charset=utf-8", "no-store"),
        Some("css") => ("text/css; charset=utf-8", "no-cache"),
        Some("svg") => ("image/svg+xml", "no-cache"),
        _ => ("text/javascript; charset=utf-8", "no-cache"),
    };
    let is_known = asked.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    let headers = [
        (header::CONTENT_TYPE, text(kind)),
        (header::CACHE_CONTROL, text(cache)),
        (header::ETAG, text(&tag)),
        (header::CONTENT_SECURITY_POLICY, text(&policy(&bytes))),
        (header::X_CONTENT_TYPE_OPTIONS, text("nosniff")),
        (header::REFERRER_POLICY, text("no-referrer")),
    ];
    if is_known && cache != "no-store" {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, bytes.into_owned()).into_response()
}

fn text(value: &str) -> HeaderValue {
    value.parse().expect("our own headers are ASCII")
}

/// What a page may do (w3.org/TR/CSP3): load from here, and nothing else. An import map can't be a file
/// (html.spec.whatwg.org, "script", `type="importmap"`), so a page's is named by its hash.
fn policy(page: &[u8]) -> String {
    let map = std::str::from_utf8(page).ok().and_then(|page| {
        let begin = page.split_once("<script type=\"importmap\">")?.1;
        Some(begin.split_once("</script>")?.0)
    });
    let map = map.map(|map| format!(" 'sha256-{}'", BASE64_STANDARD.encode(sha256(&[map.as_bytes()]).0)));
    let ours = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";
    format!("default-src 'self'; script-src 'self'{}; {ours}", map.unwrap_or_default())
}

#[cfg(test)]
mod tests;
