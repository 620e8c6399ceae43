//! A few nodes with real keys, joined by real bytes, with engines that answer at once.

mod gossip;
mod play;
mod wire;

use crate::{Effect, Event, Input, Message, Node, Providing, Setup};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use talkoo_base::{
    AuditPolicy, Delegation, Digest, Finish, GenerateParams, JobId, ModelOffer, Mono, Network, NodeId, Now, Price,
    SecretKey, Signed, Signer, Tier, Unix, float_chunk,
};
use talkoo_job::{JobSpec, StepSpec};
use talkoo_proof::{Input as Told, Kept, Run};

pub(super) const MODEL: Digest = Digest([7; 32]);
pub(super) const JOB: JobId = JobId(Digest([1; 32]));

pub(super) fn net() -> Network {
    Network::local("test")
}

pub(super) fn key(name: u8) -> SecretKey {
    SecretKey::from_bytes(&[name; 32]).unwrap()
}

pub(super) fn id(name: u8) -> NodeId {
    key(name).node_id()
}

/// One micro-unit a token, times `price`.
pub(super) fn price(price: u128) -> Price {
    Price { input: price * 1_000_000, output: price * 1_000_000 }
}

pub(super) fn now(at: u64) -> Now {
    Now { mono: Mono(at), unix: Unix(1_000_000 + at / 1_000) }
}

/// Every node is its own owner.
pub(super) fn delegation(name: u8) -> Delegation {
    let me = key(name).address();
    Delegation { owner: me, node: me, roles: Delegation::ALL_ROLES, expiry: Unix(2_000_000) }
}

pub(super) fn node(name: u8) -> Node {
    Node::new(Setup {
        me: id(name),
        network: net(),
        signer: Arc::new(key(name)),
        delegation: Signed::new(delegation(name), &net(), &key(name)),
        build: Digest([9; 32]),
        entropy: Digest([name; 32]),
        own_audits: false,
        funded: false,
    })
}

pub(super) fn providing(of: u128) -> Input {
    providing_in(Tier::Exact, of)
}

pub(super) fn providing_in(tier: Tier, of: u128) -> Input {
    let models = vec![ModelOffer { program: MODEL, tier, context: 2_048, prefill_mtps: 1, decode_mtps: 1 }];
    Input::Provide(Some(Providing { models, slots: 1, price: price(of) }))
}

pub(super) fn spec(steps: u32, audit: AuditPolicy) -> JobSpec {
    let params = GenerateParams::default().to_bytes();
    let step = |i| StepSpec { custom_id: format!("s{i}"), prompt: vec![i; 7], params: params.clone(), seed: 0 };
    JobSpec {
        id: JOB,
        name: "test".into(),
        program: MODEL,
        tier: Tier::Exact,
        kind: talkoo_base::Kind::Generate,
        context: 512,
        steps: (0..steps).map(step).collect(),
        copies: false,
        price_max: price(10),
        nodes_max: 1,
        own: false,
        audit,
        prefer: talkoo_base::Preferences::default(),
    }
}

pub(super) struct World {
    pub(super) nodes: BTreeMap<u8, Node>,
    pub(super) at: u64,
    /// Runs wait here while engines are held.
    pub(super) held: Option<Vec<(u8, Run)>>,
    pub(super) events: BTreeMap<u8, Vec<Event>>,
    pub(super) kept: Vec<Kept>,
    /// Whom nodes want to meet.
    pub(super) met: Vec<NodeId>,
    /// What was sent: from, to, and its kind.
    pub(super) sent: Vec<String>,
}

impl World {
    /// These nodes, all connected.
    pub(super) fn of(names: &[u8]) -> Self {
        let pairs = names.iter().flat_map(|a| names.iter().map(move |b| (*a, *b)));
        Self::linked(names, &pairs.filter(|(a, b)| a < b).collect::<Vec<_>>())
    }

    /// These nodes, of which these pairs are connected.
    pub(super) fn linked(names: &[u8], pairs: &[(u8, u8)]) -> Self {
        let nodes = names.iter().map(|name| (*name, node(*name))).collect();
        let (events, kept, met, sent) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        let mut world = Self { nodes, at: 0, held: None, events, kept, met, sent };
        pairs.iter().for_each(|(a, b)| world.link(*a, *b));
        world
    }

    /// Two nodes connect.
    pub(super) fn link(&mut self, a: u8, b: u8) {
        self.tell(a, Input::PeerUp(id(b)));
        self.tell(b, Input::PeerUp(id(a)));
    }

    /// Tells a node something, then carries messages and runs engines until all are quiet.
    pub(super) fn tell(&mut self, name: u8, input: Input) {
        let mut queue = VecDeque::from([(name, input)]);
        while let Some((name, input)) = queue.pop_front() {
            let (mut out, is_tick) = (Vec::new(), input == Input::Tick);
            let node = self.nodes.get_mut(&name).unwrap();
            node.handle(now(self.at), input, &mut out);
            let wake = node.next_wake();
            assert!(!is_tick || wake.is_none_or(|w| w > Mono(self.at)), "{name} wakes in the past: {wake:?}");
            for effect in out {
                queue.extend(self.carry(name, effect));
            }
        }
    }

    fn carry(&mut self, name: u8, effect: Effect) -> Option<(u8, Input)> {
        match effect {
            Effect::Send { to, message } => {
                let to = *self.nodes.iter().find(|(_, node)| node.id() == to)?.0;
                self.sent.push(format!("{name}>{to} {}", kind(&message)));
                let bytes = message.to_bytes();
                let message = Box::new(Message::from_bytes(&bytes, &net()).unwrap());
                Some((to, Input::Message { from: id(name), message }))
            }
            Effect::Run(run) => match &mut self.held {
                Some(held) => {
                    held.push((name, *run));
                    None
                }
                None => Some((name, Input::Engine(answer(&run)))),
            },
            Effect::Record(event) => {
                self.events.entry(name).or_default().push(*event);
                None
            }
            // These nodes have no ledger: vouchers count as they are.
            Effect::Channel(channel) => panic!("nobody asked for a ledger: {channel:?}"),
            Effect::Meet(node) => {
                self.met.push(node);
                None
            }
            Effect::Keep(kept) => {
                self.kept.push(*kept);
                None
            }
            Effect::Credit { .. } | Effect::Stop(_) | Effect::Notice(_) => None,
            Effect::Sold(_) | Effect::Dispute { .. } => None,
        }
    }

    /// Lets the engines do what waits for them.
    pub(super) fn release(&mut self) {
        for (name, run) in self.held.take().unwrap_or_default() {
            self.tell(name, Input::Engine(answer(&run)));
        }
    }

    /// How many messages of one kind went one way.
    pub(super) fn count(&self, what: &str) -> usize {
        self.sent.iter().filter(|s| *s == what).count()
    }
}

/// Every engine says the same three tokens.
fn answer(run: &Run) -> Told {
    let (ticket, tokens, finish) = (run.ticket, vec![5, 6, 7], Finish::Stop);
    let digest = match run.work.tier {
        Tier::Float => float_chunk(&run.trace_id, 0, &tokens),
        Tier::Exact | Tier::Quorum => Digest(run.trace_id.0),
    };
    match run.rerun {
        None => Told::Produced { ticket, index: 0, tokens, digest, logprobs: None, finish },
        Some(_) => Told::Verified { ticket, digests: vec![digest], diverged: None, finish },
    }
}

pub(super) fn kind(message: &Message) -> &'static str {
    use talkoo_market::Message as M;
    use talkoo_proof::Message as P;
    match message {
        Message::Hello(_) => "hello",
        Message::Heard(_) => "heard",
        Message::Cards => "cards",
        Message::Market(M::Reserve { .. }) => "reserve",
        Message::Market(M::Reserved { .. }) => "reserved",
        Message::Market(M::Refused { .. }) => "refused",
        Message::Market(M::Release) => "release",
        Message::Proof(P::Lease(order)) => {
            if order.rerun.is_some() {
                "audit"
            } else {
                "lease"
            }
        }
        Message::Proof(P::Chunk(_)) => "chunk",
        Message::Proof(P::Pay { .. }) => "pay",
        Message::Proof(P::Close { .. }) => "close",
        Message::Proof(P::Commit { .. }) => "commit",
        Message::Proof(P::Reveal { .. }) => "reveal",
        Message::Proof(P::Owed { .. }) => "owed",
        Message::Proof(P::Warning { .. }) => "warning",
        Message::Proof(P::Answer(_)) => "answer",
    }
}
