//! A model ready to run: every weight as an integer, in the kernels' order, and the model root.

mod family;
mod load;

use crate::error::ModelError;
use crate::kernels::Packed;
use crate::vocabulary::Vocabulary;
use std::path::Path;
use talkoo_base::Digest;
use talkoo_exact::{Extras, Layer, Manifest};

/// One layer's weights; names as in [`Layer`].
#[derive(Debug)]
pub(crate) struct LayerWeights {
    pub(crate) attention_norm: Vec<i32>,
    pub(crate) query: Packed,
    pub(crate) key: Packed,
    pub(crate) value: Packed,
    pub(crate) attention_output: Packed,
    pub(crate) feed_forward_norm: Vec<i32>,
    pub(crate) gate: Packed,
    pub(crate) up: Packed,
    pub(crate) down: Packed,
    pub(crate) extras: Extras,
}

/// A loaded model. Immutable; share it between engines with `Arc`.
#[derive(Debug)]
pub struct Model {
    pub(crate) manifest: Manifest,
    pub(crate) embedding: Packed,
    pub(crate) layers: Vec<LayerWeights>,
    pub(crate) output_norm: Vec<i32>,
    pub(crate) output: Option<Packed>,
    vocabulary: Vocabulary,
    root: Digest,
}

impl Model {
    /// Loads a GGUF file: imports every weight, packs it, and computes the model root. Uses all cores.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or needs something this engine does not have.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        load::load(path)
    }

    /// The model root: digest of all weights in canonical order and of the manifest.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.root
    }

    /// Positions at most: prompt and output together.
    #[must_use]
    pub fn context_max(&self) -> u32 {
        self.manifest.architecture.context as u32
    }

    /// The tokenizer, chat template and end tokens.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Shape, constants and tokenizer digest under the exact contract.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Bytes of weights that one output token reads: all matrices but the rows of the embedding.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let layer = |l: &LayerWeights| {
            let matrices = [&l.query, &l.key, &l.value, &l.attention_output, &l.gate, &l.up, &l.down];
            matrices.iter().map(|m| m.bytes()).sum::<usize>()
        };
        self.layers.iter().map(layer).sum::<usize>() + self.output_matrix().bytes()
    }

    /// Bytes of key-value cache that one position takes.
    #[must_use]
    pub fn cache_bytes_per_position(&self) -> usize {
        let shape = &self.manifest.architecture;
        // Codes, a 32-bit mantissa per 32 of them, exponents; for keys and values.
        shape.layers * shape.kv_heads * (2 * (shape.head_dim + shape.head_dim / 8) + 12)
    }

    /// The model in the form of the definition: about twice the file in memory. Its root is
    /// computed anew from the packed weights, so it also shows that packing lost nothing.
    #[must_use]
    pub fn definition(&self) -> talkoo_exact::Model {
        let layer = |l: &LayerWeights| Layer {
            attention_norm: l.attention_norm.clone(),
            query: l.query.matrix(),
            key: l.key.matrix(),
            value: l.value.matrix(),
            attention_output: l.attention_output.matrix(),
            feed_forward_norm: l.feed_forward_norm.clone(),
            gate: l.gate.matrix(),
            up: l.up.matrix(),
            down: l.down.matrix(),
            extras: l.extras.clone(),
        };
        talkoo_exact::Model {
            manifest: self.manifest.clone(),
            embedding: self.embedding.matrix(),
            layers: self.layers.iter().map(layer).collect(),
            output_norm: self.output_norm.clone(),
            output: self.output.as_ref().map(Packed::matrix),
        }
    }

    pub(crate) fn output_matrix(&self) -> &Packed {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}
