//! The wants of one peer that wait for an answer.

use crate::limits::WANTS_QUEUED;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use talkoo_base::Cid;
use talkoo_store::bitswap::Want;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Queue {
    by_order: BTreeMap<u64, Want>,
    by_cid: BTreeMap<Cid, u64>,
    next: u64,
}

impl Queue {
    fn remove(&mut self, cid: &Cid) {
        if let Some(order) = self.by_cid.remove(cid) {
            self.by_order.remove(&order);
        }
    }

    fn push(&mut self, want: Want) {
        // A later want for the same block replaces the earlier one: a want-have becomes a want-block.
        self.remove(&want.cid);
        self.by_cid.insert(want.cid, self.next);
        self.by_order.insert(self.next, want);
        self.next += 1;
    }
}

/// A bounded queue in which a want can be taken back.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    queue: Mutex<Queue>,
    added: Notify,
    taken: Notify,
}

impl Wants {
    /// Applies a wantlist; waits while the queue is full, so that the peer's streams are not read.
    pub(super) async fn push(&self, is_full: bool, wants: Vec<Want>) {
        if is_full {
            *self.lock() = Queue::default();
        }
        for want in wants {
            if want.cancel {
                self.lock().remove(&want.cid);
                continue;
            }
            loop {
                let taken = self.taken.notified();
                if self.lock().by_order.len() < WANTS_QUEUED {
                    break;
                }
                taken.await;
            }
            self.lock().push(want);
            self.added.notify_one();
        }
    }

    /// Waits for wants and takes at most `count` of them, the oldest first.
    pub(super) async fn take(&self, count: usize) -> VecDeque<Want> {
        loop {
            let added = self.added.notified();
            let wants = self.try_take(count);
            if !wants.is_empty() {
                self.taken.notify_waiters();
                return wants;
            }
            added.await;
        }
    }

    fn try_take(&self, count: usize) -> VecDeque<Want> {
        let mut queue = self.lock();
        let mut out = VecDeque::new();
        while out.len() < count {
            let Some((_, want)) = queue.by_order.pop_first() else { break };
            queue.by_cid.remove(&want.cid);
            out.push_back(want);
        }
        out
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
