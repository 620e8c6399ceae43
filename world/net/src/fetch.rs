//! Drives one download: the pure machine decides, this asks peers, looks on disk and stores.

use crate::crowd::{Crowd, Heard, Purpose};
use crate::error::FetchError;
use crate::events::{FetchOptions, FetchProgress, Fetched};
use crate::limits::{
    FETCH_EVENTS_PER_STEP, GATEWAYS_AFTER, LOOKS_PER_STEP, LOOKUP_DEADLINE, PROGRESS_INTERVAL, STORE_QUEUE_BYTES,
};
use crate::shared::Shared;
use crate::swarm::{Command, Share};
use libp2p::PeerId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Cid, Mono};
use talkoo_store::bitswap::{Message, Want};
use talkoo_store::fetch::{Fetch, FetchFailure, Held, Input, Output, PeerFault, PeerRef, Progress};
use talkoo_store::{Block, Visibility, ipld};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout};

type Looked = Vec<(Cid, Option<Held>)>;

/// Asks the DHT who has a file; empty when it does not answer in time.
pub(crate) async fn find_providers(commands: &mpsc::Sender<Command>, root: Cid) -> BTreeSet<PeerId> {
    let (reply, answer) = oneshot::channel();
    let find = async {
        commands.send(Command::FindProviders { root, share: Share::Most, reply }).await.ok()?;
        answer.await.ok()
    };
    timeout(LOOKUP_DEADLINE, find).await.ok().flatten().unwrap_or_default()
}

/// See [`crate::Net::fetch`].
pub(crate) async fn run(
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    root: Cid,
    options: FetchOptions,
    progress: impl Fn(FetchProgress),
) -> Result<Fetched, FetchError> {
    let FetchOptions { scope, from, deadline, visibility } = options;
    let mut crowd = Crowd::new(shared, commands, root, from, Purpose::Fetch).await?;
    crowd.search().await?;
    if !crowd.has_peers() {
        crowd.add_gateways();
    }
    let started = Instant::now();
    let mut outputs = Vec::new();
    let machine = Fetch::start(root, scope, Mono(0), &mut outputs);
    let driver = Driver {
        crowd,
        root,
        visibility,
        started,
        last_block: started,
        machine,
        outputs,
        denials: BTreeMap::new(),
        looks: VecDeque::new(),
        looking: None,
        stores: Vec::new(),
        store_bytes: 0,
        storing: None,
        end: None,
    };
    driver.run(deadline.map(|deadline| started + deadline), progress).await
}

struct Driver {
    crowd: Crowd,
    root: Cid,
    visibility: Visibility,
    started: Instant,
    last_block: Instant,
    machine: Fetch,
    outputs: Vec<Output>,
    /// Who said that it does not have a block that is still missing.
    denials: BTreeMap<Cid, BTreeSet<PeerRef>>,
    looks: VecDeque<Cid>,
    looking: Option<JoinHandle<Looked>>,
    stores: Vec<Block>,
    store_bytes: usize,
    storing: Option<JoinHandle<Result<(), String>>>,
    end: Option<Result<Progress, FetchFailure>>,
}

/// What woke the driver.
enum Woken {
    Heard(Option<Heard>),
    Looked(Result<Looked, JoinError>),
    Stored(Result<Result<(), String>, JoinError>),
    Timer,
}

impl Driver {
    async fn run(mut self, deadline: Option<Instant>, progress: impl Fn(FetchProgress)) -> Result<Fetched, FetchError> {
        let mut next_progress = Instant::now();
        loop {
            self.act();
            if self.end.is_some() && self.storing.is_none() && self.stores.is_empty() {
                break;
            }
            let now = Instant::now();
            if deadline.is_some_and(|deadline| now >= deadline) {
                return Err(self.missing(self.machine.waits_for().unwrap_or(self.root)));
            }
            if now >= next_progress {
                next_progress = now + PROGRESS_INTERVAL;
                progress(told(self.machine.progress()));
            }
            let wake = self.wake().unwrap_or(next_progress + PROGRESS_INTERVAL);
            let has_room = self.store_bytes < STORE_QUEUE_BYTES;
            let woken = tokio::select! {
                looked = joined(&mut self.looking) => Woken::Looked(looked),
                stored = joined(&mut self.storing) => Woken::Stored(stored),
                heard = self.crowd.heard(), if has_room => Woken::Heard(heard),
                () = sleep_until(wake) => Woken::Timer,
            };
            self.take(woken)?;
        }
        progress(told(self.machine.progress()));
        match self.end.take().unwrap_or(Err(FetchFailure::TooManyBlocks)) {
            Ok(done) => {
                let Progress { blocks, bytes, held_bytes, .. } = done;
                Ok(Fetched { root: self.root, blocks, bytes, held_bytes })
            }
            Err(FetchFailure::NotFound { cid, .. } | FetchFailure::Stalled { cid, .. }) => Err(self.missing(cid)),
            Err(failure) => Err(failure.into()),
        }
    }

    fn missing(&self, cid: Cid) -> FetchError {
        let denied = self.denials.get(&cid).map_or(0, BTreeSet::len);
        let asked = self.machine.progress().peers.max(denied);
        FetchError::Missing { cid, tried: self.crowd.tried(asked, denied, self.last_block.elapsed()) }
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

    fn take(&mut self, woken: Woken) -> Result<(), FetchError> {
        match woken {
            Woken::Heard(None) => return Err(FetchError::Closed),
            Woken::Heard(Some(heard)) => {
                self.hear(heard);
                for _ in 0..FETCH_EVENTS_PER_STEP {
                    let Some(heard) = self.crowd.also_heard() else { break };
                    self.hear(heard);
                }
            }
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
            Woken::Timer => {
                if self.last_block.elapsed() >= GATEWAYS_AFTER {
                    self.crowd.add_gateways();
                }
                self.input(Input::Tick);
            }
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard) {
        let input = match heard {
            Heard::Up(peer) => Input::PeerUp(peer),
            Heard::Gone(peer) => Input::PeerGone(peer),
            Heard::Block { peer, block } => {
                self.last_block = Instant::now();
                self.denials.remove(block.cid());
                Input::Block { peer, block }
            }
            Heard::Presence { peer, cid, have } => {
                if !have {
                    self.denials.entry(cid).or_default().insert(peer);
                }
                Input::Presence { peer, cid, have }
            }
            // Whom the search found comes as a peer.
            Heard::Searched { .. } => return,
        };
        self.input(input);
    }

    /// Carries out what the machine said, until it says nothing more.
    fn act(&mut self) {
        let mut messages: BTreeMap<PeerRef, Message> = BTreeMap::new();
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Look(cid) => self.looks.push_back(cid),
                Output::Want { peer, cid, kind } => {
                    messages.entry(peer).or_default().wants.push(Want::new(cid, kind));
                }
                Output::Cancel { peer, cid } => messages.entry(peer).or_default().wants.push(Want::cancel(cid)),
                Output::Store(block) => {
                    self.store_bytes += block.bytes().len();
                    self.stores.push(block);
                }
                Output::Drop { peer, why } => self.drop_peer(peer, why),
                Output::Done(progress) => self.end = Some(Ok(progress)),
                Output::Failed(failure) => self.end = Some(Err(failure)),
            }
        }
        for (peer, message) in messages {
            self.crowd.send(peer, message);
        }
        self.start_work();
    }

    fn drop_peer(&mut self, reference: PeerRef, why: PeerFault) {
        let peer = self.crowd.peer(reference);
        tracing::info!(?peer, %why, root = %self.root, "peer dropped from a download");
        match why {
            PeerFault::Silent => {}
            PeerFault::WrongBlocks => self.crowd.ban(reference, why.to_string()),
        }
    }

    /// Starts looking and storing on threads for blocking work, one step of each at a time.
    fn start_work(&mut self) {
        if self.looking.is_none() && !self.looks.is_empty() {
            let count = self.looks.len().min(LOOKS_PER_STEP);
            let cids: Vec<Cid> = self.looks.drain(..count).collect();
            let shared = Arc::clone(self.crowd.shared());
            self.looking = Some(tokio::task::spawn_blocking(move || {
                cids.into_iter().map(|cid| (cid, look(&shared, &cid))).collect()
            }));
        }
        if self.storing.is_none() && !self.stores.is_empty() {
            let blocks = std::mem::take(&mut self.stores);
            let (shared, visibility) = (Arc::clone(self.crowd.shared()), self.visibility);
            self.storing = Some(tokio::task::spawn_blocking(move || shared.blocks.put(&blocks, visibility)));
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
