//! A whole model as integers, and its root: the name under which the network knows it.

use crate::manifest::Manifest;
use crate::matrix::Matrix;
use talkoo_base::{Digest, merkle, sha256};

/// The weights of one layer. Gains are Q16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Gains of the norm before attention, embedding long.
    pub attention_norm: Vec<i32>,
    /// Query projection.
    pub query: Matrix,
    /// Key projection.
    pub key: Matrix,
    /// Value projection.
    pub value: Matrix,
    /// Output projection of attention.
    pub attention_output: Matrix,
    /// Gains of the norm before the feed-forward part.
    pub feed_forward_norm: Vec<i32>,
    /// Gate projection.
    pub gate: Matrix,
    /// Up projection.
    pub up: Matrix,
    /// Down projection.
    pub down: Matrix,
    /// What the plain llama does not have.
    pub extras: Extras,
}

/// The vectors of a layer that the manifest's features name, all in Q16.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Biases of query, key and value.
    pub biases: Option<[Vec<i32>; 3]>,
    /// Gains of the query and key norms, head dim long.
    pub head_norms: Option<[Vec<i32>; 2]>,
    /// Gains of the norms after attention and after the feed-forward part.
    pub post_norms: Option<[Vec<i32>; 2]>,
}

impl Extras {
    /// The digests of what is there, in canonical order.
    #[must_use]
    pub fn digests(&self) -> Vec<Digest> {
        let vectors = self.biases.iter().flatten().chain(self.head_norms.iter().flatten());
        vectors.chain(self.post_norms.iter().flatten()).map(|v| gains_digest(v)).collect()
    }
}

/// A model in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Shape, constants, tokenizer.
    pub manifest: Manifest,
    /// One row per token.
    pub embedding: Matrix,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Gains of the last norm, Q16.
    pub output_norm: Vec<i32>,
    /// Output matrix; absent if it is the embedding.
    pub output: Option<Matrix>,
}

impl Model {
    /// The model root.
    #[must_use]
    pub fn root(&self) -> Digest {
        model_root(&self.manifest, &self.tensors())
    }

    /// The digests of all tensors in canonical order.
    #[must_use]
    pub fn tensors(&self) -> Vec<Digest> {
        let mut items = vec![self.embedding.digest()];
        for l in &self.layers {
            items.push(gains_digest(&l.attention_norm));
            items.extend([&l.query, &l.key, &l.value, &l.attention_output].map(Matrix::digest));
            items.push(gains_digest(&l.feed_forward_norm));
            items.extend([&l.gate, &l.up, &l.down].map(Matrix::digest));
            items.extend(l.extras.digests());
        }
        items.push(gains_digest(&self.output_norm));
        items.extend(self.output.as_ref().map(Matrix::digest));
        items
    }

    /// The matrix that turns the last normed vector into logits.
    #[must_use]
    pub fn output_matrix(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embedding)
    }
}

/// Digest of a vector of gains or biases: SHA-256("talkoo/gains/1" ‖ length u32 BE ‖ gains i32 LE).
#[must_use]
pub fn gains_digest(gains: &[i32]) -> Digest {
    let bytes: Vec<u8> = gains.iter().flat_map(|g| g.to_le_bytes()).collect();
    sha256(&[b"talkoo/gains/1", &(gains.len() as u32).to_be_bytes(), &bytes])
}

/// The root over the manifest and the tensors in canonical order: embedding; per layer attention
/// norm, query, key, value, attention output, feed-forward norm, gate, up, down, then the layer's
/// [`Extras`]; output norm; output matrix if it is not the embedding.
#[must_use]
pub fn model_root(manifest: &Manifest, tensors: &[Digest]) -> Digest {
    let mut items = vec![manifest.digest()];
    items.extend_from_slice(tensors);
    merkle::root("talkoo/model/1", &items)
}
