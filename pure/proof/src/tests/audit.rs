//! From a delivered answer to a verdict: whose word counts for what.

use super::{ATTEMPT, Nodes, Word, candidate, id, key, net, now, operator, verified};
use crate::limits::{AUDIT_MS_MAX, OWN_AUDIT_MS_MAX, PREFILL_TOKEN_MS_MAX};
use crate::{Answer, Candidate, Effect, Event, Input, Message, Seen, Ticket};
use talkoo_base::wire::Typed;
use talkoo_base::{Amount, AuditPolicy, Digest, LeaseId, Refusal, RefusalCode, Signed};

struct Case {
    name: &'static str,
    policy: AuditPolicy,
    /// Who is drawn, and what it finds.
    drawn: &'static [(char, Word)],
    /// What our own engine finds; `None`: there is none.
    own: Option<Word>,
    want: &'static str,
}

const DRAWN: AuditPolicy = AuditPolicy::Drawn;

#[test]
fn verdicts() {
    use Word::{Diverged, Down, Fails, Other, Same, Silent, Turncoat};
    let case = |name, drawn, own, want| Case { name, policy: DRAWN, drawn, own, want };
    let cases = [
        case(
            "one that finds the same",
            &[('V', Same)],
            None,
            "draw not CW, (asks V), paid V 50, accepted V 50, (equal), accepted W 50 audited, keep, stands audited",
        ),
        case("nobody there", &[], None, "draw not CW, accepted W 50, keep, stands"),
        case(
            "nobody there but us",
            &[],
            Some(Same),
            "draw not CW, (asks own engine), accepted W 50 audited, keep, stands audited, (equal)",
        ),
        case(
            "one against, no other",
            &[('V', Other(1))],
            None,
            "draw not CW, (asks V), (different), draw not VCW, paid V 50, accepted V 50, keep, falls audited",
        ),
        case(
            "two that agree against it",
            &[('V', Other(1)), ('U', Other(1))],
            None,
            "draw not CW, (asks V), (different), draw not VCW, (asks U), (different), paid V 50, accepted V 50, paid U 50, accepted U 50, keep, refuted W, convicted W, falls audited",
        ),
        case(
            "two against it that differ",
            &[('V', Other(1)), ('U', Other(2))],
            None,
            "draw not CW, (asks V), (different), draw not VCW, (asks U), (different), paid V 50, accepted V 50, paid U 50, accepted U 50, keep, falls audited",
        ),
        case(
            "one against, one for",
            &[('V', Other(1)), ('U', Same)],
            None,
            "draw not CW, (asks V), (different), draw not VCW, (asks U), paid U 50, accepted U 50, (equal), paid V 50, accepted V 50, accepted W 50 audited, keep, stands audited",
        ),
        case(
            "our own word against the worker's",
            &[('V', Other(1)), ('U', Other(1))],
            Some(Other(1)),
            "draw not CW, (asks V), (different), draw not VCW, (asks U), (different), (asks own engine), paid V 50, accepted V 50, paid U 50, accepted U 50, keep, dispute W 40, refuted W, convicted W, falls audited, (different)",
        ),
        case(
            "our own word for the worker",
            &[('V', Other(1)), ('U', Diverged)],
            Some(Same),
            "draw not CW, (asks V), (different), draw not VCW, (asks U), (different), (asks own engine), accepted W 50 audited, keep, stands audited, refuted V, convicted V, refuted U, convicted U, (equal)",
        ),
        case(
            "our own word against the worker and its friend",
            &[('V', Other(1)), ('U', Same)],
            Some(Other(1)),
            "draw not CW, (asks V), (different), draw not VCW, (asks U), paid U 50, accepted U 50, (equal), (asks own engine), paid V 50, accepted V 50, keep, dispute W 40, refuted W, convicted W, falls audited, refuted U, convicted U, (different)",
        ),
        case(
            "a token that no model gives",
            &[('V', Diverged)],
            Some(Diverged),
            "draw not CW, (asks V), (different), draw not VCW, (asks own engine), paid V 50, accepted V 50, keep, dispute W 40, refuted W, convicted W, falls audited, (different)",
        ),
        case(
            "our engine fails",
            &[('V', Other(1))],
            Some(Fails),
            "draw not CW, (asks V), (different), draw not VCW, (asks own engine), keep, \
             paid V 50, accepted V 50, broken our own engine could not check its answer: out of memory",
        ),
        case(
            "our engine never answers",
            &[],
            Some(Silent),
            "draw not CW, (asks own engine), stop own, broken our own engine could not check its answer: it took too long",
        ),
        case(
            "a verifier that is silent, one that is there",
            &[('V', Silent), ('U', Same)],
            None,
            "draw not CW, (asks V), draw not VCW, (asks U), paid U 50, accepted U 50, (equal), accepted W 50 audited, keep, stands audited",
        ),
        case(
            "a verifier that cannot",
            &[('V', Fails), ('U', Same)],
            None,
            "draw not CW, (asks V), draw not VCW, (asks U), paid U 50, accepted U 50, (equal), accepted W 50 audited, keep, stands audited",
        ),
        case(
            "a verifier that is gone",
            &[('V', Down)],
            None,
            "draw not CW, (asks V), draw not VCW, accepted W 50, keep, stands",
        ),
        case(
            "a verifier that changes its word",
            &[('V', Turncoat), ('U', Same)],
            None,
            "draw not CW, (asks V), refuted V, convicted V, draw not VCW, (asks U), paid U 50, accepted U 50, (equal), accepted W 50 audited, keep, stands audited",
        ),
        case("its owner's other node", &[('W', Same)], None, "draw not CW, accepted W 50, keep, stands"),
        Case {
            policy: AuditPolicy::None,
            ..case("nobody may", &[('V', Other(1))], Some(Other(1)), "accepted W 50, keep, stands")
        },
        Case {
            policy: AuditPolicy::Own,
            ..case(
                "only we may",
                &[('V', Other(1))],
                Some(Same),
                "(asks own engine), accepted W 50 audited, keep, stands audited, (equal)",
            )
        },
        Case {
            policy: AuditPolicy::Own,
            ..case("only we may, and cannot", &[('V', Same)], None, "accepted W 50, keep, stands")
        },
    ];
    for Case { name, policy, drawn, own, want } in cases {
        let mut nodes = Nodes::new(own.is_some());
        nodes.words = drawn.iter().copied().chain(own.map(|w| ('C', w))).collect();
        nodes.drawn = drawn.iter().map(|(who, _)| candidate(*who)).collect();
        assert_eq!(nodes.deliver(policy), want, "{name}");
    }
}

/// V finds other numbers than W; U finds what W found; our own engine finds what V found.
#[test]
fn the_same_mistake_of_two_owners_with_one_build_is_the_builds() {
    let told = |others: &[char], operator_of_u: char| {
        let mut nodes = Nodes::of_another_build(others);
        nodes.words = [('V', Word::Other(1)), ('U', Word::Same), ('C', Word::Other(1))].into();
        nodes.drawn = [candidate('V'), Candidate { operator: operator(operator_of_u), ..candidate('U') }].into();
        let told = nodes.deliver(DRAWN);
        told.split_once("(asks own engine), ").unwrap().1.to_owned()
    };
    let convicted = "paid V 50, accepted V 50, keep, dispute W 40, refuted W, convicted W, falls audited, refuted U, convicted U, (different)";
    let quarantined = "paid V 50, accepted V 50, keep, quarantine UW, falls audited, (different)";
    for (others, want) in [
        (&['W', 'U'][..], quarantined),
        // Builds that differ, or are ours: then it is they, or their machines.
        (&['W'], convicted),
        (&['U'], convicted),
        (&[], convicted),
        (&['W', 'U', 'C'], convicted),
        // Somebody with the same build found better: two liars took its name.
        (&['W', 'U', 'V'], convicted),
    ] {
        assert_eq!(told(others, 'U'), want, "{others:?}");
    }
}

#[test]
fn a_client_warns_once_of_a_lease_that_it_had() {
    let mut nodes = Nodes::new(true);
    nodes.words = [('C', Word::Other(1))].into();
    nodes.deliver(AuditPolicy::Own);
    let lease = nodes.kept.as_ref().unwrap().request.body.digest(&net());
    let refusal = Refusal::new(RefusalCode::AnswerRefuted, "other numbers", "");
    let warning = |lease| Message::Warning { lease: LeaseId(lease), refusal: refusal.clone() };
    // The warning itself has come with the verdict.
    nodes.check('W', says('C', warning(lease)), "");
    nodes.check('W', says('X', warning(lease)), "");
    nodes.check('W', says('C', warning(Digest::ZERO)), "");
}

#[test]
fn our_own_engine_judges_newcomers_first() {
    // Another build than the one that it knows makes the worker a newcomer.
    let told = |own: Word| {
        let mut nodes = Nodes::new(true);
        nodes.nodes.get_mut(&'C').unwrap().apply(&Event::Refuted(id('W')));
        nodes.words = [('V', Word::Same), ('C', own)].into();
        nodes.drawn = [candidate('V')].into();
        nodes.deliver(DRAWN)
    };
    assert_eq!(told(Word::Same), "(asks own engine), accepted W 50 audited, keep, stands audited, (equal)");
    assert_eq!(told(Word::Other(1)), "(asks own engine), keep, dispute W 40, falls audited, (different)");
    // Where it fails, strangers are asked.
    let want = "draw not CW, (asks V), paid V 50, accepted V 50, (equal), accepted W 50 audited, keep, stands audited";
    assert_eq!(told(Word::Fails), format!("(asks own engine), {want}"));
}

#[test]
fn two_verifiers_of_one_owner_are_one_voice() {
    let mut nodes = Nodes::new(false);
    nodes.words = [('V', Word::Other(1)), ('U', Word::Other(1))].into();
    nodes.drawn = [candidate('V'), Candidate { operator: operator('V'), ..candidate('U') }].into();
    let told = nodes.deliver(DRAWN);
    assert!(told.ends_with("(different), draw not VCW, paid V 50, accepted V 50, keep, falls audited"), "{told}");
}

#[test]
fn our_own_work_and_a_trusted_streak_are_not_checked_always() {
    let mut nodes = Nodes::new(true);
    let seen = Some(Seen { at: now(0).unix, build: Digest([9; 32]), bond: Amount::ZERO });
    for _ in 0..200 {
        let event = Event::Accepted { node: id('W'), worth: Amount(1 << 60), audited: true, seen };
        nodes.nodes.get_mut(&'C').unwrap().apply(&event);
    }
    nodes.words = [('V', Word::Same)].into();
    nodes.drawn = [candidate('V')].into();
    // This node's entropy is fixed, and so is this coin.
    assert_eq!(nodes.deliver(DRAWN), "accepted W 50, keep, stands");
    // A bond that went down begins the streak anew, and so does a lie.
    nodes.tell('C', Input::Bond { operator: operator('W'), bond: Amount(5) });
    assert_eq!(nodes.deliver(DRAWN), "accepted W 50, keep, stands");
    nodes.tell('C', Input::Bond { operator: operator('W'), bond: Amount(4) });
    nodes.drawn = [candidate('V')].into();
    assert!(nodes.deliver(DRAWN).contains("asks V"));
    nodes.drawn = [candidate('V')].into();
    nodes.nodes.get_mut(&'C').unwrap().apply(&Event::Refuted(id('W')));
    assert!(nodes.deliver(DRAWN).contains("asks V"));
}

/// Delivers an answer; V has the order to re-run it.
fn asked(nodes: &mut Nodes) -> LeaseId {
    audited(nodes).1
}

/// The same: the answer's lease, and V's.
fn audited(nodes: &mut Nodes) -> (LeaseId, LeaseId) {
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, DRAWN);
    let mut asked = None;
    for index in 0..2 {
        let chunk = nodes.chunk('W', lease, index);
        nodes.send('W', 'C', Message::Chunk(Box::new(chunk)));
    }
    let out = nodes.tell('C', Input::Candidates { lease, nodes: vec![candidate('V')] });
    for effect in out {
        if let Effect::Send { message: Message::Lease(order), .. } = effect {
            asked = Some(LeaseId(order.request.body.digest(&net())));
            nodes.send('C', 'V', Message::Lease(order));
        }
    }
    nodes.check('C', Input::Candidates { lease, nodes: vec![candidate('U')] }, "");
    (lease, asked.unwrap())
}

/// V's commitment and its answer.
fn answer(nodes: &mut Nodes, lease: LeaseId, word: Word) -> (Message, Answer) {
    let out = nodes.tell('V', verified(Ticket::Sale(lease), word));
    let Effect::Send { message: commit, .. } = &out[0] else { unreachable!() };
    let out = nodes.send('C', 'V', Message::Reveal { lease });
    let Effect::Send { message: Message::Answer(answer), .. } = &out[0] else { unreachable!() };
    (commit.clone(), *answer.clone())
}

fn says(from: char, message: Message) -> Input {
    Input::Message { from: id(from), message }
}

#[test]
fn an_answer_that_is_not_what_was_committed_convicts_the_verifier() {
    type Change = fn(&mut Answer);
    fn sign(answer: &mut Answer, name: char) {
        answer.receipt = Signed::new(answer.receipt.body.clone(), &net(), &key(name));
    }
    let cases: &[(&str, Change)] = &[
        ("another root", |a| a.receipt.body.trace_root = Digest::ZERO),
        ("another finish", |a| a.receipt.body.finish = talkoo_base::Finish::Stop),
        ("other units", |a| a.receipt.body.units -= 1),
        ("another salt", |a| a.salt = Digest::ZERO),
        ("another request", |a| a.receipt.body.request = Digest::ZERO),
        ("another node", |a| a.receipt.body.node = id('X').address()),
        ("another operator", |a| a.receipt.body.operator = id('X').address()),
        ("another channel", |a| a.receipt.body.channel = Digest::ZERO),
        ("another tier", |a| a.receipt.body.tier = talkoo_base::Tier::Float),
        ("another output", |a| a.receipt.body.output_root = Digest::ZERO),
    ];
    for (name, edit) in cases {
        let mut nodes = Nodes::new(false);
        let lease = asked(&mut nodes);
        let (commit, mut answer) = answer(&mut nodes, lease, Word::Same);
        nodes.check('C', says('V', commit), "V<reveal");
        edit(&mut answer);
        sign(&mut answer, 'V');
        let out = nodes.tell('C', says('V', Message::Answer(Box::new(answer))));
        assert_eq!(super::show(&out), "refuted V, convicted V, draw not VCW", "{name}");
    }
    // Too much money may be the word of an honest verifier whose client lost its journal.
    let mut nodes = Nodes::new(false);
    let lease = asked(&mut nodes);
    let (commit, mut dear) = answer(&mut nodes, lease, Word::Same);
    nodes.check('C', says('V', commit), "V<reveal");
    dear.receipt.body.cumulative = Amount(51);
    sign(&mut dear, 'V');
    nodes.check('C', says('V', Message::Answer(Box::new(dear))), "V<close bad_voucher, draw not VCW");
    let mut nodes = Nodes::new(false);
    let lease = asked(&mut nodes);
    let (commit, mut answer) = answer(&mut nodes, lease, Word::Same);
    nodes.check('C', says('V', commit), "V<reveal");
    sign(&mut answer, 'X');
    nodes.check('C', says('V', Message::Answer(Box::new(answer))), "refuted V, convicted V, draw not VCW");
}

#[test]
fn a_verifier_keeps_what_it_says_of_a_whole_run() {
    for (word, keeps) in [(Word::Same, true), (Word::Other(1), true), (Word::Diverged, false)] {
        let mut nodes = Nodes::new(false);
        let lease = asked(&mut nodes);
        let out = nodes.tell('V', verified(Ticket::Sale(lease), word));
        let sold = out.into_iter().find_map(|effect| if let Effect::Sold(sold) = effect { Some(sold) } else { None });
        assert_eq!(sold.is_some(), keeps);
        let Some(sold) = sold else { continue };
        let out = nodes.send('C', 'V', Message::Reveal { lease });
        let Effect::Send { message: Message::Answer(answer), .. } = &out[0] else { unreachable!() };
        let receipt = answer.receipt.body.digest(&net());
        let case = sold.at(&receipt, &net()).expect("the receipt that goes out");
        let inputs = case.request.body.limits.input_units;
        assert_eq!((inputs, case.output.len(), case.digests.len()), ((case.prompt.len() + 40) as u64, 40, 2));
    }
}

#[test]
fn an_audit_hears_its_verifier_in_order_and_nobody_else() {
    let mut nodes = Nodes::new(false);
    let lease = asked(&mut nodes);
    let (commit, answer) = answer(&mut nodes, lease, Word::Same);
    let answer = Message::Answer(Box::new(answer));
    let other = Message::Commit { lease, commit: Digest::ZERO };
    let close = Message::Close { lease, refusal: Refusal::new(RefusalCode::Busy, "busy", "") };
    let stands = "paid V 50, accepted V 50, V<pay 0 50, (equal), accepted W 50 audited, keep, stands audited";
    for (from, message, want) in [
        ('V', answer.clone(), ""),
        ('X', commit.clone(), ""),
        ('X', close, ""),
        ('V', commit.clone(), "V<reveal"),
        // The first commitment stands.
        ('V', other, "V<reveal"),
        ('X', answer.clone(), ""),
        ('V', answer.clone(), stands),
        ('V', commit, ""),
        // Its payment may be lost.
        ('V', answer.clone(), "V<pay 0 50"),
        ('X', answer, ""),
    ] {
        nodes.check('C', says(from, message), want);
    }
}

#[test]
fn an_audit_that_nobody_needs_any_more_is_closed() {
    let refusal = Refusal::new(RefusalCode::Cancelled, "the job was cancelled", "");
    let close = || Input::Close { attempt: ATTEMPT, refusal: refusal.clone() };
    let mut nodes = Nodes::new(true);
    asked(&mut nodes);
    nodes.check('C', close(), "V<close cancelled");
    nodes.check('C', close(), "");
    let (_, lease) = nodes.lease(ATTEMPT, 'W', 40, AuditPolicy::Own);
    for index in 0..2 {
        let chunk = nodes.chunk('W', lease, index);
        nodes.send('W', 'C', Message::Chunk(Box::new(chunk)));
    }
    assert_eq!(nodes.nodes[&'C'].next_wake().map(|w| w.0), Some(OWN_AUDIT_MS_MAX + 50 * PREFILL_TOKEN_MS_MAX));
    nodes.check('C', close(), "stop own");
    nodes.check('C', verified(Ticket::Own(lease), Word::Other(1)), "");
    assert_eq!(nodes.nodes[&'C'].open(), (0, 0, 0));
}

/// Whoever lied was paid for it, and it is no excuse that a copy of the step was faster.
#[test]
fn an_answer_that_a_faster_one_replaced_is_still_checked() {
    let refusal = |code| Refusal::new(code, "not needed", "");
    let close = |code| Input::Close { attempt: ATTEMPT, refusal: refusal(code) };
    let mut nodes = Nodes::new(true);
    let asked = asked(&mut nodes);
    nodes.check('C', close(RefusalCode::Superseded), "");
    let (commit, other) = answer(&mut nodes, asked, Word::Other(1));
    nodes.check('C', says('V', commit), "V<reveal");
    let disputed = "(different), draw not VCW";
    let out = nodes.check('C', says('V', Message::Answer(Box::new(other))), disputed);
    let Some(Effect::Draw { lease, .. }) = out.last() else { unreachable!() };
    // Once somebody has spoken against it, not even the end of the job ends it.
    nodes.check('C', close(RefusalCode::Cancelled), "");
    let own = Input::Candidates { lease: *lease, nodes: Vec::new() };
    nodes.check('C', own, "re-run own, (asks own engine)");
    let word = verified(Ticket::Own(*lease), Word::Other(1));
    nodes.check('C', word, "paid V 50, accepted V 50, V<pay 0 50, keep, dispute W 40, refuted W, convicted W, W<warning answer_refuted, falls audited, (different)");
    assert_eq!(nodes.nodes[&'C'].open(), (0, 0, 0));
}

#[test]
fn a_late_verifier_is_told_so() {
    let mut nodes = Nodes::new(false);
    let lease = asked(&mut nodes);
    nodes.at = AUDIT_MS_MAX + 50 * PREFILL_TOKEN_MS_MAX - 1;
    nodes.check('C', Input::Tick, "");
    nodes.at += 1;
    nodes.check('C', Input::Tick, "V<close silent, draw not VCW");
    let (commit, answer) = answer(&mut nodes, lease, Word::Same);
    nodes.check('C', says('V', commit), "");
    nodes.check('C', says('V', Message::Answer(Box::new(answer))), "");
}

#[test]
fn verifiers_are_drawn_by_stake_and_not_by_number() {
    use crate::drawn::drawn;
    use crate::parameters::VERIFIER_UNIT;
    use talkoo_base::{Address, NodeId, Price};
    let candidate = |node: u32, operator: u8| Candidate {
        node: NodeId::pretended(node),
        operator: Address([operator; 20]),
        price: Price { input: 0, output: 0 },
    };
    // One owner with 90 nodes, one with a single node, one with a single node and a bond of two units.
    let mut all: Vec<Candidate> = (0..90).map(|node| candidate(node, 1)).collect();
    all.extend([candidate(90, 2), candidate(91, 3)]);
    let all: Vec<&Candidate> = all.iter().collect();
    let bond = |operator: &Address| Amount(if operator.0[0] == 3 { 2 * VERIFIER_UNIT } else { 0 });
    let mut counts = [0_u32; 4];
    for n in 0..5_000_u32 {
        let draw = talkoo_base::sha256(&[&n.to_be_bytes()]);
        counts[usize::from(drawn(&draw, &all, bond).unwrap().operator.0[0])] += 1;
    }
    // Shares of one, one and three fifths; five standard deviations either way.
    for (count, share) in counts[1..].iter().zip([1_000_u32, 1_000, 3_000]) {
        assert!(count.abs_diff(share) < 175, "{counts:?}");
    }
    assert!(drawn(&Digest([255; 32]), &all, bond).is_some() && drawn(&Digest::ZERO, &[], bond).is_none());
}

#[test]
fn a_verdict_that_came_late_is_paid_all_the_same() {
    let mut nodes = Nodes::new(true);
    let (own, lease) = audited(&mut nodes);
    let (commit, found) = answer(&mut nodes, lease, Word::Other(1));
    nodes.check('C', says('V', commit), "V<reveal");
    nodes.check('C', says('V', Message::Answer(Box::new(found))), "(different), draw not VCW");
    // The verifier waits no more when the client's own engine has spoken.
    let late = Refusal::new(RefusalCode::Silent, "late", "");
    nodes.send('C', 'V', Message::Close { lease, refusal: late });
    nodes.tell('C', Input::Candidates { lease: own, nodes: Vec::new() });
    let out = nodes.tell('C', verified(Ticket::Own(own), Word::Other(1)));
    let pay = out.into_iter().find_map(|effect| match effect {
        Effect::Send { to, message: message @ Message::Pay { .. } } if to == id('V') => Some(message),
        _ => None,
    });
    let pay = pay.unwrap();
    nodes.check('V', says('C', pay.clone()), "earned C 50");
    nodes.check('V', says('C', pay.clone()), "");
    nodes.check('V', says('X', pay), "");
}
