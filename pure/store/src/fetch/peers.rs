//! The peers of one download: their wants, their measured speed, their faults.

use super::PeerRef;
use crate::limits::{
    CHUNK_BYTES, FETCH_PEERS_MAX, RATE_SPAN_MS, TIMEOUTS_MAX, WANT_DEADLINE_MS, WANTS_PER_PEER_MAX, WANTS_UNMEASURED,
    WINDOW_MS, WRONG_BLOCKS_MAX,
};
use cid::Cid;
use std::collections::{BTreeMap, BTreeSet};
use talkoo_base::Mono;

#[derive(Debug)]
struct Peer {
    wants: BTreeMap<Cid, Mono>,
    /// What it said it does not have, or let expire.
    missing: BTreeSet<Cid>,
    has_root: Option<bool>,
    /// Bytes per millisecond, averaged; `None` before the first measurement.
    rate: Option<u64>,
    span_start: Mono,
    span_bytes: u64,
    last_delivery: Mono,
    timeouts: u32,
    wrong_blocks: u32,
}

/// Whether a peer takes another want now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    Full,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Peers {
    known: BTreeMap<PeerRef, Peer>,
    banned: BTreeSet<PeerRef>,
    /// Average bytes of a block, for guessing how long a want takes.
    block_bytes: Option<u64>,
}

impl Peers {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// False if the peer is known already, banned, or one too many.
    pub(super) fn add(&mut self, peer: PeerRef, now: Mono) -> bool {
        if self.known.contains_key(&peer) || self.banned.contains(&peer) || self.known.len() >= FETCH_PEERS_MAX {
            return false;
        }
        let state = Peer {
            wants: BTreeMap::new(),
            missing: BTreeSet::new(),
            has_root: None,
            rate: None,
            span_start: now,
            span_bytes: 0,
            last_delivery: now,
            timeouts: 0,
            wrong_blocks: 0,
        };
        self.known.insert(peer, state);
        true
    }

    /// Forgets a peer; its open wants.
    pub(super) fn remove(&mut self, peer: PeerRef) -> Vec<Cid> {
        self.known.remove(&peer).map_or_else(Vec::new, |state| state.wants.into_keys().collect())
    }

    pub(super) fn ban(&mut self, peer: PeerRef) {
        self.banned.insert(peer);
    }

    pub(super) fn wants_of(&self, peer: PeerRef) -> Vec<Cid> {
        self.known.get(&peer).map_or_else(Vec::new, |state| state.wants.keys().copied().collect())
    }

    pub(super) fn set_has_root(&mut self, peer: PeerRef, has_root: bool) {
        if let Some(state) = self.known.get_mut(&peer) {
            state.has_root = Some(has_root);
            state.timeouts = 0;
        }
    }

    pub(super) fn set_missing(&mut self, peer: PeerRef, cid: Cid) {
        if let Some(state) = self.known.get_mut(&peer) {
            state.missing.insert(cid);
        }
    }

    /// Lets every peer be asked again for what it did not have.
    pub(super) fn retry_missing(&mut self) {
        for state in self.known.values_mut() {
            state.missing.clear();
        }
    }

    pub(super) fn asked(&mut self, peer: PeerRef, cid: Cid, now: Mono) {
        let Some(state) = self.known.get_mut(&peer) else { return };
        if state.wants.is_empty() {
            // An idle time is not slowness.
            state.span_start = now;
            state.span_bytes = 0;
        }
        state.wants.insert(cid, now);
    }

    pub(super) fn forget_want(&mut self, peer: PeerRef, cid: &Cid) {
        if let Some(state) = self.known.get_mut(&peer) {
            state.wants.remove(cid);
        }
    }

    pub(super) fn delivered(&mut self, peer: PeerRef, cid: &Cid, bytes: u64, now: Mono) {
        self.block_bytes = Some(self.block_bytes.map_or(bytes, |average| (average * 7 + bytes) / 8));
        let Some(state) = self.known.get_mut(&peer) else { return };
        state.wants.remove(cid);
        state.timeouts = 0;
        state.last_delivery = now;
        state.span_bytes += bytes;
        let span_ms = now - state.span_start;
        if span_ms >= RATE_SPAN_MS {
            let sample = (state.span_bytes / span_ms).max(1);
            state.rate = Some(state.rate.map_or(sample, |rate| (rate * 3 + sample) / 4));
            state.span_start = now;
            state.span_bytes = 0;
        }
    }

    /// Counts a block that was not asked for; true when the peer has to go.
    pub(super) fn strike(&mut self, peer: PeerRef) -> bool {
        let Some(state) = self.known.get_mut(&peer) else { return false };
        state.wrong_blocks += 1;
        state.wrong_blocks >= WRONG_BLOCKS_MAX
    }

    /// Wants whose peer delivered nothing within the deadline, and whether the peer has to go;
    /// that is said with its last want.
    pub(super) fn expired(&mut self, now: Mono) -> Vec<(PeerRef, Cid, bool)> {
        let mut out = Vec::new();
        for (peer, state) in &mut self.known {
            let late = |asked: &Mono| now - (*asked).max(state.last_delivery) >= WANT_DEADLINE_MS;
            let cids: Vec<Cid> = state.wants.iter().filter(|(_, at)| late(at)).map(|(cid, _)| *cid).collect();
            if cids.is_empty() {
                continue;
            }
            state.timeouts += 1;
            state.rate = state.rate.map(|rate| (rate / 2).max(1));
            let (is_gone, last) = (state.timeouts >= TIMEOUTS_MAX, cids.len() - 1);
            out.extend(cids.into_iter().enumerate().map(|(i, cid)| (*peer, cid, is_gone && i == last)));
        }
        out
    }

    pub(super) fn has_room(&self) -> bool {
        self.known.values().any(|state| state.wants.len() < self.window(state))
    }

    /// The peer expected to deliver `cid` first, if `waiting` further wants are queued before it.
    pub(super) fn best_for(&self, cid: &Cid, waiting: &BTreeMap<PeerRef, u64>) -> Option<(PeerRef, Room)> {
        let queued = |peer: &PeerRef| waiting.get(peer).copied().unwrap_or(0);
        let may_have = self.known.iter().filter(|(_, state)| !state.missing.contains(cid));
        let (peer, state) = may_have.min_by_key(|(peer, state)| self.expected(state, queued(peer)))?;
        let room = if state.wants.len() < self.window(state) { Room::Free } else { Room::Full };
        Some((*peer, room))
    }

    /// An idle peer that may have `cid`.
    pub(super) fn idle_for(&self, cid: &Cid) -> Option<PeerRef> {
        let can = |(_, state): &(&PeerRef, &Peer)| state.wants.is_empty() && !state.missing.contains(cid);
        let idle = self.known.iter().filter(can);
        idle.min_by_key(|(_, state)| self.expected(state, 0)).map(|(peer, _)| *peer)
    }

    /// Those without the root come last; then by the milliseconds until one more want is answered.
    fn expected(&self, state: &Peer, waiting: u64) -> (bool, u64) {
        let average = self.block_bytes.unwrap_or(CHUNK_BYTES as u64);
        let bytes = average * (state.wants.len() as u64 + waiting + 1);
        // An unmeasured peer counts as fast as the fastest, so that it gets measured.
        let fastest = self.known.values().filter_map(|state| state.rate).max().unwrap_or(1);
        (state.has_root == Some(false), bytes / state.rate.unwrap_or(fastest).max(1))
    }

    fn window(&self, state: &Peer) -> usize {
        let Some(rate) = state.rate else { return WANTS_UNMEASURED };
        let average = self.block_bytes.unwrap_or(CHUNK_BYTES as u64).max(1);
        let wants = rate.saturating_mul(WINDOW_MS) / average;
        usize::try_from(wants).unwrap_or(WANTS_PER_PEER_MAX).clamp(2, WANTS_PER_PEER_MAX)
    }
}
