//! The fields of a body that say how to sample, as OpenAI, vLLM and OpenRouter name them. `null` counts as left out.

use serde_json::{Map, Value, json};
use std::ops::RangeInclusive;
use talkoo_base::generate::{BIAS_BAN_Q16, ONE_Q16};
use talkoo_base::limits::{BIASES_MAX, CONSTRAINT_BYTES_MAX, STOP_BYTES_MAX, TOP_LOGPROBS_MAX};
use talkoo_base::{Constraint, ConstraintForm, GenerateParams, Refusal, RefusalCode};

/// Output tokens of a batch's line that does not say.
const MAX_TOKENS_DEFAULT: u32 = 128;
/// Largest `max_tokens`: the longest context there is.
const TOKENS_MAX: i64 = 131_072;
/// Stop strings of one line, as OpenAI has it.
const STOPS_MAX: usize = 4;
/// Answers to one line, as OpenAI has it.
const CHOICES_MAX: i64 = 128;
/// Keys of all bodies that change the answer and are honoured.
const SAMPLING: &[&str] = &[
    "model",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "guided_json",
    "guided_regex",
    "guided_grammar",
    "stop",
    "logprobs",
    "ignore_eos",
    "seed",
    "stream",
    "stream_options",
    "n",
    "provider",
    "service_tier",
];
/// Those of chat completions besides.
pub(crate) const CHAT: &[&str] = &[
    "messages",
    "max_completion_tokens",
    "response_format",
    "top_logprobs",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
];
/// Keys that change nothing about the answer.
const IGNORED: &[&str] = &["user", "metadata", "store", "safety_identifier", "prompt_cache_key"];

pub(crate) fn malformed(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

pub(crate) fn unsupported(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::UnsupportedParameter, message, hint)
}

/// The schema of any JSON object.
pub const JSON_OBJECT: &str = r#"{"type":"object"}"#;

/// A schema whose texts have no blanks but one behind commas and colons: small models fill them with blanks for ever. The words
/// are llguidance's own, unless the schema has some.
pub(crate) fn dense(schema: &Value) -> String {
    let mut schema = schema.clone();
    if let Some(fields) = schema.as_object_mut() {
        let style = json!({"whitespace_flexible": false, "item_separator": ", ", "key_separator": ": "});
        fields.entry("x-guidance").or_insert(style);
    }
    schema.to_string()
}

/// A body, read field by field.
pub struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// Refuses a field that is neither one of how to sample nor of `own`, unless it is null: then it asks for nothing.
    pub(crate) fn of(body: &'a Value, own: &[&str]) -> Result<Self, Refusal> {
        let Some(fields) = body.as_object() else {
            return Err(malformed("its body is not an object", "see the format"));
        };
        let is_known = |key: &str| [SAMPLING, IGNORED, own].iter().any(|known| known.contains(&key));
        match fields.iter().find(|(key, value)| !value.is_null() && !is_known(key)) {
            Some((key, _)) => Err(unsupported(format!("`{key}` is not supported"), "leave it out")),
            None => Ok(Self(fields)),
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A text.
    pub(crate) fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(malformed(format!("`{key}` is not a text"), "")),
        }
    }

    /// Yes or no.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Refusal> {
        let no = || malformed(format!("`{key}` is neither true nor false"), "");
        self.get(key).map(|value| value.as_bool().ok_or_else(no)).transpose()
    }

    /// Whether it says how long the answer may be.
    pub(crate) fn names_length(&self) -> bool {
        self.get("max_tokens").or(self.get("max_completion_tokens")).is_some()
    }

    fn number(&self, key: &str, range: RangeInclusive<f64>) -> Result<Option<f64>, Refusal> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let no = || malformed(format!("`{key}` is not a number from {} to {}", range.start(), range.end()), "");
        value.as_f64().filter(|v| range.contains(v)).map(Some).ok_or_else(no)
    }

    pub(crate) fn whole(&self, key: &str, range: RangeInclusive<i64>) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let no = || malformed(format!("`{key}` is not a whole number from {} to {}", range.start(), range.end()), "");
        // JSON knows one kind of number: 5.0 is as whole as 5.
        let whole = value.as_i64().or_else(|| value.as_f64().filter(|v| v.fract() == 0.0).map(|v| v as i64));
        whole.filter(|v| range.contains(v)).map(Some).ok_or_else(no)
    }

    /// How to generate.
    pub(crate) fn params(&self) -> Result<GenerateParams, Refusal> {
        let tokens = |key| self.whole(key, 1..=TOKENS_MAX);
        let max = tokens("max_completion_tokens")?.or(tokens("max_tokens")?);
        let fraction = |key| self.number(key, 0.0..=1.0);
        let penalty = |key| Ok::<_, Refusal>(self.number(key, -2.0..=2.0)?.map_or(0, signed_q16));
        let repeat = self.number("repetition_penalty", 0.0..=2.0)?.map_or(ONE_Q16, q16);
        if repeat == 0 {
            return Err(malformed("`repetition_penalty` is not above 0", "1 is off"));
        }
        Ok(GenerateParams {
            max_tokens: max.map_or(MAX_TOKENS_DEFAULT, |v| v as u32),
            temperature_q16: q16(self.number("temperature", 0.0..=2.0)?.unwrap_or(0.0)),
            top_p_q16: q16(fraction("top_p")?.unwrap_or(1.0)).max(1),
            // -1 is vLLM's word for all.
            top_k: self.whole("top_k", -1..=i64::from(u32::MAX))?.map_or(0, |k| k.max(0) as u32),
            min_p_q16: q16(fraction("min_p")?.unwrap_or(0.0)),
            repeat_penalty_q16: repeat,
            frequency_penalty_q16: penalty("frequency_penalty")?,
            presence_penalty_q16: penalty("presence_penalty")?,
            logit_bias: self.logit_bias()?,
            constraint: self.constraint()?,
            stop: self.stop()?,
            top_logprobs: self.top_logprobs()?,
            // vLLM's word; programs that measure send it.
            ignore_eos: self.flag("ignore_eos")?.unwrap_or(false),
            ..GenerateParams::default()
        })
    }

    /// How many log probabilities besides a token's own, if any are wanted.
    fn top_logprobs(&self) -> Result<Option<u32>, Refusal> {
        let wanted = self.flag("logprobs")?.unwrap_or(false);
        match self.whole("top_logprobs", 0..=i64::from(TOP_LOGPROBS_MAX))? {
            Some(_) if !wanted => Err(malformed("`top_logprobs` needs `logprobs`", "add \"logprobs\": true")),
            top => Ok(wanted.then_some(top.map_or(0, |top| top as u32))),
        }
    }

    pub(crate) fn seed(&self) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get("seed") else { return Ok(None) };
        let seed = value.as_u64().or(value.as_i64().map(i64::cast_unsigned));
        seed.map(Some).ok_or_else(|| malformed("`seed` is not a whole number", ""))
    }

    /// How many answers.
    pub(crate) fn choices(&self) -> Result<u32, Refusal> {
        Ok(self.whole("n", 1..=CHOICES_MAX)?.map_or(1, |n| n as u32))
    }

    /// What the answer has to be: as OpenAI says it, or as vLLM does.
    fn constraint(&self) -> Result<Option<Constraint>, Refusal> {
        let schema = self.get("guided_json").map(|schema| schema.as_str().map_or(schema.to_string(), str::to_owned));
        let all = [
            (ConstraintForm::JsonSchema, self.response_format()?),
            (ConstraintForm::JsonSchema, schema),
            (ConstraintForm::Regex, self.text("guided_regex")?),
            (ConstraintForm::Lark, self.text("guided_grammar")?),
        ];
        let mut all = all.into_iter().filter_map(|(form, source)| Some(Constraint { form, source: source? }));
        let first = all.next();
        if all.next().is_some() {
            return Err(malformed("two of `response_format` and `guided_…` say what the answer has to be", "give one"));
        }
        if first.as_ref().is_some_and(|c| !(1..=CONSTRAINT_BYTES_MAX).contains(&c.source.len())) {
            return Err(malformed("what the answer has to be has not 1 to 32,768 bytes", "make it shorter"));
        }
        Ok(first)
    }

    /// The schema of a response format; none for plain text.
    fn response_format(&self) -> Result<Option<String>, Refusal> {
        let Some(format) = self.get("response_format") else { return Ok(None) };
        match (format["type"].as_str(), &format["json_schema"]["schema"]) {
            (Some("text"), _) => Ok(None),
            (Some("json_object"), _) => Ok(Some(dense(&json!({"type": "object"})))),
            (Some("json_schema"), schema) if schema.is_object() => Ok(Some(dense(schema))),
            _ => Err(malformed(
                "`response_format` is no known format",
                "its type is text, json_object, or json_schema with {\"json_schema\": {\"schema\": {…}}}",
            )),
        }
    }

    fn stop(&self) -> Result<Vec<String>, Refusal> {
        let stop: Option<Vec<String>> = match self.get("stop") {
            None => Some(Vec::new()),
            Some(Value::String(stop)) => Some(vec![stop.clone()]),
            Some(Value::Array(stops)) => stops.iter().map(|stop| stop.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        let good = |stop: &String| (1..=STOP_BYTES_MAX).contains(&stop.len());
        let no = || malformed("`stop` is not a text of 1 to 256 bytes, or up to 4 of them", "");
        stop.filter(|stop| stop.len() <= STOPS_MAX && stop.iter().all(good)).ok_or_else(no)
    }

    fn logit_bias(&self) -> Result<Vec<(u32, i32)>, Refusal> {
        let largest = f64::from(BIAS_BAN_Q16.unsigned_abs()) / f64::from(ONE_Q16);
        let one = |(id, bias): (&String, &Value)| {
            let bias = bias.as_f64().filter(|b| b.abs() <= largest)?;
            Some((id.parse().ok()?, signed_q16(bias)))
        };
        let biases = match self.get("logit_bias") {
            None => Some(Vec::new()),
            Some(Value::Object(biases)) => biases.iter().map(one).collect::<Option<Vec<(u32, i32)>>>(),
            Some(_) => None,
        };
        let no =
            || malformed("`logit_bias` is not {\"TOKEN ID\": number from -100 to 100, …} for up to 300 tokens", "");
        let mut biases = biases.filter(|biases| biases.len() <= BIASES_MAX).ok_or_else(no)?;
        biases.sort_unstable();
        match biases.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(malformed(format!("`logit_bias` names token {} twice", pair[0].0), "")),
            None => Ok(biases),
        }
    }
}

/// A fraction of the API in Q16, rounded to the nearest.
#[must_use]
pub fn q16(value: f64) -> u32 {
    (value * f64::from(ONE_Q16)).round() as u32
}

/// The same of a number that may be negative.
#[must_use]
pub fn signed_q16(value: f64) -> i32 {
    (value * f64::from(ONE_Q16)).round() as i32
}
