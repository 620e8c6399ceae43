//! Single blocks from whoever has them: what follows a path without downloading a whole DAG.
//!
//! ```text
//!        ┌ the best peer so far: the block ┐         deadline, or everybody said no ─► missed
//! get ─► │ others: whether they have it    ├─► HAVE ─► that peer: the block ─► got
//!        └ nobody yet: everybody, then the DHT ┘
//! ```
//! Peers that gave a block are asked first for the next, so a walk costs one message and one round
//! trip a block. Deliberately absent: what is on disk, and what the blocks link to.

use crate::bitswap::WantKind;
use crate::block::Block;
use crate::fetch::PeerRef;
use crate::limits::{SESSION_ASKERS_MAX, SESSION_FANOUT, SESSION_PATIENCE_MS, SESSION_PEERS_MAX, TICK_MS};
use cid::Cid;
use std::collections::BTreeMap;
use talkoo_base::Mono;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A block is needed by then.
    Get {
        /// Which.
        cid: Cid,
        /// When it is given up.
        deadline: Mono,
    },
    /// Nobody waits for a block any more.
    Forget(Cid),
    /// A peer can be asked.
    PeerUp(PeerRef),
    /// A peer is lost.
    PeerGone(PeerRef),
    /// A peer said whether it has a block.
    Presence {
        /// Who.
        peer: PeerRef,
        /// Which.
        cid: Cid,
        /// It has it.
        have: bool,
    },
    /// A block arrived.
    Block {
        /// From whom.
        peer: PeerRef,
        /// What, already hashed.
        block: Block,
    },
    /// The search is over; so many peers that it found are yet to come.
    Searched {
        /// Those that are not connected yet.
        coming: usize,
    },
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask a peer.
    Want {
        /// Whom.
        peer: PeerRef,
        /// For what.
        cid: Cid,
        /// For the block or for a word.
        kind: WantKind,
    },
    /// Take a want back.
    Cancel {
        /// From whom.
        peer: PeerRef,
        /// Which.
        cid: Cid,
    },
    /// Look for more peers, once; answer with [`Input::Searched`].
    Search,
    /// A block that was needed.
    Got(Block),
    /// A block that did not come in time, or that nobody has.
    Missed {
        /// Which.
        cid: Cid,
        /// How many peers were asked.
        asked: usize,
        /// How many of them said no.
        denied: usize,
    },
}

#[derive(Debug, Default)]
struct Peer {
    /// Blocks that it gave.
    given: u64,
    /// Wants for blocks that it has not answered.
    open: usize,
}

/// How far one peer is with one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Yes,
    No,
    AskedForBlock(Mono),
}

#[derive(Debug)]
struct Wanted {
    since: Mono,
    deadline: Mono,
    peers: BTreeMap<PeerRef, Said>,
}

impl Wanted {
    fn count(&self, is: impl Fn(&Said) -> bool) -> usize {
        self.peers.values().filter(|said| is(said)).count()
    }

    fn denied(&self) -> usize {
        self.count(|said| *said == Said::No)
    }
}

/// The machine of one session.
#[derive(Debug, Default)]
pub struct Session {
    peers: BTreeMap<PeerRef, Peer>,
    wanted: BTreeMap<Cid, Wanted>,
    is_searching: bool,
    /// The search is over; so many of the found were yet to come.
    searched: Option<usize>,
    tick_due: Mono,
}

impl Session {
    /// When to send [`Input::Tick`]; `None` while nothing is wanted.
    #[must_use]
    pub fn next_wake(&self) -> Option<Mono> {
        let deadline = self.wanted.values().map(|wanted| wanted.deadline).min()?;
        Some(deadline.min(self.tick_due))
    }

    /// What is wanted and has not come.
    pub fn wanted(&self) -> impl Iterator<Item = Cid> {
        self.wanted.keys().copied()
    }

    /// Takes one input; appends what to do.
    pub fn handle(&mut self, now: Mono, input: Input, out: &mut Vec<Output>) {
        self.take(now, input, out);
        if self.next_wake().is_some_and(|wake| now >= wake) {
            self.tick_due = now + TICK_MS;
            self.pursue_all(now, out);
        }
    }

    fn take(&mut self, now: Mono, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Get { cid, deadline } => {
                let new = || Wanted { since: now, deadline, peers: BTreeMap::new() };
                let wanted = self.wanted.entry(cid).or_insert_with(new);
                wanted.deadline = wanted.deadline.max(deadline);
                self.pursue(now, &cid, out);
            }
            Input::Forget(cid) => self.end(&cid, out),
            Input::PeerUp(peer) => {
                if self.peers.len() < SESSION_PEERS_MAX {
                    self.peers.entry(peer).or_default();
                    self.pursue_all(now, out);
                }
            }
            Input::PeerGone(peer) => {
                self.peers.remove(&peer);
                self.wanted.values_mut().for_each(|wanted| _ = wanted.peers.remove(&peer));
                self.pursue_all(now, out);
            }
            Input::Presence { peer, cid, have } => self.presence(now, peer, cid, have, out),
            Input::Block { peer, block } => {
                if self.wanted.contains_key(block.cid()) {
                    self.peers.get_mut(&peer).into_iter().for_each(|peer| peer.given += 1);
                    self.end(block.cid(), out);
                    out.push(Output::Got(block));
                }
            }
            Input::Searched { coming } => {
                self.searched = Some(coming);
                self.pursue_all(now, out);
            }
            Input::Tick => {}
        }
    }

    fn presence(&mut self, now: Mono, peer: PeerRef, cid: Cid, have: bool, out: &mut Vec<Output>) {
        let Some(said) = self.wanted.get_mut(&cid).and_then(|wanted| wanted.peers.get_mut(&peer)) else { return };
        match (have, *said) {
            (true, Said::Nothing | Said::No) => *said = Said::Yes,
            (true, Said::Yes | Said::AskedForBlock(_)) => {}
            (false, before) => {
                *said = Said::No;
                if matches!(before, Said::AskedForBlock(_)) {
                    self.answered(peer);
                }
            }
        }
        self.pursue(now, &cid, out);
    }

    fn answered(&mut self, peer: PeerRef) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.open = peer.open.saturating_sub(1);
        }
    }

    fn pursue_all(&mut self, now: Mono, out: &mut Vec<Output>) {
        for cid in self.wanted.keys().copied().collect::<Vec<_>>() {
            self.pursue(now, &cid, out);
        }
    }

    /// Asks whom there is to ask next for one block, or gives it up.
    fn pursue(&mut self, now: Mono, cid: &Cid, out: &mut Vec<Output>) {
        let Some(wanted) = self.wanted.get(cid) else { return };
        let is_waiting = |said: &Said| matches!(said, Said::AskedForBlock(at) if now - *at < SESSION_PATIENCE_MS);
        let askers = wanted.count(|said| matches!(said, Said::AskedForBlock(_)));
        if wanted.count(is_waiting) == 0
            && askers < SESSION_ASKERS_MAX
            && let Some(peer) = self.best(wanted)
        {
            self.ask(now, cid, peer, out);
        }
        self.ask_around(now, cid, out);
        let Some(wanted) = self.wanted.get(cid) else { return };
        let has_denied = |peer: &PeerRef| wanted.peers.get(peer) == Some(&Said::No);
        let is_denied = self.peers.keys().all(has_denied);
        if is_denied && !self.is_searching {
            self.is_searching = true;
            out.push(Output::Search);
        }
        if now >= wanted.deadline || is_denied && self.searched == Some(0) {
            let (asked, denied) = (wanted.peers.len(), wanted.denied());
            self.end(cid, out);
            out.push(Output::Missed { cid: *cid, asked, denied });
        }
    }

    /// Whom to ask for the block itself: who said that it has it, or gave one before, or is alone.
    fn best(&self, wanted: &Wanted) -> Option<PeerRef> {
        let candidate = |(reference, peer): (&PeerRef, &Peer)| {
            let said = wanted.peers.get(reference).copied().unwrap_or(Said::Nothing);
            let is_likely = match said {
                Said::Yes => true,
                Said::Nothing => peer.given > 0 || self.peers.len() == 1,
                Said::No | Said::AskedForBlock(_) => false,
            };
            let rank = (said == Said::Yes, std::cmp::Reverse(peer.open), peer.given);
            is_likely.then_some((rank, *reference))
        };
        self.peers.iter().filter_map(candidate).max().map(|(_, peer)| peer)
    }

    fn ask(&mut self, now: Mono, cid: &Cid, peer: PeerRef, out: &mut Vec<Output>) {
        let Some(wanted) = self.wanted.get_mut(cid) else { return };
        wanted.peers.insert(peer, Said::AskedForBlock(now));
        self.peers.entry(peer).or_default().open += 1;
        out.push(Output::Want { peer, cid: *cid, kind: WantKind::Block });
    }

    /// Asks others whether they have a block: a few of those who gave one before; everybody when
    /// these deny it, are slow, or do not exist.
    fn ask_around(&mut self, now: Mono, cid: &Cid, out: &mut Vec<Output>) {
        let Some(wanted) = self.wanted.get_mut(cid) else { return };
        let is_open = wanted.count(|said| matches!(said, Said::AskedForBlock(_) | Said::Yes)) > 0;
        let is_slow = now - wanted.since >= SESSION_PATIENCE_MS;
        let everybody = !is_open || is_slow;
        let room = if everybody { SESSION_PEERS_MAX } else { SESSION_FANOUT.saturating_sub(wanted.peers.len()) };
        let unasked = self.peers.iter().filter(|(peer, _)| !wanted.peers.contains_key(peer));
        let asked = unasked.filter(|(_, peer)| everybody || peer.given > 0).take(room);
        for peer in asked.map(|(peer, _)| *peer).collect::<Vec<_>>() {
            wanted.peers.insert(peer, Said::Nothing);
            out.push(Output::Want { peer, cid: *cid, kind: WantKind::Have });
        }
    }

    /// Takes a block off the list, and back from those who have not answered yet.
    fn end(&mut self, cid: &Cid, out: &mut Vec<Output>) {
        let Some(wanted) = self.wanted.remove(cid) else { return };
        for (peer, said) in wanted.peers {
            let is_asked = matches!(said, Said::AskedForBlock(_));
            if is_asked {
                self.answered(peer);
            }
            if is_asked || said == Said::Nothing {
                out.push(Output::Cancel { peer, cid: *cid });
            }
        }
    }
}

#[cfg(test)]
mod tests;
