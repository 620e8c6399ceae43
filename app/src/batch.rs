//! OpenAI batch lines: `{"custom_id", "method", "url", "body"}` in, `{"id", "custom_id",
//! "response"}` out. The output depends on nothing but the input and the answers: two honest runs
//! give the same bytes.

mod logprobs;

pub(crate) use logprobs::{entries as logprob_entries, shown as shown_logprobs};
pub(crate) use talkoo_inference::{JSON_OBJECT, q16, signed_q16};

use crate::answer::text_of;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use talkoo_base::{Finish, GenerateParams, Refusal, RefusalCode, Tier, sha256};
use talkoo_engine::Vocabulary;
use talkoo_inference::{Chat, Message};
use talkoo_job::limits::STEPS_MAX;

/// What one good line asks for.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// Number of its line, from 1.
    pub(crate) line: usize,
    pub(crate) custom_id: String,
    pub(crate) model: String,
    pub(crate) messages: Vec<Message>,
    pub(crate) params: GenerateParams,
    pub(crate) seed: Option<u64>,
    /// How many answers.
    pub(crate) choices: u32,
}

/// Log probabilities of one file: they are kept, and shown, in one piece.
const LOGPROBS_MAX: u64 = 1 << 23;

impl Ask {
    /// How many log probabilities its answers may have.
    fn logprobs(&self) -> u64 {
        let each = self.params.top_logprobs.map_or(0, |top| u64::from(top) + 1);
        each * u64::from(self.params.max_tokens) * u64::from(self.choices)
    }
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

/// Reads a file: the good lines, in order, and every bad one with its reason.
pub(crate) fn parse(text: &str) -> (Vec<Ask>, Vec<BadLine>) {
    // Some editors begin a file with a byte-order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut asks, mut bad, mut seen, mut steps) = (Vec::new(), Vec::new(), BTreeSet::new(), 0);
    let mut logprobs = 0;
    for (index, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let id = || serde_json::from_str::<Value>(line).ok()?.get("custom_id")?.as_str().map(str::to_owned);
        let fresh = |ask: Ask| match seen.insert(ask.custom_id.clone()) {
            true => Ok(ask),
            false => Err(malformed("its custom_id was used by an earlier line", "make every custom_id different")),
        };
        let fits = |ask: Ask| match steps + ask.choices as usize <= STEPS_MAX {
            true => Ok(ask),
            false => Err(Refusal::new(RefusalCode::TooLarge, "the file asks for more than 50,000 answers", "split it")),
        };
        let tells = |ask: Ask| match logprobs + ask.logprobs() <= LOGPROBS_MAX {
            true => Ok(ask),
            false => {
                let message = "the file asks for more than 8,388,608 log probabilities";
                Err(Refusal::new(RefusalCode::TooLarge, message, "split it, or lower max_tokens or top_logprobs"))
            }
        };
        match parse_line(line).and_then(fits).and_then(tells).and_then(fresh) {
            Ok(ask) => {
                steps += ask.choices as usize;
                logprobs += ask.logprobs();
                asks.push(Ask { line: index + 1, ..ask });
            }
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
    if body.get("tools").is_some_and(|tools| !tools.is_null()) {
        return Err(unsupported("`tools` is not supported in a batch", "leave it out, or ask /v1/chat/completions"));
    }
    let Chat { model, messages, params, seed, choices, .. } = Chat::read(body)?;
    Ok(Ask { line: 0, custom_id, model, messages, params, seed, choices })
}

/// Refuses what this model can't follow.
pub(crate) fn check(vocabulary: &Vocabulary, params: &GenerateParams) -> Result<(), Refusal> {
    if let Some((id, _)) = params.logit_bias.iter().find(|(id, _)| *id as usize >= vocabulary.len()) {
        return Err(malformed(format!("`logit_bias` names token {id}, which the model does not have"), "leave it out"));
    }
    if let Some(constraint) = &params.constraint {
        vocabulary.check_constraint(constraint).map_err(|e| malformed(e.to_string(), "see docs/API.md"))?;
    }
    Ok(())
}

/// The prompt of an ask, as token ids.
pub(crate) fn tokenize(vocabulary: &Vocabulary, context: u32, ask: &Ask) -> Result<Vec<u32>, Refusal> {
    let tokens = crate::inference::rendered(vocabulary, &ask.messages, &[])?;
    check(vocabulary, &ask.params)?;
    let (need, have) = (tokens.len() as u64 + u64::from(ask.params.max_tokens), u64::from(context));
    if need > have {
        let hint = "shorten the prompt or lower max_tokens";
        let no = Refusal::new(RefusalCode::ContextExceeded, "prompt and output do not fit the model's context", hint);
        return Err(no.with(need, have));
    }
    Ok(tokens)
}

/// Seed of an answer to a line: the line's seed and the answer's number, wrapping; of a line that names none
/// the first 8 bytes of SHA-256(job ‖ custom id ‖ number u32 BE).
pub(crate) fn seed_of(seed: Option<u64>, job: &talkoo_base::JobId, custom_id: &str, choice: u32) -> u64 {
    match seed {
        Some(seed) => seed.wrapping_add(u64::from(choice)),
        None => sha256(&[&job.0.0, custom_id.as_bytes(), &choice.to_be_bytes()]).first_u64(),
    }
}

/// An answer.
pub(crate) struct Choice<'a> {
    pub(crate) tokens: &'a [u32],
    /// Canonical bytes of their log probabilities; empty if the line wants none.
    pub(crate) logprobs: &'a [u8],
    pub(crate) finish: Finish,
}

/// What a line of output says of its line of input.
pub(crate) struct Line<'a> {
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) model: &'a str,
    pub(crate) tier: Tier,
    pub(crate) custom_id: &'a str,
    pub(crate) prompt_tokens: usize,
    pub(crate) params: &'a GenerateParams,
}

impl Line<'_> {
    /// The line of output, for the answers in their order or the reason why there are none.
    pub(crate) fn result(&self, outcome: Result<&[Choice<'_>], &Refusal>) -> String {
        let id = sha256(&[b"talkoo batch line", self.custom_id.as_bytes()]).to_string();
        let mut line = match outcome {
            Err(refusal) => json!({
                "id": format!("batch_req_{}", &id[..24]),
                "custom_id": self.custom_id,
                "response": null,
                "error": {"code": refusal.code.as_str(), "message": refusal.to_string()},
            }),
            Ok(choices) => json!({
                "id": format!("batch_req_{}", &id[..24]),
                "custom_id": self.custom_id,
                "response": {"status_code": 200, "request_id": &id[..32], "body": self.completion(&id[..24], choices)},
                "error": null,
            }),
        };
        if self.tier != Tier::Exact {
            line["tier"] = json!(self.tier.name());
        }
        line.to_string()
    }

    fn completion(&self, id: &str, choices: &[Choice<'_>]) -> Value {
        let choice = |(index, choice): (usize, &Choice<'_>)| {
            let Choice { tokens, logprobs, finish } = choice;
            json!({
                "index": index,
                "message": {"role": "assistant", "content": text_of(self.vocabulary, tokens, &self.params.stop)},
                "logprobs": shown_logprobs(self.vocabulary, tokens, logprobs),
                "finish_reason": finish.openai(),
            })
        };
        let tokens: usize = choices.iter().map(|choice| choice.tokens.len()).sum();
        json!({
            "id": format!("chatcmpl-{id}"),
            "object": "chat.completion",
            "created": 0,
            "model": self.model,
            "choices": choices.iter().enumerate().map(choice).collect::<Vec<_>>(),
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": tokens,
                "total_tokens": self.prompt_tokens + tokens,
            },
        })
    }
}

#[cfg(test)]
mod tests;
