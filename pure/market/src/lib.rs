//! Who works for whom: cards, ranking, reservations, measured speeds, and the reason for every "no".
//!
//! One machine, two sides. As a client it keeps a book of workers, ranks them for a job and reserves
//! the best few at once, never one after another. As a worker it grants its slots to clients.
//!
//! ```text
//! client                              worker
//! Want ─► rank ─► Reserve ──────────► free slots? price? model?
//!                 Agreed ◄─────────── Reserved       (held HOLD_MS, renewed by use)
//!                 reason ◄─────────── Refused
//! ```
//!
//! It decides from what was measured, never from what a peer claims about its speed. It does not
//! know what a step is, and it never moves money.

mod book;
mod explain;
pub mod limits;
mod offer;
mod pricing;
mod quote;
mod search;
pub mod wire;

pub use book::{Peer, Standing};
pub use explain::{Summary, line, summarise};
pub use offer::Ask;
pub use pricing::{Demand, next_price};
pub use quote::{Quote, Size};
pub use search::{Wanted, rank};
pub use wire::Event;

use book::Book;
use offer::Offer;
use search::Searches;
use talkoo_base::{Card, Digest, JobId, Mono, NodeId, Now, Price, Refusal};

/// What one market says to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A client asks for slots.
    Reserve {
        /// The model it will use.
        program: Digest,
        /// The price it pays.
        price: Price,
        /// Longest context it will use, in tokens.
        context: u32,
    },
    /// A worker grants them.
    Reserved {
        /// The model.
        program: Digest,
        /// How many leases at once.
        slots: u32,
    },
    /// A worker refuses.
    Refused {
        /// The model.
        program: Digest,
        /// Why.
        refusal: Refusal,
    },
    /// A client gives its slots back.
    Release,
}

/// What the world and the other machines tell the market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection to a peer is open.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer's card, its signature checked.
    Card(Card),
    /// A peer's message.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What.
        message: Message,
    },
    /// A job looks for workers.
    Want(Wanted),
    /// A job needs none any more.
    Enough(JobId),
    /// A job let a worker go; it may come back after a while.
    Failed {
        /// Which worker.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// Measured by us, on real work.
    Measured {
        /// Which worker.
        node: NodeId,
        /// Output tokens a second, in thousandths.
        decode_mtps: u64,
    },
    /// The worker was proved to have lied.
    Convicted {
        /// Which worker.
        node: NodeId,
        /// The lie.
        refusal: Refusal,
    },
    /// Nodes of one build give wrong numbers alike.
    Quarantined {
        /// Which build.
        build: Digest,
        /// What is wrong.
        refusal: Refusal,
    },
    /// What we offer as a worker; `None` to stop.
    Provide(Option<Ask>),
    /// A client of ours uses its slot: its reservation lives on.
    Used {
        /// The client.
        client: NodeId,
        /// How much longer than usual, in milliseconds.
        for_ms: u64,
    },
    /// Time went by.
    Tick,
}

/// What the market asks of the world and of the other machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this down before anything else leaves.
    Record(Event),
    /// Send to a peer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// A job could use this worker, which is not connected.
    Meet(NodeId),
    /// A worker agreed to work for a job.
    Agreed {
        /// The job.
        job: JobId,
        /// The worker.
        node: NodeId,
        /// Leases it takes at once.
        slots: u32,
        /// Output tokens a second, in thousandths, if we ever measured it.
        decode_mtps: Option<u64>,
    },
    /// A worker of a job is gone.
    Lost {
        /// The job.
        job: JobId,
        /// The worker.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
}

/// The market machine of one node.
pub struct Market {
    me: NodeId,
    book: Book,
    searches: Searches,
    offer: Offer,
}

impl Market {
    /// An empty market for the node `me`.
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        Self { me, book: Book::new(me), searches: Searches::default(), offer: Offer::default() }
    }

    /// Takes one input. Total: never fails, whatever a peer sends.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let at = now.mono;
        self.book.end_pauses(at);
        // Ranking all peers is dear: only for what can change it. Time itself comes as a tick.
        use Message::{Release, Reserve};
        let no_news = matches!(input, Input::Measured { .. } | Input::Used { .. } | Input::Provide(_))
            || matches!(input, Input::Message { message: Reserve { .. } | Release, .. });
        match input {
            Input::PeerUp(node) => self.book.up(node),
            Input::PeerDown(node) => self.peer_down(node, out),
            Input::Card(card) => self.book.card(card),
            Input::Message { from, message } => self.message(now, from, message, out),
            Input::Want(wanted) => self.searches.open(wanted),
            Input::Enough(job) => self.searches.close(job, self.me, &mut self.offer, out),
            Input::Failed { node, refusal } => {
                self.book.failed(at, node);
                self.searches.drop_node(node, &refusal, out);
            }
            Input::Measured { node, decode_mtps } => self.book.measured(node, decode_mtps),
            Input::Convicted { node, refusal } => {
                self.record(Event::Convicted { node, why: refusal.message.clone() }, out);
                self.searches.drop_node(node, &refusal, out);
            }
            Input::Quarantined { build, refusal } => {
                self.record(Event::Quarantined { build, why: refusal.message.clone() }, out);
                let of_build = |peer: &Peer| peer.card.as_ref().is_some_and(|card| card.build == build);
                let nodes: Vec<NodeId> = self.book.peers().filter(|(_, p)| of_build(p)).map(|(n, _)| *n).collect();
                nodes.iter().for_each(|node| self.searches.drop_node(*node, &refusal, out));
            }
            Input::Provide(ask) => self.offer.provide(ask),
            Input::Used { client, for_ms } => self.offer.used(at + for_ms, client),
            Input::Tick => {}
        }
        self.offer.expire(at);
        if !no_news {
            self.searches.advance(now, self.me, &self.book, out);
        }
    }

    /// When the market next wants a [`Input::Tick`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Mono> {
        self.searches.next_wake(&self.book).into_iter().chain(self.offer.next_wake()).min()
    }

    /// Applies a recorded event: also how a restart rebuilds the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Convicted { node, why } => self.book.convict(*node, why),
            Event::Quarantined { build, why } => self.book.quarantine(*build, why),
        }
    }

    /// The fewest events that give this state again.
    pub fn history(&self) -> impl Iterator<Item = Event> {
        let convicted = self.book.peers().filter_map(|(node, peer)| match &peer.standing {
            Standing::Convicted(why) => Some(Event::Convicted { node: *node, why: why.clone() }),
            Standing::Good | Standing::Paused(_) => None,
        });
        let builds = self.book.quarantined().iter();
        convicted.chain(builds.map(|(build, why)| Event::Quarantined { build: *build, why: why.clone() }))
    }

    /// Every known peer with what we think of it, for people.
    pub fn peers(&self) -> impl Iterator<Item = (&NodeId, &Peer)> {
        self.book.peers()
    }

    /// One peer.
    #[must_use]
    pub fn peer(&self, node: &NodeId) -> Option<&Peer> {
        self.book.get(node)
    }

    /// Why each node that does not work for `job` does not, as of now.
    #[must_use]
    pub fn explain(&self, job: &JobId) -> Vec<(NodeId, Refusal)> {
        self.searches.explain(job)
    }

    /// What a job would take and cost, if it were posted now.
    #[must_use]
    pub fn quote(&self, now: Now, wanted: &Wanted, sizes: &[Size]) -> Quote {
        quote::quote(wanted, &self.me, &self.book, sizes, now)
    }

    /// Why clients got nothing from us: how many, what they needed and what was nearest.
    #[must_use]
    pub fn lost(&self) -> Vec<Summary> {
        self.offer.lost()
    }

    /// What we offer, if we do, and the slots that are taken.
    #[must_use]
    pub fn offered(&self) -> Option<(&Ask, u32)> {
        self.offer.offered()
    }

    /// How many of our slots `client` holds.
    #[must_use]
    pub fn holds(&self, client: &NodeId) -> u32 {
        self.offer.holds(client)
    }

    fn record(&mut self, event: Event, out: &mut Vec<Effect>) {
        self.apply(&event);
        out.push(Effect::Record(event));
    }

    fn peer_down(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        self.book.down(node);
        self.offer.release(&node);
        let refusal =
            Refusal::new(talkoo_base::RefusalCode::Disconnected, "the connection was lost", "it may come back");
        self.searches.drop_node(node, &refusal, out);
    }

    fn message(&mut self, now: Now, from: NodeId, message: Message, out: &mut Vec<Effect>) {
        match message {
            Message::Reserve { program, price, context } => {
                let message = match self.offer.reserve(now.mono, from, program, price, context) {
                    Ok(slots) => Message::Reserved { program, slots },
                    Err(refusal) => {
                        self.offer.lose(&refusal);
                        Message::Refused { program, refusal }
                    }
                };
                out.push(Effect::Send { to: from, message });
            }
            Message::Reserved { program, slots: 0 } => {
                let refusal =
                    Refusal::new(talkoo_base::RefusalCode::Busy, "it granted no slot", "it is asked again later");
                self.searches.refused(now.mono, from, program, &refusal);
            }
            Message::Reserved { program, slots } => {
                // Capacity is a claim: one worker's word must not draw all steps of a job to it.
                let slots = slots.min(limits::SLOTS_PER_CLIENT_MAX);
                let speed = self.book.get(&from).and_then(Peer::decode_mtps);
                self.searches.reserved(from, program, slots, speed, out);
            }
            Message::Refused { program, refusal } => self.searches.refused(now.mono, from, program, &refusal),
            Message::Release => self.offer.release(&from),
        }
    }
}

#[cfg(test)]
mod tests;
