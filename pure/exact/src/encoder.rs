//! A model that reads a whole text at once and answers with one vector (BERT), as integers, and its root.

use crate::CONTRACT;
use crate::constants;
use crate::error::ImportError;
use crate::limits::{BLOCK, COLUMNS_MAX, CONTEXT_MAX, HEAD_DIM_MAX, LAYERS_MAX, NORM_MAX, ROWS_MAX};
use crate::matrix::Matrix;
use crate::model::gains_digest;
use talkoo_base::{Digest, merkle, sha256};

/// How the vectors of all positions become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first position, the class token.
    First,
}

/// The shape of an encoder: absolute positions, attention to all positions, LayerNorm after each part, GELU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Number of layers.
    pub layers: usize,
    /// Length of the residual and of the result.
    pub embedding: usize,
    /// Heads; the head dimension is embedding / heads.
    pub heads: usize,
    /// Length of the feed-forward vector.
    pub feed_forward: usize,
    /// Number of tokens.
    pub vocabulary: usize,
    /// Rows of the token types' matrix, of which the first is used.
    pub types: usize,
    /// Positions at most.
    pub context: usize,
    /// How positions become one vector.
    pub pooling: Pooling,
}

impl Shape {
    /// Dimensions of one head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.embedding / self.heads.max(1)
    }

    /// Checks every number against the contract's limits.
    ///
    /// # Errors
    /// Names the first number outside its limits.
    pub fn check(&self) -> Result<(), ImportError> {
        for (what, have, max, multiple) in [
            ("the number of layers", self.layers, LAYERS_MAX, 1),
            ("the embedding length", self.embedding, NORM_MAX, BLOCK),
            ("the number of heads", self.heads, self.embedding, 1),
            ("the head dimension", self.head_dim(), HEAD_DIM_MAX, BLOCK),
            ("the feed-forward length", self.feed_forward, COLUMNS_MAX, BLOCK),
            ("the vocabulary", self.vocabulary, ROWS_MAX, 1),
            ("the number of token types", self.types, ROWS_MAX, 1),
            ("the context length", self.context, CONTEXT_MAX, 1),
        ] {
            if have == 0 || have > max || !have.is_multiple_of(multiple) {
                let need = format!("a multiple of {multiple} up to {max}");
                return Err(ImportError::OutOfRange { what, need, have: have.to_string() });
            }
        }
        if self.head_dim() * self.heads == self.embedding {
            return Ok(());
        }
        let need = format!("a divisor of {}", self.embedding);
        Err(ImportError::OutOfRange { what: "the number of heads", need, have: self.heads.to_string() })
    }
}

/// Shape, constants and tokenizer of one encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The shape.
    pub shape: Shape,
    /// log2(e) / sqrt(head dim) in Q30.
    pub score_scale: i64,
    /// LayerNorm's epsilon times 2^48.
    pub epsilon: u64,
    /// Digest of the tokenizer.
    pub vocabulary: Digest,
}

impl Manifest {
    /// Computes the constants; `epsilon` is the 32-bit pattern of LayerNorm's.
    ///
    /// # Errors
    /// If a number is outside the contract's limits.
    pub fn new(shape: Shape, epsilon: u32, vocabulary: Digest) -> Result<Self, ImportError> {
        shape.check()?;
        let epsilon = constants::epsilon(epsilon)?;
        let (what, square) = ("the norm's epsilon", (shape.embedding * shape.embedding) as u64);
        if epsilon.checked_mul(square).is_none() {
            let need = format!("less than 2^16 / {square}");
            return Err(ImportError::OutOfRange { what, need, have: format!("{epsilon} * 2^-48") });
        }
        Ok(Self { score_scale: constants::score_scale(shape.head_dim()), epsilon, shape, vocabulary })
    }

    /// SHA-256("talkoo/manifest/1" ‖ canonical bytes): names with a u32 length, numbers as u64, all big-endian.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let s = &self.shape;
        let mut bytes = Vec::new();
        for name in [CONTRACT, "bert"] {
            bytes.extend((name.len() as u32).to_be_bytes());
            bytes.extend(name.as_bytes());
        }
        let pooling = usize::from(s.pooling == Pooling::First);
        for n in [s.layers, s.embedding, s.heads, s.feed_forward, s.vocabulary, s.types, s.context, pooling] {
            bytes.extend((n as u64).to_be_bytes());
        }
        bytes.extend(self.score_scale.to_be_bytes());
        bytes.extend(self.epsilon.to_be_bytes());
        bytes.extend(self.vocabulary.0);
        sha256(&[b"talkoo/manifest/1", &bytes])
    }
}

/// A matrix and what is added to its product, in Q16. `M` is how the matrix is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linear<M = Matrix> {
    /// The weights.
    pub weights: M,
    /// One number per row.
    pub bias: Vec<i32>,
}

/// Gains and biases of a LayerNorm, in Q16.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Norm {
    /// Factors.
    pub gains: Vec<i32>,
    /// What is added.
    pub biases: Vec<i32>,
}

impl Norm {
    /// Both vectors, as [`crate::layernorm::layer_norm`] takes them.
    #[must_use]
    pub fn vectors(&self) -> [&[i32]; 2] {
        [&self.gains, &self.biases]
    }
}

/// The weights of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer<M = Matrix> {
    /// Query projection.
    pub query: Linear<M>,
    /// Key projection.
    pub key: Linear<M>,
    /// Value projection.
    pub value: Linear<M>,
    /// Output projection of attention.
    pub attention_output: Linear<M>,
    /// The norm after attention.
    pub attention_norm: Norm,
    /// First matrix of the feed-forward part.
    pub up: Linear<M>,
    /// Second matrix of the feed-forward part.
    pub down: Linear<M>,
    /// The norm after the feed-forward part.
    pub output_norm: Norm,
}

/// An encoder in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// Shape, constants, tokenizer.
    pub manifest: Manifest,
    /// One row per token.
    pub tokens: Matrix,
    /// One row per position.
    pub positions: Matrix,
    /// One row per token type.
    pub types: Matrix,
    /// The norm of their sum.
    pub embedding_norm: Norm,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
}

impl Encoder {
    /// The model root.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut items = [&self.tokens, &self.positions, &self.types].map(Matrix::digest).to_vec();
        let linear = |l: &Linear| [l.weights.digest(), gains_digest(&l.bias)];
        let norm = |n: &Norm| n.vectors().map(gains_digest);
        items.extend(norm(&self.embedding_norm));
        for l in &self.layers {
            items.extend([&l.query, &l.key, &l.value, &l.attention_output].into_iter().flat_map(linear));
            items.extend(norm(&l.attention_norm));
            items.extend([&l.up, &l.down].into_iter().flat_map(linear));
            items.extend(norm(&l.output_norm));
        }
        encoder_root(&self.manifest, &items)
    }
}

/// The root over the manifest and the tensors in canonical order: the matrices of tokens, positions and types,
/// the embedding's norm; per layer query, key, value, attention output, its norm, up, down, its norm. A matrix is
/// followed by its bias, a norm is its gains and its biases.
#[must_use]
pub fn encoder_root(manifest: &Manifest, tensors: &[Digest]) -> Digest {
    let mut items = vec![manifest.digest()];
    items.extend_from_slice(tensors);
    merkle::root("talkoo/model/1", &items)
}
