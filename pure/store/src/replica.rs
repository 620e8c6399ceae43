//! Replicas: an object encrypted anew for each provider, so that no copy answers for another.
//!
//! replica n of an object = XChaCha20 (draft-irtf-cfrg-xchacha-03, counter from 0) over the CAR of its DAG, under the key
//! SHA-256("talkoo/replica/1" ‖ the client's node key ‖ n, u32 BE ‖ the object's CID in version 1), with a nonce of zeros: a
//! key is for one text, for the CAR follows from the CID. Who has the node key and the object's CID can open every replica.
//! Nothing is authenticated here: the deal commits to the bytes, and blocks inside are checked against their names.

use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::{XChaCha20, XNonce};
use cid::Cid;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Longest replica: what the stream's counter of 32 bits covers.
pub const BYTES_MAX: u64 = 1 << 38;

/// Encrypts or decrypts a replica from its first byte on; both are the same.
pub struct Stream(XChaCha20);

impl Stream {
    /// Of replica `number` of `object`.
    #[must_use]
    pub fn new(node_key: &[u8; 32], object: &Cid, number: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"talkoo/replica/1");
        hash.update(node_key);
        hash.update(number.to_be_bytes());
        // As the store has it: a CID of version 0 names the same object.
        hash.update(Cid::new_v1(object.codec(), *object.hash()).to_bytes());
        let key: Zeroizing<[u8; 32]> = Zeroizing::new(hash.finalize().into());
        Self(XChaCha20::new((&*key).into(), &XNonce::default()))
    }

    /// Turns the next bytes into the others; says whether they fit below [`BYTES_MAX`].
    #[must_use]
    pub fn apply(&mut self, bytes: &mut [u8]) -> bool {
        self.0.try_apply_keystream(bytes).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{Block, RAW};

    #[test]
    fn each_replica_differs_and_opens_in_any_portions() {
        let object = *Block::of(RAW, b"an object".to_vec().into()).unwrap().cid();
        let other = *Block::of(RAW, b"another".to_vec().into()).unwrap().cid();
        let plain: Vec<u8> = (0..1_000).map(|i| (i % 7) as u8).collect();
        let sealed = |key: u8, object: &Cid, number| {
            let mut bytes = plain.clone();
            assert!(Stream::new(&[key; 32], object, number).apply(&mut bytes));
            bytes
        };
        let all =
            [sealed(1, &object, 0), sealed(1, &object, 1), sealed(2, &object, 0), sealed(1, &other, 0), plain.clone()];
        for (i, one) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|earlier| earlier != one), "{i}");
        }
        let (mut stream, mut opened) = (Stream::new(&[1; 32], &object, 0), all[0].clone());
        opened.chunks_mut(77).for_each(|part| assert!(stream.apply(part)));
        assert_eq!(opened, plain);
        // Golden: a key, a CID and a number give these bytes for ever, or replicas are lost.
        assert_eq!(&all[0][..8], &[31, 82, 109, 115, 36, 203, 87, 111]);
    }
}
