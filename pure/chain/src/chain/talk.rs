//! What peers say: about this height, about the next one, about blocks that are final.

use super::Chain;
use crate::catchup::Sent;
use crate::context::Ctx;
use crate::limits::{EARLY_PER_VALIDATOR_MAX, PEERS_MAX};
use crate::wire::Message;
use crate::{Effect, Notice, journal};
use malachite::Input as Fed;
use std::cmp::Ordering;
use talkoo_base::{Address, NodeId, keccak256};

impl Chain {
    pub(super) fn peer_up(&mut self, peer: NodeId, out: &mut Vec<Effect>) {
        // Strangers cannot take the validators' places.
        let place = self.peers.len() < PEERS_MAX || self.validators.get(peer.address()).is_some();
        if place && self.peers.insert(peer) {
            out.push(Effect::Send { to: peer, message: self.status(false) });
        }
    }

    pub(super) fn status(&self, ready: bool) -> Message {
        Message::Status { height: self.height - 1, ready }
    }

    pub(super) fn message(&mut self, from: NodeId, message: Message, out: &mut Vec<Effect>) {
        if !self.peers.contains(&from) {
            return;
        }
        match message {
            Message::Status { height, ready } => {
                self.catch_up.note(self.host.now, self.height, from, height);
                if height + 1 < self.height {
                    out.push(Effect::Send { to: from, message: self.status(false) });
                }
                let now = ready && height + 1 == self.height && !self.started && self.committing.is_none();
                if now && self.validators.get(from.address()).is_some() {
                    self.start_core(false, out);
                }
            }
            Message::Fetch { height, count } => {
                let have = u32::try_from(self.height.saturating_sub(height)).unwrap_or(u32::MAX);
                if have > 0 {
                    out.push(Effect::Serve { to: from, height, count: count.min(have) });
                }
            }
            Message::Block { certificate, bytes } => {
                if self.catch_up.got(self.host.now, self.height, Sent { from, certificate, bytes }) {
                    self.advance(out);
                }
            }
            message @ (Message::Vote(_) | Message::Proposal { .. } | Message::Polka { .. } | Message::Round { .. }) => {
                self.agree(from, message, out);
            }
        }
    }

    /// A message about a height that is not final for its sender.
    pub(super) fn agree(&mut self, from: NodeId, message: Message, out: &mut Vec<Effect>) {
        let Some(height) = message.height() else { return };
        match height.cmp(&self.height) {
            Ordering::Less => {}
            Ordering::Greater => {
                self.catch_up.note(self.host.now, self.height, from, height - 1);
                // Only a validator has something to say so early: a stranger's block is not worth the memory.
                if height == self.height + 1
                    && let Some(author) = self.author(&message)
                {
                    let early = self.early.entry(author).or_default();
                    let is_block = |m: &Message| matches!(m, Message::Proposal { .. });
                    let second = is_block(&message) && early.iter().any(|(_, m)| is_block(m));
                    let twice = early.iter().any(|(_, m)| *m == message);
                    if early.len() < EARLY_PER_VALIDATOR_MAX && !second && !twice {
                        early.push((from, message));
                    }
                }
            }
            Ordering::Equal if self.committing.is_some() => {}
            Ordering::Equal if self.is_authentic(&message) => {
                if let Some(here) = self.host.is_ours(&message) {
                    if !here {
                        out.push(Effect::Notice(Notice::Doubled { height }));
                    }
                    return;
                }
                if !self.started {
                    self.start_core(false, out);
                }
                self.relay(from, &message, out);
                self.feed(message, out);
            }
            Ordering::Equal => self.refuse(from, "its message is not signed by a validator whose turn it is", out),
        }
    }

    /// Whether a validator whose turn it is made it: nobody else begins a height.
    fn is_authentic(&mut self, message: &Message) -> bool {
        let Some(author) = self.author(message) else { return false };
        let Message::Proposal { proposal, .. } = message else { return true };
        author == self.validators.proposer(self.height, proposal.proposal.round).address.0
    }

    /// The validator that made a message, if it is signed, and a block the one that was proposed.
    fn author(&mut self, message: &Message) -> Option<Address> {
        let (author, signed) = match message {
            Message::Vote(signed) => (signed.validator, self.host.is_vote(signed)),
            Message::Proposal { proposal, bytes } => {
                let same = keccak256(&[bytes]) == proposal.proposal.body;
                (proposal.proposer, same && self.host.is_proposal(proposal))
            }
            Message::Polka { votes } | Message::Round { votes, .. } => {
                let first = votes.first()?;
                (first.validator, self.host.is_vote(first))
            }
            Message::Status { .. } | Message::Fetch { .. } | Message::Block { .. } => return None,
        };
        (signed && self.validators.get(author).is_some()).then_some(author)
    }

    /// Says on to the other peers, who may not be connected to its maker, what moves a round: once, and again when it is
    /// said again.
    fn relay(&mut self, from: NodeId, message: &Message, out: &mut Vec<Effect>) {
        if self.host.is_news(message) {
            let others = self.peers.iter().filter(|peer| **peer != from);
            out.extend(others.map(|to| Effect::Send { to: *to, message: message.clone() }));
        }
    }

    fn feed(&mut self, message: Message, out: &mut Vec<Effect>) {
        let input = match message {
            Message::Vote(signed) => Some(Fed::Vote(Ctx::vote(&signed))),
            Message::Proposal { proposal, bytes } => {
                self.host.incoming = Some(bytes);
                Some(Fed::Proposal(Ctx::proposal(&proposal)))
            }
            Message::Polka { votes } => journal::polka(&votes).map(Fed::PolkaCertificate),
            Message::Round { skip, votes } => journal::round(skip, &votes).map(Fed::RoundCertificate),
            Message::Status { .. } | Message::Fetch { .. } | Message::Block { .. } => None,
        };
        if let Some(input) = input {
            self.step(input, out);
        }
    }

    pub(super) fn refuse(&mut self, from: NodeId, why: &'static str, out: &mut Vec<Effect>) {
        self.catch_up.drop_peer(self.host.now, self.height, from);
        out.push(Effect::Notice(Notice::Refused { from, why }));
    }

    /// Takes the next block that a peer sent.
    pub(super) fn advance(&mut self, out: &mut Vec<Effect>) {
        if self.committing.is_some() || self.catch_up.executing.is_some() {
            return;
        }
        let Some(sent) = self.catch_up.take(self.height) else { return };
        if !self.host.is_final(&self.validators, &sent.certificate) {
            return self.refuse(sent.from, "it sent a block whose certificate proves nothing", out);
        }
        let block = sent.certificate.block;
        if let Some(bytes) = self.host.valid_bytes(block).cloned() {
            return self.commit(sent.certificate, bytes, out);
        }
        let (height, body, bytes) = (self.height, keccak256(&[&sent.bytes]), sent.bytes.clone());
        self.catch_up.executing = Some((sent, body));
        out.push(Effect::Validate { height, block, body, builder: None, bytes });
    }
}
