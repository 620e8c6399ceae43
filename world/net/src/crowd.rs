//! Whom one download or session asks: connected peers, and HTTP gateways when these do not help.

use crate::error::FetchError;
use crate::events::{Search, Tried};
use crate::gateway::Gateway;
use crate::limits::FETCH_EVENTS;
use crate::router::{Arrival, Registration};
use crate::shared::Shared;
use crate::swarm::{Command, Share};
use libp2p::PeerId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::Cid;
use talkoo_store::Block;
use talkoo_store::bitswap::{Message, Want, WantKind};
use talkoo_store::fetch::PeerRef;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

/// What happened around a download.
pub(crate) enum Heard {
    Up(PeerRef),
    Gone(PeerRef),
    Block {
        peer: PeerRef,
        block: Block,
    },
    Presence {
        peer: PeerRef,
        cid: Cid,
        have: bool,
    },
    /// The DHT's answer; so many of those that it named are not connected yet.
    Searched {
        coming: usize,
    },
}

/// A kind of download: each has places of its own, for sessions are begun by strangers who ask a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Fetch,
    Session,
}

type Found = oneshot::Receiver<BTreeSet<PeerId>>;

pub(crate) struct Crowd {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    registration: Registration,
    arrivals: mpsc::Receiver<Arrival>,
    changes: watch::Receiver<u64>,
    root: Cid,
    share: Share,
    only: Option<BTreeSet<PeerId>>,
    peers: BTreeMap<PeerId, PeerRef>,
    refs: BTreeMap<PeerRef, PeerId>,
    gateways: BTreeMap<PeerRef, Arc<Gateway>>,
    requests: JoinSet<(PeerRef, Cid, Option<Block>)>,
    running: BTreeMap<(PeerRef, Cid), AbortHandle>,
    /// Answers that need nobody to be asked.
    ready: Vec<Heard>,
    searching: Option<Found>,
    search: Search,
}

impl Crowd {
    /// Connects to those who are named, if any.
    pub(crate) async fn new(
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        root: Cid,
        from: Vec<PeerId>,
        purpose: Purpose,
    ) -> Result<Self, FetchError> {
        let (sender, arrivals) = mpsc::channel(FETCH_EVENTS);
        let registration = shared.router.register(sender, purpose).ok_or(FetchError::TooMany)?;
        let only: Option<BTreeSet<PeerId>> = (!from.is_empty()).then(|| from.into_iter().collect());
        if let Some(peers) = &only {
            let connect = Command::Connect(peers.iter().copied().collect());
            commands.send(connect).await.map_err(|_| FetchError::Closed)?;
        }
        let mut crowd = Self {
            changes: shared.changes.subscribe(),
            shared,
            commands,
            registration,
            arrivals,
            root,
            share: if purpose == Purpose::Fetch { Share::All } else { Share::Most },
            only,
            peers: BTreeMap::new(),
            refs: BTreeMap::new(),
            gateways: BTreeMap::new(),
            requests: JoinSet::new(),
            running: BTreeMap::new(),
            ready: Vec::new(),
            searching: None,
            search: Search::No,
        };
        crowd.sync();
        Ok(crowd)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn peer(&self, reference: PeerRef) -> Option<PeerId> {
        self.refs.get(&reference).copied()
    }

    pub(crate) fn has_peers(&self) -> bool {
        !self.peers.is_empty()
    }

    pub(crate) fn tried(&self, asked: usize, denied: usize, waited: Duration) -> Box<Tried> {
        Box::new(Tried { waited, asked, denied, dht: self.search })
    }

    /// Asks the DHT who has the root, unless peers were named; those whom it finds get connected.
    pub(crate) async fn search(&mut self) -> Result<(), FetchError> {
        if let Some(only) = &self.only {
            let coming = only.iter().filter(|peer| !self.peers.contains_key(peer)).count();
            self.ready.push(Heard::Searched { coming });
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::FindProviders { root: self.root, share: self.share, reply };
        self.commands.send(command).await.map_err(|_| FetchError::Closed)?;
        (self.searching, self.search) = (Some(answer), Search::Unanswered);
        Ok(())
    }

    /// Lets the gateways join, unless peers were named.
    pub(crate) fn add_gateways(&mut self) {
        if self.only.is_some() || !self.gateways.is_empty() {
            return;
        }
        for (number, gateway) in (0..).zip(self.shared.gateways.iter()) {
            let reference = PeerRef(u32::MAX - number);
            self.gateways.insert(reference, Arc::clone(gateway));
            self.ready.push(Heard::Up(reference));
        }
    }

    /// What happened next; `None` when the network is shut down.
    pub(crate) async fn heard(&mut self) -> Option<Heard> {
        loop {
            if !self.ready.is_empty() {
                return Some(self.ready.remove(0));
            }
            tokio::select! {
                arrival = self.arrivals.recv() => self.arrived(arrival?),
                changed = self.changes.changed() => {
                    changed.ok()?;
                    self.sync();
                }
                Some(answer) = self.requests.join_next() => {
                    // A request that was called back has nothing to say.
                    let Ok((peer, cid, block)) = answer else { continue };
                    self.running.remove(&(peer, cid));
                    let denied = Heard::Presence { peer, cid, have: false };
                    self.ready.push(block.map_or(denied, |block| Heard::Block { peer, block }));
                }
                found = answered(&mut self.searching) => {
                    self.searching = None;
                    // Without an answer, because there are too many searches, it stays unanswered.
                    let mut coming = 0;
                    if let Some(found) = found {
                        coming = found.iter().filter(|peer| !self.peers.contains_key(peer)).count();
                        self.search = Search::Found(found.len());
                    }
                    self.ready.push(Heard::Searched { coming });
                }
            }
        }
    }

    /// What happened besides and needs no waiting.
    pub(crate) fn also_heard(&mut self) -> Option<Heard> {
        if self.ready.is_empty() {
            let arrival = self.arrivals.try_recv().ok()?;
            self.arrived(arrival);
        }
        (!self.ready.is_empty()).then(|| self.ready.remove(0))
    }

    fn arrived(&mut self, arrival: Arrival) {
        let known = |peer| self.peers.get(&peer).copied();
        match arrival {
            Arrival::Block { peer, block } => {
                self.ready.extend(known(peer).map(|peer| Heard::Block { peer, block }));
            }
            Arrival::Presence { peer, presence } => {
                let heard = |peer| Heard::Presence { peer, cid: presence.cid, have: presence.have };
                self.ready.extend(known(peer).map(heard));
            }
        }
    }

    /// Notes who came and who went.
    fn sync(&mut self) {
        self.changes.mark_unchanged();
        let connected: BTreeSet<PeerId> = self.shared.connected().into_iter().collect();
        let gone: Vec<PeerId> = self.peers.keys().filter(|peer| !connected.contains(peer)).copied().collect();
        for peer in gone {
            self.lose(&peer);
        }
        for peer in connected {
            let is_meant = self.only.as_ref().is_none_or(|only| only.contains(&peer));
            if is_meant && !self.peers.contains_key(&peer) && self.shared.wants_link(&peer).is_some() {
                // The reference of a peer stays the same when it comes back, and so do its faults.
                let number = u32::try_from(self.refs.len()).unwrap_or(u32::MAX);
                let known = self.refs.iter().find(|(_, known)| **known == peer).map(|(known, _)| *known);
                let reference = known.unwrap_or(PeerRef(number));
                self.peers.insert(peer, reference);
                self.refs.insert(reference, peer);
                self.registration.asked().peers.insert(peer);
                self.ready.push(Heard::Up(reference));
            }
        }
    }

    fn lose(&mut self, peer: &PeerId) {
        if let Some(reference) = self.peers.remove(peer) {
            self.registration.asked().peers.remove(peer);
            self.ready.push(Heard::Gone(reference));
        }
    }

    /// Sends wants and cancels.
    pub(crate) fn send(&mut self, reference: PeerRef, message: Message) {
        if let Some(gateway) = self.gateways.get(&reference).cloned() {
            message.wants.into_iter().for_each(|want| self.request(reference, &gateway, &want));
            return;
        }
        let asked = message.wants.iter().filter(|want| !want.cancel);
        asked.for_each(|want| self.registration.asked().add(want.cid));
        let Some(peer) = self.refs.get(&reference).copied() else { return };
        let link = self.shared.wants_link(&peer);
        // A full queue means that the peer does not read: as good as gone, for this download.
        if link.is_none_or(|link| link.try_send(message).is_err()) {
            self.lose(&peer);
        }
    }

    fn request(&mut self, reference: PeerRef, gateway: &Arc<Gateway>, want: &Want) {
        let (cid, gateway) = (want.cid, Arc::clone(gateway));
        match want.kind {
            _ if want.cancel => {
                if let Some(running) = self.running.remove(&(reference, cid)) {
                    running.abort();
                }
            }
            // Only asking for the block tells, so that is what it will be asked for.
            WantKind::Have => self.ready.push(Heard::Presence { peer: reference, cid, have: true }),
            WantKind::Block => {
                let request = self.requests.spawn(async move { (reference, cid, gateway.get(cid).await) });
                self.running.insert((reference, cid), request);
            }
        }
    }

    /// Has a peer banned, if it is not a gateway.
    pub(crate) fn ban(&self, reference: PeerRef, why: String) {
        if let Some(peer) = self.peer(reference) {
            // When the swarm is that busy, not using the peer here has to do.
            let _ = self.commands.try_send(Command::Ban { peer, why });
        }
    }
}

/// The DHT's answer, nothing if it gave none; pending when it was not asked.
async fn answered(search: &mut Option<Found>) -> Option<BTreeSet<PeerId>> {
    match search {
        Some(search) => search.await.ok(),
        None => std::future::pending().await,
    }
}
