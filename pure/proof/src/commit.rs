//! Salted roots, trace ids, coins: what hides in a request and what it opens to.

use talkoo_base::{Address, Digest, Finish, LeaseId, Work, merkle, sha256};

/// Root over token ids, each leaf salted: SHA-256(0x00 ‖ tag ‖ salt ‖ id as u32 big-endian).
fn tokens_root(tag: &str, salt: &Digest, tokens: &[u32]) -> Digest {
    merkle::root_of_leaves(tag, tokens.iter().map(|token| token_leaf(tag, salt, *token)).collect())
}

pub(crate) fn token_leaf(tag: &str, salt: &Digest, token: u32) -> Digest {
    let mut data = [0; 36];
    data[..32].copy_from_slice(&salt.0);
    data[32..].copy_from_slice(&token.to_be_bytes());
    merkle::leaf(tag, &data)
}

/// Tags of outputs and prompts.
pub(crate) const OUTPUT: &str = "talkoo/output/1";
pub(crate) const PROMPT: &str = "talkoo/prompt/1";

/// The [`output_root`] of an output that grows.
#[derive(Clone, Debug)]
pub(crate) struct GrowingOutput {
    salt: Digest,
    leaves: merkle::Growing,
}

impl GrowingOutput {
    pub(crate) fn new(salt: Digest) -> Self {
        Self { salt, leaves: merkle::Growing::default() }
    }

    pub(crate) fn extend(&mut self, tokens: &[u32]) {
        tokens.iter().for_each(|token| self.leaves.push(token_leaf(OUTPUT, &self.salt, *token)));
    }

    pub(crate) fn root(&self) -> Digest {
        self.leaves.root(OUTPUT)
    }
}

/// Root of a prompt: what a request shows of it.
#[must_use]
pub fn prompt_root(salt: &Digest, tokens: &[u32]) -> Digest {
    tokens_root(PROMPT, salt, tokens)
}

/// Root of an output: what a receipt shows of it.
#[must_use]
pub fn output_root(salt: &Digest, tokens: &[u32]) -> Digest {
    tokens_root(OUTPUT, salt, tokens)
}

/// Root over chunk digests.
#[must_use]
pub fn trace_root(digests: &[Digest]) -> Digest {
    merkle::root("talkoo/trace/1", digests)
}

/// The blinded name of a run that every chunk digest holds: it names the work and a salt of the
/// lease, not the worker, so a verifier can recompute the digests without knowing whose they are,
/// and nobody can use those of another lease.
#[must_use]
pub fn trace_id(trace_salt: &Digest, prompt_root: &Digest, work: &Work) -> Digest {
    let params = sha256(&[&work.params.to_bytes()]);
    sha256(&[b"talkoo/run/1", &trace_salt.0, &work.program.0, &prompt_root.0, &params.0, &work.seed.to_be_bytes()])
}

/// What a request shows of the secret behind its audit coin.
#[must_use]
pub fn coin_commit(secret: &Digest) -> Digest {
    sha256(&[b"talkoo/coin-commit/1", &secret.0])
}

/// The audit coin of a receipt, of 2³²: neither side can choose it.
#[must_use]
pub fn coin_q32(secret: &Digest, receipt_digest: &Digest) -> u64 {
    sha256(&[b"talkoo/coin/1", &secret.0, &receipt_digest.0]).first_u64() >> 32
}

/// What a verifier commits to before it reveals.
#[must_use]
pub fn verdict_commit(
    lease: &LeaseId,
    root: &Digest,
    finish: Finish,
    units: u64,
    salt: &Digest,
    verifier: &Address,
) -> Digest {
    sha256(&[b"talkoo/verdict/1", &lease.0.0, &root.0, &[finish as u8], &units.to_be_bytes(), &salt.0, &verifier.0])
}

/// A secret of this node for one purpose and one thing.
#[must_use]
pub fn derive(entropy: &Digest, purpose: &str, about: &[&[u8]]) -> Digest {
    let mut parts: Vec<&[u8]> = vec![b"talkoo/secret/1", &entropy.0, purpose.as_bytes()];
    parts.extend_from_slice(about);
    sha256(&parts)
}
