//! What is kept of data in `<data-dir>/data`: one file of DAG-CBOR for each thing, written whole or not at all.

use super::manifest::Kind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::io::Write as _;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use talkoo_base::{Cid, Digest, NodeId, SecretKey, sha256};
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

    pub(super) fn path(&self) -> PathBuf {
        self.dir.clone()
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

    /// All of them. What can't be read is said, and left.
    pub(super) fn all(&self) -> Vec<T> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.retain(|path| path.extension().is_none());
        paths.sort();
        paths.iter().filter_map(|path| read(path)).collect()
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = std::fs::read(path).ok()?;
    let record = serde_ipld_dagcbor::from_slice(&bytes);
    record.inspect_err(|why| warn!(path = %path.display(), %why, "a record of data can't be read")).ok()
}

/// Keeps content keys under the node's own.
#[derive(Clone, Debug)]
pub(super) struct Keyring(JobKey);

impl Keyring {
    pub(super) fn of(node: &SecretKey) -> Self {
        Self(JobKey::new(sha256(&[b"talkoo/data/keys/1", &node.expose()]).0))
    }

    pub(super) fn seal(&self, root: &Cid, key: &ContentKey) -> ByteBuf {
        let sealed = seal::seal(&self.0, &root.to_bytes(), key.expose());
        ByteBuf::from(sealed.expect("32 bytes"))
    }

    pub(super) fn open(&self, own: &Own) -> Option<ContentKey> {
        let mut plain = seal::open(&self.0, &own.sealed.to_bytes(), &own.key).ok()?;
        let key = <[u8; 32]>::try_from(&plain[..]).ok().map(ContentKey::new);
        zeroize::Zeroize::zeroize(&mut plain);
        key
    }
}
