//! Drives one download: the pure machine decides, this asks peers, looks on disk and stores.

use crate::error::FetchError;
use crate::events::{FetchProgress, Fetched};
use crate::ident::peer_id_of;
use crate::limits::{
    FETCH_EVENTS, FETCH_EVENTS_PER_STEP, LOOKS_PER_STEP, LOOKUP_DEADLINE, PROGRESS_INTERVAL, STORE_QUEUE_BYTES,
};
use crate::router::{Arrival, Registration};
use crate::shared::Shared;
use crate::swarm::Command;
use libp2p::PeerId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Cid, Mono, NodeId};
use talkoo_store::bitswap::{Message, Want};
use talkoo_store::fetch::{Fetch, FetchFailure, Held, Input, Output, PeerFault, PeerRef, Progress, Scope};
use talkoo_store::{Block, ipld};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};

type Looked = Vec<(Cid, Option<Held>)>;

/// Asks the DHT who has a file; empty when it does not answer in time.
pub(crate) async fn find_providers(commands: &mpsc::Sender<Command>, root: Cid) -> BTreeSet<PeerId> {
    let (reply, answer) = oneshot::channel();
    let find = async {
        commands.send(Command::FindProviders { root, reply }).await.ok()?;
        answer.await.ok()
    };
    timeout(LOOKUP_DEADLINE, find).await.ok().flatten().unwrap_or_default()
}

/// See [`crate::Net::fetch`].
pub(crate) async fn run(
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    root: Cid,
    from: Vec<NodeId>,
    progress: impl Fn(FetchProgress),
) -> Result<Fetched, FetchError> {
    let (sender, arrivals) = mpsc::channel(FETCH_EVENTS);
    let registration = shared.router.register(sender).ok_or(FetchError::TooMany)?;
    let only: Option<BTreeSet<PeerId>> = (!from.is_empty()).then(|| from.iter().filter_map(peer_id_of).collect());
    let search = start_search(&commands, root, only.as_ref()).await?;
    let started = Instant::now();
    let mut outputs = Vec::new();
    let machine = Fetch::start(root, Scope::Dag, Mono(0), &mut outputs);
    let driver = Driver {
        changes: shared.changes.subscribe(),
        shared,
        commands,
        registration,
        root,
        only,
        started,
        machine,
        outputs,
        peers: BTreeMap::new(),
        refs: BTreeMap::new(),
        looks: VecDeque::new(),
        looking: None,
        stores: Vec::new(),
        store_bytes: 0,
        storing: None,
        end: None,
    };
    driver.run(arrivals, search, progress).await
}

/// Connects to those who were named, or asks the DHT for others; providers that are found get
/// connected and so join the download.
async fn start_search(
    commands: &mpsc::Sender<Command>,
    root: Cid,
    only: Option<&BTreeSet<PeerId>>,
) -> Result<Option<oneshot::Receiver<BTreeSet<PeerId>>>, FetchError> {
    let (command, search) = match only {
        Some(peers) => (Command::Connect(peers.iter().copied().collect()), None),
        None => {
            let (reply, answer) = oneshot::channel();
            (Command::FindProviders { root, reply }, Some(answer))
        }
    };
    commands.send(command).await.map_err(|_| FetchError::Closed)?;
    Ok(search)
}

struct Driver {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    registration: Registration,
    changes: watch::Receiver<u64>,
    root: Cid,
    only: Option<BTreeSet<PeerId>>,
    started: Instant,
    machine: Fetch,
    outputs: Vec<Output>,
    peers: BTreeMap<PeerId, PeerRef>,
    refs: BTreeMap<PeerRef, PeerId>,
    looks: VecDeque<Cid>,
    looking: Option<JoinHandle<Looked>>,
    stores: Vec<Block>,
    store_bytes: usize,
    storing: Option<JoinHandle<Result<(), String>>>,
    end: Option<Result<Progress, FetchFailure>>,
}

/// What woke the driver.
enum Woken {
    Arrival(Option<Arrival>),
    Changed,
    Looked(Result<Looked, JoinError>),
    Stored(Result<Result<(), String>, JoinError>),
    Timer,
}

impl Driver {
    async fn run(
        mut self,
        mut arrivals: mpsc::Receiver<Arrival>,
        search: Option<oneshot::Receiver<BTreeSet<PeerId>>>,
        progress: impl Fn(FetchProgress),
    ) -> Result<Fetched, FetchError> {
        // Held so that the search goes on; its peers arrive as new connections.
        let _search = search;
        let mut next_progress = Instant::now();
        self.sync_peers();
        loop {
            self.act()?;
            if self.end.is_some() && self.storing.is_none() && self.stores.is_empty() {
                break;
            }
            if Instant::now() >= next_progress {
                next_progress = Instant::now() + PROGRESS_INTERVAL;
                progress(told(self.machine.progress()));
            }
            let wake = self.wake().unwrap_or(next_progress + PROGRESS_INTERVAL);
            let has_room = self.store_bytes < STORE_QUEUE_BYTES;
            let woken = tokio::select! {
                looked = joined(&mut self.looking) => Woken::Looked(looked),
                stored = joined(&mut self.storing) => Woken::Stored(stored),
                arrival = arrivals.recv(), if has_room => Woken::Arrival(arrival),
                _ = self.changes.changed() => Woken::Changed,
                () = sleep_until(wake) => Woken::Timer,
            };
            self.take(woken, &mut arrivals)?;
        }
        progress(told(self.machine.progress()));
        let done = self.end.unwrap_or(Err(FetchFailure::TooManyBlocks))?;
        Ok(Fetched { root: self.root, blocks: done.blocks, bytes: done.bytes, held_bytes: done.held_bytes })
    }

    fn wake(&self) -> Option<Instant> {
        self.machine.next_wake().map(|at| self.started + Duration::from_millis(at.0))
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.machine.handle(now, input, &mut self.outputs);
    }

    fn take(&mut self, woken: Woken, arrivals: &mut mpsc::Receiver<Arrival>) -> Result<(), FetchError> {
        match woken {
            Woken::Arrival(None) => return Err(FetchError::Closed),
            Woken::Arrival(Some(arrival)) => {
                self.arrived(arrival);
                for _ in 0..FETCH_EVENTS_PER_STEP {
                    let Ok(arrival) = arrivals.try_recv() else { break };
                    self.arrived(arrival);
                }
            }
            Woken::Changed => self.sync_peers(),
            Woken::Looked(looked) => {
                self.looking = None;
                for (cid, held) in looked.map_err(|_| FetchError::StorePanicked { root: self.root })? {
                    self.input(Input::Looked { cid, held });
                }
            }
            Woken::Stored(stored) => {
                self.storing = None;
                if let Err(why) = stored.map_err(|_| FetchError::StorePanicked { root: self.root })? {
                    self.stores.clear();
                    // After the last block has arrived the machine has nothing to say any more.
                    self.end = Some(Err(FetchFailure::Store { why: why.clone() }));
                    self.input(Input::StoreFailed(why));
                }
                self.store_bytes = self.stores.iter().map(|block| block.bytes().len()).sum();
            }
            Woken::Timer => self.input(Input::Tick),
        }
        Ok(())
    }

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Block { peer, block } => {
                if let Some(peer) = self.peers.get(&peer).copied() {
                    self.input(Input::Block { peer, block });
                }
            }
            Arrival::Presence { peer, presence } => {
                if let Some(peer) = self.peers.get(&peer).copied() {
                    self.input(Input::Presence { peer, cid: presence.cid, have: presence.have });
                }
            }
        }
    }

    /// Tells the machine who came and who went.
    fn sync_peers(&mut self) {
        self.changes.mark_unchanged();
        let connected: BTreeSet<PeerId> = self.shared.connected().into_iter().collect();
        let gone: Vec<PeerId> = self.peers.keys().filter(|peer| !connected.contains(peer)).copied().collect();
        for peer in gone {
            self.lose(&peer);
        }
        for peer in connected {
            let is_meant = self.only.as_ref().is_none_or(|only| only.contains(&peer));
            let can = || self.shared.wants_link(&peer).is_some();
            if is_meant && !self.peers.contains_key(&peer) && can() {
                // The reference of a peer stays the same when it comes back, and so do its faults.
                let number = u32::try_from(self.refs.len()).unwrap_or(u32::MAX);
                let known = self.refs.iter().find(|(_, known)| **known == peer).map(|(known, _)| *known);
                let reference = known.unwrap_or(PeerRef(number));
                self.peers.insert(peer, reference);
                self.refs.insert(reference, peer);
                self.registration.asked().peers.insert(peer);
                self.input(Input::PeerUp(reference));
            }
        }
    }

    fn lose(&mut self, peer: &PeerId) {
        if let Some(reference) = self.peers.remove(peer) {
            self.registration.asked().peers.remove(peer);
            self.input(Input::PeerGone(reference));
        }
    }

    /// Carries out what the machine said, until it says nothing more.
    fn act(&mut self) -> Result<(), FetchError> {
        while !self.outputs.is_empty() {
            let mut messages: BTreeMap<PeerRef, Message> = BTreeMap::new();
            for output in std::mem::take(&mut self.outputs) {
                match output {
                    Output::Look(cid) => self.looks.push_back(cid),
                    Output::Want { peer, cid, kind } => {
                        self.registration.asked().cids.insert(cid);
                        messages.entry(peer).or_default().wants.push(Want::new(cid, kind));
                    }
                    Output::Cancel { peer, cid } => {
                        messages.entry(peer).or_default().wants.push(Want::cancel(cid));
                    }
                    Output::Store(block) => {
                        self.store_bytes += block.bytes().len();
                        self.stores.push(block);
                    }
                    Output::Drop { peer, why } => self.drop_peer(peer, why)?,
                    Output::Done(progress) => self.end = Some(Ok(progress)),
                    Output::Failed(failure) => self.end = Some(Err(failure)),
                }
            }
            for (reference, message) in messages {
                self.send(reference, message);
            }
        }
        self.start_work();
        Ok(())
    }

    fn send(&mut self, reference: PeerRef, message: Message) {
        let Some(peer) = self.refs.get(&reference).copied() else { return };
        let link = self.shared.wants_link(&peer);
        // A full queue means that the peer does not read: as good as gone, for this download.
        if link.is_none_or(|link| link.try_send(message).is_err()) {
            self.lose(&peer);
        }
    }

    fn drop_peer(&mut self, reference: PeerRef, why: PeerFault) -> Result<(), FetchError> {
        let Some(peer) = self.refs.get(&reference).copied() else { return Ok(()) };
        tracing::info!(%peer, %why, root = %self.root, "peer dropped from a download");
        match why {
            PeerFault::Silent => Ok(()),
            PeerFault::WrongBlocks => {
                let command = Command::Ban { peer, why: why.to_string() };
                match self.commands.try_send(command) {
                    Err(mpsc::error::TrySendError::Closed(_)) => Err(FetchError::Closed),
                    // When the swarm is that busy, not using the peer here has to do.
                    Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => Ok(()),
                }
            }
        }
    }

    /// Starts looking and storing on threads for blocking work, one step of each at a time.
    fn start_work(&mut self) {
        if self.looking.is_none() && !self.looks.is_empty() {
            let count = self.looks.len().min(LOOKS_PER_STEP);
            let cids: Vec<Cid> = self.looks.drain(..count).collect();
            let shared = Arc::clone(&self.shared);
            self.looking = Some(tokio::task::spawn_blocking(move || {
                cids.into_iter().map(|cid| (cid, look(&shared, &cid))).collect()
            }));
        }
        if self.storing.is_none() && !self.stores.is_empty() {
            let blocks = std::mem::take(&mut self.stores);
            let shared = Arc::clone(&self.shared);
            self.storing = Some(tokio::task::spawn_blocking(move || shared.blocks.put(&blocks)));
        }
    }
}

fn look(shared: &Shared, cid: &Cid) -> Option<Held> {
    if ipld::may_link(cid.codec()) {
        return shared.blocks.get(cid).map(Held::Node);
    }
    shared.blocks.held_bytes(cid).map(|bytes| Held::Leaf { bytes })
}

fn told(progress: Progress) -> FetchProgress {
    let Progress { blocks, bytes, held_bytes, total_bytes, peers } = progress;
    FetchProgress { blocks, bytes, held_bytes, total_bytes, peers }
}

/// The result of a running job; pending when there is none.
async fn joined<T>(job: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match job {
        Some(job) => job.await,
        None => std::future::pending().await,
    }
}
