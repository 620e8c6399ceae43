//! Who is asked for what.

use super::peers::Room;
use super::{
    ASKERS_MAX, BTreeMap, Entry, Fetch, HEDGE_AFTER_MS, Output, PeerFault, PeerRef, SCAN_MAX, State,
    WANTS_IN_FLIGHT_MAX, WantKind,
};
use cid::Cid;
use talkoo_base::Mono;

impl Fetch {
    /// Gives ready wants to peers with room, in the order of the file. Those for which the best
    /// peer has no room yet wait for it: a slow peer must not be what the last blocks wait for.
    pub(super) fn assign(&mut self, now: Mono, out: &mut Vec<Output>) {
        let candidates: Vec<Cid> = self.ready.values().take(SCAN_MAX).copied().collect();
        let mut waiting = BTreeMap::new();
        for cid in candidates {
            if self.in_flight >= WANTS_IN_FLIGHT_MAX || !self.peers.has_room() {
                return;
            }
            match self.peers.best_for(&cid, &waiting) {
                Some((peer, Room::Free)) => self.ask(now, peer, cid, out),
                Some((peer, Room::Full)) => *waiting.entry(peer).or_default() += 1,
                None => {}
            }
        }
    }

    /// At the end of a download, lets idle peers race slow ones.
    pub(super) fn hedge(&mut self, now: Mono, out: &mut Vec<Output>) {
        if !self.ready.is_empty() {
            return;
        }
        let is_slow = |entry: &Entry| match &entry.state {
            State::Asked { by, since } => by.len() < ASKERS_MAX && now - *since >= HEDGE_AFTER_MS,
            State::Looking | State::Ready | State::Done => false,
        };
        let slow: Vec<Cid> = self.entries.iter().filter(|(_, entry)| is_slow(entry)).map(|(cid, _)| *cid).collect();
        for cid in slow {
            if let Some(peer) = self.peers.idle_for(&cid) {
                self.ask(now, peer, cid, out);
            }
        }
    }

    fn ask(&mut self, now: Mono, peer: PeerRef, cid: Cid, out: &mut Vec<Output>) {
        let Some(entry) = self.entries.get_mut(&cid) else { return };
        match &mut entry.state {
            State::Asked { by, .. } => by.push(peer),
            State::Looking | State::Done => return,
            State::Ready => {
                self.ready.remove(&entry.order);
                self.in_flight += 1;
                entry.state = State::Asked { by: vec![peer], since: now };
            }
        }
        self.peers.asked(peer, cid, now);
        out.push(Output::Want { peer, cid, kind: WantKind::Block });
    }

    /// Takes one want away from `peer`; the block is ready again unless another was asked too.
    pub(super) fn release(&mut self, peer: PeerRef, cid: &Cid) {
        self.peers.forget_want(peer, cid);
        let Some(entry) = self.entries.get_mut(cid) else { return };
        let State::Asked { by, .. } = &mut entry.state else { return };
        by.retain(|asker| *asker != peer);
        if by.is_empty() {
            entry.state = State::Ready;
            self.ready.insert(entry.order, *cid);
            self.in_flight -= 1;
        }
    }

    /// Forgets a peer and frees its wants.
    pub(super) fn release_all(&mut self, peer: PeerRef) {
        for cid in self.peers.remove(peer) {
            self.release(peer, &cid);
        }
    }

    /// Lets others answer what `peer` may have answered wrongly.
    pub(super) fn hand_over(&mut self, peer: PeerRef, out: &mut Vec<Output>) {
        for cid in self.peers.wants_of(peer) {
            self.release(peer, &cid);
            self.peers.set_missing(peer, cid);
            out.push(Output::Cancel { peer, cid });
        }
    }

    pub(super) fn drop_peer(&mut self, peer: PeerRef, why: PeerFault, out: &mut Vec<Output>) {
        self.release_all(peer);
        self.peers.ban(peer);
        out.push(Output::Drop { peer, why });
    }
}
