//! The book of peers: cards, connections, measured speed, standing.

use crate::limits::{NEW_SAMPLE_PERCENT, PAUSE_MS, PAUSE_MS_MAX, PEERS_MAX, QUARANTINED_MAX};
use std::collections::BTreeMap;
use talkoo_base::{Card, Digest, Mono, NodeId};

/// Whether we would use a peer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Standing {
    /// Nothing against it.
    #[default]
    Good,
    /// It failed us; not before this time again.
    Paused(Mono),
    /// It lied: never again. The lie, for people.
    Convicted(String),
}

/// What we know of one peer.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its newest card.
    pub card: Option<Card>,
    /// Whether a connection is open.
    pub up: bool,
    /// Whether we would use it.
    pub standing: Standing,
    /// What is wrong with the build on its card, if that is quarantined.
    pub barred: Option<String>,
    failures: u32,
    decode_mtps: Option<u64>,
}

impl Peer {
    /// Output tokens a second, in thousandths, as we measured it on real work.
    #[must_use]
    pub fn decode_mtps(&self) -> Option<u64> {
        self.decode_mtps
    }

    /// How often in a row it failed us.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

pub(crate) struct Book {
    me: NodeId,
    peers: BTreeMap<NodeId, Peer>,
    /// Builds that give wrong numbers, and which.
    quarantined: BTreeMap<Digest, String>,
    /// No pause ends before this.
    next_pause_end: Option<Mono>,
}

impl Book {
    pub(crate) fn new(me: NodeId) -> Self {
        Self { me, peers: BTreeMap::new(), quarantined: BTreeMap::new(), next_pause_end: None }
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.peers.iter()
    }

    pub(crate) fn get(&self, node: &NodeId) -> Option<&Peer> {
        self.peers.get(node)
    }

    pub(crate) fn up(&mut self, node: NodeId) {
        self.make_room(&node);
        self.peers.entry(node).or_default().up = true;
    }

    pub(crate) fn down(&mut self, node: NodeId) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.up = false;
        }
    }

    pub(crate) fn card(&mut self, card: Card) {
        self.make_room(&card.node);
        let peer = self.peers.entry(card.node).or_default();
        // An older card that was delayed must not undo a newer one.
        if peer.card.as_ref().is_none_or(|old| old.expiry <= card.expiry) {
            peer.barred = self.quarantined.get(&card.build).cloned();
            peer.card = Some(card);
        }
    }

    pub(crate) fn measured(&mut self, node: NodeId, mtps: u64) {
        if let Some(peer) = self.peers.get_mut(&node) {
            let old = peer.decode_mtps.unwrap_or(mtps);
            let blend =
                old.saturating_mul(100 - NEW_SAMPLE_PERCENT).saturating_add(mtps.saturating_mul(NEW_SAMPLE_PERCENT));
            peer.decode_mtps = Some((blend / 100).max(1));
            peer.failures = 0;
        }
    }

    pub(crate) fn failed(&mut self, now: Mono, node: NodeId) {
        let peer = self.peers.entry(node).or_default();
        // All leases of a silent worker lapse at once: within a pause it is still the same failure.
        if peer.standing != Standing::Good {
            return;
        }
        let pause = PAUSE_MS.saturating_mul(1 << peer.failures.min(20)).min(PAUSE_MS_MAX);
        peer.failures = peer.failures.saturating_add(1);
        let until = now + pause;
        peer.standing = Standing::Paused(until);
        self.next_pause_end = Some(self.next_pause_end.map_or(until, |t| t.min(until)));
    }

    /// Ends the pauses that are over, so that none of them wakes the machine again.
    pub(crate) fn end_pauses(&mut self, now: Mono) {
        if self.next_pause_end.is_none_or(|t| t > now) {
            return;
        }
        self.next_pause_end = None;
        for peer in self.peers.values_mut() {
            match peer.standing {
                Standing::Paused(until) if until <= now => peer.standing = Standing::Good,
                Standing::Paused(until) => {
                    self.next_pause_end = Some(self.next_pause_end.map_or(until, |t| t.min(until)));
                }
                Standing::Good | Standing::Convicted(_) => {}
            }
        }
    }

    pub(crate) fn convict(&mut self, node: NodeId, why: &str) {
        let peer = self.peers.entry(node).or_default();
        peer.standing = Standing::Convicted(why.into());
    }

    pub(crate) fn quarantine(&mut self, build: Digest, why: &str) {
        if self.quarantined.len() < QUARANTINED_MAX {
            self.quarantined.insert(build, why.into());
        }
        for peer in self.peers.values_mut().filter(|peer| peer.card.as_ref().is_some_and(|card| card.build == build)) {
            peer.barred = Some(why.into());
        }
    }

    pub(crate) fn quarantined(&self) -> &BTreeMap<Digest, String> {
        &self.quarantined
    }

    /// Our own node is never connected to itself, and stays.
    fn make_room(&mut self, newcomer: &NodeId) {
        if self.peers.len() < PEERS_MAX || self.peers.contains_key(newcomer) {
            return;
        }
        let me = self.me;
        self.peers.retain(|node, p| p.up || *node == me || matches!(p.standing, Standing::Convicted(_)));
    }
}
