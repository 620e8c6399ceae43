//! `POST /v1/responses` and what is asked about them: the Open Responses specification of 2026-04-24, which is OpenAI's protocol.

pub(crate) mod compact;
mod events;
mod items;
mod kept;

pub(crate) use kept::Kept;

use crate::collect::{Choice, Flow, Whole, fresh, unix};
use crate::error::{Fault, json_of};
use crate::keys::{Who, name_of};
use crate::sse::stream;
use crate::{Shared, chat};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use events::Events;
use items::{Asked, read};
use kept::Record;
use serde_json::{Value, json};
use std::sync::Arc;
use talkoo_base::Refusal;

pub(crate) async fn create(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let body = json_of(body)?;
    let of = |refusal| Fault::of(refusal, &body);
    let asked = read(&body, &who, &shared.kept).map_err(of)?;
    let Asked { order, tools, mut draft, items, streams, keeps, is_background } = asked;
    let answering = shared.desk.generate(order).await.map_err(of)?;
    draft.model.clone_from(&answering.model);
    let flow = Flow::new(fresh("resp_"), answering, &tools, 1, &shared.meters);
    draft.id.clone_from(&flow.id);
    let record = Record { who: name_of(&who), response: draft.json(), items };
    if is_background {
        let queued = draft.json();
        shared.kept.keep(&record).map_err(of)?;
        let stop = shared.kept.begin(&draft.id);
        shared.tasks.spawn(run_on(flow, draft, record, shared.clone(), stop));
        return Ok(Json(queued).into_response());
    }
    let keep = keeps.then(|| (shared.kept.clone(), record));
    if streams {
        return Ok(stream(flow, Events::new(draft, keep)));
    }
    let whole = flow.whole().await.map_err(of)?;
    draft.finish(&whole);
    finish(keep, &draft);
    Ok(Json(draft.json()).into_response())
}

/// Keeps what became of a response. That it can't be kept is no reason to lose the answer.
fn finish(keep: Option<(Arc<Kept>, Record)>, draft: &Draft) {
    if let Some((kept, record)) = keep
        && let Err(why) = kept.keep(&Record { response: draft.json(), ..record })
    {
        tracing::warn!(%why, "a response could not be kept");
    }
}

/// An answer that nobody waits for.
async fn run_on(flow: Flow, mut draft: Draft, record: Record, shared: Shared, stop: kept::Running) {
    tokio::select! {
        whole = flow.whole() => match whole {
            Ok(whole) => draft.finish(&whole),
            Err(refusal) => draft.fail(&refusal),
        },
        () = stop.cancelled() => {
            // The next start says so, to those who want to be told, too.
            if shared.stop.is_cancelled() {
                return;
            }
            draft.status = "cancelled";
        }
    }
    shared.hooks.tell(&format!("response.{}", draft.status), &draft.id);
    finish(Some((shared.kept.clone(), record)), &draft);
    drop(stop);
}

/// A response on its way: the fields of its request, and what has come.
pub(crate) struct Draft {
    id: String,
    model: String,
    created: u64,
    completed: Option<u64>,
    status: &'static str,
    incomplete: Value,
    error: Value,
    output: Vec<Value>,
    usage: Value,
    facts: Value,
    /// All fields of the resource that say only what was asked.
    echo: Value,
}

impl Draft {
    fn json(&self) -> Value {
        let mut resource = json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "completed_at": self.completed,
            "status": self.status,
            "incomplete_details": self.incomplete,
            "error": self.error,
            "model": self.model,
            "output": self.output,
            "usage": self.usage,
        });
        if let (Value::Object(all), Value::Object(echo)) = (&mut resource, &self.echo) {
            all.extend(echo.clone());
        }
        if !self.facts.is_null() {
            resource["talkoo"] = self.facts.clone();
        }
        resource
    }

    /// Closes with an end of an answer.
    fn close(&mut self, reason: &str, prompt: u32, tokens: u32, facts: Value) {
        self.completed = Some(unix());
        self.status = "completed";
        if reason == "length" {
            (self.status, self.incomplete) = ("incomplete", json!({"reason": "max_output_tokens"}));
        }
        self.usage = usage(prompt, tokens);
        self.facts = facts;
    }

    fn finish(&mut self, whole: &Whole) {
        let choice = &whole.choices[0];
        self.output = output(choice);
        self.close(choice.reason, whole.prompt_tokens, whole.tokens, whole.facts.clone());
    }

    fn fail(&mut self, refusal: &Refusal) {
        let fault = Fault::from(refusal.clone());
        self.completed = Some(unix());
        (self.status, self.error) = ("failed", json!({"code": fault.code, "message": fault.message}));
    }
}

/// Tokens of an answer.
fn usage(prompt: u32, tokens: u32) -> Value {
    json!({
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + tokens,
    })
}

/// A message of the assistant.
fn message(id: &str, status: &str, text: &str, logprobs: &[Value]) -> Value {
    let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs});
    json!({"id": id, "type": "message", "status": status, "role": "assistant", "content": [part]})
}

/// A call of a function.
fn call(id: &str, status: &str, call: &crate::ToolCall, arguments: &str) -> Value {
    json!({
        "id": id, "type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments, "status": status,
    })
}

fn output(choice: &Choice) -> Vec<Value> {
    let status = if choice.reason == "length" { "incomplete" } else { "completed" };
    let mut items = Vec::new();
    if !choice.text.is_empty() || choice.calls.is_empty() {
        items.push(message(&fresh("msg_"), status, &choice.text, &choice.logprobs));
    }
    items.extend(choice.calls.iter().map(|one| call(&fresh("fc_"), "completed", one, &one.arguments)));
    items
}

pub(crate) async fn one(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    Ok(Json(shared.kept.find(&id, &who)?.response))
}

pub(crate) async fn remove(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    shared.kept.remove(&id, &who).await?;
    Ok(Json(json!({"id": id, "object": "response", "deleted": true})))
}

pub(crate) async fn cancel(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    Ok(Json(shared.kept.cancel(&id, &who).await?))
}

pub(crate) async fn input_items(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    let items = shared.kept.find(&id, &who)?.items;
    let id = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    let (first, last) = (id(items.first()), id(items.last()));
    Ok(Json(json!({"object": "list", "data": items, "first_id": first, "last_id": last, "has_more": false})))
}
