//! Puts a swarm together.

use super::discovery::is_loopback;
use super::near::Careful;
use super::{Behaviour, Task};
use crate::error::NetError;
use crate::events::{BlockStore, Ipfs, NetConfig, NetEvent, RelayFor};
use crate::gateway::Gateway;
use crate::ident::{keypair_of, node_of};
use crate::ledger::Ledgers;
use crate::limits::{
    CONNECTIONS_PER_PEER, GATEWAYS_MAX, IDLE_CONNECTION, INBOUND_CONNECTIONS, LISTEN_DEADLINE, LOOKUP_DEADLINE,
    PENDING_CONNECTIONS, PING_INTERVAL, PROVIDED_MAX, PROVIDER_RECORDS_MAX, RELAY_DURATION, STREAMS_NEGOTIATING,
    YAMUX_STREAMS,
};
use crate::reach::Mapping;
use crate::shared::Shared;
use crate::streams::StreamsBehaviour;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Transport as _, TransportError};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, autonat, connection_limits, dcutr, identify, kad, noise,
    ping, quic, relay, swarm, tcp, upnp, yamux,
};
use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// Longest name of a network.
const NETWORK_NAME_MAX: usize = 64;

/// Builds the swarm and brings its listeners up.
pub(crate) async fn build(
    config: NetConfig,
    blocks: Arc<dyn BlockStore>,
    events: mpsc::Sender<NetEvent>,
    tracker: TaskTracker,
) -> Result<(Task, Arc<Shared>), NetError> {
    let key = keypair_of(&config.key).ok_or(NetError::Key)?;
    let local = key.public().to_peer_id();
    let node = node_of(&local).ok_or(NetError::Key)?;
    check_name(&config.network)?;
    if let Some(url) = config.gateways.get(GATEWAYS_MAX) {
        return Err(NetError::Gateway { url: url.clone() });
    }
    let gateways = config.gateways.iter().map(|url| Gateway::new(url)).collect::<Result<_, _>>()?;
    let shared = Shared::new(local, node, events, blocks, Ledgers::new(config.serve), gateways);
    let mut swarm = swarm_of(key, &config, Arc::clone(&shared), tracker)?;
    let listen = if config.listen.is_empty() { loopback() } else { config.listen };
    // The owner's words. A node that listens on its own machine alone has the others there.
    let on_own = listen.iter().filter(|_| listen.iter().all(is_loopback));
    let ipfs = config.ipfs.iter().flat_map(|ipfs| &ipfs.bootstrap);
    config.bootstrap.iter().chain(ipfs).chain(on_own).for_each(|addr| shared.near.name(addr));
    for addr in &listen {
        // libp2p listens with SO_REUSEPORT, so two nodes would share a port and each miss half of its callers.
        check_free(addr).map_err(|source| NetError::Listen { addr: addr.clone(), source })?;
        swarm.listen_on(addr.clone()).map_err(|error| NetError::Listen { addr: addr.clone(), source: io_of(error) })?;
    }
    let mut task = Task::new(swarm, Arc::clone(&shared), config.bootstrap);
    config.external.into_iter().for_each(|addr| task.named(addr));
    let up = timeout(LISTEN_DEADLINE, task.listen(listen.len())).await;
    up.map_err(|_| NetError::ListenTimeout { waited: LISTEN_DEADLINE })?;
    Ok((task, shared))
}

/// Whether nobody else listens on the port that an address names.
fn check_free(addr: &Multiaddr) -> io::Result<()> {
    let mut parts = addr.iter();
    let ip: IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => UdpSocket::bind((ip, port)).map(drop),
        _ => Ok(()),
    }
}

fn check_name(name: &str) -> Result<(), NetError> {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if is_plain && (1..=NETWORK_NAME_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(NetError::NetworkName { name: name.to_owned() })
}

fn loopback() -> Vec<Multiaddr> {
    let parse = |text: &str| text.parse().expect("a multiaddr that we wrote");
    vec![parse("/ip4/127.0.0.1/tcp/0"), parse("/ip4/127.0.0.1/udp/0/quic-v1")]
}

fn io_of(error: TransportError<io::Error>) -> io::Error {
    match error {
        TransportError::Other(error) => error,
        TransportError::MultiaddrNotSupported(_) => io::Error::new(io::ErrorKind::Unsupported, "unknown transport"),
    }
}

fn protocol(network: &str, name: &str) -> StreamProtocol {
    StreamProtocol::try_from_owned(format!("/talkoo/{network}/{name}/1")).expect("begins with a slash")
}

fn swarm_of(
    key: Keypair,
    config: &NetConfig,
    shared: Arc<Shared>,
    tracker: TaskTracker,
) -> Result<Swarm<Behaviour>, NetError> {
    let transport = |why: &dyn std::fmt::Display| NetError::Transport { why: why.to_string() };
    let muxer = || {
        let mut muxer = yamux::Config::default();
        muxer.set_max_num_streams(YAMUX_STREAMS);
        muxer
    };
    let noise = noise::Config::new(&key).map_err(|error| transport(&error))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)).upgrade(Version::V1Lazy);
    let tcp = tcp.authenticate(noise).multiplex(muxer()).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = quic::tokio::Transport::new(quic::Config::new(&key));
    let quic = quic.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let either = tcp.or_transport(quic).map(|either, _| either.into_inner()).boxed();
    let careful = Careful { inner: either, near: shared.near.clone() };
    let builder = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_other_transport(|_| careful)
        .map_err(|error| transport(&error))?
        .with_dns()
        .map_err(|error| transport(&error))?
        .with_relay_client(noise::Config::new, muxer)
        .map_err(|error| transport(&error))?;
    let builder = builder.with_behaviour(|key, relay_client| behaviour(key, config, shared, relay_client));
    let builder = builder.map_err(|error| transport(&error))?;
    // Our own executor, so that the tasks of connections can be waited for at shutdown.
    let spawn = move |task| {
        tracker.spawn(task);
    };
    let swarm = builder.with_swarm_config(|_| {
        swarm::Config::with_executor(spawn)
            .with_idle_connection_timeout(IDLE_CONNECTION)
            .with_max_negotiating_inbound_streams(STREAMS_NEGOTIATING)
    });
    Ok(swarm.build())
}

fn behaviour(
    key: &Keypair,
    config: &NetConfig,
    shared: Arc<Shared>,
    relay_client: relay::client::Behaviour,
) -> Behaviour {
    // On loopback there is nobody to be hidden from.
    let is_open = config.listen.iter().any(|addr| !is_loopback(addr));
    let mut reach = shared.reach();
    reach.is_relay = config.relay.is_some();
    reach.mapping = if is_open && config.upnp { Mapping::Asked } else { Mapping::NotAsked };
    drop(reach);
    let local = key.public().to_peer_id();
    let network = &config.network;
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_CONNECTIONS))
        .with_max_pending_outgoing(Some(PENDING_CONNECTIONS))
        .with_max_established_incoming(Some(INBOUND_CONNECTIONS))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER));
    let identify = identify::Config::new(format!("/talkoo/{network}/1"), key.public())
        .with_agent_version(config.agent.clone())
        .with_push_listen_addr_updates(true);
    Behaviour {
        limits: connection_limits::Behaviour::new(limits),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL)),
        identify: identify::Behaviour::new(identify),
        kad: dht(local, protocol(network, "kad")),
        ipfs: config.ipfs.as_ref().map(|ipfs| public_dht(local, ipfs)).into(),
        relay_client,
        relay: config.relay.map(|relay| relay::Behaviour::new(local, relay_config(relay))).into(),
        dcutr: dcutr::Behaviour::new(local),
        probe: is_open.then(autonat::v2::client::Behaviour::default).into(),
        probe_others: is_open.then(autonat::v2::server::Behaviour::default).into(),
        upnp: (is_open && config.upnp).then(upnp::tokio::Behaviour::default).into(),
        streams: StreamsBehaviour::new(shared, protocol(network, "work")),
    }
}

fn relay_config(given: RelayFor) -> relay::Config {
    let RelayFor { reservations, circuits, bytes } = given;
    relay::Config {
        max_reservations: reservations,
        max_circuits: circuits,
        max_circuit_bytes: bytes,
        max_circuit_duration: RELAY_DURATION,
        ..relay::Config::default()
    }
}

/// What a DHT keeps: the roots that we announce, and what `records` lets in. They count together, so that others must not
/// be able to take our own room.
fn provided(local: PeerId) -> kad::store::MemoryStore {
    let max_provided_keys = PROVIDED_MAX + PROVIDER_RECORDS_MAX;
    let limits = kad::store::MemoryStoreConfig { max_provided_keys, ..Default::default() };
    kad::store::MemoryStore::with_config(local, limits)
}

/// The DHT of IPFS; a client of it until somebody reached us.
fn public_dht(local: PeerId, ipfs: &Ipfs) -> kad::Behaviour<kad::store::MemoryStore> {
    let name = StreamProtocol::new(if ipfs.is_public { "/ipfs/kad/1.0.0" } else { "/ipfs/lan/kad/1.0.0" });
    let mut config = kad::Config::new(name);
    config.set_query_timeout(LOOKUP_DEADLINE).set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(local, provided(local), config);
    kad.set_mode(Some(if ipfs.is_public { kad::Mode::Client } else { kad::Mode::Server }));
    for addr in &ipfs.bootstrap {
        if let Some(Protocol::P2p(peer)) = addr.iter().last() {
            kad.add_address(&peer, addr.clone());
        }
    }
    kad
}

fn dht(local: PeerId, name: StreamProtocol) -> kad::Behaviour<kad::store::MemoryStore> {
    let mut config = kad::Config::new(name);
    // We ask by our own timetable, see `discovery`.
    config.set_periodic_bootstrap_interval(None).set_query_timeout(LOOKUP_DEADLINE);
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(local, provided(local), config);
    kad.set_mode(Some(kad::Mode::Server));
    kad
}
