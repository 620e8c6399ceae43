//! Why the network says no.

use crate::events::Tried;
use libp2p::{Multiaddr, PeerId};
use std::io;
use std::time::Duration;
use talkoo_base::{Cid, NodeId};
use talkoo_store::fetch::FetchFailure;
use thiserror::Error;

/// Why a node's network cannot start.
#[derive(Debug, Error)]
pub enum NetError {
    /// The key is no key.
    #[error("the node's key is not a secp256k1 key: restore the key file")]
    Key,
    /// The network's name does not fit into a protocol name.
    #[error("network name {name:?} cannot be used: letters, digits, - and _, at most 64")]
    NetworkName {
        /// The name.
        name: String,
    },
    /// A transport cannot be made.
    #[error("the transport cannot be set up: {why}")]
    Transport {
        /// What libp2p says.
        why: String,
    },
    /// A gateway's address cannot be used.
    #[error("gateway {url:?} cannot be used: give http:// or https:// and a host, at most 16 of them")]
    Gateway {
        /// The address.
        url: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: is the port taken? choose another with --listen")]
    Listen {
        /// Which.
        addr: Multiaddr,
        /// Why.
        source: io::Error,
    },
    /// A listener did not come up.
    #[error("waited {waited:?} for a listener to come up: choose other addresses with --listen")]
    ListenTimeout {
        /// How long.
        waited: Duration,
    },
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SendError {
    /// No connection with this node.
    #[error("not connected to this node: dial it, or wait for it to come back")]
    NotConnected,
    /// The queue to this node is full.
    #[error("the queue to this node is full: send less, or later")]
    Congested,
    /// Larger than a message may be.
    #[error("message of {bytes} bytes is over the limit of 1 MiB: send bulk data as blocks")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

/// Why a dial failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DialError {
    /// Nobody answers there.
    #[error("cannot connect to {addr}: {why}; check the address and that the node is up")]
    Unreachable {
        /// Where.
        addr: Multiaddr,
        /// What libp2p says.
        why: String,
    },
    /// Somebody answers, but not a node of this network.
    #[error("the peer at {addr} is not a node of this network: check the network's name")]
    OtherNetwork {
        /// Where.
        addr: Multiaddr,
    },
    /// No answer in time.
    #[error("waited {waited:?} for a connection with {addr}: check the address and that the node is up")]
    Timeout {
        /// Where.
        addr: Multiaddr,
        /// How long.
        waited: Duration,
    },
    /// Too many dials at once.
    #[error("too many dials at once: wait for some to finish")]
    TooMany,
    /// The network is shut down.
    #[error("the network is shut down")]
    Closed,
}

/// Why there is no round trip to tell.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PingError {
    /// No connection with this peer.
    #[error("not connected to {peer}: connect to it first")]
    NotConnected {
        /// Which.
        peer: PeerId,
    },
    /// No answer in time, or too many pings at once.
    #[error("waited {waited:?} for {peer} to answer a ping")]
    Timeout {
        /// Which.
        peer: PeerId,
        /// How long.
        waited: Duration,
    },
    /// It refused the stream, or answered something else.
    #[error("{peer} does not answer pings")]
    Refused {
        /// Which.
        peer: PeerId,
    },
}

/// Why a download failed. What has arrived is kept; a further call resumes.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FetchError {
    /// The download itself.
    #[error(transparent)]
    Failed(#[from] FetchFailure),
    /// A block did not come.
    #[error("block {cid} did not come: {tried}; connect to a node that has it, or try later")]
    Missing {
        /// Which.
        cid: Cid,
        /// What was tried.
        tried: Box<Tried>,
    },
    /// Too many downloads at once.
    #[error("too many downloads at once: wait for one to finish")]
    TooMany,
    /// The disk's answer was lost because a thread panicked; this is a bug.
    #[error("the block store failed while working on {root}: restart the node and report this")]
    StorePanicked {
        /// What was being downloaded.
        root: Cid,
    },
    /// The network is shut down.
    #[error("the network is shut down")]
    Closed,
}

/// Why a peer is told off, for events and the log.
pub(crate) fn told_off(node: Option<NodeId>, why: &str) {
    tracing::warn!(?node, why, "peer misbehaved");
}
