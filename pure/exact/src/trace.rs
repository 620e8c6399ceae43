//! What a run commits to: state digests, chunk digests, the trace root (decisions on chunks and
//! states stand in `docs/EXACT.md`).

use crate::kv::{CachedHead, KvFormat};
use crate::manifest::Manifest;
use crate::steps::CachedRow;
use talkoo_base::{CHUNK_TOKENS, Digest, Logprobs, TokenLogprobs, merkle, sha256};

/// The canonical bytes of one position's keys (or values) in one layer: per head the exponent
/// (i32 LE), the mantissas (u16 LE), the codes (i8, or i16 LE).
#[must_use]
pub fn cached_row_bytes(heads: &[CachedHead], format: KvFormat) -> Vec<u8> {
    let mut out = Vec::new();
    for head in heads {
        push_cached_head(&mut out, head, format);
    }
    out
}

/// Appends one head to a canonical row.
#[inline]
pub fn push_cached_head(out: &mut Vec<u8>, head: &CachedHead, format: KvFormat) {
    out.extend_from_slice(&head.exponent.to_le_bytes());
    out.extend(head.mantissas.iter().flat_map(|m| m.to_le_bytes()));
    match format {
        KvFormat::Int8 => out.extend(head.codes.iter().map(|c| *c as u8)),
        KvFormat::Int16 => out.extend(head.codes.iter().flat_map(|c| c.to_le_bytes())),
    }
}

/// What a state digest is of, read: the residual after the layer, keys, values. `None` if the bytes are not a state of
/// such a model.
#[must_use]
pub fn read_state(bytes: &[u8], manifest: &Manifest) -> Option<(Vec<i64>, CachedRow)> {
    let shape = &manifest.architecture;
    let head = 4 + shape.head_dim / 32 * 2 + shape.head_dim * manifest.kv.code_bytes();
    let (residual, rows) = bytes.split_at_checked(8 * shape.embedding)?;
    if rows.len() != 2 * shape.kv_heads * head {
        return None;
    }
    let residual = residual.chunks_exact(8).map(|x| i64::from_le_bytes(x.try_into().expect("eight bytes"))).collect();
    let mut heads: Vec<CachedHead> = rows.chunks_exact(head).map(|bytes| read_head(bytes, manifest)).collect();
    let values = heads.split_off(shape.kv_heads);
    Some((residual, (heads, values)))
}

fn read_head(bytes: &[u8], manifest: &Manifest) -> CachedHead {
    let (exponent, rest) = bytes.split_first_chunk().expect("a head has an exponent");
    let (mantissas, codes) = rest.split_at(manifest.architecture.head_dim / 32 * 2);
    let word = |pair: &[u8]| [pair[0], pair[1]];
    CachedHead {
        exponent: i32::from_le_bytes(*exponent),
        mantissas: mantissas.chunks_exact(2).map(|m| u16::from_le_bytes(word(m))).collect(),
        codes: match manifest.kv {
            KvFormat::Int8 => codes.iter().map(|code| i16::from(*code as i8)).collect(),
            KvFormat::Int16 => codes.chunks_exact(2).map(|code| i16::from_le_bytes(word(code))).collect(),
        },
    }
}

/// SHA-256(residual after the layer as i64 LE ‖ K row ‖ V row).
#[must_use]
pub fn state_digest(residual: &[i64], key_row: &[u8], value_row: &[u8]) -> Digest {
    let bytes: Vec<u8> = residual.iter().flat_map(|r| r.to_le_bytes()).collect();
    sha256(&[&bytes, key_row, value_row])
}

/// Merkle root over the state digests of a chunk: position outer, layer inner.
#[must_use]
pub fn states_root(states: &[Digest]) -> Digest {
    merkle::root("talkoo/states/1", states)
}

/// c_j = SHA-256("talkoo/chunk/1" ‖ trace id ‖ j u32 BE ‖ count u32 BE ‖ tokens u32 BE ‖ states root).
#[must_use]
pub fn chunk_digest(trace_id: &Digest, index: u32, tokens: &[u32], states_root: &Digest) -> Digest {
    let tokens_bytes: Vec<u8> = tokens.iter().flat_map(|t| t.to_be_bytes()).collect();
    let count = tokens.len() as u32;
    let parts: [&[u8]; 6] =
        [b"talkoo/chunk/1", &trace_id.0, &index.to_be_bytes(), &count.to_be_bytes(), &tokens_bytes, &states_root.0];
    sha256(&parts)
}

/// Merkle root over the chunk digests so far.
#[must_use]
pub fn trace_root(chunks: &[Digest]) -> Digest {
    merkle::root("talkoo/trace/1", chunks)
}

/// Collects states and tokens into chunks as a run goes on.
///
/// Output token i is sampled from the state at position P-1+i. Chunk j holds tokens 32j..32j+32 and
/// the states at the positions they were sampled from; chunk 0 also those of the prompt before. Where log
/// probabilities are told, the chunk commits to them, too: see [`Logprobs::digest`].
#[derive(Clone, Debug)]
pub struct ChunkBuilder {
    trace_id: Digest,
    digests: Vec<Digest>,
    states: Vec<Digest>,
    tokens: Vec<u32>,
    /// Canonical bytes of the log probabilities of these tokens.
    logprobs: Vec<u8>,
}

/// A chunk as it was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its number, from 0.
    pub index: u32,
    /// Its output tokens.
    pub tokens: Vec<u32>,
    /// What it commits to.
    pub digest: Digest,
    /// The log probabilities of its tokens, if they were pushed.
    pub logprobs: Option<Logprobs>,
}

impl ChunkBuilder {
    /// A builder for a run under this trace id.
    #[must_use]
    pub fn new(trace_id: Digest) -> Self {
        Self { trace_id, digests: Vec::new(), states: Vec::new(), tokens: Vec::new(), logprobs: Vec::new() }
    }

    /// Adds the state digests of the next position, one per layer.
    pub fn push_states(&mut self, states: &[Digest]) {
        self.states.extend_from_slice(states);
    }

    /// Adds the token sampled from the last position, with its log probabilities if the run tells them.
    /// `true` if the chunk is then full.
    pub fn push_token(&mut self, token: u32, logprobs: Option<&TokenLogprobs>) -> bool {
        self.tokens.push(token);
        logprobs.inspect(|logprobs| logprobs.push_bytes(&mut self.logprobs));
        self.tokens.len() == CHUNK_TOKENS as usize
    }

    /// Closes the chunk. `None` if it has no token.
    pub fn close(&mut self) -> Option<Closed> {
        if self.tokens.is_empty() {
            return None;
        }
        let index = self.digests.len() as u32;
        let root = states_root(&std::mem::take(&mut self.states));
        let tokens = std::mem::take(&mut self.tokens);
        let inner = chunk_digest(&self.trace_id, index, &tokens, &root);
        let bytes = std::mem::take(&mut self.logprobs);
        let logprobs = (!bytes.is_empty()).then_some(Logprobs { inner, bytes });
        let digest = logprobs.as_ref().map_or(inner, Logprobs::digest);
        self.digests.push(digest);
        Some(Closed { index, tokens, digest, logprobs })
    }

    /// The digests of the closed chunks.
    #[must_use]
    pub fn digests(&self) -> &[Digest] {
        &self.digests
    }
}
