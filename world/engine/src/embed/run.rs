//! The fast path. Mirrors `talkoo_exact::embed` line by line, over several texts at a time.

use super::Encoder;
use crate::error::RunError;
use crate::kernels::{self, Activations, HeadCache, Isa, Kernel, Packed, Pool};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_base::Digest;
use talkoo_exact::embed::{Embedding, embedding_digest, state_digest, unit};
use talkoo_exact::encoder::{Layer, Linear, Norm, Pooling};
use talkoo_exact::matrix::embed_row;
use talkoo_exact::{CachedHead, KvFormat, RangeError};

/// Tokens of one batch, unless a single text has more.
const BATCH: usize = 128;
/// Fraction bits of attention and GELU outputs.
const WIDE: i32 = 20;

/// What one text became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedded {
    /// The vector of length 1, in Q30.
    pub vector: Vec<i32>,
    /// Commits to tokens, all states and the vector.
    pub digest: Digest,
}

/// Runs an encoder on its own threads.
#[derive(Debug)]
pub struct Embedder {
    encoder: Arc<Encoder>,
    isa: Isa,
    pool: Pool,
    batch: usize,
    /// Memory of threads that are not at work.
    idle: Mutex<Vec<Memory>>,
}

/// Vectors of one batch.
#[derive(Debug)]
struct Memory {
    /// Of this thread alone.
    pool: Pool,
    residual: Vec<i64>,
    x: Activations,
    query: Vec<i64>,
    key: Vec<i64>,
    value: Vec<i64>,
    mixed: Vec<i64>,
    delta: Vec<i64>,
    wide: Vec<i64>,
    centred: Vec<i64>,
    normed: Vec<i64>,
    cache: HeadCache,
    scratch: kernels::Scratch,
}

impl Memory {
    fn new(encoder: &Encoder) -> Self {
        let shape = &encoder.manifest.shape;
        Self {
            pool: Pool::new(1),
            residual: Vec::new(),
            x: Activations::default(),
            query: Vec::new(),
            key: Vec::new(),
            value: Vec::new(),
            mixed: Vec::new(),
            delta: Vec::new(),
            wide: Vec::new(),
            centred: vec![0; shape.embedding],
            normed: vec![0; shape.embedding],
            cache: HeadCache::new(shape.head_dim(), KvFormat::Int8),
            scratch: kernels::Scratch::default(),
        }
    }
}

impl Embedder {
    /// With the fastest kernels this machine has, on `threads` threads (at least one).
    #[must_use]
    pub fn new(encoder: Arc<Encoder>, threads: usize) -> Self {
        Self::with_kernel(encoder, threads, Kernel::Auto)
    }

    /// With chosen kernels. All give the same results; tests compare them.
    #[must_use]
    pub fn with_kernel(encoder: Arc<Encoder>, threads: usize, kernel: Kernel) -> Self {
        let (isa, pool) = (Isa::detect(kernel), Pool::new(threads));
        Self { encoder, isa, pool, batch: BATCH, idle: Mutex::default() }
    }

    /// Name of the instructions in use.
    #[must_use]
    pub fn kernel_name(&self) -> &'static str {
        self.isa.name()
    }

    /// Lets at most so many of its threads take part.
    pub fn set_threads(&mut self, threads: usize) {
        self.pool.set_threads(threads);
    }

    /// Tokens per batch, for tests: results do not depend on it.
    pub fn set_batch(&mut self, tokens: usize) {
        self.batch = tokens;
    }

    /// The embeddings of some texts' token ids, in their order. `trace_id` goes into the digests.
    ///
    /// # Errors
    /// If a text has no tokens, too many or unknown ones, or its numbers leave the contract's range.
    pub fn embed(&mut self, texts: &[Vec<u32>], trace_id: &Digest) -> Result<Vec<Embedded>, RunError> {
        self.embed_each(texts, &vec![*trace_id; texts.len()])
    }

    /// The same with a trace id for each text: those of one batch may be for different leases.
    ///
    /// # Errors
    /// As [`Self::embed`].
    ///
    /// # Panics
    /// If there are not as many trace ids as texts.
    pub fn embed_each(&mut self, texts: &[Vec<u32>], trace_ids: &[Digest]) -> Result<Vec<Embedded>, RunError> {
        assert_eq!(texts.len(), trace_ids.len(), "one trace id for each text");
        texts.iter().try_for_each(|text| self.encoder.check(text))?;
        let (mut batches, mut from) = (Vec::new(), 0);
        while from < texts.len() {
            let mut tokens = texts[from].len();
            let more = texts[from + 1..].iter().take_while(|text| {
                tokens += text.len();
                tokens <= self.batch
            });
            let to = from + 1 + more.count();
            batches.push((from..to, Ok(Vec::new())));
            from = to;
        }
        let (encoder, isa, idle) = (&*self.encoder, self.isa, &self.idle);
        self.pool.chunks(&mut batches, 1, &|_, batch| {
            let (range, out) = &mut batch[0];
            let mut memory = lock(idle).pop().unwrap_or_else(|| Memory::new(encoder));
            *out = Pass { encoder, isa, memory: &mut memory }.run(&texts[range.clone()], &trace_ids[range.clone()]);
            lock(idle).push(memory);
        });
        let mut out = Vec::with_capacity(texts.len());
        for (_, embedded) in batches {
            out.extend(embedded?);
        }
        Ok(out)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One batch through all layers, on one thread.
struct Pass<'a> {
    encoder: &'a Encoder,
    isa: Isa,
    memory: &'a mut Memory,
}

impl Pass<'_> {
    fn run(&mut self, texts: &[Vec<u32>], trace_ids: &[Digest]) -> Result<Vec<Embedded>, RangeError> {
        let encoder = self.encoder;
        let (shape, mut at) = (&encoder.manifest.shape, 0);
        let mut ranges = Vec::with_capacity(texts.len());
        for text in texts {
            ranges.push(at..at + text.len());
            at += text.len();
        }
        self.start(texts)?;
        let (d, layers) = (shape.embedding, shape.layers);
        let mut states = vec![Digest::ZERO; at * layers];
        for (l, layer) in encoder.layers.iter().enumerate() {
            self.attention_part(layer, &ranges)?;
            self.feed_forward_part(layer)?;
            for (t, row) in self.memory.residual.chunks_exact(d).enumerate() {
                states[t * layers + l] = state_digest(row);
            }
        }
        let finish = |((text, trace_id), range): ((&Vec<u32>, &Digest), Range<usize>)| {
            let vector = unit(&self.pool_rows(&range));
            let states = states[range.start * layers..range.end * layers].to_vec();
            let embedding = Embedding { vector, states };
            let digest = embedding_digest(trace_id, text, &embedding);
            Embedded { vector: embedding.vector, digest }
        };
        Ok(texts.iter().zip(trace_ids).zip(ranges).map(finish).collect())
    }

    /// The residual before the first layer.
    fn start(&mut self, texts: &[Vec<u32>]) -> Result<(), RangeError> {
        let (matrix, d) = (&self.encoder.tokens, self.encoder.manifest.shape.embedding);
        self.memory.residual.clear();
        for text in texts {
            for (token, place) in text.iter().zip(self.encoder.places.chunks_exact(d)) {
                let row = matrix.row(*token as usize);
                let row = embed_row(&row, matrix.format.block(), matrix.format.zero_point(), 1 << 16)?;
                self.memory.residual.extend(row.iter().zip(place).map(|(x, p)| x + p));
            }
        }
        self.norm(&self.encoder.embedding_norm)
    }

    fn norm(&mut self, norm: &Norm) -> Result<(), RangeError> {
        let Memory { residual, centred, normed, .. } = &mut *self.memory;
        let epsilon = self.encoder.manifest.epsilon;
        let mut rows = residual.chunks_exact_mut(centred.len());
        rows.try_for_each(|row| kernels::layer_norm(self.isa, row, norm.vectors(), epsilon, [centred, normed]))
    }

    fn attention_part(&mut self, layer: &Layer<Packed>, texts: &[Range<usize>]) -> Result<(), RangeError> {
        let (isa, d) = (self.isa, self.encoder.manifest.shape.embedding);
        let Memory { pool, residual, x, query, key, value, .. } = &mut *self.memory;
        quantise(pool, isa, x, residual, d, 16);
        multiply(pool, isa, &layer.query, x, query)?;
        multiply(pool, isa, &layer.key, x, key)?;
        multiply(pool, isa, &layer.value, x, value)?;
        self.memory.mixed.resize(self.memory.query.len(), 0);
        texts.iter().for_each(|text| self.attend(text));
        let Memory { pool, residual, x, mixed, delta, .. } = &mut *self.memory;
        quantise(pool, isa, x, mixed, d, WIDE);
        multiply(pool, isa, &layer.attention_output, x, delta)?;
        kernels::add(isa, residual, delta);
        self.norm(&layer.attention_norm)
    }

    /// All positions of one text, head by head.
    fn attend(&mut self, text: &Range<usize>) {
        let (isa, manifest) = (self.isa, &self.encoder.manifest);
        let (d, dim) = (manifest.shape.embedding, manifest.shape.head_dim());
        let empty = || CachedHead { codes: vec![0; dim], mantissas: vec![0; dim / 32], exponent: 0 };
        let (mut k, mut v) = (empty(), empty());
        let Memory { query, key, value, mixed, cache, scratch, .. } = &mut *self.memory;
        for h in 0..manifest.shape.heads {
            cache.truncate(0);
            for t in text.clone() {
                let at = t * d + h * dim;
                for (from, to) in [(&*key, &mut k), (&*value, &mut v)] {
                    kernels::quantize_head(isa, &from[at..at + dim], KvFormat::Int8, to);
                }
                cache.push(&k, &v);
            }
            for t in text.clone() {
                let at = t * d + h * dim;
                let (query, out) = (&query[at..at + dim], &mut mixed[at..at + dim]);
                kernels::attend(isa, cache, 0..text.len(), query, manifest.score_scale, scratch, out);
            }
        }
    }

    fn feed_forward_part(&mut self, layer: &Layer<Packed>) -> Result<(), RangeError> {
        let (isa, shape) = (self.isa, &self.encoder.manifest.shape);
        let Memory { pool, residual, x, wide, delta, .. } = &mut *self.memory;
        quantise(pool, isa, x, residual, shape.embedding, 16);
        kernels::multiply(pool, isa, &layer.up.weights, x, wide)?;
        kernels::gelu(isa, wide, &layer.up.bias);
        quantise(pool, isa, x, wide, shape.feed_forward, WIDE);
        multiply(pool, isa, &layer.down, x, delta)?;
        kernels::add(isa, residual, delta);
        self.norm(&layer.output_norm)
    }

    /// The vectors of one text's positions as one.
    fn pool_rows(&self, text: &Range<usize>) -> Vec<i64> {
        let shape = &self.encoder.manifest.shape;
        let mut rows = self.memory.residual.chunks_exact(shape.embedding).skip(text.start).take(text.len());
        let mut out = rows.next().map_or_else(Vec::new, <[i64]>::to_vec);
        if shape.pooling == Pooling::Mean {
            rows.for_each(|row| kernels::add(self.isa, &mut out, row));
        }
        out
    }
}

fn quantise(pool: &mut Pool, isa: Isa, x: &mut Activations, rows: &[i64], columns: usize, fraction_bits: i32) {
    let fill = |t: usize, mut row: kernels::ActivationRow<'_>| {
        row.fill(isa, &rows[t * columns..][..columns], fraction_bits);
    };
    x.fill(pool, rows.len() / columns, columns, &fill);
}

fn multiply(
    pool: &mut Pool,
    isa: Isa,
    linear: &Linear<Packed>,
    x: &Activations,
    out: &mut Vec<i64>,
) -> Result<(), RangeError> {
    kernels::multiply(pool, isa, &linear.weights, x, out)?;
    kernels::add_bias(isa, out, &linear.bias);
    Ok(())
}
