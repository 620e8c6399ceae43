//! From a GGUF file to packed integers.

use super::image::{Image, Origin};
use super::{LayerWeights, Model, family};
use crate::error::ModelError;
use crate::gguf::{Header, Tensor};
use crate::kernels::{Packed, PackedPart};
use crate::vocabulary::Vocabulary;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use talkoo_base::Digest;
use talkoo_exact::import::{Format, Importer, Row};
use talkoo_exact::limits::HEAD_DIM_MAX;
use talkoo_exact::matrix::{MatrixHasher, check_shape};
use talkoo_exact::model::{gains_digest, model_root};
use talkoo_exact::{Extras, ImportError, Manifest, constants};

/// ggml's type number of f32.
const F32: u32 = 0;

/// Loads from the image if it is there, whole and of this file; from the file otherwise.
pub(super) fn load(path: &Path, image: Option<&Path>) -> Result<Model, ModelError> {
    let header = Header::open(path)?;
    // The vocabulary takes as long as mapping an image, and needs nothing of it.
    std::thread::scope(|scope| {
        let vocabulary = scope.spawn(|| Vocabulary::from_header(&header));
        let mut loader = Loader::open(&header)?;
        loader.image = image.zip(loader.origin).and_then(|(image, origin)| Image::open(image, origin));
        let weights = match loader.weights() {
            Err(_) if loader.image.is_some() => {
                loader = Loader::open(&header)?;
                loader.weights()
            }
            weights => weights,
        };
        let vocabulary = vocabulary.join().expect("reading a vocabulary does not panic")?;
        loader.model(weights?, vocabulary)
    })
}

/// What the matrices and vectors of a file make.
struct Weights {
    manifest: Manifest,
    embedding: Packed,
    layers: Vec<LayerWeights>,
    output_norm: Vec<i32>,
    output: Option<Packed>,
}

struct Loader<'a> {
    /// One per part of the model.
    files: Vec<File>,
    header: &'a Header,
    origin: Option<Origin>,
    image: Option<Image>,
    /// Digests in canonical order: the order of loading.
    tensors: Vec<Digest>,
    /// Those of the matrices.
    matrices: Vec<Digest>,
    used: BTreeSet<String>,
}

/// The rows of a tensor that make a matrix.
struct Piece {
    name: String,
    rows: Range<usize>,
    /// Rows of the tensor.
    all: usize,
}

impl<'a> Loader<'a> {
    fn open(header: &'a Header) -> Result<Self, ModelError> {
        let open = |(path, _): &(PathBuf, u64)| {
            File::open(path).map_err(|source| ModelError::Read { path: path.into(), source })
        };
        let files: Vec<File> = header.parts.iter().map(open).collect::<Result<_, _>>()?;
        let (origin, image) = (Origin::of(&files), None);
        let (tensors, matrices, used) = (Vec::new(), Vec::new(), BTreeSet::new());
        Ok(Self { files, header, origin, image, tensors, matrices, used })
    }

    fn weights(&mut self) -> Result<Weights, ModelError> {
        // The vocabulary's digest takes its place at the end.
        let manifest = family::manifest(self.header, self.rope_divisors()?, Digest::ZERO)?;
        let shape = &manifest.architecture;
        let tokens = self.header.metadata.strings("tokenizer.ggml.tokens").map_or(0, <[_]>::len);
        if shape.vocabulary != tokens {
            return Err(ModelError::damaged(format!("{} embeddings for {tokens} tokens", shape.vocabulary)));
        }
        let embedding = self.matrix("token_embd.weight", shape.vocabulary, shape.embedding)?;
        let layers = (0..shape.layers).map(|i| self.layer(i, &manifest)).collect::<Result<_, _>>()?;
        let output_norm = self.gains("output_norm.weight", shape.embedding)?;
        let output =
            if shape.tied { None } else { Some(self.matrix("output.weight", shape.vocabulary, shape.embedding)?) };
        self.check_all_used()?;
        Ok(Weights { manifest, embedding, layers, output_norm, output })
    }

    fn model(self, weights: Weights, vocabulary: Vocabulary) -> Result<Model, ModelError> {
        let Weights { mut manifest, embedding, layers, output_norm, output } = weights;
        manifest.vocabulary = vocabulary.id();
        let root = model_root(&manifest, &self.tensors);
        let origin = self.origin.filter(|_| self.image.is_none());
        let (tensors, matrices) = (self.tensors, self.matrices);
        Ok(Model { manifest, embedding, layers, output_norm, output, vocabulary, root, tensors, matrices, origin })
    }
}

impl Loader<'_> {
    fn layer(&mut self, i: usize, manifest: &Manifest) -> Result<LayerWeights, ModelError> {
        let shape = &manifest.architecture;
        let name = |part: &str| format!("blk.{i}.{part}.weight");
        let (d, ff, q, kv) = (shape.embedding, shape.feed_forward, shape.query(), shape.key());
        let some = |part: &str, rows: Range<usize>, all: usize| Piece { name: name(part), rows, all };
        let whole = |part: &str, rows: usize| some(part, 0..rows, rows);
        // Phi 3 has queries, keys and values in one tensor, and gate and up in another.
        let [query, key, value, gate, up] = if self.header.tensors.contains_key(&name("attn_qkv")) {
            let three = |rows: Range<usize>| some("attn_qkv", rows, q + 2 * kv);
            let two = |rows: Range<usize>| some("ffn_up", rows, 2 * ff);
            [three(0..q), three(q..q + kv), three(q + kv..q + 2 * kv), two(0..ff), two(ff..2 * ff)]
        } else {
            [whole("attn_q", q), whole("attn_k", kv), whole("attn_v", kv), whole("ffn_gate", ff), whole("ffn_up", ff)]
        };
        Ok(LayerWeights {
            attention_norm: self.gains(&name("attn_norm"), d)?,
            query: self.piece(&query, d)?,
            key: self.piece(&key, d)?,
            value: self.piece(&value, d)?,
            attention_output: self.matrix(&name("attn_output"), d, q)?,
            feed_forward_norm: self.gains(&name("ffn_norm"), d)?,
            gate: self.piece(&gate, d)?,
            up: self.piece(&up, d)?,
            down: self.matrix(&name("ffn_down"), d, ff)?,
            extras: self.extras(i, manifest)?,
        })
    }

    /// The vectors that the manifest's features name, in canonical order.
    fn extras(&mut self, i: usize, manifest: &Manifest) -> Result<Extras, ModelError> {
        let (shape, features) = (&manifest.architecture, &manifest.features);
        let name = |part: &str| format!("blk.{i}.{part}");
        let mut extras = Extras::default();
        if features.biases {
            extras.biases = Some([
                self.gains(&name("attn_q.bias"), shape.query())?,
                self.gains(&name("attn_k.bias"), shape.key())?,
                self.gains(&name("attn_v.bias"), shape.key())?,
            ]);
        }
        if features.head_norms {
            extras.head_norms = Some([
                self.gains(&name("attn_q_norm.weight"), shape.head_dim)?,
                self.gains(&name("attn_k_norm.weight"), shape.head_dim)?,
            ]);
        }
        if features.post_norms {
            extras.post_norms = Some([
                self.gains(&name("post_attention_norm.weight"), shape.embedding)?,
                self.gains(&name("post_ffw_norm.weight"), shape.embedding)?,
            ]);
        }
        Ok(extras)
    }

    /// The numbers of Llama 3's tensor of frequency divisors; none if it is not there.
    fn rope_divisors(&mut self) -> Result<Vec<u32>, ModelError> {
        let name = "rope_freqs.weight";
        match self.header.tensors.get(name).map(|tensor| usize::try_from(tensor.dimensions[0])) {
            None => Ok(Vec::new()),
            Some(Ok(length @ 1..=HEAD_DIM_MAX)) => self.singles(name, length),
            Some(_) => Err(ModelError::damaged(format!("{name} is too long or empty"))),
        }
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

    /// Some of the bytes of a tensor; memory is reserved only after the range was checked against the file.
    fn bytes(&mut self, name: &str, tensor: &Tensor, range: Range<usize>) -> Result<Vec<u8>, ModelError> {
        self.header.check_range(name, tensor, range.end as u64)?;
        let (mut bytes, file) = (vec![0; range.len()], &mut self.files[tensor.part]);
        let read =
            file.seek(SeekFrom::Start(tensor.offset + range.start as u64)).and_then(|_| file.read_exact(&mut bytes));
        let path = &self.header.parts[tensor.part].0;
        read.map_err(|source| ModelError::Read { path: path.into(), source })?;
        Ok(bytes)
    }

    /// The bit patterns of a vector of f32.
    fn singles(&mut self, name: &str, length: usize) -> Result<Vec<u32>, ModelError> {
        let tensor = self.tensor(name, 1, length)?;
        if tensor.kind != F32 {
            return Err(ModelError::unsupported(format!("{name} of type {}", tensor.kind), "f32 vectors"));
        }
        let bytes = self.bytes(name, &tensor, 0..length * 4)?;
        Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// A vector of gains or biases in Q16.
    fn gains(&mut self, name: &str, length: usize) -> Result<Vec<i32>, ModelError> {
        let gain = |bits| constants::round_single(bits, 16, "a gain or bias");
        let singles = self.singles(name, length)?;
        let gains: Vec<i32> =
            singles.into_iter().map(gain).collect::<Result<_, _>>().map_err(ModelError::import(name))?;
        self.tensors.push(gains_digest(&gains));
        Ok(gains)
    }

    fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Packed, ModelError> {
        self.piece(&Piece { name: name.into(), rows: 0..rows, all: rows }, columns)
    }

    fn piece(&mut self, piece: &Piece, columns: usize) -> Result<Packed, ModelError> {
        let (name, rows) = (piece.name.as_str(), piece.rows.len());
        let tensor = self.tensor(name, piece.all, columns)?;
        let format = Format::from_ggml(tensor.kind).ok_or_else(|| {
            let known = Format::ALL.map(|f| format!("{f:?}")).join(", ");
            ModelError::unsupported(format!("{name} of ggml type {}", tensor.kind), format!("one of {known}"))
        })?;
        let row_bytes = check_shape(format, rows, columns).map_err(ModelError::import(name))?;
        let (packed, digest) = match &mut self.image {
            Some(image) => image
                .matrix(format, rows, columns)
                .ok_or_else(|| ModelError::damaged("the image is of another model"))?,
            None => {
                let bytes = self.bytes(name, &tensor, piece.rows.start * row_bytes..piece.rows.end * row_bytes)?;
                let mut packed = Packed::new(format, rows, columns);
                let digest = import(&mut packed, &bytes, row_bytes).map_err(ModelError::import(name))?;
                (packed, digest)
            }
        };
        self.tensors.push(digest);
        self.matrices.push(digest);
        Ok(packed)
    }

    /// A tensor nobody asked for would change what the model computes.
    fn check_all_used(&self) -> Result<(), ModelError> {
        match self.header.tensors.keys().find(|name| !self.used.contains(*name)) {
            Some(name) => {
                Err(ModelError::unsupported(format!("tensor {name}"), "a model of its family without extras"))
            }
            None => Ok(()),
        }
    }
}

/// Imports all rows with one thread per core, and hashes them in order.
pub(crate) fn import(packed: &mut Packed, bytes: &[u8], row_bytes: usize) -> Result<Digest, ImportError> {
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
