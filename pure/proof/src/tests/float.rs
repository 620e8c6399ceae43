//! The float tier: paid like the exact one, under its own name, and never re-run.

use super::{ATTEMPT, NAMES, Nodes, PRICE, Word, candidate, digest, id, key, net, now, show, work};
use crate::commit::{output_root, trace_root};
use crate::{Chunk, Effect, Input, Message, Order, Terms, Ticket, VerifyError, verify_kept};
use talkoo_base::wire::{Sealed, Typed};
use talkoo_base::{
    Attempt, AuditPolicy, Constraint, ConstraintForm, Digest, Finish, GenerateParams, LeaseId, Likeness, Receipt,
    Refusal, RefusalCode, Signed, Tier, Work, float_chunk,
};

/// An order of the client's to W.
fn order(nodes: &mut Nodes, tier: Tier, params: GenerateParams) -> Order {
    let work = Box::new(Work { tier, params, ..work(40) });
    let open = Input::Open { attempt: ATTEMPT, worker: candidate('W'), work, audit: AuditPolicy::Drawn };
    let out = nodes.check('C', open, "W<lease");
    let Effect::Send { message: Message::Lease(order), .. } = &out[0] else { unreachable!() };
    *order.clone()
}

/// What W, which offers `tier`, does with an order.
fn taken(nodes: &mut Nodes, tier: Tier, order: &Order) -> String {
    nodes.tell('W', Input::Terms(Some(Terms { price: PRICE, slots: 64, tier })));
    show(&nodes.tell('W', Input::Message { from: id('C'), message: Message::Lease(Box::new(order.clone())) }))
}

fn chunk(nodes: &mut Nodes, order: &Order, index: u32) -> Chunk {
    let lease = LeaseId(order.request.body.digest(&net()));
    let tokens: Vec<u32> = (index * 32..40.min(index * 32 + 32)).collect();
    let digest = float_chunk(&order.request.body.inputs[1], index, &tokens);
    let finish = if index == 1 { Finish::Stop } else { Finish::Running };
    let out =
        nodes.tell('W', Input::Produced { ticket: Ticket::Sale(lease), index, tokens, digest, logprobs: None, finish });
    let Effect::Send { message: Message::Chunk(chunk), .. } = &out[0] else { unreachable!() };
    *chunk.clone()
}

/// A lease from order to verdict; what the client did.
fn deliver(nodes: &mut Nodes) -> String {
    let order = order(nodes, Tier::Float, work(40).params);
    assert_eq!(taken(nodes, Tier::Float, &order), "used C, run sale, credit 2");
    for index in 0..2 {
        let chunk = chunk(nodes, &order, index);
        let out = nodes.send('W', 'C', Message::Chunk(Box::new(chunk)));
        nodes.carry('C', out);
    }
    nodes.told.join(", ")
}

/// Delivers answers until our own engine has one to weigh, says what it finds, and returns what the client does then.
fn weighed(nodes: &mut Nodes, step: &mut u32, said: impl Fn(Ticket) -> Input) -> String {
    loop {
        *step += 1;
        let attempt = Attempt { step: *step, ..ATTEMPT };
        let work = Box::new(Work { tier: Tier::Float, seed: u64::from(*step), ..work(40) });
        let open = Input::Open { attempt, worker: candidate('W'), work, audit: AuditPolicy::Own };
        let out = nodes.check('C', open, "W<lease");
        let Effect::Send { message: Message::Lease(order), .. } = &out[0] else { unreachable!() };
        taken(nodes, Tier::Float, order);
        let mut last = Vec::new();
        for index in 0..2 {
            let chunk = chunk(nodes, order, index);
            last = nodes.send('W', 'C', Message::Chunk(Box::new(chunk)));
            for effect in &last {
                if let Effect::Send { message, .. } = effect {
                    nodes.send('C', 'W', message.clone());
                }
            }
        }
        let ticket = last.iter().find_map(|effect| match effect {
            Effect::Run(run) => Some(run.ticket),
            _ => None,
        });
        if let Some(ticket) = ticket {
            return show(&nodes.tell('C', said(ticket)));
        }
        assert!(*step < 1_000, "one in four is weighed");
    }
}

#[test]
fn answers_that_are_unlike_the_model_move_the_work_and_then_end_it() {
    let likeness = |tokens: u64, matched: u64| Likeness { tokens, matched, ..Likeness::default() };
    let mut nodes = Nodes::new(true);
    let mut step = 0;
    let mut weigh =
        |nodes: &mut Nodes, likeness| weighed(nodes, &mut step, |ticket| Input::Weighed { ticket, likeness });
    let stands = "(equal), accepted W 50, keep, stands";
    // Too few tokens say nothing; whole windows of the model's own are fine, one by one.
    assert_eq!(weigh(&mut nodes, likeness(299, 0)), stands);
    assert_eq!(weigh(&mut nodes, likeness(299 * 20, 299 * 20)), stands);
    assert_eq!(weigh(&mut nodes, likeness(300, 285)), stands);
    let unlike = "its answers are unlike those of the model that it claims";
    assert_eq!(weigh(&mut nodes, likeness(300, 284)), format!("(different), broken {unlike}"));
    assert_eq!(weigh(&mut nodes, likeness(300, 300)), stands);
    let ended = weigh(&mut nodes, likeness(300, 0));
    assert_eq!(ended, format!("(different), refuted W, convicted W, broken {unlike}"));
    // Without the weights here nothing is said.
    let refusal = Refusal::new(RefusalCode::RunFailed, "no weights", "");
    let failed = |ticket| Input::RunFailed { ticket, refusal: refusal.clone() };
    assert_eq!(weighed(&mut nodes, &mut step, failed), "accepted W 50, keep, stands");
}

#[test]
fn a_float_lease_is_paid_and_nobody_re_runs_it() {
    // A new worker's exact answers are all audited, and here everybody could; our own engine does not weigh.
    let mut nodes = Nodes::new(false);
    nodes.words = NAMES.into_iter().map(|name| (name, Word::Same)).collect();
    nodes.drawn = [candidate('V'), candidate('U')].into();
    let told = deliver(&mut nodes);
    let want = "paid W 42, progress 32, paid W 50, delivered 40 Stop, accepted W 50, keep, stands";
    assert_eq!((told.as_str(), nodes.nodes[&'C'].open(), nodes.drawn.len()), (want, (0, 0, 0), 2));
    let kept = nodes.kept.unwrap();
    let facts = verify_kept(&kept).unwrap();
    assert_eq!((facts.tier, facts.units, facts.matched, facts.own_rerun), (Tier::Float, 40, 0, None));
    assert!(facts.stands() && verify_kept(&kept.stripped()).is_ok());
}

#[test]
fn a_record_of_the_float_tier_is_bound_to_its_tokens() {
    let mut nodes = Nodes::new(false);
    deliver(&mut nodes);
    let honest = nodes.kept.unwrap();
    let sign = |receipt: &mut Sealed<Receipt>, edit: &dyn Fn(&mut Receipt)| {
        edit(&mut receipt.body);
        *receipt = Sealed::from(&Signed::new(receipt.body.clone(), &net(), &key('W')));
    };
    let mut other = honest.clone();
    other.digests[1] = digest(9);
    let root = trace_root(&other.digests);
    sign(&mut other.links[1].receipt, &|r| r.trace_root = root);
    assert_eq!(verify_kept(&other), Err(VerifyError::Contradiction("a chunk digest is not that of its tokens")));
    let mut mixed = honest;
    sign(&mut mixed.links[0].receipt, &|r| r.tier = Tier::Exact);
    assert_eq!(verify_kept(&mixed), Err(VerifyError::Contradiction("receipts are of several tiers")));
}

#[test]
fn a_receipt_of_another_tier_is_a_false_one() {
    type Lie = fn(&mut Chunk);
    let cases: [(&str, Tier, Tier, Lie); 3] = [
        ("wrong tier or unit", Tier::Exact, Tier::Float, |_| ()),
        ("wrong tier or unit", Tier::Float, Tier::Exact, |_| ()),
        ("wrong chunk digest", Tier::Float, Tier::Float, |c| {
            c.digest = Digest::ZERO;
            c.receipt.body.trace_root = trace_root(&[Digest::ZERO]);
            c.receipt = Signed::new(c.receipt.body.clone(), &net(), &key('W'));
        }),
    ];
    for (why, asked, offered, lie) in cases {
        let mut nodes = Nodes::new(false);
        let order = order(&mut nodes, asked, work(40).params);
        assert_eq!(taken(&mut nodes, offered, &order), "used C, run sale, credit 2");
        let mut chunk = chunk(&mut nodes, &order, 0);
        lie(&mut chunk);
        let told = show(&nodes.send('W', 'C', Message::Chunk(Box::new(chunk))));
        assert_eq!(told, format!("broken false receipt: {why}, refuted W, convicted W"), "{asked:?} {offered:?}");
    }
}

#[test]
fn what_a_server_cannot_do_is_refused_before_work() {
    let constraint = Constraint { form: ConstraintForm::JsonSchema, source: "{}".into() };
    let plain = || work(40).params;
    let known = GenerateParams {
        temperature_q16: 1,
        top_p_q16: 1,
        frequency_penalty_q16: 1,
        presence_penalty_q16: -1,
        logit_bias: vec![(1, 2)],
        stop: vec!["\n".into()],
        ..plain()
    };
    let (fine, no) = ("used C, run sale, credit 2", "C<close unsupported_parameter");
    let cases = [
        (known, fine),
        (GenerateParams { top_k: 1, ..plain() }, no),
        (GenerateParams { min_p_q16: 1, ..plain() }, no),
        (GenerateParams { repeat_penalty_q16: 1, ..plain() }, no),
        (GenerateParams { constraint: Some(constraint), ..plain() }, no),
        (GenerateParams { stop_tokens: vec![1], ..plain() }, no),
        (GenerateParams { ignore_eos: true, ..plain() }, no),
        (GenerateParams { top_logprobs: Some(0), ..plain() }, no),
    ];
    for (params, want) in cases {
        let mut nodes = Nodes::new(false);
        let order = order(&mut nodes, Tier::Float, params.clone());
        assert_eq!(taken(&mut nodes, Tier::Float, &order), want, "{params:?}");
        // An exact engine takes them all.
        assert_eq!(taken(&mut nodes, Tier::Exact, &order), if want == fine { "" } else { fine }, "{params:?}");
    }
}

#[test]
fn a_re_run_of_the_float_tier_is_refused() {
    for (tier, want) in [(Tier::Float, "C<close unsupported_parameter"), (Tier::Exact, "used C, re-run sale")] {
        let mut nodes = Nodes::new(false);
        let mut order = order(&mut nodes, Tier::Float, work(40).params);
        let tokens = vec![1, 2, 3];
        order.request.body.inputs.push(output_root(&order.trace_salt, &tokens));
        order.request.body.limits.input_units += 3;
        order.request.body.deadline = now(1_000).unix;
        order.request = Signed::new(order.request.body.clone(), &net(), &key('C'));
        order.rerun = Some(tokens);
        assert_eq!(taken(&mut nodes, tier, &order), want, "{tier:?}");
    }
}
