//! What this node sold and can be asked about: one sealed file for each lease, until nobody can dispute it any more.
//!
//! File `sold/REQUEST`: until when it is kept (seconds since 1970, u64 BE), then DAG-CBOR of [`Sold`] sealed under
//! SHA-256("talkoo/sold-key/1" ‖ node key). It is written before a receipt leaves; a power cut may lose the last ones.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use talkoo_base::wire::Typed;
use talkoo_base::{Digest, Network, sha256};
use talkoo_ledger::contracts::{ANSWER_S, WINDOW_S};
use talkoo_proof::Sold;
use talkoo_store::seal::{JobKey, open, seal};
use tracing::{info, warn};

/// How long a lease is kept after its request's deadline, in seconds: a case is opened within the window, and has ten
/// questions and answers. Where the judge has longer clocks it is kept longer.
pub(super) const KEPT_S: u64 = WINDOW_S + 20 * ANSWER_S;
/// Leases that are kept at most, and their bytes. Whatever could be forgotten before its time would convict this node by its silence,
/// and cheap orders would make it forget: a sixteenth before the end no exact work is offered any more until some of it is over.
const SOLD_MAX: usize = 65_536;
const SOLD_BYTES_MAX: u64 = 4 << 30;
const LABEL: &[u8] = b"talkoo/sold/1";

/// Until when a file is kept, and its size.
type Kept = (u64, u64);

fn head(path: &Path) -> Result<Kept, String> {
    let (read, mut until) = (|why: std::io::Error| why.to_string(), [0; 8]);
    let mut file = std::fs::File::open(path).map_err(read)?;
    file.read_exact(&mut until).map_err(read)?;
    Ok((u64::from_be_bytes(until), file.metadata().map_err(read)?.len()))
}

/// The files.
pub(super) struct Shelf {
    dir: PathBuf,
    key: JobKey,
    network: Network,
    kept: Mutex<BTreeMap<Digest, Kept>>,
    /// Leases and bytes that are kept at most.
    pub(super) most: (usize, u64),
    is_full: AtomicBool,
}

impl Shelf {
    /// Opens the folder. What is none of ours stays as it is.
    pub(super) fn open(dir: PathBuf, node_key: [u8; 32], network: Network) -> std::io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        let key = JobKey::new(sha256(&[b"talkoo/sold-key/1", &node_key]).0);
        let mut kept = BTreeMap::new();
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|end| end == "part") {
                // A half that a kill left.
                std::fs::remove_file(&path)?;
                continue;
            }
            let name = path.file_name().and_then(|name| name.to_str()).and_then(Digest::from_hex);
            match name.ok_or_else(|| "its name is no lease's".to_owned()).and_then(|lease| Ok((lease, head(&path)?))) {
                Ok((lease, head)) => drop(kept.insert(lease, head)),
                Err(why) => warn!(path = %path.display(), why, "this can't be what was sold: left as it is"),
            }
        }
        let (most, is_full) = ((SOLD_MAX, SOLD_BYTES_MAX), AtomicBool::new(false));
        let shelf = Self { dir, key, network, kept: Mutex::new(kept), most, is_full };
        shelf.shrink();
        Ok(shelf)
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Digest, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, lease: &Digest) -> PathBuf {
        self.dir.join(lease.to_string())
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.kept().is_empty()
    }

    /// Whether nothing more should be sold until some of it is over.
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Acquire)
    }

    /// Whether a lease is kept.
    pub(super) fn has(&self, lease: &Digest) -> bool {
        self.kept().contains_key(lease)
    }

    /// Keeps a lease as it is now.
    pub(super) fn put(&self, sold: &Sold) {
        let request = &sold.case.request.body;
        let (lease, until) = (request.digest(&self.network), request.deadline.0 + KEPT_S);
        match self.write(&lease, until, sold) {
            Ok(bytes) => {
                self.kept().insert(lease, (until, bytes));
                self.shrink();
            }
            Err(why) => {
                warn!(%lease, %why, "what was sold could not be kept: a dispute about it would be lost");
                // A disk that takes no more has no room: until the next that fits, or the next sweep.
                self.is_full.store(true, Ordering::Release);
            }
        }
    }

    fn write(&self, lease: &Digest, until: u64, sold: &Sold) -> anyhow::Result<u64> {
        let sealed = seal(&self.key, LABEL, &serde_ipld_dagcbor::to_vec(sold)?)?;
        let (path, bytes) = (self.path(lease), [&until.to_be_bytes(), sealed.as_slice()].concat());
        let part = path.with_extension("part");
        std::fs::write(&part, &bytes)?;
        std::fs::rename(&part, &path)?;
        Ok(bytes.len() as u64)
    }

    /// A lease that is kept.
    pub(super) fn get(&self, lease: &Digest) -> Option<Sold> {
        self.kept().get(lease)?;
        let read = || -> anyhow::Result<Sold> {
            let bytes = std::fs::read(self.path(lease))?;
            let sealed = bytes.get(8..).unwrap_or_default();
            Ok(serde_ipld_dagcbor::from_slice(&open(&self.key, LABEL, sealed)?)?)
        };
        read().inspect_err(|why| warn!(%lease, %why, "what was sold can't be read")).ok()
    }

    /// Forgets what is over.
    pub(super) fn sweep(&self, now: u64) {
        let over: Vec<Digest> =
            self.kept().iter().filter(|(_, (until, _))| *until <= now).map(|(lease, _)| *lease).collect();
        over.iter().for_each(|lease| self.forget(lease));
        self.shrink();
        if !over.is_empty() {
            info!(leases = over.len(), "nobody can dispute them any more: forgotten");
        }
    }

    /// Makes room within the limits.
    fn shrink(&self) {
        loop {
            let kept = self.kept();
            let bytes: u64 = kept.values().map(|(_, bytes)| bytes).sum();
            let (leases_max, bytes_max) = self.most;
            let is_full = kept.len() > leases_max / 16 * 15 || bytes > bytes_max / 16 * 15;
            self.is_full.store(is_full, Ordering::Release);
            if kept.len() <= leases_max && bytes <= bytes_max {
                return;
            }
            let oldest = kept.iter().min_by_key(|(_, (until, _))| *until).map(|(lease, _)| *lease);
            drop(kept);
            oldest.iter().for_each(|lease| {
                warn!(%lease, "too much was sold to keep all of it: a dispute about this lease would be lost");
                self.forget(lease);
            });
        }
    }

    fn forget(&self, lease: &Digest) {
        self.kept().remove(lease);
        if let Err(why) = std::fs::remove_file(self.path(lease)) {
            warn!(%lease, %why, "a lease that is over could not be removed");
        }
    }
}
