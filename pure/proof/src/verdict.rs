//! What a verdict leaves behind: the event, the words, the record to keep.

use crate::audit::{Audit, Finding, Opinion};
use crate::kept::{Disclosure, Kept, Link};
use crate::machine::Context;
use crate::{Effect, Event};
use talkoo_base::wire::Sealed;
use talkoo_base::{Contracts, Finish};

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
