//! Ollama's options and formats in OpenAI's words.

use crate::fields::{dense, malformed, unsupported};
use serde_json::{Map, Value, json};
use talkoo_base::{Constraint, ConstraintForm, Refusal};

/// Options in OpenAI's words; those without one are of Ollama's own engine and change no answer here.
const OPTIONS: [(&str, Option<&str>); 20] = [
    ("temperature", Some("temperature")),
    ("top_p", Some("top_p")),
    ("top_k", Some("top_k")),
    ("min_p", Some("min_p")),
    ("seed", Some("seed")),
    ("stop", Some("stop")),
    ("num_predict", Some("max_tokens")),
    ("repeat_penalty", Some("repetition_penalty")),
    ("frequency_penalty", Some("frequency_penalty")),
    ("presence_penalty", Some("presence_penalty")),
    ("num_ctx", None),
    ("num_batch", None),
    ("num_gpu", None),
    ("main_gpu", None),
    ("num_thread", None),
    ("use_mmap", None),
    ("use_mlock", None),
    ("num_keep", None),
    ("numa", None),
    ("low_vram", None),
];

/// Ollama's options in OpenAI's words.
pub(super) fn options_of(options: Option<&Value>) -> Result<Value, Refusal> {
    let Some(options) = options else { return Ok(json!({})) };
    let no = || malformed("`options` is not an object", "");
    let mut out = Map::new();
    for (name, value) in options.as_object().ok_or_else(no)? {
        match OPTIONS.iter().find(|(known, _)| known == name) {
            // As long as it gets.
            Some((_, Some("max_tokens"))) if value.as_i64().is_some_and(|n| n < 0) => {}
            Some((_, Some(ours))) => drop(out.insert((*ours).to_owned(), value.clone())),
            Some((_, None)) => {}
            None if value.is_null() => {}
            None => {
                return Err(unsupported(format!("`options.{name}` is not supported"), "leave it out"));
            }
        }
    }
    Ok(Value::Object(out))
}

/// `format`: JSON, or JSON of a schema.
pub(super) fn format_of(format: Option<&Value>) -> Result<Option<Constraint>, Refusal> {
    let source = match format {
        None => return Ok(None),
        Some(Value::String(word)) if word.is_empty() => return Ok(None),
        Some(Value::String(word)) if word == "json" => dense(&json!({"type": "object"})),
        Some(schema @ Value::Object(_)) => dense(schema),
        Some(_) => return Err(malformed("`format` is neither \"json\" nor a JSON schema", "")),
    };
    Ok(Some(Constraint { form: ConstraintForm::JsonSchema, source }))
}
