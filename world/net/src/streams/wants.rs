//! The wants of one peer that wait for an answer.

use crate::limits::WANTS_QUEUED;
use std::collections::BTreeMap;
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
}

impl Wants {
    /// Applies a wantlist; how many of its wants did not fit into the queue.
    pub(super) fn push(&self, is_full: bool, wants: Vec<Want>) -> u64 {
        let mut queue = self.lock();
        if is_full {
            *queue = Queue { next: queue.next, ..Queue::default() };
        }
        let mut refused = 0;
        for want in wants {
            let has_room = queue.by_order.len() < WANTS_QUEUED || queue.by_cid.contains_key(&want.cid);
            match want.cancel {
                true => queue.remove(&want.cid),
                false if has_room => queue.push(want),
                false => refused += 1,
            }
        }
        self.added.notify_one();
        refused
    }

    /// Waits until there are wants.
    pub(super) async fn some(&self) {
        loop {
            let added = self.added.notified();
            if !self.lock().by_order.is_empty() {
                return;
            }
            added.await;
        }
    }

    /// Takes the oldest want. One at a time, so that all others can still be taken back.
    pub(super) fn pop(&self) -> Option<Want> {
        let mut queue = self.lock();
        let (_, want) = queue.by_order.pop_first()?;
        queue.by_cid.remove(&want.cid);
        Some(want)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use talkoo_store::bitswap::WantKind;
    use talkoo_store::{Block, RAW};

    fn want(n: u32) -> Want {
        let block = Block::of(RAW, Bytes::copy_from_slice(&n.to_le_bytes())).unwrap();
        Want::new(*block.cid(), WantKind::Block)
    }

    fn left(wants: &Wants) -> Vec<Want> {
        std::iter::from_fn(|| wants.pop()).collect()
    }

    #[test]
    fn what_is_taken_back_or_replaced_is_not_answered() {
        let wants = Wants::default();
        wants.push(false, (0..4).map(want).collect());
        assert_eq!(wants.pop(), Some(want(0)));
        wants.push(false, vec![Want::cancel(want(2).cid), Want { kind: WantKind::Have, ..want(1) }]);
        assert_eq!(left(&wants), [want(3), Want { kind: WantKind::Have, ..want(1) }]);
        wants.push(false, vec![want(5), want(6)]);
        wants.push(true, vec![want(7)]);
        assert_eq!(left(&wants), [want(7)], "a full wantlist replaces what was wanted before");
    }

    #[test]
    fn a_list_without_end_is_cut_and_counted() {
        let (wants, max) = (Wants::default(), u32::try_from(WANTS_QUEUED).unwrap());
        assert_eq!(wants.push(false, (0..max).map(want).collect()), 0);
        assert_eq!(wants.push(false, (0..max + 5).map(want).collect()), 5);
        assert_eq!(wants.push(false, vec![Want::cancel(want(3).cid), want(max + 1)]), 0);
        assert_eq!(left(&wants).len(), WANTS_QUEUED);
    }
}
