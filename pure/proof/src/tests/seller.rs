//! The worker's side: what it refuses, how far it runs ahead of the money, when it gives up.

use super::{ATTEMPT, Nodes, PRICE, Word, candidate, digest, id, key, net, now, open, produced, show, verified, work};
use crate::limits::{
    CHUNKS_AHEAD_MAX, DEBT_FORGIVEN_MTPS, DEBT_TOKENS_MAX, ORDER_TOKENS_MAX, REQUEST_S, RERUNS_PER_CLIENT_MAX,
    RESEND_MS, RESENDS_MAX, SALES_MAX,
};
use crate::{Channel, Chunk, Effect, Input, Message, Order, Sold, Terms, Ticket};
use talkoo_base::limits::CLOCK_SKEW_S_MAX;
use talkoo_base::wire::Typed;
use talkoo_base::{
    Amount, Attempt, AuditPolicy, Digest, Finish, GenerateParams, Kind, LeaseId, NodeId, Price, Refusal, RefusalCode,
    Request, Signed, Tier, Unix, Voucher, Work,
};

fn order(nodes: &mut Nodes, attempt: Attempt) -> Order {
    let out = nodes.tell('C', open(attempt, 'W', 40, AuditPolicy::Drawn));
    let Effect::Send { message: Message::Lease(order), .. } = &out[0] else { unreachable!() };
    *order.clone()
}

fn lease_of(order: &Order) -> LeaseId {
    LeaseId(order.request.body.digest(&net()))
}

fn sign(order: &mut Order, edit: impl FnOnce(&mut Request)) {
    edit(&mut order.request.body);
    order.request = Signed::new(order.request.body.clone(), &net(), &key('C'));
}

fn params(order: &mut Order, params: &GenerateParams) {
    sign(order, |r| r.params = params.to_bytes());
}

#[test]
fn an_order_is_refused_with_its_reason() {
    use RefusalCode::{
        BadSignature, BadVoucher, Busy, ClockSkew, ContextExceeded, DeadlinePassed, Malformed, NotProviding,
        PriceTooLow, TooLarge,
    };
    type Change = fn(&mut Order, &mut Option<Terms>);
    let cases: &[(&str, RefusalCode, Change)] = &[
        ("not offering", NotProviding, |_, t| *t = None),
        ("signed by a stranger", BadSignature, |o, _| {
            o.request = Signed::new(o.request.body.clone(), &net(), &key('X'));
        }),
        ("for another worker", Malformed, |o, _| sign(o, |r| r.worker = id('X').address())),
        ("another kind", Malformed, |o, _| sign(o, |r| r.kind = Kind::Render)),
        ("nothing reserved", Busy, |_, t| t.as_mut().unwrap().slots = 0),
        ("input too cheap", PriceTooLow, |o, _| sign(o, |r| r.price.input -= 1)),
        ("output too cheap", PriceTooLow, |o, _| sign(o, |r| r.price = Price { output: 0, ..PRICE })),
        ("another channel named", BadVoucher, |o, _| sign(o, |r| r.channel = Digest::ZERO)),
        ("another channel shown", BadVoucher, |o, _| o.channel.salt = Digest([1; 32])),
        ("a channel of another receiver", BadVoucher, |o, _| {
            o.channel.receiver = id('C').address();
            let channel = o.channel.id(&net());
            sign(o, |r| r.channel = channel);
        }),
        ("deadline now", DeadlinePassed, |o, _| sign(o, |r| r.deadline = now(0).unix)),
        ("deadline next week", ClockSkew, |o, _| {
            sign(o, |r| r.deadline = Unix(now(0).unix.0 + REQUEST_S + CLOCK_SKEW_S_MAX + 1));
        }),
        ("parameters are no parameters", Malformed, |o, _| sign(o, |r| r.params = vec![0xa0])),
        ("an empty stop string", Malformed, |o, _| {
            params(o, &GenerateParams { stop: vec![String::new()], ..work(40).params });
        }),
        ("too many tokens", TooLarge, |o, _| o.prompt = vec![0; ORDER_TOKENS_MAX + 1]),
        ("another prompt", Malformed, |o, _| o.prompt[0] ^= 1),
        ("another salt", Malformed, |o, _| o.trace_salt = Digest::ZERO),
        ("another seed than the trace id's", Malformed, |o, _| sign(o, |r| r.seed ^= 1)),
        ("miscounted input", Malformed, |o, _| sign(o, |r| r.limits.input_units += 1)),
        ("a re-run that was not signed", Malformed, |o, _| o.rerun = Some(vec![1])),
        ("miscounted output", ContextExceeded, |o, _| sign(o, |r| r.limits.output_units += 1)),
    ];
    for (name, code, edit) in cases {
        let mut nodes = Nodes::new(false);
        let (mut order, mut terms) =
            (order(&mut nodes, ATTEMPT), Some(Terms { price: PRICE, slots: 64, tier: Tier::Exact }));
        edit(&mut order, &mut terms);
        nodes.tell('W', Input::Terms(terms));
        let out = nodes.tell('W', Input::Message { from: id('C'), message: Message::Lease(Box::new(order)) });
        assert_eq!(show(&out), format!("C<close {code}"), "{name}");
        assert_eq!(nodes.nodes[&'W'].open(), (0, 0, 0), "{name}");
    }
    // Terms are good for one order.
    let mut nodes = Nodes::new(false);
    nodes.tell('W', Input::Terms(Some(Terms { price: PRICE, slots: 64, tier: Tier::Exact })));
    for (number, want) in [(0, "used C, run sale, credit 2"), (1, "C<close not_providing")] {
        let order = order(&mut nodes, Attempt { number, ..ATTEMPT });
        nodes.check('W', Input::Message { from: id('C'), message: Message::Lease(Box::new(order)) }, want);
    }
}

#[test]
fn a_worker_takes_stop_strings() {
    let mut nodes = Nodes::new(false);
    let params = GenerateParams { stop: vec!["\n".into()], ..work(40).params };
    let work = Box::new(Work { params, ..work(40) });
    let open = Input::Open { attempt: ATTEMPT, worker: candidate('W'), work, audit: AuditPolicy::Drawn };
    let out = nodes.tell('C', open);
    let Effect::Send { message: Message::Lease(order), .. } = &out[0] else { panic!("{}", show(&out)) };
    assert_eq!(lease_with(&mut nodes, order, 64), "used C, run sale, credit 2");
}

#[test]
fn an_order_that_comes_twice_runs_once() {
    let mut nodes = Nodes::new(false);
    let (order, _) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    assert_eq!(show(&nodes.send('C', 'W', Message::Lease(Box::new(order)))), "");
}

fn lease_with(nodes: &mut Nodes, order: &Order, slots: u32) -> String {
    nodes.tell('W', Input::Terms(Some(Terms { price: PRICE, slots, tier: Tier::Exact })));
    show(&nodes.tell('W', says(Message::Lease(Box::new(order.clone())))))
}

#[test]
fn a_worker_has_so_many_leases_and_so_many_audits() {
    let mut nodes = Nodes::new(false);
    let limit = u32::try_from(SALES_MAX).unwrap();
    for number in 0..limit {
        let order = order(&mut nodes, Attempt { number, ..ATTEMPT });
        assert_eq!(lease_with(&mut nodes, &order, 1_000), "used C, run sale, credit 2");
    }
    let order = order(&mut nodes, Attempt { number: limit, ..ATTEMPT });
    assert_eq!(lease_with(&mut nodes, &order, 1_000), "C<close busy");
    // Audits have room of their own.
    for seed in 0..=RERUNS_PER_CLIENT_MAX as u64 {
        let audit = audit_of(&order, seed);
        let want = if seed < RERUNS_PER_CLIENT_MAX as u64 { "used C, re-run sale" } else { "C<close busy" };
        assert_eq!(show(&nodes.send('C', 'W', Message::Lease(Box::new(audit)))), want);
    }
}

#[test]
fn a_client_has_as_many_leases_as_slots() {
    let mut nodes = Nodes::new(false);
    let orders: Vec<Order> = (0..5).map(|number| order(&mut nodes, Attempt { number, ..ATTEMPT })).collect();
    let finish = |nodes: &mut Nodes, order| (0..2).for_each(|n| _ = nodes.chunk('W', lease_of(order), n));
    assert_eq!(lease_with(&mut nodes, &orders[0], 2), "used C, run sale, credit 2");
    assert_eq!(lease_with(&mut nodes, &orders[1], 2), "used C, run sale, credit 2");
    assert_eq!(lease_with(&mut nodes, &orders[2], 2), "C<close busy");
    // A lease that only waits for its last payment leaves room for the next, but not for ever.
    finish(&mut nodes, &orders[0]);
    assert_eq!(lease_with(&mut nodes, &orders[2], 2), "used C, run sale, credit 2");
    finish(&mut nodes, &orders[1]);
    finish(&mut nodes, &orders[2]);
    assert_eq!(lease_with(&mut nodes, &orders[3], 2), "used C, run sale, credit 2");
    assert_eq!(lease_with(&mut nodes, &orders[4], 2), "C<close busy");
}

#[test]
fn a_client_that_leaves_leases_unpaid_has_to_wait() {
    let mut nodes = Nodes::new(false);
    let mut number = 0;
    let mut next = |nodes: &mut Nodes| {
        number += 1;
        order(nodes, Attempt { number, ..ATTEMPT })
    };
    let leave = |nodes: &mut Nodes, order: &Order, code| {
        let refusal = Refusal::new(code, "", "");
        show(&nodes.tell('W', says(Message::Close { lease: lease_of(order), refusal })))
    };
    // A prompt of 10 tokens is lost each time.
    let leases = DEBT_TOKENS_MAX / 10 + 1;
    for _ in 0..leases {
        let order = next(&mut nodes);
        assert_eq!(lease_with(&mut nodes, &order, 1), "used C, run sale, credit 2");
        assert_eq!(leave(&mut nodes, &order, RefusalCode::Superseded), "stop sale, (sold 0)");
    }
    let order = next(&mut nodes);
    assert_eq!(lease_with(&mut nodes, &order, 1), "C<close exposure_exceeded");
    let audit = audit_of(&order, 1);
    assert_eq!(lease_with(&mut nodes, &audit, 1), "C<close exposure_exceeded");
    // Time forgives: 4 tokens too many, at 68 a second.
    let late = ((leases * 10 - DEBT_TOKENS_MAX) * 1_000_000).div_ceil(DEBT_FORGIVEN_MTPS);
    nodes.at = late - 1;
    assert_eq!(lease_with(&mut nodes, &order, 1), "C<close exposure_exceeded");
    nodes.at = late;
    assert_eq!(lease_with(&mut nodes, &order, 1), "used C, run sale, credit 2");
    // A lease that is paid to its end forgives its own 50 tokens, not more.
    (0..2).for_each(|n| _ = nodes.chunk('W', lease_of(&order), n));
    nodes.check('W', says(pay('C', &order, 0, 42)), "earned C 42, used C");
    nodes.check('W', says(pay('C', &order, 1, 50)), "earned C 50, used C, (sold 40)");
    for _ in 0..6 {
        let order = next(&mut nodes);
        assert_eq!(lease_with(&mut nodes, &order, 1), "used C, run sale, credit 2");
        nodes.check('W', Input::PeerDown(id('C')), "stop sale");
    }
    let order = next(&mut nodes);
    assert_eq!(lease_with(&mut nodes, &order, 1), "C<close exposure_exceeded");
}

#[test]
fn a_client_that_lost_its_journal_is_shown_its_own_voucher() {
    let mut nodes = Nodes::new(false);
    let (order, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    nodes.chunk('W', lease, 0);
    nodes.check('W', says(pay('C', &order, 0, 42)), "earned C 42, used C, credit 1");
    nodes.chunk('W', lease, 1);
    nodes.check('W', says(pay('C', &order, 1, 50)), "earned C 50, used C, (sold 40)");
    // The client of the next lease knows nothing of the 50 that it signed.
    let (order, lease) = nodes.lease(Attempt { number: 1, ..ATTEMPT }, 'W', 40, AuditPolicy::Drawn);
    let chunk = nodes.chunk('W', lease, 0);
    let says_w = |message| Input::Message { from: id('W'), message };
    let refused = nodes.tell('C', says_w(Message::Chunk(Box::new(chunk))));
    assert!(show(&refused).starts_with("W<close bad_voucher"));
    let Effect::Send { message: close, .. } = &refused[0] else { unreachable!() };
    let owed = nodes.check('W', says(close.clone()), "stop sale, C<owed 50, (sold 32)");
    let Effect::Send { message: owed, .. } = &owed[1] else { unreachable!() };
    let Message::Owed { voucher } = owed else { unreachable!() };
    // Only a voucher of its own, on that worker's channel, and only when it asked.
    let stranger = Message::Owed { voucher: Signed::new(voucher.body, &net(), &key('W')) };
    let channel = Voucher { channel: Digest::ZERO, ..voucher.body };
    let elsewhere = Message::Owed { voucher: Signed::new(channel, &net(), &key('C')) };
    for message in [stranger, elsewhere] {
        nodes.check('C', says_w(message), "");
    }
    nodes.check('C', says_w(owed.clone()), "paid W 50");
    nodes.check('C', says_w(owed.clone()), "");
    // From then on they agree.
    let (_, lease) = nodes.lease(Attempt { number: 2, ..ATTEMPT }, 'W', 40, AuditPolicy::Drawn);
    let chunk = nodes.chunk('W', lease, 0);
    nodes.check('C', says_w(Message::Chunk(Box::new(chunk))), "paid W 92, W<pay 0 92, progress 32");
    assert_eq!(order.request.body.channel, voucher.body.channel);
}

/// The same work as an audit of the output 0..40.
fn audit_of(order: &Order, seed: u64) -> Order {
    let (mut order, tokens) = (order.clone(), (0..40).collect::<Vec<u32>>());
    let work = crate::Work { seed, ..work(40) };
    let prompt = crate::commit::prompt_root(&order.prompt_salt, &work.prompt);
    let trace = crate::commit::trace_id(&order.trace_salt, &prompt, &work);
    let root = crate::commit::output_root(&order.trace_salt, &tokens);
    order.rerun = Some(tokens);
    sign(&mut order, |r| {
        (r.seed, r.inputs) = (seed, vec![prompt, trace, root]);
        (r.limits.input_units, r.limits.output_units) = (50, 0);
    });
    order
}

fn pay(name: char, order: &Order, index: u32, total: u128) -> Message {
    let voucher = Voucher { channel: order.request.body.channel, max_claimable: Amount(total) };
    Message::Pay { lease: lease_of(order), index, voucher: Signed::new(voucher, &net(), &key(name)) }
}

fn says(message: Message) -> Input {
    Input::Message { from: id('C'), message }
}

#[test]
fn a_worker_is_never_more_than_two_chunks_ahead_of_the_money() {
    assert_eq!(CHUNKS_AHEAD_MAX, 2);
    let mut nodes = Nodes::new(false);
    let (order, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    let (first, _) = (nodes.chunk('W', lease, 0), nodes.chunk('W', lease, 1));
    assert_eq!(first.receipt.body.cumulative, Amount(42));
    nodes.check('W', produced(lease, 1), "");
    for (message, want) in [
        // Of a stranger, of another channel, too little, not yet its turn.
        (pay('X', &order, 0, 42), ""),
        (pay('C', &order, 0, 41), ""),
        (pay('C', &order, 1, 50), ""),
        (pay('C', &order, 7, 50), ""),
        // The output is complete: no more credit.
        (pay('C', &order, 0, 42), "earned C 42, used C"),
        (pay('C', &order, 0, 42), ""),
        (pay('C', &order, 1, 49), ""),
        (pay('C', &order, 1, 50), "earned C 50, used C, (sold 40)"),
        (pay('C', &order, 1, 50), ""),
    ] {
        let shown = format!("{message:?}");
        assert_eq!(show(&nodes.tell('W', says(message))), want, "{shown:.90}");
    }

    // A long answer: every voucher buys exactly one chunk more.
    let (order, lease) = nodes.lease(Attempt { number: 1, ..ATTEMPT }, 'V', 1_000, AuditPolicy::Drawn);
    let (mut credit, mut sent) = (CHUNKS_AHEAD_MAX, 0);
    for paid in 0..20 {
        while sent < credit {
            let (tokens, digest) = (vec![sent; 32], digest(sent));
            let finish = Finish::Running;
            nodes.tell(
                'V',
                Input::Produced { ticket: Ticket::Sale(lease), index: sent, tokens, digest, logprobs: None, finish },
            );
            sent += 1;
        }
        assert_eq!(sent, paid + CHUNKS_AHEAD_MAX);
        let total = 10 + 32 * (u128::from(paid) + 1);
        nodes.check('V', says(pay('C', &order, paid, total)), &format!("earned C {total}, used C, credit 1"));
        nodes.check('V', says(pay('C', &order, paid, total)), "");
        credit += 1;
    }
}

#[test]
fn vouchers_of_two_leases_on_one_channel_may_overtake_each_other() {
    let mut nodes = Nodes::new(false);
    let (a, lease_a) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    let (b, lease_b) = nodes.lease(Attempt { step: 4, ..ATTEMPT }, 'W', 40, AuditPolicy::Drawn);
    assert_eq!(a.request.body.channel, b.request.body.channel);
    let chunks = [lease_a, lease_b].map(|lease| nodes.chunk('W', lease, 0));
    let says_chunk = |c: &Chunk| Input::Message { from: id('W'), message: Message::Chunk(Box::new(c.clone())) };
    nodes.check('C', says_chunk(&chunks[0]), "paid W 42, W<pay 0 42, progress 32");
    nodes.check('C', says_chunk(&chunks[1]), "paid W 84, W<pay 0 84, progress 32");
    // The larger one arrives first and covers both; the smaller one still settles its chunk.
    nodes.check('W', says(pay('C', &b, 0, 84)), "earned C 84, used C, credit 1");
    nodes.check('W', says(pay('C', &a, 0, 42)), "used C, credit 1");
    // Neither is good for anything a second time.
    let (last_a, last_b) = (nodes.chunk('W', lease_a, 1), nodes.chunk('W', lease_b, 1));
    nodes.check('W', says(pay('C', &b, 1, 84)), "");
    nodes.check('W', says(pay('C', &a, 1, 84)), "");
    // Both receipts asked for what was open when they were made: no honest worker looks like a cheat.
    for (chunk, total) in [(last_b, 92), (last_a, 100)] {
        let out = nodes.tell('C', says_chunk(&chunk));
        assert!(show(&out).starts_with(&format!("paid W {total}, W<pay 1 {total}, delivered 40 Length")));
    }
    nodes.check('W', says(pay('C', &a, 1, 100)), "earned C 100, used C, (sold 40)");
    nodes.check('W', says(pay('C', &b, 1, 92)), "used C, (sold 40)");
    assert_eq!(nodes.nodes[&'W'].earnings().next().unwrap().1.received, Amount(100));
}

#[test]
fn what_nobody_answers_is_sent_again_and_then_given_up() {
    let mut nodes = Nodes::new(false);
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    nodes.check('W', Input::Tick, "");
    nodes.chunk('W', lease, 0);
    nodes.at = RESEND_MS - 1;
    nodes.check('W', Input::Tick, "");
    nodes.chunk('W', lease, 1);
    for round in 0..u64::from(RESENDS_MAX) {
        nodes.at = RESEND_MS * (round + 1);
        nodes.check('W', Input::Tick, "C<chunk 0, C<chunk 1");
    }
    nodes.at += RESEND_MS;
    nodes.check('W', Input::Tick, "C<close silent, stop sale, (sold 40)");
    nodes.check('W', Input::Tick, "");
    assert_eq!(nodes.nodes[&'W'].next_wake(), None);
}

#[test]
fn a_lease_outlives_neither_its_request_nor_its_client_nor_its_worker() {
    let mut nodes = Nodes::new(false);
    nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    nodes.at = REQUEST_S * 1_000;
    nodes.check('W', Input::Tick, "C<close silent, stop sale, (sold 0)");
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    nodes.check('W', Input::PeerDown(id('X')), "");
    nodes.check('W', Input::PeerDown(id('C')), "stop sale");
    nodes.check('W', produced(lease, 0), "");
    let mut nodes = Nodes::new(false);
    let (order, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    nodes.check('W', Input::Stopping, "stop sale, C<close stopping");
    assert_eq!(show(&nodes.send('C', 'W', Message::Lease(Box::new(order)))), "used C, run sale, credit 2");
    nodes.check('W', verified(Ticket::Sale(lease), Word::Fails), "C<close run_failed");
    nodes.check('W', verified(Ticket::Sale(lease), Word::Fails), "");
    nodes.check('W', verified(Ticket::Own(lease), Word::Same), "");
}

#[test]
fn an_audit_commits_then_reveals_then_is_paid() {
    let cases = [(Word::Same, "Length"), (Word::Other(1), "Length"), (Word::Diverged, "Diverged")];
    for (word, finish) in cases {
        let mut nodes = Nodes::new(false);
        let first = order(&mut nodes, ATTEMPT);
        let order = audit_of(&first, 6);
        let lease = lease_of(&order);
        assert_eq!(show(&nodes.send('C', 'W', Message::Lease(Box::new(order.clone())))), "used C, re-run sale");
        nodes.check('W', says(Message::Reveal { lease }), "");
        nodes.check('W', produced(lease, 0), "");
        nodes.check('W', verified(Ticket::Sale(lease), word), "C<commit");
        nodes.check('W', verified(Ticket::Sale(lease), word), "");
        nodes.at = RESEND_MS;
        nodes.check('W', Input::Tick, "C<commit");
        let stranger = Input::Message { from: NodeId::pretended(1), message: Message::Reveal { lease } };
        nodes.check('W', stranger, "");
        nodes.check('W', says(Message::Reveal { lease }), &format!("C<answer {finish}"));
        nodes.at = 2 * RESEND_MS;
        nodes.check('W', Input::Tick, &format!("C<answer {finish}"));
        nodes.check('W', says(pay('C', &order, 0, 49)), "");
        nodes.check('W', says(pay('C', &order, 0, 50)), "earned C 50, (sold audit)");
        assert_eq!(nodes.nodes[&'W'].open(), (0, 0, 0), "{word:?}");
    }
}

#[test]
fn a_promise_above_the_deposit_buys_nothing_until_the_top_up() {
    let mut nodes = Nodes::funded();
    let out = nodes.tell('C', open(ATTEMPT, 'W', 40, AuditPolicy::Drawn));
    assert_eq!(show(&out), "fund 50, W<lease");
    let Effect::Send { message: Message::Lease(order), .. } = &out[1] else { unreachable!() };
    let lease = lease_of(order);
    let taken = nodes.send('C', 'W', Message::Lease(order.clone()));
    assert_eq!(show(&taken), "watch C, used C, run sale, credit 2");
    let Effect::Channel(Channel::Watch { config, .. }) = &taken[1] else { panic!("{taken:?}") };
    assert_eq!(config.id(&net()), order.request.body.channel);
    nodes.chunk('W', lease, 0);
    let funds = |balance| Input::Funds { client: id('C'), balance: Amount(balance) };
    for (input, want) in [
        (says(pay('C', order, 0, 42)), ""),
        (funds(41), "C<chunk 0"),
        (says(pay('C', order, 0, 42)), ""),
        (funds(41), ""),
        // Enough: what was not paid is sent again at once, and the next promise counts.
        (funds(42), "C<chunk 0"),
        (says(pay('C', order, 0, 42)), "earned C 42, used C, credit 1"),
        (produced(lease, 1), "C<chunk 1"),
        (says(pay('C', order, 1, 50)), ""),
        (funds(100), "C<chunk 1"),
        (says(pay('C', order, 1, 50)), "earned C 50, used C, (sold 40)"),
    ] {
        nodes.check('W', input, want);
    }
    // From then on nobody else pays for this client: its vouchers are good for one channel.
    let mut other = order.as_ref().clone();
    other.channel.payer = talkoo_base::Address([9; 20]);
    let channel = other.channel.id(&net());
    sign(&mut other, |request| request.channel = channel);
    let refused = nodes.send('C', 'W', Message::Lease(Box::new(other)));
    assert_eq!(show(&refused), "C<close bad_voucher");
}

/// What the worker keeps after each chunk.
fn sold(nodes: &mut Nodes, input: Input) -> Option<Sold> {
    let effects = nodes.tell('W', input);
    effects.into_iter().find_map(|effect| if let Effect::Sold(sold) = effect { Some(*sold) } else { None })
}

#[test]
fn a_worker_keeps_what_can_be_disputed_of_every_receipt_that_went_out() {
    let mut nodes = Nodes::new(false);
    let (order, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Drawn);
    let first = sold(&mut nodes, produced(lease, 0)).unwrap();
    let second = sold(&mut nodes, produced(lease, 1)).unwrap();
    let case = &second.case;
    assert_eq!((&case.request.body, &case.channel), (&order.request.body, &order.channel));
    assert_eq!((&case.prompt, case.output.len(), case.digests.len()), (&order.prompt, 40, 2));
    assert_eq!((case.receipt.body.finish, case.logprobs.len()), (Finish::Length, 0));
    // An earlier receipt has the lease as it was then.
    let digest = |sold: &Sold| sold.case.receipt.body.digest(&net());
    assert_eq!(second.at(&digest(&first), &net()), Some(first.case.clone()));
    assert_eq!(second.at(&digest(&second), &net()), Some(second.case.clone()));
    assert_eq!((first.at(&digest(&second), &net()), first.earlier.len()), (None, 0));
    assert_eq!(second.earlier, [first.case.receipt]);
}

#[test]
fn nothing_is_kept_of_what_nobody_can_dispute() {
    let mut nodes = Nodes::new(false);
    let out = nodes.tell('C', open(ATTEMPT, 'W', 40, AuditPolicy::Drawn));
    let Effect::Send { message: Message::Lease(order), .. } = &out[0] else { panic!("{}", show(&out)) };
    nodes.tell('W', Input::Terms(Some(Terms { price: PRICE, slots: 64, tier: Tier::Float })));
    assert_eq!(show(&nodes.tell('W', says(Message::Lease(order.clone())))), "used C, run sale, credit 2");
    let lease = lease_of(order);
    assert_eq!(sold(&mut nodes, produced(lease, 0)), None, "a float answer");
    assert_eq!(sold(&mut nodes, produced(lease, 0)), None, "a chunk that comes twice");
}

/// Leases until the last chunk of one is held back.
fn held_back(nodes: &mut Nodes) -> (Order, LeaseId) {
    for step in 0..1_000 {
        let (order, lease) = nodes.lease(Attempt { step, ..ATTEMPT }, 'W', 40, AuditPolicy::None);
        nodes.tell('W', produced(lease, 0));
        let last = show(&nodes.tell('W', produced(lease, 1)));
        if last == "re-run sale" {
            return (order, lease);
        }
        assert_eq!(last, "C<chunk 1");
        let over = Refusal::new(RefusalCode::Cancelled, "enough", "");
        nodes.send('C', 'W', Message::Close { lease, refusal: over });
    }
    unreachable!("one in 64 is run again");
}

#[test]
fn a_sample_of_answers_is_run_again_before_its_end_is_signed_away() {
    let mut nodes = Nodes::new(true);
    let (_, lease) = held_back(&mut nodes);
    nodes.check('W', verified(Ticket::Sale(lease), Word::Same), "C<chunk 1");
    nodes.check('W', verified(Ticket::Sale(lease), Word::Same), "");
    // An engine that fails to look again has said nothing against it.
    let mut nodes = Nodes::new(true);
    let (_, lease) = held_back(&mut nodes);
    nodes.check('W', verified(Ticket::Sale(lease), Word::Fails), "C<chunk 1");
    for word in [Word::Other(1), Word::Diverged] {
        let mut nodes = Nodes::new(true);
        let (_, lease) = held_back(&mut nodes);
        nodes.check('W', verified(Ticket::Sale(lease), word), "(faulty), C<close self_test_failed");
        assert_eq!(nodes.nodes[&'W'].open().1, 0);
    }
}

#[test]
fn an_answer_that_is_looked_at_again_does_not_end_when_what_went_out_is_paid() {
    let mut nodes = Nodes::new(true);
    let (order, lease) = held_back(&mut nodes);
    nodes.check('W', says(pay('C', &order, 0, 42)), "earned C 42, used C");
    nodes.check('W', verified(Ticket::Sale(lease), Word::Same), "C<chunk 1");
    nodes.check('W', says(pay('C', &order, 1, 50)), "earned C 50, used C, (sold 40)");
}
