//! Brings what peers send to the download that waits for it.

use crate::crowd::Purpose;
use crate::limits::{FETCHES_MAX, LATE_MAX, LATE_PER_FETCH, SESSIONS_MAX};
use libp2p::PeerId;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use talkoo_base::Cid;
use talkoo_store::Block;
use talkoo_store::bitswap::Presence;
use tokio::sync::mpsc;

/// What a peer sent.
#[derive(Debug)]
pub(crate) enum Arrival {
    Block { peer: PeerId, block: Block },
    Presence { peer: PeerId, presence: Presence },
}

/// One download.
#[derive(Debug)]
struct Route {
    id: u64,
    purpose: Purpose,
    arrivals: mpsc::Sender<Arrival>,
    /// Every block it ever asked for, and whom it asks.
    asked: Arc<Mutex<Asked>>,
}

#[derive(Debug, Default)]
pub(crate) struct Asked {
    cids: BTreeSet<Cid>,
    /// The last of them: their blocks may come after the download has ended.
    recent: VecDeque<Cid>,
    pub(crate) peers: BTreeSet<PeerId>,
}

impl Asked {
    pub(crate) fn add(&mut self, cid: Cid) {
        if self.cids.insert(cid) {
            self.recent.push_back(cid);
            self.recent.drain(..self.recent.len().saturating_sub(LATE_PER_FETCH));
        }
    }
}

#[derive(Debug, Default)]
struct Routes {
    next: u64,
    list: Vec<Route>,
    /// What ended downloads asked for last.
    late: VecDeque<Cid>,
}

/// All downloads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Router(Arc<Mutex<Routes>>);

/// A download's place in the router; dropping it ends the deliveries.
#[derive(Debug)]
pub(crate) struct Registration {
    id: u64,
    router: Router,
    asked: Arc<Mutex<Asked>>,
}

impl Registration {
    pub(crate) fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let recent = std::mem::take(&mut self.asked().recent);
        let mut routes = self.router.lock();
        routes.list.retain(|route| route.id != self.id);
        routes.late.extend(recent);
        let excess = routes.late.len().saturating_sub(LATE_MAX);
        routes.late.drain(..excess);
    }
}

impl Router {
    /// `None` if there are too many of the kind already.
    pub(crate) fn register(&self, arrivals: mpsc::Sender<Arrival>, purpose: Purpose) -> Option<Registration> {
        let mut routes = self.lock();
        let max = match purpose {
            Purpose::Fetch => FETCHES_MAX,
            Purpose::Session => SESSIONS_MAX,
        };
        if routes.list.iter().filter(|route| route.purpose == purpose).count() >= max {
            return None;
        }
        let asked = Arc::<Mutex<Asked>>::default();
        let id = routes.next;
        routes.next += 1;
        routes.list.push(Route { id, purpose, arrivals, asked: Arc::clone(&asked) });
        Some(Registration { id, router: self.clone(), asked })
    }

    /// Hands a block to the downloads that asked for it; if none did, to those that use the peer,
    /// who will hold it against the peer. Waits while a download is busy.
    pub(crate) async fn block(&self, peer: PeerId, block: Block) {
        let mut targets = self.routes(|asked| asked.cids.contains(block.cid()));
        if targets.is_empty() && !self.lock().late.contains(block.cid()) {
            targets = self.routes(|asked| asked.peers.contains(&peer));
        }
        for target in targets {
            // A download that ended meanwhile needs nothing.
            let _ = target.send(Arrival::Block { peer, block: block.clone() }).await;
        }
    }

    /// Hands a presence to the downloads that asked for it.
    pub(crate) async fn presence(&self, peer: PeerId, presence: Presence) {
        for target in self.routes(|asked| asked.cids.contains(&presence.cid)) {
            let _ = target.send(Arrival::Presence { peer, presence: presence.clone() }).await;
        }
    }

    fn routes(&self, is_meant: impl Fn(&Asked) -> bool) -> Vec<mpsc::Sender<Arrival>> {
        let routes = self.lock();
        let meant = |route: &&Route| is_meant(&route.asked.lock().unwrap_or_else(PoisonError::into_inner));
        routes.list.iter().filter(meant).map(|route| route.arrivals.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_take_no_place_of_a_download() {
        let router = Router::default();
        let register = |purpose| router.register(mpsc::channel(1).0, purpose);
        let sessions: Vec<_> = std::iter::from_fn(|| register(Purpose::Session)).collect();
        let fetches: Vec<_> = std::iter::from_fn(|| register(Purpose::Fetch)).collect();
        assert_eq!((sessions.len(), fetches.len()), (SESSIONS_MAX, FETCHES_MAX));
        drop(sessions);
        assert!(register(Purpose::Session).is_some() && register(Purpose::Fetch).is_none());
    }
}
