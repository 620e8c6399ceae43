//! All machines of one node and the routes among them.
//!
//! A [`Node`] is a pure function of its inputs: the world is attached at the rim. It takes one
//! [`Input`] at a time and fills an outbox with [`Effect`]s. What must survive a crash comes as
//! [`Effect::Record`] before everything else of the same input; a restart folds those events with
//! [`Node::apply`] and then says [`Input::Restarted`].

mod card;
mod gossip;
mod route;
pub mod wire;

pub use card::Providing;
pub use route::wanted;
pub use wire::{Event, Hello, Message, MessageError};

use card::Cards;
use std::collections::VecDeque;
use std::sync::Arc;
use talkoo_base::wire::Signed;
use talkoo_base::{Address, Delegation, Digest, JobId, Mono, Network, NodeId, Now, Signer};
use talkoo_job::{JobSpec, Jobs};
use talkoo_market::Market;
use talkoo_proof::dispute::Case;
use talkoo_proof::{Kept, Proof, Run, Sold, Ticket};

/// What the world tells a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection to a peer is open.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer's message, decoded and its signatures recovered.
    Message {
        /// Who sent it, as the connection proves.
        from: NodeId,
        /// What.
        message: Box<Message>,
    },
    /// A user posts a job.
    Post(Box<JobSpec>),
    /// A user cancels one.
    Cancel(JobId),
    /// A user wants nothing left of one that is over.
    Forget(JobId),
    /// What we offer as a worker; `None` to stop.
    Provide(Option<Providing>),
    /// Whether our own engine can judge answers.
    OwnAudits(bool),
    /// What the world tells of receipts and money: `Produced`, `Verified`, `RunFailed` of our engine, `Funds` of the
    /// ledger.
    Engine(talkoo_proof::Input),
    /// The node starts, after the journal was folded.
    Restarted,
    /// The node stops: hand leases back.
    Stopping,
    /// Time went by.
    Tick,
}

/// What a node asks of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write this down and flush before any other effect of the same step leaves.
    Record(Box<Event>),
    /// Send to a peer.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Box<Message>,
    },
    /// Connect to a node that we have only heard of, if it can be found.
    Meet(NodeId),
    /// Run something on our engine.
    Run(Box<Run>),
    /// The engine may produce so many chunks more.
    Credit {
        /// Of which run.
        ticket: Ticket,
        /// Chunks.
        chunks: u32,
    },
    /// Stop a run.
    Stop(Ticket),
    /// Keep this record as a file.
    Keep(Box<Kept>),
    /// A receipt goes out: keep this until nobody can dispute it any more.
    Sold(Box<Sold>),
    /// Our own engine found another answer than the worker: it can be convicted before a contract.
    Dispute {
        /// The worker.
        worker: NodeId,
        /// What it can be held to.
        case: Box<Case>,
    },
    /// A channel is in use: fund it, or watch it and answer with [`Input::Engine`]'s `Funds`.
    Channel(Box<talkoo_proof::Channel>),
    /// For people who watch; never durable.
    Notice(Notice),
}

/// What happened, for people who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Around jobs.
    Job(talkoo_job::Notice),
    /// Around receipts and audits.
    Proof(talkoo_proof::Notice),
}

/// What a node is made with.
pub struct Setup {
    /// Its name: the public key.
    pub me: NodeId,
    /// The network that its signatures are bound to.
    pub network: Network,
    /// Signs for it.
    pub signer: Arc<dyn Signer>,
    /// The owner's signed delegation to this node.
    pub delegation: Signed<Delegation>,
    /// Hash of the engine's build.
    pub build: Digest,
    /// 32 random bytes, fresh at every start.
    pub entropy: Digest,
    /// Whether our own engine can judge answers.
    pub own_audits: bool,
    /// Whether vouchers count only as far as a ledger says that their channel holds money.
    pub funded: bool,
}

/// One node.
pub struct Node {
    me: NodeId,
    market: Market,
    jobs: Jobs,
    proof: Proof,
    cards: Cards,
    gossip: gossip::Gossip,
    queue: VecDeque<route::Inner>,
    buffers: route::Buffers,
}

impl Node {
    /// A node without history.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { me, network, signer, delegation, build, entropy, own_audits, funded } = setup;
        let operator: Address = delegation.body.owner;
        let cards = Cards::new(me, network.clone(), signer.clone(), delegation, build);
        let own = talkoo_proof::Setup { me, operator, network, signer, build, entropy, own_audits, funded };
        let proof = Proof::new(own);
        Self {
            me,
            market: Market::new(me),
            jobs: Jobs::default(),
            proof,
            cards,
            gossip: gossip::Gossip::default(),
            queue: VecDeque::new(),
            buffers: route::Buffers::default(),
        }
    }

    /// Our name.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.me
    }

    /// Takes one input and everything that follows from it inside the node.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.enter(now, input, out);
        while let Some(inner) = self.queue.pop_front() {
            self.step(now, inner, out);
        }
    }

    /// When the node next wants an [`Input::Tick`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Mono> {
        let machines = [self.market.next_wake(), self.jobs.next_wake(), self.proof.next_wake(), self.cards.next_wake()];
        machines.into_iter().flatten().min()
    }

    /// Applies a recorded event: how a restart rebuilds the state.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Job(event) => self.jobs.apply(event),
            Event::Market(event) => self.market.apply(event),
            Event::Proof(event) => self.proof.apply(event),
        }
    }

    /// The fewest events that give this state again: a snapshot of the journal.
    pub fn history(&self) -> impl Iterator<Item = Event> {
        let jobs = self.jobs.history().map(Event::Job);
        jobs.chain(self.market.history().map(Event::Market)).chain(self.proof.history().map(Event::Proof))
    }

    /// The jobs, for people who ask.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The market, for people who ask.
    #[must_use]
    pub fn market(&self) -> &Market {
        &self.market
    }

    /// Receipts and payments, for people who ask.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.proof
    }
}

#[cfg(test)]
mod tests;
