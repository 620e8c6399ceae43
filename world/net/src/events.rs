//! What the network is told, what it tells, and what it needs from outside.

use bytes::Bytes;
use libp2p::Multiaddr;
use talkoo_base::{Cid, NodeId};
use talkoo_store::Block;

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
    /// Bytes of blocks sent to it on the present connections.
    pub sent_bytes: u64,
    /// Bytes of blocks received from it on the present connections.
    pub received_bytes: u64,
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
    /// A block's content if `to` may have it; `None` for `to` is a peer that is no node.
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
    fn put(&self, blocks: &[Block]) -> Result<(), String>;
}
