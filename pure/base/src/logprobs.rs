//! Log probabilities of output tokens: their bytes, and how a chunk commits to them. What the numbers are
//! stands in `talkoo_exact::logprobs`.

use crate::limits::TOP_LOGPROBS_MAX;
use crate::{Digest, sha256};

/// What the model thought of one output token. Natural logarithms in units of 2^-16, never above 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenLogprobs {
    /// Of the token itself.
    pub chosen: i32,
    /// The likeliest tokens, the likeliest first, equals by the lower id; the token itself may be among them.
    pub top: Vec<(u32, i32)>,
}

impl TokenLogprobs {
    /// Appends the canonical bytes: the token's own number (i32 BE), how many others follow (u32 BE), and of
    /// each its id (u32 BE) and number (i32 BE).
    pub fn push_bytes(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.top.len()).expect("at most 20");
        out.extend(self.chosen.to_be_bytes());
        out.extend(count.to_be_bytes());
        for (token, logprob) in &self.top {
            out.extend(token.to_be_bytes());
            out.extend(logprob.to_be_bytes());
        }
    }

    /// Reads the canonical bytes of any number of tokens; `None` if they are none.
    #[must_use]
    pub fn read_all(mut bytes: &[u8]) -> Option<Vec<Self>> {
        let mut word = || {
            let (word, rest) = bytes.split_first_chunk()?;
            bytes = rest;
            Some(*word)
        };
        let mut all = Vec::new();
        while let Some(chosen) = word() {
            let count = word().map(u32::from_be_bytes).filter(|count| *count <= TOP_LOGPROBS_MAX)?;
            let mut other = || Some((u32::from_be_bytes(word()?), i32::from_be_bytes(word()?)));
            let top = (0..count).map(|_| other()).collect::<Option<_>>()?;
            all.push(Self { chosen: i32::from_be_bytes(chosen), top });
        }
        bytes.is_empty().then_some(all)
    }
}

/// The log probabilities of one chunk, with what its digest was without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logprobs {
    /// c_j: the digest of tokens and states alone.
    pub inner: Digest,
    /// Canonical bytes, token after token; see [`TokenLogprobs`].
    pub bytes: Vec<u8>,
}

impl Logprobs {
    /// What the chunk commits to: SHA-256("talkoo/logprobs/1" ‖ c_j ‖ bytes).
    #[must_use]
    pub fn digest(&self) -> Digest {
        sha256(&[b"talkoo/logprobs/1", &self.inner.0, &self.bytes])
    }

    /// Whether they are of `tokens` tokens, each with at most `top` others.
    #[must_use]
    pub fn fit(&self, tokens: usize, top: u32) -> bool {
        TokenLogprobs::read_all(&self.bytes)
            .is_some_and(|all| all.len() == tokens && all.iter().all(|token| token.top.len() <= top as usize))
    }
}
