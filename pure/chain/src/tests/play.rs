//! One node under test; everybody else is a key.

use crate::wire::{Message, SignedProposal, SignedVote};
use crate::{Chain, Effect, Event, Input, Notice};
use talkoo_base::wire::Typed;
use talkoo_base::{
    Certificate, Digest, Mono, Network, NodeId, Now, Proposal, SecretKey, Signer, Unix, Validator, Vote, VoteKind,
    keccak256,
};

pub(super) fn key(who: u8) -> SecretKey {
    SecretKey::from_bytes(&[who; 32]).unwrap()
}

pub(super) fn id(who: u8) -> NodeId {
    key(who).node_id()
}

pub(super) fn net() -> Network {
    Network::local("test")
}

/// A block and its hash; no two alike.
pub(super) fn block(number: u8) -> (Digest, Vec<u8>) {
    (Digest([number; 32]), vec![number; 40])
}

pub(super) fn vote(who: u8, kind: VoteKind, round: u32, block: Digest) -> Message {
    vote_at(who, 1, kind, round, block)
}

fn vote_at(who: u8, height: u64, kind: VoteKind, round: u32, block: Digest) -> Message {
    let vote = Vote { kind, height, round, block };
    let (validator, signature) = (key(who).address(), key(who).sign(&vote.digest(&net())));
    Message::Vote(SignedVote { vote, validator, signature })
}

pub(super) fn proposal(who: u8, round: u32, valid_round: Option<u32>, (block, bytes): (Digest, &[u8])) -> Message {
    let proposal = Proposal { height: 1, round, valid_round, block, body: keccak256(&[bytes]) };
    let (proposer, signature) = (key(who).address(), key(who).sign(&proposal.digest(&net())));
    Message::Proposal { proposal: SignedProposal { proposal, proposer, signature }, bytes: bytes.to_vec() }
}

/// One node, never the proposer of round 0 unless it is alone.
pub(super) struct Play {
    pub(super) chain: Chain,
    pub(super) network: Network,
    pub(super) validators: Vec<Validator>,
    pub(super) me: u8,
    count: u8,
    now: u64,
    pub(super) journal: Vec<Event>,
    /// All effects but records, since they were last cleared.
    pub(super) said: Vec<Effect>,
}

impl Play {
    pub(super) fn new(count: u8) -> Self {
        Self::again(count, &[])
    }

    /// A node that starts with a journal.
    pub(super) fn again(count: u8, journal: &[Event]) -> Self {
        let validators: Vec<_> = (1..=count).map(|w| Validator { address: key(w).address(), power: 1 }).collect();
        let first = Chain::new(Box::new(key(1)), net(), 1, &validators).proposer(0);
        let me = (1..=count).find(|w| count == 1 || key(*w).address() != first).unwrap();
        let mut chain = Chain::new(Box::new(key(me)), net(), 1, &validators);
        journal.iter().for_each(|event| chain.apply(event));
        let journal = journal.to_vec();
        let mut play = Self { chain, network: net(), validators, me, count, now: 0, journal, said: Vec::new() };
        play.others().iter().for_each(|other| play.put(Input::PeerUp(id(*other))));
        play.said.retain(|effect| !matches!(effect, Effect::Send { .. }));
        play
    }

    pub(super) fn others(&self) -> Vec<u8> {
        (1..=self.count).filter(|w| *w != self.me).collect()
    }

    pub(super) fn proposer(&self, round: u32) -> u8 {
        (1..=self.count).find(|w| key(*w).address() == self.chain.proposer(round)).unwrap()
    }

    pub(super) fn put(&mut self, input: Input) {
        let now = Now { mono: Mono(self.now), unix: Unix(self.now / 1_000) };
        let mut out = Vec::new();
        self.chain.handle(now, input, &mut out);
        for effect in out {
            match effect {
                Effect::Record(event) => self.journal.push(*event),
                other => self.said.push(other),
            }
        }
    }

    pub(super) fn hear(&mut self, from: u8, message: Message) {
        self.put(Input::Message { from: id(from), message });
    }

    /// Lets time go by, from wake to wake.
    pub(super) fn wait(&mut self, ms: u64) {
        let end = self.now + ms;
        while let Some(at) = self.chain.next_wake().filter(|at| at.0 <= end) {
            self.now = self.now.max(at.0);
            self.put(Input::Tick);
        }
        self.now = end;
    }

    /// The executor's word on the last block that it was given.
    pub(super) fn judge(&mut self, valid: bool) {
        let Some(Effect::Validate { height, block, body, .. }) = self.validates().last() else { return };
        let (height, block, body) = (*height, *block, *body);
        self.put(Input::Validated { height, block, body, valid });
    }

    pub(super) fn written(&mut self, height: u64) {
        let (builder, validators) = (self.chain.proposer(0), self.validators.clone());
        self.put(Input::Committed { height, builder, validators });
    }

    /// What all others made final.
    pub(super) fn final_block(&self, height: u8) -> (Certificate, Vec<u8>) {
        let (block, bytes) = block(height);
        let sign = |who: u8| match vote_at(who, height.into(), VoteKind::Precommit, 0, block) {
            Message::Vote(vote) => vote.signature,
            _ => unreachable!(),
        };
        let signatures = self.others().into_iter().map(sign).collect();
        (Certificate { height: height.into(), round: 0, block, signatures }, bytes)
    }

    pub(super) fn validates(&self) -> Vec<&Effect> {
        self.said.iter().filter(|e| matches!(e, Effect::Validate { .. })).collect()
    }

    pub(super) fn proposals(&self) -> Vec<(u64, u32)> {
        let asked = |e: &Effect| if let Effect::Propose { height, round } = e { Some((*height, *round)) } else { None };
        self.said.iter().filter_map(asked).collect()
    }

    pub(super) fn commits(&self) -> Vec<(Certificate, Vec<u8>)> {
        let commit = |e: &Effect| match e {
            Effect::Commit { certificate, bytes } => Some((certificate.clone(), bytes.clone())),
            _ => None,
        };
        self.said.iter().filter_map(commit).collect()
    }

    /// Our votes: kind, round, block.
    pub(super) fn votes(&self) -> Vec<(VoteKind, u32, Digest)> {
        let vote = |e: &Effect| match e {
            Effect::Broadcast(Message::Vote(v)) => Some((v.vote.kind, v.vote.round, v.vote.block)),
            _ => None,
        };
        self.said.iter().filter_map(vote).collect()
    }

    pub(super) fn refusals(&self) -> Vec<NodeId> {
        let refused = |e: &Effect| match e {
            Effect::Notice(Notice::Refused { from, .. }) => Some(*from),
            _ => None,
        };
        self.said.iter().filter_map(refused).collect()
    }

    pub(super) fn fetches(&self) -> Vec<(NodeId, Message)> {
        let fetch = |e: &Effect| match e {
            Effect::Send { to, message: message @ Message::Fetch { .. } } => Some((*to, message.clone())),
            _ => None,
        };
        self.said.iter().filter_map(fetch).collect()
    }

    /// The highest round that began.
    pub(super) fn round_began(&self) -> Option<u32> {
        let round = |e: &Effect| if let Effect::Notice(Notice::Round { round, .. }) = e { Some(*round) } else { None };
        self.said.iter().filter_map(round).max()
    }
}
