//! The families of models that GGUF names, and what each is made of: from metadata to a manifest.
//! What the metadata asks for beyond that is refused; the reference for every key is llama.cpp.

use crate::error::ModelError;
use crate::gguf::{Header, Metadata, Value};
use talkoo_base::Digest;
use talkoo_exact::{Activation, Architecture, Features, Manifest, Numbers, Rotation};

/// The rotary base where the file names none: 10,000 as an f32 bit pattern.
const ROPE_BASE_DEFAULT: u32 = 0x461c_4000;
/// Where Gemma 3 names no pattern, every sixth layer sees the whole context.
const GEMMA_PATTERN: usize = 6;
/// Layers of Gemma 3 27B, the one size whose scores are not divided by the root of the head dimension.
const GEMMA_27B_LAYERS: usize = 62;

/// A supported `general.architecture`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Llama 2 and 3, Mistral, SmolLM and many more.
    Llama,
    /// Qwen 2 and 2.5.
    Qwen2,
    /// Qwen 3, dense.
    Qwen3,
    /// Gemma 3, text.
    Gemma3,
    /// Phi 3 with short contexts.
    Phi3,
}

impl Family {
    const ALL: [(&str, Self); 5] = [
        ("llama", Self::Llama),
        ("qwen2", Self::Qwen2),
        ("qwen3", Self::Qwen3),
        ("gemma3", Self::Gemma3),
        ("phi3", Self::Phi3),
    ];

    fn of(metadata: &Metadata) -> Result<(&'static str, Self), ModelError> {
        let name = metadata.string("general.architecture").unwrap_or("none");
        Self::ALL.into_iter().find(|(known, _)| *known == name).ok_or_else(|| {
            let known = Self::ALL.map(|(name, _)| name).join(", ");
            ModelError::unsupported(format!("architecture {name:?}"), format!("one of {known}"))
        })
    }
}

/// The manifest of the model in `header`. `rope_divisors` are the numbers of its `rope_freqs` tensor.
pub(super) fn manifest(header: &Header, rope_divisors: Vec<u32>, vocabulary: Digest) -> Result<Manifest, ModelError> {
    let (name, family) = Family::of(&header.metadata)?;
    let keys = Keys { metadata: &header.metadata, name };
    refuse(&keys)?;
    let rope_scaling = rope_scaling(&keys)?;
    let architecture = architecture(&keys, header)?;
    let features = features(&keys, family, header, architecture.layers)?;
    let epsilon = keys.need_bits("attention.layer_norm_rms_epsilon")?;
    let score_dim = match family {
        Family::Gemma3 if architecture.layers == GEMMA_27B_LAYERS => architecture.embedding / architecture.heads.max(1),
        _ => architecture.head_dim,
    };
    let numbers = Numbers {
        rope_base: keys.bits("rope.freq_base").unwrap_or(ROPE_BASE_DEFAULT),
        rope_divisors,
        rope_scaling,
        local_rope_base: (family == Family::Gemma3)
            .then(|| keys.bits("rope.freq_base_swa").unwrap_or(ROPE_BASE_DEFAULT)),
        epsilon,
        score_dim,
    };
    Manifest::new(architecture, features, &numbers, vocabulary).map_err(ModelError::import("the model's shape"))
}

/// 1 as the bit pattern of an f32.
const ONE: u32 = 0x3f80_0000;

/// Settings that would change what the model computes and that have no rule here, with the one value
/// that changes nothing.
fn refuse(keys: &Keys<'_>) -> Result<(), ModelError> {
    for (key, neutral) in [
        ("expert_count", Value::Unsigned(0)),
        ("final_logit_softcapping", Value::SingleBits(0)),
        ("attn_logit_softcapping", Value::SingleBits(0)),
        ("rope.scaling.attn_factor", Value::SingleBits(ONE)),
        ("attention.causal", Value::Bool(true)),
    ] {
        let key = keys.full(key);
        if keys.metadata.get(&key).is_some_and(|value| *value != neutral) {
            return Err(ModelError::unsupported(key, "a model without it"));
        }
    }
    Ok(())
}

fn architecture(keys: &Keys<'_>, header: &Header) -> Result<Architecture, ModelError> {
    let (heads, embedding) = (keys.need("attention.head_count")?, keys.need("embedding_length")?);
    let head_dim = keys.optional("attention.key_length")?.unwrap_or(embedding / heads.max(1));
    if keys.optional("attention.value_length")?.is_some_and(|v| v != head_dim) {
        return Err(ModelError::unsupported("values of another length than keys", "another model"));
    }
    Ok(Architecture {
        layers: keys.need("block_count")?,
        embedding,
        heads,
        kv_heads: keys.optional("attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        rope_dim: keys.optional("rope.dimension_count")?.unwrap_or(head_dim),
        feed_forward: keys.need("feed_forward_length")?,
        vocabulary: usize::try_from(header.tensor("token_embd.weight")?.dimensions[1]).unwrap_or(usize::MAX),
        context: keys.need("context_length")?,
        tied: !header.tensors.contains_key("output.weight"),
    })
}

fn features(keys: &Keys<'_>, family: Family, header: &Header, layers: usize) -> Result<Features, ModelError> {
    let gemma = family == Family::Gemma3;
    let window = keys.optional("attention.sliding_window")?.unwrap_or(0);
    if window > 0 && matches!(family, Family::Qwen2 | Family::Qwen3) {
        return Err(ModelError::unsupported(keys.full("attention.sliding_window"), "a model without it"));
    }
    let pattern = if gemma { GEMMA_PATTERN } else { 0 };
    Ok(Features {
        biases: header.tensors.contains_key("blk.0.attn_q.bias"),
        head_norms: matches!(family, Family::Qwen3 | Family::Gemma3),
        post_norms: gemma,
        scaled_embedding: gemma,
        rotation: if family == Family::Llama { Rotation::Interleaved } else { Rotation::Halves },
        activation: if gemma { Activation::GeluTanh } else { Activation::Silu },
        window,
        local_layers: if window > 0 { local_layers(keys, layers, pattern)? } else { Vec::new() },
    })
}

/// The local layers: those marked in a list, or all but every `pattern`-th (0: all).
fn local_layers(keys: &Keys<'_>, layers: usize, pattern: usize) -> Result<Vec<usize>, ModelError> {
    let key = keys.full("attention.sliding_window_pattern");
    if let Some(marks) = keys.metadata.integers(&key) {
        if marks.len() != layers {
            return Err(ModelError::damaged(format!("{key} has {} entries for {layers} layers", marks.len())));
        }
        return Ok((0..layers).filter(|l| marks[*l] != 0).collect());
    }
    let pattern = keys.optional("attention.sliding_window_pattern")?.unwrap_or(pattern);
    Ok((0..layers).filter(|l| pattern == 0 || l % pattern < pattern - 1).collect())
}

/// What linear scaling divides the rotary frequencies by.
fn rope_scaling(keys: &Keys<'_>) -> Result<Option<u32>, ModelError> {
    let kind = keys.full("rope.scaling.type");
    let factor = keys.bits("rope.scaling.factor").or_else(|| keys.bits("rope.scale_linear"));
    match keys.metadata.get(&kind) {
        Some(Value::String(name)) if name == "none" => Ok(None),
        Some(Value::String(name)) if name != "linear" => {
            Err(ModelError::unsupported(format!("{kind} {name:?}"), "a model with linear scaling or none"))
        }
        // A factor of zero says that there is none.
        None | Some(Value::String(_)) => Ok(factor.filter(|bits| bits << 1 != 0)),
        Some(_) => Err(ModelError::damaged(format!("{kind} is no name"))),
    }
}

/// The metadata under one architecture's name.
struct Keys<'a> {
    metadata: &'a Metadata,
    name: &'static str,
}

impl Keys<'_> {
    fn full(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    /// A whole number; an error if it is there in another form (one per layer, say).
    fn optional(&self, key: &str) -> Result<Option<usize>, ModelError> {
        let key = self.full(key);
        match (self.metadata.get(&key), self.metadata.u32(&key)) {
            (None, _) => Ok(None),
            (Some(_), Some(v)) => Ok(Some(v as usize)),
            (Some(_), None) => Err(ModelError::unsupported(format!("{key} in this form"), "a model with one number")),
        }
    }

    fn need(&self, key: &str) -> Result<usize, ModelError> {
        self.optional(key)?.ok_or_else(|| ModelError::damaged(format!("{} is missing", self.full(key))))
    }

    /// The bit pattern of an f32.
    fn bits(&self, key: &str) -> Option<u32> {
        self.metadata.single_bits(&self.full(key))
    }

    fn need_bits(&self, key: &str) -> Result<u32, ModelError> {
        self.bits(key).ok_or_else(|| ModelError::damaged(format!("{} is missing", self.full(key))))
    }
}
