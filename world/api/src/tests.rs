//! A real server, a real client, a loop that echoes.

use super::*;

/// Largest body of the tests' server, in bytes.
const BODY_TEST: usize = 1_024;

async fn echo() -> (SocketAddr, broadcast::Sender<Arc<str>>, CancellationToken) {
    let (calls, mut inbox) = mpsc::channel::<Call>(4);
    let (events, _) = broadcast::channel(16);
    let stop = CancellationToken::new();
    let addr = "127.0.0.1:0".parse().unwrap();
    let attach = Attach {
        addr,
        token: "secret".into(),
        calls,
        events: events.clone(),
        faces: Router::new().route("/face", axum::routing::get(face)),
        stop: stop.clone(),
    };
    let api = Api::bind_with(attach, BODY_TEST).await.unwrap();
    let addr = api.addr;
    tokio::spawn(api.serve());
    tokio::spawn(async move {
        while let Some(call) = inbox.recv().await {
            let no = Refusal::new(RefusalCode::UnknownId, "no such job", "see `talkoo job ls`");
            let answer = if call.name == "job" { Err(no) } else { Ok(json!({"name": call.name, "args": call.args})) };
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
        ("/api/v1/status?x=1", "secret", None, 200, r#""args":{"x":"1"}"#),
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
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
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
    ];
    for (line, header, body, status, code, text) in cases {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer secret\r\nConnection: close\r\n{header}\r\n\r\n{body}"
        );
        let got = tokio::task::spawn_blocking(move || raw(addr, &request)).await.unwrap();
        assert_eq!(got.0, status, "{line}: {}", got.1);
        let value: Value = serde_json::from_str(&got.1).unwrap_or_else(|e| panic!("{line}: {e}: {}", got.1));
        let error = &value["error"];
        assert_eq!(error["code"], json!(code), "{line}");
        assert!(error["message"].as_str().unwrap().contains(text), "{line}: {error}");
        assert!(!error["hint"].as_str().unwrap().is_empty(), "{line}: {error}");
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
    let (calls, events) = (mpsc::channel(1).0, broadcast::channel(1).0);
    let addr = taken.local_addr().unwrap();
    let attach =
        Attach { addr, token: "secret".into(), calls, events, faces: Router::new(), stop: CancellationToken::new() };
    let Err(error) = Api::bind(attach).await else { panic!("two listeners on {addr}") };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.to_string().contains(&source), "{error}: {source}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_happen_and_end_with_the_node() {
    let (addr, events, stop) = echo().await;
    let url = format!("http://{addr}/api/v1/events");
    let reader = tokio::task::spawn_blocking(move || get(url, "secret", None));
    while events.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
    events.send(r#"{"type":"x"}"#.into()).unwrap();
    // The stream ends with the node, and what was sent before is in it.
    stop.cancel();
    let (status, body) = reader.await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(body, ": listening\n\ndata: {\"type\":\"x\"}\n\n");
}
