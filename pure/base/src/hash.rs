//! Digests. SHA-256 for everything a contract may open (precompile 0x02, SHA-NI); Keccak-256 only
//! where Ethereum's own formats ask for it (EIP-712, addresses).

use sha2::Digest as _;
use std::fmt;

/// A 32-byte digest or other 32-byte word of a signed record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The all-zero word: "absent" in signed records.
    pub const ZERO: Self = Self([0; 32]);

    /// Reads 64 hex digits, with or without `0x`.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// The first eight bytes, big-endian: a seed or a coin from a digest.
    #[must_use]
    pub fn first_u64(&self) -> u64 {
        u64::from_be_bytes(self.0[..8].try_into().expect("a digest has 32 bytes"))
    }

    /// The first eight hex digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// SHA-256 over the concatenation of `parts`. Callers fix every part's length or prefix it.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Digest(hasher.finalize().into())
}

/// Keccak-256 (the pre-standard SHA-3 of Ethereum) over the concatenation of `parts`.
#[must_use]
pub fn keccak256(parts: &[&[u8]]) -> Digest {
    let mut hasher = sha3::Keccak256::new();
    for part in parts {
        sha3::Digest::update(&mut hasher, part);
    }
    Digest(sha3::Digest::finalize(hasher).into())
}
