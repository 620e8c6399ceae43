//! What a worker checks of an order before it works.

use crate::commit::{output_root, prompt_root, trace_id};
use crate::limits::{DIMENSIONS_MAX, ORDER_TOKENS_MAX, REQUEST_S};
use crate::machine::Context;
use crate::purse::channel;
use crate::{Order, Terms};
use talkoo_base::limits::CLOCK_SKEW_S_MAX;
use talkoo_base::{GenerateParams, Kind, NodeId, Now, Refusal, RefusalCode, Tier, Work};

fn no(code: RefusalCode, message: &str, hint: &str) -> Refusal {
    Refusal::new(code, message, hint)
}

/// Checks everything that can be checked before any work is done.
pub(crate) fn check(
    cx: &Context,
    now: Now,
    client: NodeId,
    order: &Order,
    terms: Option<Terms>,
) -> Result<Work, Refusal> {
    use RefusalCode::{
        BadSignature, BadVoucher, Busy, ContextExceeded, DeadlinePassed, Malformed, NotProviding, PriceTooLow, TooLarge,
    };
    let request = &order.request.body;
    let Some(terms) = terms else {
        return Err(no(NotProviding, "this node offers no compute now", "ask another node"));
    };
    if order.request.signer != client.address() {
        return Err(no(BadSignature, "the request is signed by another key", "sign with the node key"));
    }
    if request.worker != cx.me.address() || !matches!(request.kind, Kind::Generate | Kind::Embed) {
        return Err(no(Malformed, "the request is not for this node or of a kind it cannot do", "check the worker"));
    }
    if terms.slots == 0 && order.rerun.is_none() {
        return Err(no(Busy, "no slot is reserved for this client", "reserve first"));
    }
    if !request.kind.price(terms.price).within(&request.price) {
        return Err(no(PriceTooLow, "the price is under what this node takes", "see its card"));
    }
    let own = channel(&cx.network, order.channel.payer, client.address(), cx.operator, cx.me.address());
    if order.channel != own || request.channel != own.id(&cx.network) {
        return Err(no(BadVoucher, "the channel is not one this node is paid on", "use the vault and our operator"));
    }
    // From the first order on: a voucher does not say whose channel it is of, the payer does.
    if cx.purse.payer(&client).is_some_and(|payer| payer != order.channel.payer) {
        return Err(no(BadVoucher, "another account paid for this client before", "pay from the same one"));
    }
    if request.deadline <= now.unix {
        let late = no(DeadlinePassed, "the request's deadline has passed", "check both clocks");
        return Err(late.with(request.deadline.0, now.unix.0));
    }
    if request.deadline.0 > now.unix.0 + REQUEST_S + CLOCK_SKEW_S_MAX {
        let skew = no(RefusalCode::ClockSkew, "the deadline is too far away", "check both clocks");
        return Err(skew.with(now.unix.0 + REQUEST_S, request.deadline.0));
    }
    let Ok(params) = GenerateParams::from_bytes(&request.params) else {
        return Err(no(Malformed, "the parameters do not parse", "update one of the two nodes"));
    };
    let rerun = order.rerun.as_deref();
    let tokens = order.prompt.len() + rerun.map_or(0, <[u32]>::len);
    if tokens > ORDER_TOKENS_MAX {
        return Err(no(TooLarge, "the order has too many tokens", "split it").with(ORDER_TOKENS_MAX, tokens));
    }
    let (program, tier) = (request.program, terms.tier);
    let work = Work { kind: request.kind, program, tier, prompt: order.prompt.clone(), params, seed: request.seed };
    check_float(&work, rerun.is_some())?;
    check_embed(&work)?;
    let prompt = prompt_root(&order.prompt_salt, &order.prompt);
    let mut inputs = vec![prompt, trace_id(&order.trace_salt, &prompt, &work)];
    inputs.extend(rerun.map(|tokens| output_root(&order.trace_salt, tokens)));
    if request.inputs != inputs || request.limits.input_units != input_units(&work, rerun) {
        return Err(no(Malformed, "the prompt is not the one that the request signs", "send what was signed"));
    }
    if rerun.is_none() && request.limits.output_units != u64::from(work.params.max_tokens) {
        return Err(no(ContextExceeded, "limits and parameters differ on the output's length", "make them equal"));
    }
    Ok(work)
}

/// Input units of an order: a model that checks its own output reads that, too; an embedding is made again from its text.
pub(crate) fn input_units(work: &Work, rerun: Option<&[u32]>) -> u64 {
    let output = rerun.filter(|_| work.kind != Kind::Embed).map_or(0, <[u32]>::len);
    work.prompt.len() as u64 + output as u64
}

/// A vector has one form, and one text.
fn check_embed(work: &Work) -> Result<(), Refusal> {
    if work.kind != Kind::Embed {
        return Ok(());
    }
    if work.tier != Tier::Exact {
        return Err(no(
            RefusalCode::UnsupportedParameter,
            "embeddings are of the exact tier",
            "ask for an exact model",
        ));
    }
    if work.params != Kind::params_of_embed(work.params.max_tokens) || work.params.max_tokens as usize > DIMENSIONS_MAX
    {
        return Err(no(RefusalCode::Malformed, "the parameters are none of an embedding", "leave them out"));
    }
    Ok(())
}

/// The float tier has no re-runs, and only the parameters that every server knows.
fn check_float(work: &Work, is_rerun: bool) -> Result<(), Refusal> {
    match work.tier {
        Tier::Exact | Tier::Quorum => Ok(()),
        Tier::Float if is_rerun => {
            let message = "an answer of the float tier cannot be checked by recomputation";
            Err(no(RefusalCode::UnsupportedParameter, message, "ask for an exact model"))
        }
        Tier::Float => work.params.check_float(),
    }
}
