//! Texts to vectors: encoders (BERT) under the exact contract, many texts at once.
//!
//! ```text
//! folder ── convert ── GGUF ── load ── Encoder ── WordPiece (text -> ids)
//!                                        └── Embedder (threads): ids -> vectors in Q30, digests
//! ```
//! Every thread takes whole texts through all layers by itself, so nothing waits between layers; texts of one
//! batch share the reading of the weights and nothing else.

mod convert;
mod load;
mod run;
mod safetensors;
mod wordpiece;

pub use convert::{Folder, gguf_of_folder};
pub use run::{Embedded, Embedder};
pub use wordpiece::Encoded;

use crate::error::{ModelError, RunError};
use crate::kernels::Packed;
use std::path::Path;
use talkoo_base::Digest;
use talkoo_exact::embed::{embed, embedding_digest};
use talkoo_exact::encoder::{Layer, Linear, Manifest, Norm};
use wordpiece::WordPiece;

/// A loaded encoder. Immutable; share it with `Arc`.
#[derive(Debug)]
pub struct Encoder {
    manifest: Manifest,
    words: WordPiece,
    tokens: Packed,
    positions: Packed,
    types: Packed,
    /// Position and first token type together: context x embedding, Q16.
    places: Vec<i64>,
    embedding_norm: Norm,
    layers: Vec<Layer<Packed>>,
    root: Digest,
}

impl Encoder {
    /// Loads a GGUF file of architecture "bert". Uses all cores.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or needs something this engine does not have.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::parse(&std::fs::read(path).map_err(|source| ModelError::Read { path: path.into(), source })?)
    }

    /// The same of a file's bytes.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(file: &[u8]) -> Result<Self, ModelError> {
        load::load(file)
    }

    /// The model root.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Numbers of a vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.manifest.shape.embedding
    }

    /// Tokens of a text at most, class token and separator included.
    #[must_use]
    pub fn context_max(&self) -> usize {
        self.manifest.shape.context
    }

    /// The ids of a text; what does not fit the context is cut off.
    #[must_use]
    pub fn encode(&self, text: &str) -> Encoded {
        self.words.encode(text, self.context_max())
    }

    /// Token ids of a text's own between class token and separator; `None` if the vocabulary does not have one of them.
    #[must_use]
    pub fn framed(&self, ids: &[u32]) -> Option<Vec<u32>> {
        let words = self.manifest.shape.vocabulary;
        ids.iter().all(|id| (*id as usize) < words).then(|| self.words.framed(ids))
    }

    /// The model in the form of the definition. Its root is computed anew from the packed weights.
    #[must_use]
    pub fn definition(&self) -> talkoo_exact::encoder::Encoder {
        let linear = |l: &Linear<Packed>| Linear { weights: l.weights.matrix(), bias: l.bias.clone() };
        let layer = |l: &Layer<Packed>| Layer {
            query: linear(&l.query),
            key: linear(&l.key),
            value: linear(&l.value),
            attention_output: linear(&l.attention_output),
            attention_norm: l.attention_norm.clone(),
            up: linear(&l.up),
            down: linear(&l.down),
            output_norm: l.output_norm.clone(),
        };
        talkoo_exact::encoder::Encoder {
            manifest: self.manifest.clone(),
            tokens: self.tokens.matrix(),
            positions: self.positions.matrix(),
            types: self.types.matrix(),
            embedding_norm: self.embedding_norm.clone(),
            layers: self.layers.iter().map(layer).collect(),
        }
    }

    /// The embedding of one text through the scalar definition; for audits.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn define_embed(&self, tokens: &[u32], trace_id: &Digest) -> Result<Embedded, RunError> {
        self.check(tokens)?;
        let embedding = embed(&self.definition(), tokens)?;
        let digest = embedding_digest(trace_id, tokens, &embedding);
        Ok(Embedded { vector: embedding.vector, digest })
    }

    fn check(&self, tokens: &[u32]) -> Result<(), RunError> {
        let (need, have) = (self.context_max() as u32, u32::try_from(tokens.len()).unwrap_or(u32::MAX));
        if have == 0 {
            return Err(RunError::EmptyPrompt);
        }
        if have > need {
            return Err(RunError::PromptTooLong { need, have });
        }
        let vocabulary = self.manifest.shape.vocabulary as u32;
        match tokens.iter().find(|t| **t >= vocabulary) {
            Some(token) => Err(RunError::UnknownToken { token: *token, vocabulary }),
            None => Ok(()),
        }
    }
}
