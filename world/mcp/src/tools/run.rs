//! `run`: a chat with a model, by the same route as everybody's. The client hears of each piece, if it wants to; when it wants no
//! more, the stream is dropped, which ends the work.

use super::Call;
use crate::ask::{Lines, No};
use crate::limits::PROGRESS_EVERY;
use axum::body::Body;
use rmcp::model::ProgressNotificationParam;
use serde_json::{Value, json};
use std::time::Instant;
use talkoo_base::{Refusal, RefusalCode};

/// The fields of a chat: what a caller says of prompt, length, seed, schema and market, in OpenAI's words.
pub(super) fn body(args: &Value, prompt: &Value) -> Result<Value, No> {
    let messages = match (prompt, &args["messages"]) {
        (Value::String(text), Value::Null) => json!([{"role": "user", "content": text}]),
        (Value::Null, messages @ Value::Array(_)) => messages.clone(),
        _ => return Err(No::malformed("neither `prompt` nor `messages`, or both, are there", "send one of them")),
    };
    let mut body = json!({"model": args["model"], "messages": messages});
    for key in ["max_tokens", "temperature", "seed", "stop"] {
        if !args[key].is_null() {
            body[key] = args[key].clone();
        }
    }
    if !args["schema"].is_null() {
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": "answer", "strict": true, "schema": args["schema"]}});
    }
    match args["where"].as_str() {
        Some("cheapest") => body["service_tier"] = json!("flex"),
        Some("quickest") => body["service_tier"] = json!("priority"),
        _ => {}
    }
    if !args["max_price"].is_null() {
        body["provider"] = json!({"max_price": args["max_price"]});
    }
    Ok(body)
}

/// The badge of an answer, in the words of what was done for it: nobody re-ran it, somebody did, or nobody can.
pub(super) fn badge(facts: &Value) -> &'static str {
    match (facts["tier"].as_str(), facts["audited"].as_bool()) {
        (Some("float"), _) => "float",
        (_, Some(true)) => "re-run matched",
        _ => "re-runnable",
    }
}

/// Tells a client of pieces, if it asked to be told.
struct Progress<'a, 'b> {
    call: &'a Call<'b>,
    told: Option<Instant>,
    pieces: u64,
    text: String,
}

impl Progress<'_, '_> {
    async fn piece(&mut self, text: &str) {
        self.pieces += 1;
        self.text.push_str(text);
        let context = self.call.context;
        let Some(token) = context.meta.get_progress_token() else { return };
        if self.text.is_empty() || self.told.is_some_and(|told| told.elapsed() < PROGRESS_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        let said = std::mem::take(&mut self.text);
        let progress = ProgressNotificationParam::new(token, self.pieces as f64).with_message(said);
        // A client that does not hear it hears the answer.
        context.peer.notify_progress(progress).await.ok();
    }
}

pub(super) async fn run(call: &Call<'_>) -> Result<Value, No> {
    let mut body = body(&call.args, &call.args["prompt"])?;
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let path = "/v1/chat/completions";
    let sent = call.office.ask(&call.who, "POST", path, "application/json", Body::from(body.to_string()));
    let mut lines = Lines::of(sent.await?);
    let mut progress = Progress { call, told: None, pieces: 0, text: String::new() };
    let (mut text, mut finish, mut last) = (String::new(), Value::Null, None);
    while let Some(line) = lines.next().await? {
        let Some(event) = line.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok()) else {
            continue;
        };
        if let Some(message) = event["error"]["message"].as_str() {
            let code = event["error"]["code"].as_str().unwrap_or("other").to_owned();
            return Err(No { code, message: message.to_owned(), hint: String::new() });
        }
        let choice = &event["choices"][0];
        if let Some(more) = choice["delta"]["content"].as_str() {
            text.push_str(more);
            progress.piece(more).await;
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
        if event["usage"].is_object() {
            last = Some(event);
        }
    }
    let Some(last) = last else {
        return Err(Refusal::new(RefusalCode::Silent, "the answer ended before it was complete", "ask again").into());
    };
    Ok(told(&text, &finish, &last, !call.args["schema"].is_null()))
}

/// An answer and what is known of it.
fn told(text: &str, finish: &Value, last: &Value, has_schema: bool) -> Value {
    let (facts, usage) = (&last["talkoo"], &last["usage"]);
    let receipt =
        facts["receipt"].as_str().map(|file| file.trim_start_matches("receipts/").trim_end_matches(".receipt"));
    let mut value = json!({
        "text": text,
        "finish_reason": finish,
        "badge": badge(facts),
        "model": facts["model"],
        "tier": facts["tier"],
        "nodes": facts["nodes"],
        "seed": facts["seed"],
        "price": facts["price"].as_str().unwrap_or("0.000000"),
        "receipt": receipt,
        "trace_root": facts["trace_root"],
        "usage": {"prompt_tokens": usage["prompt_tokens"], "completion_tokens": usage["completion_tokens"]},
    });
    if has_schema {
        // Cut off by its length it may be no JSON.
        value["json"] = serde_json::from_str(text).unwrap_or_default();
    }
    value
}
