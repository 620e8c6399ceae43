//! Which workers a buyer wants: OpenRouter's words for it
//! (<https://openrouter.ai/docs/guides/routing/provider-selection>), for nodes and their operators.

use super::{Check, DecodeError};
use crate::Address;
use serde::{Deserialize, Serialize};

/// Names in one list.
pub const PREFERRED_MAX: usize = 256;

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sort {
    /// The cheapest.
    #[serde(rename = "price")]
    Price,
    /// The most output tokens a second.
    #[serde(rename = "throughput")]
    Throughput,
    /// The soonest first token.
    #[serde(rename = "latency")]
    Latency,
}

/// A buyer's wishes. Each address is a node's or an operator's, whose every node it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    /// What comes first: left out, measured speed.
    pub sort: Option<Sort>,
    /// These before all others, in this order.
    pub order: Vec<Address>,
    /// Nobody but these; anybody if it is empty.
    pub only: Vec<Address>,
    /// None of these.
    pub ignore: Vec<Address>,
    /// Whether others than those of `order` may work.
    pub allow_fallbacks: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self { sort: None, order: Vec::new(), only: Vec::new(), ignore: Vec::new(), allow_fallbacks: true }
    }
}

impl Preferences {
    /// Whether there are none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Check for Preferences {
    fn check(&self) -> Result<(), DecodeError> {
        let lists = [&self.order, &self.only, &self.ignore];
        if lists.iter().any(|list| list.len() > PREFERRED_MAX) {
            return Err(DecodeError::Rule("a list of preferred workers has at most 256 names"));
        }
        Ok(())
    }
}
