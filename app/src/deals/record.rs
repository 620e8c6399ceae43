//! What is kept of deals beside the chain: as a client which objects, where and how; as a provider which replicas, and on what terms.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use talkoo_base::{Address, Cid, Digest, NodeId};
use tracing::warn;

/// Seconds of the month that prices are for.
const MONTH_S: u128 = 30 * 24 * 3_600;

/// On what terms a provider keeps things, file `deals/offer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offering {
    /// Bytes for all deals; none: nothing new.
    pub(super) space: u64,
    /// Micro-units for a GiB and 30 days.
    pub(super) rate: u64,
}

/// The price of an epoch at a rate, rounded up.
pub(super) fn price_of(bytes: u64, epoch_s: u64, rate: u64) -> u64 {
    let units = u128::from(bytes) * u128::from(epoch_s);
    let price = units.saturating_mul(u128::from(rate)).div_ceil(MONTH_S << 30);
    u64::try_from(price).unwrap_or(u64::MAX)
}

/// A replica that we keep for pay, file `deals/kept/DEAL`; its tree is beside it, `DEAL.tree`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) deal: Digest,
    pub(super) cid: Cid,
    pub(super) bytes: u64,
}

/// How far a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fate {
    /// The provider has not accepted yet.
    Placing,
    /// It is paid for.
    Active,
    /// Its time is over.
    Done,
    /// It was not accepted, not proven, or could not be fetched.
    Lost,
}

/// A replica of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Replica {
    pub(super) number: u32,
    pub(super) node: NodeId,
    pub(super) owner: Address,
    pub(super) cid: Cid,
    pub(super) root: Digest,
    pub(super) bytes: u64,
    pub(super) epochs: u32,
    pub(super) price: u64,
    pub(super) deal: Digest,
    pub(super) fate: Fate,
    /// Fetches that failed in a row, and all that were made.
    pub(super) failed: u32,
    pub(super) checks: u32,
    /// When the next is due, in unix seconds.
    pub(super) check_at: u64,
}

impl Replica {
    /// Whether it counts among those that there shall be.
    pub(super) fn counts(&self) -> bool {
        self.fate != Fate::Lost
    }
}

/// Something that we want kept, file `deals/objects/CID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Object {
    pub(super) cid: Cid,
    pub(super) wanted: u32,
    pub(super) epoch_s: u64,
    /// Unix second.
    pub(super) until: u64,
    /// Micro-units for a GiB and 30 days, at most.
    pub(super) rate_max: u64,
    pub(super) replicas: Vec<Replica>,
}

/// Records of one kind, one a file.
pub(super) struct Records<T> {
    dir: PathBuf,
    of: PhantomData<T>,
}

impl<T: Serialize + DeserializeOwned> Records<T> {
    pub(super) fn open(dir: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, of: PhantomData })
    }

    /// Writes one, whole or not at all.
    pub(super) fn keep(&self, name: &str, record: &T) -> Result<()> {
        let bytes = serde_ipld_dagcbor::to_vec(record).expect("a record holds no floats and only string keys");
        write(&self.dir.join(name), &bytes)
    }

    pub(super) fn get(&self, name: &str) -> Option<T> {
        read(&self.dir.join(name))
    }

    pub(super) fn remove(&self, name: &str) {
        std::fs::remove_file(self.dir.join(name)).ok();
    }

    /// The file beside a record that holds its tree.
    pub(super) fn tree(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("tree")
    }

    /// All of them, by name. What can't be read is said, and left.
    pub(super) fn all(&self) -> Vec<T> {
        let entries = std::fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok);
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.is_file() && path.extension().is_none()).collect();
        paths.sort();
        paths.iter().filter_map(|path| read(path)).collect()
    }
}

/// Writes a file, whole or not at all, that survives a power cut.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)?;
        File::open(path.parent().expect("it is in a folder"))?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let bytes = std::fs::read(path).ok()?;
    let record = serde_ipld_dagcbor::from_slice(&bytes);
    record.inspect_err(|why| warn!(path = %path.display(), %why, "a record of deals can't be read")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_rounded_up_and_never_overflow() {
        let (gib, month) = (1 << 30, 30 * 24 * 3_600);
        let cases = [(gib, month, 5_000_000, 5_000_000), (1, 1, 1, 1), (gib, month / 30, 30, 1), (0, month, 9, 0)];
        for (bytes, epoch_s, rate, want) in cases {
            assert_eq!(price_of(bytes, epoch_s, rate), want, "{bytes} {epoch_s} {rate}");
        }
        assert_eq!(price_of(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn records_are_read_again_and_damaged_ones_left() {
        let dir = tempfile::tempdir().unwrap();
        let records: Records<Offering> = Records::open(dir.path().join("offers")).unwrap();
        let offering = Offering { space: 1 << 40, rate: 7 };
        records.keep("b", &offering).unwrap();
        std::fs::write(dir.path().join("offers/a"), "not a record").unwrap();
        assert_eq!(records.all(), [offering]);
        assert_eq!((records.get("b"), records.get("a")), (Some(offering), None));
        records.remove("b");
        assert_eq!(records.get("b"), None);
    }
}
