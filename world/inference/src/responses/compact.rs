//! `POST /v1/responses/compact`: a conversation becomes one item that stands for it, the model's own summary.
//!
//! The protocol calls the item's content encrypted. Ours is base64 and no secret: it is the client's own conversation, and says
//! no more than the client could write by itself, so that any node may go on with it.

use super::items::{input_of, read};
use super::usage;
use crate::Shared;
use crate::collect::{Flow, fresh, unix};
use crate::error::{Fault, json_of};
use crate::fields::malformed;
use crate::keys::Who;
use crate::message::Message;
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use talkoo_base::{Refusal, RefusalCode};

/// What a request may say.
const FIELDS: &[&str] =
    &["model", "input", "instructions", "previous_response_id", "prompt_cache_key", "provider", "service_tier", "seed"];
/// Before a summary in an item.
const MARK: &str = "talkoo.1.";
/// The longest summary, in tokens.
const TOKENS_MAX: u32 = 1024;
/// Asks for it.
const ASK: &str = "Summarise our conversation so far for yourself, so that you can go on with it without seeing it: \
what was asked, what was agreed and found, all names, numbers and file names that matter, and what is still to do. \
Write only the summary.";
/// Before the summary, for the model that goes on.
const INTRO: &str = "Summary of the conversation so far: ";

/// The item of a summary.
fn item(summary: &str) -> Value {
    let content = format!("{MARK}{}", URL_SAFE_NO_PAD.encode(summary));
    json!({"id": fresh("cmp_"), "type": "compaction", "encrypted_content": content})
}

/// Puts what an item stands for into the conversation. Templates know a system's message only at the beginning.
pub(super) fn unpack(item: &Value, messages: &mut Vec<Message>) -> Result<(), Refusal> {
    let content = item["encrypted_content"].as_str().and_then(|content| content.strip_prefix(MARK));
    let bytes = content.and_then(|content| URL_SAFE_NO_PAD.decode(content).ok());
    let Some(summary) = bytes.and_then(|bytes| String::from_utf8(bytes).ok()) else {
        let hint = "send it as /v1/responses/compact gave it; those of other services can't be read here";
        return Err(malformed("`input` has a compaction item that is none of ours", hint));
    };
    let text = format!("{INTRO}{summary}");
    match messages.last_mut() {
        Some(last) if last.role == "system" => {
            last.text.push_str("\n\n");
            last.text.push_str(&text);
        }
        Some(_) => messages.push(Message::text("user", text)),
        None => messages.push(Message::text("system", text)),
    }
    Ok(())
}

/// The body of a response that would say the summary.
fn asking(body: &Value) -> Result<Value, Refusal> {
    let Some(given) = body.as_object() else { return Err(malformed("the body is not an object", "see the format")) };
    if let Some(key) = given.keys().find(|key| !FIELDS.contains(&key.as_str()) && !given[*key].is_null()) {
        let message = format!("`{key}` is not supported");
        return Err(Refusal::new(RefusalCode::UnsupportedParameter, message, "leave it out"));
    }
    let mut items = match given.get("input").filter(|input| !input.is_null()) {
        Some(input) => input_of(Some(input))?,
        None if body["previous_response_id"].is_string() => Vec::new(),
        None => return Err(malformed("neither `input` nor `previous_response_id` is there", "give one")),
    };
    items.push(json!({"type": "message", "role": "user", "content": ASK}));
    let mut asking: Map<String, Value> = given.clone();
    asking.insert("input".into(), items.into());
    asking.insert("max_output_tokens".into(), TOKENS_MAX.into());
    Ok(Value::Object(asking))
}

/// What is asked for again and again, not said once, stays as it is.
fn stays(item: &&Value) -> bool {
    item["type"] == "message" && matches!(item["role"].as_str(), Some("system" | "developer"))
}

pub(crate) async fn create(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Fault> {
    let body = json_of(body)?;
    let of = |refusal| Fault::of(refusal, &body);
    let asked = read(&asking(&body).map_err(of)?, &who, &shared.kept).map_err(of)?;
    let answering = shared.desk.generate(asked.order).await.map_err(of)?;
    let flow = Flow::new(fresh("resp_"), answering, &asked.tools, 1, &shared.meters);
    let id = flow.id.clone();
    let whole = flow.whole().await.map_err(of)?;
    let mut output: Vec<Value> = asked.items.iter().filter(stays).map(told).collect();
    output.push(item(whole.choices[0].text.trim()));
    Ok(Json(json!({
        "id": id,
        "object": "response.compaction",
        "created_at": unix(),
        "output": output,
        "usage": usage(whole.prompt_tokens, whole.tokens),
        "talkoo": whole.facts,
    })))
}

/// A message as an answer tells it: its content is a list.
fn told(item: &Value) -> Value {
    let mut item = item.clone();
    if let Value::String(text) = &item["content"] {
        item["content"] = json!([{"type": "input_text", "text": text}]);
    }
    item["status"] = json!("completed");
    item
}
