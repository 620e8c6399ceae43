//! What an owner tells everybody about a version of its data: a public block of canonical DAG-CBOR. Its SHA-256 is on the
//! chain, so whoever has the version's id finds it and knows that it is the owner's.

use serde::{Deserialize, Serialize};
use talkoo_base::wire::{Check, DecodeError, cid_of, decode, encode};
use talkoo_base::{Address, Cid, Digest, NodeId, sha256};
use talkoo_store::Block;
use talkoo_store::seal::shares::{SHARES_MAX, Secret};

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

/// A node that has a share of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keeper {
    pub(crate) node: NodeId,
    /// What its share has to fit: see [`commitment`].
    pub(crate) commitment: Digest,
}

/// Who sells for an owner that is away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keepers {
    /// Shares that give the key.
    pub(crate) k: u8,
    /// Whether they have the sealed blocks, too.
    pub(crate) with_data: bool,
    /// The first has share 1.
    pub(crate) of: Vec<Keeper>,
}

impl Keepers {
    /// The number of a node's share.
    pub(crate) fn part_of(&self, node: &NodeId) -> Option<u8> {
        (1..).zip(&self.of).find(|(_, keeper)| keeper.node == *node).map(|(part, _)| part)
    }

    /// Whether this is the share of that number.
    pub(crate) fn fits(&self, part: u8, share: &Secret) -> bool {
        let keeper = usize::from(part).checked_sub(1).and_then(|at| self.of.get(at));
        keeper.is_some_and(|keeper| keeper.commitment == commitment(part, share))
    }

    /// What a keeper delivers on the chain: SHA-256 of a domain and the commitments.
    pub(crate) fn promise(&self) -> Digest {
        let parts = self.of.iter().map(|keeper| &keeper.commitment.0[..]);
        sha256(&[&b"talkoo/data/keepers/1"[..]].into_iter().chain(parts).collect::<Vec<_>>())
    }

    fn are_good(&self) -> bool {
        let n = u8::try_from(self.of.len()).unwrap_or(u8::MAX);
        let once = |at: usize| self.of[..at].iter().all(|keeper| keeper.node != self.of[at].node);
        self.k >= 2 && self.k <= n && n <= SHARES_MAX && (0..self.of.len()).all(once)
    }
}

/// SHA-256 of a domain, the share's number and the share. A share is 32 random bytes itself, so it needs no salt.
pub(crate) fn commitment(part: u8, share: &Secret) -> Digest {
    sha256(&[b"talkoo/data/share/1", &[part], &share[..]])
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
    /// Left out where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keepers: Option<Keepers>,
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
            (
                self.keepers.as_ref().is_none_or(Keepers::are_good),
                "keepers are 2 to 16 nodes, once each, and 2 ≤ k ≤ n",
            ),
            (self.keepers.is_none() || self.compute.is_empty(), "a key that only named code uses has no keepers"),
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

    /// The owner's nodes, then the keepers.
    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        let keepers = self.keepers.iter().flat_map(|keepers| &keepers.of).map(|keeper| keeper.node);
        self.nodes.iter().copied().chain(keepers)
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
            keepers: None,
        }
    }

    pub(crate) fn keepers(k: u8, n: u8) -> Keepers {
        let node = |byte| SecretKey::from_bytes(&[byte; 32]).unwrap().node_id();
        let keeper = |part| Keeper { node: node(part), commitment: commitment(part, &Secret::new([part; 32])) };
        Keepers { k, with_data: true, of: (1..=n).map(keeper).collect() }
    }

    #[test]
    fn keepers_have_numbers_and_commitments() {
        let keepers = keepers(2, 3);
        assert_eq!(keepers.part_of(&keepers.of[2].node), Some(3));
        assert_eq!(keepers.part_of(&NodeId::pretended(9)), None);
        for (part, byte, fits) in
            [(1, 1, true), (3, 3, true), (1, 2, false), (2, 1, false), (0, 0, false), (4, 4, false)]
        {
            assert_eq!(keepers.fits(part, &Secret::new([byte; 32])), fits, "{part} {byte}");
        }
        let mut fewer = keepers.clone();
        fewer.of.pop();
        assert_ne!(keepers.promise(), fewer.promise());
    }

    #[test]
    fn a_manifest_has_one_spelling_and_rules() {
        let good = manifest();
        let block = good.block();
        assert_eq!(Manifest::read(&block).unwrap(), good);
        assert_eq!(block.cid().to_string(), "bafyreibuowh7vqhps4646jz72padqwr4omgbcvazkhosjlosfjunkads4a");
        let kept = Manifest { keepers: Some(keepers(2, 3)), ..manifest() };
        assert_eq!(Manifest::read(&kept.block()).unwrap(), kept);
        assert_eq!(kept.block().cid().to_string(), "bafyreicryq6g7fginidsgrn2m57wedgyhqiokkcgib6qpowewn4ej45d4m");
        type Change = fn(&mut Manifest);
        let bad: [(&str, Change); 12] = [
            ("version", |m| m.version = 2),
            ("no name", |m| m.name.clear()),
            ("a path", |m| m.name = "../x".into()),
            ("long", |m| m.description = "x".repeat(TEXT_BYTES_MAX + 1)),
            ("shares", |m| m.parents.push(Parent { version: Digest([3; 32]), bps: 8_001 })),
            ("nodes", |m| m.nodes = vec![m.nodes[0]; 17]),
            ("one is enough", |m| m.keepers = Some(keepers(1, 3))),
            ("never enough", |m| m.keepers = Some(keepers(4, 3))),
            ("too many", |m| m.keepers = Some(keepers(2, 17))),
            ("nobody", |m| m.keepers = Some(keepers(2, 0))),
            ("twice", |m| {
                m.keepers = Some(Keepers { of: [keepers(2, 2).of, keepers(2, 2).of].concat(), ..keepers(2, 2) });
            }),
            ("only code", |m| (m.keepers, m.compute) = (Some(keepers(2, 3)), vec![m.sealed])),
        ];
        for (what, change) in bad {
            let mut manifest = good.clone();
            change(&mut manifest);
            assert!(Manifest::read(&manifest.block()).is_err(), "{what}");
        }
    }
}
