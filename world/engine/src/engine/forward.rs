//! One batch through all layers. Mirrors `talkoo_exact::forward` line by line.

use super::{Cache, Engine, Memory};
use crate::kernels::{self, Isa, Pool};
use crate::model::LayerWeights;
use talkoo_base::{Digest, sha256};
use talkoo_exact::arith::rsh;
use talkoo_exact::limits::HEAD_DIM_MAX;
use talkoo_exact::matrix::embed_row;
use talkoo_exact::trace::push_cached_head;
use talkoo_exact::{CachedHead, Extras, Manifest, RangeError, rope};

/// Fraction bits of norm, attention and feed-forward products, which are quantised next.
const WIDE: i32 = 20;
/// Numbers of the feed-forward product that one thread takes at a time.
const PIECE: usize = 256;
/// Positions whose logits are computed together: bounds the memory to 32 vocabularies.
pub(crate) const LOGITS_BATCH: usize = 32;

/// One token of a batch: the next one of its stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    /// Index of the stream's cache among those given.
    pub(crate) stream: usize,
    pub(crate) token: u32,
}

/// What of each position is wanted, by its index in the tokens given.
pub(crate) trait Observer {
    /// The state digests of one position, one per layer.
    fn states(&mut self, index: usize, states: &[Digest]);
    /// Whether the logits after this position are wanted.
    fn wants_logits(&self, index: usize) -> bool;
    /// The logits (Q16) after one position. `false` ends the run early.
    fn logits(&mut self, index: usize, logits: &[i64]) -> bool;
    /// Whether state digests are wanted at all.
    fn wants_states(&self) -> bool {
        true
    }
}

impl Engine {
    /// Empties the cache for a new task.
    pub(crate) fn reset(&mut self) {
        self.cache = Cache::new(&self.model.manifest);
    }

    /// Runs `tokens` (ids of the vocabulary that fit the context) from the current position on.
    /// Returns `false` if the observer ended it.
    pub(crate) fn advance(&mut self, tokens: &[u32], observer: &mut dyn Observer) -> Result<bool, RangeError> {
        let (batch, layers) = (self.batch, self.model.layers.len());
        for (i, tokens) in tokens.chunks(batch).enumerate() {
            let rows: Vec<Row> = tokens.iter().map(|token| Row { stream: 0, token: *token }).collect();
            let mut cache = std::mem::take(&mut self.cache);
            let states = self.forward(&rows, &mut [&mut cache], observer.wants_states());
            self.cache = cache;
            for (t, states) in states?.chunks_exact(layers).enumerate() {
                observer.states(i * batch + t, states);
            }
            let wanted: Vec<usize> = (0..tokens.len()).filter(|t| observer.wants_logits(i * batch + t)).collect();
            for wanted in wanted.chunks(LOGITS_BATCH) {
                let logits = self.logits(wanted)?;
                for (t, logits) in wanted.iter().zip(logits) {
                    if !observer.logits(i * batch + t, logits) {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// One batch through all layers: the rows of each stream continue it in their order. Returns the
    /// state digests, row outer, layer inner. After an error the caches are as before.
    pub(crate) fn forward(
        &mut self,
        rows: &[Row],
        caches: &mut [&mut Cache],
        with_states: bool,
    ) -> Result<Vec<Digest>, RangeError> {
        let before: Vec<usize> = caches.iter().map(|cache| cache.positions).collect();
        let states = self.layers(rows, caches, with_states);
        if states.is_err() {
            caches.iter_mut().zip(before).for_each(|(cache, positions)| cache.truncate(positions));
        }
        states
    }

    fn layers(
        &mut self,
        rows: &[Row],
        caches: &mut [&mut Cache],
        with_states: bool,
    ) -> Result<Vec<Digest>, RangeError> {
        let model = std::sync::Arc::clone(&self.model);
        let layers = model.layers.len();
        let mut states = vec![Digest::ZERO; if with_states { rows.len() * layers } else { 0 }];
        let memory = &mut self.memory;
        memory.residual.clear();
        memory.angles.iter_mut().for_each(Vec::clear);
        memory.positions.clear();
        let embedding = &model.embedding;
        let (block, zero_point) = (embedding.format.block(), embedding.format.zero_point());
        let (manifest, scale) = (&model.manifest, model.manifest.embedding_scale);
        for row in rows {
            let cache = &mut caches[row.stream];
            memory.residual.extend(embed_row(&embedding.row(row.token as usize), block, zero_point, scale)?);
            memory.angles[0].extend(rope::table(&manifest.frequencies, cache.positions as u64));
            if !manifest.features.local_layers.is_empty() {
                memory.angles[1].extend(rope::table(manifest.frequencies_of_local(), cache.positions as u64));
            }
            memory.positions.push(cache.positions);
            cache.positions += 1;
        }
        for (l, layer) in model.layers.iter().enumerate() {
            let mut pass =
                Pass { isa: self.isa, pool: &mut self.pool, manifest, rows, tokens: rows.len(), layer: l, memory };
            pass.attention_part(layer, caches)?;
            pass.feed_forward_part(layer)?;
            if with_states {
                pass.hash_states(l, layers, &mut states);
            }
            pass.show_states();
        }
        Ok(states)
    }

    /// The logits after some rows of the last batch, at most [`LOGITS_BATCH`].
    pub(crate) fn logits(&mut self, wanted: &[usize]) -> Result<std::slice::ChunksExact<'_, i64>, RangeError> {
        let (manifest, isa, memory) = (&self.model.manifest, self.isa, &mut self.memory);
        let d = manifest.architecture.embedding;
        let (residual, gains) = (&memory.residual, &self.model.output_norm);
        memory.x.fill(&mut self.pool, wanted.len(), d, &|i, mut row| {
            let mut normed = vec![0; d];
            kernels::rms_norm(isa, &residual[wanted[i] * d..][..d], gains, manifest.epsilon, &mut normed);
            row.fill(isa, &normed, WIDE);
        });
        kernels::multiply(&mut self.pool, isa, self.model.output_matrix(), &memory.x, &mut memory.logits)?;
        Ok(memory.logits.chunks_exact(manifest.architecture.vocabulary))
    }

    /// The id of the largest logit; the lowest of equals.
    pub(crate) fn argmax(&self, logits: &[i64]) -> u32 {
        kernels::argmax(self.isa, logits)
    }
}

/// One layer over one batch.
struct Pass<'a> {
    isa: Isa,
    pool: &'a mut Pool,
    manifest: &'a Manifest,
    rows: &'a [Row],
    /// Number of rows.
    tokens: usize,
    /// Index of the layer.
    layer: usize,
    memory: &'a mut Memory,
}

impl Pass<'_> {
    /// Norms the residual and quantises it.
    fn normed(&mut self, gains: &[i32]) {
        let (isa, epsilon, d) = (self.isa, self.manifest.epsilon, self.manifest.architecture.embedding);
        let residual = &self.memory.residual;
        self.memory.x.fill(self.pool, self.tokens, d, &|t, mut row| {
            let mut normed = vec![0; d];
            kernels::rms_norm(isa, &residual[t * d..][..d], gains, epsilon, &mut normed);
            row.fill(isa, &normed, WIDE);
        });
    }

    /// Quantises rows of `columns` Q20 numbers.
    fn quantised(&mut self, columns: usize, rows: fn(&Memory) -> &[i64]) {
        let isa = self.isa;
        let mut x = std::mem::take(&mut self.memory.x);
        let rows = rows(self.memory);
        x.fill(self.pool, self.tokens, columns, &|t, mut row| row.fill(isa, &rows[t * columns..][..columns], WIDE));
        self.memory.x = x;
    }

    fn attention_part(&mut self, layer: &LayerWeights, caches: &mut [&mut Cache]) -> Result<(), RangeError> {
        self.normed(&layer.attention_norm);
        let memory = &mut *self.memory;
        kernels::multiply(self.pool, self.isa, &layer.query, &memory.x, &mut memory.query)?;
        kernels::multiply(self.pool, self.isa, &layer.key, &memory.x, &mut memory.key)?;
        kernels::multiply(self.pool, self.isa, &layer.value, &memory.x, &mut memory.value)?;
        self.shape_heads(&layer.extras);
        self.store(caches);
        self.attend(caches);
        self.quantised(self.manifest.architecture.query(), |m| &m.mixed);
        let memory = &mut *self.memory;
        kernels::multiply(self.pool, self.isa, &layer.attention_output, &memory.x, &mut memory.delta)?;
        self.add(layer.extras.post_norms.as_ref().map(|n| &n[0][..]));
        Ok(())
    }

    /// Biases, norms and rotations of queries, keys and values.
    fn shape_heads(&mut self, extras: &Extras) {
        let (isa, shape, features) = (self.isa, &self.manifest.architecture, &self.manifest.features);
        let (epsilon, rotation, pairs) = (self.manifest.epsilon, features.rotation, shape.rope_dim / 2);
        let memory = &mut *self.memory;
        let angles = &memory.angles[usize::from(features.is_local(self.layer))];
        if let Some([.., bias]) = &extras.biases {
            self.pool.chunks(&mut memory.value, shape.key(), &|_, vector| add_bias(vector, bias));
        }
        let parts = [(&mut memory.query, shape.query()), (&mut memory.key, shape.key())];
        for (part, (vectors, length)) in parts.into_iter().enumerate() {
            let bias = extras.biases.as_ref().map(|b| &b[part]);
            let gains = extras.head_norms.as_ref().map(|n| &n[part]);
            self.pool.chunks(vectors, length, &|t, vector| {
                if let Some(bias) = bias {
                    add_bias(vector, bias);
                }
                let mut normed = [0; HEAD_DIM_MAX];
                for head in vector.chunks_exact_mut(shape.head_dim) {
                    if let Some(gains) = gains {
                        norm_narrow(isa, head, gains, epsilon, &mut normed[..head.len()]);
                        head.copy_from_slice(&normed[..head.len()]);
                    }
                    kernels::rotate(isa, head, &angles[t * pairs..][..pairs], rotation);
                }
            });
        }
    }

    /// Adds the last matrix's output to the residual, after a norm if there are gains.
    fn add(&mut self, gains: Option<&[i32]>) {
        let (isa, epsilon, d) = (self.isa, self.manifest.epsilon, self.manifest.architecture.embedding);
        let memory = &mut *self.memory;
        let Some(gains) = gains else { return kernels::add(isa, &mut memory.residual, &memory.delta) };
        let delta = &memory.delta;
        self.pool.chunks(&mut memory.residual, d, &|t, residual| {
            let mut normed = vec![0; d];
            norm_narrow(isa, &delta[t * d..][..d], gains, epsilon, &mut normed);
            kernels::add(isa, residual, &normed);
        });
    }

    /// Quantises keys and values into the cache and keeps their canonical rows for the state digests.
    fn store(&mut self, caches: &mut [&mut Cache]) {
        let shape = &self.manifest.architecture;
        let (dim, format) = (shape.head_dim, self.manifest.kv);
        let empty = || CachedHead { codes: vec![0; dim], mantissas: vec![0; dim / 32], exponent: 0 };
        let (mut key, mut value) = (empty(), empty());
        let memory = &mut *self.memory;
        memory.rows.clear();
        let mut value_row = Vec::with_capacity(shape.key() * 2);
        for (t, row) in self.rows.iter().enumerate() {
            value_row.clear();
            for (h, cache) in caches[row.stream].layers[self.layer].iter_mut().enumerate() {
                let at = t * shape.key() + h * dim;
                for (from, to) in [(&memory.key, &mut key), (&memory.value, &mut value)] {
                    kernels::quantize_head(self.isa, &from[at..at + dim], format, to);
                }
                cache.push(&key, &value);
                push_cached_head(&mut memory.rows, &key, format);
                push_cached_head(&mut value_row, &value, format);
            }
            memory.rows.extend_from_slice(&value_row);
        }
    }

    /// One item per token and query head, long ranges and short ones mixed.
    fn attend(&mut self, caches: &[&mut Cache]) {
        let (isa, shape, scale) = (self.isa, &self.manifest.architecture, self.manifest.score_scale);
        let (heads, dim, rows, layer) = (shape.heads, shape.head_dim, self.rows, self.layer);
        self.memory.mixed.resize(self.tokens * shape.query(), 0);
        let (query, positions, features) = (&self.memory.query, &self.memory.positions, &self.manifest.features);
        self.pool.chunks(&mut self.memory.mixed, dim, &|i, out| {
            let (t, h) = (i / heads, i % heads);
            let cache = &caches[rows[t].stream].layers[layer][h * shape.kv_heads / heads];
            let seen = features.first_visible(layer, positions[t])..positions[t] + 1;
            SCRATCH.with_borrow_mut(|scratch| {
                kernels::attend(isa, cache, seen.clone(), &query[i * dim..][..dim], scale, scratch, out);
            });
        });
    }

    fn feed_forward_part(&mut self, layer: &LayerWeights) -> Result<(), RangeError> {
        self.normed(&layer.feed_forward_norm);
        let memory = &mut *self.memory;
        kernels::multiply(self.pool, self.isa, &layer.gate, &memory.x, &mut memory.gate)?;
        kernels::multiply(self.pool, self.isa, &layer.up, &memory.x, &mut memory.up)?;
        let (isa, length) = (self.isa, self.manifest.architecture.feed_forward);
        let activation = self.manifest.features.activation;
        let (up, failed) = (&memory.up, std::sync::Mutex::new(None));
        // In pieces rather than tokens, so that the threads share a single token too.
        self.pool.chunks(&mut memory.gate, PIECE, &|i, gate| {
            if let Err(error) = kernels::gate_times(isa, activation, gate, &up[i * PIECE..][..gate.len()]) {
                failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
            }
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            return Err(error);
        }
        self.quantised(length, |m| &m.gate);
        let memory = &mut *self.memory;
        kernels::multiply(self.pool, self.isa, &layer.down, &memory.x, &mut memory.delta)?;
        self.add(layer.extras.post_norms.as_ref().map(|n| &n[1][..]));
        Ok(())
    }

    /// The state digests of this layer, into their places among all layers'.
    fn hash_states(&mut self, layer: usize, layers: usize, states: &mut [Digest]) {
        let bytes = state_bytes(self.memory, self.tokens);
        self.pool.chunks(states, layers, &|t, states| states[layer] = sha256(&[&bytes(t)]));
    }

    /// What those digests are of, if this is the layer that somebody wants to see.
    fn show_states(&mut self) {
        let Some((layer, mut shown)) = self.memory.shown.take() else { return };
        if layer == self.layer {
            shown.extend((0..self.tokens).map(state_bytes(self.memory, self.tokens)));
        }
        self.memory.shown = Some((layer, shown));
    }
}

/// The canonical bytes of the state of each token of a batch, after the layer that was run last.
fn state_bytes(memory: &Memory, tokens: usize) -> impl Fn(usize) -> Vec<u8> {
    let (d, row) = (memory.residual.len() / tokens, memory.rows.len() / tokens);
    move |t| {
        let mut bytes = Vec::with_capacity(d * 8 + row);
        memory.residual[t * d..][..d].iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
        bytes.extend_from_slice(&memory.rows[t * row..][..row]);
        bytes
    }
}

fn add_bias(vector: &mut [i64], bias: &[i32]) {
    for (v, b) in vector.iter_mut().zip(bias) {
        *v += i64::from(*b);
    }
}

/// RMSNorm of `x` (Q16), rounded to Q16 again.
fn norm_narrow(isa: Isa, x: &[i64], gains: &[i32], epsilon: u64, out: &mut [i64]) {
    kernels::rms_norm(isa, x, gains, epsilon, out);
    out.iter_mut().for_each(|y| *y = rsh(*y, WIDE - 16));
}

thread_local! {
    static SCRATCH: std::cell::RefCell<kernels::Scratch> = std::cell::RefCell::default();
}
