//! Downloads a DAG from several peers at once.
//!
//! ```text
//!             ┌── on disk ──────────────────────────────┐
//! known ─► looking ─► ready ─► asked (≤ 2 peers) ─► done ─┴► its links become known
//!                       ▲        │ deadline, peer gone, "don't have", wrong block
//!                       └────────┘
//! ```
//! Wants go to the peer that is expected to answer first, by its measured speed; a slow peer gets
//! few, a silent one loses them. What is on disk is not asked for, so a download resumes by being
//! started again. Deliberately absent: choosing peers, paying for bytes, keeping blocks.

mod assign;
mod peers;
mod words;

pub use words::{FetchFailure, Held, Input, Output, PeerFault, PeerRef, Progress};

use crate::bitswap::WantKind;
use crate::block::Block;
use crate::ipld;
use crate::limits::{
    ASKERS_MAX, DAG_BLOCKS_MAX, HEDGE_AFTER_MS, NOT_FOUND_MS, RETRY_MISSING_MS, SCAN_MAX, STALL_MS, TICK_MS,
    WANTS_IN_FLIGHT_MAX,
};
use crate::unixfs::FileNode;
use cid::Cid;
use peers::Peers;
use std::collections::BTreeMap;
use talkoo_base::Mono;

#[derive(Debug)]
enum State {
    Looking,
    Ready,
    Asked { by: Vec<PeerRef>, since: Mono },
    Done,
}

#[derive(Debug)]
struct Entry {
    state: State,
    order: u64,
}

/// How much is downloaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The root alone.
    Block,
    /// All that it leads to.
    #[default]
    Dag,
}

/// The machine of one download.
#[derive(Debug)]
pub struct Fetch {
    root: Cid,
    scope: Scope,
    entries: BTreeMap<Cid, Entry>,
    ready: BTreeMap<u64, Cid>,
    /// Entries that are not done.
    open: usize,
    /// Entries whose disk answer is due.
    looking: usize,
    in_flight: usize,
    peers: Peers,
    progress: Progress,
    last_progress: Mono,
    last_retry: Mono,
    next_wake: Option<Mono>,
}

impl Fetch {
    /// Starts the download of `root`; the first outputs ask the disk for it.
    #[must_use]
    pub fn start(root: Cid, scope: Scope, now: Mono, out: &mut Vec<Output>) -> Self {
        let mut fetch = Self {
            root,
            scope,
            entries: BTreeMap::new(),
            ready: BTreeMap::new(),
            open: 0,
            looking: 0,
            in_flight: 0,
            peers: Peers::default(),
            progress: Progress::default(),
            last_progress: now,
            last_retry: now,
            next_wake: Some(now + TICK_MS),
        };
        fetch.learn(root, out);
        fetch
    }

    /// When to send [`Input::Tick`]; `None` once the download is over.
    #[must_use]
    pub fn next_wake(&self) -> Option<Mono> {
        self.next_wake
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress { peers: self.peers.len(), ..self.progress }
    }

    /// The first block that is missing.
    #[must_use]
    pub fn waits_for(&self) -> Option<Cid> {
        self.first_open()
    }

    /// Takes one input; appends what to do. After `Done` or `Failed` nothing follows.
    pub fn handle(&mut self, now: Mono, input: Input, out: &mut Vec<Output>) {
        let Some(wake) = self.next_wake else { return };
        let mut result = self.apply(now, input, out);
        if result.is_ok() && now >= wake {
            self.next_wake = Some(now + TICK_MS);
            result = self.tick(now, out);
        }
        if let Err(failure) = result {
            self.next_wake = None;
            out.push(Output::Failed(failure));
            return;
        }
        if self.open == 0 {
            self.next_wake = None;
            out.push(Output::Done(self.progress()));
            return;
        }
        self.assign(now, out);
    }

    fn apply(&mut self, now: Mono, input: Input, out: &mut Vec<Output>) -> Result<(), FetchFailure> {
        match input {
            Input::PeerUp(peer) => self.peer_up(now, peer, out),
            Input::PeerGone(peer) => self.release_all(peer),
            Input::Presence { peer, cid, have } => self.presence(peer, cid, have),
            Input::Block { peer, block } => return self.block(now, peer, block, out),
            Input::Looked { cid, held } => return self.looked(now, cid, held, out),
            Input::StoreFailed(why) => return Err(FetchFailure::Store { why }),
            Input::Tick => {}
        }
        Ok(())
    }

    fn peer_up(&mut self, now: Mono, peer: PeerRef, out: &mut Vec<Output>) {
        // The root is the one block that says whether a peer knows the file at all.
        if self.peers.add(peer, now) {
            out.push(Output::Want { peer, cid: self.root, kind: WantKind::Have });
        }
    }

    fn presence(&mut self, peer: PeerRef, cid: Cid, have: bool) {
        if cid == self.root {
            self.peers.set_has_root(peer, have);
        }
        if !have && self.entries.contains_key(&cid) {
            self.release(peer, &cid);
            self.peers.set_missing(peer, cid);
        }
    }

    fn block(&mut self, now: Mono, peer: PeerRef, block: Block, out: &mut Vec<Output>) -> Result<(), FetchFailure> {
        let cid = *block.cid();
        let Some(entry) = self.entries.get_mut(&cid) else {
            // Not one of ours: most likely the wrong answer to one of this peer's wants.
            if self.peers.strike(peer) {
                self.drop_peer(peer, PeerFault::WrongBlocks, out);
            } else {
                self.hand_over(peer, out);
            }
            return Ok(());
        };
        self.peers.delivered(peer, &cid, block.bytes().len() as u64, now);
        let askers = match std::mem::replace(&mut entry.state, State::Done) {
            State::Done => return Ok(()),
            State::Ready => {
                self.ready.remove(&entry.order);
                Vec::new()
            }
            // The disk's answer will be ignored.
            State::Looking => {
                self.looking -= 1;
                Vec::new()
            }
            State::Asked { by, .. } => {
                self.in_flight -= 1;
                by
            }
        };
        for other in askers.into_iter().filter(|asker| *asker != peer) {
            self.peers.forget_want(other, &cid);
            out.push(Output::Cancel { peer: other, cid });
        }
        out.push(Output::Store(block.clone()));
        let bytes = block.bytes().len() as u64;
        self.finish(now, &cid, bytes, Some(&block), out)
    }

    fn looked(&mut self, now: Mono, cid: Cid, held: Option<Held>, out: &mut Vec<Output>) -> Result<(), FetchFailure> {
        let Some(entry) = self.entries.get_mut(&cid) else { return Ok(()) };
        if !matches!(entry.state, State::Looking) {
            return Ok(());
        }
        self.looking -= 1;
        let Some(held) = held.or_else(|| Block::inlined(&cid).map(Held::Node)) else {
            entry.state = State::Ready;
            self.ready.insert(entry.order, cid);
            return Ok(());
        };
        entry.state = State::Done;
        let (bytes, block) = match held {
            Held::Leaf { bytes } => (bytes, None),
            Held::Node(block) => (block.bytes().len() as u64, Some(block)),
        };
        self.progress.held_bytes += bytes;
        self.finish(now, &cid, bytes, block.as_ref(), out)
    }

    /// Counts a block that is here now and learns its links.
    fn finish(
        &mut self,
        now: Mono,
        cid: &Cid,
        bytes: u64,
        block: Option<&Block>,
        out: &mut Vec<Output>,
    ) -> Result<(), FetchFailure> {
        self.open -= 1;
        self.last_progress = now;
        self.progress.blocks += 1;
        self.progress.bytes += bytes;
        if *cid == self.root {
            let file = block.and_then(|block| FileNode::of(block).ok());
            self.progress.total_bytes = file.map(|file| file.bytes()).or(block.is_none().then_some(bytes));
        }
        let Some(block) = block.filter(|_| self.scope == Scope::Dag) else { return Ok(()) };
        let links = ipld::links(block).map_err(|source| FetchFailure::BadNode { cid: *cid, source })?;
        for link in links {
            self.learn(link, out);
        }
        if self.entries.len() > DAG_BLOCKS_MAX {
            return Err(FetchFailure::TooManyBlocks);
        }
        Ok(())
    }

    fn learn(&mut self, cid: Cid, out: &mut Vec<Output>) {
        if self.entries.contains_key(&cid) {
            return;
        }
        let order = self.entries.len() as u64;
        self.entries.insert(cid, Entry { state: State::Looking, order });
        self.open += 1;
        self.looking += 1;
        out.push(Output::Look(cid));
    }

    fn tick(&mut self, now: Mono, out: &mut Vec<Output>) -> Result<(), FetchFailure> {
        for (peer, cid, is_last) in self.peers.expired(now) {
            self.release(peer, &cid);
            self.peers.set_missing(peer, cid);
            out.push(Output::Cancel { peer, cid });
            if is_last {
                self.drop_peer(peer, PeerFault::Silent, out);
            }
        }
        self.hedge(now, out);
        if now - self.last_retry >= RETRY_MISSING_MS {
            self.last_retry = now;
            self.peers.retry_missing();
        }
        self.check_stall(now)
    }

    fn check_stall(&self, now: Mono) -> Result<(), FetchFailure> {
        let waited_ms = now - self.last_progress;
        let Some(cid) = self.first_open() else { return Ok(()) };
        if self.looking == 0 && self.in_flight == 0 && waited_ms >= NOT_FOUND_MS {
            return Err(FetchFailure::NotFound { cid, peers: self.peers.len() });
        }
        if self.looking == 0 && waited_ms >= STALL_MS {
            return Err(FetchFailure::Stalled { cid, waited_ms });
        }
        Ok(())
    }

    fn first_open(&self) -> Option<Cid> {
        let ready = self.ready.values().next().copied();
        let open = |(_, entry): &(&Cid, &Entry)| !matches!(entry.state, State::Done);
        ready.or_else(|| self.entries.iter().find(open).map(|(cid, _)| *cid))
    }
}

#[cfg(test)]
mod tests;
