//! The protocols on a desk that says what a test wants it to say.

use crate::keys::{Keys, Who};
use crate::{
    Answering, Attach, Desk, EmbedOrder, Embedded, Hooks, Inputs, Measured, Meters, Model, Order, Piece, Prompt, router,
};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use talkoo_api::Caller;
use talkoo_base::{Amount, Finish, Refusal, RefusalCode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Says the same to everybody, in these pieces.
pub(crate) struct Parrot {
    pub(crate) says: Vec<&'static str>,
    pub(crate) finish: Finish,
    pub(crate) fails: bool,
    pub(crate) orders: Mutex<Vec<Order>>,
    /// Never says anything.
    pub(crate) is_silent: bool,
    /// Kept of answers that are under way: who went away is seen here.
    pub(crate) open: Mutex<Vec<mpsc::Sender<Piece>>>,
}

impl Default for Parrot {
    fn default() -> Self {
        let (orders, open) = (Mutex::default(), Mutex::default());
        Self { says: vec!["Hel", "lo"], finish: Finish::Stop, fails: false, orders, is_silent: false, open }
    }
}

fn facts() -> Value {
    json!({"model": {"root": "0123456789abcdef0123"}, "price": "0"})
}

impl Desk for Parrot {
    fn models(&self) -> BoxFuture<'_, Result<Vec<Model>, Refusal>> {
        let text = |text: &str| text.to_owned();
        let model = Model {
            name: text("a/parrot"),
            aliases: vec![text("polly")],
            is_encoder: false,
            created: 1,
            context: 100,
            cid: text("bafy"),
            root: text("00"),
            bytes: 1,
            quantization: text("Q4_1"),
            endpoints: vec![json!({"name": "here"})],
        };
        Box::pin(async { Ok(vec![model]) })
    }

    fn generate(&self, order: Order) -> BoxFuture<'_, Result<Answering, Refusal>> {
        Box::pin(async move {
            if order.model != "a/parrot" {
                return Err(Refusal::new(RefusalCode::UnknownModel, "the `model` is not here", "pull it"));
            }
            let (sender, pieces) = mpsc::channel(64);
            for choice in 0..order.choices {
                for text in self.says.iter().filter(|_| !self.is_silent) {
                    let logprobs =
                        order.params.top_logprobs.map(|_| json!({"token": text, "logprob": -0.5, "top_logprobs": []}));
                    let piece =
                        Piece::Text { choice, text: (*text).to_owned(), logprobs: logprobs.into_iter().collect() };
                    sender.send(piece).await.unwrap();
                }
                if self.fails {
                    sender.send(Piece::Failed(Refusal::new(RefusalCode::Silent, "nobody answers", ""))).await.unwrap();
                } else if !self.is_silent {
                    let end = Piece::End {
                        choice,
                        finish: self.finish,
                        stop: order.params.stop.first().cloned(),
                        tokens: 2,
                        facts: facts(),
                    };
                    sender.send(end).await.unwrap();
                }
            }
            if self.is_silent {
                self.open.lock().unwrap().push(sender);
            }
            self.orders.lock().unwrap().push(order);
            Ok(Answering { model: "a/parrot".into(), prompt_tokens: 3, pieces })
        })
    }

    fn measure(&self, order: Order) -> BoxFuture<'_, Result<Measured, Refusal>> {
        let Order { model, params, .. } = order;
        Box::pin(async move {
            if model != "a/parrot" {
                return Err(Refusal::new(RefusalCode::UnknownModel, "the `model` is not here", "pull it"));
            }
            Ok(Measured { model, prompt_tokens: 3, max_tokens: params.max_tokens })
        })
    }

    fn count(&self, _: String, _: Prompt) -> BoxFuture<'_, Result<u32, Refusal>> {
        Box::pin(async { Ok(3) })
    }

    fn embed(&self, EmbedOrder { inputs, .. }: EmbedOrder) -> BoxFuture<'_, Result<Embedded, Refusal>> {
        let count = match inputs {
            Inputs::Texts(texts) => texts.len(),
            Inputs::Tokens(lists) => lists.len(),
        };
        Box::pin(async move { Ok(Embedded { vectors: vec![vec![0.6, 0.8]; count], tokens: 4, facts: json!({}) }) })
    }
}

/// A router, and all that stands behind it.
struct Bench {
    parrot: Arc<Parrot>,
    keys: Arc<Keys>,
    router: Router,
    folder: tempfile::TempDir,
}

fn bench(parrot: Parrot) -> Bench {
    let (parrot, folder) = (Arc::new(parrot), tempfile::tempdir().unwrap());
    let keys = Arc::new(Keys::open(&folder.path().join("keys.json"), true).unwrap());
    let router = put_up(&parrot, &keys, &folder);
    Bench { parrot, keys, router, folder }
}

fn put_up(parrot: &Arc<Parrot>, keys: &Arc<Keys>, folder: &tempfile::TempDir) -> Router {
    let attach = Attach {
        desk: parrot.clone(),
        keys: keys.clone(),
        hooks: Arc::new(Hooks::open(folder.path().join("webhooks")).unwrap()),
        meters: Meters::default(),
        folder: folder.path().to_owned(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        selling: None,
    };
    router(attach).unwrap().guarded
}

impl Bench {
    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, String) {
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8420");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Caller::Stranger);
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert!(response.headers().contains_key("x-request-id"), "{path}");
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(bytes.into()).unwrap())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.ask("POST", path, &[], &body.to_string()).await;
        (status.as_u16(), serde_json::from_str(&text).unwrap_or_else(|_| json!(text)))
    }

    async fn events(&self, path: &str, body: &Value) -> Vec<Value> {
        let (status, text) = self.ask("POST", path, &[], &body.to_string()).await;
        assert_eq!(status, 200, "{text}");
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))).collect()
    }
}

fn chat(more: Value) -> Value {
    let mut body = json!({"model": "a/parrot", "messages": [{"role": "user", "content": "hi"}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn weather() -> Value {
    json!([{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}])
}

#[tokio::test]
async fn a_chat_is_answered_whole_and_in_events() {
    let bench = bench(Parrot::default());
    let (status, answer) =
        bench.post("/v1/chat/completions", &chat(json!({"n": 2, "seed": 7, "service_tier": "flex"}))).await;
    assert_eq!((status, answer["object"].as_str()), (200, Some("chat.completion")));
    let message = json!({"role": "assistant", "content": "Hello", "refusal": null, "annotations": []});
    for index in 0..2 {
        let choice = json!({"index": index, "message": message, "logprobs": null, "finish_reason": "stop"});
        assert_eq!(answer["choices"][index], choice);
    }
    assert_eq!((&answer["usage"]["total_tokens"], &answer["service_tier"]), (&json!(7), &json!("flex")));
    assert_eq!((&answer["system_fingerprint"], &answer["talkoo"][1]), (&json!("fp_0123456789abcdef"), &facts()));

    for wants_usage in [false, true] {
        let options = json!({"stream": true, "stream_options": {"include_usage": wants_usage}});
        let events = bench.events("/v1/chat/completions", &chat(options)).await;
        assert_eq!(events.last(), Some(&json!("[DONE]")));
        let chunks = &events[..events.len() - 1];
        assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]));
        let deltas: Vec<&Value> = chunks.iter().filter_map(|c| c["choices"][0].get("delta")).collect();
        let want = [
            json!({"role": "assistant", "content": "", "refusal": null}),
            json!({"content": "Hel"}),
            json!({"content": "lo"}),
            json!({}),
        ];
        assert_eq!(deltas, want.iter().collect::<Vec<_>>());
        let usages: Vec<Option<&Value>> = chunks.iter().map(|chunk| chunk.get("usage")).collect();
        if wants_usage {
            let (last, before) = usages.split_last().unwrap();
            assert_eq!(last.unwrap()["completion_tokens"], 2);
            assert!(before.iter().all(|usage| *usage == Some(&Value::Null)));
            assert_eq!(chunks.last().unwrap()["choices"], json!([]));
        } else {
            assert!(usages.iter().all(Option::is_none));
        }
    }
    let orders = bench.parrot.orders.lock().unwrap();
    assert_eq!((orders[0].choices, orders[0].seed, &orders[0].who), (2, Some(7), &Who::Anybody));
}

#[tokio::test]
async fn calls_are_found_in_every_protocol() {
    let says =
        vec!["I look. <tool", "_call>\n{\"name\": \"weather\", \"arguments\": {\"at\"", ": \"Oulu\"}}\n</tool_call>"];
    let bench = bench(Parrot { says, ..Parrot::default() });
    let (_, answer) = bench.post("/v1/chat/completions", &chat(json!({"tools": weather()}))).await;
    let choice = &answer["choices"][0];
    assert_eq!((&choice["message"]["content"], &choice["finish_reason"]), (&json!("I look. "), &json!("tool_calls")));
    let function = &choice["message"]["tool_calls"][0]["function"];
    assert_eq!(*function, json!({"name": "weather", "arguments": "{\"at\":\"Oulu\"}"}));

    let events = bench.events("/v1/chat/completions", &chat(json!({"tools": weather(), "stream": true}))).await;
    let calls: Vec<&Value> = events.iter().filter_map(|e| e["choices"][0]["delta"].get("tool_calls")).collect();
    assert_eq!((&calls[0][0]["index"], &calls[0][0]["function"]["arguments"]), (&json!(0), &json!("")));
    assert_eq!(calls[1][0], json!({"index": 0, "function": {"arguments": "{\"at\":\"Oulu\"}"}}));
    assert!(events.iter().any(|e| e["choices"][0]["finish_reason"] == "tool_calls"));

    let tools = json!([{"name": "weather", "input_schema": {"type": "object"}}]);
    let (_, answer) = bench.post("/v1/messages", &chat(json!({"tools": tools, "max_tokens": 9}))).await;
    assert_eq!((&answer["stop_reason"], &answer["content"][1]["input"]), (&json!("tool_use"), &json!({"at": "Oulu"})));

    let (_, answer) = bench.post("/api/chat", &chat(json!({"tools": weather(), "stream": false}))).await;
    assert_eq!(answer["message"]["tool_calls"][0]["function"]["arguments"], json!({"at": "Oulu"}));

    let (_, answer) = bench.post("/v1/messages", &chat(json!({"stop_sequences": ["END"], "max_tokens": 9}))).await;
    assert_eq!((&answer["stop_reason"], &answer["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));

    let tools = json!([{"type": "function", "name": "weather", "parameters": {"type": "object"}}]);
    let (_, answer) = bench.post("/v1/responses", &json!({"model": "a/parrot", "input": "hi", "tools": tools})).await;
    let types: Vec<&Value> = answer["output"].as_array().unwrap().iter().map(|item| &item["type"]).collect();
    assert_eq!(types, ["message", "function_call"]);
    // Without tools the same is text.
    let (_, answer) = bench.post("/v1/chat/completions", &chat(json!({}))).await;
    assert!(answer["choices"][0]["message"]["content"].as_str().unwrap().contains("<tool_call>"));
}

#[tokio::test]
async fn what_cannot_be_honoured_is_refused_by_name() {
    let bench = bench(Parrot::default());
    let responses = |more: Value| {
        let mut body = json!({"model": "a/parrot", "input": "hi"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let cases = [
        ("/v1/chat/completions", chat(json!({"modalities": ["audio"]})), 400, "modalities"),
        ("/v1/chat/completions", chat(json!({"temperature": 3})), 400, "temperature"),
        ("/v1/chat/completions", chat(json!({"messages": []})), 400, "messages"),
        ("/v1/chat/completions", chat(json!({"model": "b"})), 404, "model"),
        ("/v1/chat/completions", chat(json!({"tools": [{"type": "web"}]})), 400, "tools"),
        ("/v1/chat/completions", chat(json!({"tool_choice": "required"})), 400, "tool_choice"),
        ("/v1/chat/completions", chat(json!({"service_tier": "gold"})), 400, "service_tier"),
        ("/v1/chat/completions", chat(json!({"stream_options": {}})), 400, "stream_options"),
        ("/v1/chat/completions", chat(json!({"response_format": {"type": "xml"}})), 400, "response_format"),
        ("/v1/completions", json!({"model": "a/parrot", "prompt": "a", "echo": true}), 400, "echo"),
        ("/v1/completions", json!({"model": "a/parrot", "prompt": []}), 400, "prompt"),
        ("/v1/embeddings", json!({"model": "m", "input": "a", "encoding_format": "hex"}), 400, "encoding_format"),
        ("/v1/embeddings", json!({"model": "m", "input": "a", "dimensions": 3}), 400, "dimensions"),
        ("/v1/embeddings", json!({"model": "m", "input": [""]}), 400, "input"),
        ("/v1/responses", responses(json!({"truncation": "auto"})), 400, "truncation"),
        ("/v1/responses", responses(json!({"previous_response_id": "resp_00"})), 404, "previous_response_id"),
        ("/v1/responses", responses(json!({"background": true, "stream": true})), 400, "background"),
        ("/v1/responses", responses(json!({"reasoning": {"effort": "low"}})), 400, "reasoning"),
    ];
    for (path, body, status, param) in cases {
        let (have, answer) = bench.post(path, &body).await;
        assert_eq!((have, answer["error"]["param"].as_str()), (status, Some(param)), "{path} {body} {answer}");
    }
    let (status, answer) = bench.post("/v1/messages", &chat(json!({}))).await;
    assert_eq!((status, &answer["error"]["type"]), (400, &json!("invalid_request_error")));
    let (status, answer) = bench.post("/api/chat", &chat(json!({"model": "b"}))).await;
    assert!(status == 404 && answer["error"].is_string(), "{answer}");
    for (path, body) in [("/v1/nothing", "{}"), ("/v1/chat/completions", "{"), ("/v1/embeddings", "\"x\"")] {
        let (status, answer) = bench.ask("POST", path, &[], body).await;
        assert!(status.is_client_error() && answer.contains("\"error\""), "{path} {answer}");
    }
    let (status, _) = bench.ask("GET", "/v1/chat/completions", &[], "").await;
    assert_eq!(status, 405);
}

#[tokio::test]
async fn a_failure_in_mid_stream_is_said_in_the_stream() {
    let bench = bench(Parrot { fails: true, ..Parrot::default() });
    let events = bench.events("/v1/chat/completions", &chat(json!({"stream": true}))).await;
    assert_eq!(events.last().unwrap()["error"]["code"], "silent");
    let events = bench.events("/v1/messages", &chat(json!({"stream": true, "max_tokens": 5}))).await;
    assert_eq!(events.last().unwrap()["type"], "error");
    let body = json!({"model": "a/parrot", "input": "hi", "stream": true});
    let events = bench.events("/v1/responses", &body).await;
    assert_eq!(events.last().unwrap()["response"]["status"], "failed");
    assert_eq!(bench.post("/v1/chat/completions", &chat(json!({}))).await.0, 504);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_work() {
    let bench = bench(Parrot { is_silent: true, ..Parrot::default() });
    for (path, body) in
        [("/v1/chat/completions", chat(json!({"stream": true}))), ("/v1/chat/completions", chat(json!({})))]
    {
        let request = Request::builder().method("POST").uri(path).body(Body::from(body.to_string())).unwrap();
        let (router, waits) = (bench.router.clone(), body["stream"].is_null());
        let asked = tokio::spawn(async move {
            let response = router.oneshot(request).await.unwrap();
            if waits { unreachable!("it never answers") } else { response }
        });
        while bench.parrot.open.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let sender = bench.parrot.open.lock().unwrap().pop().unwrap();
        assert!(!sender.is_closed());
        if waits {
            asked.abort();
        } else {
            drop(asked.await.unwrap());
        }
        sender.closed().await;
    }
}

#[tokio::test]
async fn responses_are_found_again_by_their_owner_only() {
    let bench = bench(Parrot::default());
    let ask = |more: Value| {
        let mut body = json!({"model": "a/parrot", "input": "hi"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (status, first) = bench.post("/v1/responses", &ask(json!({}))).await;
    assert_eq!(
        (status, &first["status"], &first["output"][0]["content"][0]["text"]),
        (200, &json!("completed"), &json!("Hello"))
    );
    let id = first["id"].as_str().unwrap();
    let (_, second) = bench.post("/v1/responses", &ask(json!({"previous_response_id": id, "store": false}))).await;
    assert_eq!(second["previous_response_id"], id);
    let orders = std::mem::take(&mut *bench.parrot.orders.lock().unwrap());
    let Prompt::Chat(messages, _) = &orders[1].prompt else { panic!("{orders:?}") };
    let said: Vec<(&str, &str)> = messages.iter().map(|m| (m.role.as_str(), m.text.as_str())).collect();
    assert_eq!(said, [("user", "hi"), ("assistant", "Hello"), ("user", "hi")]);

    // What was not to be kept is not there; what another one asked for neither; and files elsewhere are none.
    let (_, secret) = bench.keys.create("other", None, None).unwrap();
    let bearer = format!("Bearer {secret}");
    let path = format!("/v1/responses/{id}");
    assert_eq!(bench.ask("GET", &path, &[("authorization", &bearer)], "").await.0, 404);
    let owner = |path: &str, method: &str| {
        let mut request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller::Owner);
        bench.router.clone().oneshot(request)
    };
    for gone in [second["id"].as_str().unwrap(), "..%2Fkeys", "resp_..%2F..%2Fkeys"] {
        assert_eq!(owner(&format!("/v1/responses/{gone}"), "GET").await.unwrap().status(), 404, "{gone}");
    }
    assert_eq!(owner(&format!("{path}/input_items"), "GET").await.unwrap().status(), 200);
    assert_eq!(owner(&path, "DELETE").await.unwrap().status(), 200);
    assert_eq!(owner(&path, "GET").await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_conversation_is_compacted_into_an_item_that_goes_on() {
    let bench = bench(Parrot::default());
    let input = json!([
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "We launch on Tuesday."},
        {"role": "assistant", "content": "Understood."},
    ]);
    let (status, compacted) = bench.post("/v1/responses/compact", &json!({"model": "a/parrot", "input": input})).await;
    assert_eq!((status, compacted["object"].as_str()), (200, Some("response.compaction")), "{compacted}");
    assert_eq!(compacted["usage"]["total_tokens"], 5);
    let kinds: Vec<_> = compacted["output"].as_array().unwrap().iter().map(|item| item["type"].clone()).collect();
    assert_eq!(kinds, ["message", "compaction"]);
    // The model was asked for all of it, with a wish at the end.
    let messages = |order: &Order| match &order.prompt {
        Prompt::Chat(messages, _) => messages.clone(),
        other => panic!("{other:?}"),
    };
    let asked = messages(&bench.parrot.orders.lock().unwrap()[0]);
    assert_eq!(asked.len(), 4);
    assert_eq!((asked[1].text.as_str(), asked[3].role.as_str()), ("We launch on Tuesday.", "user"));
    // What it said stands for the conversation.
    let mut items = compacted["output"].as_array().unwrap().clone();
    items.push(json!({"role": "user", "content": "When?"}));
    let (status, _) = bench.post("/v1/responses", &json!({"model": "a/parrot", "input": items})).await;
    assert_eq!(status, 200);
    let told = messages(&bench.parrot.orders.lock().unwrap()[1]);
    assert_eq!(told[0].text, "Be brief.\n\nSummary of the conversation so far: Hello");
    assert_eq!((told.len(), told[1].text.as_str()), (2, "When?"));
    for (body, says) in [
        (json!({"input": input}), "model"),
        (json!({"model": "a/parrot"}), "input"),
        (json!({"model": "a/parrot", "input": input, "tools": []}), "tools"),
        (json!({"model": "a/parrot", "input": [{"type": "compaction", "encrypted_content": "gAAAAA"}]}), "compaction"),
    ] {
        let (status, fault) = bench.post("/v1/responses/compact", &body).await;
        assert!(status == 400 && fault["error"]["message"].as_str().unwrap().contains(says), "{status} {fault}");
    }
}

#[tokio::test]
async fn a_response_in_the_background_is_cancelled_or_lost_with_the_node() {
    let bench = bench(Parrot { is_silent: true, ..Parrot::default() });
    let body = json!({"model": "a/parrot", "input": "hi", "background": true});
    let (_, first) = bench.post("/v1/responses", &body).await;
    let (_, second) = bench.post("/v1/responses", &body).await;
    assert_eq!(first["status"], "queued");
    let path = |value: &Value| format!("/v1/responses/{}", value["id"].as_str().unwrap());
    let (_, cancelled) = bench.post(&format!("{}/cancel", path(&first)), &json!({})).await;
    assert_eq!(cancelled["status"], "cancelled");
    let (_, third) = bench.post("/v1/responses", &body).await;
    let status = async |method| bench.ask(method, &path(&third), &[], "").await.0.as_u16();
    assert_eq!(status("DELETE").await, 200);
    let open = bench.parrot.open.lock().unwrap().pop().unwrap();
    open.closed().await;
    assert_eq!(status("GET").await, 404, "what ends later does not bring it back");
    let metadata = "x".repeat(crate::limits::RESPONSE_BYTES_MAX);
    let large = json!({"model": "a/parrot", "input": "hi", "background": true, "metadata": {"a": metadata}});
    assert_eq!(bench.post("/v1/responses", &large).await.0, 413);
    let again = put_up(&bench.parrot, &bench.keys, &bench.folder);
    let bench = Bench { router: again, ..bench };
    let (_, text) = bench.ask("GET", &path(&second), &[], "").await;
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&found["status"], &found["error"]["code"]), (&json!("failed"), &json!("stopping")));
}

#[tokio::test]
async fn the_first_key_closes_the_door() {
    let bench = bench(Parrot::default());
    let ask = async |headers: &[(&str, &str)]| bench.ask("GET", "/v1/models", headers, "").await.0.as_u16();
    assert_eq!(ask(&[]).await, 200);
    assert_eq!(
        ask(&[("authorization", "Bearer anything")]).await,
        200,
        "programs send the token of another service along"
    );
    assert_eq!(ask(&[("origin", "https://evil.example")]).await, 403, "a page of another site");
    assert_eq!(ask(&[("origin", "http://127.0.0.1:8420")]).await, 200, "our own page");
    assert_eq!(ask(&[("authorization", "Bearer sk-talkoo-wrong")]).await, 401);
    let (key, secret) = bench.keys.create("phone", Some(Amount(10)), None).unwrap();
    let bearer = format!("Bearer {secret}");
    assert_eq!((ask(&[]).await, ask(&[("authorization", "Bearer anything")]).await), (401, 401));
    assert_eq!((ask(&[("authorization", &bearer)]).await, ask(&[("x-api-key", &secret)]).await), (200, 200));
    let who = Who::Key(key.id.clone());
    let code = |no: Result<(), Refusal>| no.map_err(|no| no.code);
    assert_eq!(code(bench.keys.may_spend(&Who::Anybody)), Err(RefusalCode::InsufficientFunds));
    assert_eq!((code(bench.keys.may_spend(&who)), code(bench.keys.may_spend(&Who::Owner))), (Ok(()), Ok(())));
    assert_eq!(code(bench.keys.spent(&who, Amount(6))), Ok(()));
    assert_eq!(code(bench.keys.spent(&who, Amount(4))), Ok(()), "all of it");
    assert_eq!(code(bench.keys.may_spend(&who)), Err(RefusalCode::InsufficientFunds));
    assert_eq!(code(bench.keys.spent(&who, Amount(1))), Err(RefusalCode::InsufficientFunds), "of another answer");
    bench.keys.keep();
    let file = std::fs::read_to_string(bench.folder.path().join("keys.json")).unwrap();
    assert!(!file.contains(&secret), "only its digest is kept");
    let again = Keys::open(&bench.folder.path().join("keys.json"), true).unwrap();
    assert_eq!(again.all()[0].spent, 11);
    bench.keys.revoke("phone").unwrap();
    assert_eq!((ask(&[("authorization", &bearer)]).await, ask(&[]).await), (401, 401), "and stays closed");
    let (_, ended) = bench.keys.create("old", None, Some(1)).unwrap();
    assert_eq!(ask(&[("x-api-key", &ended)]).await, 401);
}

#[test]
fn keys_that_are_good_for_nothing_make_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    let made = Keys::open(&path, true).unwrap();
    let (first, _) = made.create("twin", None, None).unwrap();
    let (second, _) = made.create("twin", None, None).unwrap();
    let many = vec![second.clone(); crate::limits::KEYS_MAX - 1];
    let all: Vec<_> = [first.clone()].into_iter().chain(many).collect();
    std::fs::write(&path, serde_json::to_vec(&all).unwrap()).unwrap();
    let keys = Keys::open(&path, true).unwrap();
    assert_eq!(keys.create("more", None, None).unwrap_err().code, RefusalCode::TooLarge);
    assert_eq!(keys.revoke("twin").unwrap_err().code, RefusalCode::Malformed, "which of them?");
    let who = Who::Key(first.id.clone());
    assert!(keys.spent(&who, Amount(1)).is_ok());
    keys.revoke(&first.id).unwrap();
    assert!(keys.spent(&who, Amount(1)).is_err(), "what is under way ends");
    keys.create("more", None, None).unwrap();
    assert!(keys.all().len() == crate::limits::KEYS_MAX && keys.all().iter().all(|key| key.id != first.id));
}

#[tokio::test]
async fn bodies_of_too_many_values_are_not_read() {
    let bench = bench(Parrot::default());
    let many = format!("{{\"a\": [{}0]}}", "0,".repeat(crate::limits::VALUES_MAX));
    let (status, answer) = bench.ask("POST", "/v1/chat/completions", &[], &many).await;
    assert!(status == 413 && answer.contains("values"), "{status} {answer}");
}

#[tokio::test]
async fn vectors_are_numbers_or_base64() {
    let bench = bench(Parrot::default());
    let ask = |more: Value| {
        let mut body = json!({"model": "m", "input": ["a", "b"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let (_, answer) = bench.post("/v1/embeddings", &ask(json!({}))).await;
    assert_eq!(answer["data"][1], json!({"object": "embedding", "index": 1, "embedding": [0.6_f32, 0.8_f32]}));
    let (_, answer) = bench.post("/v1/embeddings", &ask(json!({"encoding_format": "base64"}))).await;
    assert_eq!(answer["data"][0]["embedding"], "mpkZP83MTD8=");
    let (status, answer) = bench.post("/api/embed", &ask(json!({"input": ["a", 5, "b"]}))).await;
    assert_eq!(status, 400, "two vectors for three inputs would be another's: {answer}");
    let (_, answer) = bench.post("/v1/embeddings", &ask(json!({"dimensions": 1, "input": [1, 2, 3]}))).await;
    assert_eq!((&answer["data"][0]["embedding"], answer["data"].as_array().unwrap().len()), (&json!([1.0]), 1));
}

#[tokio::test]
async fn models_have_names_with_slashes_and_endpoints() {
    let bench = bench(Parrot::default());
    let cases = [
        ("/v1/models/a/parrot", 200, "\"quantization\":\"Q4_1\""),
        ("/v1/models/polly", 200, "a/parrot"),
        ("/v1/models/a/parrot/endpoints", 200, "endpoints"),
        ("/v1/models/b", 404, "model_not_found"),
        ("/api/tags", 200, "a/parrot"),
        ("/api/version", 200, "version"),
    ];
    for (path, status, text) in cases {
        let (have, answer) = bench.ask("GET", path, &[], "").await;
        assert!(have == status && answer.contains(text), "{path} {have} {answer}");
    }
}

#[tokio::test]
async fn demanded_calls_are_constraints() {
    let bench = bench(Parrot::default());
    bench.post("/v1/chat/completions", &chat(json!({"tools": weather(), "tool_choice": "required"}))).await;
    let orders = bench.parrot.orders.lock().unwrap();
    let constraint = orders[0].params.constraint.as_ref().unwrap();
    let schema: Value = serde_json::from_str(&constraint.source).unwrap();
    assert_eq!(schema["properties"]["name"]["const"], "weather");
    assert_eq!(schema["properties"]["arguments"]["additionalProperties"], false);
}

/// An upload as browsers and SDKs make it.
async fn upload(bench: &Bench, purpose: &str, content: &str) -> (u16, Value) {
    let body = format!(
        "--xyz\r\ncontent-disposition: form-data; name=\"purpose\"\r\n\r\n{purpose}\r\n\
         --xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{content}\r\n--xyz--\r\n"
    );
    let headers = [("content-type", "multipart/form-data; boundary=xyz")];
    let (status, text) = bench.ask("POST", "/v1/files", &headers, &body).await;
    (status.as_u16(), serde_json::from_str(&text).unwrap())
}

async fn ended(bench: &Bench, id: &str) -> Value {
    loop {
        let (_, text) = bench.ask("GET", &format!("/v1/batches/{id}"), &[], "").await;
        let batch: Value = serde_json::from_str(&text).unwrap();
        if !["validating", "in_progress", "finalizing", "cancelling"].contains(&batch["status"].as_str().unwrap()) {
            return batch;
        }
        tokio::task::yield_now().await;
    }
}

fn line(id: &str, model: &str) -> String {
    let body = chat(json!({"model": model}));
    json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}).to_string()
}

#[tokio::test]
async fn a_batch_is_answered_line_by_line() {
    let bench = bench(Parrot::default());
    let lines = [line("one", "a/parrot"), line("two", "none"), line("three", "a/parrot")].join("\n");
    let (_, file) = upload(&bench, "batch", &lines).await;
    let ask = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h", "metadata": {"a": "b"}});
    let (status, batch) = bench.post("/v1/batches", &ask).await;
    assert_eq!((status, &batch["status"], &batch["metadata"]), (200, &json!("validating"), &json!({"a": "b"})));
    let batch = ended(&bench, batch["id"].as_str().unwrap()).await;
    assert_eq!(batch["request_counts"], json!({"total": 3, "completed": 2, "failed": 1}));
    assert_eq!((&batch["status"], &batch["usage"]["output_tokens"]), (&json!("completed"), &json!(4)));
    let read = async |id: &Value| {
        let (_, text) = bench.ask("GET", &format!("/v1/files/{}/content", id.as_str().unwrap()), &[], "").await;
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.sort_by_key(|line| line["custom_id"].to_string());
        lines
    };
    let out = read(&batch["output_file_id"]).await;
    assert_eq!((&out[0]["custom_id"], &out[1]["custom_id"]), (&json!("one"), &json!("three")));
    assert_eq!(out[0]["response"]["body"]["choices"][0]["message"]["content"], "Hello");
    let err = read(&batch["error_file_id"]).await;
    assert_eq!((&err[0]["custom_id"], &err[0]["response"]["status_code"]), (&json!("two"), &json!(404)));

    // Files that are none are refused with the number of each line.
    let bad = ["{}".to_owned(), line("a", "m"), line("a", "m"), "nonsense".to_owned()].join("\n");
    let (_, file) = upload(&bench, "batch", &bad).await;
    let mut asks = ask.clone();
    asks["input_file_id"] = file["id"].clone();
    let (_, batch) = bench.post("/v1/batches", &asks).await;
    let batch = ended(&bench, batch["id"].as_str().unwrap()).await;
    let lines: Vec<&Value> = batch["errors"]["data"].as_array().unwrap().iter().map(|error| &error["line"]).collect();
    assert_eq!((&batch["status"], lines), (&json!("failed"), vec![&json!(1), &json!(3), &json!(4)]));
    let refused = [
        ("endpoint", json!("/v1/models")),
        ("completion_window", json!("1h")),
        ("input_file_id", json!("file-../keys")),
    ];
    for (key, value) in refused {
        let mut asks = ask.clone();
        asks[key] = value;
        let (status, answer) = bench.post("/v1/batches", &asks).await;
        assert!(status == 400 || status == 404, "{answer}");
        assert_eq!(answer["error"]["param"], if status == 404 { Value::Null } else { json!(key) }, "{answer}");
    }
    assert_eq!(upload(&bench, "assistants", "x").await.0, 400);
    let (_, list) = bench.ask("GET", "/v1/batches?limit=1", &[], "").await;
    assert!(list.contains("\"has_more\":true"), "{list}");
}

#[tokio::test]
async fn a_batch_goes_on_where_a_kill_ended_it_and_is_cancelled() {
    let bench = bench(Parrot { is_silent: true, ..Parrot::default() });
    let (_, file) = upload(&bench, "batch", &[line("one", "a/parrot"), line("two", "a/parrot")].join("\n")).await;
    let ask = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let (_, batch) = bench.post("/v1/batches", &ask).await;
    let id = batch["id"].as_str().unwrap();
    while bench.parrot.open.lock().unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    // As if the first line had been answered, and the node been killed while it wrote the second answer.
    let done = json!({"custom_id": "one", "response": {"status_code": 200, "body": {"usage": {"prompt_tokens": 5}}}});
    let out = bench.folder.path().join(format!("batches/{id}.out"));
    std::fs::write(&out, format!("{done}\n{{\"custom_id\": \"tw")).unwrap();
    let talks = Arc::new(Parrot::default());
    let again = Bench { router: put_up(&talks, &bench.keys, &bench.folder), parrot: talks, ..bench };
    let batch = ended(&again, id).await;
    assert_eq!(batch["request_counts"], json!({"total": 2, "completed": 2, "failed": 0}));
    assert_eq!((again.parrot.orders.lock().unwrap().len(), &batch["usage"]["input_tokens"]), (1, &json!(8)));
    assert_eq!(again.post(&format!("/v1/batches/{id}/cancel"), &json!({})).await.0, 409);

    // A file that is removed meanwhile ends its batch; what was answered is kept.
    let (_, lost) = again.post("/v1/batches", &ask).await;
    let lost = lost["id"].as_str().unwrap();
    ended(&again, lost).await;
    let path = again.folder.path().join(format!("batches/{lost}.json"));
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["status"] = json!("in_progress");
    record["input_file_id"] = json!(format!("file-{}", "0".repeat(24)));
    std::fs::write(&path, record.to_string()).unwrap();
    let again = Bench { router: put_up(&again.parrot, &again.keys, &again.folder), ..again };
    let batch = ended(&again, lost).await;
    assert_eq!((&batch["status"], &batch["errors"]["data"][0]["code"]), (&json!("failed"), &json!("file_unreadable")));

    let silent = Arc::new(Parrot { is_silent: true, ..Parrot::default() });
    let bench = Bench { router: put_up(&silent, &again.keys, &again.folder), parrot: silent, ..again };
    let (_, batch) = bench.post("/v1/batches", &ask).await;
    let id = batch["id"].as_str().unwrap();
    while bench.parrot.open.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let (_, cancelling) = bench.post(&format!("/v1/batches/{id}/cancel"), &json!({})).await;
    assert_eq!(
        (&cancelling["status"], &ended(&bench, id).await["status"]),
        (&json!("cancelling"), &json!("cancelled"))
    );
}

#[tokio::test]
async fn batches_wait_for_their_turn_and_the_oldest_make_room() {
    use crate::limits::{BATCHES_AT_ONCE, BATCHES_MAX, METADATA_BYTES_MAX};
    let bench = bench(Parrot { is_silent: true, ..Parrot::default() });
    let (_, file) = upload(&bench, "batch", &line("one", "a/parrot")).await;
    let mut ask = json!({"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    for _ in 0..BATCHES_AT_ONCE {
        bench.post("/v1/batches", &ask).await;
    }
    while bench.parrot.open.lock().unwrap().len() < BATCHES_AT_ONCE {
        tokio::task::yield_now().await;
    }
    let (_, last) = bench.post("/v1/batches", &ask).await;
    let id = last["id"].as_str().unwrap();
    bench.post(&format!("/v1/batches/{id}/cancel"), &json!({})).await;
    assert_eq!(ended(&bench, id).await["status"], "cancelled", "also while it waits");
    assert_eq!(bench.parrot.orders.lock().unwrap().len(), BATCHES_AT_ONCE);

    let path = |id: &str| bench.folder.path().join(format!("batches/{id}.json"));
    let over = std::fs::read_to_string(path(id)).unwrap();
    for number in 0..BATCHES_MAX {
        let other = format!("batch_{number:024x}");
        std::fs::write(path(&other), over.replace(id, &other)).unwrap();
    }
    let count = || std::fs::read_dir(bench.folder.path().join("batches")).unwrap().count();
    let before = count();
    assert_eq!(bench.post("/v1/batches", &ask).await.0, 200);
    assert_eq!(count(), before, "one came and one went");
    ask["metadata"] = json!({"a": "x".repeat(METADATA_BYTES_MAX)});
    assert_eq!(bench.post("/v1/batches", &ask).await.0, 400);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stalls_is_waited_for_so_long_and_no_longer() {
    let bench = bench(Parrot::default());
    for (path, kind) in
        [("/v1/chat/completions", "application/json"), ("/v1/files", "multipart/form-data; boundary=xyz")]
    {
        let begun = futures::stream::iter([Ok::<_, std::io::Error>("--xyz\r\n{")]);
        let body = Body::from_stream(futures::StreamExt::chain(begun, futures::stream::pending()));
        let request = Request::builder().method("POST").uri(path).header("content-type", kind).body(body).unwrap();
        let answer = tokio::time::timeout(std::time::Duration::from_secs(60), bench.router.clone().oneshot(request));
        assert!(answer.await.expect("it ends").unwrap().status().is_client_error(), "{path}");
    }
}
