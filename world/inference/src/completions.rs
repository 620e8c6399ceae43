//! `POST /v1/completions`: the older protocol, text in and text out; measuring programs use it.

use crate::chat::{fingerprint, named, streaming, usage};
use crate::collect::{Choice, Flow, Happening, fresh, one_or_all, unix};
use crate::error::{Fault, json_of};
use crate::fields::{Fields, malformed, unsupported};
use crate::keys::Who;
use crate::limits::PROMPTS_MAX;
use crate::message::wishes_of;
use crate::sse::{Teller, data, stream};
use crate::tally::Tally;
use crate::{Order, Prompt, Shared, Tools};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use talkoo_base::Refusal;

/// Its own fields.
const OWN: &[&str] = &["prompt", "echo", "suffix", "best_of"];
/// Output tokens of a request that does not say, as OpenAI has it.
const MAX_TOKENS_DEFAULT: u32 = 16;

pub(crate) async fn create(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Fault> {
    let body = json_of(body)?;
    let of = |refusal| Fault::of(refusal, &body);
    let (orders, streams, usage) = read(&body, who).map_err(of)?;
    let id = fresh("cmpl-");
    let mut flows = Vec::new();
    for order in orders {
        let choices = order.choices;
        let answering = shared.desk.generate(order).await.map_err(of)?;
        flows.push(Flow::new(id.clone(), answering, &Tools::default(), choices, &shared.meters));
    }
    if streams {
        let flow = flows.pop().expect("a stream has one prompt");
        let chars = vec![0; flow.choices() as usize];
        let teller = Chunks { tally: Tally::new(usage), chars };
        return Ok(stream(flow, teller));
    }
    let (mut choices, mut facts, mut model, mut spent) = (Vec::new(), Vec::new(), String::new(), (0, 0));
    for flow in flows {
        let whole = flow.whole().await.map_err(of)?;
        spent = (spent.0 + whole.prompt_tokens, spent.1 + whole.tokens);
        for choice in &whole.choices {
            choices.push(shown(choices.len() as u32, choice));
        }
        facts.push(whole.facts);
        model = whole.model;
    }
    let facts = one_or_all(facts);
    let answer = json!({
        "id": id,
        "object": "text_completion",
        "created": unix(),
        "model": model,
        "choices": choices,
        "usage": self::usage(spent.0, spent.1),
        "system_fingerprint": fingerprint(&facts),
        "talkoo": facts,
    });
    Ok(Json(answer).into_response())
}

/// The orders of a body, one for each prompt; whether it streams, and whether the end tells the usage.
fn read(body: &Value, who: Who) -> Result<(Vec<Order>, bool, bool), Refusal> {
    let fields = Fields::of(body, OWN)?;
    if fields.flag("echo")? == Some(true) {
        return Err(unsupported("`echo` is not supported", "the prompt is yours already; leave it out"));
    }
    if fields.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(unsupported("`suffix` is not supported", "the models here only continue"));
    }
    let choices = fields.choices()?;
    if fields.whole("best_of", 1..=128)?.is_some_and(|best| best != i64::from(choices)) {
        return Err(unsupported("`best_of` other than `n` is not supported", "ask for `n` and choose yourself"));
    }
    let (streams, usage) = streaming(&fields)?;
    let prompts = prompts_of(fields.get("prompt").unwrap_or(&Value::Null))?;
    if streams && prompts.len() > 1 {
        return Err(unsupported("`stream` with several prompts is not supported", "ask for each by itself"));
    }
    // Here it is a number.
    let mut others = body.clone();
    let _ = others["logprobs"].take();
    let mut params = Fields::of(&others, OWN)?.params()?;
    params.top_logprobs = fields.whole("logprobs", 0..=5)?.map(|top| top as u32);
    if !fields.names_length() {
        params.max_tokens = MAX_TOKENS_DEFAULT;
    }
    let model = fields.text("model")?.unwrap_or_default();
    named(&model)?;
    let (seed, wishes) = (fields.seed()?, wishes_of(&fields)?);
    let order = |prompt| Order {
        model: model.clone(),
        prompt,
        params: params.clone(),
        seed,
        choices,
        wishes: wishes.clone(),
        who: who.clone(),
    };
    Ok((prompts.into_iter().map(order).collect(), streams, usage))
}

/// Text, texts, token ids, or several of these.
fn prompts_of(value: &Value) -> Result<Vec<Prompt>, Refusal> {
    let no = || malformed(format!("`prompt` is not a text, token ids, or 1 to {PROMPTS_MAX} of them"), "");
    let prompts = match value {
        Value::Array(list) if list.iter().all(Value::is_u64) && !list.is_empty() => {
            vec![tokens_of(value).ok_or_else(no)?]
        }
        Value::Array(list) => list.iter().map(|one| prompt_of(one).ok_or_else(no)).collect::<Result<_, _>>()?,
        one => vec![prompt_of(one).ok_or_else(no)?],
    };
    if !(1..=PROMPTS_MAX).contains(&prompts.len()) {
        return Err(no());
    }
    Ok(prompts)
}

fn prompt_of(value: &Value) -> Option<Prompt> {
    match value {
        Value::String(text) => Some(Prompt::Text(text.clone())),
        _ => tokens_of(value),
    }
}

fn tokens_of(value: &Value) -> Option<Prompt> {
    let ids = value.as_array()?.iter().map(|id| u32::try_from(id.as_u64()?).ok());
    ids.collect::<Option<Vec<u32>>>().filter(|ids| !ids.is_empty()).map(Prompt::Tokens)
}

fn shown(index: u32, choice: &Choice) -> Value {
    json!({
        "index": index,
        "text": choice.text,
        "logprobs": logprobs(&choice.logprobs, 0),
        "finish_reason": choice.reason,
    })
}

/// The older shape of log probabilities, for tokens that begin at this letter of the text.
fn logprobs(entries: &[Value], mut at: usize) -> Value {
    if entries.is_empty() {
        return Value::Null;
    }
    let (mut tokens, mut own, mut top, mut offsets) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        offsets.push(at);
        at += entry["token"].as_str().map_or(0, |token| token.chars().count());
        tokens.push(entry["token"].clone());
        own.push(entry["logprob"].clone());
        let named = |other: &Value| Some((other["token"].as_str()?.to_owned(), other["logprob"].clone()));
        top.push(Value::Object(entry["top_logprobs"].as_array().into_iter().flatten().filter_map(named).collect()));
    }
    json!({"tokens": tokens, "token_logprobs": own, "top_logprobs": top, "text_offset": offsets})
}

/// The events of a stream.
struct Chunks {
    tally: Tally,
    /// Letters that each choice has so far.
    chars: Vec<usize>,
}

impl Chunks {
    fn chunk(&self, flow: &Flow, choices: Value) -> Value {
        self.tally.chunk(flow, "text_completion", choices)
    }
}

impl Teller for Chunks {
    fn begin(&mut self, _: &Flow) -> Vec<String> {
        Vec::new()
    }

    fn tell(&mut self, flow: &Flow, happening: Happening) -> Vec<String> {
        let value = match happening {
            Happening::Text { choice, text, logprobs } => {
                let at = self.chars[choice as usize];
                self.chars[choice as usize] += text.chars().count();
                let told = self::logprobs(&logprobs, at);
                self.chunk(flow, json!([{"index": choice, "text": text, "logprobs": told, "finish_reason": null}]))
            }
            // Nothing may be called here.
            Happening::Call { .. } => return Vec::new(),
            Happening::End { choice, reason, tokens, facts, .. } => {
                let last = json!([{"index": choice, "text": "", "logprobs": null, "finish_reason": reason}]);
                let chunk = self.chunk(flow, last);
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
