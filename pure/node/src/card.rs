//! Our own card: who gets it and when it is renewed.

use crate::{Effect, Hello, Message};
use std::collections::BTreeSet;
use std::sync::Arc;
use talkoo_base::wire::{Signed, VERSION};
use talkoo_base::{Card, Delegation, Digest, ModelOffer, Mono, Network, NodeId, Now, Price, Signer, Unix};
use talkoo_market::Ask;

/// How long a card is good for, in seconds.
pub(crate) const CARD_S: u64 = 600;
/// A card is renewed when this much of it is left, in milliseconds.
const RENEW_MS: u64 = 200_000;
/// The role that lets a node work for its owner; see [`Delegation::roles`].
const WORK_ROLE: u8 = 1;

/// What a node offers as a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Providing {
    /// Models, with the speed that our own bench measured.
    pub models: Vec<ModelOffer>,
    /// Leases at once.
    pub slots: u32,
    /// Least price.
    pub price: Price,
}

impl Providing {
    pub(crate) fn ask(&self) -> Ask {
        let programs = self.models.iter().map(|m| (m.program, (m.tier, m.context))).collect();
        Ask { programs, slots: self.slots, price: self.price }
    }
}

pub(crate) struct Cards {
    me: NodeId,
    network: Network,
    signer: Arc<dyn Signer>,
    delegation: Signed<Delegation>,
    build: Digest,
    providing: Option<Providing>,
    pub(crate) peers: BTreeSet<NodeId>,
    renew_at: Option<Mono>,
    latest: Unix,
}

impl Cards {
    pub(crate) fn new(
        me: NodeId,
        network: Network,
        signer: Arc<dyn Signer>,
        delegation: Signed<Delegation>,
        build: Digest,
    ) -> Self {
        let peers = BTreeSet::new();
        Self { me, network, signer, delegation, build, providing: None, peers, renew_at: None, latest: Unix(0) }
    }

    pub(crate) fn next_wake(&self) -> Option<Mono> {
        self.renew_at
    }

    /// A new peer hears what we offer.
    pub(crate) fn peer_up(&mut self, now: Now, peer: NodeId, out: &mut Vec<Effect>) {
        self.peers.insert(peer);
        if self.providing.is_some() {
            let hello = self.hello(now);
            out.push(Effect::Send { to: peer, message: Box::new(Message::Hello(Box::new(hello))) });
        }
    }

    pub(crate) fn peer_down(&mut self, peer: &NodeId) {
        self.peers.remove(peer);
    }

    /// Our offer changed: everybody hears it. Returns our own card, for our own book.
    pub(crate) fn provide(&mut self, now: Now, providing: Option<Providing>, out: &mut Vec<Effect>) -> Card {
        self.providing = providing;
        self.broadcast(now, out)
    }

    pub(crate) fn tick(&mut self, now: Now, out: &mut Vec<Effect>) -> Option<Card> {
        let due = self.renew_at.is_some_and(|at| at <= now.mono);
        due.then(|| self.broadcast(now, out))
    }

    fn broadcast(&mut self, now: Now, out: &mut Vec<Effect>) -> Card {
        let hello = self.hello(now);
        self.renew_at = self.providing.is_some().then(|| now.mono + (CARD_S * 1_000 - RENEW_MS));
        for peer in &self.peers {
            out.push(Effect::Send { to: *peer, message: Box::new(Message::Hello(Box::new(hello.clone()))) });
        }
        hello.card.body
    }

    fn hello(&mut self, now: Now) -> Hello {
        let nothing = Providing { models: Vec::new(), slots: 0, price: Price::default() };
        let offer = self.providing.clone().unwrap_or(nothing);
        // Later cards expire later, so that the newest always wins.
        self.latest = Unix((now.unix.0 + CARD_S).max(self.latest.0 + 1));
        let card = Card {
            version: VERSION,
            node: self.me,
            operator: self.delegation.body.owner,
            build: self.build,
            models: offer.models,
            slots: offer.slots,
            price: offer.price,
            expiry: self.latest,
        };
        Hello { card: Signed::new(card, &self.network, self.signer.as_ref()), delegation: self.delegation.clone() }
    }
}

/// Whether a peer's card is its own, by an owner who empowered it.
pub(crate) fn genuine(hello: &Hello, from: NodeId, now: Now) -> bool {
    let (card, delegation) = (&hello.card, &hello.delegation);
    let address = from.address();
    card.signer == address
        && card.body.node == from
        && delegation.body.node == address
        && delegation.signer == delegation.body.owner
        && delegation.body.owner == card.body.operator
        && delegation.body.expiry > now.unix
        && delegation.body.roles & WORK_ROLE != 0
}
