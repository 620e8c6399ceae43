//! Long-lived message streams: our own behaviour and handler, because libp2p-stream drops inbound
//! streams when its reader is busy, and a lost bitswap message stalls a download.
//!
//! ```text
//! Net::send ─► bounded queue ─► writer ─► stream ═══► stream ─► reader ─► bounded channel ─► node
//! ```
//! Every stream is an async function that the connection's own task polls; when it waits for room,
//! the stream is not read, its window fills, and the peer waits too. Nothing is dropped.

mod behaviour;
mod bitswap;
mod frame;
mod handler;
mod ping;
mod wants;
mod work;

pub(crate) use behaviour::{StreamsBehaviour, StreamsEvent};
pub(crate) use ping::Ping;
pub(crate) use work::WorkSender;
#[cfg(test)]
pub(crate) use work::queue as work_queue;

use crate::ledger::Ledger;
use crate::shared::Shared;
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use talkoo_base::NodeId;
use talkoo_store::bitswap::Message;
use tokio::sync::{Semaphore, mpsc, watch};
use wants::Wants;

/// Bitswap 1.2, the name that kubo and Helia negotiate.
const BITSWAP: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");

/// What the streams of one connection have in common.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) peer: PeerId,
    pub(crate) addr: Multiaddr,
    /// Its key is of a kind that nodes have.
    pub(crate) node: Option<NodeId>,
    /// Whether it is a node of our network, once that is known.
    pub(crate) is_node: watch::Sender<Option<bool>>,
    pub(crate) is_kept: Arc<AtomicBool>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) wants: Wants,
    /// Wants that did not fit into the queue.
    pub(crate) refused: AtomicU64,
    /// Room for messages above 64 KiB.
    pub(crate) large: Semaphore,
    /// One queue for each stream that may carry our answers.
    pub(crate) answers: Vec<mpsc::Sender<Message>>,
    pub(crate) announced: watch::Sender<bool>,
}

/// How a stream's function ended.
enum End {
    /// Nothing more to do.
    Closed,
    /// The peer ended its work stream.
    InboundWork,
    /// The peer ended a bitswap stream.
    InboundBitswap,
    /// There is something to write and no stream.
    WantsBitswap(bitswap::Outbound),
    /// The stream for writing ended; another will be opened when needed.
    BitswapIdle(bitswap::Outbound),
    /// A ping needs a stream; the queue of further pings.
    WantsPing(Ping, mpsc::Receiver<Ping>),
    /// The connection is of no more use.
    Broken(String),
    /// The peer broke the protocol.
    Misbehaved(String),
}
