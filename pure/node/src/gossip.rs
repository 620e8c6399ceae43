//! Cards of nodes that are not our peers. A card that is news is said on to a few peers, so offers reach those who are
//! connected to nobody near; who needs such a worker asks to meet it.
//!
//! A card counts by its signatures alone, so who brings it can neither invent nor change one; it can only bring many of its own
//! nodes. Therefore one peer's news take a bounded part of the memory, and nothing is said on twice.

use crate::card::{CARD_S, genuine};
use crate::wire::Hello;
use crate::{Effect, Message};
use std::collections::{BTreeMap, BTreeSet};
use talkoo_base::limits::CLOCK_SKEW_S_MAX;
use talkoo_base::{Card, NodeId, Now, sha256};

/// Cards that are kept.
pub(crate) const KNOWN_MAX: usize = 4_096;
/// Of these, cards that one peer brought.
pub(crate) const OF_ONE_MAX: usize = 512;
/// Peers that hear of a card.
const FANOUT: usize = 2;
/// Cards that a newcomer hears of one peer, and peers that it asks.
const GREETING: usize = 32;
const ASKED_MAX: usize = 3;

/// A card, and which peer brought it.
struct Known {
    hello: Hello,
    from: NodeId,
}

/// The cards that are known.
#[derive(Default)]
pub(crate) struct Gossip {
    known: BTreeMap<NodeId, Known>,
    /// Peers that were asked for what they know.
    asked: usize,
    /// Peers that were told, as long as they stay.
    told: BTreeSet<NodeId>,
}

impl Gossip {
    /// Takes a card that `from` brought, of itself or of another; says it on if it is news. The card if it is.
    pub(crate) fn hear(
        &mut self,
        now: Now,
        (me, from): (NodeId, NodeId),
        hello: &Hello,
        peers: &BTreeSet<NodeId>,
        out: &mut Vec<Effect>,
    ) -> Option<Card> {
        let card = &hello.card.body;
        let until = now.unix.0 + CARD_S + CLOCK_SKEW_S_MAX;
        let is_whole = genuine(hello, card.node, now) && card.expiry > now.unix && card.expiry.0 <= until;
        let is_news = self.known.get(&card.node).is_none_or(|known| known.hello.card.body.expiry < card.expiry);
        if card.node == me || !is_whole || !is_news || !self.has_room(now, from, &card.node) {
            return None;
        }
        self.known.insert(card.node, Known { hello: hello.clone(), from });
        // Everybody chooses others, so that a card gets everywhere.
        let first = sha256(&[me.as_bytes(), &hello.card.signature.0]).first_u64() as usize % peers.len().max(1);
        let others = peers.iter().cycle().skip(first).take(peers.len());
        let others = others.filter(|peer| **peer != from && **peer != card.node);
        out.extend(others.take(FANOUT).map(|to| heard(*to, hello)));
        Some(card.clone())
    }

    /// The first peers are asked what they have heard.
    pub(crate) fn peer_up(&mut self, peer: NodeId, out: &mut Vec<Effect>) {
        if self.asked < ASKED_MAX {
            self.asked += 1;
            out.push(Effect::Send { to: peer, message: Box::new(Message::Cards) });
        }
    }

    pub(crate) fn peer_down(&mut self, peer: &NodeId) {
        self.told.remove(peer);
    }

    /// A newcomer hears the last cards of others, once.
    pub(crate) fn tell(&mut self, peer: NodeId, out: &mut Vec<Effect>) {
        if !self.told.insert(peer) {
            return;
        }
        let offers = |known: &&Known| known.hello.card.body.slots > 0 && known.hello.card.body.node != peer;
        let mut offers: Vec<&Known> = self.known.values().filter(offers).collect();
        offers.sort_by_key(|known| std::cmp::Reverse(known.hello.card.body.expiry));
        out.extend(offers.into_iter().take(GREETING).map(|known| heard(peer, &known.hello)));
    }

    /// Makes room for one more card, if its bringer may have one.
    fn has_room(&mut self, now: Now, from: NodeId, node: &NodeId) -> bool {
        if self.known.contains_key(node) || from == *node && self.known.len() < KNOWN_MAX {
            return true;
        }
        let of_one = self.known.values().filter(|known| known.from == from).count();
        if of_one < OF_ONE_MAX && self.known.len() < KNOWN_MAX {
            return true;
        }
        self.known.retain(|_, known| known.hello.card.body.expiry > now.unix);
        let of_one = self.known.values().filter(|known| known.from == from).count();
        of_one < OF_ONE_MAX && self.known.len() < KNOWN_MAX
    }
}

fn heard(to: NodeId, hello: &Hello) -> Effect {
    Effect::Send { to, message: Box::new(Message::Heard(Box::new(hello.clone()))) }
}
