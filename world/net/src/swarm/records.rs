//! What others write into our part of a DHT: who has which root, within bounds, and nothing else.

use super::Task;
use crate::limits::{
    ADDRESS_BYTES_MAX, ADDRESSES_PER_PEER, KEY_BYTES_MAX, PROVIDER_RECORDS_MAX, PROVIDER_RECORDS_PER_PEER,
};
use libp2p::kad::store::RecordStore as _;
use libp2p::{PeerId, kad};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// The records that are kept. When there is no room, the oldest goes of the peer that has most of them: whoever writes a
/// lot takes the place from nobody else. Names cost nothing, so who has many gets more; the DHT keeps each root elsewhere, too.
#[derive(Default)]
pub(super) struct Records {
    /// When each was said last: a number that grows.
    said: BTreeMap<(PeerId, Vec<u8>), u64>,
    by_age: BTreeMap<(PeerId, u64), Vec<u8>>,
    counts: BTreeMap<PeerId, usize>,
    by_count: BTreeSet<(usize, PeerId)>,
    next: u64,
}

impl Records {
    /// Takes one more; answers which one has to go for it.
    fn admit(&mut self, peer: PeerId, key: &[u8]) -> Option<(PeerId, Vec<u8>)> {
        self.next += 1;
        self.by_age.insert((peer, self.next), key.to_vec());
        if let Some(before) = self.said.insert((peer, key.to_vec()), self.next) {
            self.by_age.remove(&(peer, before));
            return None;
        }
        let count = self.count(peer, 1);
        let most = match self.by_count.last() {
            _ if count > PROVIDER_RECORDS_PER_PEER => peer,
            Some((_, most)) if self.said.len() > PROVIDER_RECORDS_MAX => *most,
            _ => return None,
        };
        let (at, _) = self.by_age.range((most, 0)..).next()?;
        let key = self.by_age.remove(&at.clone())?;
        self.said.remove(&(most, key.clone()));
        self.count(most, -1);
        Some((most, key))
    }

    /// Counts a record of a peer, or one that went; how many there are then.
    fn count(&mut self, peer: PeerId, change: isize) -> usize {
        let before = self.counts.remove(&peer).unwrap_or(0);
        let after = before.saturating_add_signed(change);
        self.by_count.remove(&(before, peer));
        if after > 0 {
            self.counts.insert(peer, after);
            self.by_count.insert((after, peer));
        }
        after
    }
}

impl Task {
    /// Takes a provider's word for itself, within bounds; values are not kept at all.
    pub(super) fn on_written(&mut self, request: kad::InboundRequest, is_ipfs: bool) {
        let kept = match request {
            kad::InboundRequest::AddProvider { record: Some(record) } if record.key.as_ref().len() > KEY_BYTES_MAX => {
                false
            }
            kad::InboundRequest::AddProvider { record: Some(mut record) } => {
                record.addresses.retain(|addr| addr.len() <= ADDRESS_BYTES_MAX);
                record.addresses.truncate(ADDRESSES_PER_PEER);
                let gone = self.records.admit(record.provider, record.key.as_ref());
                let behaviour = self.swarm.behaviour_mut();
                if let Some((peer, key)) = gone {
                    let key = kad::RecordKey::from(key);
                    behaviour.kad.store_mut().remove_provider(&key, &peer);
                    if let Some(ipfs) = behaviour.ipfs.as_mut() {
                        ipfs.store_mut().remove_provider(&key, &peer);
                    }
                }
                let kad = if is_ipfs { behaviour.ipfs.as_mut() } else { Some(&mut behaviour.kad) };
                kad.is_some_and(|kad| kad.store_mut().add_provider(record).is_ok())
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

    fn key(number: usize) -> [u8; 8] {
        number.to_le_bytes()
    }

    #[test]
    fn whoever_writes_without_end_displaces_itself() {
        let mut records = Records::default();
        let honest = PeerId::random();
        assert_eq!(records.admit(honest, b"root"), None);
        let flooders: Vec<PeerId> =
            (0..=PROVIDER_RECORDS_MAX / PROVIDER_RECORDS_PER_PEER).map(|_| PeerId::random()).collect();
        for number in 0..PROVIDER_RECORDS_PER_PEER + 10 {
            for peer in &flooders {
                let gone = records.admit(*peer, &key(number));
                assert!(gone.is_none_or(|(peer, _)| peer != honest));
            }
        }
        assert_eq!((records.said.len(), records.by_age.len()), (PROVIDER_RECORDS_MAX, PROVIDER_RECORDS_MAX));
        // A newcomer has its place, and so has who says the same again.
        let late = PeerId::random();
        assert!(records.admit(late, b"root").is_some_and(|(peer, _)| flooders.contains(&peer)));
        assert_eq!((records.admit(late, b"root"), records.admit(honest, b"root")), (None, None));
    }

    #[test]
    fn the_oldest_of_a_peer_goes_first() {
        let (mut records, peer) = (Records::default(), PeerId::random());
        (0..PROVIDER_RECORDS_PER_PEER).for_each(|number| assert_eq!(records.admit(peer, &key(number)), None));
        assert_eq!(records.admit(peer, &key(0)), None);
        assert_eq!(records.admit(peer, b"new"), Some((peer, key(1).to_vec())));
        assert_eq!(records.counts[&peer], PROVIDER_RECORDS_PER_PEER);
    }
}
