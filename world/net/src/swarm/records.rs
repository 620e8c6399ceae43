//! What others write into our part of a DHT: who has which root, within bounds, and nothing else.

use super::Task;
use crate::limits::{PROVIDER_RECORDS_MAX, PROVIDER_RECORDS_PER_PEER, RECORDS_WINDOW};
use libp2p::kad::store::RecordStore as _;
use libp2p::{PeerId, kad};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// How much each peer wrote in the present window.
#[derive(Default)]
pub(super) struct Records {
    since: Option<Instant>,
    by_peer: BTreeMap<PeerId, usize>,
    all: usize,
}

impl Records {
    /// Whether a peer may write one more.
    fn admit(&mut self, peer: PeerId, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= RECORDS_WINDOW) {
            *self = Self { since: Some(now), ..Self::default() };
        }
        let written = self.by_peer.get(&peer).copied().unwrap_or(0);
        if written >= PROVIDER_RECORDS_PER_PEER || self.all >= PROVIDER_RECORDS_MAX {
            return false;
        }
        self.by_peer.insert(peer, written + 1);
        self.all += 1;
        true
    }
}

impl Task {
    /// Takes a provider's word for itself, within bounds; values are not kept at all.
    pub(super) fn on_written(&mut self, request: kad::InboundRequest, is_ipfs: bool) {
        let kept = match request {
            kad::InboundRequest::AddProvider { record: Some(record) } => {
                let admitted = self.records.admit(record.provider, Instant::now());
                let behaviour = self.swarm.behaviour_mut();
                let kad = if is_ipfs { behaviour.ipfs.as_mut() } else { Some(&mut behaviour.kad) };
                admitted && kad.is_some_and(|kad| kad.store_mut().add_provider(record).is_ok())
            }
            kad::InboundRequest::PutRecord { .. } => false,
            // Questions, which the DHT answers by itself.
            _ => return,
        };
        if !kept {
            self.shared.ledgers.counts.records_refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_fills_the_memory_of_a_dht() {
        let (mut records, now) = (Records::default(), Instant::now());
        let peer = PeerId::random();
        let admitted = (0..PROVIDER_RECORDS_PER_PEER + 10).filter(|_| records.admit(peer, now)).count();
        assert_eq!(admitted, PROVIDER_RECORDS_PER_PEER);
        let others = PROVIDER_RECORDS_MAX / PROVIDER_RECORDS_PER_PEER + 10;
        for _ in 0..others {
            let peer = PeerId::random();
            (0..PROVIDER_RECORDS_PER_PEER).for_each(|_| _ = records.admit(peer, now));
        }
        assert_eq!(records.all, PROVIDER_RECORDS_MAX);
        assert!(records.admit(peer, now + RECORDS_WINDOW) && records.all == 1);
    }
}
