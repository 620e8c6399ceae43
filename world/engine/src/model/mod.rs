//! A model ready to run: every weight as an integer, in the kernels' order, and the model root.

mod family;
mod image;
mod load;

pub(crate) use load::import as import_matrix;

use crate::error::ModelError;
use crate::kernels::Packed;
use crate::vocabulary::Vocabulary;
use std::path::Path;
use talkoo_base::Digest;
use talkoo_exact::model::model_root;
use talkoo_exact::{Extras, KvFormat, Layer, Manifest};

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

impl LayerWeights {
    /// In the order of loading.
    fn matrices(&self) -> [&Packed; 7] {
        [&self.query, &self.key, &self.value, &self.attention_output, &self.gate, &self.up, &self.down]
    }
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
    /// Digests of all tensors, in canonical order.
    tensors: Vec<Digest>,
    /// Digests of the matrices, in the order of loading.
    matrices: Vec<Digest>,
    /// The file that it was imported from; none if it came from an image.
    origin: Option<image::Origin>,
}

impl Model {
    /// Loads a GGUF file: imports every weight, packs it, and computes the model root. Uses all cores.
    ///
    /// # Errors
    /// If the file cannot be read, is damaged, or needs something this engine does not have.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        load::load(path, None)
    }

    /// Loads a GGUF file whose matrices may stand packed in `image` (see [`Model::save_image`]), which makes
    /// a start several times faster. An image that is missing, damaged or made from another file is ignored.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn load_with(path: &Path, image: &Path) -> Result<Self, ModelError> {
        load::load(path, Some(image))
    }

    /// The same weights with keys and values kept in this format: another version of the contract, and so another
    /// root. Loading makes the first format of [`KvFormat`].
    #[must_use]
    pub fn with_kv(mut self, format: KvFormat) -> Self {
        self.root = self.root_with(format);
        self.manifest.kv = format;
        self
    }

    /// The root that [`Model::with_kv`] would give.
    #[must_use]
    pub fn root_with(&self, format: KvFormat) -> Digest {
        model_root(&Manifest { kv: format, ..self.manifest.clone() }, &self.tensors)
    }

    /// Writes the packed matrices to `image` for the next [`Model::load_with`]; about as many bytes as the
    /// model file. Does nothing if they were loaded from an image.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save_image(&self, image: &Path) -> std::io::Result<()> {
        let Some(origin) = self.origin else { return Ok(()) };
        image::write(image, origin, self.all_matrices().zip(&self.matrices))
    }

    /// Every matrix, in the order of loading.
    fn all_matrices(&self) -> impl Iterator<Item = &Packed> {
        std::iter::once(&self.embedding).chain(self.layers.iter().flat_map(LayerWeights::matrices)).chain(&self.output)
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
        let without = if self.output.is_some() { self.embedding.bytes() } else { 0 };
        self.all_matrices().map(Packed::bytes).sum::<usize>() - without
    }

    /// Bytes that one position of a run takes: keys and values, and a state digest for each layer.
    #[must_use]
    pub fn cache_bytes_per_position(&self) -> usize {
        let shape = &self.manifest.architecture;
        // Codes, a 32-bit mantissa per 32 of them, exponents; for keys and values.
        let head = 2 * (shape.head_dim * self.manifest.kv.code_bytes() + shape.head_dim / 8) + 12;
        shape.layers * (shape.kv_heads * head + size_of::<Digest>())
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
