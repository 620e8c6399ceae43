//! What nodes do together: hello, a whole job, our own work, and prices that rise in between.

use super::{JOB, MODEL, World, delegation, id, key, net, node, now, price, providing, providing_in, spec};
use crate::{Effect, Hello, Input, Message};
use talkoo_base::{AuditPolicy, Card, Delegation, Digest, ModelOffer, RefusalCode, Signed, Signer, Tier, Unix};
use talkoo_job::{JobSpec, JobStatus};
use talkoo_proof::verify_kept;

const CLIENT: u8 = 1;
const WORKER: u8 = 2;
const VERIFIER: u8 = 3;
const STRANGER: u8 = 4;

fn hello() -> Hello {
    let me = key(WORKER).address();
    let card = Card {
        version: 1,
        node: id(WORKER),
        operator: me,
        build: Digest::ZERO,
        models: vec![ModelOffer { program: MODEL, tier: Tier::Exact, context: 2_048, prefill_mtps: 1, decode_mtps: 1 }],
        slots: 1,
        price: price(1),
        expiry: Unix(2_000_000),
    };
    let delegation = Signed::new(delegation(WORKER), &net(), &key(WORKER));
    Hello { card: Signed::new(card, &net(), &key(WORKER)), delegation }
}

#[test]
fn a_card_counts_only_if_it_is_the_senders_own() {
    type Change = fn(&mut Hello);
    fn card(hello: &mut Hello, name: u8, edit: impl FnOnce(&mut Card)) {
        edit(&mut hello.card.body);
        hello.card = Signed::new(hello.card.body.clone(), &net(), &key(name));
    }
    fn owner(hello: &mut Hello, name: u8, edit: impl FnOnce(&mut Delegation)) {
        edit(&mut hello.delegation.body);
        hello.delegation = Signed::new(hello.delegation.body.clone(), &net(), &key(name));
    }
    let cases: &[(&str, u8, bool, Change)] = &[
        ("as it should be", WORKER, true, |_| {}),
        ("an owner apart from the node", WORKER, true, |h| {
            owner(h, STRANGER, |d| d.owner = key(STRANGER).address());
            card(h, WORKER, |c| c.operator = key(STRANGER).address());
        }),
        ("passed on by somebody else", STRANGER, false, |_| {}),
        ("signed by somebody else", WORKER, false, |h| card(h, STRANGER, |_| ())),
        ("of another node", WORKER, false, |h| card(h, WORKER, |c| c.node = id(STRANGER))),
        ("an owner that the delegation does not name", WORKER, false, |h| {
            card(h, WORKER, |c| c.operator = key(STRANGER).address());
        }),
        ("an owner that did not sign", WORKER, false, |h| {
            owner(h, WORKER, |d| d.owner = key(STRANGER).address());
            card(h, WORKER, |c| c.operator = key(STRANGER).address());
        }),
        ("a delegation to another node", WORKER, false, |h| owner(h, WORKER, |d| d.node = id(STRANGER).address())),
        ("a delegation that has expired", WORKER, false, |h| owner(h, WORKER, |d| d.expiry = now(0).unix)),
        ("a delegation to pay and verify only", WORKER, false, |h| owner(h, WORKER, |d| d.roles = 6)),
    ];
    for (name, from, counts, edit) in cases {
        let (mut node, mut hello, mut out) = (node(CLIENT), hello(), Vec::new());
        edit(&mut hello);
        // Over the wire: signers are what the signatures say.
        let bytes = Message::Hello(Box::new(hello)).to_bytes();
        let message = Box::new(Message::from_bytes(&bytes, &net()).unwrap());
        node.handle(now(0), Input::Message { from: id(*from), message }, &mut out);
        assert_eq!(node.market().peers().any(|(_, peer)| peer.card.is_some()), *counts, "{name}");
        assert_eq!(out, [], "{name}");
    }
}

#[test]
fn a_job_of_strangers_is_done_checked_and_paid() {
    let mut world = World::of(&[CLIENT, WORKER, VERIFIER]);
    world.tell(WORKER, providing(2));
    world.tell(CLIENT, Input::Post(Box::new(spec(2, AuditPolicy::Drawn))));
    // Nobody offers to judge, and our own engine cannot.
    assert_eq!(job_status(&world), JobStatus::Finished);
    assert_eq!((world.kept.len(), world.count("1>3 audit")), (2, 0));

    let mut world = World::of(&[CLIENT, WORKER, VERIFIER]);
    world.tell(VERIFIER, providing(3));
    world.tell(WORKER, providing(2));
    world.tell(CLIENT, Input::Post(Box::new(JobSpec { price_max: price(4), ..spec(3, AuditPolicy::Drawn) })));
    assert_eq!(job_status(&world), JobStatus::Finished);
    let audits = world.sent.iter().filter(|s| s.ends_with(" audit")).count();
    let answers = world.sent.iter().filter(|s| s.ends_with(" answer")).count();
    assert_eq!((world.kept.len(), audits, answers), (3, 3, 3));
    for kept in &world.kept {
        let facts = verify_kept(kept).unwrap();
        assert_eq!((facts.units, facts.matched, facts.refuted), (3, 1, 0));
    }
    assert!(world.nodes.values().all(|node| node.proof().open() == (0, 0, 0)));
    let signed: u128 = world.nodes[&CLIENT].proof().accounts().map(|(_, a)| a.signed.0).sum();
    let earned = |name: u8| world.nodes[&name].proof().earnings().map(|(_, e)| e.received.0).sum::<u128>();
    assert_eq!(signed, earned(WORKER) + earned(VERIFIER));
}

#[test]
fn a_float_job_is_done_and_paid_and_nobody_checks_it() {
    let mut world = World::of(&[CLIENT, WORKER, VERIFIER]);
    world.tell(VERIFIER, providing_in(Tier::Float, 3));
    world.tell(WORKER, providing_in(Tier::Float, 2));
    world.tell(CLIENT, Input::Post(Box::new(JobSpec { tier: Tier::Float, ..spec(3, AuditPolicy::Drawn) })));
    assert_eq!(job_status(&world), JobStatus::Finished);
    assert_eq!((world.kept.len(), world.sent.iter().filter(|s| s.ends_with(" audit")).count()), (3, 0));
    for kept in &world.kept {
        let facts = verify_kept(kept).unwrap();
        assert_eq!((facts.tier, facts.units, facts.matched), (Tier::Float, 3, 0));
    }
    let job = world.nodes[&CLIENT].jobs().get(&JOB).unwrap();
    assert!(job.steps().iter().all(|step| step.done().is_some_and(|done| !done.audited)));
    let earned = |name: u8| world.nodes[&name].proof().earnings().map(|(_, e)| e.received.0).sum::<u128>();
    let signed: u128 = world.nodes[&CLIENT].proof().accounts().map(|(_, a)| a.signed.0).sum();
    assert!(signed > 0 && signed == earned(WORKER) + earned(VERIFIER));
}

#[test]
fn a_client_never_gets_another_tier_than_it_asked_for() {
    for (asked, offered) in [(Tier::Exact, Tier::Float), (Tier::Float, Tier::Exact)] {
        let mut world = World::of(&[CLIENT, WORKER]);
        world.tell(WORKER, providing_in(offered, 1));
        world.tell(CLIENT, Input::Post(Box::new(JobSpec { tier: asked, ..spec(1, AuditPolicy::Drawn) })));
        let why = world.nodes[&CLIENT].market().explain(&JOB);
        let no: Vec<_> = why.iter().map(|(_, no)| (no.code, no.have.as_deref())).collect();
        assert_eq!(no, [(RefusalCode::UnknownModel, Some(offered.name()))]);
        assert_eq!((job_status(&world), world.count("1>2 reserve")), (JobStatus::Open, 0));
        // The tier it asked for is welcome as soon as it is there.
        world.tell(WORKER, providing_in(asked, 1));
        assert_eq!(job_status(&world), JobStatus::Finished);
    }
}

fn job_status(world: &World) -> JobStatus {
    world.nodes[&CLIENT].jobs().get(&JOB).unwrap().status
}

#[test]
fn one_node_works_for_itself_through_the_same_messages() {
    let mut world = World::of(&[CLIENT]);
    world.tell(CLIENT, Input::Post(Box::new(JobSpec { own: true, ..spec(3, AuditPolicy::Drawn) })));
    assert_eq!(job_status(&world), JobStatus::Open);
    world.tell(CLIENT, providing(1));
    assert_eq!(job_status(&world), JobStatus::Finished);
    assert_eq!((world.sent.len(), world.kept.len()), (0, 3));
    let node = &world.nodes[&CLIENT];
    assert_eq!((node.proof().open(), node.market().holds(&id(CLIENT))), ((0, 0, 0), 0));
    for kept in &world.kept {
        let facts = verify_kept(kept).unwrap();
        assert_eq!((facts.client, facts.worker, facts.units), (id(CLIENT).address(), id(CLIENT).address(), 3));
    }
}

#[test]
fn a_restart_folds_the_journal_and_goes_on() {
    let mut world = World::of(&[CLIENT, WORKER]);
    world.tell(WORKER, providing(2));
    world.tell(CLIENT, Input::Post(Box::new(spec(1, AuditPolicy::None))));
    world.held = Some(Vec::new());
    world.tell(
        CLIENT,
        Input::Post(Box::new(JobSpec { id: talkoo_base::JobId(Digest([2; 32])), ..spec(2, AuditPolicy::None) })),
    );
    let accounts: Vec<_> = world.nodes[&CLIENT].proof().accounts().map(|(n, a)| (*n, *a)).collect();
    // The client dies while the worker runs.
    let mut again = node(CLIENT);
    for event in &world.events[&CLIENT] {
        let bytes = event.to_bytes();
        again.apply(&crate::Event::from_bytes(&bytes).unwrap());
    }
    assert_eq!(again.proof().accounts().map(|(n, a)| (*n, *a)).collect::<Vec<_>>(), accounts);
    assert_eq!(again.jobs().iter().map(|j| j.status).collect::<Vec<_>>(), [JobStatus::Finished, JobStatus::Open]);
    world.nodes.insert(CLIENT, again);
    world.held = None;
    for (a, b) in [(WORKER, CLIENT), (CLIENT, WORKER)] {
        world.tell(a, Input::PeerDown(id(b)));
    }
    world.tell(CLIENT, Input::Restarted);
    world.tell(CLIENT, Input::PeerUp(id(WORKER)));
    world.tell(WORKER, Input::PeerUp(id(CLIENT)));
    assert!(world.nodes[&CLIENT].jobs().iter().all(|j| j.status == JobStatus::Finished));
}

#[test]
fn a_price_that_rises_after_the_reservation_is_not_paid() {
    let mut world = World::of(&[CLIENT, WORKER]);
    world.tell(WORKER, providing(10));
    world.held = Some(Vec::new());
    world.tell(CLIENT, Input::Post(Box::new(spec(2, AuditPolicy::None))));
    world.tell(WORKER, providing(11));
    world.release();
    // What was agreed is paid as agreed: ten tokens at 10.
    let signed = |world: &World| world.nodes[&CLIENT].proof().accounts().map(|(_, a)| a.signed.0).sum::<u128>();
    assert_eq!((world.count("1>2 lease"), signed(&world)), (1, 100));
    world.at = 2_000;
    world.tell(CLIENT, Input::Tick);
    let why = world.nodes[&CLIENT].market().explain(&JOB);
    assert_eq!(why.iter().map(|(_, no)| no.code).collect::<Vec<_>>(), [RefusalCode::PriceAboveMax]);
    // It comes to its senses.
    world.tell(WORKER, providing(10));
    assert_eq!((job_status(&world), signed(&world)), (JobStatus::Finished, 200));
}

#[test]
fn a_verifier_that_is_dearer_than_the_job_allows_is_not_asked() {
    for (asks, audits) in [(10, 1), (11, 0), (u128::MAX >> 40, 0)] {
        let mut world = World::of(&[CLIENT, WORKER, VERIFIER]);
        world.tell(WORKER, providing(1));
        world.held = Some(Vec::new());
        world.tell(CLIENT, Input::Post(Box::new(spec(1, AuditPolicy::Drawn))));
        world.tell(VERIFIER, providing(asks));
        world.release();
        assert_eq!(job_status(&world), JobStatus::Finished);
        assert_eq!(world.count("1>3 audit"), audits, "at {asks}");
    }
}

#[test]
fn cards_are_renewed_before_they_expire_and_withdrawn_at_once() {
    let mut world = World::of(&[CLIENT, WORKER]);
    world.tell(WORKER, providing(1));
    assert_eq!(world.count("2>1 hello"), 1);
    world.at = world.nodes[&WORKER].next_wake().unwrap().0;
    assert!(world.at < 600_000);
    world.tell(WORKER, Input::Tick);
    assert_eq!(world.count("2>1 hello"), 2);
    world.tell(WORKER, Input::Provide(None));
    world.tell(CLIENT, Input::Post(Box::new(spec(1, AuditPolicy::None))));
    assert_eq!(world.nodes[&CLIENT].market().explain(&JOB)[0].1.code, RefusalCode::NotProviding);
    assert_eq!((world.count("1>2 reserve"), world.nodes[&WORKER].next_wake()), (0, None));
}

#[test]
fn what_peers_say_out_of_turn_does_nothing() {
    let mut world = World::of(&[CLIENT, WORKER, VERIFIER]);
    world.tell(WORKER, providing(2));
    world.tell(VERIFIER, providing(2));
    let silent = world.events.clone();
    for (_, message) in super::wire::messages() {
        let says = message.clone();
        let mut out = Vec::new();
        let node = world.nodes.get_mut(&CLIENT).unwrap();
        node.handle(now(0), Input::Message { from: id(STRANGER), message: Box::new(says) }, &mut out);
        let only_no = |e: &Effect| matches!(e, Effect::Send { message, .. } if ["refused", "close"].contains(&super::kind(message)));
        assert!(out.iter().all(only_no), "{message:?}: {out:?}");
    }
    assert_eq!(world.events, silent);
    assert_eq!(world.nodes[&CLIENT].next_wake(), None);
}
