//! Rules 13 to 16: an encoder over one text, and the digest that commits to the result.

use crate::arith::{bit_length, isqrt, max_abs, rsh};
use crate::attention::attend;
use crate::encoder::{Encoder, Layer, Linear, Norm, Pooling};
use crate::error::RangeError;
use crate::gelu::gelu;
use crate::kv::{CachedHead, KvFormat};
use crate::layernorm::layer_norm;
use crate::quantize::{Quantized, quantize};
use crate::trace::states_root;
use talkoo_base::{Digest, sha256};

/// What a text becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedding {
    /// The vector of length 1, in Q30.
    pub vector: Vec<i32>,
    /// The state digests: position outer, layer inner.
    pub states: Vec<Digest>,
}

/// The embedding of `tokens`: at least one, at most the context, all of the vocabulary.
///
/// # Errors
/// If a number leaves its range.
pub fn embed(model: &Encoder, tokens: &[u32]) -> Result<Embedding, RangeError> {
    let shape = &model.manifest.shape;
    assert!(!tokens.is_empty() && tokens.len() <= shape.context, "a text outside the context");
    let mut rows = Vec::with_capacity(tokens.len());
    for (p, token) in tokens.iter().enumerate() {
        let mut row = model.tokens.embed(*token as usize, 1 << 16)?;
        add(&mut row, &model.positions.embed(p, 1 << 16)?);
        add(&mut row, &model.types.embed(0, 1 << 16)?);
        rows.push(normed(model, row, &model.embedding_norm)?);
    }
    let mut states = vec![Digest::ZERO; tokens.len() * shape.layers];
    for (l, layer) in model.layers.iter().enumerate() {
        rows = layer_of(model, layer, &rows)?;
        for (p, row) in rows.iter().enumerate() {
            states[p * shape.layers + l] = state_digest(row);
        }
    }
    Ok(Embedding { vector: unit(&pool(shape.pooling, &rows)), states })
}

/// One layer over all positions.
fn layer_of(model: &Encoder, layer: &Layer, rows: &[Vec<i64>]) -> Result<Vec<Vec<i64>>, RangeError> {
    let dim = model.manifest.shape.head_dim();
    let format = KvFormat::Int8;
    let heads = |v: &[i64]| v.chunks_exact(dim).map(|h| CachedHead::of(h, format)).collect::<Vec<_>>();
    let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let x = quantize(row, 16);
        queries.push(multiply(&layer.query, &x)?);
        keys.push(heads(&multiply(&layer.key, &x)?));
        values.push(heads(&multiply(&layer.value, &x)?));
    }
    let mut out = Vec::with_capacity(rows.len());
    for (row, query) in rows.iter().zip(&queries) {
        let mut mixed = Vec::with_capacity(row.len());
        for (h, query) in query.chunks_exact(dim).enumerate() {
            let keys: Vec<&CachedHead> = keys.iter().map(|k| &k[h]).collect();
            let values: Vec<&CachedHead> = values.iter().map(|v| &v[h]).collect();
            mixed.extend(attend(query, &keys, &values, 0, model.manifest.score_scale, format));
        }
        let mut row = row.clone();
        add(&mut row, &multiply(&layer.attention_output, &quantize(&mixed, 20))?);
        let mut row = normed(model, row, &layer.attention_norm)?;
        let wide: Vec<i64> = multiply(&layer.up, &quantize(&row, 16))?.into_iter().map(gelu).collect();
        add(&mut row, &multiply(&layer.down, &quantize(&wide, 20))?);
        out.push(normed(model, row, &layer.output_norm)?);
    }
    Ok(out)
}

/// The product with the bias added, in Q16.
fn multiply(linear: &Linear, x: &Quantized) -> Result<Vec<i64>, RangeError> {
    let mut out = linear.weights.multiply(x)?;
    out.iter_mut().zip(&linear.bias).for_each(|(y, b)| *y += i64::from(*b));
    Ok(out)
}

fn normed(model: &Encoder, mut row: Vec<i64>, norm: &Norm) -> Result<Vec<i64>, RangeError> {
    let (mut centred, mut memory) = (vec![0; row.len()], vec![0; row.len()]);
    layer_norm(&mut row, norm.vectors(), model.manifest.epsilon, [&mut centred, &mut memory])?;
    Ok(row)
}

fn add(x: &mut [i64], y: &[i64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// The vectors of all positions as one: their sum, for the mean has the same direction, or the first.
fn pool(pooling: Pooling, rows: &[Vec<i64>]) -> Vec<i64> {
    let mut out = rows[0].clone();
    if pooling == Pooling::Mean {
        rows[1..].iter().for_each(|row| add(&mut out, row));
    }
    out
}

/// `v` (below 2^62) brought to length 1, in Q30; of zeros it is zeros.
#[must_use]
pub fn unit(v: &[i64]) -> Vec<i32> {
    let shift = bit_length(max_abs(v)) - 31;
    let v: Vec<i64> = v.iter().map(|x| rsh(*x, shift)).collect();
    let squares: u128 = v.iter().map(|x| (x * x) as u128).sum();
    let length = i128::from(isqrt(squares << 32).max(1));
    let coordinate = |x: &i64| ((i128::from(*x) << 47) + length).div_euclid(2 * length) as i32;
    v.iter().map(coordinate).collect()
}

/// SHA-256(vector after the layer as i32 LE).
#[must_use]
pub fn state_digest(row: &[i64]) -> Digest {
    let bytes: Vec<u8> = row.iter().flat_map(|x| (*x as i32).to_le_bytes()).collect();
    sha256(&[&bytes])
}

/// SHA-256("talkoo/embedding/1" ‖ trace id ‖ count u32 BE ‖ tokens u32 BE ‖ states root ‖ vector i32 BE).
#[must_use]
pub fn embedding_digest(trace_id: &Digest, tokens: &[u32], embedding: &Embedding) -> Digest {
    let ids: Vec<u8> = tokens.iter().flat_map(|t| t.to_be_bytes()).collect();
    let vector: Vec<u8> = embedding.vector.iter().flat_map(|x| x.to_be_bytes()).collect();
    let (count, root) = ((tokens.len() as u32).to_be_bytes(), states_root(&embedding.states));
    sha256(&[b"talkoo/embedding/1", &trace_id.0, &count, &ids, &root.0, &vector])
}
