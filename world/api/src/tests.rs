//! A real server, a real client, a loop that echoes.

use super::*;
use crate::guard::{bearer, is_ours};
use axum::http::{HeaderMap, header};
use serde_json::json;

/// Largest body of the tests' server, in bytes.
const BODY_TEST: usize = 1_024;

/// A file of its own in a folder that goes with the process' temporary files.
fn folder(name: &str) -> std::path::PathBuf {
    tempfile::Builder::new().prefix(name).tempdir().unwrap().keep().join("repeats")
}

async fn echo() -> (SocketAddr, Feed, CancellationToken) {
    let (calls, mut inbox) = mpsc::channel::<Call>(4);
    let events = Feed::new(7);
    let stop = CancellationToken::new();
    let addr = "127.0.0.1:0".parse().unwrap();
    let attach = Attach {
        addr,
        token: "secret".into(),
        calls,
        events: events.clone(),
        repeats: folder("echo"),
        faces: Router::new().route("/face", axum::routing::get(face)),
        tls: None,
        stop: stop.clone(),
    };
    let api = Api::bind_with(attach, BODY_TEST).await.unwrap();
    let addr = api.addr;
    tokio::spawn(api.serve());
    let mut count = 0;
    tokio::spawn(async move {
        while let Some(call) = inbox.recv().await {
            let no = |code, what: String| Err(Refusal::new(code, what, "see `talkoo job ls`"));
            let answer = match (call.name, call.args["id"].as_str()) {
                ("job", _) => no(RefusalCode::UnknownId, "no such job".to_owned()),
                ("data_buy", Some("busy")) => no(RefusalCode::Busy, format!("call {count}")),
                ("data_buy", _) => no(RefusalCode::Denied, format!("call {count}")),
                ("post", _) => Ok(json!({"call": format!("call {count}")})),
                _ => Ok(json!({"name": call.name, "args": call.args})),
            };
            count += u64::from(matches!(call.name, "post" | "data_buy"));
            call.reply.send(answer).unwrap();
        }
    });
    (addr, events, stop)
}

async fn face(axum::Extension(caller): axum::Extension<Caller>) -> String {
    format!("{caller:?}")
}

fn get(url: String, token: &'static str, host: Option<&'static str>) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(&url).header("Authorization", format!("Bearer {token}"));
    if let Some(host) = host {
        request = request.header("Host", host);
    }
    let mut response = request.call().unwrap();
    (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_reach_the_loop_and_strangers_do_not() {
    let (addr, _, stop) = echo().await;
    let cases = [
        ("/api/v1/data-audit?verify=true", "secret", None, 200, r#""args":{"verify":true}"#),
        ("/api/v1/status?x=1", "secret", None, 400, "`x` is not known"),
        ("/api/v1/data-audit?verfy=1", "secret", None, 400, "did you mean `verify`?"),
        ("/api/v1/openapi.json", "secret", None, 200, "3.1.0"),
        ("/api/v1/errors", "secret", None, 200, "Nothing here has this name"),
        ("/api/v1/jobs/42", "secret", None, 404, "unknown_id"),
        ("/api/v1/status", "wrong", None, 401, "api.token"),
        ("/api/v1/status", "secret", Some("evil.example"), 403, "loopback"),
        ("/api/v1/nothing", "secret", None, 404, "no such route"),
    ];
    for (path, token, host, status, text) in cases {
        let url = format!("http://{addr}{path}");
        let got = tokio::task::spawn_blocking(move || get(url, token, host)).await.unwrap();
        assert_eq!(got.0, status, "{path}: {}", got.1);
        assert!(got.1.contains(text), "{path}: {}", got.1);
    }
    stop.cancel();
}

/// Sends bytes, returns status and body.
fn raw(addr: SocketAddr, request: &str) -> (u16, String) {
    let (status, _, body) = whole(addr, request);
    (status, body)
}

/// Sends bytes, returns status, head and body.
fn whole(addr: SocketAddr, request: &str) -> (u16, String, String) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_face_hears_who_asks_and_no_page_of_others() {
    let (addr, _, stop) = echo().await;
    let cases = [
        ("", 200, "Stranger"),
        ("Authorization: Bearer secret\r\nOrigin: https://a.example\r\n", 200, "Owner"),
        ("Authorization: Bearer wrong\r\n", 200, "Stranger"),
        ("Sec-Fetch-Site: none\r\n", 200, "Stranger"),
        ("Sec-Fetch-Site: cross-site\r\n", 403, "web page"),
        ("Sec-Fetch-Site: same-site\r\n", 403, "web page"),
        ("Origin: null\r\n", 403, "web page"),
        ("Origin: http://127.0.0.1\r\nSec-Fetch-Site: cross-site\r\n", 403, "web page"),
        ("Origin: http://127.0.0.1:1\r\n", 403, "web page"),
        ("Origin: http://127.0.0.1\r\n", 200, "Stranger"),
        ("Authorization: Bearer a-key\r\nOrigin: https://a.example\r\nSec-Fetch-Site: cross-site\r\n", 200, "Stranger"),
    ];
    for (header, status, text) in cases {
        let request = format!("GET /face HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{header}\r\n");
        let got = tokio::task::spawn_blocking(move || raw(addr, &request)).await.unwrap();
        assert!(got.0 == status && got.1.contains(text), "{header}: {got:?}");
    }
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_a_request_the_answer_is_json() {
    let (addr, _, stop) = echo().await;
    let huge = format!("{:x}\r\n{}\r\n0\r\n\r\n", 2 * BODY_TEST, "x".repeat(2 * BODY_TEST));
    let cases = [
        ("POST /api/v1/jobs", "Content-Length: 1025", "", 413, "too_large", "1024"),
        ("POST /api/v1/jobs", "Transfer-Encoding: chunked", &huge, 413, "too_large", "1024"),
        ("PUT /api/v1/jobs", "Content-Length: 0", "", 405, "malformed", "method"),
        ("POST /api/v1/status", "Content-Length: 0", "", 405, "malformed", "method"),
        ("DELETE /api/v1/events", "Content-Length: 0", "", 405, "malformed", "method"),
        ("GET /api/v1/nothing", "Content-Length: 0", "", 404, "unknown_id", "no such route"),
        ("GET /", "Content-Length: 0", "", 404, "unknown_id", "no such route"),
        ("POST /api/v1/jobs", "Content-Length: 2", "{\"", 400, "malformed", "not a JSON object"),
        ("POST /api/v1/jobs", "Content-Length: 2", "[]", 400, "malformed", "not a JSON object"),
        ("POST /api/v1/jobs", "Content-Length: 12", "{\"nodes\":1e9", 400, "malformed", "not a JSON object"),
        ("POST /api/v1/jobs", "Content-Length: 15", "{\"price\":1e999}", 400, "malformed", "not a JSON object"),
        ("GET /api/v1/jobs/%ff", "Content-Length: 0", "", 400, "malformed", "the path"),
        ("POST /api/v1/jobs", "Content-Length: 11", "{\"fil\":\"x\"}", 400, "malformed", "`fil` is not known"),
        ("POST /api/v1/stop", "Content-Type: text/plain\r\nContent-Length: 2", "{}", 415, "malformed", "text/plain"),
        ("GET /api/v1/jobs/42", "Content-Length: 0", "", 404, "unknown_id", "no such job"),
        ("GET /api/v1/events?types=job.close", "Content-Length: 0", "", 400, "malformed", "job.close"),
        ("GET /api/v1/events", "Last-Event-ID: x\r\nContent-Length: 0", "", 400, "malformed", "no event's id"),
    ];
    for (line, header, body, status, code, text) in cases {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer secret\r\nConnection: close\r\n{header}\r\n\r\n{body}"
        );
        let (got, head, body) = tokio::task::spawn_blocking(move || whole(addr, &request)).await.unwrap();
        assert_eq!(got, status, "{line}: {body}");
        assert!(head.contains("content-type: application/problem+json"), "{line}: {head}");
        assert_eq!(head.contains("\r\nallow: "), status == 405, "{line}: {head}");
        let error: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{line}: {e}: {body}"));
        assert_eq!(error["code"], json!(code), "{line}");
        assert_eq!(error["status"], json!(status), "{line}");
        assert_eq!(error["type"], json!(format!("/api/v1/errors#{code}")), "{line}");
        assert!(error["detail"].as_str().unwrap().contains(text), "{line}: {error}");
        assert!(!error["hint"].as_str().unwrap().is_empty(), "{line}: {error}");
        assert!(!error["title"].as_str().unwrap().is_empty(), "{line}: {error}");
    }
    stop.cancel();
}

#[test]
fn a_token_is_read_as_http_has_it() {
    let cases = [
        ("Bearer secret", Some("secret")),
        ("bearer secret", Some("secret")),
        ("BEARER  secret", Some("secret")),
        ("Basic secret", None),
        ("Bearersecret", None),
        ("secret", None),
        ("", None),
    ];
    for (header, token) in cases {
        assert_eq!(bearer(header), token, "{header}");
    }
}

#[test]
fn a_name_is_no_host_that_a_page_could_not_forge() {
    let cases = [
        ("127.0.0.1:8420", true, true),
        ("localhost", true, true),
        ("[::1]:8420", true, true),
        ("[::1]", true, true),
        ("192.168.1.7:8420", false, true),
        ("[fe80::1]:8420", false, true),
        ("evil.example:8420", false, false),
        ("127.0.0.1.evil.example", false, false),
        ("", false, false),
    ];
    for (host, on_loopback, on_addresses) in cases {
        let headers = HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]);
        assert_eq!(is_ours(&headers, Hosts::Loopback), on_loopback, "{host}");
        assert_eq!(is_ours(&headers, Hosts::Addresses), on_addresses, "{host}");
    }
}

#[tokio::test]
async fn a_taken_port_is_said_once() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (calls, events) = (mpsc::channel(1).0, Feed::new(1));
    let addr = taken.local_addr().unwrap();
    let (faces, stop) = (Router::new(), CancellationToken::new());
    let attach =
        Attach { addr, token: "secret".into(), calls, events, repeats: folder("taken"), faces, tls: None, stop };
    let Err(error) = Api::bind(attach).await else { panic!("two listeners on {addr}") };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.to_string().contains(&source), "{error}: {source}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_happen_and_end_with_the_node() {
    let (addr, events, stop) = echo().await;
    let url = format!("http://{addr}/api/v1/events");
    let reader = tokio::task::spawn_blocking(move || get(url, "secret", None));
    while events.readers() == 0 {
        tokio::task::yield_now().await;
    }
    events.tell(&json!({"type": "provide.free"}));
    // The stream ends with the node, and what was sent before is in it.
    stop.cancel();
    let (status, body) = reader.await.unwrap();
    assert_eq!(status, 200);
    let want = ": listening\nid: 7-0\n\nid: 7-1\nevent: provide.free\ndata: {\"type\":\"provide.free\"}\n\n";
    assert_eq!(body, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_goes_on_where_it_was_or_hears_what_is_lost() {
    let (addr, events, stop) = echo().await;
    let many = limits::EVENTS_MAX as u64 + 10;
    (1..=many).for_each(|units| events.tell(&json!({"type": "lease.progress", "units": units})));
    events.tell(&json!({"type": "job.closed"}));
    let last = many + 1;
    let cases = [
        (format!("7-{many}"), "", vec!["id: 7-4107\nevent: job.closed"], vec!["lagged", "reset", "lease.progress"]),
        (format!("7-{}", last - 3), "?types=job.closed", vec!["job.closed"], vec!["lagged", "lease.progress"]),
        ("7-2".to_owned(), "", vec!["\"missed\":9", "\"units\":12}", "job.closed"], vec!["\"units\":11}", "reset"]),
        ("6-2".to_owned(), "", vec!["event: reset", "started again"], vec!["lagged", "job.closed"]),
        ("7-99999".to_owned(), "", vec!["event: reset", "never was"], vec!["lagged", "job.closed"]),
    ];
    for (id, query, wanted, unwanted) in cases {
        // A stop ends the stream when all is told; each reader has its own.
        let wish = feed::Wish { after: Some(feed::event_id(&id).unwrap()), ..feed::Wish::default() };
        let types = query.strip_prefix("?types=").map(|one| [one.to_owned()].into());
        let ended = CancellationToken::new();
        ended.cancel();
        let lines = events.listen(feed::Wish { types, ..wish }, ended).unwrap();
        let body: String = futures::StreamExt::collect(lines).await;
        assert!(wanted.iter().all(|text| body.contains(text)), "{id}{query}: {}", &body[..body.len().min(400)]);
        assert!(!unwanted.iter().any(|text| body.contains(text)), "{id}{query}: {}", &body[..body.len().min(400)]);
    }
    let held: Vec<_> =
        (0..limits::LISTENERS_MAX).map(|_| events.listen(feed::Wish::default(), stop.clone()).unwrap()).collect();
    let url = format!("http://{addr}/api/v1/events");
    let (status, body) = tokio::task::spawn_blocking(move || get(url, "secret", None)).await.unwrap();
    assert_eq!((status, body.contains("too many read")), (429, true), "{body}");
    drop(held);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_is_not_told_again() {
    let (addr, _, stop) = echo().await;
    let ask = move |header: &str| {
        let request = format!(
            "GET /api/v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer secret\r\nConnection: close\r\n{header}\r\n"
        );
        whole(addr, &request)
    };
    let answers = tokio::task::spawn_blocking(move || {
        let first = ask("");
        let tag = first.1.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
        let again = ask(&format!("If-None-Match: {tag}\r\n"));
        (first, again, ask("If-None-Match: \"other\"\r\n"))
    });
    let (first, again, other) = answers.await.unwrap();
    assert_eq!((first.0, again.0, other.0), (200, 304, 200));
    assert!(again.2.is_empty() && other.2 == first.2);
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_key_is_done_once() {
    let (addr, _, stop) = echo().await;
    let post = move |path: &str, key: &str, body: &str| {
        let request = format!(
            "POST /api/v1/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer secret\r\nConnection: close\r\n{key}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        whole(addr, &request)
    };
    let cases = [
        ("jobs", "Idempotency-Key: a\r\n", r#"{"file":"x","own":true}"#, 200, false, "call 0"),
        ("jobs", "Idempotency-Key: a\r\n", r#"{"own":true,"file":"x"}"#, 200, true, "call 0"),
        ("jobs", "Idempotency-Key: a\r\n", r#"{"file":"y"}"#, 422, false, "used for another request"),
        ("keys", "Idempotency-Key: a\r\n", "{}", 422, false, "used for another request"),
        ("jobs", "Idempotency-Key: b\r\n", r#"{"file":"x"}"#, 200, false, "call 1"),
        ("jobs", "", r#"{"file":"x"}"#, 200, false, "call 2"),
        ("jobs", "Idempotency-Key: \r\n", r#"{"file":"x"}"#, 400, false, "is no key"),
        // A refusal of what may have done something is told again; one that did nothing is tried again.
        ("data-buy", "Idempotency-Key: c\r\n", r#"{"id":"no"}"#, 403, false, "call 3"),
        ("data-buy", "Idempotency-Key: c\r\n", r#"{"id":"no"}"#, 403, true, "call 3"),
        ("data-buy", "Idempotency-Key: d\r\n", r#"{"id":"busy"}"#, 429, false, "call 4"),
        ("data-buy", "Idempotency-Key: d\r\n", r#"{"id":"busy"}"#, 429, false, "call 5"),
    ];
    let cases = tokio::task::spawn_blocking(move || {
        for (path, key, body, status, again, text) in cases {
            let (got, head, said) = post(path, key, body);
            assert_eq!(
                (got, head.contains("idempotency-replayed: true")),
                (status, again),
                "{path} {key}{body}: {said}"
            );
            assert!(said.contains(text), "{path} {key}{body}: {said}");
        }
    });
    cases.await.unwrap();
    stop.cancel();
}

/// What is checked in is what is served. To write it anew: `TALKOO_WRITE=1 cargo test -p talkoo-api description`.
#[test]
fn the_checked_in_description_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    if std::env::var_os("TALKOO_WRITE").is_some() {
        std::fs::write(path, openapi()).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == openapi(),
        "docs/openapi.json is not current; write it with `TALKOO_WRITE=1 cargo test -p talkoo-api description`"
    );
}
