//! What a verdict leaves behind: the event, the words, the record to keep.

use crate::audit::{Audit, Finding, Opinion};
use crate::dispute::Case;
use crate::kept::{Disclosure, Kept, Link};
use crate::machine::Context;
use crate::{Effect, Event, Message, Notice};
use talkoo_base::wire::Sealed;
use talkoo_base::{Contracts, Finish, Kind, LeaseId, NodeId, Refusal, RefusalCode};

/// The answer stands: its worker deserves the money, the record is kept.
pub(crate) fn accept(cx: &mut Context, audit: &Audit, audited: bool, own: Option<bool>, out: &mut Vec<Effect>) {
    let purchase = &audit.purchase;
    let (attempt, node) = (purchase.attempt, purchase.worker.node);
    cx.record(Event::Accepted { node, worth: purchase.worth, audited, seen: audit.seen }, out);
    out.push(Effect::Keep(Box::new(keep(cx, audit, own))));
    out.push(Effect::Verdict { attempt, node, stands: true, audited });
}

/// The lie in words.
pub(crate) fn lie(audit: &Audit, proven: Option<Finding>) -> String {
    let step = audit.purchase.attempt.step;
    match proven.map(|p| p.finish) {
        Some(Finish::Diverged) if audit.purchase.work.kind == Kind::Embed => {
            format!("its vector for step {step} is not the one that the model gives")
        }
        Some(Finish::Diverged) => format!("its answer to step {step} has a token that the model does not give"),
        _ => format!("its states for step {step} are not those of the model it claims"),
    }
}

pub(crate) fn keep(cx: &Context, audit: &Audit, own_rerun: Option<bool>) -> Kept {
    let purchase = &audit.purchase;
    let order = &purchase.order;
    let links = purchase.receipts.iter().map(|(r, v)| Link { receipt: r.into(), voucher: v.into() }).collect();
    // What our own engine refuted is a verifier's lie, and no word about this answer.
    let honest = |o: &&Opinion| own_rerun.is_none_or(|equal| (o.finding == audit.claim()) == equal);
    let sealed = |o: &Opinion| (Sealed::from(&o.request), Sealed::from(&o.receipt));
    let (reruns, lies): (Vec<&Opinion>, Vec<&Opinion>) = audit.opinions.iter().partition(honest);
    Kept {
        version: talkoo_base::wire::VERSION,
        network: cx.network.name.clone(),
        chain_id: cx.network.chain_id,
        settlement: Some(cx.network.contracts.settlement).filter(|at| *at != Contracts::CANONICAL_SETTLEMENT),
        step: purchase.attempt.step,
        request: (&order.request).into(),
        channel: order.channel.clone(),
        digests: purchase.digests.clone(),
        links,
        disclosure: Some(Disclosure {
            prompt_salt: order.prompt_salt,
            trace_salt: order.trace_salt,
            prompt: purchase.work.prompt.clone(),
            output: purchase.tokens.clone(),
        }),
        reruns: reruns.into_iter().map(sealed).collect(),
        lies: lies.into_iter().map(sealed).collect(),
        own_rerun,
    }
}

/// Tells a node once that our own engine finds other numbers: it should look at its machine before it loses more.
pub(crate) fn warn(node: NodeId, lease: LeaseId, out: &mut Vec<Effect>) {
    let message = "our own engine finds other numbers for this lease";
    let refusal = Refusal::new(RefusalCode::AnswerRefuted, message, "test this machine's memory and kernels");
    out.push(Effect::Send { to: node, message: Message::Warning { lease, refusal } });
}

/// Whether a verifier of another owner made the worker's very mistake with the worker's build, which is not ours. What a build
/// is called is its node's own word: where somebody with that build found better, two liars have no excuse in its name.
pub(crate) fn same_fault(cx: &Context, audit: &Audit, opinion: &Opinion) -> bool {
    let (receipt, _) = audit.purchase.receipts.last().expect("a delivery has at least one receipt");
    let build = receipt.body.build;
    let alike = opinion.finding == audit.claim() && opinion.receipt.body.build == build;
    let is_sound = audit.opinions.iter().any(|o| o.finding != audit.claim() && o.receipt.body.build == build);
    alike && !is_sound && build != cx.build && opinion.verifier.operator != audit.purchase.worker.operator
}

/// A refuted answer that another owner's node of the same build gave, too, is more likely the build's fault: nobody is
/// convicted of it, and the build is left alone.
pub(crate) fn quarantine(cx: &Context, audit: &Audit, out: &mut Vec<Effect>) -> bool {
    let alike: Vec<&Opinion> = audit.opinions.iter().filter(|o| same_fault(cx, audit, o)).collect();
    let Some(first) = alike.first() else { return false };
    let build = first.receipt.body.build;
    let step = audit.purchase.attempt.step;
    let message = format!("nodes of build {} gave the same wrong numbers for step {step}", build.short());
    let refusal = Refusal::new(RefusalCode::BuildQuarantined, message, "nodes of it have to update");
    let nodes = alike.iter().map(|o| o.verifier.node).chain([audit.purchase.worker.node]).collect();
    out.push(Effect::Notice(Notice::Quarantined { build, refusal: refusal.clone() }));
    out.push(Effect::Quarantined { build, nodes, refusal });
    true
}

/// What its worker can be held to before a contract, which knows the programs of models that generate.
pub(crate) fn dispute(audit: &Audit) -> Option<Effect> {
    let is_judged = audit.purchase.work.kind == Kind::Generate;
    is_judged.then(|| Effect::Dispute { worker: audit.purchase.worker.node, case: Box::new(case(audit)) })
}

fn case(audit: &Audit) -> Case {
    let purchase = &audit.purchase;
    let order = &purchase.order;
    let (receipt, _) = purchase.receipts.last().expect("a delivery has at least one receipt");
    Case {
        request: (&order.request).into(),
        receipt: receipt.into(),
        channel: order.channel.clone(),
        prompt_salt: order.prompt_salt,
        trace_salt: order.trace_salt,
        prompt: purchase.work.prompt.clone(),
        output: purchase.tokens.clone(),
        digests: purchase.digests.clone(),
        logprobs: purchase.logprobs.clone(),
    }
}
