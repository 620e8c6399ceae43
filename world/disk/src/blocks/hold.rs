//! Holds: what is put while one lives is not collected, pinned or not. An import or a download takes
//! one until its root is pinned.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use talkoo_base::Cid;

/// A block's name in memory: 128 bits of its digest, told apart by codec.
pub(super) type Mark = u128;

pub(super) fn mark_of(cid: &Cid) -> Mark {
    let mut bytes = [0; 16];
    let digest = cid.hash().digest();
    let len = digest.len().min(16);
    bytes[..len].copy_from_slice(&digest[..len]);
    Mark::from_le_bytes(bytes) ^ u128::from(cid.codec())
}

/// Keeps from collection whatever is put while it lives.
#[derive(Debug)]
pub struct Hold {
    holds: Arc<Mutex<Holds>>,
    number: u64,
}

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.holds).end(self.number);
    }
}

#[derive(Debug, Default)]
pub(super) struct Holds {
    next: u64,
    alive: BTreeSet<u64>,
    /// What was put, and the newest hold of that time.
    held: HashMap<Mark, u64>,
    /// One ended since the last collection.
    pub(super) has_ended: bool,
}

impl Holds {
    pub(super) fn keep(&mut self, cids: impl Iterator<Item = Mark>) {
        if let Some(newest) = self.next.checked_sub(1).filter(|_| !self.alive.is_empty()) {
            self.held.extend(cids.map(|mark| (mark, newest)));
        }
    }

    pub(super) fn has(&self, mark: Mark) -> bool {
        self.held.contains_key(&mark)
    }

    fn end(&mut self, number: u64) {
        self.alive.remove(&number);
        self.has_ended = true;
        // What was put before the oldest of the living began is nobody's any more.
        match self.alive.first() {
            Some(&oldest) => self.held.retain(|_, newest| *newest >= oldest),
            None => self.held = HashMap::new(),
        }
    }
}

pub(super) fn begin(holds: &Arc<Mutex<Holds>>) -> Hold {
    let mut inner = lock(holds);
    let number = inner.next;
    inner.next += 1;
    inner.alive.insert(number);
    Hold { holds: Arc::clone(holds), number }
}

pub(super) fn lock(holds: &Mutex<Holds>) -> MutexGuard<'_, Holds> {
    holds.lock().unwrap_or_else(PoisonError::into_inner)
}
