//! The loop over virtual time: messages, executors, crashes, splits.

mod talk;

use super::check::Check;
use super::ledger::{Book, STAKES};
use super::node::Node;
use super::report::Report;
use super::scene::{Conduct, Scene};
use crate::crypto::identity;
use crate::rng::Dice;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use talkoo_base::{Address, Certificate, Network, sha256};
use talkoo_chain::{Effect, Input, Message, SignedVote};

/// All numbers are in blocks and all honest nodes are equally far so long after the calm begins, at the latest.
const SETTLE_MS: u64 = 90_000;
/// An executor takes so long, at most.
const EXECUTE_MS: u64 = 8;
/// Steps of one world; more is an endless talk.
const EVENTS_MAX: u64 = 2_000_000;

enum What {
    Deliver {
        from: usize,
        to: usize,
        bytes: Rc<Vec<u8>>,
    },
    /// The executor of a life is done.
    Done {
        node: usize,
        life: u32,
        work: Box<Work>,
    },
    Wake {
        node: usize,
        life: u32,
    },
    Number {
        node: usize,
        number: u64,
    },
    Start {
        node: usize,
    },
    /// Nodes on different sides do not hear each other.
    Split {
        sides: u64,
    },
    Calm,
}

enum Work {
    Answer(Input),
    Commit(Certificate, Vec<u8>),
}

struct World<'a> {
    scene: &'a Scene,
    dice: Dice,
    network: Network,
    nodes: Vec<Node>,
    honest: BTreeSet<Address>,
    now: u64,
    queue: BTreeMap<(u64, u64), What>,
    queued: u64,
    sides: u64,
    check: Check,
    report: Report,
    tell: Option<&'a mut dyn FnMut(&str)>,
}

/// Plays one world; `tell` hears every step.
pub fn run(scene: &Scene, tell: Option<&mut dyn FnMut(&str)>) -> Report {
    let mut tell = tell;
    let mut world = World::new(scene, tell.as_mut().map(|t| &mut **t as &mut dyn FnMut(&str)));
    while let Some(((at, _), what)) = world.queue.pop_first() {
        world.now = at;
        world.report.events += 1;
        world.happen(what);
        let over = at > scene.calm_ms && world.is_settled();
        if over || world.check.broken.is_some() {
            break;
        }
        if at > scene.calm_ms + SETTLE_MS || world.report.events > EVENTS_MAX {
            world.check.broken = Some(format!("not settled {SETTLE_MS} ms after the calm: {}", world.standing()));
            break;
        }
    }
    let World { check, mut report, now, .. } = world;
    report.verdict = check.broken.map_or(Ok(()), Err);
    (report.convicted, report.now_ms) = (check.convicted.len(), now);
    report
}

impl<'a> World<'a> {
    fn new(scene: &'a Scene, tell: Option<&'a mut dyn FnMut(&str)>) -> Self {
        let identities: Vec<_> = (0..).zip(&scene.parts).map(|(i, _)| identity(i, true)).collect();
        let book = Arc::new(Book::new(scene, identities.iter().map(|(_, key)| key.address()).collect()));
        let nodes: Vec<Node> =
            scene.parts.iter().zip(identities).map(|(part, who)| Node::new(*part, who, &book)).collect();
        let honest = nodes.iter().filter(|n| n.is_honest()).map(|n| n.me).collect();
        let mut world = Self {
            scene,
            dice: Dice::new(scene.seed),
            network: Network::local("sim"),
            nodes,
            honest,
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            sides: 0,
            check: Check::default(),
            report: Report::new(),
            tell,
        };
        for (node, part) in scene.parts.iter().enumerate() {
            world.at(part.joins_ms, What::Start { node });
        }
        for number in (1..=scene.numbers).chain(stakes(scene)) {
            let first = if number == 1 { scene.calm_ms } else { world.dice.below(scene.calm_ms + 1) };
            world.spread(first, number);
        }
        for _ in 0..scene.splits {
            let (from, sides) = (world.dice.below(scene.calm_ms), world.dice.roll());
            let until = from + world.dice.below(8_000);
            world.at(from, What::Split { sides });
            world.at(until.min(scene.calm_ms), What::Split { sides: 0 });
        }
        world.at(scene.calm_ms, What::Calm);
        world
    }

    fn at(&mut self, at: u64, what: What) {
        self.queued += 1;
        self.queue.insert((at, self.queued), what);
    }

    /// Everybody hears of a number, a little sooner or later.
    fn spread(&mut self, first: u64, number: u64) {
        for node in 0..self.nodes.len() {
            let gossip = self.dice.below(200);
            self.at(first + gossip, What::Number { node, number });
        }
    }

    fn is_linked(&self, a: usize, b: usize) -> bool {
        !self.scene.line || a.abs_diff(b) == 1
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(tell) = &mut self.tell {
            tell(&format!("{:>8} {}", self.now, line()));
        }
    }

    fn standing(&self) -> String {
        let one = |n: &Node| (n.ledger.height(), n.chain.is_some(), n.part.conduct);
        format!("{:?}", self.nodes.iter().map(one).collect::<Vec<_>>())
    }

    /// Every honest node has every number and every block.
    fn is_settled(&self) -> bool {
        let mut honest = self.nodes.iter().filter(|n| n.is_honest());
        let top = self.nodes.iter().map(|n| n.ledger.height()).max().unwrap_or_default();
        let reports = self.check.reported.iter().copied();
        let all: Vec<u64> = (1..=self.scene.numbers).chain(stakes(self.scene)).chain(reports).collect();
        // Who is called to work all the time never rests, and somebody is always the last to hear of a block.
        let restless = self.scene.parts.iter().any(|p| p.conduct == Conduct::Boaster);
        let lag = if restless { 2 } else { 0 };
        honest.all(|n| n.ledger.height() + lag >= top && all.iter().all(|number| n.ledger.numbers.contains(number)))
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Deliver { from, to, bytes } => {
                let cut = (self.sides >> from & 1) != (self.sides >> to & 1);
                if !cut && self.nodes[to].chain.is_some() && self.nodes[from].chain.is_some() {
                    let from = self.nodes[from].id;
                    match Message::from_bytes(&bytes) {
                        Ok(message) => self.step(to, Input::Message { from, message }),
                        Err(why) => self.check.broken = Some(format!("a message cannot be read: {why}")),
                    }
                }
            }
            What::Done { node, life, work } if self.nodes[node].life == life && self.nodes[node].chain.is_some() => {
                match *work {
                    Work::Answer(input) => self.step(node, input),
                    Work::Commit(certificate, bytes) => self.commit(node, certificate, bytes),
                }
            }
            What::Wake { node, life } if self.nodes[node].life == life => self.step(node, Input::Tick),
            What::Done { .. } | What::Wake { .. } => {}
            What::Number { node, number } => {
                self.nodes[node].pool.insert(number);
                self.ready(node);
            }
            What::Start { node } if self.nodes[node].chain.is_none() => self.start(node),
            What::Start { .. } => {}
            What::Split { sides } => self.sides = sides,
            What::Calm => self.sides = 0,
        }
    }

    fn ready(&mut self, node: usize) {
        if self.nodes[node].is_ready() || self.nodes[node].part.conduct == Conduct::Boaster {
            self.step(node, Input::Ready);
        }
    }

    fn start(&mut self, node: usize) {
        let compact = self.dice.chance(300);
        self.nodes[node].start(&self.network, compact);
        self.report.restarts += u32::from(self.nodes[node].life > 1);
        self.tell(|| format!("node {node} starts"));
        self.step(node, Input::Restarted);
        // A crash came between the ledger and the journal.
        while let Some(height) = self.nodes[node].chain.as_ref().map(talkoo_chain::Chain::height) {
            let Some(builder) = self.nodes[node].ledger.builder(height) else { break };
            let validators = self.nodes[node].ledger.validators(height + 1).to_vec();
            self.step(node, Input::Committed { height, builder, validators });
        }
        for other in (0..self.nodes.len()).filter(|o| *o != node) {
            if self.is_linked(node, other) && self.nodes[other].chain.is_some() && self.nodes[node].chain.is_some() {
                let (here, there) = (self.nodes[node].id, self.nodes[other].id);
                self.step(node, Input::PeerUp(there));
                self.step(other, Input::PeerUp(here));
            }
        }
        self.ready(node);
    }

    /// One input of one node, all effects, and perhaps a crash in between.
    fn step(&mut self, node: usize, input: Input) {
        let now = self.nodes[node].now(self.now);
        self.tell(|| format!("node {node} <- {}", short(&input)));
        let Some(chain) = &mut self.nodes[node].chain else { return };
        let mut out = Vec::new();
        chain.handle(now, input, &mut out);
        let wake = chain.next_wake();
        self.report.trace = sha256(&[&self.report.trace.0, &self.now.to_be_bytes(), &[node as u8, out.len() as u8]]);
        let records: Vec<Vec<u8>> = out
            .iter()
            .filter_map(|effect| if let Effect::Record(event) = effect { Some(event.to_bytes()) } else { None })
            .collect();
        let calm = self.now >= self.scene.calm_ms;
        if !calm && self.dice.below(100_000) < self.scene.crash {
            let kept = self.dice.below(records.len() as u64 + 1) as usize;
            return self.crash(node, &records[..kept]);
        }
        self.nodes[node].journal.extend(records);
        let (me, honest) = (self.nodes[node].me, self.nodes[node].is_honest());
        // What two thirds prevoted may be precommitted in the same step, and the core says the last word first.
        let mut votes: Vec<SignedVote> = out.iter().filter_map(own_vote).filter(|v| v.validator == me).collect();
        votes.sort_by_key(|v| v.vote.kind);
        for vote in votes {
            let set = self.nodes[node].ledger.validators(vote.vote.height).to_vec();
            self.check.voted(&vote, honest, &set);
        }
        for effect in out {
            self.carry_out(node, effect);
        }
        if let Some(at) = wake.map(|at| self.nodes[node].when(at).max(self.now + 1)) {
            let before = self.nodes[node].wake_at;
            if before <= self.now || at < before {
                self.nodes[node].wake_at = at;
                let life = self.nodes[node].life;
                self.at(at, What::Wake { node, life });
            }
        }
    }

    fn crash(&mut self, node: usize, kept: &[Vec<u8>]) {
        self.tell(|| format!("node {node} crashes, {} records of the step are kept", kept.len()));
        self.nodes[node].journal.extend_from_slice(kept);
        self.nodes[node].chain = None;
        let back = (self.now + 50 + self.dice.below(4_000)).min(self.scene.calm_ms.max(self.now + 1));
        self.at(back, What::Start { node });
        let gone = self.nodes[node].id;
        for other in (0..self.nodes.len()).filter(|o| *o != node) {
            self.step(other, Input::PeerDown(gone));
        }
    }

    fn commit(&mut self, node: usize, certificate: Certificate, bytes: Vec<u8>) {
        let height = certificate.height;
        if height != self.nodes[node].ledger.height() + 1 {
            return;
        }
        let set = self.nodes[node].ledger.validators(height).to_vec();
        if self.nodes[node].is_honest() {
            self.check.committed(node, &certificate, &set, &self.network);
        }
        let builder = self.nodes[node].ledger.commit(certificate, bytes);
        self.check.executed(node, height, builder.is_some());
        let Some(builder) = builder else { return };
        if height > self.report.blocks {
            self.report.blocks = height;
            self.report.final_ms.push(self.now);
        }
        let validators = self.nodes[node].ledger.validators(height + 1).to_vec();
        self.check.decides(node, height + 1, &validators);
        self.report.sets += usize::from(height == self.report.blocks && validators != set);
        self.step(node, Input::Committed { height, builder, validators });
        self.ready(node);
    }

    fn carry_out(&mut self, node: usize, effect: Effect) {
        let answer = match effect {
            Effect::Record(_) => None,
            Effect::Propose { height, round } => {
                if height > self.report.begun_ms.len() as u64 {
                    self.report.begun_ms.push(self.now);
                }
                self.nodes[node].propose(height, round).map(Work::Answer)
            }
            Effect::Validate { height, block, body, builder, bytes } => {
                self.nodes[node].validate(height, (block, body), builder, &bytes).map(Work::Answer)
            }
            Effect::Commit { certificate, bytes } => Some(Work::Commit(certificate, bytes)),
            Effect::Send { to, message } => {
                let to = self.nodes.iter().position(|n| n.id == to);
                to.into_iter().for_each(|to| self.say(node, to, &message));
                None
            }
            Effect::Broadcast(message) => {
                let peers: Vec<usize> =
                    (0..self.nodes.len()).filter(|to| *to != node && self.is_linked(node, *to)).collect();
                peers.into_iter().for_each(|to| self.say(node, to, &message));
                None
            }
            Effect::Serve { to, height, count } => {
                self.serve(node, to, height, count);
                None
            }
            Effect::Evidence(votes) => {
                self.accuse(node, &votes);
                None
            }
            Effect::Notice(notice) => {
                self.notice(node, &notice);
                None
            }
        };
        if let Some(work) = answer {
            let (life, took) = (self.nodes[node].life, self.dice.below(EXECUTE_MS));
            self.at(self.now + took, What::Done { node, life, work: Box::new(work) });
        }
    }
}

/// The numbers of the scene's stakes.
fn stakes(scene: &Scene) -> impl Iterator<Item = u64> {
    (STAKES..).take(scene.stakes.len())
}

fn own_vote(effect: &Effect) -> Option<SignedVote> {
    if let Effect::Broadcast(Message::Vote(vote)) = effect { Some(*vote) } else { None }
}

/// An input for people: blocks are long.
fn short(input: &Input) -> String {
    format!("{input:?}").chars().take(300).collect()
}
