//! OpenAI batch lines: `{"custom_id", "method", "url", "body"}` in, `{"id", "custom_id",
//! "response"}` out. The output depends on nothing but the input and the answers: two honest runs
//! give the same bytes.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use talkoo_base::generate::ONE_Q16;
use talkoo_base::{Finish, GenerateParams, Refusal, RefusalCode, sha256};
use talkoo_engine::{ChatMessage, Vocabulary};

/// Lines of one file at most.
const LINES_MAX: usize = talkoo_job::limits::STEPS_MAX;
/// Output tokens of a line that does not say.
const MAX_TOKENS_DEFAULT: u32 = 128;
/// Keys of a body that change the answer and that we can honour.
const KNOWN: [&str; 9] =
    ["model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stream", "n"];
/// Keys of a body that change nothing about the answer.
const IGNORED: [&str; 5] = ["user", "metadata", "store", "safety_identifier", "service_tier"];

/// What one good line asks for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Number of its line, from 1.
    pub(crate) line: usize,
    pub(crate) custom_id: String,
    pub(crate) model: String,
    pub(crate) messages: Vec<ChatMessage>,
    pub(crate) params: GenerateParams,
    pub(crate) seed: Option<u64>,
}

/// A line that cannot be run.
#[derive(Clone, Debug)]
pub(crate) struct BadLine {
    /// Number of the line, from 1.
    pub(crate) line: usize,
    pub(crate) custom_id: Option<String>,
    pub(crate) refusal: Refusal,
}

#[derive(Deserialize)]
struct WireLine {
    custom_id: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    url: Option<String>,
    body: Value,
}

#[derive(Deserialize)]
struct WireMessage {
    role: String,
    content: Value,
}

/// Reads a file: the good lines, in order, and every bad one with its reason.
pub(crate) fn parse(text: &str) -> (Vec<Ask>, Vec<BadLine>) {
    // Some editors begin a file with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut asks, mut bad, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let id = || serde_json::from_str::<Value>(line).ok()?.get("custom_id")?.as_str().map(str::to_owned);
        let fresh = |ask: Ask| match seen.insert(ask.custom_id.clone()) {
            true => Ok(ask),
            false => Err(malformed("its custom_id was used by an earlier line", "make every custom_id different")),
        };
        let room = match asks.len() < LINES_MAX {
            true => Ok(()),
            false => Err(Refusal::new(RefusalCode::TooLarge, "the file has more than 50,000 lines", "split it")),
        };
        match room.and_then(|()| parse_line(line)).and_then(fresh) {
            Ok(ask) => asks.push(Ask { line: index + 1, ..ask }),
            Err(refusal) => bad.push(BadLine { line: index + 1, custom_id: id(), refusal }),
        }
    }
    (asks, bad)
}

fn malformed(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

fn unsupported(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::UnsupportedParameter, message, hint)
}

fn parse_line(line: &str) -> Result<Ask, Refusal> {
    let format = "one line is {\"custom_id\", \"method\", \"url\", \"body\"}";
    let wire: WireLine =
        serde_json::from_str(line).map_err(|e| malformed(format!("not a batch line ({e})"), format))?;
    if wire.method.as_deref().is_some_and(|m| m != "POST") {
        return Err(malformed("its method is not POST", format));
    }
    if wire.url.as_deref().is_some_and(|u| u != "/v1/chat/completions") {
        return Err(unsupported("its url is not /v1/chat/completions", "only chat completions run here"));
    }
    if wire.custom_id.is_empty() || wire.custom_id.len() > 512 {
        return Err(malformed("its custom_id has not 1 to 512 bytes", format));
    }
    ask_of(wire.custom_id, &wire.body)
}

/// Reads the body of a chat completion.
pub(crate) fn ask_of(custom_id: String, body: &Value) -> Result<Ask, Refusal> {
    let Some(fields) = body.as_object() else { return Err(malformed("its body is not an object", "see the format")) };
    if let Some(key) = fields.keys().find(|k| !KNOWN.contains(&k.as_str()) && !IGNORED.contains(&k.as_str())) {
        return Err(unsupported(format!("`{key}` is not supported"), "leave it out"));
    }
    if fields.get("n").is_some_and(|n| *n != json!(1)) {
        return Err(unsupported("`n` other than 1 is not supported", "send the line n times"));
    }
    let model = fields.get("model").and_then(Value::as_str).unwrap_or_default().to_owned();
    let messages = fields.get("messages").cloned().unwrap_or(Value::Null);
    let messages: Vec<WireMessage> = serde_json::from_value(messages)
        .map_err(|e| malformed(format!("its messages do not parse ({e})"), "a message is {\"role\", \"content\"}"))?;
    if messages.is_empty() {
        return Err(malformed("it has no messages", "send at least one"));
    }
    let messages = messages.into_iter().map(message_of).collect::<Result<_, _>>()?;
    let number = |key: &str, low: f64, high: f64| match fields.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64().filter(|v| (low..=high).contains(v)) {
            Some(v) => Ok(Some(v)),
            None => Err(malformed(format!("`{key}` is not a number from {low} to {high}"), "")),
        },
    };
    let whole = |key: &str| match number(key, 1.0, 131_072.0)? {
        Some(v) if v.fract() != 0.0 => Err(malformed(format!("`{key}` is not a whole number"), "")),
        v => Ok(v),
    };
    let max = whole("max_completion_tokens")?.or(whole("max_tokens")?);
    let params = GenerateParams {
        max_tokens: max.map_or(MAX_TOKENS_DEFAULT, |v| v as u32),
        temperature_q16: q16(number("temperature", 0.0, 2.0)?.unwrap_or(0.0)),
        top_p_q16: q16(number("top_p", 0.0, 1.0)?.unwrap_or(1.0)).max(1),
        ..GenerateParams::default()
    };
    let seed = match fields.get("seed") {
        None | Some(Value::Null) => None,
        Some(Value::Number(n)) => match n.as_u64().or(n.as_i64().map(i64::cast_unsigned)) {
            Some(seed) => Some(seed),
            None => return Err(malformed("`seed` is not a whole number", "")),
        },
        Some(_) => return Err(malformed("`seed` is not a whole number", "")),
    };
    Ok(Ask { line: 0, custom_id, model, messages, params, seed })
}

/// A fraction of the API in Q16, rounded to the nearest.
pub(crate) fn q16(value: f64) -> u32 {
    (value * f64::from(ONE_Q16)).round() as u32
}

fn message_of(wire: WireMessage) -> Result<ChatMessage, Refusal> {
    let content = match wire.content {
        Value::String(text) => text,
        Value::Array(parts) => {
            let text = |part: &Value| match part.get("type").and_then(Value::as_str) {
                Some("text") => part.get("text").and_then(Value::as_str).map(str::to_owned),
                _ => None,
            };
            let texts: Option<Vec<String>> = parts.iter().map(text).collect();
            texts
                .ok_or_else(|| unsupported("a message has a part that is not text", "this model reads only text"))?
                .concat()
        }
        _ => return Err(malformed("a message's content is neither text nor parts", "")),
    };
    // The newer name of the same role.
    let role = if wire.role == "developer" { "system".into() } else { wire.role };
    if !["system", "user", "assistant", "tool"].contains(&role.as_str()) {
        return Err(malformed(format!("unknown role `{role}`"), "use system, user or assistant"));
    }
    Ok(ChatMessage { role, content })
}

/// The prompt of an ask, as token ids.
pub(crate) fn tokenize(vocabulary: &Vocabulary, context: u32, ask: &Ask) -> Result<Vec<u32>, Refusal> {
    let text =
        vocabulary.render_chat(&ask.messages).map_err(|e| malformed(e.to_string(), "see the model's template"))?;
    let tokens = vocabulary.encode_prompt(&text);
    let (need, have) = (tokens.len() as u64 + u64::from(ask.params.max_tokens), u64::from(context));
    if need > have {
        let hint = "shorten the prompt or lower max_tokens";
        let no = Refusal::new(RefusalCode::ContextExceeded, "prompt and output do not fit the model's context", hint);
        return Err(no.with(need, have));
    }
    Ok(tokens)
}

/// Seed of a line that names none: first 8 bytes of SHA-256(job ‖ custom id ‖ 0).
pub(crate) fn seed_of(job: &talkoo_base::JobId, custom_id: &str) -> u64 {
    sha256(&[&job.0.0, custom_id.as_bytes(), &0u32.to_be_bytes()]).first_u64()
}

/// One line of output.
pub(crate) fn result_line(
    vocabulary: &Vocabulary,
    model: &str,
    custom_id: &str,
    prompt_tokens: usize,
    outcome: Result<(&[u32], Finish), &Refusal>,
) -> String {
    let id = sha256(&[b"talkoo batch line", custom_id.as_bytes()]).to_string();
    let line = match outcome {
        Err(refusal) => json!({
            "id": format!("batch_req_{}", &id[..24]),
            "custom_id": custom_id,
            "response": null,
            "error": {"code": refusal.code.as_str(), "message": refusal.to_string()},
        }),
        Ok((tokens, finish)) => json!({
            "id": format!("batch_req_{}", &id[..24]),
            "custom_id": custom_id,
            "response": {"status_code": 200, "request_id": &id[..32], "body": {
                "id": format!("chatcmpl-{}", &id[..24]),
                "object": "chat.completion",
                "created": 0,
                "model": model,
                "choices": [{
                    "index": 0,
                    "message": {"role": "assistant", "content": text_of(vocabulary, tokens)},
                    "logprobs": null,
                    "finish_reason": finish.openai(),
                }],
                "usage": {
                    "prompt_tokens": prompt_tokens,
                    "completion_tokens": tokens.len(),
                    "total_tokens": prompt_tokens + tokens.len(),
                },
            }},
            "error": null,
        }),
    };
    line.to_string()
}

/// The text of an output, without its end token.
pub(crate) fn text_of(vocabulary: &Vocabulary, tokens: &[u32]) -> String {
    let body = match tokens.split_last() {
        Some((last, body)) if vocabulary.eos().contains(last) => body,
        _ => tokens,
    };
    let mut decoder = vocabulary.decoder();
    let mut text: String = body.iter().map(|t| decoder.push(*t)).collect();
    text.push_str(&decoder.finish());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_named_and_good_ones_run() {
        let good = r#"{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":5,"temperature":0.5,"seed":-1}}"#;
        let cases = [
            ("not json", None, "not a batch line"),
            (r#"{"custom_id":"b","body":{"messages":[]}}"#, Some("b"), "no messages"),
            (
                r#"{"custom_id":"c","body":{"messages":[{"role":"user","content":"x"}],"tools":[]}}"#,
                Some("c"),
                "`tools`",
            ),
            (r#"{"custom_id":"d","url":"/v1/embeddings","body":{}}"#, Some("d"), "url"),
            (
                r#"{"custom_id":"e","body":{"messages":[{"role":"user","content":"x"}],"temperature":9}}"#,
                Some("e"),
                "0 to 2",
            ),
            (
                r#"{"custom_id":"f","body":{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}}"#,
                Some("f"),
                "not text",
            ),
            (
                r#"{"custom_id":"g","body":{"messages":[{"role":"user","content":"x"}],"max_tokens":1.5}}"#,
                Some("g"),
                "whole number",
            ),
            (good, Some("a"), "used by an earlier line"),
        ];
        let file: Vec<&str> = std::iter::once(good).chain(cases.iter().map(|c| c.0)).collect();
        let (asks, bad) = parse(&format!("\u{feff}{}", file.join("\n")));
        assert_eq!((asks.len(), asks[0].seed, asks[0].params.temperature_q16), (1, Some(u64::MAX), 32_768));
        assert_eq!(bad.len(), cases.len());
        for ((line, bad), (_, id, text)) in (2..).zip(&bad).zip(cases) {
            assert_eq!((bad.line, bad.custom_id.as_deref()), (line, id));
            assert!(bad.refusal.message.contains(text), "{}", bad.refusal);
        }
    }
}
