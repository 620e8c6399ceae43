//! Virtual time, the faulty network, and the loop.

use crate::bank::Bank;
use crate::check;
use crate::crypto::identity;
use crate::engine::Engine;
use crate::liar::Strategy;
use crate::rng::Dice;
use crate::scene::Scene;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use talkoo_base::wire::Signed;
use talkoo_base::{Delegation, Digest, ModelOffer, Mono, Network, NodeId, Now, Price, Signer, Unix, sha256};
use talkoo_job::JobSpec;
use talkoo_node::{Effect, Event, Input, Message, Node, Notice, Providing, Setup};
use talkoo_proof as proof;

/// Virtual time ends here whatever happens, in milliseconds: a job that is not over by then hangs.
const HORIZON_MS: u64 = 7_200_000;
/// Wakes of one node at one moment that are not a loop yet.
const WAKES_AT_ONCE_MAX: u32 = 50;
/// How long those are away who leave a race, in milliseconds.
const GONE_MS: u64 = 1_800_000;
/// Unix time at the start of the world.
const EPOCH_S: u64 = 1_800_000_000;

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Report {
    /// Hash over everything that happened, in order.
    pub trace: u64,
    /// Events that happened.
    pub events: u64,
    /// Virtual time at the end, in milliseconds.
    pub now_ms: u64,
    /// Steps with a result.
    pub done: u64,
    /// Nodes that were convicted.
    pub convicted: u64,
    /// The first checker that objected.
    pub verdict: Result<(), String>,
}

pub(crate) struct Pretended {
    pub(crate) strategy: Strategy,
    pub(crate) id: NodeId,
    pub(crate) node: Option<Node>,
    pub(crate) journal: Vec<Event>,
    pub(crate) engine: Engine,
    signer: Arc<dyn Signer>,
    life: u32,
    wake_at: Option<u64>,
    wakes: (u64, u32),
    engine_busy: bool,
    skew_s: u64,
    pub(crate) old_chunk: Option<proof::Chunk>,
    pub(crate) jobs: Vec<JobSpec>,
    pub(crate) convicted: BTreeSet<NodeId>,
}

#[derive(Debug)]
pub(crate) enum Happening {
    Deliver { from: u32, to: u32, message: Box<Message> },
    Wake { node: u32, life: u32 },
    Worked { node: u32, life: u32 },
    Crash { node: u32 },
    Restart { node: u32 },
    Down { node: u32, peer: u32 },
    Up { node: u32, peer: u32 },
    Split { a: u32, b: u32 },
    Heal { a: u32, b: u32 },
    Post { client: u32 },
    Deposited { channel: Digest, total: talkoo_base::Amount },
}

struct Entry {
    at: u64,
    seq: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

pub(crate) struct World<'a> {
    pub(crate) scene: &'a Scene,
    pub(crate) network: Network,
    pub(crate) dice: Dice,
    pub(crate) now: u64,
    seq: u64,
    heap: BinaryHeap<Reverse<Entry>>,
    pub(crate) nodes: Vec<Pretended>,
    index: BTreeMap<NodeId, u32>,
    split: BTreeSet<(u32, u32)>,
    pub(crate) bank: Bank,
    /// When the last client asked, and had all its answers.
    pub(crate) job_ms: Option<(u64, u64)>,
    trace: u64,
    events: u64,
    pub(crate) program: Digest,
    tell: Option<&'a mut (dyn FnMut(&str) + 'a)>,
    pub(crate) verdict: Result<(), String>,
    out: Vec<Effect>,
}

/// Plays a scene to its end. `tell` gets a line for everything that happens.
pub fn run<'a>(scene: &'a Scene, tell: Option<&'a mut (dyn FnMut(&str) + 'a)>) -> Report {
    played(scene, tell).report()
}

/// The same, to look around afterwards.
pub(crate) fn played<'a>(scene: &'a Scene, tell: Option<&'a mut (dyn FnMut(&str) + 'a)>) -> World<'a> {
    let mut world = World::new(scene, tell);
    world.set_up();
    world.play();
    world
}

impl<'a> World<'a> {
    fn new(scene: &'a Scene, tell: Option<&'a mut (dyn FnMut(&str) + 'a)>) -> Self {
        let mut dice = Dice::new(scene.seed ^ 0x0077_0077);
        let network = Network::local("sim");
        let program = sha256(&[b"the model"]);
        let mut nodes = Vec::new();
        let mut index = BTreeMap::new();
        for (number, strategy) in (0u32..).zip(&scene.nodes) {
            let (id, signer) = identity(number, scene.real_bytes);
            index.insert(id, number);
            let chunk_ms = 100 + dice.below(scene.speed_spread_ms);
            nodes.push(Pretended {
                strategy: *strategy,
                id,
                node: None,
                journal: Vec::new(),
                engine: Engine::new(*strategy, chunk_ms),
                signer,
                life: 0,
                wake_at: None,
                wakes: (0, 0),
                engine_busy: false,
                skew_s: dice.below(200),
                old_chunk: None,
                jobs: Vec::new(),
                convicted: BTreeSet::new(),
            });
        }
        let (heap, split) = (BinaryHeap::new(), BTreeSet::new());
        Self {
            scene,
            network,
            dice,
            now: 0,
            seq: 0,
            heap,
            nodes,
            index,
            split,
            bank: Bank::default(),
            job_ms: None,
            trace: 0,
            events: 0,
            program,
            tell,
            verdict: Ok(()),
            out: Vec::new(),
        }
    }

    pub(crate) fn at(&mut self, after: u64, what: Happening) {
        self.seq += 1;
        self.heap.push(Reverse(Entry { at: self.now + after, seq: self.seq, what }));
    }

    fn play(&mut self) {
        while let Some(Reverse(Entry { at, seq, what })) = self.heap.pop() {
            if at > HORIZON_MS || self.verdict.is_err() {
                break;
            }
            self.now = at;
            self.events += 1;
            self.trace = (self.trace ^ at ^ seq.rotate_left(32)).wrapping_mul(0x0000_0100_0000_01B3);
            if let Some(tell) = &mut self.tell {
                tell(&format!("{at:>8} ms  {what:?}"));
            }
            self.happen(what);
            if self.events.is_multiple_of(64) && self.is_over() {
                break;
            }
        }
        if self.verdict.is_ok() {
            self.verdict = check::at_end(self);
        }
    }

    /// Nothing goes wrong any more, and nobody has anything left to do.
    fn is_over(&self) -> bool {
        let idle = |n: &Pretended| {
            n.node.as_ref().is_some_and(|node| {
                node.proof().open() == (0, 0, 0) && node.jobs().iter().all(|j| j.status != talkoo_job::JobStatus::Open)
            })
        };
        let clients = &self.nodes[..self.scene.clients as usize];
        self.now > self.scene.calm_after_ms && clients.iter().all(|c| !c.jobs.is_empty()) && self.nodes.iter().all(idle)
    }

    fn report(self) -> Report {
        let done = self.nodes.iter().filter_map(|n| n.node.as_ref()).flat_map(|n| n.jobs().iter());
        let done = done.flat_map(talkoo_job::Job::steps).filter(|s| s.done().is_some()).count() as u64;
        let convicted: BTreeSet<&NodeId> = self.nodes.iter().flat_map(|n| &n.convicted).collect();
        let convicted = convicted.len() as u64;
        Report { trace: self.trace, events: self.events, now_ms: self.now, done, convicted, verdict: self.verdict }
    }

    fn is_split(&self, a: u32, b: u32) -> bool {
        self.split.contains(&(a.min(b), a.max(b)))
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Deliver { from, to, message } => {
                if self.is_split(from, to) {
                    return;
                }
                let from = self.nodes[from as usize].id;
                self.feed(to, Input::Message { from, message });
            }
            Happening::Wake { node, life } => {
                let n = &mut self.nodes[node as usize];
                if n.life == life && n.wake_at == Some(self.now) {
                    n.wake_at = None;
                    self.count_wake(node);
                    self.feed(node, Input::Tick);
                }
            }
            Happening::Worked { node, life } => {
                let n = &mut self.nodes[node as usize];
                if n.life == life {
                    n.engine_busy = false;
                    if let Some(report) = n.engine.work() {
                        self.feed(node, Input::Engine(report));
                    }
                    self.rouse(node);
                }
            }
            Happening::Crash { node } => self.crash(node),
            Happening::Restart { node } => self.start(node),
            Happening::Down { node, peer } => self.feed(node, Input::PeerDown(self.nodes[peer as usize].id)),
            Happening::Up { node, peer } => {
                if self.nodes[peer as usize].node.is_some() && !self.is_split(node, peer) {
                    self.feed(node, Input::PeerUp(self.nodes[peer as usize].id));
                }
            }
            Happening::Split { a, b } => {
                self.split.insert((a, b));
                self.at(0, Happening::Down { node: a, peer: b });
                self.at(0, Happening::Down { node: b, peer: a });
                let after = 100 + self.dice.below(20_000);
                self.at(after, Happening::Heal { a, b });
            }
            Happening::Heal { a, b } => {
                self.split.remove(&(a, b));
                self.at(1, Happening::Up { node: a, peer: b });
                self.at(1, Happening::Up { node: b, peer: a });
            }
            Happening::Post { client } => self.post(client),
            Happening::Deposited { channel, total } => self.deposited(channel, total),
        }
    }

    fn count_wake(&mut self, node: u32) {
        let n = &mut self.nodes[node as usize];
        n.wakes = if n.wakes.0 == self.now { (self.now, n.wakes.1 + 1) } else { (self.now, 1) };
        if n.wakes.1 > WAKES_AT_ONCE_MAX {
            self.verdict = Err(format!("node {node} wakes itself in a loop at {} ms", self.now));
        }
    }

    fn clock(&self, node: u32) -> Now {
        let unix = EPOCH_S + self.now / 1_000 + self.nodes[node as usize].skew_s;
        Now { mono: Mono(self.now), unix: Unix(unix) }
    }

    /// Gives a node one input and carries out its effects.
    pub(crate) fn feed(&mut self, index: u32, input: Input) {
        let now = self.clock(index);
        let mut out = std::mem::take(&mut self.out);
        if let Some(node) = &mut self.nodes[index as usize].node {
            node.handle(now, input, &mut out);
        }
        // The journal is flushed before any other effect leaves: records first, then the rest.
        for effect in &out {
            if let Effect::Record(event) = effect {
                self.nodes[index as usize].journal.push((**event).clone());
            }
        }
        for effect in out.drain(..) {
            self.carry_out(index, effect);
        }
        self.out = out;
        self.rouse(index);
        self.schedule_wake(index);
        if self.verdict.is_ok() {
            self.verdict = check::after_step(self, index);
        }
    }

    fn schedule_wake(&mut self, index: u32) {
        let n = &mut self.nodes[index as usize];
        let Some(at) = n.node.as_ref().and_then(Node::next_wake) else { return };
        let at = at.0.max(self.now);
        if n.wake_at.is_none_or(|old| at < old) {
            n.wake_at = Some(at);
            let life = n.life;
            self.at(at - self.now, Happening::Wake { node: index, life });
        }
    }

    /// Lets an idle engine work.
    fn rouse(&mut self, index: u32) {
        let n = &mut self.nodes[index as usize];
        if n.engine_busy {
            return;
        }
        if let Some(took) = n.engine.busy_ms() {
            n.engine_busy = true;
            let life = n.life;
            self.at(took, Happening::Worked { node: index, life });
        }
    }

    fn carry_out(&mut self, index: u32, effect: Effect) {
        match effect {
            Effect::Record(_) | Effect::Meet(_) | Effect::Keep(_) | Effect::Sold(_) | Effect::Dispute { .. } => {}
            Effect::Channel(channel) => self.lend(index, *channel),
            Effect::Send { to, message } => self.send(index, to, message),
            Effect::Run(run) => self.nodes[index as usize].engine.run(*run),
            Effect::Credit { ticket, chunks } => self.nodes[index as usize].engine.credit(ticket, chunks),
            Effect::Stop(ticket) => self.nodes[index as usize].engine.stop(ticket),
            Effect::Notice(notice) => {
                if let Some(tell) = &mut self.tell {
                    tell(&format!("             node {index}: {notice:?}"));
                }
                if let Notice::Job(talkoo_job::Notice::Closed { .. }) = notice {
                    self.job_ms.get_or_insert((0, 0)).1 = self.now;
                }
                if let Notice::Proof(proof::Notice::Convicted { node, .. }) = notice {
                    self.nodes[index as usize].convicted.insert(node);
                }
            }
        }
    }

    fn send(&mut self, from: u32, to: NodeId, mut message: Box<Message>) {
        let Some(to) = self.index.get(&to).copied() else { return };
        self.replay_old_receipt(from, &mut message);
        if self.scene.real_bytes {
            match Message::from_bytes(&message.to_bytes(), &self.network) {
                Ok(same) if same == *message => {}
                other => self.verdict = Err(format!("a message does not survive its bytes: {other:?}")),
            }
        }
        let stormy = self.now < self.scene.calm_after_ms;
        if stormy && self.dice.chance(self.scene.loss_permille) {
            return;
        }
        let copies = 1 + u32::from(stormy && self.dice.chance(self.scene.twice_permille));
        for _ in 0..copies {
            let after = 1 + self.dice.below(self.scene.delay_ms_max);
            self.at(after, Happening::Deliver { from, to, message: message.clone() });
        }
    }

    fn others(&self, index: u32) -> Vec<u32> {
        (0..u32::try_from(self.nodes.len()).expect("few nodes")).filter(|n| *n != index).collect()
    }

    fn crash(&mut self, index: u32) {
        let n = &mut self.nodes[index as usize];
        if n.node.take().is_none() {
            return;
        }
        let (strategy, chunk_ms, lies) = (n.strategy, n.engine.chunk_ms, n.engine.lies);
        n.engine = Engine::new(strategy, chunk_ms);
        n.engine.lies = lies;
        (n.life, n.wake_at, n.engine_busy) = (n.life + 1, None, false);
        for peer in self.others(index) {
            let after = self.dice.below(500);
            self.at(after, Happening::Down { node: peer, peer: index });
        }
        let gone = if self.scene.leaves_ms(index).is_some() { GONE_MS } else { 0 };
        let after = gone + 600 + self.dice.below(20_000);
        self.at(after, Happening::Restart { node: index });
    }

    fn start(&mut self, index: u32) {
        let now = self.clock(index);
        let entropy = sha256(&[b"entropy", &self.dice.roll().to_be_bytes()]);
        let network = self.network.clone();
        let n = &mut self.nodes[index as usize];
        if n.node.is_some() {
            return;
        }
        let address = n.id.address();
        let delegation = Delegation {
            owner: address,
            node: address,
            roles: Delegation::ALL_ROLES,
            expiry: Unix(now.unix.0 + 1_000_000),
        };
        let delegation = Signed::new(delegation, &network, n.signer.as_ref());
        let fold = |journal: &[Event]| {
            let mut node = Node::new(Setup {
                me: n.id,
                network: network.clone(),
                signer: n.signer.clone(),
                delegation: delegation.clone(),
                build: sha256(&[b"build"]),
                entropy,
                own_audits: self.scene.own_audits,
                funded: self.scene.funded,
            });
            for event in journal {
                if self.scene.real_bytes {
                    let again = Event::from_bytes(&event.to_bytes());
                    assert_eq!(again.as_ref(), Ok(event), "an event must survive the journal");
                }
                node.apply(event);
            }
            node
        };
        let mut node = fold(&n.journal);
        // Every second life begins with a snapshot.
        if n.life.is_multiple_of(2) {
            let history: Vec<Event> = node.history().collect();
            node = fold(&history);
            assert!(node.history().eq(history.iter().cloned()), "a snapshot must give its own state");
            n.journal = history;
        }
        n.node = Some(node);
        self.feed(index, Input::Restarted);
        if index >= self.scene.clients {
            let (program, tier) = (self.program, self.scene.tier);
            let models = vec![ModelOffer { program, tier, context: 4096, prefill_mtps: 1_000_000, decode_mtps: 1 }];
            let providing = Providing { models, slots: 1 + index % 3, price: Price { input: 100, output: 400 } };
            self.feed(index, Input::Provide(Some(providing)));
        }
        for peer in self.others(index) {
            let after = 1 + self.dice.below(200);
            self.at(after, Happening::Up { node: index, peer });
            self.at(after, Happening::Up { node: peer, peer: index });
        }
    }
}
