//! Ollama's protocol (github.com/ollama/ollama, docs/api.md): `/api/chat`, `/api/generate`, `/api/embed` and what clients ask about
//! models. Lines of JSON instead of events.

mod options;

use crate::collect::{Flow, Happening, fresh, unix};
use crate::embeddings::inputs_of;
use crate::error::{Fault, Tongue, json_of};
use crate::fields::{Fields, malformed, unsupported};
use crate::keys::Who;
use crate::limits::MAX_TOKENS_DEFAULT;
use crate::message::{Message, ToolCall};
use crate::sse::{Teller, stream};
use crate::tools::{Choose, Tools};
use crate::{EmbedOrder, Model, Order, Prompt, Shared, Wishes};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use options::{format_of, options_of};
use serde_json::{Value, json};
use std::time::Instant;
use talkoo_base::{Refusal, RefusalCode};

/// Fields of `/api/chat` and `/api/generate`.
const OWN: &[&str] = &[
    "messages",
    "tools",
    "format",
    "options",
    "keep_alive",
    "think",
    "prompt",
    "system",
    "raw",
    "suffix",
    "images",
    "template",
    "context",
];
type Body = Result<Bytes, BytesRejection>;
type Answer = Result<Response, Fault>;

fn told(answer: Answer) -> Response {
    answer.unwrap_or_else(|fault| fault.response(Tongue::Ollama))
}

pub(crate) async fn chat(State(shared): State<Shared>, Extension(who): Extension<Who>, body: Body) -> Response {
    told(generate(&shared, who, body, Kind::Chat).await)
}

pub(crate) async fn complete(State(shared): State<Shared>, Extension(who): Extension<Who>, body: Body) -> Response {
    told(generate(&shared, who, body, Kind::Generate).await)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Chat,
    Generate,
}

async fn generate(shared: &Shared, who: Who, body: Body, kind: Kind) -> Answer {
    let body = json_of(body)?;
    let of = |refusal| Fault::of(refusal, &body);
    let begun = Instant::now();
    let (order, tools, streams) = read(&body, who, kind).map_err(of)?;
    let model = order.model.clone();
    let prompt_is_empty = match &order.prompt {
        Prompt::Chat(messages, _) => messages.is_empty(),
        Prompt::Text(text) => text.is_empty(),
        Prompt::Tokens(_) => false,
    };
    let mut lines = Lines { kind, model, begun, first: None, calls: Vec::new() };
    if prompt_is_empty {
        // So programs load a model, or ask whether it is there.
        find(shared, &order.model).await?;
        let mut line = lines.line("");
        line["done"] = json!(true);
        line["done_reason"] = json!("load");
        return Ok(Json(line).into_response());
    }
    let answering = shared.desk.generate(order).await.map_err(of)?;
    let flow = Flow::new(fresh(""), answering, &tools, 1, &shared.meters);
    if streams {
        return Ok(stream(flow, lines));
    }
    let prompt_tokens = flow.prompt_tokens;
    let mut whole = flow.whole().await.map_err(of)?;
    let choice = whole.choices.pop().expect("one was asked for");
    lines.first = Some(begun);
    lines.calls = choice.calls;
    let mut line = lines.line(&choice.text);
    lines.close(&mut line, prompt_tokens, whole.tokens, choice.reason, whole.facts);
    Ok(Json(line).into_response())
}

fn read(body: &Value, who: Who, kind: Kind) -> Result<(Order, Tools, bool), Refusal> {
    let fields = Fields::of(body, OWN)?;
    let model = fields.text("model")?.unwrap_or_default();
    crate::chat::named(&model)?;
    for key in ["suffix", "images", "template", "context"] {
        if fields
            .get(key)
            .is_some_and(|value| value.as_str() != Some("") && value.as_array().is_none_or(|l| !l.is_empty()))
        {
            return Err(unsupported(format!("`{key}` is not supported"), "leave it out"));
        }
    }
    if fields.get("think").is_some_and(|think| *think != json!(false)) {
        return Err(unsupported("`think` is not supported", "the models here think aloud or not at all"));
    }
    let options = options_of(fields.get("options"))?;
    let options = Fields::of(&options, &[])?;
    let mut params = options.params()?;
    if !options.names_length() {
        params.max_tokens = MAX_TOKENS_DEFAULT;
    }
    params.constraint = format_of(fields.get("format"))?;
    let tools = match fields.get("tools") {
        None => Tools::default(),
        Some(Value::Array(list)) => Tools { list: list.clone(), choose: Choose::Auto },
        Some(_) => return Err(malformed("`tools` is no list", "")),
    };
    let prompt = match kind {
        Kind::Chat => {
            let list = fields.get("messages").and_then(Value::as_array).cloned().unwrap_or_default();
            let messages = list.iter().map(message_of).collect::<Result<_, _>>()?;
            Prompt::Chat(messages, tools.clone())
        }
        Kind::Generate => {
            let text = fields.text("prompt")?.unwrap_or_default();
            let system = fields.text("system")?.filter(|system| !system.is_empty());
            match fields.flag("raw")? {
                Some(true) => Prompt::Text(text),
                _ if text.is_empty() => Prompt::Chat(Vec::new(), Tools::default()),
                _ => {
                    let system = system.into_iter().map(|system| Message::text("system", system));
                    Prompt::Chat(system.chain([Message::text("user", text)]).collect(), Tools::default())
                }
            }
        }
    };
    let seed = options.seed()?;
    // Unless told otherwise Ollama streams.
    let streams = fields.flag("stream")?.unwrap_or(true);
    Ok((Order { model, prompt, params, seed, choices: 1, wishes: Wishes::default(), who }, tools, streams))
}

fn message_of(value: &Value) -> Result<Message, Refusal> {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let role = match value["role"].as_str() {
        Some(role @ ("system" | "user" | "assistant" | "tool")) => role,
        _ => return Err(malformed("one of the `messages` has no known role", "use system, user, assistant or tool")),
    };
    if value["images"].as_array().is_some_and(|images| !images.is_empty()) {
        return Err(unsupported("one of the `messages` has images", "the models here read only text"));
    }
    let call = |(index, call): (usize, &Value)| {
        let name = call["function"]["name"].as_str()?.to_owned();
        Some(ToolCall { id: format!("call_{index}"), name, arguments: call["function"]["arguments"].to_string() })
    };
    let calls: Option<Vec<ToolCall>> =
        value["tool_calls"].as_array().into_iter().flatten().enumerate().map(call).collect();
    let calls = calls.ok_or_else(|| malformed("one of the `messages` has a call without a function's name", ""))?;
    let call_id = (role == "tool").then(|| text("tool_name"));
    Ok(Message { calls, call_id, ..Message::text(role, text("content")) })
}

/// The lines of an answer.
struct Lines {
    kind: Kind,
    model: String,
    begun: Instant,
    /// When the first text came.
    first: Option<Instant>,
    calls: Vec<ToolCall>,
}

impl Lines {
    fn line(&self, text: &str) -> Value {
        let mut line = json!({"model": self.model, "created_at": rfc3339(unix())});
        match self.kind {
            Kind::Generate => line["response"] = json!(text),
            Kind::Chat => {
                line["message"] = json!({"role": "assistant", "content": text});
                if !self.calls.is_empty() {
                    let call = |call: &ToolCall| {
                        let arguments: Value = serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}));
                        json!({"function": {"name": call.name, "arguments": arguments}})
                    };
                    line["message"]["tool_calls"] = self.calls.iter().map(call).collect();
                }
            }
        }
        line["done"] = json!(false);
        line
    }

    fn close(&self, line: &mut Value, prompt: u32, tokens: u32, reason: &str, facts: Value) {
        let first = self.first.unwrap_or(self.begun);
        let nanos = |from: Instant| u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let (total, eval) = (nanos(self.begun), nanos(first));
        line["done"] = json!(true);
        line["done_reason"] = json!(if reason == "length" { "length" } else { "stop" });
        line["total_duration"] = json!(total);
        line["load_duration"] = json!(0);
        line["prompt_eval_count"] = json!(prompt);
        line["prompt_eval_duration"] = json!(total - eval.min(total));
        line["eval_count"] = json!(tokens);
        line["eval_duration"] = json!(eval);
        line["talkoo"] = facts;
    }
}

impl Teller for Lines {
    fn begin(&mut self, _: &Flow) -> Vec<String> {
        Vec::new()
    }

    fn tell(&mut self, flow: &Flow, happening: Happening) -> Vec<String> {
        let line = match happening {
            Happening::Text { text, .. } => {
                self.first.get_or_insert_with(Instant::now);
                self.line(&text)
            }
            Happening::Call { call, .. } => {
                self.calls = vec![call];
                let line = self.line("");
                self.calls.clear();
                line
            }
            Happening::End { reason, tokens, facts, .. } => {
                let mut line = self.line("");
                self.close(&mut line, flow.prompt_tokens, tokens, reason, facts);
                line
            }
            Happening::Failed(refusal) => json!({"error": refusal.to_string()}),
        };
        vec![format!("{line}\n")]
    }

    fn end(&mut self, _: &Flow) -> Vec<String> {
        Vec::new()
    }

    fn wait(&self) -> Option<String> {
        // Every line of this protocol is an answer's.
        None
    }

    fn media_type(&self) -> &'static str {
        "application/x-ndjson"
    }
}

/// What is here; it is also what can be said to run: a model is loaded when it is asked.
pub(crate) async fn tags(State(shared): State<Shared>) -> Response {
    let listed = |models: Vec<Model>| models.iter().map(listed_one).collect::<Vec<_>>();
    told(async { Ok(Json(json!({"models": listed(shared.desk.models().await?)})).into_response()) }.await)
}

/// Of the protocol: clients compare it with what they need.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": "0.12.0", "talkoo": env!("CARGO_PKG_VERSION")}))
}

fn details(model: &Model) -> Value {
    json!({
        "parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
        "parameter_size": "", "quantization_level": model.quantization,
    })
}

fn listed_one(model: &Model) -> Value {
    json!({
        "name": model.name,
        "model": model.name,
        "modified_at": rfc3339(model.created),
        "size": model.bytes,
        "size_vram": 0,
        "digest": model.root,
        "expires_at": "9999-12-31T00:00:00Z",
        "context_length": model.context,
        "details": details(model),
    })
}

/// Ollama's clients put a tag behind every name.
async fn find(shared: &Shared, name: &str) -> Result<Model, Fault> {
    let models = shared.desk.models().await?;
    let bare = name.strip_suffix(":latest").unwrap_or(name);
    let is_called = |model: &Model| [name, bare].iter().any(|name| model.is_called(name));
    let found = models.into_iter().find(is_called);
    let hint = "GET /api/tags has those that are here; `talkoo pull NAME` gets more";
    found.ok_or_else(|| Refusal::new(RefusalCode::UnknownModel, format!("model '{name}' not found"), hint).into())
}

pub(crate) async fn show(State(shared): State<Shared>, body: Body) -> Response {
    let answer = async {
        let body = json_of(body)?;
        let name = body["model"].as_str().or(body["name"].as_str()).unwrap_or_default();
        let model = find(&shared, name).await?;
        let abilities = if model.is_encoder { json!(["embedding"]) } else { json!(["completion", "tools"]) };
        Ok(Json(json!({
            "modelfile": "", "parameters": "", "template": "", "license": "",
            "modified_at": rfc3339(model.created),
            "details": details(&model),
            "model_info": {"general.architecture": "llama", "llama.context_length": model.context},
            "capabilities": abilities,
            "talkoo": {"cid": model.cid, "root": model.root},
        }))
        .into_response())
    };
    told(answer.await)
}

pub(crate) async fn embed(State(shared): State<Shared>, Extension(who): Extension<Who>, body: Body) -> Response {
    let answer = async {
        let body = json_of(body)?;
        let of = |refusal| Fault::of(refusal, &body);
        let model = body["model"].as_str().unwrap_or_default().to_owned();
        let inputs = inputs_of(&body["input"]).map_err(of)?;
        let begun = Instant::now();
        let order = EmbedOrder { model: model.clone(), inputs, dimensions: None, wishes: Wishes::default(), who };
        let embedded = shared.desk.embed(order).await.map_err(of)?;
        crate::spans::embedded(&model, embedded.tokens);
        let line = json!({
            "model": model,
            "embeddings": embedded.vectors,
            "total_duration": u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
            "load_duration": 0,
            "prompt_eval_count": embedded.tokens,
            "talkoo": embedded.facts,
        });
        Ok(Json(line).into_response())
    };
    told(answer.await)
}

/// Seconds since 1970 as RFC 3339 has them.
fn rfc3339(unix: u64) -> String {
    let second = i64::try_from(unix).ok().and_then(|second| jiff::Timestamp::from_second(second).ok());
    second.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
