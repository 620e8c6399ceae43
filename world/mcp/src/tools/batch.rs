//! Batches: what `/v1/files` and `/v1/batches` do.

use super::{Call, run};
use crate::ask::{Lines, No, read};
use crate::limits::PAGE_BYTES_MAX;
use axum::body::Body;
use serde_json::{Value, json};
use std::fmt::Write as _;
use talkoo_base::{Refusal, RefusalCode};

/// What the lines of a batch ask.
const ENDPOINT: &str = "/v1/chat/completions";
/// Lines of a page, unless told otherwise.
const PAGE: usize = 20;
/// What parts an upload; it stands in no JSON line, for there a quote follows each line's begin.
const BOUNDARY: &str = "talkoo-batch-5d1f0c7be2a94386";

/// The lines of a batch: those that were given, or one for each prompt.
fn lines(call: &Call<'_>) -> Result<String, No> {
    match (&call.args["jsonl"], &call.args["prompts"]) {
        (Value::String(text), Value::Null) => Ok(text.clone()),
        (Value::Null, Value::Array(prompts)) => {
            if call.text("model").is_none() {
                return Err(No::malformed("`model` is missing", "it is asked all the prompts"));
            }
            let mut all = String::new();
            for (number, prompt) in prompts.iter().enumerate() {
                let body = run::body(&call.args, prompt)?;
                let line = json!({"custom_id": number.to_string(), "method": "POST", "url": ENDPOINT, "body": body});
                writeln!(all, "{line}").expect("text is written to memory");
            }
            Ok(all)
        }
        _ => Err(No::malformed("neither `prompts` nor `jsonl`, or both, are there", "send one of them")),
    }
}

pub(super) async fn submit(call: &Call<'_>) -> Result<Value, No> {
    let lines = lines(call)?;
    if lines.contains(BOUNDARY) {
        return Err(No::malformed("`jsonl` has a text that frames uploads", "leave it out"));
    }
    let name = "Content-Disposition: form-data; name";
    let form = format!(
        "--{BOUNDARY}\r\n{name}=\"purpose\"\r\n\r\nbatch\r\n--{BOUNDARY}\r\n{name}=\"file\"; filename=\"mcp.jsonl\"\r\n\
         Content-Type: application/jsonl\r\n\r\n{lines}\r\n--{BOUNDARY}--\r\n"
    );
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    let file = read(call.office.ask(&call.who, "POST", "/v1/files", &kind, Body::from(form)).await?).await?;
    let body = json!({"input_file_id": file["id"], "endpoint": ENDPOINT, "completion_window": "24h"});
    call.office.json(&call.who, "POST", "/v1/batches", Some(&body)).await.map(|batch| shown(&batch))
}

fn shown(batch: &Value) -> Value {
    let counts = &batch["request_counts"];
    json!({
        "id": batch["id"],
        "status": batch["status"],
        "total": counts["total"],
        "completed": counts["completed"],
        "failed": counts["failed"],
        "errors": batch["errors"]["data"].as_array().cloned().unwrap_or_default(),
    })
}

fn path(call: &Call<'_>) -> Result<String, No> {
    let id = call.text("id").unwrap_or_default();
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let no = || Refusal::new(RefusalCode::UnknownId, format!("there is no batch {id:?}"), "batch_submit told its id");
    if is_id { Ok(format!("/v1/batches/{id}")) } else { Err(no().into()) }
}

pub(super) async fn status(call: &Call<'_>) -> Result<Value, No> {
    Ok(shown(&call.office.json(&call.who, "GET", &path(call)?, None).await?))
}

pub(super) async fn cancel(call: &Call<'_>) -> Result<Value, No> {
    Ok(shown(&call.office.json(&call.who, "POST", &format!("{}/cancel", path(call)?), None).await?))
}

/// A page of what a batch answered, those that failed behind the others.
pub(super) async fn results(call: &Call<'_>) -> Result<Value, No> {
    let batch = call.office.json(&call.who, "GET", &path(call)?, None).await?;
    let skip = call.number("after").unwrap_or(0);
    let most = call.number("limit").map_or(PAGE, |limit| usize::try_from(limit).unwrap_or(PAGE));
    let (mut rows, mut at, mut bytes, mut has_more) = (Vec::new(), 0, 0, false);
    for key in ["output_file_id", "error_file_id"] {
        let Some(file) = batch[key].as_str().filter(|_| !has_more) else { continue };
        let content = format!("/v1/files/{file}/content");
        let mut lines =
            Lines::of(call.office.ask(&call.who, "GET", &content, "application/json", Body::empty()).await?);
        while let Some(line) = lines.next().await? {
            at += 1;
            if at <= skip {
                continue;
            }
            bytes += line.len();
            if rows.len() >= most || bytes > PAGE_BYTES_MAX && !rows.is_empty() {
                has_more = true;
                break;
            }
            rows.push(row(&serde_json::from_str(&line).unwrap_or_default()));
        }
    }
    let next = has_more.then_some(skip + rows.len() as u64);
    Ok(json!({"id": batch["id"], "status": batch["status"], "results": rows, "next": next}))
}

fn row(line: &Value) -> Value {
    let body = &line["response"]["body"];
    let facts = &body["talkoo"];
    let mut row = json!({"custom_id": line["custom_id"], "status": line["response"]["status_code"]});
    match body["choices"][0]["message"]["content"].as_str() {
        Some(text) => {
            row["text"] = json!(text);
            row["badge"] = json!(run::badge(facts));
            row["price"] = facts["price"].clone();
        }
        None => row["error"] = body["error"].clone(),
    }
    row
}
