//! How nodes find one another: bootstrap nodes are dialled until they answer, and again when they
//! are lost; the DHT is asked for our neighbours, often at first and rarely later.

use super::{Behaviour, Task, at_once, peer_in};
use crate::events::NetEvent;
use crate::ident::node_of;
use crate::limits::{
    ADDRESSES_PER_PEER, AGENT_CHARS, BOOTSTRAP_FIRST, BOOTSTRAP_LAST, DISCOVERY_FIRST, DISCOVERY_LAST, MESH_PEERS,
    PROTOCOLS_PER_PEER,
};
use crate::shared::Identity;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::{Multiaddr, PeerId, Swarm, identify, kad};
use std::time::Duration;
use tokio::time::Instant;

/// One bootstrap node.
struct Bootstrap {
    addr: Multiaddr,
    peer: Option<PeerId>,
    dialling: Option<ConnectionId>,
    wait: Duration,
    due: Instant,
}

pub(super) struct Discovery {
    bootstrap: Vec<Bootstrap>,
    wait: Duration,
    due: Instant,
}

impl Discovery {
    pub(super) fn new(bootstrap: Vec<Multiaddr>) -> Self {
        let now = at_once();
        let entry =
            |addr: Multiaddr| Bootstrap { peer: peer_in(&addr), addr, dialling: None, wait: BOOTSTRAP_FIRST, due: now };
        let bootstrap = bootstrap.into_iter().map(entry).collect();
        Self { bootstrap, wait: DISCOVERY_FIRST, due: now + DISCOVERY_FIRST }
    }

    pub(super) fn next_wake(&self) -> Instant {
        self.bootstrap.iter().map(|entry| entry.due).fold(self.due, Instant::min)
    }

    /// A new peer knows others: ask soon.
    pub(super) fn gained(&mut self) {
        self.wait = DISCOVERY_FIRST;
        self.due = self.due.min(at_once() + DISCOVERY_FIRST / 4);
    }

    /// A peer was lost: perhaps a bootstrap node.
    pub(super) fn lost(&mut self) {
        self.due = self.due.min(at_once() + DISCOVERY_FIRST);
        for entry in &mut self.bootstrap {
            entry.wait = BOOTSTRAP_FIRST;
            entry.due = entry.due.min(at_once() + BOOTSTRAP_FIRST);
        }
    }

    pub(super) fn connected(&mut self, id: ConnectionId, peer: PeerId) {
        if let Some(entry) = self.bootstrap.iter_mut().find(|entry| entry.dialling == Some(id)) {
            (entry.dialling, entry.peer) = (None, Some(peer));
        }
    }

    pub(super) fn failed(&mut self, id: ConnectionId) {
        if let Some(entry) = self.bootstrap.iter_mut().find(|entry| entry.dialling == Some(id)) {
            entry.dialling = None;
        }
    }

    /// Dials bootstrap nodes that are due and not connected.
    fn redial(&mut self, swarm: &mut Swarm<Behaviour>) {
        let now = at_once();
        for entry in self.bootstrap.iter_mut().filter(|entry| entry.due <= now) {
            let is_connected = entry.peer.is_some_and(|peer| swarm.is_connected(&peer));
            if is_connected || entry.dialling.is_some() {
                (entry.wait, entry.due) = (BOOTSTRAP_FIRST, now + BOOTSTRAP_LAST);
                continue;
            }
            entry.wait = (entry.wait * 2).min(BOOTSTRAP_LAST);
            entry.due = now + entry.wait;
            let options = DialOpts::unknown_peer_id().address(entry.addr.clone()).allocate_new_port().build();
            let id = options.connection_id();
            match swarm.dial(options) {
                Ok(()) => entry.dialling = Some(id),
                Err(error) => tracing::debug!(addr = %entry.addr, %error, "bootstrap node not dialled"),
            }
        }
    }
}

impl Task {
    /// Does what is due.
    pub(super) fn discover(&mut self) {
        self.discovery.redial(&mut self.swarm);
        self.use_relays();
        if self.discovery.due > at_once() {
            return;
        }
        self.discovery.wait = (self.discovery.wait * 2).min(DISCOVERY_LAST);
        self.discovery.due = at_once() + self.discovery.wait;
        let local = self.shared.local;
        let kad = &mut self.swarm.behaviour_mut().kad;
        // One lookup at a time: a slow one must not pile up.
        let is_running = kad.iter_queries().any(|query| matches!(query.info(), kad::QueryInfo::GetClosestPeers { .. }));
        if !is_running {
            kad.get_closest_peers(local);
        }
    }

    /// Connects to peers that the DHT named, up to the size of the mesh.
    pub(super) fn meet(&mut self, found: Vec<kad::PeerInfo>) {
        let room = MESH_PEERS.saturating_sub(self.shared.connected().len());
        let unknown = found.into_iter().filter(|peer| !self.shared.is_connected(&peer.peer_id));
        for peer in unknown.take(room).collect::<Vec<_>>() {
            self.connect(peer.peer_id, peer.addrs);
        }
    }

    /// Notes what a peer says of itself; takes one that speaks our DHT into the routing table.
    pub(super) fn identified(&mut self, peer: PeerId, info: identify::Info) {
        let agent = info.agent_version.chars().filter(|letter| !letter.is_control()).take(AGENT_CHARS).collect();
        let protocols = info.protocols.iter().take(PROTOCOLS_PER_PEER).map(ToString::to_string).collect();
        self.shared.set_identity(peer, Identity { agent, protocols });
        self.consider_relay(peer, &info);
        self.consider_ipfs(peer, &info);
        let ours = self.swarm.behaviour().kad.protocol_names().first().cloned();
        if !ours.is_some_and(|name| info.protocols.contains(&name)) {
            return;
        }
        // Who is not on this machine has no use for naming its loopback addresses to us.
        let is_near = self.shared.link_addr(&peer).is_some_and(|addr| is_loopback(&addr));
        let is_usable = |addr: &Multiaddr| (is_near || !is_loopback(addr)) && self.shared.near.allows(addr);
        let usable: Vec<_> = info.listen_addrs.into_iter().filter(is_usable).take(ADDRESSES_PER_PEER).collect();
        let mut addrs: Vec<Multiaddr> = self.answered.get(&peer).cloned().into_iter().collect();
        for addr in usable {
            self.swarm.behaviour_mut().kad.add_address(&peer, addr.clone());
            addrs.push(addr);
        }
        self.discovery.gained();
        // An address that names somebody else at its end is no address of this peer.
        let mut addrs: Vec<_> = addrs.into_iter().filter_map(|addr| addr.with_p2p(peer).ok()).collect();
        addrs.dedup();
        if let Some(peer) = node_of(&peer)
            && !addrs.is_empty()
        {
            self.pending.push_back(NetEvent::Dialable { peer, addrs });
        }
    }
}

pub(super) fn is_loopback(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}
