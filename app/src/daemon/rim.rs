//! Where the node meets the world. An honest node passes everything through; the demo's liar, a
//! process of its own, attaches another rim.

use std::path::{Path, PathBuf};
use talkoo_base::Digest;
use talkoo_engine::KvFormat;
use talkoo_node::{Effect, Input};

/// Sees every input on its way in and every effect on its way out.
pub(crate) trait Rim: Send {
    /// An input, before the node sees it. `None` swallows it.
    fn input(&mut self, input: Input) -> Option<Input> {
        Some(input)
    }

    /// An effect, before it is carried out.
    fn effect(&mut self, effect: Effect) -> Effect {
        effect
    }

    /// The file that the engine loads for the program `root`, and the root that it must turn out to have.
    fn model_file(&mut self, root: Digest, _kv: KvFormat, honest: &Path) -> (PathBuf, Digest) {
        (honest.to_owned(), root)
    }
}

/// Passes everything through.
pub(crate) struct Honest;

impl Rim for Honest {}
