//! Offers reach who is not connected to them, and a job meets whom it needs.

use super::{World, delegation, id, key, net, now, price, providing, spec};
use crate::gossip::{Gossip, OF_ONE_MAX};
use crate::{Hello, Input};
use std::collections::BTreeSet;
use talkoo_base::{AuditPolicy, Card, ModelOffer, Signed, Signer, Tier, Unix};

const LINE: [u8; 5] = [1, 2, 3, 4, 5];
const LINKS: [(u8, u8); 4] = [(1, 2), (2, 3), (3, 4), (4, 5)];

fn knows(world: &World, who: u8, of: u8) -> bool {
    world.nodes[&who].market().peer(&id(of)).is_some_and(|peer| peer.card.as_ref().is_some_and(|card| card.slots > 0))
}

#[test]
fn an_offer_goes_down_a_line_and_its_end_is_met() {
    let mut world = World::linked(&LINE, &LINKS);
    world.tell(5, providing(1));
    assert!(LINE.iter().all(|name| knows(&world, *name, 5)), "{:?}", world.sent);
    world.tell(1, Input::Post(Box::new(spec(1, AuditPolicy::None))));
    assert_eq!(world.met, [id(5)]);
    // It is asked once, until the connection is there.
    world.tell(1, Input::Tick);
    assert_eq!(world.met, [id(5)]);
    world.link(1, 5);
    assert!(world.sent.iter().any(|sent| sent == "1>5 reserve"), "{:?}", world.sent);
}

#[test]
fn who_comes_late_hears_of_all_and_a_withdrawn_offer_is_known_as_such() {
    let mut world = World::linked(&LINE, &LINKS[1..]);
    world.tell(5, providing(1));
    assert!(!knows(&world, 1, 5));
    world.link(1, 2);
    assert!(knows(&world, 1, 5));
    world.tell(5, Input::Provide(None));
    assert!(!LINE[..4].iter().any(|name| knows(&world, *name, 5)));
}

#[test]
fn nothing_is_said_on_twice() {
    // A full graph: each of the four others hears of the card from its owner, and says it on to three at most.
    let mut world = World::of(&LINE);
    world.sent.clear();
    world.tell(5, providing(1));
    let heard = world.sent.iter().filter(|sent| sent.ends_with("heard")).count();
    assert!(heard <= 4 * 3, "{:?}", world.sent);
    world.sent.clear();
    world.tell(1, Input::Tick);
    assert!(world.sent.is_empty());
}

/// A card of node `name`, which ends at `expiry`, signed by node `by`.
fn hello(name: u8, expiry: u64, by: u8) -> Hello {
    let models =
        vec![ModelOffer { program: super::MODEL, tier: Tier::Exact, context: 2_048, prefill_mtps: 1, decode_mtps: 1 }];
    let (operator, expiry) = (key(name).address(), Unix(expiry));
    let build = talkoo_base::Digest([9; 32]);
    let card = Card { version: 1, node: id(name), operator, build, models, slots: 1, price: price(1), expiry };
    Hello { card: Signed::new(card, &net(), &key(by)), delegation: Signed::new(delegation(name), &net(), &key(name)) }
}

#[test]
fn only_whole_and_newer_cards_are_news() {
    let until = now(0).unix.0 + 600;
    let hear = |gossip: &mut Gossip, hello: &Hello| {
        gossip.hear(now(0), (id(1), id(2)), hello, &BTreeSet::new(), &mut Vec::new()).is_some()
    };
    let mut gossip = Gossip::default();
    let cases = [
        ("whole", hello(3, until, 3), true),
        ("again", hello(3, until, 3), false),
        ("older", hello(3, until - 1, 3), false),
        ("newer", hello(3, until + 1, 3), true),
        ("signed by another", hello(4, until, 5), false),
        ("of us", hello(1, until, 1), false),
        ("over", hello(6, now(0).unix.0, 6), false),
        ("good for years", hello(6, until + 100_000_000, 6), false),
    ];
    for (name, hello, want) in cases {
        assert_eq!(hear(&mut gossip, &hello), want, "{name}");
    }
}

#[test]
fn one_peer_brings_so_many_cards_and_others_still_some() {
    let until = now(0).unix.0 + 600;
    let mut gossip = Gossip::default();
    let mut hear = |from: u8, name: u64, at: u64| {
        let secret = talkoo_base::SecretKey::from_bytes(&{
            let mut bytes = [7; 32];
            bytes[24..].copy_from_slice(&name.to_be_bytes());
            bytes
        });
        let (secret, mut hello) = (secret.unwrap(), hello(3, until, 3));
        hello.card.body.node = secret.node_id();
        hello.card.body.operator = secret.address();
        hello.card = Signed::new(hello.card.body, &net(), &secret);
        let (owner, node) = (secret.address(), secret.address());
        hello.delegation = Signed::new(talkoo_base::Delegation { owner, node, ..delegation(3) }, &net(), &secret);
        gossip.hear(now(at), (id(1), id(from)), &hello, &BTreeSet::new(), &mut Vec::new()).is_some()
    };
    let brought = (0..OF_ONE_MAX as u64 + 50).filter(|name| hear(2, *name, 0)).count();
    assert_eq!(brought, OF_ONE_MAX);
    assert!(hear(3, 9_000, 0), "another peer has room of its own");
}
