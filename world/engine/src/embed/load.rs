//! From a GGUF file of architecture "bert" to packed integers. Names and keys are llama.cpp's.

use super::{Encoder, wordpiece::WordPiece};
use crate::error::ModelError;
use crate::gguf::{Header, Value};
use crate::kernels::Packed;
use crate::model::import_matrix;
use std::collections::BTreeSet;
use talkoo_base::Digest;
use talkoo_exact::constants;
use talkoo_exact::encoder::{Layer, Linear, Manifest, Norm, Pooling, Shape, encoder_root};
use talkoo_exact::import::Format;
use talkoo_exact::matrix::{check_shape, embed_row};
use talkoo_exact::model::gains_digest;

pub(super) fn load(file: &[u8]) -> Result<Encoder, ModelError> {
    let header = Header::parse(file, file.len() as u64)?;
    let words = words(&header)?;
    let manifest = manifest(&header, words.id())?;
    let mut loader = Loader { file, header: &header, tensors: Vec::new(), used: BTreeSet::new() };
    let (s, d) = (manifest.shape.clone(), manifest.shape.embedding);
    let tokens = loader.matrix("token_embd.weight", s.vocabulary, d)?;
    let positions = loader.matrix("position_embd.weight", s.context, d)?;
    let types = loader.matrix("token_types.weight", s.types, d)?;
    let embedding_norm = loader.norm("token_embd_norm", d)?;
    let layers = (0..s.layers).map(|l| loader.layer(l, &s)).collect::<Result<_, _>>()?;
    if let Some(name) = header.tensors.keys().find(|name| !loader.used.contains(*name)) {
        return Err(ModelError::unsupported(format!("tensor {name}"), "a plain BERT"));
    }
    let root = encoder_root(&manifest, &loader.tensors);
    let places = places(&positions, &types)?;
    Ok(Encoder { manifest, words, tokens, positions, types, places, embedding_norm, layers, root })
}

/// Per position, its row and that of the first token type together.
fn places(positions: &Packed, types: &Packed) -> Result<Vec<i64>, ModelError> {
    let row = |m: &Packed, r| embed_row(&m.row(r), m.format.block(), m.format.zero_point(), 1 << 16);
    let broken = |why| ModelError::damaged(format!("positions or token types: {why}"));
    let kind = row(types, 0).map_err(broken)?;
    let mut out = Vec::with_capacity(positions.rows * positions.columns);
    for p in 0..positions.rows {
        out.extend(row(positions, p).map_err(broken)?.iter().zip(&kind).map(|(p, k)| p + k));
    }
    Ok(out)
}

fn words(header: &Header) -> Result<WordPiece, ModelError> {
    let m = &header.metadata;
    let kind = m.string("tokenizer.ggml.model").unwrap_or("none");
    if kind != "bert" {
        return Err(ModelError::unsupported(format!("tokenizer {kind:?}"), "a model with WordPiece (\"bert\")"));
    }
    let missing = || ModelError::damaged("tokenizer.ggml.tokens is missing");
    WordPiece::new(m.strings("tokenizer.ggml.tokens").ok_or_else(missing)?)
}

fn manifest(header: &Header, vocabulary: Digest) -> Result<Manifest, ModelError> {
    let m = &header.metadata;
    let name = m.string("general.architecture").unwrap_or("none");
    if name != "bert" {
        return Err(ModelError::unsupported(format!("architecture {name:?} for embeddings"), "a \"bert\" model"));
    }
    let need = |key: &str| {
        let found = m.u32(&format!("bert.{key}")).map(|v| v as usize);
        found.ok_or_else(|| ModelError::damaged(format!("bert.{key} is missing")))
    };
    if m.get("bert.attention.causal").is_some_and(|v| *v != Value::Bool(false)) {
        return Err(ModelError::unsupported("bert.attention.causal", "a model without it"));
    }
    let pooling = match need("pooling_type")? {
        1 => Pooling::Mean,
        2 => Pooling::First,
        other => return Err(ModelError::unsupported(format!("pooling {other}"), "mean (1) or class token (2)")),
    };
    let rows = |name| header.tensor(name).map(|t| usize::try_from(t.dimensions[1]).unwrap_or(usize::MAX));
    let shape = Shape {
        layers: need("block_count")?,
        embedding: need("embedding_length")?,
        heads: need("attention.head_count")?,
        feed_forward: need("feed_forward_length")?,
        vocabulary: rows("token_embd.weight")?,
        types: rows("token_types.weight")?,
        context: need("context_length")?,
        pooling,
    };
    let tokens = m.strings("tokenizer.ggml.tokens").map_or(0, <[_]>::len);
    if shape.vocabulary != tokens {
        return Err(ModelError::damaged(format!("{} embeddings for {tokens} tokens", shape.vocabulary)));
    }
    let epsilon = "bert.attention.layer_norm_epsilon";
    let epsilon = m.single_bits(epsilon).ok_or_else(|| ModelError::damaged(format!("{epsilon} is missing")))?;
    if shape.context < 2 {
        return Err(ModelError::unsupported("a context of one token", "a model with room for text"));
    }
    Manifest::new(shape, epsilon, vocabulary).map_err(ModelError::import("the model's shape"))
}

struct Loader<'a> {
    file: &'a [u8],
    header: &'a Header,
    /// Digests in canonical order: the order of loading.
    tensors: Vec<Digest>,
    used: BTreeSet<String>,
}

impl Loader<'_> {
    fn layer(&mut self, l: usize, s: &Shape) -> Result<Layer<Packed>, ModelError> {
        let (d, wide, name) = (s.embedding, s.feed_forward, |part: &str| format!("blk.{l}.{part}"));
        Ok(Layer {
            query: self.linear(&name("attn_q"), d, d)?,
            key: self.linear(&name("attn_k"), d, d)?,
            value: self.linear(&name("attn_v"), d, d)?,
            attention_output: self.linear(&name("attn_output"), d, d)?,
            attention_norm: self.norm(&name("attn_output_norm"), d)?,
            up: self.linear(&name("ffn_up"), wide, d)?,
            down: self.linear(&name("ffn_down"), d, wide)?,
            output_norm: self.norm(&name("layer_output_norm"), d)?,
        })
    }

    fn linear(&mut self, name: &str, rows: usize, columns: usize) -> Result<Linear<Packed>, ModelError> {
        let weights = self.matrix(&format!("{name}.weight"), rows, columns)?;
        Ok(Linear { weights, bias: self.vector(&format!("{name}.bias"), rows)? })
    }

    fn norm(&mut self, name: &str, length: usize) -> Result<Norm, ModelError> {
        let gains = self.vector(&format!("{name}.weight"), length)?;
        Ok(Norm { gains, biases: self.vector(&format!("{name}.bias"), length)? })
    }

    /// The bytes of a tensor of this shape, and its format.
    fn tensor(&mut self, name: &str, rows: usize, columns: usize) -> Result<(&[u8], Format), ModelError> {
        let tensor = self.header.tensor(name)?;
        if tensor.dimensions != [columns as u64, rows as u64, 1, 1] {
            let found = tensor.dimensions;
            return Err(ModelError::damaged(format!("tensor {name} is {found:?}, not {columns} x {rows}")));
        }
        let format = Format::from_ggml(tensor.kind).ok_or_else(|| {
            let known = Format::ALL.map(|f| format!("{f:?}")).join(", ");
            ModelError::unsupported(format!("{name} of ggml type {}", tensor.kind), format!("one of {known}"))
        })?;
        let count = rows * check_shape(format, rows, columns).map_err(ModelError::import(name))?;
        self.header.check_range(name, tensor, count as u64)?;
        self.used.insert(name.to_owned());
        let from = usize::try_from(tensor.offset).unwrap_or(usize::MAX);
        Ok((&self.file[from..from + count], format))
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Packed, ModelError> {
        let (bytes, format) = self.tensor(name, rows, columns)?;
        let mut packed = Packed::new(format, rows, columns);
        let digest = import_matrix(&mut packed, bytes, bytes.len() / rows).map_err(ModelError::import(name))?;
        self.tensors.push(digest);
        Ok(packed)
    }

    /// Gains or biases in Q16.
    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<i32>, ModelError> {
        let (bytes, format) = self.tensor(name, 1, length)?;
        if format != Format::F32 {
            return Err(ModelError::unsupported(format!("{name} in {format:?}"), "f32 vectors"));
        }
        let bits = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let vector: Result<Vec<i32>, _> = bits.map(|b| constants::round_single(b, 16, "a gain or bias")).collect();
        let vector = vector.map_err(ModelError::import(name))?;
        self.tensors.push(gains_digest(&vector));
        Ok(vector)
    }
}
