//! What an owner tells everybody about a version of its data: a public block of canonical DAG-CBOR. Its SHA-256 is on the
//! chain, so whoever has the version's id finds it and knows that it is the owner's.

use serde::{Deserialize, Serialize};
use talkoo_base::wire::{Check, DecodeError, cid_of, decode, encode};
use talkoo_base::{Address, Cid, Digest, NodeId};
use talkoo_store::Block;

/// Version of a manifest.
const VERSION: u16 = 1;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of title, licence, or a purpose.
const TITLE_BYTES_MAX: usize = 256;
/// Bytes of a description, and of a licence that is a text.
const TEXT_BYTES_MAX: usize = 16 << 10;
/// Entries of a list.
const LIST_MAX: usize = 16;

/// What the plaintext is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The bytes of one file.
    File,
    /// A CAR of a UnixFS folder.
    Folder,
}

impl Kind {
    /// For people and programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
        }
    }
}

/// What a version was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub(crate) version: Digest,
    /// Ten-thousandths of the income.
    pub(crate) bps: u16,
}

/// A version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) version: u16,
    pub(crate) owner: Address,
    /// What the owner calls it: `OWNER/NAME`.
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) description: String,
    /// An SPDX id, or the text.
    pub(crate) licence: String,
    pub(crate) purposes: Vec<String>,
    /// Root of the sealed object.
    pub(crate) sealed: Cid,
    /// Its length: of the plaintext no more is told than this padded one.
    pub(crate) sealed_bytes: u64,
    pub(crate) kind: Kind,
    pub(crate) parents: Vec<Parent>,
    /// What anybody may see.
    pub(crate) preview: Option<Cid>,
    /// Nodes that deliver keys and sealed blocks.
    pub(crate) nodes: Vec<NodeId>,
    /// If there are any, no key is ever delivered: only this code may read, at the owner's.
    pub(crate) compute: Vec<Cid>,
}

impl Check for Manifest {
    fn check(&self) -> Result<(), DecodeError> {
        if self.version != VERSION {
            return Err(DecodeError::UnsupportedVersion(self.version));
        }
        let rules = [
            (is_name(&self.name), "a name has 1 to 64 lower-case letters, digits and `-`, `_`, `.`"),
            (self.title.len() <= TITLE_BYTES_MAX, "the title has more than 256 bytes"),
            (self.description.len() <= TEXT_BYTES_MAX, "the description has more than 16 KiB"),
            (self.licence.len() <= TEXT_BYTES_MAX, "the licence has more than 16 KiB"),
            (self.purposes.iter().all(|purpose| purpose.len() <= TITLE_BYTES_MAX), "a purpose has more than 256 bytes"),
            (self.purposes.len() <= LIST_MAX && self.nodes.len() <= LIST_MAX, "more than 16 purposes or nodes"),
            (self.parents.len() <= LIST_MAX && self.compute.len() <= LIST_MAX, "more than 16 parents or programs"),
            (self.parents.iter().map(|parent| u32::from(parent.bps)).sum::<u32>() <= 10_000, "the shares are above 1"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, why)| Err(DecodeError::Rule(why)))
    }
}

/// Whether it can be a name.
pub(crate) fn is_name(name: &str) -> bool {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(ok)
}

impl Manifest {
    pub(crate) const VERSION: u16 = VERSION;

    /// Its block.
    pub(crate) fn block(&self) -> Block {
        let bytes = encode(self);
        let cid = cid_of(&bytes);
        Block::verified(cid, bytes.into()).expect("its own hash")
    }

    /// Reads a block.
    ///
    /// # Errors
    /// Not a manifest, not its one spelling, or a rule that is broken.
    pub(crate) fn read(block: &Block) -> Result<Self, DecodeError> {
        decode(block.bytes())
    }

    /// SHA-256 of its licence, as the chain has it.
    pub(crate) fn licence_hash(&self) -> Digest {
        talkoo_base::sha256(&[self.licence.as_bytes()])
    }
}

/// The CID of a manifest, from its SHA-256.
pub(crate) fn cid_of_digest(digest: &[u8; 32]) -> Cid {
    let hash = multihash::Multihash::wrap(talkoo_store::SHA2_256, digest).expect("32 bytes fit");
    Cid::new_v1(talkoo_store::DAG_CBOR, hash)
}

/// SHA-256 of a purpose, as an offer on the chain has it.
pub(crate) fn purpose_hash(purpose: &str) -> Digest {
    talkoo_base::sha256(&[purpose.as_bytes()])
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use talkoo_base::SecretKey;

    pub(crate) fn manifest() -> Manifest {
        let sealed = cid_of(b"sealed");
        Manifest {
            version: VERSION,
            owner: Address([1; 20]),
            name: "corpus".into(),
            title: "A corpus".into(),
            description: String::new(),
            licence: "CC-BY-4.0".into(),
            purposes: vec!["research".into()],
            sealed,
            sealed_bytes: 112,
            kind: Kind::File,
            parents: vec![Parent { version: Digest([2; 32]), bps: 2_000 }],
            preview: None,
            nodes: vec![SecretKey::from_bytes(&[1; 32]).unwrap().node_id()],
            compute: Vec::new(),
        }
    }

    #[test]
    fn a_manifest_has_one_spelling_and_rules() {
        let good = manifest();
        let block = good.block();
        assert_eq!(Manifest::read(&block).unwrap(), good);
        assert_eq!(block.cid().to_string(), "bafyreibuowh7vqhps4646jz72padqwr4omgbcvazkhosjlosfjunkads4a");
        type Change = fn(&mut Manifest);
        let bad: [(&str, Change); 6] = [
            ("version", |m| m.version = 2),
            ("no name", |m| m.name.clear()),
            ("a path", |m| m.name = "../x".into()),
            ("long", |m| m.description = "x".repeat(TEXT_BYTES_MAX + 1)),
            ("shares", |m| m.parents.push(Parent { version: Digest([3; 32]), bps: 8_001 })),
            ("nodes", |m| m.nodes = vec![m.nodes[0]; 17]),
        ];
        for (what, change) in bad {
            let mut manifest = good.clone();
            change(&mut manifest);
            assert!(Manifest::read(&manifest.block()).is_err(), "{what}");
        }
    }
}
