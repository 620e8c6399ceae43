//! Brings what peers send to the download that waits for it.

use crate::limits::FETCHES_MAX;
use libp2p::PeerId;
use std::collections::BTreeSet;
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
    arrivals: mpsc::Sender<Arrival>,
    /// Every block it ever asked for, and whom it asks.
    asked: Arc<Mutex<Asked>>,
}

#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) cids: BTreeSet<Cid>,
    pub(crate) peers: BTreeSet<PeerId>,
}

#[derive(Debug, Default)]
struct Routes {
    next: u64,
    list: Vec<Route>,
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
        self.router.lock().list.retain(|route| route.id != self.id);
    }
}

impl Router {
    /// `None` if there are too many downloads.
    pub(crate) fn register(&self, arrivals: mpsc::Sender<Arrival>) -> Option<Registration> {
        let mut routes = self.lock();
        if routes.list.len() >= FETCHES_MAX {
            return None;
        }
        let asked = Arc::<Mutex<Asked>>::default();
        let id = routes.next;
        routes.next += 1;
        routes.list.push(Route { id, arrivals, asked: Arc::clone(&asked) });
        Some(Registration { id, router: self.clone(), asked })
    }

    /// Hands a block to the downloads that asked for it; if none did, to those that use the peer,
    /// who will hold it against the peer. Waits while a download is busy.
    pub(crate) async fn block(&self, peer: PeerId, block: Block) {
        let mut targets = self.routes(|asked| asked.cids.contains(block.cid()));
        if targets.is_empty() {
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
