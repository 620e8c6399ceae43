//! What the network is told, what it tells, and what it needs from outside.

use crate::Region;
use crate::limits::{
    RELAY_BYTES, RELAY_CIRCUITS, RELAY_RESERVATIONS, STRANGER_BYTES_PER_HOUR, STRANGERS_BYTES_PER_HOUR,
};
use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};
use std::fmt;
use std::time::Duration;
use talkoo_base::{Cid, NodeId};
use talkoo_store::fetch::Scope;
use talkoo_store::{Block, Visibility};

/// Settings of a node's network.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// The node's secret key: its name on the network.
    pub key: [u8; 32],
    /// Name of the network; nodes of other networks are strangers.
    pub network: String,
    /// Addresses to listen on; none: loopback, TCP and QUIC, ports chosen by the system.
    pub listen: Vec<Multiaddr>,
    /// Nodes to connect to at the start, and again whenever they are lost.
    pub bootstrap: Vec<Multiaddr>,
    /// Program and version, as told to peers.
    pub agent: String,
    /// What peers that are no nodes of this network are served.
    pub serve: Serve,
    /// HTTP gateways (`https://host`) to ask for blocks that no peer gives.
    pub gateways: Vec<String>,
    /// Addresses at which we are known to be reached from outside.
    pub external: Vec<Multiaddr>,
    /// Relay for others.
    pub relay: Option<RelayFor>,
    /// Ask the router at home for a port, when we listen beyond loopback.
    pub upnp: bool,
    /// Join a DHT of IPFS.
    pub ipfs: Option<Ipfs>,
}

/// What a relay gives. It sees who talks to whom, and only ciphertext of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayFor {
    /// Peers that may be reached through us at once.
    pub reservations: usize,
    /// Connections through us at once.
    pub circuits: usize,
    /// Bytes of one connection each way; what hole punching needs is a few kilobytes.
    pub bytes: u64,
}

impl Default for RelayFor {
    fn default() -> Self {
        Self { reservations: RELAY_RESERVATIONS, circuits: RELAY_CIRCUITS, bytes: RELAY_BYTES }
    }
}

/// Which DHT of IPFS to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipfs {
    /// That of the internet, `/ipfs/kad/1.0.0`, or that of the local network, `/ipfs/lan/kad/1.0.0`.
    pub is_public: bool,
    /// Nodes to begin with.
    pub bootstrap: Vec<Multiaddr>,
}

/// Which strangers, peers that are no nodes of our network, are given public blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strangers {
    /// None.
    Nobody,
    /// Those on this machine and in private networks.
    #[default]
    Near,
    /// All: what a public IPFS node does.
    Everybody,
}

/// What strangers are served. Nodes of our network have no budget here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serve {
    /// Which of them.
    pub strangers: Strangers,
    /// Bytes that each is given in an hour.
    pub bytes_per_hour: u64,
    /// Bytes that all of them are given in an hour: names cost nothing.
    pub bytes_per_hour_all: u64,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            strangers: Strangers::default(),
            bytes_per_hour: STRANGER_BYTES_PER_HOUR,
            bytes_per_hour_all: STRANGERS_BYTES_PER_HOUR,
        }
    }
}

impl NetConfig {
    /// A node on loopback, ports chosen by the system.
    #[must_use]
    pub fn loopback(key: [u8; 32], network: &str) -> Self {
        Self {
            key,
            network: network.to_owned(),
            listen: Vec::new(),
            bootstrap: Vec::new(),
            agent: concat!("talkoo/", env!("CARGO_PKG_VERSION")).to_owned(),
            serve: Serve::default(),
            gateways: Vec::new(),
            external: Vec::new(),
            relay: None,
            upnp: true,
            ipfs: None,
        }
    }
}

/// What happened. A node that takes events slowly slows its peers down; nothing is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetEvent {
    /// An address that others can dial, with our name at its end.
    Listening(Multiaddr),
    /// A node can be sent to.
    PeerUp {
        /// Who.
        peer: NodeId,
        /// Where.
        addr: Multiaddr,
    },
    /// Where a connected peer can be dialled, as far as is known: the address that answered us, then
    /// those that it says it listens on. Its name is at the end of each, so that a false one leads
    /// nowhere. Told again when it says more.
    Dialable {
        /// Who.
        peer: NodeId,
        /// Where; the best first.
        addrs: Vec<Multiaddr>,
    },
    /// A node is gone. Messages that were queued for it are lost.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A message; after `PeerUp` and before `PeerDown` of its sender, in the order of sending.
    Message {
        /// From whom.
        peer: NodeId,
        /// What.
        bytes: Bytes,
    },
    /// A node broke a protocol; its connections are closed and refused for a while.
    Misbehaved {
        /// Who.
        peer: NodeId,
        /// How.
        why: String,
    },
}

/// A connected node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who.
    pub id: NodeId,
    /// Where.
    pub addr: Multiaddr,
    /// Last measured round trip in microseconds.
    pub rtt_us: Option<u64>,
    /// Bytes of blocks sent to it since our start.
    pub sent_bytes: u64,
    /// Bytes of blocks received from it since our start.
    pub received_bytes: u64,
    /// The country where it says it is.
    pub region: Option<Region>,
}

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// We.
    Outbound,
}

/// One connection with a libp2p peer, a node of ours or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmPeer {
    /// Who; its `Display` is the text that IPFS uses.
    pub peer: PeerId,
    /// Its name among us, if it is a node of our network.
    pub node: Option<NodeId>,
    /// Where.
    pub addr: Multiaddr,
    /// Whether this connection goes through a relay.
    pub is_relayed: bool,
    /// Who dialled.
    pub direction: Direction,
    /// Program and version, as it says.
    pub agent: Option<String>,
    /// Protocols that it says it speaks.
    pub protocols: Vec<String>,
    /// Last measured round trip in microseconds.
    pub rtt_us: Option<u64>,
    /// Bytes of blocks sent to the peer since our start.
    pub sent_bytes: u64,
    /// Bytes of blocks received from the peer since our start.
    pub received_bytes: u64,
}

/// Blocks exchanged with one peer since our start; zeros for one that was never seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerEntry {
    /// Bytes of blocks sent.
    pub sent_bytes: u64,
    /// Blocks sent.
    pub sent_blocks: u64,
    /// Bytes of blocks received.
    pub received_bytes: u64,
    /// Blocks received.
    pub received_blocks: u64,
    /// Wants refused because the peer is a stranger or its budget is spent.
    pub refused: u64,
}

impl LedgerEntry {
    /// The debt ratio of bitswap: bytes sent / (bytes received + 1); `None` before anything was exchanged.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        (self.sent_bytes + self.received_bytes > 0).then(|| self.sent_bytes as f64 / (self.received_bytes + 1) as f64)
    }
}

/// What all peers together asked for and were refused since our start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Wants taken.
    pub wants: u64,
    /// Wants refused because a peer's queue was full.
    pub wants_refused: u64,
    /// Wants of strangers refused because the hour's bytes were spent.
    pub budget_refused: u64,
    /// Wants of strangers who are not served at all.
    pub strangers_refused: u64,
    /// Peers thrown out because they broke a protocol.
    pub misbehaved: u64,
    /// Records that others wanted to write into our part of a DHT and we did not keep.
    pub records_refused: u64,
}

/// How to download.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// How much.
    pub scope: Scope,
    /// Whom to ask; nobody: all connected peers, whoever the DHT knows, and the gateways.
    pub from: Vec<PeerId>,
    /// When to give up though blocks still arrive.
    pub deadline: Option<Duration>,
    /// Who may be given what comes: private for what was granted to us, so that a grantee shows it to nobody.
    pub visibility: Visibility,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { scope: Scope::default(), from: Vec::new(), deadline: None, visibility: Visibility::Public }
    }
}

/// What the DHT said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// It was not asked.
    No,
    /// It has not answered.
    Unanswered,
    /// It knows so many providers.
    Found(usize),
}

/// What was tried to get a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// How long.
    pub waited: Duration,
    /// Peers that were asked, gateways among them.
    pub asked: usize,
    /// Those of them that said no.
    pub denied: usize,
    /// What the DHT said.
    pub dht: Search,
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waited, asked, denied, dht } = self;
        write!(f, "{asked} peers asked, {denied} said no, ")?;
        match dht {
            Search::No => write!(f, "the DHT was not asked")?,
            Search::Unanswered => write!(f, "no answer from the DHT")?,
            Search::Found(count) => write!(f, "the DHT knows {count} who say that they have it")?,
        }
        write!(f, ", after {:.1} s", waited.as_secs_f64())
    }
}

/// How far a download is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    /// Blocks that are here.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, bytes that were here before.
    pub held_bytes: u64,
    /// Bytes of the whole file, once its root is known.
    pub total_bytes: Option<u64>,
    /// Peers in use.
    pub peers: usize,
}

/// A finished download: every block is in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its root.
    pub root: Cid,
    /// Blocks of the DAG.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of these, bytes that were here before.
    pub held_bytes: u64,
}

/// What the network needs from a block store. Every call may block: they are made on threads for it.
/// Errors of the store that concern one block are for the store to log: to the network the block is
/// absent.
pub trait BlockStore: Send + Sync + 'static {
    /// A block's content if `to` may have it; `None` for `to` is a stranger, no node of our network.
    fn serve(&self, to: Option<&NodeId>, cid: &Cid) -> Option<Bytes>;

    /// Whether [`BlockStore::serve`] would answer.
    fn serves(&self, to: Option<&NodeId>, cid: &Cid) -> bool;

    /// Length of a block that is here, whoever may have it.
    fn held_bytes(&self, cid: &Cid) -> Option<u64>;

    /// A block that is here, whoever may have it, checked.
    fn get(&self, cid: &Cid) -> Option<Block>;

    /// Keeps downloaded blocks.
    ///
    /// # Errors
    /// A sentence for the user: the quota, the disk.
    fn put(&self, blocks: &[Block], visibility: Visibility) -> Result<(), String>;
}
