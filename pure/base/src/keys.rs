//! secp256k1 keys. One key is at once a libp2p PeerId, an Ethereum address and a signer.

use crate::hash::{Digest, keccak256};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{All, Message, PublicKey, Secp256k1};
use std::fmt;
use std::sync::OnceLock;
use thiserror::Error;

fn context() -> &'static Secp256k1<All> {
    static CONTEXT: OnceLock<Secp256k1<All>> = OnceLock::new();
    CONTEXT.get_or_init(Secp256k1::new)
}

/// Why bytes are not a key or a signature.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// Zero, or not below the group order.
    #[error("not a secp256k1 secret key: 32 bytes between 1 and the group order are needed")]
    Secret,
    /// Not a point of the curve in compressed form.
    #[error("not a compressed secp256k1 public key (33 bytes)")]
    Public,
    /// Malformed, high-s, or recovering to no key.
    #[error("not a valid signature: 65 bytes r ‖ s ‖ v with low s and v 27 or 28 are needed")]
    Signature,
}

/// Compressed public key of a node (33 bytes): its name on the network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 33]);

impl NodeId {
    /// Checks that `bytes` is a point of the curve.
    ///
    /// # Errors
    /// [`KeyError::Public`] otherwise.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let key = PublicKey::from_slice(bytes).map_err(|_| KeyError::Public)?;
        if bytes.len() != 33 {
            return Err(KeyError::Public);
        }
        Ok(Self(key.serialize()))
    }

    /// A name for the simulator and for tests that is no point of any curve: it signs nothing.
    #[must_use]
    pub const fn pretended(number: u32) -> Self {
        let n = number.to_be_bytes();
        let mut bytes = [0; 33];
        (bytes[29], bytes[30], bytes[31], bytes[32]) = (n[0], n[1], n[2], n[3]);
        Self(bytes)
    }

    /// The 33 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 33] {
        &self.0
    }

    /// The same point uncompressed (SEC 1, 65 bytes); nothing for a pretended name.
    #[must_use]
    pub fn point(&self) -> Option<[u8; 65]> {
        PublicKey::from_slice(&self.0).ok().map(|key| key.serialize_uncompressed())
    }

    /// The Ethereum address of the same key: last 20 bytes of Keccak-256 of the point (x ‖ y).
    /// A pretended name has the address made of its last 20 bytes.
    #[must_use]
    pub fn address(&self) -> Address {
        match PublicKey::from_slice(&self.0) {
            Ok(key) => Address::of_key(&key),
            Err(_) => Address(self.0[13..].try_into().expect("33 - 13 = 20")),
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", hex::encode(&self.0[28..]))
    }
}

/// An Ethereum address (20 bytes).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub [u8; 20]);

impl Address {
    fn of_key(key: &PublicKey) -> Self {
        let digest = keccak256(&[&key.serialize_uncompressed()[1..]]);
        Self(digest.0[12..].try_into().expect("32 - 12 = 20"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A recoverable ECDSA signature as Ethereum writes it: r ‖ s ‖ v, low s, v 27 or 28.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(pub [u8; 65]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signature {}…", hex::encode(&self.0[..4]))
    }
}

/// Signs digests. The simulator has its own; everything else uses [`SecretKey`].
pub trait Signer: Send + Sync {
    /// The address that [`recover`] will name.
    fn address(&self) -> Address;
    /// Signs an EIP-712 digest. Never hand it bytes that a stranger chose.
    fn sign(&self, digest: &Digest) -> Signature;
}

/// A secret key. It never leaves this type except through [`SecretKey::expose`], for the key file
/// and the network's handshake.
pub struct SecretKey(secp256k1::SecretKey);

impl SecretKey {
    /// Reads 32 raw bytes.
    ///
    /// # Errors
    /// [`KeyError::Secret`] if they are zero or not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        secp256k1::SecretKey::from_byte_array(*bytes).map(Self).map_err(|_| KeyError::Secret)
    }

    /// The raw bytes. Callers keep them out of logs and messages.
    #[must_use]
    pub fn expose(&self) -> [u8; 32] {
        self.0.secret_bytes()
    }

    /// The public name of this key.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId(PublicKey::from_secret_key(context(), &self.0).serialize())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret key of {}", self.node_id().address())
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.non_secure_erase();
    }
}

impl Signer for SecretKey {
    fn address(&self) -> Address {
        self.node_id().address()
    }

    fn sign(&self, digest: &Digest) -> Signature {
        let message = Message::from_digest(digest.0);
        let signature = context().sign_ecdsa_recoverable(message, &self.0);
        let (id, compact) = signature.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&compact);
        bytes[64] = 27 + u8::try_from(i32::from(id)).expect("a recovery id is 0 to 3");
        Signature(bytes)
    }
}

/// The address whose key signed `digest`.
///
/// # Errors
/// [`KeyError::Signature`] for a malformed or high-s signature, or v other than 27 and 28.
pub fn recover(digest: &Digest, signature: &Signature) -> Result<Address, KeyError> {
    let id = match signature.0[64] {
        27 => RecoveryId::Zero,
        28 => RecoveryId::One,
        _ => return Err(KeyError::Signature),
    };
    let parsed = RecoverableSignature::from_compact(&signature.0[..64], id).map_err(|_| KeyError::Signature)?;
    // High s is the malleable twin: libsecp256k1 accepts it for recovery, we and OpenZeppelin do not.
    let mut normal = parsed.to_standard();
    normal.normalize_s();
    if normal != parsed.to_standard() {
        return Err(KeyError::Signature);
    }
    let message = Message::from_digest(digest.0);
    let key = context().recover_ecdsa(message, &parsed).map_err(|_| KeyError::Signature)?;
    Ok(Address::of_key(&key))
}
