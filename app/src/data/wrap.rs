//! Secrets wrapped for a node by HPKE (RFC 9180), base mode: DHKEM(secp256k1, HKDF-SHA256) (0x0016), HKDF-SHA256, ChaCha20-Poly1305.
//! A node's name is its key, so it is all that is needed. What a wrap is for is its `info`: another grant's, another version's or
//! another part's does not open.
//!
//! A wrap: encapsulated key (65 bytes, SEC 1) ‖ ciphertext ‖ tag (16).

use alloy_primitives::B256;
use hpke_rs::hpke_types::{AeadAlgorithm, KdfAlgorithm, KemAlgorithm};
use hpke_rs::prelude::HpkeMode;
use hpke_rs::rustcrypto::HpkeRustCrypto;
use hpke_rs::{Hpke, HpkePrivateKey, HpkePublicKey};
use talkoo_base::{NodeId, SecretKey};
use thiserror::Error;
use zeroize::Zeroizing;

const POINT_BYTES: usize = 65;
const TAG_BYTES: usize = 16;

/// What a wrapped secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    /// The version whose key it is, or a part of it.
    pub(crate) version: B256,
    /// The grant that it is released for; zero for a gift of the owner's, and for what keepers keep.
    pub(crate) grant: u64,
    /// Zero for the whole key, else the number of the share.
    pub(crate) part: u8,
}

/// Why a wrap cannot be made or opened.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(crate) enum WrapError {
    /// No node has this name.
    #[error("this is no node's name")]
    NoNode,
    /// For another node or purpose, forged, or cut off; they cannot be told apart.
    #[error("the wrapped key does not open: it is for another node, grant or version, or damaged")]
    DoesNotOpen,
}

impl Purpose {
    fn info(&self) -> Vec<u8> {
        [b"talkoo/data/wrap/1", &self.version.0[..], &self.grant.to_be_bytes(), &[self.part]].concat()
    }

    /// Wraps a secret for a node.
    pub(crate) fn wrap(&self, to: &NodeId, secret: &[u8]) -> Result<Vec<u8>, WrapError> {
        let key = HpkePublicKey::new(to.point().ok_or(WrapError::NoNode)?.to_vec());
        let sealed = suite().seal(&key, &self.info(), b"", secret, None, None, None);
        let (mut wrap, body) = sealed.map_err(|_| WrapError::NoNode)?;
        wrap.extend_from_slice(&body);
        Ok(wrap)
    }

    /// Opens what was wrapped for us.
    pub(crate) fn unwrap(&self, key: &SecretKey, wrap: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let (point, body) = wrap.split_at_checked(POINT_BYTES).ok_or(WrapError::DoesNotOpen)?;
        if body.len() < TAG_BYTES {
            return Err(WrapError::DoesNotOpen);
        }
        // Erased by the type when it is dropped.
        let key = HpkePrivateKey::new(key.expose().to_vec());
        let opened = suite().open(point, &key, &self.info(), b"", body, None, None, None);
        opened.map(Zeroizing::new).map_err(|_| WrapError::DoesNotOpen)
    }
}

fn suite() -> Hpke<HpkeRustCrypto> {
    let aead = AeadAlgorithm::ChaCha20Poly1305;
    Hpke::new(HpkeMode::Base, KemAlgorithm::DhKemK256, KdfAlgorithm::HkdfSha256, aead)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_wrap_opens_for_its_node_and_purpose_alone() {
        let purpose = Purpose { version: B256::repeat_byte(1), grant: 7, part: 0 };
        let wrap = purpose.wrap(&key(5).node_id(), &[9; 32]).unwrap();
        assert_eq!(wrap.len(), POINT_BYTES + 32 + TAG_BYTES);
        assert_eq!(purpose.unwrap(&key(5), &wrap).unwrap()[..], [9; 32]);
        assert_ne!(wrap, purpose.wrap(&key(5).node_id(), &[9; 32]).unwrap(), "each is fresh");
        let no = Err(WrapError::DoesNotOpen);
        let others = [
            Purpose { grant: 8, ..purpose },
            Purpose { version: B256::repeat_byte(2), ..purpose },
            Purpose { part: 1, ..purpose },
        ];
        for other in others {
            assert_eq!(other.unwrap(&key(5), &wrap), no, "{other:?}");
        }
        assert_eq!(purpose.unwrap(&key(6), &wrap), no, "another node");
        for at in 0..wrap.len() {
            let mut forged = wrap.clone();
            forged[at] ^= 1;
            assert_eq!(purpose.unwrap(&key(5), &forged), no, "byte {at}");
            assert_eq!(purpose.unwrap(&key(5), &wrap[..at]), no, "cut at {at}");
        }
        let longer = [&wrap[..], &[0]].concat();
        assert_eq!(purpose.unwrap(&key(5), &longer), no);
        assert_eq!(purpose.wrap(&NodeId::pretended(1), &[9; 32]), Err(WrapError::NoNode));
    }
}
