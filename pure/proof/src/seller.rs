//! The worker's side of a lease: check the order, run it two chunks ahead of the money, sign a
//! receipt for each chunk; or re-run an output for an audit, commit, then reveal.

use crate::commit::{derive, output_root, prompt_root, trace_id, trace_root, verdict_commit};
use crate::limits::{
    CHUNKS_AHEAD_MAX, ORDER_TOKENS_MAX, REQUEST_S, RERUNS_MAX, RERUNS_PER_CLIENT_MAX, RESEND_MS, RESENDS_MAX, SALES_MAX,
};
use crate::machine::Context;
use crate::purse::channel;
use crate::{Answer, Chunk, Effect, Event, Message, Notice, Order, Run, Terms, Ticket};
use std::collections::{BTreeMap, VecDeque};
use talkoo_base::limits::CLOCK_SKEW_S_MAX;
use talkoo_base::wire::Typed;
use talkoo_base::{
    Amount, Digest, Finish, GenerateParams, Kind, LeaseId, Mono, NodeId, Now, Receipt, Refusal, RefusalCode, Signed,
    Tier, Unit, Voucher, Work,
};

/// A lease that we work on.
struct Sale {
    client: NodeId,
    order: Order,
    tokens: Vec<u32>,
    digests: Vec<Digest>,
    /// Price of the units that vouchers have paid.
    paid: Amount,
    /// Sent and not yet paid, with the price up to each.
    unpaid: VecDeque<(Message, Amount)>,
    settled_chunks: u32,
    finish: Finish,
    /// Whatever happens, it ends here: a client that vanished in between is not waited for.
    until: Mono,
    resend_at: Option<Mono>,
    resends: u32,
    answer: Option<Answer>,
}

/// All leases that we work on.
#[derive(Default)]
pub(crate) struct Seller {
    sales: BTreeMap<LeaseId, Sale>,
    /// Price of the chunks that vouchers were matched to, for each client; starts at what the
    /// journal says was received.
    settled: BTreeMap<NodeId, Amount>,
}

fn no(code: RefusalCode, message: &str, hint: &str) -> Refusal {
    Refusal::new(code, message, hint)
}

/// Checks everything that can be checked before any work is done.
fn check(cx: &Context, now: Now, client: NodeId, order: &Order, terms: Option<Terms>) -> Result<Work, Refusal> {
    use RefusalCode::{
        BadSignature, BadVoucher, Busy, ContextExceeded, DeadlinePassed, Malformed, NotProviding, PriceTooLow,
        TooLarge, UnsupportedParameter,
    };
    let request = &order.request.body;
    let Some(terms) = terms else {
        return Err(no(NotProviding, "this node offers no compute now", "ask another node"));
    };
    if order.request.signer != client.address() {
        return Err(no(BadSignature, "the request is signed by another key", "sign with the node key"));
    }
    if request.worker != cx.me.address() || request.kind != Kind::Generate {
        return Err(no(Malformed, "the request is not for this node or of a kind it cannot do", "check the worker"));
    }
    if !terms.reserved && order.rerun.is_none() {
        return Err(no(Busy, "no slot is reserved for this client", "reserve first"));
    }
    if !terms.price.within(&request.price) {
        return Err(no(PriceTooLow, "the price is under what this node takes", "see its card"));
    }
    let own = channel(&cx.network, order.channel.payer, client.address(), cx.operator);
    if order.channel != own || request.channel != own.id(&cx.network) {
        return Err(no(BadVoucher, "the channel is not one this node is paid on", "use the vault and our operator"));
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
    if !params.stop.is_empty() {
        return Err(no(UnsupportedParameter, "stop strings are not supported", "use stop tokens"));
    }
    let rerun = order.rerun.as_deref();
    let tokens = order.prompt.len() + rerun.map_or(0, <[u32]>::len);
    if tokens > ORDER_TOKENS_MAX {
        return Err(no(TooLarge, "the order has too many tokens", "split it").with(ORDER_TOKENS_MAX, tokens));
    }
    let work = Work { program: request.program, prompt: order.prompt.clone(), params, seed: request.seed };
    let prompt = prompt_root(&order.prompt_salt, &order.prompt);
    let mut inputs = vec![prompt, trace_id(&order.trace_salt, &prompt, &work)];
    inputs.extend(rerun.map(|tokens| output_root(&order.trace_salt, tokens)));
    if request.inputs != inputs || request.limits.input_units != tokens as u64 {
        return Err(no(Malformed, "the prompt is not the one that the request signs", "send what was signed"));
    }
    if rerun.is_none() && request.limits.output_units != u64::from(work.params.max_tokens) {
        return Err(no(ContextExceeded, "limits and parameters differ on the output's length", "make them equal"));
    }
    Ok(work)
}

impl Seller {
    pub(crate) fn len(&self) -> usize {
        self.sales.len()
    }

    pub(crate) fn next_wake(&self) -> Option<Mono> {
        self.sales.values().map(|s| s.resend_at.unwrap_or(s.until).min(s.until)).min()
    }

    pub(crate) fn lease(
        &mut self,
        cx: &Context,
        now: Now,
        client: NodeId,
        order: Order,
        terms: Option<Terms>,
        out: &mut Vec<Effect>,
    ) {
        let lease = LeaseId(order.request.body.digest(&cx.network));
        if self.sales.contains_key(&lease) {
            return;
        }
        let same_kind = self.sales.values().filter(|s| s.order.rerun.is_some() == order.rerun.is_some()).count();
        let room = if order.rerun.is_some() { RERUNS_MAX } else { SALES_MAX };
        let is_audit = |s: &&Sale| s.client == client && s.order.rerun.is_some();
        let audits = if order.rerun.is_some() { self.sales.values().filter(is_audit).count() } else { 0 };
        let checked = if same_kind < room && audits < RERUNS_PER_CLIENT_MAX {
            check(cx, now, client, &order, terms)
        } else {
            Err(no(RefusalCode::Busy, "too many leases are open here", "try again in a minute"))
        };
        let work = match checked {
            Ok(work) => work,
            Err(refusal) => {
                out.push(Effect::Send { to: client, message: Message::Close { lease, refusal } });
                return;
            }
        };
        let ticket = Ticket::Sale(lease);
        let trace_id = order.request.body.inputs[1];
        out.push(Effect::Used(client));
        out.push(Effect::Run(Box::new(Run { ticket, work, trace_id, rerun: order.rerun.clone() })));
        if order.rerun.is_none() {
            out.push(Effect::Credit { ticket, chunks: CHUNKS_AHEAD_MAX });
        }
        let sale = Sale {
            client,
            order,
            tokens: Vec::new(),
            digests: Vec::new(),
            paid: Amount::ZERO,
            unpaid: VecDeque::new(),
            settled_chunks: 0,
            finish: Finish::Running,
            until: now.mono + REQUEST_S * 1_000,
            resend_at: None,
            resends: 0,
            answer: None,
        };
        self.sales.insert(lease, sale);
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one input, taken apart by the only caller")]
    pub(crate) fn produced(
        &mut self,
        cx: &Context,
        now: Mono,
        ticket: Ticket,
        index: u32,
        tokens: &[u32],
        digest: Digest,
        finish: Finish,
        out: &mut Vec<Effect>,
    ) {
        let Ticket::Sale(lease) = ticket else { return };
        let settled = self.sales.get(&lease).map_or(Amount::ZERO, |s| self.settled(cx, &s.client));
        let Some(sale) = self.sales.get_mut(&lease) else { return };
        if sale.digests.len() != index as usize || sale.order.rerun.is_some() || sale.finish != Finish::Running {
            return;
        }
        sale.tokens.extend_from_slice(tokens);
        sale.digests.push(digest);
        sale.finish = finish;
        let request = &sale.order.request.body;
        let worth = request.price.owed(sale.order.prompt.len() as u64, sale.tokens.len() as u64);
        let receipt = Receipt {
            units: sale.tokens.len() as u64,
            output_root: output_root(&sale.order.trace_salt, &sale.tokens),
            trace_root: trace_root(&sale.digests),
            cumulative: settled + worth.saturating_sub(sale.paid),
            finish,
            ..blank(cx, lease, request.channel)
        };
        let receipt = Signed::new(receipt, &cx.network, cx.signer.as_ref());
        let chunk = Chunk { lease, index, tokens: tokens.to_vec(), digest, receipt };
        let message = Message::Chunk(Box::new(chunk));
        out.push(Effect::Send { to: sale.client, message: message.clone() });
        out.push(Effect::Used(sale.client));
        sale.unpaid.push_back((message, worth));
        sale.resend_at.get_or_insert(now + RESEND_MS);
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one input, taken apart by the only caller")]
    pub(crate) fn paid(
        &mut self,
        cx: &mut Context,
        now: Mono,
        from: NodeId,
        lease: LeaseId,
        index: u32,
        voucher: &Signed<Voucher>,
        out: &mut Vec<Effect>,
    ) {
        let Some(sale) = self.sales.get_mut(&lease).filter(|s| s.client == from) else { return };
        // A chunk that is paid already, or was never sent: a late twin.
        let Some((_, worth)) = sale.unpaid.front().filter(|_| index == sale.settled_chunks) else { return };
        let (due, offered) = (worth.saturating_sub(sale.paid), voucher.body.max_claimable);
        if voucher.signer != from.address() || voucher.body.channel != sale.order.request.body.channel {
            return;
        }
        // Vouchers of one channel may overtake each other; the largest counts for all of them.
        let before = cx.purse.earned(&from);
        let settled = self.settled.entry(from).or_insert(before);
        if *settled + due > before.max(offered) {
            return;
        }
        *settled += due;
        if offered > before {
            cx.record(Event::Earned { node: from, total: offered }, out);
        }
        sale.paid = *worth;
        sale.unpaid.pop_front();
        sale.settled_chunks += 1;
        sale.resends = 0;
        sale.resend_at = (!sale.unpaid.is_empty()).then(|| now + RESEND_MS);
        // An audit has one answer, also when the output it judged had no honest end.
        if sale.finish == Finish::Running && sale.order.rerun.is_none() {
            out.push(Effect::Credit { ticket: Ticket::Sale(lease), chunks: 1 });
        } else if sale.unpaid.is_empty() {
            self.end(lease, out);
        }
    }

    /// What this client's vouchers have paid for, as far as we have matched them to chunks.
    fn settled(&self, cx: &Context, client: &NodeId) -> Amount {
        self.settled.get(client).copied().unwrap_or_else(|| cx.purse.earned(client))
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one input, taken apart by the only caller")]
    pub(crate) fn verified(
        &mut self,
        cx: &Context,
        now: Mono,
        lease: LeaseId,
        digests: &[Digest],
        diverged: Option<u64>,
        finish: Finish,
        out: &mut Vec<Effect>,
    ) {
        let settled = self.sales.get(&lease).map_or(Amount::ZERO, |s| self.settled(cx, &s.client));
        let Some(sale) = self.sales.get_mut(&lease).filter(|s| s.answer.is_none()) else { return };
        let Some(tokens) = &sale.order.rerun else { return };
        let request = &sale.order.request.body;
        let receipt = Receipt {
            units: diverged.unwrap_or(tokens.len() as u64),
            output_root: output_root(&sale.order.trace_salt, tokens),
            trace_root: trace_root(digests),
            cumulative: settled + request.price.owed(request.limits.input_units, 0),
            finish: if diverged.is_some() { Finish::Diverged } else { finish },
            ..blank(cx, lease, request.channel)
        };
        let salt = derive(&cx.entropy, "verdict", &[&lease.0.0]);
        let commit = verdict_commit(&lease, &receipt.trace_root, receipt.finish, receipt.units, &salt, &receipt.node);
        let message = Message::Commit { lease, commit };
        let receipt = Signed::new(receipt, &cx.network, cx.signer.as_ref());
        sale.answer = Some(Answer { lease, receipt, salt });
        out.push(Effect::Send { to: sale.client, message: message.clone() });
        sale.unpaid.push_back((message, request.price.owed(request.limits.input_units, 0)));
        sale.resend_at = Some(now + RESEND_MS);
    }

    pub(crate) fn reveal(&mut self, _cx: &Context, now: Mono, from: NodeId, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(sale) = self.sales.get_mut(&lease).filter(|s| s.client == from) else { return };
        let Some(answer) = &sale.answer else { return };
        let message = Message::Answer(Box::new(answer.clone()));
        out.push(Effect::Send { to: from, message: message.clone() });
        if let Some((sent, _)) = sale.unpaid.front_mut() {
            *sent = message;
        }
        sale.resend_at = Some(now + RESEND_MS);
    }

    pub(crate) fn run_failed(&mut self, lease: LeaseId, refusal: &Refusal, out: &mut Vec<Effect>) {
        if let Some(sale) = self.sales.remove(&lease) {
            let message = Message::Close { lease, refusal: refusal.clone() };
            out.push(Effect::Send { to: sale.client, message });
        }
    }

    /// The client ends a lease.
    pub(crate) fn closed(&mut self, from: NodeId, lease: LeaseId, out: &mut Vec<Effect>) {
        if self.sales.get(&lease).is_some_and(|s| s.client == from) {
            out.push(Effect::Stop(Ticket::Sale(lease)));
            self.end(lease, out);
        }
    }

    pub(crate) fn peer_down(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        let gone: Vec<LeaseId> = self.sales.iter().filter(|(_, s)| s.client == node).map(|(l, _)| *l).collect();
        for lease in gone {
            self.sales.remove(&lease);
            out.push(Effect::Stop(Ticket::Sale(lease)));
        }
    }

    pub(crate) fn stopping(&mut self, out: &mut Vec<Effect>) {
        for (lease, sale) in std::mem::take(&mut self.sales) {
            let refusal = no(RefusalCode::Stopping, "this node is stopping", "another worker runs it");
            out.push(Effect::Stop(Ticket::Sale(lease)));
            out.push(Effect::Send { to: sale.client, message: Message::Close { lease, refusal } });
        }
    }

    pub(crate) fn tick(&mut self, now: Mono, out: &mut Vec<Effect>) {
        let due: Vec<LeaseId> = self
            .sales
            .iter()
            .filter(|(_, s)| s.until <= now || s.resend_at.is_some_and(|t| t <= now))
            .map(|(l, _)| *l)
            .collect();
        for lease in due {
            let Some(sale) = self.sales.get_mut(&lease) else { continue };
            if sale.resends >= RESENDS_MAX || sale.until <= now {
                let message = "the client did not answer, or the lease outlived its request";
                let refusal = Refusal::new(RefusalCode::Silent, message, "open a new lease");
                out.push(Effect::Send { to: sale.client, message: Message::Close { lease, refusal } });
                out.push(Effect::Stop(Ticket::Sale(lease)));
                self.end(lease, out);
                continue;
            }
            sale.resends += 1;
            sale.resend_at = Some(now + RESEND_MS);
            out.extend(
                sale.unpaid.iter().map(|(message, _)| Effect::Send { to: sale.client, message: message.clone() }),
            );
        }
    }

    fn end(&mut self, lease: LeaseId, out: &mut Vec<Effect>) {
        if let Some(sale) = self.sales.remove(&lease) {
            let (client, units, audit) = (sale.client, sale.tokens.len() as u64, sale.order.rerun.is_some());
            out.push(Effect::Notice(Notice::Sold { client, units, audit }));
        }
    }
}

fn blank(cx: &Context, lease: LeaseId, channel: Digest) -> Receipt {
    Receipt {
        version: talkoo_base::wire::VERSION,
        tier: Tier::Exact,
        request: lease.0,
        unit: Unit::Token,
        units: 0,
        output_root: Digest::ZERO,
        trace_root: Digest::ZERO,
        build: cx.build,
        operator: cx.operator,
        node: cx.me.address(),
        channel,
        cumulative: Amount::ZERO,
        finish: Finish::Running,
    }
}
