//! What a model is besides its weights: shape, constants, tokenizer. Its hash is part of the model root.

use crate::constants;
use crate::error::ImportError;
use crate::features::{Activation, Features, Rotation};
use crate::kv::KvFormat;
use crate::limits::{BLOCK, COLUMNS_MAX, CONTEXT_MAX, HEAD_DIM_MAX, LAYERS_MAX, NORM_MAX, ROWS_MAX};
use talkoo_base::{Digest, sha256};

/// The shape of a llama-like model: RMSNorm, grouped-query attention with rotary positions, a gated feed-forward part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Number of layers.
    pub layers: usize,
    /// Length of the residual vector.
    pub embedding: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Dimensions of one head, a multiple of 32.
    pub head_dim: usize,
    /// Dimensions of a head that are rotated, from its start.
    pub rope_dim: usize,
    /// Length of the feed-forward vector.
    pub feed_forward: usize,
    /// Number of tokens.
    pub vocabulary: usize,
    /// Positions at most.
    pub context: usize,
    /// The output matrix is the embedding.
    pub tied: bool,
}

impl Architecture {
    /// Checks every number against the contract's limits.
    ///
    /// # Errors
    /// Names the first number outside its limits.
    pub fn check(&self) -> Result<(), ImportError> {
        let refuse =
            |what, need: String, have: usize| Err(ImportError::OutOfRange { what, need, have: have.to_string() });
        for (what, have, max, multiple) in [
            ("the number of layers", self.layers, LAYERS_MAX, 1),
            ("the embedding length", self.embedding, NORM_MAX, BLOCK),
            ("the feed-forward length", self.feed_forward, COLUMNS_MAX, BLOCK),
            ("the head dimension", self.head_dim, HEAD_DIM_MAX, BLOCK),
            ("the rotated dimensions", self.rope_dim, self.head_dim, 2),
            ("the number of heads", self.heads, COLUMNS_MAX / self.head_dim.max(1), 1),
            ("the vocabulary", self.vocabulary, ROWS_MAX, 1),
            ("the context length", self.context, CONTEXT_MAX, 1),
        ] {
            if have == 0 || have > max || !have.is_multiple_of(multiple) {
                return refuse(what, format!("a multiple of {multiple} up to {max}"), have);
            }
        }
        if self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            return refuse("the number of key-value heads", format!("a divisor of {}", self.heads), self.kv_heads);
        }
        Ok(())
    }

    /// Length of all query heads together.
    #[must_use]
    pub fn query(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Length of all key heads together.
    #[must_use]
    pub fn key(&self) -> usize {
        self.kv_heads * self.head_dim
    }
}

/// What a manifest's constants are computed from: 32-bit patterns of the model file, and a length.
#[derive(Clone, Debug)]
pub struct Numbers {
    /// Base of the rotary frequencies.
    pub rope_base: u32,
    /// What each frequency is divided by (Llama 3); empty if by nothing.
    pub rope_divisors: Vec<u32>,
    /// What all frequencies are divided by (linear scaling).
    pub rope_scaling: Option<u32>,
    /// Base in local layers, where nothing is divided; `None` if they rotate as the others.
    pub local_rope_base: Option<u32>,
    /// RMSNorm's epsilon.
    pub epsilon: u32,
    /// Scores are divided by the root of this: mostly the head dimension.
    pub score_dim: usize,
}

/// Architecture, constants and tokenizer of one model under this contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The shape.
    pub architecture: Architecture,
    /// What the model has beyond the plain llama.
    pub features: Features,
    /// How keys and values are kept: no matter of the model file, but of the contract's version.
    pub kv: KvFormat,
    /// Rotary frequencies in 2^-64 turns per position, rope_dim / 2 of them.
    pub frequencies: Vec<u64>,
    /// The same for local layers; empty if they rotate as the others.
    pub local_frequencies: Vec<u64>,
    /// Factor of the embedding in Q16.
    pub embedding_scale: i64,
    /// log2(e) / sqrt(head_dim) in Q30.
    pub score_scale: i64,
    /// RMSNorm's epsilon times 2^48.
    pub epsilon: u64,
    /// Digest of tokenizer, chat template and end tokens.
    pub vocabulary: Digest,
}

impl Manifest {
    /// Computes the constants from the numbers in the model file.
    ///
    /// # Errors
    /// If a number is outside the contract's limits.
    pub fn new(
        architecture: Architecture,
        features: Features,
        numbers: &Numbers,
        vocabulary: Digest,
    ) -> Result<Self, ImportError> {
        architecture.check()?;
        check_window(&architecture, &features)?;
        let dimensions = architecture.rope_dim;
        let divisors = constants::divisors(&numbers.rope_divisors, numbers.rope_scaling, dimensions)?;
        let local = numbers.local_rope_base.filter(|_| features.window > 0);
        Ok(Self {
            frequencies: constants::frequencies(numbers.rope_base, dimensions, &divisors)?,
            local_frequencies: match local {
                Some(base) => constants::frequencies(base, dimensions, &[])?,
                None => Vec::new(),
            },
            embedding_scale: if features.scaled_embedding { constants::root(architecture.embedding) } else { 1 << 16 },
            score_scale: constants::score_scale(numbers.score_dim),
            epsilon: constants::epsilon(numbers.epsilon)?,
            architecture,
            features,
            kv: KvFormat::default(),
            vocabulary,
        })
    }

    /// The rotary frequencies of local layers.
    #[must_use]
    pub fn frequencies_of_local(&self) -> &Vec<u64> {
        if self.local_frequencies.is_empty() { &self.frequencies } else { &self.local_frequencies }
    }

    /// The canonical bytes: names with a u32 length, numbers as u64, all big-endian, in this order.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let a = &self.architecture;
        let mut out = Vec::new();
        for name in [self.kv.contract(), "llama"] {
            out.extend((name.len() as u32).to_be_bytes());
            out.extend(name.as_bytes());
        }
        let shape = [
            a.layers,
            a.embedding,
            a.heads,
            a.kv_heads,
            a.head_dim,
            a.rope_dim,
            a.feed_forward,
            a.vocabulary,
            a.context,
            usize::from(a.tied),
            self.frequencies.len(),
        ];
        out.extend(shape.iter().flat_map(|n| (*n as u64).to_be_bytes()));
        out.extend(self.frequencies.iter().flat_map(|n| n.to_be_bytes()));
        out.extend(self.score_scale.to_be_bytes());
        out.extend(self.epsilon.to_be_bytes());
        out.extend(self.vocabulary.0);
        if self.features != Features::default() {
            out.extend(self.extension().iter().flat_map(|n| n.to_be_bytes()));
        }
        out
    }

    /// What follows the bytes of a plain llama if the model is none.
    fn extension(&self) -> Vec<u64> {
        let f = &self.features;
        let flags = [f.biases, f.head_norms, f.post_norms, f.rotation == Rotation::Halves];
        let mut out: Vec<u64> = flags.map(u64::from).to_vec();
        out.push(u64::from(f.activation == Activation::GeluTanh));
        out.extend([self.embedding_scale as u64, f.window as u64, f.local_layers.len() as u64]);
        out.extend(f.local_layers.iter().map(|l| *l as u64));
        out.push(self.local_frequencies.len() as u64);
        out.extend(&self.local_frequencies);
        out
    }

    /// SHA-256("talkoo/manifest/1" ‖ canonical bytes).
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&[b"talkoo/manifest/1", &self.bytes()])
    }
}

/// A window and local layers come together, and the layers are the model's, in order.
pub(crate) fn check_window(architecture: &Architecture, features: &Features) -> Result<(), ImportError> {
    let layers = &features.local_layers;
    let ascending = layers.is_sorted_by(|a, b| a < b) && layers.last().is_none_or(|l| *l < architecture.layers);
    if ascending && features.window <= CONTEXT_MAX && (features.window == 0) == layers.is_empty() {
        return Ok(());
    }
    Err(ImportError::OutOfRange {
        what: "the attention window",
        need: format!("1..={CONTEXT_MAX} positions in some layers"),
        have: format!("{} in {} layers", features.window, layers.len()),
    })
}
