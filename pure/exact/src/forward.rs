//! The forward pass, one position at a time.

use crate::arith::rsh;
use crate::attention::attend;
use crate::error::RangeError;
use crate::exp::gate_times;
use crate::kv::CachedHead;
use crate::model::{Layer, Model};
use crate::norm::rms_norm;
use crate::quantize::{Quantized, quantize};
use crate::rope;
use crate::trace::{cached_row_bytes, state_digest};
use talkoo_base::Digest;

/// Fraction bits of norm, attention and feed-forward products, which are quantised next.
const WIDE: i32 = 20;

/// The keys and values of every position so far.
#[derive(Clone, Debug)]
pub struct Kv {
    /// Per layer, per position: the heads' keys and values.
    layers: Vec<Vec<(Vec<CachedHead>, Vec<CachedHead>)>>,
}

impl Kv {
    /// An empty cache for `model`.
    #[must_use]
    pub fn new(model: &Model) -> Self {
        Self { layers: vec![Vec::new(); model.layers.len()] }
    }

    /// Positions in the cache.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.first().map_or(0, Vec::len)
    }

    /// Keys and values of a position in a layer.
    #[must_use]
    pub fn row(&self, layer: usize, position: usize) -> &(Vec<CachedHead>, Vec<CachedHead>) {
        &self.layers[layer][position]
    }

    /// Whether no position is in the cache.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What one position left behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The residual (Q16) after the last layer.
    pub residual: Vec<i64>,
    /// The state digest of every layer.
    pub states: Vec<Digest>,
}

/// Runs `token` at the next position. `token` must be in the vocabulary and the context not full.
///
/// # Errors
/// If a number leaves its range; the cache is then unusable.
pub fn forward(model: &Model, kv: &mut Kv, token: u32) -> Result<Step, RangeError> {
    let position = kv.len();
    assert!(position < model.manifest.architecture.context, "the context is full");
    let tables = [&model.manifest.frequencies, model.manifest.frequencies_of_local()]
        .map(|frequencies| rope::table(frequencies, position as u64));
    let mut residual = model.embedding.embed(token as usize, model.manifest.embedding_scale)?;
    let mut states = Vec::with_capacity(model.layers.len());
    for (l, cache) in kv.layers.iter_mut().enumerate() {
        let table = &tables[usize::from(model.manifest.features.is_local(l))];
        let (keys, values) = attention_part(model, l, cache, table, &mut residual)?;
        feed_forward_part(model, &model.layers[l], &mut residual)?;
        states.push(state_digest(&residual, &keys, &values));
    }
    Ok(Step { residual, states })
}

/// The logits (Q16, one per token) of a residual after the last layer.
///
/// # Errors
/// If a logit reaches 2^40.
pub fn logits(model: &Model, residual: &[i64]) -> Result<Vec<i64>, RangeError> {
    model.output_matrix().multiply(&normed(model, residual, &model.output_norm))
}

fn normed(model: &Model, residual: &[i64], gains: &[i32]) -> Quantized {
    let mut out = vec![0; residual.len()];
    rms_norm(residual, gains, model.manifest.epsilon, &mut out);
    quantize(&out, WIDE)
}

/// Adds attention to the residual and this position to the cache; returns its canonical K and V rows.
fn attention_part(
    model: &Model,
    l: usize,
    cache: &mut Vec<(Vec<CachedHead>, Vec<CachedHead>)>,
    table: &[(i64, i64)],
    residual: &mut [i64],
) -> Result<(Vec<u8>, Vec<u8>), RangeError> {
    let (layer, shape, features) = (&model.layers[l], &model.manifest.architecture, &model.manifest.features);
    let [mut q, mut k, v] = projections(layer, &normed(model, residual, &layer.attention_norm))?;
    for (vector, part) in [(&mut q, 0), (&mut k, 1)] {
        for head in vector.chunks_exact_mut(shape.head_dim) {
            if let Some(gains) = &layer.extras.head_norms {
                head.copy_from_slice(&normed_narrow(model, head, &gains[part]));
            }
            rope::rotate(head, table, features.rotation);
        }
    }
    let format = model.manifest.kv;
    let heads = |v: &[i64]| v.chunks_exact(shape.head_dim).map(|h| CachedHead::of(h, format)).collect::<Vec<_>>();
    let (keys, values) = (heads(&k), heads(&v));
    let rows = (cached_row_bytes(&keys, format), cached_row_bytes(&values, format));
    cache.push((keys, values));

    let first = features.first_visible(l, cache.len() - 1);
    let mut mixed = Vec::with_capacity(q.len());
    for (h, query) in q.chunks_exact(shape.head_dim).enumerate() {
        let kv_head = h * shape.kv_heads / shape.heads;
        let keys: Vec<&CachedHead> = cache.iter().map(|(keys, _)| &keys[kv_head]).collect();
        let values: Vec<&CachedHead> = cache.iter().map(|(_, values)| &values[kv_head]).collect();
        mixed.extend(attend(query, &keys, &values, first, model.manifest.score_scale, format));
    }
    let delta = layer.attention_output.multiply(&quantize(&mixed, WIDE))?;
    add(model, residual, &delta, layer.extras.post_norms.as_ref().map(|n| &n[0][..]));
    Ok(rows)
}

/// Query, key and value, with their biases if there are any.
fn projections(layer: &Layer, x: &Quantized) -> Result<[Vec<i64>; 3], RangeError> {
    let mut out = [layer.query.multiply(x)?, layer.key.multiply(x)?, layer.value.multiply(x)?];
    for (y, bias) in out.iter_mut().zip(layer.extras.biases.iter().flatten()) {
        y.iter_mut().zip(bias).for_each(|(y, b)| *y += i64::from(*b));
    }
    Ok(out)
}

/// Adds the feed-forward part to the residual.
fn feed_forward_part(model: &Model, layer: &Layer, residual: &mut [i64]) -> Result<(), RangeError> {
    let x = normed(model, residual, &layer.feed_forward_norm);
    let (gate, up) = (layer.gate.multiply(&x)?, layer.up.multiply(&x)?);
    let activation = model.manifest.features.activation;
    let product: Result<Vec<i64>, RangeError> =
        gate.iter().zip(&up).map(|(g, u)| gate_times(activation, *g, *u)).collect();
    let delta = layer.down.multiply(&quantize(&product?, WIDE))?;
    add(model, residual, &delta, layer.extras.post_norms.as_ref().map(|n| &n[1][..]));
    Ok(())
}

/// Adds `y` to the residual, after a norm if there are gains.
fn add(model: &Model, residual: &mut [i64], y: &[i64], gains: Option<&[i32]>) {
    let normed = gains.map(|gains| normed_narrow(model, y, gains));
    for (r, y) in residual.iter_mut().zip(normed.as_deref().unwrap_or(y)) {
        *r += y;
    }
}

/// RMSNorm of `x` (Q16), rounded to Q16 again.
fn normed_narrow(model: &Model, x: &[i64], gains: &[i32]) -> Vec<i64> {
    let mut out = vec![0; x.len()];
    rms_norm(x, gains, model.manifest.epsilon, &mut out);
    out.iter().map(|y| rsh(*y, WIDE - 16)).collect()
}
