//! Embeddings: one chunk, the whole vector; only the text is priced; checked by a re-run, and no contract is asked.

use super::{ATTEMPT, Nodes, PRICE, candidate, digest, id, key, net, show, work};
use crate::commit::{output_root, trace_root};
use crate::{Chunk, Effect, Input, Message, Order, Terms, Ticket, verify_kept};
use talkoo_base::wire::Typed;
use talkoo_base::{
    Amount, AuditPolicy, Finish, GenerateParams, Kind, LeaseId, Price, RefusalCode, Request, Signed, Tier, Work,
};

/// Numbers of a vector: more than a chunk of text has tokens.
const NUMBERS: u32 = 40;

fn order(nodes: &mut Nodes, audit: AuditPolicy) -> (Order, LeaseId) {
    let work = Box::new(Work { kind: Kind::Embed, params: Kind::params_of_embed(NUMBERS), ..work(NUMBERS) });
    let out = nodes.check('C', Input::Open { attempt: ATTEMPT, worker: candidate('W'), work, audit }, "W<lease");
    let Effect::Send { message: Message::Lease(order), .. } = &out[0] else { unreachable!() };
    (*order.clone(), LeaseId(order.request.body.digest(&net())))
}

fn take(nodes: &mut Nodes, order: &Order) -> String {
    nodes.tell('W', Input::Terms(Some(Terms { price: PRICE, slots: 64, tier: Tier::Exact })));
    show(&nodes.tell('W', Input::Message { from: id('C'), message: Message::Lease(Box::new(order.clone())) }))
}

/// The vector as W's engine gives it.
fn made(nodes: &mut Nodes, lease: LeaseId) -> Chunk {
    let (ticket, tokens) = (Ticket::Sale(lease), (0..NUMBERS).collect());
    let made = Input::Produced { ticket, index: 0, tokens, digest: digest(0), logprobs: None, finish: Finish::Stop };
    let out = nodes.check('W', made, "C<chunk 0");
    let Effect::Send { message: Message::Chunk(chunk), .. } = &out[0] else { unreachable!() };
    *chunk.clone()
}

/// An embedding from order to verdict, and what the client did after delivery.
fn deliver(nodes: &mut Nodes, audit: AuditPolicy) -> String {
    let (order, lease) = order(nodes, audit);
    assert_eq!(take(nodes, &order), "used C, run sale, credit 2");
    let chunk = made(nodes, lease);
    let out = nodes.send('W', 'C', Message::Chunk(Box::new(chunk)));
    nodes.carry('C', out);
    nodes.told.join(", ")
}

#[test]
fn a_vector_is_one_chunk_and_costs_what_its_text_does() {
    let mut nodes = Nodes::new(false);
    let told = deliver(&mut nodes, AuditPolicy::None);
    assert_eq!(told, "paid W 10, delivered 40 Stop, accepted W 10, keep, stands");
    let kept = nodes.kept.take().unwrap();
    assert_eq!(kept.request.body.price, Price { output: 0, ..PRICE });
    assert_eq!((kept.links.len(), kept.links[0].receipt.body.units), (1, u64::from(NUMBERS)));
    let facts = verify_kept(&kept).unwrap();
    let rerun = facts.rerun.unwrap();
    assert_eq!((facts.paid, rerun.work.kind, rerun.output.len()), (Amount(10), Kind::Embed, 40));
}

#[test]
fn half_a_vector_is_a_false_receipt() {
    let mut nodes = Nodes::new(false);
    let (order, lease) = order(&mut nodes, AuditPolicy::None);
    take(&mut nodes, &order);
    let mut chunk = made(&mut nodes, lease);
    chunk.tokens.truncate(32);
    let mut body = chunk.receipt.body.clone();
    (body.units, body.output_root) = (32, output_root(&order.trace_salt, &chunk.tokens));
    body.trace_root = trace_root(&[chunk.digest]);
    chunk.receipt = Signed::new(body, &net(), &key('W'));
    let out = nodes.send('W', 'C', Message::Chunk(Box::new(chunk)));
    assert_eq!(show(&out), "broken false receipt: not the whole vector, refuted W, convicted W");
}

#[test]
fn nothing_but_a_vector_is_made_of_such_an_order() {
    type Case<'a> = (&'a str, RefusalCode, fn(&mut Request));
    let orders: [Case<'_>; 4] = [
        ("sampled", RefusalCode::Malformed, |r| {
            let params = GenerateParams { temperature_q16: 1, ..Kind::params_of_embed(NUMBERS) };
            r.params = params.to_bytes();
        }),
        ("endless", RefusalCode::Malformed, |r| {
            r.params = Kind::params_of_embed(8_193).to_bytes();
            r.limits.output_units = 8_193;
        }),
        ("too cheap", RefusalCode::PriceTooLow, |r| r.price.input -= 1),
        ("of another kind", RefusalCode::PriceTooLow, |r| r.kind = Kind::Generate),
    ];
    for (name, code, edit) in orders {
        let mut nodes = Nodes::new(false);
        let (mut order, _) = order(&mut nodes, AuditPolicy::None);
        edit(&mut order.request.body);
        order.request = Signed::new(order.request.body.clone(), &net(), &key('C'));
        // What the parameters are is part of what the prompt's root was signed with.
        let prompt = crate::commit::prompt_root(&order.prompt_salt, &order.prompt);
        let params = GenerateParams::from_bytes(&order.request.body.params).unwrap();
        let work = Work { params, kind: order.request.body.kind, ..work(NUMBERS) };
        order.request.body.inputs = vec![prompt, crate::commit::trace_id(&order.trace_salt, &prompt, &work)];
        order.request = Signed::new(order.request.body.clone(), &net(), &key('C'));
        assert_eq!(take(&mut nodes, &order), format!("C<close {code}"), "{name}");
    }
}

fn found(ticket: Ticket, digest: talkoo_base::Digest, diverged: Option<u64>) -> Input {
    Input::Verified { ticket, digests: vec![digest], diverged, finish: Finish::Stop }
}

#[test]
fn a_verifier_is_paid_for_the_text_alone() {
    let mut nodes = Nodes::new(false);
    let (order, lease) = order(&mut nodes, AuditPolicy::Drawn);
    take(&mut nodes, &order);
    let chunk = made(&mut nodes, lease);
    nodes.send('W', 'C', Message::Chunk(Box::new(chunk)));
    let out = nodes.tell('C', Input::Candidates { lease, nodes: vec![candidate('V')] });
    let audit = out.iter().find_map(|effect| match effect {
        Effect::Send { message: Message::Lease(order), .. } => Some(order.clone()),
        _ => None,
    });
    let audit = audit.unwrap();
    let asked = LeaseId(audit.request.body.digest(&net()));
    assert_eq!((audit.request.body.limits.input_units, audit.rerun.as_ref().unwrap().len()), (10, 40));
    nodes.send('C', 'V', Message::Lease(audit));
    let out = nodes.tell('V', found(Ticket::Sale(asked), digest(0), None));
    assert_eq!(show(&out), "C<commit");
    nodes.carry('V', out);
    assert_eq!(nodes.told.join(", "), "paid V 10, accepted V 10, (equal), accepted W 10 audited, keep, stands audited");
}

#[test]
fn a_false_vector_is_refuted_and_brought_before_no_contract() {
    let mut nodes = Nodes::new(true);
    let (order, lease) = order(&mut nodes, AuditPolicy::Own);
    take(&mut nodes, &order);
    let chunk = made(&mut nodes, lease);
    let out = nodes.send('W', 'C', Message::Chunk(Box::new(chunk)));
    assert!(show(&out).ends_with("re-run own, (asks own engine)"), "{}", show(&out));
    let out = nodes.tell('C', found(Ticket::Own(lease), digest(7), Some(3)));
    assert_eq!(show(&out), "keep, refuted W, convicted W, W<warning answer_refuted, falls audited, (different)");
    let why = out.iter().find_map(|effect| match effect {
        Effect::Convicted { refusal, .. } => Some(refusal.message.clone()),
        _ => None,
    });
    assert_eq!(why.unwrap(), "its vector for step 3 is not the one that the model gives");
}
