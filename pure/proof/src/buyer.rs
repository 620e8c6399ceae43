//! The client's side of a lease: request, receipts, vouchers.

use crate::commit::{GrowingOutput, coin_commit, derive, prompt_root, trace_id, trace_root};
use crate::limits::{PREFILL_TOKEN_MS_MAX, REQUEST_S, STATE_BYTES_PER_TOKEN};
use crate::machine::Context;
use crate::order::input_units;
use crate::purse::{channel, voucher};
use crate::{Candidate, Channel, Chunk, Effect, Event, Message, Notice, Order};
use std::collections::BTreeMap;
use talkoo_base::wire::Typed;
use talkoo_base::{
    Amount, Attempt, AuditPolicy, ChannelConfig, Digest, Finish, Kind, LeaseId, Limits, NodeId, Now, Receipt, Refusal,
    RefusalCode, Request, Signed, Tier, Unit, Unix, Voucher, Work, float_chunk,
};

/// A lease of ours and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Purchase {
    pub(crate) attempt: Attempt,
    pub(crate) worker: Candidate,
    pub(crate) work: Work,
    pub(crate) lease: LeaseId,
    pub(crate) order: Order,
    pub(crate) coin: Digest,
    pub(crate) tokens: Vec<u32>,
    /// Canonical bytes of each chunk's log probabilities.
    pub(crate) logprobs: Vec<Vec<u8>>,
    pub(crate) output: GrowingOutput,
    pub(crate) digests: Vec<Digest>,
    pub(crate) receipts: Vec<(Signed<Receipt>, Signed<Voucher>)>,
    pub(crate) worth: Amount,
    pub(crate) finish: Finish,
}

#[derive(Default)]
pub(crate) struct Buyer {
    open: BTreeMap<LeaseId, Purchase>,
    names: BTreeMap<Attempt, LeaseId>,
    /// Channels of workers whose sums we did not know.
    unsure: BTreeMap<NodeId, Digest>,
}

/// The parts of an order that do not depend on who works.
pub(crate) struct Draft<'a> {
    pub(crate) worker: Candidate,
    pub(crate) work: &'a Work,
    pub(crate) job: Digest,
    pub(crate) prompt_salt: Digest,
    pub(crate) trace_salt: Digest,
    pub(crate) coin: Digest,
    pub(crate) audit: AuditPolicy,
    /// The output and its root.
    pub(crate) rerun: Option<(&'a [u32], Digest)>,
}

/// Signs the request for a lease or an audit.
pub(crate) fn order(cx: &Context, now: Now, draft: &Draft<'_>) -> Order {
    let channel = to_worker(cx, &draft.worker);
    let prompt = prompt_root(&draft.prompt_salt, &draft.work.prompt);
    let mut inputs = vec![prompt, trace_id(&draft.trace_salt, &prompt, draft.work)];
    let input_units = input_units(draft.work, draft.rerun.map(|(tokens, _)| tokens));
    let mut output_units = u64::from(draft.work.params.max_tokens);
    if let Some((_, root)) = draft.rerun {
        inputs.push(root);
        output_units = 0;
    }
    let context = input_units + output_units;
    let request = Request {
        version: talkoo_base::wire::VERSION,
        kind: draft.work.kind,
        job: draft.job,
        program: draft.work.program,
        inputs,
        params: draft.work.params.to_bytes(),
        limits: Limits { input_units, output_units, state_bytes: context.saturating_mul(STATE_BYTES_PER_TOKEN) },
        seed: draft.work.seed,
        audit_commit: coin_commit(&draft.coin),
        audit: draft.audit,
        price: draft.work.kind.price(draft.worker.price),
        deadline: Unix(now.unix.0.saturating_add(REQUEST_S)),
        worker: draft.worker.node.address(),
        channel: channel.id(&cx.network),
    };
    Order {
        request: Signed::new(request, &cx.network, cx.signer.as_ref()),
        channel,
        prompt_salt: draft.prompt_salt,
        trace_salt: draft.trace_salt,
        prompt: draft.work.prompt.clone(),
        rerun: draft.rerun.map(|(tokens, _)| tokens.to_vec()),
    }
}

/// The channel on which we pay a worker.
fn to_worker(cx: &Context, worker: &Candidate) -> ChannelConfig {
    channel(&cx.network, cx.operator, cx.me.address(), worker.operator, worker.node.address())
}

/// Signs and records a voucher that pays `worth` more on the worker's channel.
pub(crate) fn pay(
    cx: &mut Context,
    worker: &Candidate,
    channel: Digest,
    worth: Amount,
    out: &mut Vec<Effect>,
) -> Signed<Voucher> {
    let total = cx.purse.account(&worker.node).signed + worth;
    cx.record(Event::Paid { node: worker.node, total }, out);
    voucher(&cx.network, cx.signer.as_ref(), channel, total)
}

/// Asks that the channel holds what everything ordered of a worker may cost.
pub(crate) fn fund<'a>(
    cx: &Context,
    worker: &Candidate,
    orders: impl Iterator<Item = &'a Order>,
    out: &mut Vec<Effect>,
) {
    if !cx.funded {
        return;
    }
    let most = |order: &Order| {
        let Request { price, limits, .. } = &order.request.body;
        price.owed(limits.input_units, limits.output_units)
    };
    let need = orders.map(most).fold(cx.purse.account(&worker.node).signed, |sum, most| sum + most);
    let config = to_worker(cx, worker);
    out.push(Effect::Channel(Channel::Fund { config, need }));
}

/// Proves to the world that a node lied, as far as we are concerned.
pub(crate) fn convict(cx: &mut Context, node: NodeId, refusal: Refusal, out: &mut Vec<Effect>) {
    if cx.purse.account(&node).refuted {
        return;
    }
    cx.record(Event::Refuted(node), out);
    out.push(Effect::Notice(Notice::Convicted { node, refusal: refusal.clone() }));
    out.push(Effect::Convicted { node, refusal });
}

/// Workers that may show us a forgotten voucher at once.
const UNSURE_MAX: usize = 1_024;

impl Buyer {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one input, taken apart by the only caller")]
    pub(crate) fn open(
        &mut self,
        cx: &Context,
        now: Now,
        attempt: Attempt,
        worker: Candidate,
        work: Work,
        audit: AuditPolicy,
        out: &mut Vec<Effect>,
    ) {
        let about = [&attempt.job.0.0[..], &attempt.step.to_be_bytes(), &attempt.number.to_be_bytes()];
        let coin = derive(&cx.entropy, "coin", &about);
        let draft = Draft {
            worker,
            work: &work,
            job: attempt.job.0,
            prompt_salt: derive(&cx.entropy, "prompt", &about),
            trace_salt: derive(&cx.entropy, "trace", &about),
            coin,
            audit,
            rerun: None,
        };
        let order = order(cx, now, &draft);
        let lease = LeaseId(order.request.body.digest(&cx.network));
        let open = self.open.values().filter(|p| p.worker.node == worker.node);
        fund(cx, &worker, open.map(|p| &p.order).chain([&order]), out);
        out.push(Effect::Send { to: worker.node, message: Message::Lease(Box::new(order.clone())) });
        self.names.insert(attempt, lease);
        let purchase = Purchase {
            attempt,
            worker,
            work,
            lease,
            output: GrowingOutput::new(order.trace_salt),
            order,
            coin,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            digests: Vec::new(),
            receipts: Vec::new(),
            worth: Amount::ZERO,
            finish: Finish::Running,
        };
        self.open.insert(lease, purchase);
    }

    /// Ends a lease of ours. What was delivered stays paid.
    pub(crate) fn close(&mut self, attempt: Attempt, refusal: &Refusal, out: &mut Vec<Effect>) {
        let Some(lease) = self.names.remove(&attempt) else { return };
        let Some(purchase) = self.open.remove(&lease) else { return };
        let message = Message::Close { lease, refusal: refusal.clone() };
        out.push(Effect::Send { to: purchase.worker.node, message });
    }

    /// A worker whose sum we did not know shows a voucher of ours: what we signed counts, whether we
    /// remember it or not.
    pub(crate) fn owed(&mut self, cx: &mut Context, from: NodeId, voucher: &Signed<Voucher>, out: &mut Vec<Effect>) {
        let (ours, total) = (voucher.signer == cx.me.address(), voucher.body.max_claimable);
        if ours && self.unsure.get(&from) == Some(&voucher.body.channel) {
            self.unsure.remove(&from);
            if total > cx.purse.account(&from).signed {
                cx.record(Event::Paid { node: from, total }, out);
            }
        }
    }

    /// The worker ends it.
    pub(crate) fn closed(&mut self, from: NodeId, lease: LeaseId, refusal: &Refusal, out: &mut Vec<Effect>) {
        if self.open.get(&lease).is_none_or(|p| p.worker.node != from) {
            return;
        }
        let Some(purchase) = self.open.remove(&lease) else { return };
        self.names.remove(&purchase.attempt);
        out.push(Effect::Broken { attempt: purchase.attempt, node: from, refusal: refusal.clone() });
    }

    /// Checks a chunk, pays it, and hands the purchase over when it is complete.
    pub(crate) fn chunk(
        &mut self,
        cx: &mut Context,
        from: NodeId,
        chunk: Chunk,
        out: &mut Vec<Effect>,
    ) -> Option<Purchase> {
        let lease = chunk.lease;
        let Some(purchase) = self.open.get_mut(&lease).filter(|p| p.worker.node == from) else {
            cx.paid.again(from, lease, chunk.index, out);
            return None;
        };
        let next = purchase.digests.len();
        if (chunk.index as usize) < next {
            let (_, voucher) = purchase.receipts.get(chunk.index as usize)?;
            out.push(Effect::Send {
                to: from,
                message: Message::Pay { lease, index: chunk.index, voucher: voucher.clone() },
            });
            return None;
        }
        if chunk.index as usize > next {
            // One before it is missing; the worker sends both again.
            return None;
        }
        let output = match purchase.check(&chunk) {
            Ok(output) => output,
            Err(why) => {
                let message = format!("false receipt: {why}");
                let refusal = Refusal::new(RefusalCode::ProvenLiar, message, "it is refused from now on");
                let attempt = purchase.attempt;
                self.open.remove(&lease);
                self.names.remove(&attempt);
                out.push(Effect::Broken { attempt, node: from, refusal: refusal.clone() });
                convict(cx, from, refusal, out);
                return None;
            }
        };
        if !purchase.within_price(cx, &chunk) {
            // Not a lie for sure: one of the two sides may have lost its journal.
            let message = "the worker asks for more than we signed for and this work is worth";
            let refusal = Refusal::new(RefusalCode::BadVoucher, message, "another worker runs it");
            let (attempt, channel) = (purchase.attempt, purchase.order.request.body.channel);
            if self.unsure.len() < UNSURE_MAX {
                self.unsure.insert(from, channel);
            }
            self.close(attempt, &refusal, out);
            out.push(Effect::Broken { attempt, node: from, refusal });
            return None;
        }
        let tokens = chunk.tokens.clone();
        purchase.take(cx, chunk, output, out);
        out.push(Effect::Notice(Notice::Chunk { attempt: purchase.attempt, tokens, worth: purchase.worth }));
        let (attempt, units, finish) = (purchase.attempt, purchase.tokens.len() as u64, purchase.finish);
        if finish == Finish::Running {
            out.push(Effect::Progress { attempt, units });
            return None;
        }
        self.names.remove(&attempt);
        let purchase = self.open.remove(&lease)?;
        cx.paid.keep(lease, from, purchase.receipts.iter().map(|(_, voucher)| voucher.clone()).collect());
        let (tokens, logprobs) = (purchase.tokens.clone(), purchase.logprobs.concat());
        out.push(Effect::Delivered { attempt, tokens, logprobs, finish });
        Some(purchase)
    }
}

impl Purchase {
    /// How long a slow machine needs to run prompt and output in one prefill, in milliseconds.
    pub(crate) fn prefill_ms(&self) -> u64 {
        PREFILL_TOKEN_MS_MAX * (self.work.prompt.len() + self.tokens.len()) as u64
    }

    fn owed(&self, units: u64) -> Amount {
        self.order.request.body.price.owed(self.work.prompt.len() as u64, units)
    }

    /// Checks a chunk against what was ordered; the output with it, if it is good.
    fn check(&self, chunk: &Chunk) -> Result<GrowingOutput, &'static str> {
        let receipt = &chunk.receipt.body;
        let units = (self.tokens.len() + chunk.tokens.len()) as u64;
        let max = u64::from(self.work.params.max_tokens);
        let channel = self.order.request.body.channel;
        let mut output = self.output.clone();
        let most = self.work.chunk_units();
        output.extend(chunk.tokens.get(..most).unwrap_or(&chunk.tokens));
        let digests = [self.digests.as_slice(), &[chunk.digest]].concat();
        let full = chunk.tokens.len() == most;
        let rules = [
            (chunk.receipt.signer == self.worker.node.address(), "signed by another key"),
            (receipt.node == self.worker.node.address(), "names another node"),
            (receipt.operator == self.worker.operator, "names another operator"),
            (receipt.request == self.lease.0, "answers another request"),
            (receipt.channel == channel, "names another channel"),
            (receipt.tier == self.work.tier && receipt.unit == Unit::Token, "wrong tier or unit"),
            (receipt.units == units && units <= max, "wrong number of tokens"),
            (full || !chunk.tokens.is_empty() && receipt.finish != Finish::Running, "short chunk"),
            (chunk.tokens.len() <= most, "long chunk"),
            (full || self.work.kind != Kind::Embed, "not the whole vector"),
            (receipt.finish != Finish::Running || units < max, "runs past its end"),
            (matches!(receipt.finish, Finish::Running | Finish::Stop | Finish::Length), "ends in a way no worker may"),
            (self.work.tier != Tier::Float || chunk.digest == self.float_chunk(chunk), "wrong chunk digest"),
            (self.has_logprobs(chunk), "log probabilities that are none, or not those it commits to"),
            (receipt.output_root == output.root(), "wrong output root"),
            (receipt.trace_root == trace_root(&digests), "wrong trace root"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(output), |(_, why)| Err(*why))
    }

    /// The digest that a chunk of the float tier has to have.
    fn float_chunk(&self, chunk: &Chunk) -> Digest {
        float_chunk(&self.order.request.body.inputs[1], chunk.index, &chunk.tokens)
    }

    /// Whether the log probabilities are as many as were asked for, and those that the digest commits to. Only a
    /// re-run can tell whether they are true.
    fn has_logprobs(&self, chunk: &Chunk) -> bool {
        match (self.work.params.top_logprobs, &chunk.logprobs) {
            (None, None) => true,
            (Some(top), Some(told)) => told.fit(chunk.tokens.len(), top) && told.digest() == chunk.digest,
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    fn within_price(&self, cx: &Context, chunk: &Chunk) -> bool {
        let receipt = &chunk.receipt.body;
        let fresh = self.owed(receipt.units).saturating_sub(self.worth);
        receipt.cumulative <= cx.purse.account(&self.worker.node).signed + fresh
    }

    fn take(&mut self, cx: &mut Context, chunk: Chunk, output: GrowingOutput, out: &mut Vec<Effect>) {
        self.tokens.extend_from_slice(&chunk.tokens);
        self.logprobs.extend(chunk.logprobs.map(|told| told.bytes));
        self.output = output;
        self.digests.push(chunk.digest);
        self.finish = chunk.receipt.body.finish;
        let owed = self.owed(self.tokens.len() as u64);
        let fresh = owed.saturating_sub(self.worth);
        self.worth = owed;
        let voucher = pay(cx, &self.worker, self.order.request.body.channel, fresh, out);
        self.receipts.push((chunk.receipt, voucher.clone()));
        out.push(Effect::Send {
            to: self.worker.node,
            message: Message::Pay { lease: self.lease, index: chunk.index, voucher },
        });
    }
}
