//! The handle of a node's network.

use crate::error::{DialError, FetchError, NetError, PingError, SendError};
use crate::events::{
    BlockStore, Counters, FetchOptions, FetchProgress, Fetched, LedgerEntry, NetConfig, NetEvent, PeerInfo, SwarmPeer,
};
use crate::fetch;
use crate::ident::{node_of, peer_id_of};
use crate::limits::{
    CLOSE_DEADLINE, COMMANDS_QUEUED, DIAL_DEADLINE, DRAIN_DEADLINE, LOOKUP_DEADLINE, PING_ATTEMPTS, PING_DEADLINE,
};
use crate::reach::Reach;
use crate::session::Session;
use crate::shared::Shared;
use crate::swarm::{self, Command, DialReply};
use libp2p::{Multiaddr, PeerId};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use talkoo_base::{Cid, NodeId};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A running network. Clones are the same one. [`Net::shutdown`] closes it in order; when the last
/// clone is dropped instead, it closes by itself.
#[derive(Clone)]
pub struct Net {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    stop: CancellationToken,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
    tracker: TaskTracker,
}

impl Net {
    /// Listens, and begins to connect to the bootstrap nodes. Must be called inside tokio.
    ///
    /// # Errors
    /// A bad key or name, an address that cannot be listened on.
    pub async fn start(
        config: NetConfig,
        blocks: Arc<dyn BlockStore>,
        events: mpsc::Sender<NetEvent>,
    ) -> Result<Self, NetError> {
        let tracker = TaskTracker::new();
        let (task, shared) = swarm::build(config, blocks, events, tracker.clone()).await?;
        let (commands, receiver) = mpsc::channel(COMMANDS_QUEUED);
        let stop = CancellationToken::new();
        let task = tokio::spawn(task.run(receiver, stop.clone()));
        Ok(Self { shared, commands, stop, task: Arc::new(Mutex::new(Some(task))), tracker })
    }

    /// Our own name.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.shared.node
    }

    /// Queues a message for a connected node. It is delivered once and in order, unless the
    /// connection is lost, which `PeerDown` tells.
    ///
    /// # Errors
    /// [`SendError`]; nothing was queued then.
    pub fn send(&self, to: NodeId, bytes: Vec<u8>) -> Result<(), SendError> {
        let link = peer_id_of(&to).and_then(|peer| self.shared.work_link(&peer));
        link.ok_or(SendError::NotConnected)?.try_send(bytes)
    }

    /// Connects to an address, with or without a peer's name at its end.
    ///
    /// # Errors
    /// [`DialError`]; at the latest after [`crate::limits::DIAL_DEADLINE`].
    pub async fn dial(&self, addr: Multiaddr) -> Result<NodeId, DialError> {
        self.dialled(addr, DialReply::Node).await
    }

    /// Connects to any libp2p peer, kubo and Helia too, and stays connected though nothing is said.
    /// A node of our network is told as [`NetEvent::PeerUp`], too.
    ///
    /// # Errors
    /// [`DialError`]; at the latest after [`crate::limits::DIAL_DEADLINE`].
    pub async fn connect(&self, addr: Multiaddr) -> Result<PeerId, DialError> {
        self.dialled(addr, DialReply::Peer).await
    }

    async fn dialled<T>(
        &self,
        addr: Multiaddr,
        reply: impl FnOnce(oneshot::Sender<Result<T, DialError>>) -> DialReply,
    ) -> Result<T, DialError> {
        let (sender, answer) = oneshot::channel();
        let dial = async {
            let command = Command::Dial { addr: addr.clone(), reply: reply(sender) };
            self.commands.send(command).await.map_err(|_| DialError::Closed)?;
            answer.await.map_err(|_| DialError::Closed)?
        };
        let timed_out = DialError::Timeout { addr: addr.clone(), waited: DIAL_DEADLINE };
        timeout(DIAL_DEADLINE, dial).await.unwrap_or(Err(timed_out))
    }

    /// Closes the connections with a peer and waits until they are gone; false if there was none. It
    /// may come back by itself; see [`Net::ban`].
    pub async fn disconnect(&self, peer: PeerId) -> bool {
        let mut changes = self.shared.changes.subscribe();
        if !self.shared.is_connected(&peer) || self.commands.send(Command::Disconnect(peer)).await.is_err() {
            return false;
        }
        let gone = changes.wait_for(|_| !self.shared.is_connected(&peer));
        timeout(CLOSE_DEADLINE, gone).await.is_ok()
    }

    /// The round trip to a connected peer, measured now.
    ///
    /// # Errors
    /// [`PingError`]; at the latest after [`crate::limits::PING_DEADLINE`].
    pub async fn ping(&self, peer: PeerId) -> Result<Duration, PingError> {
        let measure = async {
            // rust-libp2p drops a ping's stream when another one of the same peer comes, as the regular ones do.
            for _ in 0..PING_ATTEMPTS {
                let link = self.shared.pings_link(&peer).ok_or(PingError::NotConnected { peer })?;
                let (ping, answer) = oneshot::channel();
                if link.send(ping).await.is_ok()
                    && let Ok(took) = answer.await
                {
                    return Ok(took);
                }
            }
            Err(PingError::Refused { peer })
        };
        let late = PingError::Timeout { peer, waited: PING_DEADLINE };
        timeout(PING_DEADLINE, measure).await.unwrap_or(Err(late))
    }

    /// Every connection with every libp2p peer, in the order of their PeerIds.
    #[must_use]
    pub fn swarm(&self) -> Vec<SwarmPeer> {
        self.shared.swarm()
    }

    /// What was exchanged with a peer.
    #[must_use]
    pub fn ledger(&self, peer: PeerId) -> LedgerEntry {
        self.shared.ledgers.entry(&peer)
    }

    /// What peers asked for and were refused.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.shared.ledgers.counters()
    }

    /// Connects to a node by its name alone, if the DHT knows where it is: told as [`NetEvent::PeerUp`]. Best effort: while the
    /// network is too busy to hear, nothing happens.
    pub fn meet(&self, node: NodeId) {
        if let Some(peer) = peer_id_of(&node)
            && self.commands.try_send(Command::Meet(peer)).is_err()
        {
            tracing::debug!(?node, "too busy to look for a node");
        }
    }

    /// Closes the connections with a peer and takes none from it for [`crate::limits::BAN`]. Told as
    /// [`NetEvent::Misbehaved`]. Best effort: while the network is too busy to hear, nothing happens.
    pub fn ban(&self, node: NodeId, why: String) {
        if let Some(peer) = peer_id_of(&node)
            && self.commands.try_send(Command::Ban { peer, why }).is_err()
        {
            tracing::debug!(?node, "too busy to ban a peer");
        }
    }

    /// The connected nodes of our network, in the order of their PeerIds.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.shared.infos()
    }

    /// The addresses we listen on, with our name at their end.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.shared.addresses()
    }

    /// How others reach us, as far as is known.
    #[must_use]
    pub fn reach(&self) -> Reach {
        self.shared.reach().clone()
    }

    /// Downloads a DAG from several peers at once. Blocks that are here are not asked for, so a download that
    /// failed or was dropped is resumed by calling this again. `progress` is called about ten times
    /// a second and at the end.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn fetch(
        &self,
        root: Cid,
        options: FetchOptions,
        progress: impl Fn(FetchProgress),
    ) -> Result<Fetched, FetchError> {
        fetch::run(Arc::clone(&self.shared), self.commands.clone(), root, options, progress).await
    }

    /// Begins to fetch single blocks below `root`, as an HTTP gateway does that follows a path; `from`
    /// as in [`FetchOptions`]. Nobody is asked for anything before the first [`Session::get`].
    ///
    /// # Errors
    /// Too many at once, or the network is shut down.
    pub async fn session(&self, root: Cid, from: Vec<PeerId>) -> Result<Session, FetchError> {
        let tasks = (&self.tracker, self.stop.clone());
        Session::start(Arc::clone(&self.shared), self.commands.clone(), root, from, tasks).await
    }

    /// Announces in the DHT that we have a file. Best effort: it ends at the latest after
    /// [`crate::limits::LOOKUP_DEADLINE`], and is renewed while the node runs.
    pub async fn provide(&self, root: Cid) {
        let (reply, answer) = oneshot::channel();
        let provide = async {
            if self.commands.send(Command::Provide { root, reply }).await.is_ok() {
                let _ = answer.await;
            }
        };
        if timeout(LOOKUP_DEADLINE, provide).await.is_err() {
            tracing::debug!(%root, "providing took too long");
        }
    }

    /// Everybody who announced a root, ourselves excepted; connects to them.
    pub async fn providers(&self, root: Cid) -> Vec<PeerId> {
        let found = fetch::find_providers(&self.commands, root).await;
        found.into_iter().filter(|peer| *peer != self.shared.local).collect()
    }

    /// The nodes that announced a file, ourselves excepted; connects to them.
    pub async fn find_providers(&self, root: Cid) -> Vec<NodeId> {
        let found = fetch::find_providers(&self.commands, root).await;
        found.iter().filter(|peer| **peer != self.shared.local).filter_map(node_of).collect()
    }

    /// Sends what is queued until the peers have taken it, closes every connection, and waits for every task, each within its
    /// deadline. Other clones answer "closed" from then on.
    pub async fn shutdown(self) {
        let links = self.shared.work_links();
        let finished = futures::future::join_all(links.iter().map(crate::streams::WorkSender::finished));
        if timeout(DRAIN_DEADLINE, finished).await.is_err() {
            tracing::debug!("waited {DRAIN_DEADLINE:?} for peers to take their last messages");
        }
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the network task panicked");
        }
        self.tracker.close();
        if timeout(CLOSE_DEADLINE, self.tracker.wait()).await.is_err() {
            tracing::warn!("waited {CLOSE_DEADLINE:?} for the tasks of connections to end");
        }
    }
}
