//! `POST /v1/chat/completions`.

use crate::collect::{Choice, Flow, Happening, Whole, fresh, unix};
use crate::error::{Fault, json_of};
use crate::fields::{CHAT, Fields, malformed};
use crate::keys::Who;
use crate::limits::MAX_TOKENS_DEFAULT;
use crate::message::{Chat, ToolCall};
use crate::sse::{Teller, data, stream};
use crate::tally::Tally;
use crate::{Order, Prompt, ServiceTier, Shared};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use talkoo_base::Refusal;

pub(crate) async fn create(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let body = json_of(body)?;
    let of = |refusal| Fault::of(refusal, &body);
    let (streams, usage) = streaming(&Fields::of(&body, CHAT).map_err(of)?).map_err(of)?;
    let chat = Chat::read(&body).map_err(of)?;
    named(&chat.model).map_err(of)?;
    let (tools, tier, choices) = (chat.tools.clone(), chat.wishes.tier, chat.choices);
    let answering = shared.desk.generate(order(chat, who)).await.map_err(of)?;
    let flow = Flow::new(fresh("chatcmpl-"), answering, &tools, choices, &shared.meters);
    if streams {
        return Ok(stream(flow, Chunks { tally: Tally::new(usage), tier }));
    }
    let id = flow.id.clone();
    let whole = flow.whole().await.map_err(of)?;
    Ok(Json(completion(&id, tier, &whole)).into_response())
}

/// Refuses a request that names no model; only a batch's file may do that for its lines.
pub(crate) fn named(model: &str) -> Result<(), Refusal> {
    if model.is_empty() {
        return Err(malformed("`model` is missing", "GET /v1/models has the list"));
    }
    Ok(())
}

/// A chat as an order.
pub(crate) fn order(chat: Chat, who: Who) -> Order {
    let Chat { model, messages, tools, mut params, names_length, seed, choices, wishes } = chat;
    if !names_length {
        params.max_tokens = MAX_TOKENS_DEFAULT;
    }
    Order { model, prompt: Prompt::Chat(messages, tools), params, seed, choices, wishes, who }
}

/// `stream`, and whether its end tells the usage.
pub(crate) fn streaming(fields: &Fields<'_>) -> Result<(bool, bool), Refusal> {
    let streams = fields.flag("stream")?.unwrap_or(false);
    let options = fields.get("stream_options");
    if options.is_some_and(|options| !options.is_object() || !streams) {
        return Err(malformed("`stream_options` is for `stream`", "add \"stream\": true"));
    }
    Ok((streams, options.is_some_and(|options| options["include_usage"] == true)))
}

/// OpenAI's `usage`.
pub(crate) fn usage(prompt: u32, completion: u32) -> Value {
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
        },
    })
}

/// A call as OpenAI has it.
pub(crate) fn call_json(call: &ToolCall) -> Value {
    json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
}

fn completion(id: &str, tier: ServiceTier, whole: &Whole) -> Value {
    let choice = |(index, choice): (usize, &Choice)| {
        let text = (choice.calls.is_empty() || !choice.text.is_empty()).then_some(&choice.text);
        let mut message = json!({"role": "assistant", "content": text, "refusal": null, "annotations": []});
        if !choice.calls.is_empty() {
            message["tool_calls"] = choice.calls.iter().map(call_json).collect();
        }
        json!({
            "index": index,
            "message": message,
            "logprobs": logprobs(&choice.logprobs),
            "finish_reason": choice.reason,
        })
    };
    json!({
        "id": id,
        "object": "chat.completion",
        "created": unix(),
        "model": whole.model,
        "choices": whole.choices.iter().enumerate().map(choice).collect::<Vec<_>>(),
        "usage": usage(whole.prompt_tokens, whole.tokens),
        "service_tier": tier.name(),
        "system_fingerprint": fingerprint(&whole.facts),
        "talkoo": whole.facts,
    })
}

fn logprobs(entries: &[Value]) -> Value {
    if entries.is_empty() { Value::Null } else { json!({"content": entries, "refusal": null}) }
}

/// The program that answered; the same one gives the same answer to the same seed.
pub(crate) fn fingerprint(facts: &Value) -> Value {
    let root = facts["model"]["root"].as_str().or(facts[0]["model"]["root"].as_str());
    root.map_or(Value::Null, |root| json!(format!("fp_{}", &root[..root.len().min(16)])))
}

/// The events of a stream.
struct Chunks {
    tally: Tally,
    tier: ServiceTier,
}

impl Chunks {
    fn chunk(&self, flow: &Flow, choices: Value) -> Value {
        let mut chunk = self.tally.chunk(flow, "chat.completion.chunk", choices);
        chunk["service_tier"] = json!(self.tier.name());
        chunk["system_fingerprint"] = Value::Null;
        chunk
    }

    fn delta(&self, flow: &Flow, choice: u32, delta: Value, entries: &[Value]) -> Value {
        self.chunk(
            flow,
            json!([{"index": choice, "delta": delta, "logprobs": logprobs(entries), "finish_reason": null}]),
        )
    }
}

impl Teller for Chunks {
    fn begin(&mut self, flow: &Flow) -> Vec<String> {
        let role =
            |choice| data(&self.delta(flow, choice, json!({"role": "assistant", "content": "", "refusal": null}), &[]));
        (0..flow.choices()).map(role).collect()
    }

    fn tell(&mut self, flow: &Flow, happening: Happening) -> Vec<String> {
        let value = match happening {
            Happening::Text { choice, text, logprobs } => self.delta(flow, choice, json!({"content": text}), &logprobs),
            Happening::Call { choice, index, call } => {
                let begins = json!({"tool_calls": [{
                    "index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""},
                }]});
                let arguments = json!({"tool_calls": [{"index": index, "function": {"arguments": call.arguments}}]});
                return [begins, arguments].map(|delta| data(&self.delta(flow, choice, delta, &[]))).into();
            }
            Happening::End { choice, reason, tokens, facts, .. } => {
                let mut chunk = self
                    .chunk(flow, json!([{"index": choice, "delta": {}, "logprobs": null, "finish_reason": reason}]));
                chunk["system_fingerprint"] = fingerprint(&facts);
                self.tally.ended(chunk, tokens, facts)
            }
            Happening::Failed(refusal) => Fault::from(refusal).body(),
        };
        vec![data(&value)]
    }

    fn end(&mut self, flow: &Flow) -> Vec<String> {
        let chunk = self.chunk(flow, json!([]));
        self.tally.last(flow, chunk)
    }
}
