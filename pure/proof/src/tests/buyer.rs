//! The client's side: what a chunk must be, what it is paid, and what a false one costs.

use super::{ATTEMPT, Nodes, Word, candidate, digest, id, key, net, operator, show, work};
use crate::commit::trace_root;
use crate::{Chunk, Effect, Input, Message, Notice, Ticket};
use talkoo_base::wire::Typed;
use talkoo_base::{
    Amount, Attempt, AuditPolicy, Digest, Finish, GenerateParams, LeaseId, Logprobs, Receipt, Refusal, RefusalCode,
    Signed, Tier, TokenLogprobs, Unit, Work,
};

fn sign(chunk: &mut Chunk, name: char) {
    chunk.receipt = Signed::new(chunk.receipt.body.clone(), &net(), &key(name));
}

fn says(from: char, chunk: Chunk) -> Input {
    Input::Message { from: id(from), message: Message::Chunk(Box::new(chunk)) }
}

#[test]
fn every_false_receipt_convicts_with_its_reason() {
    type Lie = fn(&mut Chunk);
    fn lie(chunk: &mut Chunk, edit: impl FnOnce(&mut Receipt)) {
        edit(&mut chunk.receipt.body);
        sign(chunk, 'W');
    }
    fn length(chunk: &mut Chunk, tokens: u32, finish: Finish) {
        chunk.tokens = (0..tokens).collect();
        lie(chunk, |r| (r.units, r.finish) = (tokens.into(), finish));
    }
    // Of a first chunk of 32 tokens where 40 are allowed.
    let cases: &[(&str, Lie)] = &[
        ("signed by another key", |c| sign(c, 'X')),
        ("names another node", |c| lie(c, |r| r.node = id('X').address())),
        ("names another operator", |c| lie(c, |r| r.operator = operator('X'))),
        ("answers another request", |c| lie(c, |r| r.request = Digest::ZERO)),
        ("names another channel", |c| lie(c, |r| r.channel = Digest::ZERO)),
        ("wrong tier or unit", |c| lie(c, |r| r.tier = Tier::Float)),
        ("wrong tier or unit", |c| lie(c, |r| r.unit = Unit::Byte)),
        ("wrong number of tokens", |c| lie(c, |r| r.units = 33)),
        ("wrong number of tokens", |c| lie(c, |r| r.units = 31)),
        ("wrong number of tokens", |c| length(c, 41, Finish::Length)),
        ("short chunk", |c| length(c, 31, Finish::Running)),
        ("short chunk", |c| length(c, 0, Finish::Length)),
        ("long chunk", |c| length(c, 33, Finish::Stop)),
        ("ends in a way no worker may", |c| lie(c, |r| r.finish = Finish::Cancelled)),
        ("ends in a way no worker may", |c| lie(c, |r| r.finish = Finish::Diverged)),
        ("wrong output root", |c| c.tokens[31] ^= 1),
        ("wrong output root", |c| lie(c, |r| r.output_root = Digest::ZERO)),
        ("wrong trace root", |c| c.digest = digest(9)),
        ("wrong trace root", |c| lie(c, |r| r.trace_root = Digest::ZERO)),
    ];
    for (why, tamper) in cases {
        let mut nodes = Nodes::new(false);
        let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
        let mut chunk = nodes.chunk('W', lease, 0);
        tamper(&mut chunk);
        nodes.check('C', says('W', chunk.clone()), &format!("broken false receipt: {why}, refuted W, convicted W"));
        nodes.check('C', says('W', chunk), "");
        assert_eq!(nodes.nodes[&'C'].open(), (0, 0, 0));
    }
    // A wrong sum may be that of an honest worker whose client lost its journal.
    let mut nodes = Nodes::new(false);
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    let mut chunk = nodes.chunk('W', lease, 0);
    lie(&mut chunk, |r| r.cumulative = Amount(43));
    let refused = "broken the worker asks for more than we signed for and this work is worth";
    nodes.check('C', says('W', chunk.clone()), &format!("W<close bad_voucher, {refused}"));
    nodes.check('C', says('W', chunk), "");
    assert_eq!(nodes.nodes[&'C'].open(), (0, 0, 0));
    // The one rule that needs a full last chunk: at 32 of 32 tokens the output has to end.
    let mut nodes = Nodes::new(false);
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 32, AuditPolicy::Drawn);
    let chunk = nodes.chunk('W', lease, 0);
    nodes.check('C', says('W', chunk), "broken false receipt: runs past its end, refuted W, convicted W");
}

/// The log probabilities of `tokens` tokens, each with one other.
fn told(tokens: usize, inner: Digest) -> Logprobs {
    let mut bytes = Vec::new();
    (0..tokens).for_each(|_| TokenLogprobs { chosen: -9, top: vec![(4, -2)] }.push_bytes(&mut bytes));
    Logprobs { inner, bytes }
}

/// The client orders 32 tokens with this many likeliest, the worker answers with one each; its message.
fn chunk_with(nodes: &mut Nodes, top_logprobs: Option<u32>, audit: AuditPolicy) -> Chunk {
    let params = GenerateParams { top_logprobs, ..work(32).params };
    let work = Box::new(Work { params, ..work(32) });
    let out = nodes.tell('C', Input::Open { attempt: ATTEMPT, worker: candidate('W'), work, audit });
    let Effect::Send { message: Message::Lease(order), .. } = &out[0] else { unreachable!() };
    nodes.send('C', 'W', Message::Lease(order.clone()));
    let (ticket, tokens) = (Ticket::Sale(LeaseId(order.request.body.digest(&net()))), (0..32).collect());
    let logprobs = told(32, digest(0));
    let (digest, logprobs, finish) = (logprobs.digest(), Some(logprobs), Finish::Length);
    let out = nodes.tell('W', Input::Produced { ticket, index: 0, tokens, digest, logprobs, finish });
    let Effect::Send { message: Message::Chunk(chunk), .. } = &out[0] else { unreachable!() };
    *chunk.clone()
}

/// Other log probabilities, and a signature for the digest that goes with them.
fn replace(chunk: &mut Chunk, logprobs: Logprobs) {
    chunk.digest = logprobs.digest();
    chunk.logprobs = Some(logprobs);
    chunk.receipt.body.trace_root = trace_root(&[chunk.digest]);
    sign(chunk, 'W');
}

#[test]
fn log_probabilities_are_those_that_a_chunk_commits_to() {
    type Lie = fn(&mut Chunk);
    let cases: &[(Option<u32>, Lie)] = &[
        (None, |_| ()),
        (Some(0), |_| ()),
        (Some(1), |c| c.logprobs = None),
        (Some(1), |c| c.logprobs.as_mut().unwrap().inner = digest(1)),
        (Some(1), |c| c.logprobs.as_mut().unwrap().bytes[3] ^= 1),
        (Some(1), |c| replace(c, told(31, digest(0)))),
        (Some(1), |c| replace(c, told(33, digest(0)))),
        (Some(1), |c| replace(c, Logprobs { inner: digest(0), bytes: vec![0; 511] })),
    ];
    for (case, (top, lie)) in cases.iter().enumerate() {
        let mut nodes = Nodes::new(false);
        let mut chunk = chunk_with(&mut nodes, *top, AuditPolicy::None);
        lie(&mut chunk);
        let why = "log probabilities that are none, or not those it commits to";
        let want = format!("broken false receipt: {why}, refuted W, convicted W");
        assert_eq!(show(&nodes.tell('C', says('W', chunk))), want, "case {case}");
    }
    for top in [1, 20] {
        let mut nodes = Nodes::new(false);
        let chunk = chunk_with(&mut nodes, Some(top), AuditPolicy::None);
        let bytes = chunk.logprobs.clone().unwrap().bytes;
        let out = nodes.tell('C', says('W', chunk));
        let delivered = |e: &Effect| matches!(e, Effect::Delivered { logprobs, .. } if *logprobs == bytes);
        assert!(out.iter().any(delivered), "{}", show(&out));
    }
    // False ones that are committed to look like true ones, until somebody re-runs them.
    let mut nodes = Nodes::new(true);
    let mut chunk = chunk_with(&mut nodes, Some(1), AuditPolicy::Own);
    let mut other = told(32, digest(0));
    other.bytes[3] ^= 1;
    replace(&mut chunk, other);
    nodes.words.insert('C', Word::Same);
    let out = nodes.tell('C', says('W', chunk));
    nodes.carry('C', out);
    let told = nodes.told.join(", ");
    assert!(told.contains("keep, dispute W 32, refuted W, convicted W, falls audited"), "{told}");
}

#[test]
fn what_is_allowed_of_a_receipt() {
    // Less money than agreed, another build, an earlier end.
    let mut nodes = Nodes::new(false);
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::None);
    let mut chunk = nodes.chunk('W', lease, 0);
    let receipt = &mut chunk.receipt.body;
    (receipt.cumulative, receipt.build, receipt.finish) = (Amount(1), Digest::ZERO, Finish::Stop);
    sign(&mut chunk, 'W');
    nodes.check('C', says('W', chunk), "paid W 42, W<pay 0 42, delivered 32 Stop, accepted W 42, keep, stands");
}

#[test]
fn chunks_may_come_twice_too_early_or_too_late() {
    let mut nodes = Nodes::new(false);
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::None);
    let (first, last) = (nodes.chunk('W', lease, 0), nodes.chunk('W', lease, 1));
    let far = Chunk { index: u32::MAX, ..first.clone() };
    let done = "paid W 50, W<pay 1 50, delivered 40 Length, accepted W 50, keep, stands";
    for (from, chunk, want) in [
        ('W', &last, ""),
        ('X', &first, ""),
        ('W', &first, "paid W 42, W<pay 0 42, progress 32"),
        // Its voucher was lost: the same again, and nothing is paid twice.
        ('W', &first, "W<pay 0 42"),
        ('X', &first, ""),
        ('W', &far, ""),
        ('W', &last, done),
        // The last voucher may be lost as well.
        ('W', &last, "W<pay 1 50"),
        ('W', &first, "W<pay 0 42"),
        ('X', &last, ""),
        ('W', &far, ""),
    ] {
        nodes.check('C', says(from, chunk.clone()), want);
    }
    assert_eq!(nodes.nodes[&'C'].accounts().next().unwrap().1.signed, Amount(50));
}

#[test]
fn either_side_ends_a_lease_once() {
    let refusal = Refusal::new(RefusalCode::Superseded, "another worker was faster", "");
    let mut nodes = Nodes::new(false);
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::None);
    let close = Message::Close { lease, refusal: refusal.clone() };
    let says = |from| Input::Message { from: id(from), message: close.clone() };
    nodes.check('C', says('X'), "");
    nodes.check('W', says('X'), "");
    nodes.check('C', Input::Close { attempt: Attempt { number: 9, ..ATTEMPT }, refusal: refusal.clone() }, "");
    nodes.check('C', Input::Close { attempt: ATTEMPT, refusal: refusal.clone() }, "W<close superseded");
    nodes.check('C', Input::Close { attempt: ATTEMPT, refusal: refusal.clone() }, "");
    nodes.check('W', says('C'), "stop sale, (sold 0)");
    nodes.check('W', says('C'), "");
    let (_, lease) = nodes.lease(ATTEMPT, 'V', 40, AuditPolicy::None);
    let close = Message::Close { lease, refusal };
    nodes.check('C', Input::Message { from: id('V'), message: close }, "broken another worker was faster");
    assert_eq!(nodes.nodes[&'C'].open(), (0, 0, 0));
}

#[test]
fn a_chunk_is_told_once_with_what_the_lease_costs() {
    let mut nodes = Nodes::new(false);
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::None);
    let (first, last) = (nodes.chunk('W', lease, 0), nodes.chunk('W', lease, 1));
    let mut told = Vec::new();
    for chunk in [&first, &first, &last] {
        let tokens = chunk.tokens.clone();
        for effect in nodes.tell('C', says('W', chunk.clone())) {
            if let Effect::Notice(Notice::Chunk { attempt, tokens: said, worth }) = effect {
                assert_eq!((attempt, said), (ATTEMPT, tokens.clone()));
                told.push(worth.0);
            }
        }
    }
    assert_eq!(told, [42, 50]);
}

#[test]
fn a_restart_goes_on_from_the_last_voucher() {
    let mut nodes = Nodes::new(false);
    nodes.deliver(AuditPolicy::None);
    let mut again = Nodes::new(false);
    let accounts: Vec<_> = nodes.nodes[&'C'].accounts().map(|(n, a)| (*n, *a)).collect();
    let (node, account) = accounts[0];
    // Told out of order or twice, events leave the same amounts.
    for total in [account.signed, Amount(42), account.signed] {
        again.nodes.get_mut(&'C').unwrap().apply(&crate::Event::Paid { node, total });
        let voucher = talkoo_base::Voucher { channel: Digest::ZERO, max_claimable: total };
        let voucher = talkoo_base::wire::Sealed::from(&Signed::new(voucher, &net(), &key('C')));
        again.nodes.get_mut(&'W').unwrap().apply(&crate::Event::Earned { node: id('C'), voucher });
    }
    let (_, lease) = again.lease(ATTEMPT, 'W', 40, AuditPolicy::None);
    let chunk = again.chunk('W', lease, 0);
    assert_eq!(chunk.receipt.body.cumulative, Amount(92));
    again.check('C', says('W', chunk), "paid W 92, W<pay 0 92, progress 32");
}
