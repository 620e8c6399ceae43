//! What is said to a server and what it says: the legacy completions of OpenAI's API
//! (<https://platform.openai.com/docs/api-reference/completions>), which take a prompt as it is.

use super::failed;
use serde_json::{Map, Value, json};
use talkoo_base::generate::ONE_Q16;
use talkoo_base::{Finish, Refusal, Work};

/// Seeds keep so many bits: servers read them as 64, 63 or 32 bits, and some take the largest for "any".
const SEED_BITS: u64 = 31;
/// Characters of a server's own words that are passed on.
const WORDS_MAX: usize = 200;

/// What an event brings.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Piece {
    pub(super) text: String,
    /// Token ids, from servers that tell them.
    pub(super) tokens: Option<Vec<u32>>,
    pub(super) finish: Option<Finish>,
}

/// The body of a request. `prompt` is token ids, or text for servers that take only that. Parameters
/// that the work leaves at their defaults are left out, besides those whose defaults differ.
pub(super) fn request(model: &str, prompt: Value, work: &Work) -> Value {
    let params = &work.params;
    let fraction = |q16: i64| json!(q16 as f64 / f64::from(ONE_Q16));
    let mut body = json!({
        "model": model,
        "max_tokens": params.max_tokens,
        "temperature": fraction(params.temperature_q16.into()),
        "top_p": fraction(params.top_p_q16.into()),
        "seed": work.seed & ((1 << SEED_BITS) - 1),
        "stream": true,
    });
    if prompt.is_array() {
        body["return_token_ids"] = json!(true);
    }
    body["prompt"] = prompt;
    let penalties =
        [("frequency_penalty", params.frequency_penalty_q16), ("presence_penalty", params.presence_penalty_q16)];
    for (name, q16) in penalties.into_iter().filter(|(_, q16)| *q16 != 0) {
        body[name] = fraction(q16.into());
    }
    if !params.stop.is_empty() {
        body["stop"] = json!(params.stop);
    }
    if !params.logit_bias.is_empty() {
        let bias: Map<String, Value> =
            params.logit_bias.iter().map(|(id, q16)| (id.to_string(), fraction((*q16).into()))).collect();
        body["logit_bias"] = Value::Object(bias);
    }
    body
}

/// Reads the data of one event; `None` is the end of the stream.
///
/// # Errors
/// What is no completion, or a failure that the server tells in the stream.
pub(super) fn piece(data: &str) -> Result<Option<Piece>, Refusal> {
    if data.trim() == "[DONE]" {
        return Ok(None);
    }
    let event: Value = serde_json::from_str(data).map_err(|e| failed(format!("the engine sent no JSON ({e})")))?;
    if event.get("error").is_some_and(|error| !error.is_null()) {
        return Err(failed(format!("the engine failed: {}", complaint(data))));
    }
    let choice = match event.get("choices").and_then(Value::as_array).map(Vec::as_slice) {
        // An event that only counts.
        Some([]) => return Ok(Some(Piece::default())),
        Some([choice]) => choice,
        _ => return Err(failed("the engine sent something that is not one completion")),
    };
    let finish = match choice.get("finish_reason").and_then(Value::as_str) {
        None | Some("") => None,
        Some("stop") => Some(Finish::Stop),
        Some("length") => Some(Finish::Length),
        Some(other) => return Err(failed(format!("the engine gave up: {}", one_line(other)))),
    };
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
    let tokens = match choice.get("token_ids").and_then(Value::as_array) {
        None => None,
        Some(ids) => Some(ids.iter().map(id).collect::<Option<_>>().ok_or_else(|| failed("a token id is no number"))?),
    };
    let text = choice.get("text").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Some(Piece { text, tokens, finish }))
}

/// The reason in the body of an error, however the server wraps it.
pub(super) fn complaint(body: &str) -> String {
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let told = ["/error/message", "/message", "/error", "/detail"].iter().find_map(|at| parsed.pointer(at)?.as_str());
    one_line(told.unwrap_or(body))
}

/// The beginning of somebody else's words, on one line.
fn one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().filter(|c| !crate::talk::is_obeyed(*c)).take(WORDS_MAX).collect()
}
