//! How a node that is behind gets the blocks it lacks: from one peer as long as it sends, from the next one on silence.
//!
//! What a peer says of its height is a claim: it makes us ask that peer, and no more. A block counts by its certificate
//! and the executor's word. It goes past the core: what is final needs no vote of ours.

use crate::limits::{BEHIND_MS, FETCH_BLOCKS_MAX, FETCH_MS};
use crate::wire::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use talkoo_base::{Certificate, Digest, Mono, NodeId};

/// A block that a peer sent.
pub(crate) struct Sent {
    pub(crate) from: NodeId,
    pub(crate) certificate: Certificate,
    pub(crate) bytes: Vec<u8>,
}

struct Asked {
    peer: NodeId,
    /// The blocks that did not come yet; in any order, for streams of a peer may overtake each other.
    missing: BTreeSet<u64>,
    until: Mono,
}

/// The state of catching up.
#[derive(Default)]
pub(crate) struct CatchUp {
    /// The last final block of peers that claim to be ahead of us.
    tips: BTreeMap<NodeId, u64>,
    due: Option<Mono>,
    asked: Option<Asked>,
    /// Where to look for the next one to ask: at the last one, or behind it if it failed.
    from: Option<Bound<NodeId>>,
    sent: BTreeMap<u64, Sent>,
    /// The block that is being executed, and the hash of its bytes.
    pub(crate) executing: Option<(Sent, Digest)>,
}

impl CatchUp {
    /// A peer tells its last final block; we work on `height`.
    pub(crate) fn note(&mut self, now: Mono, height: u64, peer: NodeId, tip: u64) {
        if tip >= height {
            self.tips.insert(peer, tip);
            self.plan(now, height);
        }
    }

    /// A new height begins.
    pub(crate) fn entered(&mut self, now: Mono, height: u64) {
        self.tips.retain(|_, tip| *tip >= height);
        self.sent = self.sent.split_off(&height);
        (self.executing, self.due) = (None, None);
        self.plan(now, height);
    }

    /// A peer is gone, silent, or sent what proves nothing.
    pub(crate) fn drop_peer(&mut self, now: Mono, height: u64, peer: NodeId) {
        self.tips.remove(&peer);
        self.sent.retain(|_, sent| sent.from != peer);
        self.asked.take_if(|asked| asked.peer == peer);
        if self.from == Some(Included(peer)) {
            self.from = Some(Excluded(peer));
        }
        self.plan(now, height);
    }

    /// When to ask: at once if several blocks are missing.
    fn plan(&mut self, now: Mono, height: u64) {
        let Some(tip) = self.tips.values().max() else { return };
        if self.asked.is_none() && self.sent.is_empty() && self.executing.is_none() {
            let due = if *tip > height { now } else { now + BEHIND_MS };
            self.due = Some(self.due.map_or(due, |before| before.min(due)));
        }
    }

    /// The question that is due, if one is.
    pub(crate) fn ask(&mut self, now: Mono, height: u64) -> Option<(NodeId, Message)> {
        if let Some(silent) = self.asked.as_ref().filter(|asked| asked.until <= now) {
            self.drop_peer(now, height, silent.peer);
        }
        self.due.take_if(|due| *due <= now)?;
        if self.asked.is_some() || !self.sent.is_empty() || self.executing.is_some() {
            return None;
        }
        let from = self.from.unwrap_or(Unbounded);
        let (peer, tip) = self.tips.range((from, Unbounded)).chain(&self.tips).next()?;
        let count = u32::try_from(tip - height + 1).unwrap_or(FETCH_BLOCKS_MAX).min(FETCH_BLOCKS_MAX);
        let missing = (height..height + u64::from(count)).collect();
        self.asked = Some(Asked { peer: *peer, missing, until: now + FETCH_MS });
        self.from = Some(Included(*peer));
        Some((*peer, Message::Fetch { height, count }))
    }

    /// A block came; whether it was asked for.
    pub(crate) fn got(&mut self, now: Mono, height: u64, sent: Sent) -> bool {
        let number = sent.certificate.height;
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.peer == sent.from) else { return false };
        if !asked.missing.remove(&number) {
            return false;
        }
        asked.until = now + FETCH_MS;
        if asked.missing.is_empty() {
            self.asked = None;
        }
        if number >= height {
            self.sent.insert(number, sent);
        }
        true
    }

    /// The block for `height`, if it is here.
    pub(crate) fn take(&mut self, height: u64) -> Option<Sent> {
        self.sent.remove(&height)
    }

    pub(crate) fn next_wake(&self) -> Option<Mono> {
        self.due.into_iter().chain(self.asked.as_ref().map(|asked| asked.until)).min()
    }
}
