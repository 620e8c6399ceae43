//! `params` of a `generate` request: canonical DAG-CBOR of [`GenerateParams`].

use super::{Check, DecodeError, decode, encode};
use crate::GenerateParams;
use crate::generate::ONE_Q16;
use crate::limits::{PARAMS_BYTES_MAX, STOP_BYTES_MAX, STOPS_MAX};
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
}

impl Check for Wire {
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
        let w: Wire = decode(bytes)?;
        Ok(Self {
            max_tokens: w.max_tokens,
            temperature_q16: w.temperature_q16,
            top_k: w.top_k,
            top_p_q16: w.top_p_q16,
            min_p_q16: w.min_p_q16,
            stop_tokens: w.stop_tokens,
            stop: w.stop,
            ignore_eos: w.ignore_eos,
        })
    }
}
