//! Sealed objects: inputs and outputs of private jobs, encrypted before they are hashed into a
//! CID, so that names and blocks of private data tell strangers nothing (`decisions.md` §9).
//!
//! Whole in memory, as steps of jobs are; objects of any length: [`stream`]; keys in parts: [`shares`].
//!
//! Format: nonce (24 bytes) ‖ XChaCha20-Poly1305 ciphertext ‖ tag (16 bytes)
//! (draft-irtf-cfrg-xchacha-03). The label is associated data: an input cannot be passed off as
//! an output.

pub mod shares;
pub mod stream;

use crate::limits::SEALED_BYTES_MAX;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// Bytes by which sealing lengthens an object.
pub const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// The key of one job; everyone who may read the job's objects has it. Erased when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct JobKey(Zeroizing<[u8; 32]>);

impl JobKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    /// The raw bytes, for handing the key to the worker over an encrypted connection.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("job key")
    }
}

/// Why an object cannot be sealed or opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SealError {
    /// Larger than an object may be.
    #[error("object of {bytes} bytes is over the limit of {SEALED_BYTES_MAX}: split the step")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Another key, another label, or damaged bytes; they cannot be told apart.
    #[error("the sealed object does not open: wrong job key, wrong label, or damaged")]
    DoesNotOpen,
}

/// Seals `plain` under a nonce derived from key, label and content: sealing the same object again
/// gives the same CID, and a repeated nonce can only mean a repeated object.
///
/// # Errors
/// [`SealError::TooLarge`].
pub fn seal(key: &JobKey, label: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    seal_with_nonce(key, &derived_nonce(key, label, plain), label, plain)
}

/// Seals `plain` under a nonce of the caller's: random, never used before with this key.
///
/// # Errors
/// [`SealError::TooLarge`].
pub fn seal_with_nonce(key: &JobKey, nonce: &[u8; 24], label: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
    if plain.len() > SEALED_BYTES_MAX {
        return Err(SealError::TooLarge { bytes: plain.len() });
    }
    let cipher = XChaCha20Poly1305::new((&*key.0).into());
    let payload = Payload { msg: plain, aad: label };
    let sealed = cipher.encrypt(&XNonce::from(*nonce), payload);
    let sealed = sealed.expect("encryption fails only beyond 256 GiB");
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Opens a sealed object.
///
/// # Errors
/// [`SealError`].
pub fn open(key: &JobKey, label: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    if sealed.len() > SEALED_BYTES_MAX + OVERHEAD_BYTES {
        return Err(SealError::TooLarge { bytes: sealed.len() });
    }
    let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::DoesNotOpen)?;
    let cipher = XChaCha20Poly1305::new((&*key.0).into());
    let payload = Payload { msg: body, aad: label };
    cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| SealError::DoesNotOpen)
}

/// SHA-256(domain ‖ key ‖ len(label) ‖ label ‖ plain), cut to 24 bytes. The key makes it
/// unpredictable: a nonce that anyone could compute would confirm guesses of the content.
fn derived_nonce(key: &JobKey, label: &[u8], plain: &[u8]) -> [u8; NONCE_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"talkoo/seal/nonce/1");
    hash.update(key.0.as_slice());
    hash.update((label.len() as u64).to_le_bytes());
    hash.update(label);
    hash.update(plain);
    hash.finalize()[..NONCE_BYTES].try_into().expect("24 of 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn opens_only_with_key_label_and_untouched_bytes() {
        let key = JobKey::new([7; 32]);
        let sealed = seal(&key, b"step/1/input", b"the prompt").unwrap();
        assert_eq!(open(&key, b"step/1/input", &sealed).unwrap(), b"the prompt");
        assert_eq!(sealed.len(), 10 + OVERHEAD_BYTES);
        assert!(!sealed.windows(6).any(|window| window == b"prompt"));
        assert_eq!(open(&JobKey::new([8; 32]), b"step/1/input", &sealed), Err(SealError::DoesNotOpen));
        assert_eq!(open(&key, b"step/1/output", &sealed), Err(SealError::DoesNotOpen));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(open(&key, b"step/1/input", &damaged), Err(SealError::DoesNotOpen));
            assert_eq!(open(&key, b"step/1/input", &sealed[..at]), Err(SealError::DoesNotOpen));
        }
    }

    #[test]
    fn the_derived_nonce_depends_on_everything() {
        let (key, other) = (JobKey::new([7; 32]), JobKey::new([8; 32]));
        let nonces = [
            derived_nonce(&key, b"a", b"bc"),
            derived_nonce(&key, b"ab", b"c"),
            derived_nonce(&key, b"a", b"bd"),
            derived_nonce(&other, b"a", b"bc"),
        ];
        for (i, nonce) in nonces.iter().enumerate() {
            assert!(!nonces[..i].contains(nonce));
        }
        assert_eq!(seal(&key, b"a", b"bc"), seal(&key, b"a", b"bc"));
    }

    proptest! {
        #[test]
        fn round_trip(key: [u8; 32], label: Vec<u8>, plain: Vec<u8>, nonce: [u8; 24]) {
            let key = JobKey::new(key);
            let sealed = seal_with_nonce(&key, &nonce, &label, &plain).unwrap();
            prop_assert_eq!(open(&key, &label, &sealed).unwrap(), plain);
        }

        #[test]
        fn random_bytes_never_panic(key: [u8; 32], bytes: Vec<u8>) {
            let _ = open(&JobKey::new(key), b"label", &bytes);
        }
    }
}
