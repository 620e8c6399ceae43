//! `params` of a `generate` request: canonical DAG-CBOR of [`GenerateParams`]. What came later than
//! the first fields is left out where it asks for nothing, so that requests without it keep their bytes.

use super::{Check, DecodeError, decode_shape, encode};
use crate::generate::{BIAS_BAN_Q16, CONSTRAINT_DIALECT, ONE_Q16, PENALTY_MAX_Q16};
use crate::limits::{BIASES_MAX, CONSTRAINT_BYTES_MAX, PARAMS_BYTES_MAX, STOP_BYTES_MAX, STOPS_MAX, TOP_LOGPROBS_MAX};
use crate::{Constraint, ConstraintForm, GenerateParams};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Wire {
    max_tokens: u32,
    temperature_q16: u32,
    top_k: u32,
    top_p_q16: u32,
    min_p_q16: u32,
    stop_tokens: Vec<u32>,
    stop: Vec<String>,
    ignore_eos: bool,
    #[serde(default = "one", skip_serializing_if = "is_one")]
    repeat_penalty_q16: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    frequency_penalty_q16: i32,
    #[serde(default, skip_serializing_if = "is_zero")]
    presence_penalty_q16: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    logit_bias: Vec<(u32, i32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    constraint: Option<WireConstraint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct WireConstraint {
    /// [`CONSTRAINT_DIALECT`].
    dialect: String,
    form: String,
    source: String,
}

impl WireConstraint {
    fn of(constraint: Constraint) -> Self {
        let Constraint { form, source } = constraint;
        Self { dialect: CONSTRAINT_DIALECT.to_owned(), form: form.name().to_owned(), source }
    }

    fn open(self) -> Result<Constraint, DecodeError> {
        if self.dialect != CONSTRAINT_DIALECT {
            return Err(DecodeError::Rule("the constraint is in another dialect; update one of the two nodes"));
        }
        let form = ConstraintForm::from_name(&self.form).ok_or(DecodeError::Rule("unknown form of a constraint"))?;
        Ok(Constraint { form, source: self.source })
    }
}

fn one() -> u32 {
    ONE_Q16
}

fn is_one(value: &u32) -> bool {
    *value == ONE_Q16
}

fn is_zero(value: &i32) -> bool {
    *value == 0
}

impl Check for GenerateParams {
    fn check(&self) -> Result<(), DecodeError> {
        if self.max_tokens == 0 {
            return Err(DecodeError::Rule("max_tokens is 0: nothing to generate"));
        }
        if self.top_p_q16 == 0 || self.top_p_q16 > ONE_Q16 || self.min_p_q16 > ONE_Q16 {
            return Err(DecodeError::Rule("top_p must be in (0, 1] and min_p in [0, 1]"));
        }
        if self.stop_tokens.len() > STOPS_MAX || self.stop.len() > STOPS_MAX {
            return Err(DecodeError::Rule("too many stops: at most 16"));
        }
        if self.stop.iter().any(|s| s.is_empty() || s.len() > STOP_BYTES_MAX) {
            return Err(DecodeError::Rule("a stop string must have 1 to 256 bytes"));
        }
        if self.repeat_penalty_q16 == 0 || self.repeat_penalty_q16 > 2 * ONE_Q16 {
            return Err(DecodeError::Rule("the repeat penalty must be in (0, 2]"));
        }
        let largest = PENALTY_MAX_Q16.unsigned_abs();
        if [self.frequency_penalty_q16, self.presence_penalty_q16].iter().any(|p| p.unsigned_abs() > largest) {
            return Err(DecodeError::Rule("frequency and presence penalties must be in [-2, 2]"));
        }
        let bias = &self.logit_bias;
        if bias.len() > BIASES_MAX || bias.iter().any(|(_, b)| b.unsigned_abs() > BIAS_BAN_Q16.unsigned_abs()) {
            return Err(DecodeError::Rule("at most 300 tokens may have a bias, each in [-100, 100]"));
        }
        if !bias.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(DecodeError::Rule("biased tokens must be in ascending order, each once"));
        }
        if self.constraint.as_ref().is_some_and(|c| !(1..=CONSTRAINT_BYTES_MAX).contains(&c.source.len())) {
            return Err(DecodeError::Rule("a constraint must have 1 to 32,768 bytes"));
        }
        if self.constraint.is_some() && self.ignore_eos {
            return Err(DecodeError::Rule("a constraint ends with an end token: it cannot be ignored"));
        }
        if self.top_logprobs.is_some_and(|n| n > TOP_LOGPROBS_MAX) {
            return Err(DecodeError::Rule("top_logprobs must be in 0..=20"));
        }
        Ok(())
    }
}

impl GenerateParams {
    /// The bytes that a request carries and signs.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let p = self.clone();
        encode(&Wire {
            max_tokens: p.max_tokens,
            temperature_q16: p.temperature_q16,
            top_k: p.top_k,
            top_p_q16: p.top_p_q16,
            min_p_q16: p.min_p_q16,
            stop_tokens: p.stop_tokens,
            stop: p.stop,
            ignore_eos: p.ignore_eos,
            repeat_penalty_q16: p.repeat_penalty_q16,
            frequency_penalty_q16: p.frequency_penalty_q16,
            presence_penalty_q16: p.presence_penalty_q16,
            logit_bias: p.logit_bias,
            constraint: p.constraint.map(WireConstraint::of),
            top_logprobs: p.top_logprobs,
        })
    }

    /// Reads and checks a request's `params`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > PARAMS_BYTES_MAX {
            return Err(DecodeError::TooLarge { have: bytes.len() });
        }
        let w: Wire = decode_shape(bytes)?;
        let params = Self {
            max_tokens: w.max_tokens,
            temperature_q16: w.temperature_q16,
            top_k: w.top_k,
            top_p_q16: w.top_p_q16,
            min_p_q16: w.min_p_q16,
            stop_tokens: w.stop_tokens,
            stop: w.stop,
            ignore_eos: w.ignore_eos,
            repeat_penalty_q16: w.repeat_penalty_q16,
            frequency_penalty_q16: w.frequency_penalty_q16,
            presence_penalty_q16: w.presence_penalty_q16,
            logit_bias: w.logit_bias,
            constraint: w.constraint.map(WireConstraint::open).transpose()?,
            top_logprobs: w.top_logprobs,
        };
        params.check()?;
        Ok(params)
    }
}
