//! What is kept of data in `<data-dir>/data`: one file of DAG-CBOR for each thing, written whole or not at all.

use super::manifest::Kind;
use super::{Answer, broken};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::io::Write as _;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use talkoo_base::wire::Sealed;
use talkoo_base::{Address, Cid, Delegation, Digest, NodeId, SecretKey, sha256};
use talkoo_store::seal::shares::Secret;
use talkoo_store::seal::stream::ContentKey;
use talkoo_store::seal::{self, JobKey};
use tracing::warn;

/// Data of ours, file `own/ROOT`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Own {
    /// Its file's or folder's name, told to nobody.
    pub(super) label: String,
    pub(super) sealed: Cid,
    pub(super) sealed_bytes: u64,
    pub(super) bytes: u64,
    pub(super) kind: Kind,
    /// The content key, sealed under the node's.
    pub(super) key: ByteBuf,
    pub(super) published: Option<Published>,
    /// Nodes that have it for nothing.
    pub(super) gifts: Vec<NodeId>,
    /// Set while an offer is made: until it is taken back, who delivers may not all be on the chain.
    #[serde(default)]
    pub(super) is_offering: bool,
    /// Whether a paid grant waits for the owner's word.
    #[serde(default)]
    pub(super) on_request: bool,
    /// Those who sell while we are away.
    #[serde(default)]
    pub(super) keepers: Option<Handed>,
}

/// What keepers of ours have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Handed {
    pub(super) k: u8,
    pub(super) with_data: bool,
    pub(super) to: Vec<Hand>,
}

/// A keeper of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hand {
    pub(super) node: NodeId,
    pub(super) has_share: bool,
    pub(super) has_data: bool,
    /// Its last no.
    pub(super) said: Option<String>,
}

impl Handed {
    /// Whether this keeper has all that it is to have.
    pub(super) fn is_done(&self, hand: &Hand) -> bool {
        hand.has_share && (hand.has_data || !self.with_data)
    }

    pub(super) fn are_done(&self) -> bool {
        self.to.iter().all(|hand| self.is_done(hand))
    }
}

/// Where it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) asset: u64,
    pub(super) version: Digest,
    pub(super) manifest: Cid,
}

/// A key that left, file `given/GRANT`: kept before it is delivered, so that a kill delivers the same one again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Given {
    pub(super) node: NodeId,
    pub(super) wrap: ByteBuf,
}

/// A paid grant that its buyer's node asked for and that needs the owner's word, file `asked/GRANT`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) grant: u64,
    pub(super) version: Digest,
    pub(super) node: NodeId,
    /// When it asked, and until when it can be delivered: Unix seconds, the chain's.
    pub(super) at: u64,
    pub(super) end: u64,
    /// Its word that it is the buyer's.
    pub(super) delegation: Sealed<Delegation>,
    /// The owner's word.
    pub(super) word: Option<Word>,
}

/// What an owner said to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    Approved,
    /// Why, perhaps nothing.
    Refused(String),
}

/// Data of others that we may read, file `bought/VERSION-GRANT`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Bought {
    pub(super) version: Digest,
    /// Zero for a gift.
    pub(super) grant: u64,
    pub(super) manifest: Cid,
    /// The content key, wrapped for our node.
    pub(super) wrap: Option<ByteBuf>,
    /// Whether all its blocks are here.
    pub(super) is_here: bool,
    /// Why it came to nothing.
    pub(super) over: Option<String>,
    /// Shares of the key that came of keepers, while they are too few.
    #[serde(default)]
    pub(super) shares: Vec<Part>,
}

/// A share, wrapped for our node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) part: u8,
    pub(super) wrap: ByteBuf,
}

/// A share that we keep for an owner, file `kept/VERSION`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) version: Digest,
    /// Whose it is.
    pub(super) of: Address,
    pub(super) sealed: Cid,
    /// Of the sealed object, if we have it or are to.
    pub(super) sealed_bytes: Option<u64>,
    /// Whether all its blocks are here.
    pub(super) is_here: bool,
    /// Whether they are more than the manifest says: they are not wanted any more.
    pub(super) is_too_large: bool,
    /// The share, sealed under the node's key.
    pub(super) share: ByteBuf,
}

impl Kept {
    /// Whether its blocks are still to come.
    pub(super) fn is_wanted(&self) -> bool {
        self.sealed_bytes.is_some() && !self.is_here && !self.is_too_large
    }
}

/// What this node keeps for others, file `keep`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Room {
    pub(super) bytes: u64,
}

impl Bought {
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.version, self.grant)
    }
}

/// A folder of records.
#[derive(Debug)]
pub(super) struct Shelf<T> {
    dir: PathBuf,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Shelf<T> {
    pub(super) fn open(dir: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, of: PhantomData })
    }

    /// Writes one; it is on the disk when this returns.
    pub(super) fn put(&self, name: &str, record: &T) -> std::io::Result<()> {
        let (path, part) = (self.dir.join(name), self.dir.join(format!("{name}.part")));
        let bytes = serde_ipld_dagcbor::to_vec(record).expect("a record holds no floats and only string keys");
        let mut file = std::fs::File::create(&part)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(part, path)?;
        std::fs::File::open(&self.dir)?.sync_all()
    }

    pub(super) fn get(&self, name: &str) -> Option<T> {
        read(&self.dir.join(name))
    }

    pub(super) fn remove(&self, name: &str) -> std::io::Result<()> {
        std::fs::remove_file(self.dir.join(name))?;
        std::fs::File::open(&self.dir)?.sync_all()
    }

    /// All of them. What can't be read is said, and left.
    pub(super) fn all(&self) -> Vec<T> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_none());
        paths.sort();
        paths.iter().filter_map(|path| read(path)).collect()
    }
}

/// 32 random bytes, or fewer.
pub(super) fn random<const N: usize>() -> Answer<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|why| broken(format!("the system gives no random bytes: {why}")))?;
    Ok(bytes)
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = std::fs::read(path).ok()?;
    let record = serde_ipld_dagcbor::from_slice(&bytes);
    record.inspect_err(|why| warn!(path = %path.display(), %why, "a record of data can't be read")).ok()
}

/// Keeps keys and shares under the node's own key.
#[derive(Clone, Debug)]
pub(super) struct Keyring(JobKey);

impl Keyring {
    pub(super) fn of(node: &SecretKey) -> Self {
        Self(JobKey::new(sha256(&[b"talkoo/data/keys/1", &node.expose()]).0))
    }

    /// Seals a secret; `of` says whose it is.
    pub(super) fn seal(&self, of: &[u8], secret: &[u8; 32]) -> ByteBuf {
        ByteBuf::from(seal::seal(&self.0, of, secret).expect("32 bytes"))
    }

    pub(super) fn open(&self, of: &[u8], sealed: &[u8]) -> Option<Secret> {
        let plain = zeroize::Zeroizing::new(seal::open(&self.0, of, sealed).ok()?);
        <[u8; 32]>::try_from(&plain[..]).ok().map(Secret::new)
    }

    /// The content key of data of ours.
    pub(super) fn key(&self, own: &Own) -> Option<ContentKey> {
        self.open(&own.sealed.to_bytes(), &own.key).map(|key| ContentKey::new(*key))
    }

    /// What is drawn for a share: always the same for the same data, keepers and number, so that nothing has to be kept, and another
    /// choice of keepers has other shares. Without the node's key it is random.
    pub(super) fn draw(&self, root: &Cid, k: u8, nodes: &[NodeId], part: u8) -> Secret {
        let root = root.to_bytes();
        let mut parts = vec![&b"talkoo/data/shares/1"[..], self.0.expose(), &root];
        let numbers = [k, part];
        parts.extend(nodes.iter().map(|node| &node.as_bytes()[..]));
        parts.push(&numbers);
        Secret::new(sha256(&parts).0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::manifest::tests::{keepers, manifest};
    use super::*;

    #[test]
    fn what_is_drawn_depends_on_everything_and_nothing_else() {
        let key = |byte| Keyring::of(&SecretKey::from_bytes(&[byte; 32]).unwrap());
        let nodes: Vec<NodeId> = keepers(2, 3).of.iter().map(|keeper| keeper.node).collect();
        let (root, other) = (manifest().sealed, *manifest().block().cid());
        let first = key(1).draw(&root, 2, &nodes, 1);
        assert_eq!(first, key(1).draw(&root, 2, &nodes, 1));
        let others = [
            key(2).draw(&root, 2, &nodes, 1),
            key(1).draw(&other, 2, &nodes, 1),
            key(1).draw(&root, 3, &nodes, 1),
            key(1).draw(&root, 2, &nodes[..2], 1),
            key(1).draw(&root, 2, &nodes, 2),
        ];
        assert!(!others.contains(&first));
    }

    #[test]
    fn a_secret_opens_with_its_key_and_name() {
        let ring = |byte| Keyring::of(&SecretKey::from_bytes(&[byte; 32]).unwrap());
        let sealed = ring(1).seal(b"a", &[7; 32]);
        assert_eq!(ring(1).open(b"a", &sealed).as_deref(), Some(&[7; 32]));
        assert!(ring(1).open(b"b", &sealed).is_none() && ring(2).open(b"a", &sealed).is_none());
    }

    #[test]
    fn records_of_before_keepers_are_read() {
        #[derive(Serialize)]
        struct Before {
            version: Digest,
            grant: u64,
            manifest: Cid,
            wrap: Option<ByteBuf>,
            is_here: bool,
            over: Option<String>,
        }
        let (version, manifest) = (Digest([1; 32]), manifest().sealed);
        let before = Before { version, grant: 3, manifest, wrap: None, is_here: false, over: None };
        let dir = tempfile::tempdir().unwrap();
        let shelf = |dir: &Path| Shelf::<Bought>::open(dir.to_owned()).unwrap();
        std::fs::write(dir.path().join("x"), serde_ipld_dagcbor::to_vec(&before).unwrap()).unwrap();
        let bought = shelf(dir.path()).get("x").unwrap();
        assert_eq!((bought.grant, bought.shares.len()), (3, 0));
        shelf(dir.path()).remove("x").unwrap();
        assert!(shelf(dir.path()).all().is_empty());
    }
}
