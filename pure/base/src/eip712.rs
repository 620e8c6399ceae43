//! EIP-712 typed structured data: the digest every signature of Talkoo signs.
//!
//! Source: <https://eips.ethereum.org/EIPS/eip-712>. Only the atomic types we use are here.

use crate::hash::{Digest, keccak256};
use crate::keys::Address;
use std::cell::RefCell;

/// Type hashes and separators remembered by a thread: every digest needs one of each, of the same few.
const KNOWN_MAX: usize = 32;

thread_local! {
    static TYPES: RefCell<Vec<(String, Digest)>> = const { RefCell::new(Vec::new()) };
    static SEPARATORS: RefCell<Vec<(Domain, Digest)>> = const { RefCell::new(Vec::new()) };
}

/// What `make` gives for `key`, or gave before.
fn remembered<K, Q: ?Sized>(
    known: &RefCell<Vec<(K, Digest)>>,
    key: &Q,
    is_it: impl Fn(&K, &Q) -> bool,
    make: impl FnOnce(&Q) -> (K, Digest),
) -> Digest {
    let mut known = known.borrow_mut();
    if let Some((_, digest)) = known.iter().find(|(k, _)| is_it(k, key)) {
        return *digest;
    }
    let (key, digest) = make(key);
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    known.push((key, digest));
    digest
}

/// An EIP-712 domain with name, version, chain id and verifying contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Human name of the signing domain.
    pub name: &'static str,
    /// Version of the signing domain.
    pub version: &'static str,
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The contract that will verify.
    pub verifying_contract: Address,
}

impl Domain {
    /// The domain separator.
    #[must_use]
    pub fn separator(&self) -> Digest {
        SEPARATORS.with(|known| remembered(known, self, |k, q| k == q, |domain| (*domain, domain.hash())))
    }

    fn hash(&self) -> Digest {
        StructHash::new("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
            .bytes(self.name.as_bytes())
            .bytes(self.version.as_bytes())
            .uint(u128::from(self.chain_id))
            .address(&self.verifying_contract)
            .finish()
    }

    /// The digest to sign for a struct: keccak256(0x19 0x01 ‖ separator ‖ struct hash).
    #[must_use]
    pub fn digest(&self, struct_hash: &Digest) -> Digest {
        keccak256(&[&[0x19, 0x01], &self.separator().0, &struct_hash.0])
    }
}

/// Builds `hashStruct`: feed the fields in the order of the type string.
pub struct StructHash(Vec<u8>);

impl StructHash {
    /// Starts with the full encoded type, referenced structs appended in alphabetical order.
    #[must_use]
    pub fn new(encoded_type: &str) -> Self {
        let make = |text: &str| (text.to_owned(), keccak256(&[text.as_bytes()]));
        let hash = TYPES.with(|known| remembered(known, encoded_type, |k, q| k == q, make));
        let mut bytes = Vec::with_capacity(512);
        bytes.extend_from_slice(&hash.0);
        Self(bytes)
    }

    /// A `bytes32`, or the `hashStruct` of a nested struct.
    #[must_use]
    pub fn word(mut self, word: &Digest) -> Self {
        self.0.extend_from_slice(&word.0);
        self
    }

    /// Any `uintN` up to 128 bits.
    #[must_use]
    pub fn uint(mut self, value: u128) -> Self {
        self.0.extend_from_slice(&[0; 16]);
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Any `intN` up to 128 bits: two's complement, extended by its sign.
    #[must_use]
    pub fn int(mut self, value: i128) -> Self {
        self.0.extend_from_slice(&[if value < 0 { 0xff } else { 0 }; 16]);
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// An `address`.
    #[must_use]
    pub fn address(mut self, address: &Address) -> Self {
        self.0.extend_from_slice(&[0; 12]);
        self.0.extend_from_slice(&address.0);
        self
    }

    /// A `bytes` or `string`.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let word = keccak256(&[bytes]);
        self.word(&word)
    }

    /// A `bytes32[]`.
    #[must_use]
    pub fn words(self, words: &[Digest]) -> Self {
        let parts: Vec<&[u8]> = words.iter().map(|w| w.0.as_slice()).collect();
        let word = keccak256(&parts);
        self.word(&word)
    }

    /// `hashStruct` of what was fed.
    #[must_use]
    pub fn finish(self) -> Digest {
        keccak256(&[&self.0])
    }
}
