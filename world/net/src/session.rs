//! Single blocks, one after another or side by side: the pure machine decides, this asks and stores.

use crate::crowd::{Crowd, Heard, Purpose};
use crate::error::FetchError;
use crate::limits::{SESSION_DEADLINE, SESSION_GETS};
use crate::shared::Shared;
use crate::swarm::Command;
use libp2p::PeerId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Cid, Mono};
use talkoo_store::bitswap::{Message, Want};
use talkoo_store::fetch::PeerRef;
use talkoo_store::session::{Input, Output, Session as Machine};
use talkoo_store::{Block, Visibility};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest deadline; a longer one is this one.
const DAY: Duration = Duration::from_secs(24 * 3600);

type Reply = oneshot::Sender<Result<Block, FetchError>>;

struct Get {
    cid: Cid,
    deadline: Duration,
    reply: Reply,
}

/// Fetches single blocks below one root from the peers that have them. Clones are the same one; it
/// ends with the last of them. Peers that gave a block are asked first for the next.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
    gets: mpsc::Sender<Get>,
}

impl Session {
    pub(crate) async fn start(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        root: Cid,
        from: Vec<PeerId>,
        tasks: (&TaskTracker, CancellationToken),
    ) -> Result<Self, FetchError> {
        let crowd = Crowd::new(Arc::clone(&shared), commands, root, from, Purpose::Session).await?;
        let (gets, queue) = mpsc::channel(SESSION_GETS);
        let driver = Driver {
            crowd,
            started: Instant::now(),
            machine: Machine::default(),
            outputs: Vec::new(),
            waiting: BTreeMap::new(),
        };
        let (tracker, stop) = tasks;
        tracker.spawn(async move {
            tokio::select! {
                () = driver.run(queue) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(Self { shared, gets })
    }

    /// A block: from our store, or from a peer and then also in our store. Waits at most ten seconds.
    ///
    /// # Errors
    /// [`FetchError::Missing`] says who was asked.
    pub async fn get(&self, cid: Cid) -> Result<Block, FetchError> {
        self.get_within(cid, SESSION_DEADLINE).await
    }

    /// As [`Session::get`], with another deadline.
    ///
    /// # Errors
    /// [`FetchError::Missing`] says who was asked.
    pub async fn get_within(&self, cid: Cid, deadline: Duration) -> Result<Block, FetchError> {
        let panicked = |_| FetchError::StorePanicked { root: cid };
        let shared = Arc::clone(&self.shared);
        let held = tokio::task::spawn_blocking(move || shared.blocks.get(&cid)).await.map_err(panicked)?;
        if let Some(block) = held {
            return Ok(block);
        }
        let block = self.ask(cid, deadline).await?;
        let (shared, kept) = (Arc::clone(&self.shared), block.clone());
        let stored = tokio::task::spawn_blocking(move || shared.blocks.put(&[kept], Visibility::Public))
            .await
            .map_err(panicked)?;
        if let Err(why) = stored {
            // The caller has its block; only the next one will ask a peer again.
            tracing::debug!(%cid, why, "a block of a session is not kept");
        }
        Ok(block)
    }

    /// A block from a peer, whether or not it is in our store, and not kept there. Waits at most ten seconds.
    ///
    /// # Errors
    /// [`FetchError::Missing`] says who was asked.
    pub async fn get_elsewhere(&self, cid: Cid) -> Result<Block, FetchError> {
        self.ask(cid, SESSION_DEADLINE).await
    }

    async fn ask(&self, cid: Cid, deadline: Duration) -> Result<Block, FetchError> {
        let (reply, answer) = oneshot::channel();
        self.gets.send(Get { cid, deadline, reply }).await.map_err(|_| FetchError::Closed)?;
        answer.await.map_err(|_| FetchError::Closed)?
    }
}

struct Driver {
    crowd: Crowd,
    started: Instant,
    machine: Machine,
    outputs: Vec<Output>,
    waiting: BTreeMap<Cid, Vec<(Instant, Reply)>>,
}

enum Woken {
    Get(Option<Get>),
    Heard(Option<Heard>),
    Timer,
}

impl Driver {
    async fn run(mut self, mut gets: mpsc::Receiver<Get>) {
        loop {
            if self.act().await.is_err() {
                return;
            }
            let wake = self.machine.next_wake().map(|at| self.started + Duration::from_millis(at.0));
            let timer = async {
                match wake {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let woken = tokio::select! {
                get = gets.recv() => Woken::Get(get),
                heard = self.crowd.heard() => Woken::Heard(heard),
                () = timer => Woken::Timer,
            };
            match woken {
                Woken::Get(None) | Woken::Heard(None) => break,
                Woken::Get(Some(get)) => self.get(get),
                Woken::Heard(Some(heard)) => self.input(input_of(heard)),
                Woken::Timer => {
                    self.forget();
                    self.input(Input::Tick);
                }
            }
        }
        // Nobody waits: what is still asked for is taken back.
        self.waiting.clear();
        self.forget();
        for cid in self.machine.wanted().collect::<Vec<_>>() {
            self.input(Input::Forget(cid));
        }
        let _ = self.act().await;
    }

    fn now(&self) -> Mono {
        Mono(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.machine.handle(now, input, &mut self.outputs);
    }

    fn get(&mut self, get: Get) {
        let Get { cid, deadline, reply } = get;
        self.waiting.entry(cid).or_default().push((Instant::now(), reply));
        // The clock leaves off the part of a millisecond that has begun: nobody waits less for it.
        let deadline = self.now() + u64::try_from(deadline.min(DAY).as_millis()).expect("a day fits") + 1;
        self.input(Input::Get { cid, deadline });
    }

    /// Takes back what nobody waits for any more.
    fn forget(&mut self) {
        self.waiting.values_mut().for_each(|replies| replies.retain(|(_, reply)| !reply.is_closed()));
        let idle: Vec<Cid> =
            self.waiting.iter().filter(|(_, replies)| replies.is_empty()).map(|(cid, _)| *cid).collect();
        for cid in idle {
            self.waiting.remove(&cid);
            self.input(Input::Forget(cid));
        }
    }

    async fn act(&mut self) -> Result<(), FetchError> {
        let mut messages: BTreeMap<PeerRef, Message> = BTreeMap::new();
        for output in std::mem::take(&mut self.outputs) {
            match output {
                Output::Want { peer, cid, kind } => {
                    messages.entry(peer).or_default().wants.push(Want::new(cid, kind));
                }
                Output::Cancel { peer, cid } => messages.entry(peer).or_default().wants.push(Want::cancel(cid)),
                Output::Search => {
                    self.crowd.add_gateways();
                    self.crowd.search().await?;
                }
                Output::Got(block) => {
                    for (_, reply) in self.waiting.remove(block.cid()).into_iter().flatten() {
                        let _ = reply.send(Ok(block.clone()));
                    }
                }
                Output::Missed { cid, asked, denied } => {
                    for (since, reply) in self.waiting.remove(&cid).into_iter().flatten() {
                        let tried = self.crowd.tried(asked, denied, since.elapsed());
                        let _ = reply.send(Err(FetchError::Missing { cid, tried }));
                    }
                }
            }
        }
        for (peer, message) in messages {
            self.crowd.send(peer, message);
        }
        Ok(())
    }
}

fn input_of(heard: Heard) -> Input {
    match heard {
        Heard::Up(peer) => Input::PeerUp(peer),
        Heard::Gone(peer) => Input::PeerGone(peer),
        Heard::Block { peer, block } => Input::Block { peer, block },
        Heard::Presence { peer, cid, have } => Input::Presence { peer, cid, have },
        Heard::Searched { coming } => Input::Searched { coming },
    }
}
