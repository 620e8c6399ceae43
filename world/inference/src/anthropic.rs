//! `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's protocol (docs.anthropic.com, "Messages", version 2023-06-01).

use crate::chat::named;
use crate::collect::{Choice, Flow, Happening, fresh};
use crate::error::{Fault, Tongue, json_of};
use crate::fields::{Fields, malformed, unsupported};
use crate::keys::Who;
use crate::message::{Message, ToolCall, wishes_of};
use crate::sse::{Teller, event, stream};
use crate::tools::{Choose, Tools};
use crate::{Order, Prompt, Shared};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use talkoo_base::Refusal;

/// Its own fields.
const OWN: &[&str] = &["messages", "system", "stop_sequences", "tools", "tool_choice", "thinking", "cache_control"];

type Body = Result<Bytes, BytesRejection>;

pub(crate) async fn create(State(shared): State<Shared>, Extension(who): Extension<Who>, body: Body) -> Response {
    answer(&shared, who, body).await.unwrap_or_else(|fault| fault.response(Tongue::Anthropic))
}

async fn answer(shared: &Shared, who: Who, body: Body) -> Result<Response, Fault> {
    let body = json_of(body)?;
    let of = |refusal| Fault::of(refusal, &body);
    let (order, tools, streams) = read(&body, who).map_err(of)?;
    let answering = shared.desk.generate(order).await.map_err(of)?;
    let flow = Flow::new(fresh("msg_"), answering, &tools, 1, &shared.meters);
    if streams {
        return Ok(stream(flow, Events { block: None, blocks: 0 }));
    }
    let id = flow.id.clone();
    let mut whole = flow.whole().await.map_err(of)?;
    let choice = whole.choices.pop().expect("one was asked for");
    let mut message = message(&id, &whole.model, whole.prompt_tokens);
    message["content"] = content(&choice);
    message["stop_reason"] = json!(stop_reason(choice.reason, choice.stop.as_ref()));
    message["stop_sequence"] = json!(choice.stop);
    message["usage"]["output_tokens"] = json!(whole.tokens);
    message["talkoo"] = whole.facts;
    Ok(Json(message).into_response())
}

pub(crate) async fn count(State(shared): State<Shared>, Extension(who): Extension<Who>, body: Body) -> Response {
    let count = async {
        let body = json_of(body)?;
        let of = |refusal| Fault::of(refusal, &body);
        let mut whole = body.clone();
        // It names no length, and needs none.
        whole["max_tokens"] = json!(1);
        let (order, ..) = read(&whole, who).map_err(of)?;
        let tokens = shared.desk.count(order.model, order.prompt).await.map_err(of)?;
        Ok::<_, Fault>(Json(json!({"input_tokens": tokens})).into_response())
    };
    count.await.unwrap_or_else(|fault| fault.response(Tongue::Anthropic))
}

fn read(body: &Value, who: Who) -> Result<(Order, Tools, bool), Refusal> {
    let fields = Fields::of(body, OWN)?;
    let model = fields.text("model")?.unwrap_or_default();
    named(&model)?;
    if !fields.names_length() {
        return Err(malformed("`max_tokens` is missing", "Anthropic's protocol demands it"));
    }
    if fields.get("thinking").is_some_and(|thinking| thinking["type"] != "disabled") {
        return Err(unsupported(
            "`thinking` is not supported",
            "the models here think aloud or not at all; leave it out",
        ));
    }
    let mut messages = Vec::new();
    if let Some(system) = fields.get("system") {
        messages.push(Message::text("system", text_of(system)?));
    }
    match fields.get("messages") {
        Some(Value::Array(list)) if !list.is_empty() => {
            for one in list {
                messages.extend(messages_of(one)?);
            }
        }
        _ => return Err(malformed("`messages` is no list of at least one message", "")),
    }
    let tools = tools_of(&fields)?;
    let mut params = fields.params()?;
    params.stop = stops_of(&fields)?;
    if let Some(constraint) = tools.constraint() {
        params.constraint = Some(constraint);
    }
    let (seed, wishes) = (fields.seed()?, wishes_of(&fields)?);
    let prompt = Prompt::Chat(messages, tools.clone());
    let streams = fields.flag("stream")?.unwrap_or(false);
    Ok((Order { model, prompt, params, seed, choices: 1, wishes, who }, tools, streams))
}

fn stops_of(fields: &Fields<'_>) -> Result<Vec<String>, Refusal> {
    let no = || malformed("`stop_sequences` is no list of up to 4 texts of 1 to 256 bytes", "");
    let list = match fields.get("stop_sequences") {
        None => return Ok(Vec::new()),
        Some(list) => list.as_array().ok_or_else(no)?,
    };
    let stops: Option<Vec<String>> = list.iter().map(|stop| stop.as_str().map(str::to_owned)).collect();
    let fits = |stop: &String| (1..=256).contains(&stop.len());
    stops.filter(|stops| stops.len() <= 4 && stops.iter().all(fits)).ok_or_else(no)
}

/// A text, or blocks of text.
fn text_of(content: &Value) -> Result<String, Refusal> {
    let no = || unsupported("`messages` or `system` has a block that is not text", "the models here read only text");
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(blocks) => {
            let text = |block: &Value| block["text"].as_str().filter(|_| block["type"] == "text").map(str::to_owned);
            blocks.iter().map(text).collect::<Option<Vec<_>>>().map(|texts| texts.join("\n")).ok_or_else(no)
        }
        _ => Err(malformed("the content of one of the `messages` is neither text nor blocks", "")),
    }
}

/// What one message is in ours: a tool's results are messages of their own.
fn messages_of(value: &Value) -> Result<Vec<Message>, Refusal> {
    let role = match value["role"].as_str() {
        Some(role @ ("user" | "assistant" | "system")) => role,
        _ => return Err(malformed("one of the `messages` is neither of the user nor of the assistant", "")),
    };
    let Value::Array(blocks) = &value["content"] else {
        return Ok(vec![Message::text(role, text_of(&value["content"])?)]);
    };
    let (mut texts, mut calls, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for block in blocks {
        let id = |key: &str| block[key].as_str().map(str::to_owned);
        match (block["type"].as_str(), role) {
            (Some("tool_use"), "assistant") => match (id("id"), id("name")) {
                (Some(id), Some(name)) => calls.push(ToolCall { id, name, arguments: block["input"].to_string() }),
                _ => return Err(malformed("a tool_use among the `messages` has no id or no name", "")),
            },
            (Some("tool_result"), "user") => {
                let call_id = id("tool_use_id");
                if call_id.is_none() {
                    return Err(malformed("a tool_result among the `messages` has no tool_use_id", ""));
                }
                let content = &block["content"];
                let text = if content.is_null() { String::new() } else { text_of(content)? };
                results.push(Message { call_id, ..Message::text("tool", text) });
            }
            // What another model thought is not ours to go on with.
            (Some("thinking" | "redacted_thinking"), "assistant") => {}
            _ => texts.push(text_of(&json!([block]))?),
        }
    }
    let mut messages = results;
    if !texts.is_empty() || !calls.is_empty() || messages.is_empty() {
        messages.push(Message { calls, ..Message::text(role, texts.join("\n")) });
    }
    Ok(messages)
}

/// Anthropic's tools in OpenAI's words.
fn tools_of(fields: &Fields<'_>) -> Result<Tools, Refusal> {
    let of_openai = |tool: &Value| match tool["type"].as_str() {
        None | Some("custom") => Ok(json!({"type": "function", "function": {
            "name": tool["name"],
            "description": tool["description"],
            "parameters": tool["input_schema"],
        }})),
        Some(other) => {
            let message = format!("`tools` has a tool of type {other:?}, which is not supported");
            Err(unsupported(message, "only tools with an input_schema are known here"))
        }
    };
    let list = match fields.get("tools") {
        None => Vec::new(),
        Some(Value::Array(list)) => list.iter().map(of_openai).collect::<Result<_, _>>()?,
        Some(_) => return Err(malformed("`tools` is no list", "")),
    };
    let choose = match fields.get("tool_choice") {
        None => Choose::Auto,
        Some(choice) => match (choice["type"].as_str(), choice["name"].as_str()) {
            (Some("auto"), _) => Choose::Auto,
            (Some("any"), _) => Choose::Any,
            (Some("none"), _) => Choose::Never,
            (Some("tool"), Some(name)) => Choose::Named(name.to_owned()),
            _ => return Err(malformed("`tool_choice` is unknown", "its type is auto, any, tool or none")),
        },
    };
    Tools { list, choose }.checked()
}

/// A message that has said nothing yet.
fn message(id: &str, model: &str, prompt_tokens: u32) -> Value {
    json!({
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "stop_details": null,
        "container": null,
        "usage": {
            "input_tokens": prompt_tokens,
            "cache_creation": null,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "inference_geo": null,
            "output_tokens": 0,
            "output_tokens_details": null,
            "server_tool_use": null,
            "service_tier": "standard",
        },
    })
}

fn stop_reason(reason: &str, stop: Option<&String>) -> &'static str {
    match (reason, stop) {
        ("tool_calls", _) => "tool_use",
        ("length", _) => "max_tokens",
        (_, Some(_)) => "stop_sequence",
        (_, None) => "end_turn",
    }
}

/// What a call is given, as an object.
fn input_of(call: &ToolCall) -> Value {
    serde_json::from_str(&call.arguments).unwrap_or_else(|_| json!({}))
}

fn tool_use(call: &ToolCall, input: Value) -> Value {
    json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input, "caller": {"type": "direct"}})
}

fn content(choice: &Choice) -> Value {
    let text = (!choice.text.is_empty()).then(|| json!({"type": "text", "text": choice.text, "citations": null}));
    let call = |call: &ToolCall| tool_use(call, input_of(call));
    text.into_iter().chain(choice.calls.iter().map(call)).collect()
}

/// The events of a stream.
struct Events {
    /// The text block that is open.
    block: Option<usize>,
    blocks: usize,
}

impl Events {
    fn begin_block(&mut self, block: Value) -> (usize, String) {
        let index = self.blocks;
        self.blocks += 1;
        let begin = json!({"type": "content_block_start", "index": index, "content_block": block});
        (index, event("content_block_start", &begin))
    }

    fn delta(index: usize, delta: Value) -> String {
        event("content_block_delta", &json!({"type": "content_block_delta", "index": index, "delta": delta}))
    }

    fn end_block(index: usize) -> String {
        event("content_block_stop", &json!({"type": "content_block_stop", "index": index}))
    }
}

impl Teller for Events {
    fn begin(&mut self, flow: &Flow) -> Vec<String> {
        let message = message(&flow.id, &flow.model, flow.prompt_tokens);
        vec![event("message_start", &json!({"type": "message_start", "message": message}))]
    }

    fn tell(&mut self, _: &Flow, happening: Happening) -> Vec<String> {
        match happening {
            Happening::Text { text, .. } if text.is_empty() => Vec::new(),
            Happening::Text { text, .. } => {
                let mut lines = Vec::new();
                let index = match self.block {
                    Some(index) => index,
                    None => {
                        let (index, line) = self.begin_block(json!({"type": "text", "text": "", "citations": null}));
                        lines.push(line);
                        index
                    }
                };
                self.block = Some(index);
                lines.push(Self::delta(index, json!({"type": "text_delta", "text": text})));
                lines
            }
            Happening::Call { call, .. } => {
                let mut lines: Vec<String> = self.block.take().map(Self::end_block).into_iter().collect();
                let (index, line) = self.begin_block(tool_use(&call, json!({})));
                lines.push(line);
                let json = input_of(&call).to_string();
                lines.push(Self::delta(index, json!({"type": "input_json_delta", "partial_json": json})));
                lines.push(Self::end_block(index));
                lines
            }
            Happening::End { reason, stop, tokens, facts, .. } => {
                let mut lines: Vec<String> = self.block.take().map(Self::end_block).into_iter().collect();
                let delta = json!({"stop_reason": stop_reason(reason, stop.as_ref()), "stop_sequence": stop});
                let usage = json!({"output_tokens": tokens});
                let last = json!({"type": "message_delta", "delta": delta, "usage": usage, "talkoo": facts});
                lines.push(event("message_delta", &last));
                lines
            }
            Happening::Failed(refusal) => vec![event("error", &Fault::from(refusal).anthropic())],
        }
    }

    fn end(&mut self, _: &Flow) -> Vec<String> {
        vec![event("message_stop", &json!({"type": "message_stop"}))]
    }

    fn wait(&self) -> Option<String> {
        Some(event("ping", &json!({"type": "ping"})))
    }
}
