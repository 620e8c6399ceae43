//! The numbers of Talkoo: a transformer as an integer program, contract "IR-1" (`docs/EXACT.md`).
//!
//! This crate is the definition. It is written to be read and re-implemented: one position at a
//! time, no lanes, no threads. Integer sums have no order, so an engine may reorder, batch and
//! split as it likes and must still give these bits; `world/engine` is tested against this crate.
//!
//! There is no floating-point type here, not even for constants: they are computed in big integer
//! arithmetic ([`constants`]) and become part of the model's identity ([`model`]).
//!
//! It deliberately does not read files, tokenise, or run fast.
#![deny(clippy::float_arithmetic)]
#![forbid(unsafe_code)]

pub mod arith;
pub mod attention;
pub mod constants;
pub mod embed;
pub mod encoder;
pub mod error;
pub mod exp;
pub mod features;
mod fixed;
pub mod forward;
pub mod gelu;
pub mod import;
pub mod kv;
pub mod layernorm;
pub mod limits;
pub mod logprobs;
pub mod manifest;
pub mod matrix;
pub mod model;
pub mod norm;
pub mod quantize;
pub mod rope;
pub mod sample;
pub mod steps;
pub mod trace;

pub use error::{ImportError, RangeError};
pub use features::{Activation, Features, Rotation};
pub use forward::{Kv, Step, forward, logits};
pub use kv::{CachedHead, KvFormat};
pub use manifest::{Architecture, Manifest, Numbers};
pub use matrix::Matrix;
pub use model::{Extras, Layer, Model};

/// Name of the numeric contract; part of every manifest and so of every model root. See [`KvFormat::contract`] for
/// its other version.
pub const CONTRACT: &str = "IR-1";

// What tests of other crates share names it as they do.
#[cfg(test)]
extern crate self as talkoo_exact;
#[cfg(test)]
mod tests;
