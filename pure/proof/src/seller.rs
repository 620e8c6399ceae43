//! The worker's side of a lease: check the order, run it two chunks ahead of the money, sign a
//! receipt for each chunk; or re-run an output for an audit, commit, then reveal.

use crate::commit::{GrowingOutput, derive, trace_root, verdict_commit};
use crate::debts::Debts;
use crate::limits::{
    CHUNKS_AHEAD_MAX, DEBTORS_MAX, PREFILL_TOKEN_MS_MAX, REQUEST_S, RERUNS_MAX, RERUNS_PER_CLIENT_MAX, RESEND_MS,
    RESENDS_MAX, SALES_MAX, SALES_PER_SLOT_MAX,
};
use crate::machine::Context;
use crate::recent::{Recent, paid_late};
use crate::sale::Sale;
use crate::{Answer, Channel, Chunk, Effect, Event, Message, Notice, Order, Run, Terms, Ticket, order};
use std::collections::{BTreeMap, VecDeque};
use talkoo_base::wire::Typed;
use talkoo_base::{
    Amount, Digest, Finish, LeaseId, Logprobs, Mono, NodeId, Now, Receipt, Refusal, RefusalCode, Signed, Voucher,
};

/// All leases that we work on.
#[derive(Default)]
pub(crate) struct Seller {
    sales: BTreeMap<LeaseId, Sale>,
    /// Price of the chunks that vouchers were matched to, for each client; starts at what the
    /// journal says was received.
    settled: BTreeMap<NodeId, Amount>,
    debts: Debts,
    /// What the ledger says that clients' channels hold.
    funds: BTreeMap<NodeId, Amount>,
    pub(crate) recent: Recent,
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
        cx: &mut Context,
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
        let room = self.room(now.mono, &client, &order, terms);
        let work = match room.and_then(|()| order::check(cx, now, client, &order, terms)) {
            Ok(work) => work,
            Err(refusal) => {
                out.push(Effect::Send { to: client, message: Message::Close { lease, refusal } });
                return;
            }
        };
        let payer = order.channel.payer;
        if cx.purse.payer(&client) != Some(payer) {
            cx.record(Event::Payer { node: client, payer }, out);
        }
        if cx.funded {
            out.push(Effect::Channel(Channel::Watch { client, config: order.channel.clone() }));
        }
        let (ticket, tier) = (Ticket::Sale(lease), work.tier);
        let trace_id = order.request.body.inputs[1];
        // Until its first chunk nothing else says that the slot is in use.
        let for_ms = order.request.body.limits.input_units.saturating_mul(PREFILL_TOKEN_MS_MAX);
        out.push(Effect::Used { client, for_ms });
        out.push(Effect::Run(Box::new(Run { ticket, client, work, trace_id, rerun: order.rerun.clone() })));
        if order.rerun.is_none() {
            out.push(Effect::Credit { ticket, chunks: CHUNKS_AHEAD_MAX });
        }
        let sale = Sale {
            client,
            output: GrowingOutput::new(order.trace_salt),
            units: 0,
            order,
            tier,
            digests: Vec::new(),
            made: Vec::new(),
            logprobs: Vec::new(),
            receipts: Vec::new(),
            paid: Amount::ZERO,
            unpaid: VecDeque::new(),
            settled_chunks: 0,
            finish: Finish::Running,
            until: now.mono + REQUEST_S * 1_000,
            resend_at: None,
            resends: 0,
            answer: None,
            held_back: None,
        };
        self.sales.insert(lease, sale);
    }

    /// Whether there is room for one more lease of this client.
    fn room(&self, now: Mono, client: &NodeId, order: &Order, terms: Option<Terms>) -> Result<(), Refusal> {
        let busy = |message: &str| Refusal::new(RefusalCode::Busy, message, "try again in a minute");
        let wait = self.debts.wait_ms(now, client);
        if wait > 0 {
            let hint = format!("it gets another one in {} s", wait.div_ceil(1_000));
            return Err(Refusal::new(RefusalCode::ExposureExceeded, "this client left too much work unpaid", hint));
        }
        let is_rerun = order.rerun.is_some();
        let same_kind = || self.sales.values().filter(|s| s.order.rerun.is_some() == is_rerun);
        if same_kind().count() >= if is_rerun { RERUNS_MAX } else { SALES_MAX } {
            return Err(busy("too many leases are open here"));
        }
        let of_client = || same_kind().filter(|s| s.client == *client);
        if is_rerun && of_client().count() >= RERUNS_PER_CLIENT_MAX {
            return Err(busy("too many audits of this client are open here"));
        }
        // Without a reservation the order itself is refused, with a better reason.
        let slots = terms.map_or(0, |t| t.slots as usize);
        let running = of_client().filter(|s| s.finish == Finish::Running).count();
        if !is_rerun && slots > 0 && (running >= slots || of_client().count() >= slots * SALES_PER_SLOT_MAX) {
            return Err(busy("this client's slots are all in use").with(running + 1, slots));
        }
        Ok(())
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
        logprobs: Option<Logprobs>,
        finish: Finish,
        out: &mut Vec<Effect>,
    ) {
        let Ticket::Sale(lease) = ticket else { return };
        let settled = self.sales.get(&lease).map_or(Amount::ZERO, |s| self.settled(cx, &s.client));
        let Some(sale) = self.sales.get_mut(&lease) else { return };
        if sale.digests.len() != index as usize || sale.order.rerun.is_some() || sale.finish != Finish::Running {
            return;
        }
        sale.units += tokens.len() as u64;
        sale.output.extend(tokens);
        sale.made.extend_from_slice(tokens);
        sale.logprobs.extend(logprobs.as_ref().map(|told| told.bytes.clone()));
        sale.digests.push(digest);
        sale.finish = finish;
        let request = &sale.order.request.body;
        let worth = request.price.owed(sale.order.prompt.len() as u64, sale.units);
        let receipt = Receipt {
            units: sale.units,
            output_root: sale.output.root(),
            trace_root: trace_root(&sale.digests),
            cumulative: settled + worth.saturating_sub(sale.paid),
            finish,
            tier: sale.tier,
            ..cx.receipt(lease, request.channel)
        };
        let receipt = Signed::new(receipt, &cx.network, cx.signer.as_ref());
        sale.receipts.push((&receipt).into());
        let chunk = Chunk { lease, index, tokens: tokens.to_vec(), digest, logprobs, receipt };
        let message = Message::Chunk(Box::new(chunk));
        if finish != Finish::Running && sale.is_rechecked(&cx.entropy, &lease) {
            sale.held_back = Some((message, worth));
            out.push(Effect::Run(Box::new(sale.rerun(cx.me, lease))));
            return;
        }
        sale.send(now, message, worth, out);
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
        let Some(sale) = self.sales.get_mut(&lease).filter(|s| s.client == from) else {
            return paid_late(cx, self.funds.get(&from).copied(), from, voucher, out);
        };
        // A chunk that is paid already, or was never sent: a late twin.
        let Some((_, worth)) = sale.unpaid.front().filter(|_| index == sale.settled_chunks) else { return };
        let (due, offered) = (worth.saturating_sub(sale.paid), voucher.body.max_claimable);
        if voucher.signer != from.address() || voucher.body.channel != sale.order.request.body.channel {
            return;
        }
        // A promise above the deposit is none: the chunk is sent again, and counts when the channel was topped up.
        if cx.funded && offered > self.funds.get(&from).copied().unwrap_or_default() {
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
            cx.record(Event::Earned { node: from, voucher: voucher.into() }, out);
        }
        sale.paid = *worth;
        sale.unpaid.pop_front();
        sale.settled_chunks += 1;
        sale.resends = 0;
        sale.resend_at = (!sale.unpaid.is_empty()).then(|| now + RESEND_MS);
        if sale.order.rerun.is_none() {
            out.push(Effect::Used { client: from, for_ms: 0 });
        }
        // An audit has one answer, also when the output it judged had no honest end.
        if sale.finish == Finish::Running && sale.order.rerun.is_none() {
            out.push(Effect::Credit { ticket: Ticket::Sale(lease), chunks: 1 });
        } else if sale.unpaid.is_empty() && sale.held_back.is_none() {
            let tokens = sale.tokens();
            self.debts.paid(&from, tokens);
            self.end(lease, out);
        }
    }

    /// The ledger says what a client's channel holds: what was not paid may be payable now.
    pub(crate) fn funds(&mut self, now: Mono, client: NodeId, balance: Amount, out: &mut Vec<Effect>) {
        if self.funds.len() >= DEBTORS_MAX && !self.funds.contains_key(&client) {
            let Self { sales, funds, .. } = self;
            funds.retain(|node, _| sales.values().any(|sale| sale.client == *node));
        }
        if self.funds.insert(client, balance).is_some_and(|before| before >= balance) {
            return;
        }
        for sale in self.sales.values_mut().filter(|s| s.client == client && !s.unpaid.is_empty()) {
            (sale.resends, sale.resend_at) = (0, Some(now + RESEND_MS));
            out.extend(sale.unpaid.iter().map(|(message, _)| Effect::Send { to: client, message: message.clone() }));
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
        if let Some((message, worth)) = sale.held_back.take() {
            if diverged.is_none() && digests == sale.digests {
                return sale.send(now, message, worth, out);
            }
            let why = "this machine gave two answers to one question";
            let refusal =
                Refusal::new(RefusalCode::SelfTestFailed, why, "test its memory; another worker runs the step");
            out.push(Effect::Notice(Notice::Faulty { refusal: refusal.clone() }));
            return self.run_failed(now, lease, &refusal, out);
        }
        let Some(tokens) = &sale.order.rerun else { return };
        let request = &sale.order.request.body;
        let receipt = Receipt {
            units: diverged.unwrap_or(tokens.len() as u64),
            // Checked when the order came.
            output_root: request.inputs[2],
            trace_root: trace_root(digests),
            cumulative: settled + request.price.owed(request.limits.input_units, 0),
            finish: if diverged.is_some() { Finish::Diverged } else { finish },
            ..cx.receipt(lease, request.channel)
        };
        let salt = derive(&cx.entropy, "verdict", &[&lease.0.0]);
        let commit = verdict_commit(&lease, &receipt.trace_root, receipt.finish, receipt.units, &salt, &receipt.node);
        let message = Message::Commit { lease, commit };
        let receipt = Signed::new(receipt, &cx.network, cx.signer.as_ref());
        let (made, is_whole) = (tokens.clone(), diverged.is_none());
        sale.receipts.extend(is_whole.then(|| (&receipt).into()));
        sale.answer = Some(Answer { lease, receipt, salt });
        out.push(Effect::Send { to: sale.client, message: message.clone() });
        // A verifier's word can be disputed as a worker's.
        (sale.made, sale.digests) = (made, digests.to_vec());
        out.extend(sale.sold().map(|sold| Effect::Sold(Box::new(sold))));
        sale.unpaid.push_back((message, request.price.owed(request.limits.input_units, 0)));
        sale.resend_at = Some(now + RESEND_MS);
    }

    pub(crate) fn reveal(&mut self, now: Mono, from: NodeId, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(sale) = self.sales.get_mut(&lease).filter(|s| s.client == from) else { return };
        let Some(answer) = &sale.answer else { return };
        let message = Message::Answer(Box::new(answer.clone()));
        out.push(Effect::Send { to: from, message: message.clone() });
        if let Some((sent, _)) = sale.unpaid.front_mut() {
            *sent = message;
        }
        sale.resend_at = Some(now + RESEND_MS);
    }

    pub(crate) fn run_failed(&mut self, now: Mono, lease: LeaseId, refusal: &Refusal, out: &mut Vec<Effect>) {
        // An engine that can't look again has said nothing against what it made.
        if let Some(sale) = self.sales.get_mut(&lease)
            && let Some((message, worth)) = sale.held_back.take()
        {
            return sale.send(now, message, worth, out);
        }
        if let Some(sale) = self.sales.remove(&lease) {
            if refusal.code == RefusalCode::ExposureExceeded {
                self.debts.unpaid(now, sale.client, sale.tokens());
            }
            let message = Message::Close { lease, refusal: refusal.clone() };
            out.push(Effect::Send { to: sale.client, message });
        }
    }

    /// The client ends a lease.
    pub(crate) fn closed(
        &mut self,
        cx: &Context,
        now: Mono,
        from: NodeId,
        lease: LeaseId,
        why: RefusalCode,
        out: &mut Vec<Effect>,
    ) {
        let Some(sale) = self.sales.get(&lease).filter(|s| s.client == from) else { return };
        self.debts.unpaid(now, from, sale.tokens());
        out.push(Effect::Stop(Ticket::Sale(lease)));
        if why == RefusalCode::BadVoucher
            && let Some(voucher) = cx.purse.voucher(&from).and_then(|v| v.clone().open(&cx.network).ok())
        {
            out.push(Effect::Send { to: from, message: Message::Owed { voucher } });
        }
        self.end(lease, out);
    }

    pub(crate) fn peer_down(&mut self, now: Mono, node: NodeId, out: &mut Vec<Effect>) {
        let gone: Vec<LeaseId> = self.sales.iter().filter(|(_, s)| s.client == node).map(|(l, _)| *l).collect();
        for lease in gone {
            let tokens = self.sales.remove(&lease).map_or(0, |sale| sale.tokens());
            self.debts.unpaid(now, node, tokens);
            out.push(Effect::Stop(Ticket::Sale(lease)));
        }
    }

    pub(crate) fn stopping(&mut self, out: &mut Vec<Effect>) {
        for (lease, sale) in std::mem::take(&mut self.sales) {
            let refusal = Refusal::new(RefusalCode::Stopping, "this node is stopping", "another worker runs it");
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
                let (client, tokens) = (sale.client, sale.tokens());
                self.debts.unpaid(now, client, tokens);
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
            self.recent.push(lease, sale.client);
            let (client, units, audit) = (sale.client, sale.units, sale.order.rerun.is_some());
            out.push(Effect::Notice(Notice::Sold { client, units, audit }));
        }
    }
}
