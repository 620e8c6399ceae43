//! Flags that say how to sample, and the same parameters by name, as ollama has them.

use super::number;
use crate::batch::{JSON_OBJECT, q16, signed_q16};
use clap::Args;
use talkoo_base::limits::{CONSTRAINT_BYTES_MAX, STOP_BYTES_MAX, STOPS_MAX};
use talkoo_base::{Constraint, ConstraintForm, GenerateParams};

/// Flags that say how to sample.
#[derive(Args, Clone)]
pub(crate) struct Sampling {
    /// Output tokens at most.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=131_072))]
    pub(crate) max_tokens: u32,
    /// How freely tokens are drawn, from 0 (always the likeliest) to 2.
    #[arg(long, value_name = "T", default_value_t = 0.0, value_parser = temperature)]
    pub(crate) temperature: f64,
    /// Draw from the K likeliest tokens; 0 draws from all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub(crate) top_k: u32,
    /// Draw from the fewest likeliest tokens that have this probability together.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = fraction)]
    pub(crate) top_p: f64,
    /// Leave out tokens that are less likely than this share of the likeliest.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = fraction)]
    pub(crate) min_p: f64,
    /// Make tokens of prompt and output less likely, up to 2; 1 is off.
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = repeat)]
    pub(crate) repeat_penalty: f64,
    /// Make tokens less likely each time that they come, from -2 to 2.
    #[arg(long, value_name = "F", default_value_t = 0.0, allow_negative_numbers = true, value_parser = penalty)]
    pub(crate) frequency_penalty: f64,
    /// Make tokens less likely once they came, from -2 to 2.
    #[arg(long, value_name = "F", default_value_t = 0.0, allow_negative_numbers = true, value_parser = penalty)]
    pub(crate) presence_penalty: f64,
    /// End before this text; may be given several times.
    #[arg(long, value_name = "TEXT", value_parser = stop)]
    pub(crate) stop: Vec<String>,
    /// What the answer has to be: `json`, or a JSON schema.
    #[arg(long, value_name = "json|SCHEMA", value_parser = format)]
    pub(crate) format: Option<Constraint>,
    /// Seed of the sampler: the same seed draws the same tokens.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

impl Sampling {
    /// How to generate.
    pub(crate) fn params(&self) -> GenerateParams {
        GenerateParams {
            max_tokens: self.max_tokens,
            temperature_q16: q16(self.temperature),
            top_k: self.top_k,
            top_p_q16: q16(self.top_p).max(1),
            min_p_q16: q16(self.min_p),
            repeat_penalty_q16: q16(self.repeat_penalty).max(1),
            frequency_penalty_q16: signed_q16(self.frequency_penalty),
            presence_penalty_q16: signed_q16(self.presence_penalty),
            constraint: self.format.clone(),
            stop: self.stop.clone(),
            ..GenerateParams::default()
        }
    }

    /// Changes one by its name.
    ///
    /// # Errors
    /// What the name or its value should have been.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let whole = |low| move |n: &u32| (low..=131_072).contains(n);
        let count = |low| value.parse().ok().filter(whole(low)).ok_or(format!("a whole number from {low} to 131072"));
        match name {
            "max_tokens" | "num_predict" => self.max_tokens = count(1)?,
            "temperature" => self.temperature = temperature(value)?,
            "top_k" => self.top_k = count(0)?,
            "top_p" => self.top_p = fraction(value)?,
            "min_p" => self.min_p = fraction(value)?,
            "repeat_penalty" => self.repeat_penalty = repeat(value)?,
            "frequency_penalty" => self.frequency_penalty = penalty(value)?,
            "presence_penalty" => self.presence_penalty = penalty(value)?,
            "stop" if self.stop.len() == STOPS_MAX => return Err("one of the 16 to be left out".to_owned()),
            "stop" => self.stop.push(stop(value.trim_matches('"'))?),
            "format" => self.format = if value == "text" { None } else { Some(format(value)?) },
            "seed" => self.seed = value.parse().map_err(|_| "a whole number")?,
            _ => return Err("a name that exists; /? lists them".to_owned()),
        }
        Ok(())
    }
}

fn within(text: &str, low: f64, high: f64) -> Result<f64, String> {
    let value = number(text).unwrap_or(f64::NAN);
    (low..=high).contains(&value).then_some(value).ok_or_else(|| format!("a number from {low} to {high}"))
}

fn temperature(text: &str) -> Result<f64, String> {
    within(text, 0.0, 2.0)
}

fn fraction(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1.0)
}

fn penalty(text: &str) -> Result<f64, String> {
    within(text, -2.0, 2.0)
}

fn repeat(text: &str) -> Result<f64, String> {
    within(text, 0.01, 2.0)
}

fn stop(text: &str) -> Result<String, String> {
    let fits = (1..=STOP_BYTES_MAX).contains(&text.len());
    fits.then(|| text.to_owned()).ok_or_else(|| format!("a text of 1 to {STOP_BYTES_MAX} bytes"))
}

fn format(text: &str) -> Result<Constraint, String> {
    let source = if text == "json" { JSON_OBJECT } else { text };
    let is_schema = source.starts_with('{') && source.len() <= CONSTRAINT_BYTES_MAX;
    let constraint = Constraint { form: ConstraintForm::JsonSchema, source: source.to_owned() };
    is_schema.then_some(constraint).ok_or_else(|| "`json`, or a JSON schema of at most 32,768 bytes".to_owned())
}
