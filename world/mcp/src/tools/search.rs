//! `search`: models and data by words.

use super::{Call, matches};
use crate::ask::No;
use serde_json::{Value, json};
use talkoo_inference::Scope;

/// Finds, unless told otherwise.
const LIMIT: usize = 20;

pub(super) fn limit(call: &Call<'_>) -> usize {
    call.number("limit").map_or(LIMIT, |limit| usize::try_from(limit).unwrap_or(LIMIT))
}

pub(super) async fn search(call: &Call<'_>) -> Result<Value, No> {
    let (words, most) = (call.text("words").unwrap_or_default(), limit(call));
    let kind = call.text("kind").unwrap_or("all");
    let mut notes = Vec::new();
    let models = if kind == "data" { Vec::new() } else { models(call, words, most).await? };
    let data = match (kind, call.office.may(&call.who, Scope::Data)) {
        ("models", _) => Vec::new(),
        (_, Ok(())) => match data(call, words, most).await {
            Ok(found) => found,
            Err(no) if kind == "all" => {
                notes.push(format!("no data: {}", no.message));
                Vec::new()
            }
            Err(no) => return Err(no),
        },
        ("data", Err(no)) => return Err(no),
        (_, Err(no)) => {
            notes.push(format!("no data: {}", no.message));
            Vec::new()
        }
    };
    Ok(json!({"models": models, "data": data, "notes": notes}))
}

/// Models that can be asked, with everybody who runs them and for how much.
async fn models(call: &Call<'_>, words: &str, most: usize) -> Result<Vec<Value>, No> {
    let list = call.office.json(&call.who, "GET", "/v1/models", None).await?;
    let mut found = Vec::new();
    for model in list["data"].as_array().into_iter().flatten() {
        let text = |key: &str| model[key].as_str().unwrap_or_default();
        let kind = model["architecture"]["output_modalities"][0].as_str().unwrap_or_default();
        if !matches(words, &[text("id"), text("quantization"), kind]) {
            continue;
        }
        let path = format!("/v1/models/{}/endpoints", text("id"));
        let shown = call.office.json(&call.who, "GET", &path, None).await?;
        found.push(json!({
            "model": text("id"), "makes": kind, "context": model["context_length"], "quantization": model["quantization"],
            "bytes": model["bytes"], "cid": model["cid"], "root": model["root"], "endpoints": shown["data"]["endpoints"],
        }));
        if found.len() >= most {
            break;
        }
    }
    Ok(found)
}

/// Data sets that are published on the node's ledger.
pub(super) async fn data(call: &Call<'_>, words: &str, most: usize) -> Result<Vec<Value>, No> {
    let answer = call.ask("data_search", json!({"words": words, "limit": most})).await?;
    Ok(answer["data"].as_array().cloned().unwrap_or_default())
}
