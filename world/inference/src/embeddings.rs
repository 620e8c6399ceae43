//! `POST /v1/embeddings`.

use crate::error::{Fault, json_of};
use crate::fields::{Fields, malformed, unsupported};
use crate::keys::Who;
use crate::limits::TEXTS_MAX;
use crate::message::wishes_of;
use crate::{EmbedOrder, Inputs, Shared, Wishes, spans};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use talkoo_base::Refusal;

/// How vectors are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    /// A list of numbers.
    Float,
    /// Base64 of the numbers as f32, little-endian.
    Base64,
}

pub(crate) async fn create(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Fault> {
    let body = json_of(body)?;
    let of = |refusal| Fault::of(refusal, &body);
    let Asked { model, inputs, wishes, format, dimensions } = read(&body).map_err(of)?;
    let order = EmbedOrder { model: model.clone(), inputs, dimensions, wishes, who };
    let mut embedded = shared.desk.embed(order).await.map_err(of)?;
    spans::embedded(&model, embedded.tokens);
    if let Some(want) = dimensions {
        for vector in &mut embedded.vectors {
            shorten(vector, want).map_err(of)?;
        }
    }
    let write = |vector: &Vec<f32>| match format {
        Format::Float => json!(vector),
        Format::Base64 => json!(STANDARD.encode(vector.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())),
    };
    let vectors = embedded.vectors.iter().enumerate();
    let data: Vec<Value> =
        vectors.map(|(index, v)| json!({"object": "embedding", "index": index, "embedding": write(v)})).collect();
    Ok(Json(json!({
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
        "talkoo": embedded.facts,
    })))
}

/// What a body asks.
struct Asked {
    model: String,
    inputs: Inputs,
    wishes: Wishes,
    format: Format,
    dimensions: Option<usize>,
}

fn read(body: &Value) -> Result<Asked, Refusal> {
    let Some(fields) = body.as_object() else {
        return Err(malformed("the body is not an object", "send {\"model\", \"input\"}"));
    };
    let known = ["model", "input", "encoding_format", "dimensions", "user", "provider", "service_tier"];
    if let Some((key, _)) = fields.iter().find(|(key, value)| !value.is_null() && !known.contains(&key.as_str())) {
        return Err(unsupported(format!("`{key}` is not supported"), "leave it out"));
    }
    let wishes = wishes_of(&Fields::of(body, &known)?)?;
    let format = match &body["encoding_format"] {
        Value::Null => Format::Float,
        Value::String(name) if name == "float" => Format::Float,
        Value::String(name) if name == "base64" => Format::Base64,
        _ => return Err(malformed("`encoding_format` is neither float nor base64", "")),
    };
    let dimensions = match &body["dimensions"] {
        Value::Null => None,
        value => {
            let many = value.as_u64().filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok());
            Some(many.ok_or_else(|| malformed("`dimensions` is not a whole number above 0", ""))?)
        }
    };
    let Some(model) = body["model"].as_str() else {
        return Err(malformed("`model` is not a text", "GET /v1/models has the list"));
    };
    Ok(Asked { model: model.to_owned(), inputs: inputs_of(&body["input"])?, wishes, format, dimensions })
}

/// A text, texts, token ids, or lists of them.
pub(crate) fn inputs_of(input: &Value) -> Result<Inputs, Refusal> {
    let no = || malformed(format!("`input` is not a text, token ids, or 1 to {TEXTS_MAX} of them"), "");
    let ids = |value: &Value| -> Option<Vec<u32>> {
        let ids = value.as_array()?.iter().map(|id| u32::try_from(id.as_u64()?).ok());
        ids.collect::<Option<Vec<u32>>>().filter(|ids| !ids.is_empty())
    };
    let list = match input {
        Value::String(text) => return Ok(Inputs::Texts(vec![text.clone()])).and_then(filled),
        Value::Array(list) if (1..=TEXTS_MAX).contains(&list.len()) || list.first().is_some_and(Value::is_u64) => list,
        _ => return Err(no()),
    };
    if list[0].is_u64() {
        return Ok(Inputs::Tokens(vec![ids(input).ok_or_else(no)?]));
    }
    if list[0].is_string() {
        let texts: Option<Vec<String>> = list.iter().map(|text| text.as_str().map(str::to_owned)).collect();
        return texts.map(Inputs::Texts).ok_or_else(no).and_then(filled);
    }
    list.iter().map(ids).collect::<Option<Vec<_>>>().map(Inputs::Tokens).ok_or_else(no)
}

/// Refuses an empty text, as OpenAI does.
fn filled(inputs: Inputs) -> Result<Inputs, Refusal> {
    match &inputs {
        Inputs::Texts(texts) if texts.iter().any(String::is_empty) => {
            Err(malformed("a text of `input` is empty", "leave it out"))
        }
        _ => Ok(inputs),
    }
}

/// Whether so many numbers can be had of vectors that have so many: to be asked before they are made, and perhaps paid.
///
/// # Errors
/// If more are wanted.
pub fn check_dimensions(want: Option<usize>, has: usize) -> Result<(), Refusal> {
    match want.filter(|want| *want > has) {
        Some(_) => Err(malformed(format!("`dimensions` is more than the model's {has}"), "leave it out")),
        None => Ok(()),
    }
}

/// The first so many numbers, made as long as one again, as OpenAI documents it.
fn shorten(vector: &mut Vec<f32>, want: usize) -> Result<(), Refusal> {
    check_dimensions(Some(want), vector.len())?;
    vector.truncate(want);
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    Ok(())
}
