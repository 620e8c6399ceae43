//! The task that owns the libp2p swarm. It takes commands and swarm events, keeps the table of
//! links, finds peers, and tells the node; message bytes never pass through it.

mod build;
mod dial;
mod discovery;
mod near;
mod reaching;
mod records;
mod search;

pub(crate) use build::build;
pub(crate) use dial::DialReply;
pub(crate) use near::Near;
pub(crate) use search::Share;

use crate::error::{DialError, told_off};
use crate::events::NetEvent;
use crate::ident::node_of;
use crate::limits::{ADDRESSES_PER_PEER, CLOSE_DEADLINE, EVENTS_PENDING, LOOKUPS_MAX};
use crate::shared::Shared;
use crate::streams::{StreamsBehaviour, StreamsEvent};
use dial::Dial;
use discovery::Discovery;
use futures::StreamExt;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, autonat, connection_limits, dcutr, identify, kad, ping, relay, upnp};
use reaching::{Reaching, is_own_public};
use records::Records;
use search::Searches;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use talkoo_base::Cid;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// All protocols of a node.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    kad: kad::Behaviour<kad::store::MemoryStore>,
    /// The DHT of IPFS, if we joined it.
    ipfs: Toggle<kad::Behaviour<kad::store::MemoryStore>>,
    relay_client: relay::client::Behaviour,
    relay: Toggle<relay::Behaviour>,
    dcutr: dcutr::Behaviour,
    probe: Toggle<autonat::v2::client::Behaviour>,
    probe_others: Toggle<autonat::v2::server::Behaviour>,
    upnp: Toggle<upnp::tokio::Behaviour>,
    streams: StreamsBehaviour,
}

/// What others ask of the swarm.
#[derive(Debug)]
pub(crate) enum Command {
    /// Connect to an address.
    Dial { addr: Multiaddr, reply: DialReply },
    /// Connect to peers whose addresses the DHT may know.
    Connect(Vec<PeerId>),
    /// Finds and dials a peer.
    Meet(PeerId),
    /// Announce that we have a file.
    Provide { root: Cid, reply: oneshot::Sender<()> },
    /// Who has a file; also connects to them.
    FindProviders { root: Cid, share: Share, reply: oneshot::Sender<BTreeSet<PeerId>> },
    /// Close the connections with a peer.
    Disconnect(PeerId),
    /// Close the connections with a peer that broke a protocol.
    Ban { peer: PeerId, why: String },
}

enum Lookup {
    Provide(oneshot::Sender<()>),
    /// The search with this number.
    Providers(u64),
    /// Where this peer is.
    Peer(PeerId),
}

pub(crate) struct Task {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    discovery: Discovery,
    dials: BTreeMap<ConnectionId, Dial>,
    lookups: HashMap<kad::QueryId, Lookup>,
    /// Addresses at which connected peers answered our dials.
    answered: BTreeMap<PeerId, Multiaddr>,
    /// Events that the node has not taken yet.
    pending: VecDeque<NetEvent>,
    reaching: Reaching,
    records: Records,
    searches: Searches,
}

/// What woke the task.
enum Woken {
    Command(Option<Command>),
    Swarm(Box<SwarmEvent<BehaviourEvent>>),
    Room,
    Timer,
    Stop,
}

impl Task {
    pub(crate) fn new(swarm: Swarm<Behaviour>, shared: Arc<Shared>, bootstrap: Vec<Multiaddr>) -> Self {
        let discovery = Discovery::new(bootstrap);
        let (dials, lookups, answered) = (BTreeMap::new(), HashMap::new(), BTreeMap::new());
        let (pending, searches) = (VecDeque::new(), Searches::default());
        let (reaching, records) = (Reaching::default(), Records::default());
        Self { swarm, shared, discovery, dials, lookups, answered, pending, reaching, records, searches }
    }

    /// Polls the swarm until every listener has an address.
    pub(crate) async fn listen(&mut self, listeners: usize) {
        let mut seen = BTreeSet::new();
        while seen.len() < listeners {
            let event = self.swarm.select_next_some().await;
            if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                seen.insert(format!("{listener_id:?}"));
            }
            self.on_swarm(event);
        }
    }

    /// Runs until it is told to stop, then closes every connection.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, stop: CancellationToken) {
        let events = self.shared.events.clone();
        loop {
            let is_full = self.pending.len() >= EVENTS_PENDING;
            let woken = tokio::select! {
                command = commands.recv() => Woken::Command(command),
                event = self.swarm.select_next_some(), if !is_full => Woken::Swarm(Box::new(event)),
                permit = events.reserve(), if !self.pending.is_empty() => {
                    if let (Ok(permit), Some(event)) = (permit, self.pending.pop_front()) {
                        permit.send(event.clone());
                        self.delivered(&event);
                    } else {
                        // Nobody listens any more; the commands will end, too.
                        self.pending.clear();
                    }
                    Woken::Room
                }
                () = sleep_until(self.discovery.next_wake()) => Woken::Timer,
                () = stop.cancelled() => Woken::Stop,
            };
            match woken {
                Woken::Command(Some(command)) => self.on_command(command),
                Woken::Command(None) | Woken::Stop => break,
                Woken::Swarm(event) => self.on_swarm(*event),
                Woken::Room => {}
                Woken::Timer => self.discover(),
            }
        }
        // A connection closes with a goodbye, so that peers notice at once and queued bytes go out.
        if timeout(CLOSE_DEADLINE, self.close()).await.is_err() {
            tracing::debug!("connections did not close in time");
        }
    }

    async fn close(&mut self) {
        for peer in self.shared.connected() {
            // An error means that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        while self.swarm.network_info().num_peers() > 0 {
            self.swarm.select_next_some().await;
        }
    }

    fn delivered(&mut self, event: &NetEvent) {
        if let NetEvent::PeerUp { peer, .. } = event {
            self.shared.set_announced(peer);
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Dial { addr, reply } => self.dial(addr, reply),
            Command::Connect(peers) => peers.into_iter().for_each(|peer| self.connect(peer, Vec::new())),
            Command::Meet(peer) => self.look_for(peer),
            Command::Provide { root, reply } => {
                if self.lookups.len() < LOOKUPS_MAX
                    && let Ok(id) = self.swarm.behaviour_mut().kad.start_providing(record_key(&root))
                {
                    self.lookups.insert(id, Lookup::Provide(reply));
                }
                self.provide_in_ipfs(&root);
            }
            Command::FindProviders { root, share, reply } => self.search(&root, share, reply),
            Command::Disconnect(peer) => {
                // An error means that it is gone already.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            Command::Ban { peer, why } => self.swarm.behaviour_mut().streams.ban(peer, why),
        }
    }

    /// Dials a peer unless it is connected or being dialled.
    fn connect(&mut self, peer: PeerId, mut addrs: Vec<Multiaddr>) {
        if peer == self.shared.local || self.shared.is_connected(&peer) || self.shared.is_banned(&peer) {
            return;
        }
        addrs.truncate(ADDRESSES_PER_PEER);
        let options = DialOpts::peer_id(peer).addresses(addrs).extend_addresses_through_behaviour();
        let options = options.condition(PeerCondition::DisconnectedAndNotDialing).allocate_new_port().build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "not dialled");
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                self.shared.near.listens(&address);
                // Who relays has to name an address of the internet; who listens at one needs nobody to tell.
                if is_own_public(&address) {
                    self.named(address.clone());
                } else if self.is_in_lan_dht() {
                    // There, providers without an address are not kept, and every address is a near one.
                    self.swarm.add_external_address(address.clone());
                }
                let Ok(address) = address.with_p2p(self.shared.local) else { return };
                self.shared.add_address(address.clone());
                self.pending.push_back(NetEvent::Listening(address));
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if let Ok(address) = address.with_p2p(self.shared.local) {
                    self.shared.remove_address(&address);
                }
            }
            SwarmEvent::ListenerClosed { listener_id, .. } => self.relay_lost(listener_id),
            SwarmEvent::ExternalAddrConfirmed { address } => self.reached_at(address),
            SwarmEvent::ExternalAddrExpired { address } => self.reach_lost(&address),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.discovery.connected(connection_id, peer_id);
                self.connected(connection_id, peer_id);
                if endpoint.is_dialer() {
                    self.answered.insert(peer_id, endpoint.get_remote_address().clone());
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, num_established, .. } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                if num_established == 0 {
                    self.answered.remove(&peer_id);
                }
                self.fail_dial(connection_id, |addr| {
                    let why = cause.map_or_else(|| "closed".to_owned(), |cause| cause.to_string());
                    DialError::Unreachable { addr, why }
                });
                if self.shared.remove_link(&peer_id, connection_id)
                    && let Some(peer) = node_of(&peer_id)
                {
                    self.pending.push_back(NetEvent::PeerDown { peer });
                    self.discovery.lost();
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.discovery.failed(connection_id);
                self.fail_dial(connection_id, |addr| DialError::Unreachable { addr, why: error.to_string() });
            }
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            // `SwarmEvent` is non-exhaustive; the others need no action.
            _ => {}
        }
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Limits(never) => match never {},
            BehaviourEvent::Ping(ping) => {
                if let Ok(rtt) = ping.result {
                    self.shared.set_rtt(ping.peer, u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => self.identified(peer_id, info),
            BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed { id, result, step, .. }) => {
                self.on_lookup(id, result, step.last);
            }
            BehaviourEvent::Kad(kad::Event::InboundRequest { request }) => self.on_written(request, false),
            BehaviourEvent::Ipfs(kad::Event::InboundRequest { request }) => self.on_written(request, true),
            BehaviourEvent::Kad(_) => {}
            BehaviourEvent::Ipfs(kad::Event::OutboundQueryProgressed { id, result, step, .. }) => {
                self.on_ipfs_lookup(id, result, step.last);
            }
            BehaviourEvent::Ipfs(_) | BehaviourEvent::Relay(_) | BehaviourEvent::ProbeOthers(_) => {}
            BehaviourEvent::RelayClient(event) => self.on_relay(event),
            BehaviourEvent::Dcutr(event) => self.on_punched(event),
            BehaviourEvent::Probe(event) => self.on_probe(event),
            BehaviourEvent::Upnp(event) => self.on_router(event),
            BehaviourEvent::Streams(StreamsEvent::Ready { peer, connection }) => {
                let Some(node) = node_of(&peer) else { return };
                if let Some(addr) = self.shared.set_ready(&peer, connection) {
                    self.pending.push_back(NetEvent::PeerUp { peer: node, addr });
                    self.discovery.gained();
                }
                if let Some(Dial { reply: DialReply::Node(reply), .. }) = self.dials.remove(&connection) {
                    _ = reply.send(Ok(node));
                }
            }
            BehaviourEvent::Streams(StreamsEvent::NotANode { peer, connection }) => {
                tracing::debug!(%peer, "not a node of this network");
                self.fail_dial(connection, |addr| DialError::OtherNetwork { addr });
            }
            BehaviourEvent::Streams(StreamsEvent::Misbehaved { peer, why }) => {
                let node = node_of(&peer);
                told_off(node, &why);
                self.pending.extend(node.map(|peer| NetEvent::Misbehaved { peer, why }));
            }
        }
    }

    /// Dials a peer where it is known to be, and asks the DHT where else.
    fn look_for(&mut self, peer: PeerId) {
        self.connect(peer, Vec::new());
        if !self.shared.is_connected(&peer) && self.lookups.len() < LOOKUPS_MAX {
            let id = self.swarm.behaviour_mut().kad.get_closest_peers(peer);
            self.lookups.insert(id, Lookup::Peer(peer));
        }
    }

    fn on_lookup(&mut self, id: kad::QueryId, result: kad::QueryResult, is_last: bool) {
        match result {
            kad::QueryResult::GetClosestPeers(Ok(found)) => match self.lookups.get(&id) {
                Some(Lookup::Peer(peer)) => {
                    let peer = *peer;
                    let known = found.peers.into_iter().find(|found| found.peer_id == peer);
                    known.into_iter().for_each(|found| self.connect(peer, found.addrs));
                }
                _ => self.meet(found.peers),
            },
            kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })) => {
                if let Some(Lookup::Providers(search)) = self.lookups.get(&id) {
                    self.found(*search, providers);
                }
            }
            _ => {}
        }
        if !is_last {
            return;
        }
        match self.lookups.remove(&id) {
            Some(Lookup::Provide(reply)) => _ = reply.send(()),
            Some(Lookup::Providers(search)) => self.searched(search),
            Some(Lookup::Peer(_)) => {}
            None => {}
        }
    }
}

/// Files are announced under the multihash of their root, as IPFS does.
fn record_key(root: &Cid) -> kad::RecordKey {
    kad::RecordKey::new(&root.hash().to_bytes())
}

/// The peer that an address names at its end.
fn peer_in(addr: &Multiaddr) -> Option<PeerId> {
    match addr.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// When something is due at once.
fn at_once() -> Instant {
    Instant::now()
}
