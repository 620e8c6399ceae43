//! What the handle, the swarm's task and the connections know together. Locks are held for a look
//! or a change, never across an await.

use crate::events::{BlockStore, Direction, NetEvent, PeerInfo, SwarmPeer};
use crate::gateway::Gateway;
use crate::ledger::{Ledger, Ledgers};
use crate::limits::{BAN, BANNED_MAX};
use crate::reach::Reach;
use crate::region::Region;
use crate::router::Router;
use crate::streams::{Ping, WorkSender};
use crate::swarm::Near;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use talkoo_base::NodeId;
use talkoo_store::bitswap::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// One connection as senders see it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) connection: ConnectionId,
    pub(crate) node: Option<NodeId>,
    pub(crate) addr: Multiaddr,
    pub(crate) direction: Direction,
    /// It goes through a relay: slower, and bounded.
    pub(crate) is_relayed: bool,
    pub(crate) work: WorkSender,
    pub(crate) wants: mpsc::Sender<Message>,
    pub(crate) pings: mpsc::Sender<Ping>,
    pub(crate) ledger: Arc<Ledger>,
    /// Stays open though it is idle: the owner asked for it.
    pub(crate) is_kept: Arc<AtomicBool>,
    pub(crate) announced: watch::Sender<bool>,
    /// Its work stream is open: the peer is a node of our network.
    pub(crate) is_ready: bool,
}

/// What a peer says about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) agent: String,
    pub(crate) protocols: Vec<String>,
}

#[derive(Debug, Default)]
struct Peers {
    /// Connections of each peer, the oldest first.
    links: BTreeMap<PeerId, Vec<Link>>,
    rtt_us: BTreeMap<PeerId, u64>,
    identities: BTreeMap<PeerId, Identity>,
    banned: BTreeMap<PeerId, Instant>,
}

pub(crate) struct Shared {
    pub(crate) local: PeerId,
    pub(crate) node: NodeId,
    pub(crate) events: mpsc::Sender<NetEvent>,
    pub(crate) blocks: Arc<dyn BlockStore>,
    pub(crate) router: Router,
    pub(crate) ledgers: Ledgers,
    pub(crate) gateways: Vec<Arc<Gateway>>,
    /// Private networks that are dialled.
    pub(crate) near: Near,
    /// Counts changes of the links, for those who wait for one.
    pub(crate) changes: watch::Sender<u64>,
    peers: Mutex<Peers>,
    addresses: Mutex<Vec<Multiaddr>>,
    reach: Mutex<Reach>,
}

/// The oldest direct connection; a relayed one only if there is no other.
fn best<'a>(links: impl Iterator<Item = &'a Link>) -> Option<&'a Link> {
    links.min_by_key(|link| link.is_relayed)
}

/// Whether an address leads through a relay.
pub(crate) fn is_relayed(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| part == Protocol::P2pCircuit)
}

impl Shared {
    pub(crate) fn new(
        local: PeerId,
        node: NodeId,
        events: mpsc::Sender<NetEvent>,
        blocks: Arc<dyn BlockStore>,
        ledgers: Ledgers,
        gateways: Vec<Arc<Gateway>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            local,
            node,
            events,
            blocks,
            router: Router::default(),
            ledgers,
            gateways,
            near: Near::default(),
            changes: watch::Sender::new(0),
            peers: Mutex::default(),
            addresses: Mutex::default(),
            reach: Mutex::default(),
        })
    }

    fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of our reachability.
    pub(crate) fn reach(&self) -> MutexGuard<'_, Reach> {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn add_link(&self, peer: PeerId, link: Link) {
        self.peers().links.entry(peer).or_default().push(link);
        self.changed();
    }

    /// Forgets a connection; true if it was the peer's last one with an open work stream.
    pub(crate) fn remove_link(&self, peer: &PeerId, connection: ConnectionId) -> bool {
        let mut peers = self.peers();
        let Some(links) = peers.links.get_mut(peer) else { return false };
        let was_ready = links.iter().any(|link| link.connection == connection && link.is_ready);
        links.retain(|link| link.connection != connection);
        let is_ready = links.iter().any(|link| link.is_ready);
        if links.is_empty() {
            peers.links.remove(peer);
            peers.rtt_us.remove(peer);
            peers.identities.remove(peer);
        }
        let is_down = was_ready && !is_ready;
        if is_down && let Some(links) = peers.links.get(peer) {
            // What still arrives waits for the next `PeerUp`, so that none comes from a lost peer.
            links.iter().for_each(|link| _ = link.announced.send_replace(false));
        }
        drop(peers);
        self.changed();
        is_down
    }

    /// Notes that a work stream is open; the address if it is the peer's first.
    pub(crate) fn set_ready(&self, peer: &PeerId, connection: ConnectionId) -> Option<Multiaddr> {
        let mut peers = self.peers();
        let links = peers.links.get_mut(peer)?;
        let is_announced = links.iter().any(|link| *link.announced.borrow());
        let is_first = !links.iter().any(|link| link.is_ready);
        let link = links.iter_mut().find(|link| link.connection == connection)?;
        link.is_ready = true;
        if is_announced {
            link.announced.send_replace(true);
        }
        let addr = link.addr.clone();
        drop(peers);
        self.changed();
        is_first.then_some(addr)
    }

    /// Lets messages of a peer through: the node has heard of it.
    pub(crate) fn set_announced(&self, node: &NodeId) {
        for link in self.peers().links.values().flatten().filter(|link| link.node == Some(*node)) {
            link.announced.send_replace(true);
        }
    }

    /// A connection to send work over.
    pub(crate) fn work_link(&self, peer: &PeerId) -> Option<WorkSender> {
        let peers = self.peers();
        best(peers.links.get(peer)?.iter().filter(|link| link.is_ready)).map(|link| link.work.clone())
    }

    pub(crate) fn work_links(&self) -> Vec<WorkSender> {
        self.peers().links.values().flatten().filter(|link| link.is_ready).map(|link| link.work.clone()).collect()
    }

    /// A connection to send wants over.
    pub(crate) fn wants_link(&self, peer: &PeerId) -> Option<mpsc::Sender<Message>> {
        best(self.peers().links.get(peer)?.iter().filter(|link| !link.wants.is_closed())).map(|link| link.wants.clone())
    }

    pub(crate) fn link_addr(&self, peer: &PeerId) -> Option<Multiaddr> {
        Some(best(self.peers().links.get(peer)?.iter())?.addr.clone())
    }

    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.peers().links.contains_key(peer)
    }

    pub(crate) fn is_ready(&self, peer: &PeerId) -> bool {
        self.peers().links.get(peer).is_some_and(|links| links.iter().any(|link| link.is_ready))
    }

    pub(crate) fn connected(&self) -> Vec<PeerId> {
        self.peers().links.keys().copied().collect()
    }

    pub(crate) fn rtt_us(&self, peer: &PeerId) -> Option<u64> {
        self.peers().rtt_us.get(peer).copied()
    }

    pub(crate) fn set_rtt(&self, peer: PeerId, rtt_us: u64) {
        let mut peers = self.peers();
        if peers.links.contains_key(&peer) {
            peers.rtt_us.insert(peer, rtt_us);
        }
    }

    pub(crate) fn set_identity(&self, peer: PeerId, identity: Identity) {
        let mut peers = self.peers();
        if peers.links.contains_key(&peer) {
            peers.identities.insert(peer, identity);
        }
    }

    /// Keeps the connections with a peer open; false if there is none.
    pub(crate) fn keep(&self, peer: &PeerId) -> bool {
        let peers = self.peers();
        let links = peers.links.get(peer).map_or(&[][..], Vec::as_slice);
        links.iter().for_each(|link| link.is_kept.store(true, Ordering::Relaxed));
        !links.is_empty()
    }

    pub(crate) fn pings_link(&self, peer: &PeerId) -> Option<mpsc::Sender<Ping>> {
        Some(self.peers().links.get(peer)?.first()?.pings.clone())
    }

    /// Every connection.
    pub(crate) fn swarm(&self) -> Vec<SwarmPeer> {
        let peers = self.peers();
        let connections = peers.links.iter().flat_map(|(peer, links)| links.iter().map(move |link| (*peer, link)));
        let told = |(peer, link): (PeerId, &Link)| {
            let identity = peers.identities.get(&peer);
            SwarmPeer {
                peer,
                node: link.node.filter(|_| link.is_ready),
                addr: link.addr.clone(),
                is_relayed: link.is_relayed,
                direction: link.direction,
                agent: identity.map(|identity| identity.agent.clone()),
                protocols: identity.map_or_else(Vec::new, |identity| identity.protocols.clone()),
                rtt_us: peers.rtt_us.get(&peer).copied(),
                sent_bytes: link.ledger.sent_bytes.load(Ordering::Relaxed),
                received_bytes: link.ledger.received_bytes.load(Ordering::Relaxed),
            }
        };
        connections.map(told).collect()
    }

    pub(crate) fn infos(&self) -> Vec<PeerInfo> {
        let peers = self.peers();
        let mut out = Vec::new();
        for (peer, links) in &peers.links {
            let Some(ready) = links.iter().find(|link| link.is_ready) else { continue };
            let Some(id) = ready.node else { continue };
            out.push(PeerInfo {
                id,
                addr: ready.addr.clone(),
                rtt_us: peers.rtt_us.get(peer).copied(),
                sent_bytes: ready.ledger.sent_bytes.load(Ordering::Relaxed),
                received_bytes: ready.ledger.received_bytes.load(Ordering::Relaxed),
                region: peers.identities.get(peer).and_then(|identity| Region::of_agent(&identity.agent)),
            });
        }
        out
    }

    pub(crate) fn ban(&self, peer: PeerId) {
        let mut peers = self.peers();
        let now = Instant::now();
        peers.banned.retain(|_, until| *until > now);
        if peers.banned.len() < BANNED_MAX {
            peers.banned.insert(peer, now + BAN);
        }
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.peers().banned.get(peer).is_some_and(|until| *until > Instant::now())
    }

    pub(crate) fn add_address(&self, addr: Multiaddr) {
        self.addresses_locked().push(addr);
    }

    pub(crate) fn remove_address(&self, addr: &Multiaddr) {
        self.addresses_locked().retain(|known| known != addr);
    }

    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        self.addresses_locked().clone()
    }

    fn addresses_locked(&self) -> MutexGuard<'_, Vec<Multiaddr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Memory;

    fn link(number: usize) -> (Link, watch::Sender<bool>) {
        let announced = watch::Sender::new(false);
        let link = Link {
            connection: ConnectionId::new_unchecked(number),
            node: Some(NodeId::pretended(1)),
            addr: Multiaddr::empty(),
            direction: Direction::Inbound,
            is_relayed: false,
            work: crate::streams::work_queue().0,
            wants: mpsc::channel(1).0,
            pings: mpsc::channel(1).0,
            is_kept: Arc::default(),
            ledger: Arc::default(),
            announced: announced.clone(),
            is_ready: false,
        };
        (link, announced)
    }

    #[test]
    fn a_direct_connection_is_better_than_an_older_relayed_one() {
        let ((mut relayed, _one), (direct, _other)) = (link(1), link(2));
        relayed.is_relayed = true;
        let chosen = |links: &[Link]| best(links.iter()).map(|link| link.connection);
        assert_eq!(chosen(std::slice::from_ref(&relayed)), Some(relayed.connection));
        assert_eq!(chosen(&[relayed, direct.clone(), link(3).0]), Some(direct.connection));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn a_peer_is_up_from_its_first_open_link_to_its_last() {
        let (local, node, events) = (PeerId::random(), NodeId::pretended(0), mpsc::channel(1).0);
        let shared = Shared::new(local, node, events, Arc::new(Memory::new()), Ledgers::default(), Vec::new());
        let peer = PeerId::random();
        let ((first, open), (second, also)) = (link(1), link(2));
        let (a, b) = (first.connection, second.connection);
        shared.add_link(peer, first);
        shared.add_link(peer, second);
        assert!(shared.work_link(&peer).is_none());
        assert!(shared.set_ready(&peer, a).is_some());
        shared.set_announced(&NodeId::pretended(1));
        assert!(*open.borrow() && *also.borrow());
        // The only open link goes: the peer is down although a connection is left.
        assert!(shared.remove_link(&peer, a));
        assert!(!*also.borrow(), "nothing is heard of a peer that is down");
        assert!(shared.set_ready(&peer, b).is_some());
        assert!(!*also.borrow(), "and nothing before it is announced again");
        shared.set_announced(&NodeId::pretended(1));
        assert!(*also.borrow());
        assert!(shared.remove_link(&peer, b) && !shared.is_connected(&peer));
    }
}
