//! From a GGUF file to packed integers.

use super::{LayerWeights, Model};
use crate::error::ModelError;
use crate::gguf::{Header, Metadata, Tensor, Value};
use crate::kernels::{Packed, PackedPart};
use crate::vocabulary::Vocabulary;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use talkoo_base::Digest;
use talkoo_exact::import::{Format, Importer, Row};
use talkoo_exact::matrix::{MatrixHasher, check_shape};
use talkoo_exact::model::{gains_digest, model_root};
use talkoo_exact::{Architecture, ImportError, Manifest, constants};

/// The rotary base where the file names none: 10,000 as an f32 bit pattern.
const ROPE_BASE_DEFAULT: u32 = 0x461c_4000;
/// ggml's type number of f32.
const F32: u32 = 0;

pub(super) fn load(path: &Path) -> Result<Model, ModelError> {
    let header = Header::open(path)?;
    let vocabulary = Vocabulary::from_header(&header)?;
    let architecture = architecture(&header)?;
    if architecture.vocabulary != vocabulary.len() {
        return Err(ModelError::damaged(format!(
            "{} embeddings for {} tokens",
            architecture.vocabulary,
            vocabulary.len()
        )));
    }
    let manifest = manifest(&header, architecture, vocabulary.id())?;
    let file = File::open(path).map_err(|source| ModelError::Read { path: path.into(), source })?;
    let mut loader = Loader { path, file, header: &header, tensors: Vec::new(), used: BTreeSet::new() };
    let shape = &manifest.architecture;
    let embedding = loader.matrix("token_embd.weight", shape.vocabulary, shape.embedding)?;
    let layers = (0..shape.layers).map(|i| loader.layer(i, shape)).collect::<Result<_, _>>()?;
    let output_norm = loader.gains("output_norm.weight", shape.embedding)?;
    let output =
        if shape.tied { None } else { Some(loader.matrix("output.weight", shape.vocabulary, shape.embedding)?) };
    loader.check_all_used()?;
    let root = model_root(&manifest, &loader.tensors);
    Ok(Model { manifest, embedding, layers, output_norm, output, vocabulary, root })
}

fn architecture(header: &Header) -> Result<Architecture, ModelError> {
    let m = &header.metadata;
    let name = m.string("general.architecture").unwrap_or("none");
    if name != "llama" {
        return Err(ModelError::unsupported(format!("architecture {name:?}"), "a model of architecture \"llama\""));
    }
    for (key, plain) in [("llama.rope.scaling.type", "none"), ("llama.expert_count", "0")] {
        let used = match m.get(key) {
            Some(Value::String(kind)) => kind != plain,
            Some(value) => value.as_i64() != Some(0),
            None => false,
        };
        if used {
            return Err(ModelError::unsupported(key, "a model without it"));
        }
    }
    let (heads, embedding) = (need(m, "attention.head_count")?, need(m, "embedding_length")?);
    let head_dim = optional(m, "attention.key_length")?.unwrap_or(embedding / heads.max(1));
    if optional(m, "attention.value_length")?.is_some_and(|v| v != head_dim) {
        return Err(ModelError::unsupported("values of another length than keys", "another model"));
    }
    Ok(Architecture {
        layers: need(m, "block_count")?,
        embedding,
        heads,
        kv_heads: optional(m, "attention.head_count_kv")?.unwrap_or(heads),
        head_dim,
        rope_dim: optional(m, "rope.dimension_count")?.unwrap_or(head_dim),
        feed_forward: need(m, "feed_forward_length")?,
        vocabulary: usize::try_from(header.tensor("token_embd.weight")?.dimensions[1]).unwrap_or(usize::MAX),
        context: need(m, "context_length")?,
        tied: !header.tensors.contains_key("output.weight"),
    })
}

/// A whole number under `llama.KEY`; an error if it is there in another form (one per layer, say).
fn optional(metadata: &Metadata, key: &str) -> Result<Option<usize>, ModelError> {
    let key = format!("llama.{key}");
    match (metadata.get(&key), metadata.u32(&key)) {
        (None, _) => Ok(None),
        (Some(_), Some(v)) => Ok(Some(v as usize)),
        (Some(_), None) => Err(ModelError::unsupported(format!("{key} in this form"), "a model with one number")),
    }
}

fn need(metadata: &Metadata, key: &str) -> Result<usize, ModelError> {
    optional(metadata, key)?.ok_or_else(|| ModelError::damaged(format!("llama.{key} is missing")))
}

fn manifest(header: &Header, architecture: Architecture, vocabulary: Digest) -> Result<Manifest, ModelError> {
    let bits = |key: &str| header.metadata.single_bits(&format!("llama.{key}"));
    let base = bits("rope.freq_base").unwrap_or(ROPE_BASE_DEFAULT);
    let epsilon = bits("attention.layer_norm_rms_epsilon")
        .ok_or_else(|| ModelError::damaged("llama.attention.layer_norm_rms_epsilon is missing"))?;
    Manifest::new(architecture, base, epsilon, vocabulary).map_err(ModelError::import("the model's shape"))
}

struct Loader<'a> {
    path: &'a Path,
    file: File,
    header: &'a Header,
    /// Digests in canonical order: the order of loading.
    tensors: Vec<Digest>,
    used: BTreeSet<String>,
}

impl Loader<'_> {
    fn layer(&mut self, i: usize, shape: &Architecture) -> Result<LayerWeights, ModelError> {
        let name = |part: &str| format!("blk.{i}.{part}.weight");
        let (d, ff, q, kv) = (shape.embedding, shape.feed_forward, shape.query(), shape.key());
        Ok(LayerWeights {
            attention_norm: self.gains(&name("attn_norm"), d)?,
            query: self.matrix(&name("attn_q"), q, d)?,
            key: self.matrix(&name("attn_k"), kv, d)?,
            value: self.matrix(&name("attn_v"), kv, d)?,
            attention_output: self.matrix(&name("attn_output"), d, q)?,
            feed_forward_norm: self.gains(&name("ffn_norm"), d)?,
            gate: self.matrix(&name("ffn_gate"), ff, d)?,
            up: self.matrix(&name("ffn_up"), ff, d)?,
            down: self.matrix(&name("ffn_down"), d, ff)?,
        })
    }

    fn tensor(&mut self, name: &str, rows: usize, columns: usize) -> Result<Tensor, ModelError> {
        let tensor = self.header.tensor(name)?;
        if tensor.dimensions != [columns as u64, rows as u64, 1, 1] {
            let found = tensor.dimensions;
            return Err(ModelError::damaged(format!("tensor {name} is {found:?}, not {columns} x {rows}")));
        }
        self.used.insert(name.to_owned());
        Ok(tensor.clone())
    }

    /// The bytes of a tensor; memory is reserved only after the range was checked against the file.
    fn bytes(&mut self, name: &str, tensor: &Tensor, count: usize) -> Result<Vec<u8>, ModelError> {
        self.header.check_range(name, tensor, count as u64)?;
        let mut bytes = vec![0; count];
        let read = self.file.seek(SeekFrom::Start(tensor.offset)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(|source| ModelError::Read { path: self.path.into(), source })?;
        Ok(bytes)
    }

    fn gains(&mut self, name: &str, length: usize) -> Result<Vec<i32>, ModelError> {
        let tensor = self.tensor(name, 1, length)?;
        if tensor.kind != F32 {
            return Err(ModelError::unsupported(format!("{name} of type {}", tensor.kind), "f32 norms"));
        }
        let bytes = self.bytes(name, &tensor, length * 4)?;
        let gain = |b: &[u8]| constants::round_single(u32::from_le_bytes([b[0], b[1], b[2], b[3]]), 16, "a norm gain");
        let gains: Vec<i32> =
            bytes.chunks_exact(4).map(gain).collect::<Result<_, _>>().map_err(ModelError::import(name))?;
        self.tensors.push(gains_digest(&gains));
        Ok(gains)
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Packed, ModelError> {
        let tensor = self.tensor(name, rows, columns)?;
        let format = Format::from_ggml(tensor.kind).ok_or_else(|| {
            let known = Format::ALL.map(|f| format!("{f:?}")).join(", ");
            ModelError::unsupported(format!("{name} of ggml type {}", tensor.kind), format!("one of {known}"))
        })?;
        let row_bytes = check_shape(format, rows, columns).map_err(ModelError::import(name))?;
        let bytes = self.bytes(name, &tensor, rows * row_bytes)?;
        let mut packed = Packed::new(format, rows, columns);
        let digest = import(&mut packed, &bytes, row_bytes).map_err(ModelError::import(name))?;
        self.tensors.push(digest);
        Ok(packed)
    }

    /// A tensor nobody asked for would change what the model computes.
    fn check_all_used(&self) -> Result<(), ModelError> {
        match self.header.tensors.keys().find(|name| !self.used.contains(*name)) {
            Some(name) => Err(ModelError::unsupported(format!("tensor {name}"), "a plain llama model")),
            None => Ok(()),
        }
    }
}

/// Imports all rows with one thread per core, and hashes them in order.
fn import(packed: &mut Packed, bytes: &[u8], row_bytes: usize) -> Result<Digest, ImportError> {
    let (format, columns) = (packed.format, packed.columns);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let parts = packed.parts(threads);
    let hashers: Vec<Result<MatrixHasher, ImportError>> = std::thread::scope(|scope| {
        let part = |part: PackedPart<'_>| import_part(part, format, columns, bytes, row_bytes);
        let workers: Vec<_> = parts.into_iter().map(|p| scope.spawn(move || part(p))).collect();
        workers.into_iter().map(|w| w.join().expect("an import thread does not panic")).collect()
    });
    let mut whole = MatrixHasher::new(format.block(), format.zero_point());
    for hasher in hashers {
        whole.append(hasher?);
    }
    Ok(whole.finish(columns))
}

fn import_part(
    mut part: PackedPart<'_>,
    format: Format,
    columns: usize,
    bytes: &[u8],
    row_bytes: usize,
) -> Result<MatrixHasher, ImportError> {
    let (mut importer, mut row) = (Importer::new(format), Row::default());
    let mut hasher = MatrixHasher::new(format.block(), format.zero_point());
    for r in 0..part.rows {
        let at = (part.first_row + r) * row_bytes;
        importer.read(&bytes[at..at + row_bytes], columns, &mut row)?;
        hasher.push(&row);
        part.write(r, &row);
    }
    Ok(hasher)
}
