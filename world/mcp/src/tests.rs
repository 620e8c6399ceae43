//! The protocol from outside: messages as bytes, on a node that says what a test wants it to say.

use crate::limits::{BODY_BYTES_MAX, SESSIONS_MAX};
use crate::{Attach, router, tools};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use talkoo_api::{Call, Caller};
use talkoo_base::{Refusal, RefusalCode};
use talkoo_inference::{Keys, Scope};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Tells when it goes.
struct Ended(mpsc::Sender<&'static str>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.try_send("ended").ok();
    }
}

/// A model that never ends, and what is heard of it.
fn endless() -> (Router, mpsc::Receiver<&'static str>) {
    let (told, heard) = mpsc::channel(8);
    let answer = move || {
        let ended = Ended(told.clone());
        told.try_send("begun").unwrap();
        let pieces = futures::stream::unfold(ended, |ended| async move {
            std::future::pending::<()>().await;
            Some((Ok::<_, std::io::Error>(String::new()), ended))
        });
        async { Body::from_stream(pieces) }
    };
    (Router::new().route("/v1/chat/completions", post(answer)), heard)
}

struct Bench {
    router: Router,
    keys: Arc<Keys>,
    calls: mpsc::Receiver<Call>,
    _folder: tempfile::TempDir,
}

/// The stream of an answer that ends well.
const ANSWER: &str = concat!(
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"},\"finish_reason\":null}]}\n\n",
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2},\"talkoo\":{\"tier\":\"exact\",\"audited\":true,\
     \"model\":{\"name\":\"a\"},\"price\":\"0.000002\",\"receipt\":\"receipts/ab/1-c.receipt\"}}\n\ndata: [DONE]\n\n"
);

fn bench() -> Bench {
    let inference = Router::new()
        .route("/v1/models", get(|| async { axum::Json(json!({"data": []})) }))
        .route("/v1/chat/completions", post(|| async { ANSWER }));
    bench_with(inference)
}

fn bench_with(inference: Router) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(Keys::open(&folder.path().join("keys.json"), true).unwrap());
    let (sender, calls) = mpsc::channel(8);
    let attach = Attach { inference, calls: sender, keys: keys.clone(), stop: CancellationToken::new() };
    Bench { router: router(attach), keys, calls, _folder: folder }
}

fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
           "params": {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}})
}

impl Bench {
    async fn send(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> (StatusCode, String, axum::http::HeaderMap) {
        let mut request = Request::post("/mcp")
            .header("host", "127.0.0.1:8420")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        let (is_session, has_key) = (|name: &str| name.starts_with("mcp-"), |name: &str| name == "authorization");
        if !headers.iter().any(|(name, _)| has_key(name))
            && (headers.is_empty() || headers.iter().any(|(name, _)| is_session(name)))
        {
            request.extensions_mut().insert(Caller::Owner);
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 1 << 22).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap(), headers)
    }

    async fn session(&self) -> String {
        let (status, _, headers) = self.send(&[], initialize("2025-11-25").to_string()).await;
        assert_eq!(status, 200);
        let id = headers["mcp-session-id"].to_str().unwrap().to_owned();
        let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.send(&[("mcp-session-id", &id)], done.to_string()).await.0, 202);
        id
    }

    /// The result or error of a request in a session.
    async fn ask(&self, session: &str, method: &str, params: Value) -> Value {
        self.ask_with(&[("mcp-session-id", session)], method, params).await
    }

    async fn ask_with(&self, headers: &[(&str, &str)], method: &str, params: Value) -> Value {
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let (status, text, _) = self.send(headers, message.to_string()).await;
        assert_eq!(status, 200, "{text}");
        let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().expect("an event");
        serde_json::from_str(last).unwrap()
    }

    async fn tool(&self, session: &str, name: &str, arguments: Value) -> Value {
        self.ask(session, "tools/call", json!({"name": name, "arguments": arguments})).await["result"].clone()
    }
}

#[tokio::test]
async fn what_is_no_message_is_said_so() {
    let bench = bench();
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let cases: Vec<(&str, Vec<u8>, u16, i64)> = vec![
        ("nothing", vec![], 400, -32_700),
        ("half a message", b"{\"jsonrpc\":".to_vec(), 400, -32_700),
        ("deep", deep.into_bytes(), 400, -32_700),
        (
            "deep in a message",
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{}", "[".repeat(1_000_000))
                .into_bytes(),
            400,
            -32_700,
        ),
        ("no UTF-8", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\xfe\"}".to_vec(), 400, -32_700),
        ("10 MB", vec![b' '; BODY_BYTES_MAX.max(10_000_000)], 413, -32_600),
        ("a batch", json!([ping, ping]).to_string().into_bytes(), 400, -32_600),
        ("a text", b"\"hello\"".to_vec(), 400, -32_600),
        (
            "another JSON-RPC",
            json!({"jsonrpc": "1.0", "id": 1, "method": "ping"}).to_string().into_bytes(),
            400,
            -32_600,
        ),
    ];
    for (what, body, status, code) in cases {
        let (have, text, _) = bench.send(&[], body).await;
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{what}: {text}"));
        assert_eq!((have.as_u16(), answer["error"]["code"].as_i64()), (status, Some(code)), "{what}: {text}");
    }
}

#[tokio::test]
async fn headers_that_are_wrong_are_refused() {
    let bench = bench();
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    let session = bench.session().await;
    let cases = [
        (vec![("mcp-session-id", "00000000-0000-0000-0000-000000000000")], 404),
        (vec![("mcp-session-id", "../../etc/passwd")], 404),
        (vec![("mcp-session-id", session.as_str()), ("mcp-protocol-version", "1999-01-01")], 400),
        (vec![("mcp-session-id", session.as_str())], 200),
    ];
    for (headers, status) in cases {
        let (have, text, _) = bench.send(&headers, ping.clone()).await;
        assert_eq!(have, status, "{headers:?}: {text}");
    }
}

#[tokio::test]
async fn who_may_not_ask_is_not_let_in() {
    let bench = bench();
    let with_mcp = |key: &mut talkoo_inference::Key| {
        key.scopes.insert(Scope::Mcp);
        Ok(())
    };
    let first = initialize("2025-11-25").to_string();
    let ask = async |headers: &[(&str, &str)]| bench.send(headers, first.clone()).await;
    assert_eq!(ask(&[("origin", "https://evil.example")]).await.0, 403, "a page of another site");
    assert_eq!(ask(&[("origin", "null")]).await.0, 403);
    assert_eq!(ask(&[("x-test", "none")]).await.0, 200, "a program of this machine, while there are no keys");
    let (_, plain) = bench.keys.create("plain", None, None).unwrap();
    let (key, good) = bench.keys.create_with("good", None, None, with_mcp).unwrap();
    let (status, text, headers) = ask(&[("x-test", "none")]).await;
    assert_eq!(
        (status.as_u16(), headers["www-authenticate"].to_str().unwrap()),
        (401, "Bearer realm=\"talkoo\""),
        "{text}"
    );
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["error"]["data"]["code"], "bad_signature");
    assert_eq!(ask(&[("authorization", "Bearer sk-talkoo-wrong")]).await.0, 401);
    let (status, text, _) = ask(&[("x-api-key", &plain)]).await;
    assert!(status == 403 && text.contains("--scopes inference,batch,mcp"), "{text}");
    assert_eq!(
        ask(&[("x-api-key", &good), ("origin", "https://evil.example")]).await.0,
        200,
        "whoever has the key has it"
    );
    let slow = |key: &mut talkoo_inference::Key| {
        key.rate = Some(1);
        Ok(())
    };
    bench.keys.change(&key.id, slow).unwrap();
    assert_eq!(ask(&[("x-api-key", &good)]).await.2["x-ratelimit-limit-requests"], "1");
    let (status, _, headers) = ask(&[("x-api-key", &good)]).await;
    assert!(status == 429 && headers.contains_key("retry-after"));
}

#[tokio::test]
async fn both_ways_of_the_protocol_list_every_tool() {
    let bench = bench();
    let session = bench.session().await;
    let listed = bench.ask(&session, "tools/list", json!({})).await;
    let names: Vec<&str> =
        listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), tools::all().len());
    for tool in listed["result"]["tools"].as_array().unwrap() {
        for key in ["title", "description", "inputSchema", "outputSchema", "annotations"] {
            assert!(!tool[key].is_null(), "{tool}");
        }
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{tool}");
    }
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}});
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/list")];
    let (status, text, told) = bench.send(&headers, message.to_string()).await;
    assert_eq!(status, 200, "{text}");
    assert!(!told.contains_key("mcp-session-id") && names.iter().all(|name| text.contains(name)), "{text}");
    let headers = [("mcp-protocol-version", "2099-01-01"), ("mcp-method", "tools/list")];
    let unknown = message.to_string().replace("2026-07-28", "2099-01-01");
    assert_eq!(bench.send(&headers, unknown).await.0, 400);
}

#[tokio::test]
async fn arguments_are_checked_and_refusals_are_answers() {
    let bench = bench();
    let session = bench.session().await;
    let unknown = bench.ask(&session, "tools/call", json!({"name": "nothing", "arguments": {}})).await;
    assert_eq!(unknown["error"]["code"], -32_602);
    let run = |more: Value| {
        let mut args = json!({"model": "a", "prompt": "hi"});
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        args
    };
    // Tool, arguments, the field that is named.
    let cases = [
        ("run", json!({}), "`model`"),
        ("run", json!({"model": "a"}), "`prompt`"),
        ("run", run(json!({"messages": [{"role": "user", "content": "x"}]})), "`prompt`"),
        ("run", run(json!({"max_tokens": 0})), "`max_tokens`"),
        ("run", run(json!({"max_tokens": "5"})), "`max_tokens`"),
        ("run", run(json!({"temperature": 3})), "`temperature`"),
        ("run", run(json!({"where": "everywhere"})), "`where`"),
        ("run", run(json!({"colour": "red"})), "`colour`"),
        ("run", run(json!({"stop": ["a", "b", "c", "d", "e"]})), "`stop`"),
        ("run", run(json!({"schema": "text"})), "`schema`"),
        ("batch_submit", json!({"prompts": ["a"]}), "`model`"),
        ("batch_submit", json!({"model": "a"}), "`prompts`"),
        ("batch_submit", json!({"model": "a", "prompts": [1]}), "`prompts`"),
        ("wallet_pay", json!({"to": "0x", "amount": "1", "why": "x"}), "`to`"),
        ("data_read", json!({"id": "1", "bytes": 1_000_000}), "`bytes`"),
    ];
    for (tool, arguments, named) in cases {
        let result = bench.tool(&session, tool, arguments.clone()).await;
        let said = &result["structuredContent"];
        assert_eq!(
            (&result["isError"], &said["code"]),
            (&json!(true), &json!("malformed")),
            "{tool} {arguments} {result}"
        );
        assert!(said["message"].as_str().unwrap().contains(named), "{tool} {arguments} {result}");
    }
    let traversal = bench.tool(&session, "batch_status", json!({"id": "../keys"})).await;
    assert_eq!(traversal["structuredContent"]["code"], "unknown_id");
}

#[tokio::test]
async fn an_answer_comes_with_what_is_known_of_it() {
    let bench = bench();
    let session = bench.session().await;
    let arguments = json!({"model": "a", "prompt": "hi"});
    let params = json!({"name": "run", "arguments": arguments, "_meta": {"progressToken": "p1"}});
    let message = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params});
    let (_, text, _) = bench.send(&[("mcp-session-id", &session)], message.to_string()).await;
    let events: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    let progress: Vec<&Value> = events.iter().filter(|event| event["method"] == "notifications/progress").collect();
    assert_eq!(
        (progress[0]["params"]["message"].as_str(), progress[0]["params"]["progressToken"].as_str()),
        (Some("Hel"), Some("p1"))
    );
    let result = &events.last().unwrap()["result"];
    let said = &result["structuredContent"];
    assert_eq!((said["text"].as_str(), said["badge"].as_str()), (Some("Hello"), Some("re-run matched")));
    assert_eq!((said["receipt"].as_str(), said["price"].as_str()), (Some("ab/1-c"), Some("0.000002")));
    assert_eq!(result["content"][0]["text"], "Hello");
}

#[tokio::test]
async fn the_node_s_no_is_the_tool_s() {
    let mut bench = bench();
    let session = bench.session().await;
    let mut calls = std::mem::replace(&mut bench.calls, mpsc::channel(1).1);
    let node = tokio::spawn(async move {
        let call = calls.recv().await.unwrap();
        let no = Refusal::new(RefusalCode::Denied, "the key may not pay to 0x11", "talkoo key set").with(1, 2);
        call.reply.send(Err(no)).unwrap();
        (call.name, call.args)
    });
    let to = format!("0x{}", "11".repeat(20));
    let pay = json!({"to": to, "amount": "1.5", "why": "tea"});
    // The owner's token has no policy: the node is not even asked.
    let result = bench.tool(&session, "wallet_pay", pay.clone()).await;
    assert_eq!(result["structuredContent"]["code"], "denied");
    assert!(result["structuredContent"]["hint"].as_str().unwrap().contains("talkoo mcp --key"), "{result}");
    let scopes = [Scope::Mcp, Scope::Wallet];
    let created = bench.keys.create_with("agent", None, None, |key| {
        key.scopes = scopes.into();
        Ok(())
    });
    let (key, secret) = created.unwrap();
    let bearer = format!("Bearer {secret}");
    let headers = [("mcp-session-id", session.as_str()), ("authorization", bearer.as_str())];
    let result = bench.ask_with(&headers, "tools/call", json!({"name": "wallet_pay", "arguments": pay})).await;
    let result = &result["result"];
    assert_eq!(result["isError"], true);
    assert_eq!(
        result["structuredContent"],
        json!({"code": "denied", "message": "the key may not pay to 0x11 (need 1, have 2)", "hint": "talkoo key set"})
    );
    let (name, args) = node.await.unwrap();
    assert_eq!(
        (name, args["amount"].as_str(), args["key"].as_str()),
        ("wallet_pay", Some("1.5"), Some(key.id.as_str())),
        "the key asks"
    );
    let gone = bench.tool(&session, "wallet_show", json!({})).await;
    assert_eq!(gone["structuredContent"]["code"], "stopping");
}

#[tokio::test]
async fn sessions_make_room_for_others() {
    let bench = bench();
    let first = bench.session().await;
    let second = bench.session().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
    for _ in 2..SESSIONS_MAX {
        bench.session().await;
    }
    assert_eq!(bench.send(&[("mcp-session-id", &first)], ping.clone()).await.0, 200, "it is heard of again");
    bench.session().await;
    assert_eq!(bench.send(&[("mcp-session-id", &second)], ping.clone()).await.0, 404, "this one was silent longest");
    assert_eq!(bench.send(&[("mcp-session-id", &first)], ping).await.0, 200);
}

/// The next thing that is heard of the model, if it comes in time.
async fn heard(of: &mut mpsc::Receiver<&'static str>) -> Option<&'static str> {
    timeout(Duration::from_secs(10), of.recv()).await.expect("something is heard in time")
}

#[tokio::test]
async fn a_cancelled_call_ends_its_work() {
    let (inference, mut model) = endless();
    let bench = bench_with(inference);
    let session = bench.session().await;
    let params = json!({"name": "run", "arguments": {"model": "a", "prompt": "hi"}});
    let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params});
    let asked = [("mcp-session-id", session.as_str())];
    let mut asking = std::pin::pin!(bench.send(&asked, call.to_string()));
    assert!(futures::poll!(&mut asking).is_pending());
    tokio::select! {
        _ = &mut asking => panic!("it never answers by itself"),
        said = heard(&mut model) => assert_eq!(said, Some("begun")),
    }
    let stop =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 9, "reason": "enough"}});
    assert_eq!(bench.send(&asked, stop.to_string()).await.0, 202);
    assert_eq!(heard(&mut model).await, Some("ended"));
}

#[tokio::test]
async fn who_goes_away_without_a_session_ends_the_work() {
    let (inference, mut model) = endless();
    let bench = bench_with(inference);
    let params = json!({"name": "run", "arguments": {"model": "a", "prompt": "hi"}, "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }});
    let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params}).to_string();
    let headers = [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "run")];
    tokio::select! {
        (status, text, _) = bench.send(&headers, call) => panic!("it answers by itself: {status} {text}"),
        said = heard(&mut model) => assert_eq!(said, Some("begun")),
    }
    assert_eq!(heard(&mut model).await, Some("ended"), "the request was dropped");
}
