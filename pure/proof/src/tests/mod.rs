//! Nodes with real keys and pretended engines, their effects in words, and a loop that carries
//! messages among them. A price of 1 a token makes amounts readable.

mod audit;
mod buyer;
mod embed;
mod float;
mod kept;
mod seller;
mod trust;

use crate::Channel;
use crate::Seen;
use crate::parameters::PROBATION;
use crate::{Candidate, Chunk, Effect, Event, Input, Kept, Message, Notice, Order, Proof, Setup, Terms, Ticket};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use talkoo_base::wire::Typed;
use talkoo_base::{
    Address, Amount, Attempt, AuditPolicy, Digest, Finish, GenerateParams, JobId, LeaseId, Mono, Network, NodeId, Now,
    Price, Refusal, RefusalCode, SecretKey, Signed, Tier, Unix, Work,
};

/// The client, its worker, two verifiers, a stranger.
pub(super) const NAMES: [char; 5] = ['C', 'W', 'V', 'U', 'X'];
pub(super) const PRICE: Price = Price { input: 1_000_000, output: 1_000_000 };
pub(super) const ATTEMPT: Attempt = Attempt { job: JobId(Digest([1; 32])), step: 3, number: 0 };

pub(super) fn net() -> Network {
    Network::local("test")
}

pub(super) fn key(name: char) -> SecretKey {
    SecretKey::from_bytes(&[u8::try_from(name).unwrap(); 32]).unwrap()
}

pub(super) fn id(name: char) -> NodeId {
    key(name).node_id()
}

fn name(node: &NodeId) -> char {
    NAMES.into_iter().find(|n| id(*n) == *node).unwrap()
}

pub(super) fn operator(name: char) -> Address {
    Address([u8::try_from(name).unwrap(); 20])
}

pub(super) fn candidate(name: char) -> Candidate {
    Candidate { node: id(name), operator: operator(name), price: PRICE }
}

/// Ten prompt tokens, at most `max_tokens` of output.
pub(super) fn work(max_tokens: u32) -> Work {
    let params = GenerateParams { max_tokens, ..Default::default() };
    Work {
        kind: talkoo_base::Kind::Generate,
        program: Digest([7; 32]),
        tier: Tier::Exact,
        prompt: (0..10).collect(),
        params,
        seed: 5,
    }
}

pub(super) fn digest(index: u32) -> Digest {
    Digest([u8::try_from(index + 1).unwrap(); 32])
}

pub(super) fn open(attempt: Attempt, worker: char, max_tokens: u32, audit: AuditPolicy) -> Input {
    Input::Open { attempt, worker: candidate(worker), work: Box::new(work(max_tokens)), audit }
}

/// Chunk `index` of an output of 40 tokens, the way an engine tells it.
pub(super) fn produced(lease: LeaseId, index: u32) -> Input {
    let tokens = (index * 32..40.min(index * 32 + 32)).collect();
    let finish = if index == 1 { Finish::Length } else { Finish::Running };
    Input::Produced { ticket: Ticket::Sale(lease), index, tokens, digest: digest(index), logprobs: None, finish }
}

/// What an engine says of an output it re-runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Same,
    /// Other states, told apart by a number.
    Other(u8),
    /// The output is not complete or not honest from token 5 on.
    Diverged,
    /// The run fails.
    Fails,
    Silent,
    /// It changes its mind after its commitment.
    Turncoat,
    /// Its connection breaks before it answers.
    Down,
}

pub(super) struct Nodes {
    pub(super) nodes: BTreeMap<char, Proof>,
    pub(super) at: u64,
    pub(super) words: BTreeMap<char, Word>,
    /// Who is drawn next, with the owner it claims.
    pub(super) drawn: VecDeque<Candidate>,
    pub(super) kept: Option<Kept>,
    /// What the client did, in words.
    pub(super) told: Vec<String>,
}

pub(super) fn now(at: u64) -> Now {
    Now { mono: Mono(at), unix: Unix(1_000_000 + at / 1_000) }
}

impl Nodes {
    pub(super) fn new(own_audits: bool) -> Self {
        Self::with(own_audits, false, &[])
    }

    /// Nodes of which these have another build than the others.
    pub(super) fn of_another_build(names: &[char]) -> Self {
        Self::with(true, false, names)
    }

    /// Nodes that pay only with what a ledger holds.
    pub(super) fn funded() -> Self {
        Self::with(false, true, &[])
    }

    fn with(own_audits: bool, funded: bool, others: &[char]) -> Self {
        let proof = |name| {
            let (me, signer) = (id(name), Arc::new(key(name)));
            let (build, entropy) = (if others.contains(&name) { 8 } else { 9 }, u8::try_from(name).unwrap());
            let (build, entropy) = (Digest([build; 32]), Digest([entropy; 32]));
            let operator = operator(name);
            (name, Proof::new(Setup { me, operator, network: net(), signer, build, entropy, own_audits, funded }))
        };
        let mut nodes: BTreeMap<char, Proof> = NAMES.into_iter().map(proof).collect();
        // The client knows its worker: on probation its own engine would judge first.
        let build = Digest([if others.contains(&'W') { 8 } else { 9 }; 32]);
        let seen = Some(Seen { at: now(0).unix, build, bond: Amount::ZERO });
        let known = Event::Account {
            node: id('W'),
            signed: Amount::ZERO,
            deserved: Amount::ZERO,
            clean: PROBATION,
            refuted: false,
            vested: [Amount::ZERO; 2],
            seen,
        };
        nodes.get_mut(&'C').unwrap().apply(&known);
        let (words, drawn) = (BTreeMap::new(), VecDeque::new());
        Self { nodes, at: 0, words, drawn, kept: None, told: Vec::new() }
    }

    pub(super) fn tell(&mut self, node: char, input: Input) -> Vec<Effect> {
        let (mut out, is_tick) = (Vec::new(), input == Input::Tick);
        let proof = self.nodes.get_mut(&node).unwrap();
        proof.handle(now(self.at), input, &mut out);
        let wake = proof.next_wake();
        assert!(!is_tick || wake.is_none_or(|w| w > Mono(self.at)), "{node} wakes in the past: {wake:?}");
        out
    }

    /// Tells a node something and expects these effects, in words.
    pub(super) fn check(&mut self, node: char, input: Input, want: &str) -> Vec<Effect> {
        let shown = format!("{input:?}");
        let out = self.tell(node, input);
        assert_eq!(show(&out), want, "{node} at {}: {shown:.200}", self.at);
        out
    }

    pub(super) fn send(&mut self, from: char, to: char, message: Message) -> Vec<Effect> {
        if matches!(message, Message::Lease(_)) {
            self.tell(to, Input::Terms(Some(Terms { price: PRICE, slots: 64, tier: Tier::Exact })));
        }
        self.tell(to, Input::Message { from: id(from), message })
    }

    /// The client leases a step to `worker`, which takes it.
    pub(super) fn lease(
        &mut self,
        attempt: Attempt,
        worker: char,
        max_tokens: u32,
        audit: AuditPolicy,
    ) -> (Order, LeaseId) {
        let out = self.check('C', open(attempt, worker, max_tokens, audit), &format!("{worker}<lease"));
        let Effect::Send { message: Message::Lease(order), .. } = &out[0] else { unreachable!() };
        let taken = self.send('C', worker, Message::Lease(order.clone()));
        assert_eq!(show(&taken), "used C, run sale, credit 2");
        let pays = |effect: &Effect| matches!(effect, Effect::Run(run) if run.client == id('C'));
        assert!(taken.iter().any(pays), "the client pays");
        (*order.clone(), LeaseId(order.request.body.digest(&net())))
    }

    /// The worker makes a chunk; the message that it sends.
    pub(super) fn chunk(&mut self, worker: char, lease: LeaseId, index: u32) -> Chunk {
        let out = self.check(worker, produced(lease, index), &format!("C<chunk {index}"));
        let Effect::Send { message: Message::Chunk(chunk), .. } = &out[0] else { unreachable!() };
        *chunk.clone()
    }

    /// Carries messages, lets engines and draws answer, until nobody has anything to say.
    pub(super) fn carry(&mut self, node: char, effects: Vec<Effect>) {
        let mut queue: VecDeque<(char, Effect)> = effects.into_iter().map(|e| (node, e)).collect();
        while let Some((node, effect)) = queue.pop_front() {
            if node == 'C' && !matches!(effect, Effect::Send { .. }) {
                let told = show(std::slice::from_ref(&effect));
                self.told.extend((!told.is_empty()).then_some(told));
            }
            let (to, out) = self.carry_one(node, effect);
            queue.extend(out.into_iter().map(|e| (to, e)));
        }
    }

    fn carry_one(&mut self, node: char, effect: Effect) -> (char, Vec<Effect>) {
        match effect {
            Effect::Send { to, message: Message::Answer(mut answer) } => {
                if self.words.get(&node) == Some(&Word::Turncoat) {
                    answer.receipt.body.trace_root = Digest::ZERO;
                    answer.receipt = Signed::new(answer.receipt.body, &net(), &key(node));
                }
                (name(&to), self.send(node, name(&to), Message::Answer(answer)))
            }
            Effect::Send { to, message } => (name(&to), self.send(node, name(&to), message)),
            Effect::Draw { lease, .. } => {
                let nodes = self.drawn.pop_front().into_iter().collect();
                (node, self.tell(node, Input::Candidates { lease, nodes }))
            }
            Effect::Run(run) if run.rerun.is_some() => {
                assert_eq!(run.client, id('C'), "the auditor's client pays, or it is the auditor itself");
                match self.words.get(&node).copied().unwrap_or(Word::Silent) {
                    Word::Silent => (node, Vec::new()),
                    Word::Down => ('C', self.tell('C', Input::PeerDown(id(node)))),
                    word => (node, self.tell(node, verified(run.ticket, word))),
                }
            }
            Effect::Keep(kept) => {
                self.kept = Some(*kept);
                (node, Vec::new())
            }
            _ => (node, Vec::new()),
        }
    }

    /// A whole lease of 40 tokens, and whatever checks it; what the client did after delivery.
    pub(super) fn deliver(&mut self, audit: AuditPolicy) -> String {
        let (_, lease) = self.lease(ATTEMPT, 'W', 40, audit);
        for index in 0..2 {
            let chunk = self.chunk('W', lease, index);
            let out = self.send('W', 'C', Message::Chunk(Box::new(chunk)));
            self.told.clear();
            self.carry('C', out);
        }
        // Time goes on while an audit waits for somebody.
        for _ in 0..8 {
            let Some(wake) = self.nodes[&'C'].next_wake() else { break };
            self.at = wake.0;
            let out = self.tell('C', Input::Tick);
            self.carry('C', out);
        }
        assert_eq!(self.nodes[&'C'].open(), (0, 0, 0));
        let skip = ["progress", "delivered", "paid W", "re-run own"];
        let told: Vec<&str> =
            self.told.iter().map(String::as_str).filter(|t| !skip.iter().any(|s| t.starts_with(s))).collect();
        told.join(", ")
    }
}

pub(super) fn verified(ticket: Ticket, word: Word) -> Input {
    let same = vec![digest(0), digest(1)];
    let (digests, diverged, finish) = match word {
        Word::Other(which) => (vec![Digest([100 + which; 32]), digest(1)], None, Finish::Length),
        // An engine that stops at the first false token cannot say how the output would have ended.
        Word::Diverged => (vec![digest(0)], Some(5), Finish::Running),
        Word::Fails => {
            let refusal = Refusal::new(RefusalCode::RunFailed, "out of memory", "");
            return Input::RunFailed { ticket, refusal };
        }
        _ => (same, None, Finish::Length),
    };
    Input::Verified { ticket, digests, diverged, finish }
}

fn message_words(message: &Message) -> String {
    match message {
        Message::Lease(order) => if order.rerun.is_some() { "audit" } else { "lease" }.into(),
        Message::Chunk(chunk) => format!("chunk {}", chunk.index),
        Message::Pay { index, voucher, .. } => format!("pay {index} {}", voucher.body.max_claimable.0),
        Message::Close { refusal, .. } => format!("close {}", refusal.code),
        Message::Commit { .. } => "commit".into(),
        Message::Reveal { .. } => "reveal".into(),
        Message::Answer(answer) => format!("answer {:?}", answer.receipt.body.finish),
        Message::Warning { refusal, .. } => format!("warning {}", refusal.code),
        Message::Owed { voucher } => format!("owed {}", voucher.body.max_claimable.0),
    }
}

fn words(effect: &Effect) -> String {
    let own = |ticket: &Ticket| if matches!(ticket, Ticket::Own(_)) { "own" } else { "sale" };
    match effect {
        Effect::Record(event) => match event {
            Event::Paid { node, total } => format!("paid {} {}", name(node), total.0),
            Event::Accepted { node, worth, audited, .. } => {
                format!("accepted {} {}{}", name(node), worth.0, if *audited { " audited" } else { "" })
            }
            Event::Refuted(node) => format!("refuted {}", name(node)),
            Event::Account { node, .. } => format!("account {}", name(node)),
            Event::Earned { node, voucher } => format!("earned {} {}", name(node), voucher.body.max_claimable.0),
            Event::Payer { .. } => String::new(),
        },
        Effect::Send { to, message } => format!("{}<{}", name(to), message_words(message)),
        Effect::Run(run) => format!("{} {}", if run.rerun.is_some() { "re-run" } else { "run" }, own(&run.ticket)),
        Effect::Credit { chunks, .. } => format!("credit {chunks}"),
        Effect::Stop(ticket) => format!("stop {}", own(ticket)),
        Effect::Draw { not, .. } => format!("draw not {}", not.iter().map(name).collect::<String>()),
        Effect::Progress { units, .. } => format!("progress {units}"),
        Effect::Delivered { tokens, finish, .. } => format!("delivered {} {finish:?}", tokens.len()),
        Effect::Broken { refusal, .. } => format!("broken {}", refusal.message),
        Effect::Verdict { stands, audited, .. } => {
            format!("{}{}", if *stands { "stands" } else { "falls" }, if *audited { " audited" } else { "" })
        }
        Effect::Convicted { node, .. } => format!("convicted {}", name(node)),
        Effect::Quarantined { nodes, .. } => format!("quarantine {}", nodes.iter().map(name).collect::<String>()),
        Effect::Keep(_) => "keep".into(),
        // They go with every chunk.
        Effect::Sold(_) | Effect::Notice(Notice::Chunk { .. }) => String::new(),
        Effect::Dispute { worker, case } => format!("dispute {} {}", name(worker), case.output.len()),
        Effect::Channel(Channel::Fund { need, .. }) => format!("fund {}", need.0),
        Effect::Channel(Channel::Watch { client, .. }) => format!("watch {}", name(client)),
        Effect::Used { client, .. } => format!("used {}", name(client)),
        Effect::Notice(Notice::AuditStarted { verifier, .. }) => {
            format!("(asks {})", verifier.as_ref().map_or("own engine".into(), |v| name(v).to_string()))
        }
        Effect::Notice(Notice::AuditEnded { equal, .. }) => if *equal { "(equal)" } else { "(different)" }.into(),
        Effect::Notice(Notice::Convicted { .. } | Notice::Quarantined { .. }) => String::new(),
        Effect::Notice(Notice::Faulty { .. }) => "(faulty)".into(),
        Effect::Notice(Notice::Warned { client, refusal }) => format!("(warned by {}: {})", name(client), refusal.code),
        Effect::Notice(Notice::Sold { units, audit, .. }) => {
            format!("(sold {})", if *audit { "audit".into() } else { units.to_string() })
        }
    }
}

pub(super) fn show(effects: &[Effect]) -> String {
    effects.iter().map(words).filter(|w| !w.is_empty()).collect::<Vec<_>>().join(", ")
}
