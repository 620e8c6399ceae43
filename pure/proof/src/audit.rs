//! From a delivered answer to a verdict.
//!
//! ```text
//! delivered ─ coin: no ──────────────────────────────► stands, not re-run
//!     │ yes
//!     ▼
//! ask a verifier ─► commit ─► reveal ─► answer ─ equal ─► stands, re-run
//!     │ none, silent: the next one          │ different
//!     ▼                                     ▼
//! our own engine ◄──────────────────── ask a further verifier
//!     │ equal: stands, whoever said otherwise is convicted
//!     └ different: falls, the worker and whoever agreed with it are convicted
//! ```
//! Without an engine of our own two verifiers that agree decide, and nobody is convicted on one word.

use crate::buyer::{Draft, Purchase, convict, fund, order, pay};
use crate::commit::{coin_q32, derive, trace_root, verdict_commit};
use crate::drawn::drawn;
use crate::limits::{AUDIT_MS_MAX, OWN_AUDIT_MS_MAX, VERIFIERS_MAX};
use crate::machine::Context;
use crate::parameters::WEIGH_CHANCE_Q32;
use crate::verdict::{accept, dispute, keep, lie, quarantine, same_fault, warn};
use crate::{Answer, Candidate, Effect, Event, Message, Notice, Run, Seen, Ticket};
use std::collections::BTreeMap;
use talkoo_base::wire::Typed;
use talkoo_base::{
    Amount, AuditPolicy, Digest, Finish, LeaseId, Mono, NodeId, Now, Receipt, Refusal, RefusalCode, Request, Signed,
    Tier,
};

/// What somebody found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    root: Digest,
    pub(crate) finish: Finish,
}

pub(crate) struct Opinion {
    pub(crate) verifier: Candidate,
    pub(crate) finding: Finding,
    pub(crate) request: Signed<Request>,
    pub(crate) receipt: Signed<Receipt>,
    /// What it is still to be paid.
    pub(crate) unpaid: Option<Amount>,
}

impl Opinion {
    /// Pays the verifier, once.
    pub(crate) fn reward(&mut self, cx: &mut Context, out: &mut Vec<Effect>) {
        let Some(worth) = self.unpaid.take() else { return };
        let (to, lease) = (self.verifier.node, LeaseId(self.receipt.body.request));
        let voucher = pay(cx, &self.verifier, self.request.body.channel, worth, out);
        cx.paid.keep(lease, to, vec![voucher.clone()]);
        cx.record(Event::Accepted { node: to, worth, audited: false, seen: None }, out);
        out.push(Effect::Send { to, message: Message::Pay { lease, index: 0, voucher } });
    }
}

pub(crate) enum Stage {
    /// Waits for candidates.
    Drawing,
    /// A verifier has the order.
    Asked { verifier: Candidate, lease: LeaseId, request: Box<Signed<Request>>, commit: Option<Digest>, until: Mono },
    /// Our own engine has it.
    Own { until: Mono },
}

pub(crate) struct Audit {
    pub(crate) purchase: Purchase,
    policy: AuditPolicy,
    /// Its worker as it answered; `None` if no audit can meet the answer.
    pub(crate) seen: Option<Seen>,
    pub(crate) stage: Stage,
    /// Whether our own engine is asked before strangers.
    own_first: bool,
    tried: Vec<NodeId>,
    pub(crate) opinions: Vec<Opinion>,
}

impl Audit {
    pub(crate) fn claim(&self) -> Finding {
        let (receipt, _) = self.purchase.receipts.last().expect("a delivery has at least one receipt");
        Finding { root: receipt.body.trace_root, finish: receipt.body.finish }
    }
}

#[derive(Default)]
pub(crate) struct Audits {
    pub(crate) open: BTreeMap<LeaseId, Audit>,
    pub(crate) asked: BTreeMap<LeaseId, LeaseId>,
}

impl Audits {
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn next_wake(&self) -> Option<Mono> {
        let until = |audit: &Audit| match audit.stage {
            Stage::Drawing => None,
            Stage::Asked { until, .. } | Stage::Own { until } => Some(until),
        };
        self.open.values().filter_map(until).min()
    }

    /// Tosses the coin for a delivered answer and starts what it asks for.
    pub(crate) fn start(&mut self, cx: &mut Context, now: Now, purchase: Purchase, out: &mut Vec<Effect>) {
        let lease = purchase.lease;
        let policy = purchase.order.request.body.audit;
        let (receipt, _) = purchase.receipts.last().expect("a delivery has at least one receipt");
        let own_work = purchase.worker.node == cx.me;
        let is_float = purchase.work.tier == Tier::Float;
        let can = !own_work && !is_float && policy != AuditPolicy::None;
        let bond = cx.purse.bond(&purchase.worker.operator);
        let seen = can.then_some(Seen { at: now.unix, build: receipt.body.build, bond });
        let trust = cx.purse.account(&purchase.worker.node).trust;
        let weighs = is_float && !own_work && cx.own_audits && policy != AuditPolicy::None;
        let otherwise = if weighs { WEIGH_CHANCE_Q32 } else { 0 };
        let chance = seen.map_or(otherwise, |seen| trust.at(seen).chance_q32(purchase.worth));
        let coin = coin_q32(&purchase.coin, &receipt.body.digest(&cx.network));
        let draw = derive(&cx.entropy, "own judge", &[&lease.0.0]).first_u64() >> 32;
        let is_asked = cx.own_audits && matches!(policy, AuditPolicy::Drawn | AuditPolicy::Named);
        let own_first = is_asked && seen.is_some_and(|seen| trust.at(seen).is_own_first(draw));
        let (stage, tried, opinions) = (Stage::Drawing, Vec::new(), Vec::new());
        let audit = Audit { purchase, policy, seen, stage, own_first, tried, opinions };
        if coin >= chance {
            return accept(cx, &audit, false, None, out);
        }
        self.open.insert(lease, audit);
        self.next(cx, now, lease, out);
    }

    /// The next thing to try for an open audit.
    pub(crate) fn next(&mut self, cx: &mut Context, now: Now, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(audit) = self.open.get_mut(&lease) else { return };
        let claim = audit.claim();
        let against = audit.opinions.iter().filter(|o| o.finding != claim).count();
        // One word for it and none against it is enough; against it, a second word is heard first.
        if against == 0 && !audit.opinions.is_empty() {
            return self.decide(cx, lease, None, out);
        }
        let enough = audit.opinions.len() >= 2 || audit.tried.len() >= VERIFIERS_MAX;
        let is_float = audit.purchase.work.tier == Tier::Float;
        let strangers = matches!(audit.policy, AuditPolicy::Drawn | AuditPolicy::Named) && !is_float;
        if strangers && !enough && !audit.own_first {
            audit.stage = Stage::Drawing;
            let work = &audit.purchase.work;
            let context = work.context();
            let mut not = audit.tried.clone();
            not.extend([cx.me, audit.purchase.worker.node]);
            out.push(Effect::Draw {
                lease,
                job: audit.purchase.attempt.job,
                program: work.program,
                context: u32::try_from(context).unwrap_or(u32::MAX),
                not,
            });
            return;
        }
        if cx.own_audits {
            let purchase = &audit.purchase;
            audit.stage = Stage::Own { until: now.mono + OWN_AUDIT_MS_MAX + purchase.prefill_ms() };
            out.push(Effect::Run(Box::new(Run {
                ticket: Ticket::Own(lease),
                client: cx.me,
                work: purchase.work.clone(),
                trace_id: purchase.order.request.body.inputs[1],
                rerun: Some(purchase.tokens.clone()),
            })));
            let (attempt, worker) = (purchase.attempt, purchase.worker.node);
            out.push(Effect::Notice(Notice::AuditStarted { attempt, worker, verifier: None }));
            return;
        }
        self.decide(cx, lease, None, out);
    }

    pub(crate) fn candidates(
        &mut self,
        cx: &mut Context,
        now: Now,
        lease: LeaseId,
        nodes: &[Candidate],
        out: &mut Vec<Effect>,
    ) {
        let Some(audit) = self.open.get_mut(&lease).filter(|a| matches!(a.stage, Stage::Drawing)) else { return };
        // Another owner than the worker's: one person does not vouch for himself, nor speak twice.
        let heard = |c: &Candidate| audit.opinions.iter().any(|o| o.verifier.operator == c.operator);
        let worker = audit.purchase.worker.operator;
        let others: Vec<&Candidate> = nodes.iter().filter(|c| c.operator != worker && !heard(c)).collect();
        let about = [&lease.0.0[..], &[u8::try_from(audit.tried.len()).unwrap_or(u8::MAX)]];
        let draw = derive(&cx.entropy, "draw", &about);
        let Some(verifier) = drawn(&draw, &others, |operator| cx.purse.bond(operator)) else {
            // Nobody is there: go on as if all had been tried.
            audit.tried.resize(VERIFIERS_MAX, cx.me);
            return self.next(cx, now, lease, out);
        };
        let purchase = &audit.purchase;
        let draft = Draft {
            worker: verifier,
            work: &purchase.work,
            job: purchase.order.request.body.job,
            prompt_salt: purchase.order.prompt_salt,
            trace_salt: purchase.order.trace_salt,
            coin: Digest::ZERO,
            audit: AuditPolicy::None,
            rerun: Some((&purchase.tokens, purchase.output.root())),
        };
        let order = order(cx, now, &draft);
        let asked = LeaseId(order.request.body.digest(&cx.network));
        let (attempt, worker) = (purchase.attempt, purchase.worker.node);
        audit.tried.push(verifier.node);
        let request = Box::new(order.request.clone());
        let until = now.mono + AUDIT_MS_MAX + purchase.prefill_ms();
        audit.stage = Stage::Asked { verifier, lease: asked, request, commit: None, until };
        self.asked.insert(asked, lease);
        fund(cx, &verifier, [&order].into_iter(), out);
        out.push(Effect::Notice(Notice::AuditStarted { attempt, worker, verifier: Some(verifier.node) }));
        out.push(Effect::Send { to: verifier.node, message: Message::Lease(Box::new(order)) });
    }

    pub(crate) fn asked_of(&mut self, from: NodeId, asked: LeaseId) -> Option<(LeaseId, &mut Audit)> {
        let lease = *self.asked.get(&asked)?;
        let audit = self.open.get_mut(&lease)?;
        let ours =
            matches!(&audit.stage, Stage::Asked { verifier, lease, .. } if verifier.node == from && *lease == asked);
        ours.then_some((lease, audit))
    }

    pub(crate) fn commit(&mut self, from: NodeId, asked: LeaseId, given: Digest, out: &mut Vec<Effect>) {
        let Some((_, audit)) = self.asked_of(from, asked) else { return };
        if let Stage::Asked { commit, .. } = &mut audit.stage {
            // The first commitment stands; sent again, it is answered again.
            commit.get_or_insert(given);
            out.push(Effect::Send { to: from, message: Message::Reveal { lease: asked } });
        }
    }

    pub(crate) fn answer(&mut self, cx: &mut Context, now: Now, from: NodeId, answer: &Answer, out: &mut Vec<Effect>) {
        let asked = answer.lease;
        let Some((lease, audit)) = self.asked_of(from, asked) else { return cx.paid.again(from, asked, 0, out) };
        let Stage::Asked { verifier, request, commit: Some(commit), .. } = &audit.stage else { return };
        let (verifier, request, receipt) = (*verifier, request.as_ref().clone(), &answer.receipt);
        let body = &receipt.body;
        let promised = verdict_commit(&asked, &body.trace_root, body.finish, body.units, &answer.salt, &from.address());
        let worth = request.body.price.owed(request.body.limits.input_units, 0);
        let fair = body.cumulative <= cx.purse.account(&from).signed + worth;
        let good = receipt.signer == from.address() && body.request == asked.0 && body.node == from.address();
        // What a judge needs to hold it to its word.
        let leased = body.operator == verifier.operator && body.channel == request.body.channel;
        let whole = body.units == audit.purchase.tokens.len() as u64 || body.finish == Finish::Diverged;
        let tier = body.tier == Tier::Exact && Some(&body.output_root) == request.body.inputs.get(2);
        let good = good && promised == *commit && leased && whole && tier;
        self.asked.remove(&asked);
        if !good {
            let refusal =
                Refusal::new(RefusalCode::ProvenLiar, "its answer to an audit is not what it committed to", "");
            convict(cx, from, refusal, out);
            return self.next(cx, now, lease, out);
        }
        if !fair {
            // Not a lie for sure: one of the two sides may have lost its journal.
            let message = "the verifier asks for more than we signed for and this work is worth";
            let refusal = Refusal::new(RefusalCode::BadVoucher, message, "");
            out.push(Effect::Send { to: from, message: Message::Close { lease: asked, refusal } });
            return self.next(cx, now, lease, out);
        }
        let Some(audit) = self.open.get_mut(&lease) else { return };
        let finding = Finding { root: body.trace_root, finish: body.finish };
        let equal = finding == audit.claim();
        let (attempt, worker) = (audit.purchase.attempt, audit.purchase.worker.node);
        let mut opinion = Opinion { verifier, finding, request, receipt: receipt.clone(), unpaid: Some(worth) };
        if equal {
            // Who says otherwise waits for the verdict: a false accusation is not paid.
            opinion.reward(cx, out);
        }
        out.push(Effect::Notice(Notice::AuditEnded { attempt, worker, verifier: Some(from), equal }));
        audit.opinions.push(opinion);
        self.next(cx, now, lease, out);
    }

    /// Our own engine has spoken.
    pub(crate) fn judged(
        &mut self,
        cx: &mut Context,
        lease: LeaseId,
        digests: &[Digest],
        diverged: Option<u64>,
        finish: Finish,
        out: &mut Vec<Effect>,
    ) {
        let Some(audit) = self.open.get(&lease).filter(|a| matches!(a.stage, Stage::Own { .. })) else { return };
        let finish = if diverged.is_some() { Finish::Diverged } else { finish };
        let truth = Finding { root: trace_root(digests), finish };
        let (attempt, worker) = (audit.purchase.attempt, audit.purchase.worker.node);
        let equal = truth == audit.claim();
        self.decide(cx, lease, Some(truth), out);
        out.push(Effect::Notice(Notice::AuditEnded { attempt, worker, verifier: None, equal }));
    }

    /// The audit that our own engine has.
    pub(crate) fn take_own(&mut self, lease: LeaseId) -> Option<Audit> {
        self.open.get(&lease).filter(|audit| matches!(audit.stage, Stage::Own { .. }))?;
        self.open.remove(&lease)
    }

    /// Our own engine could not. Without its word nobody is convicted on strangers' words alone, and
    /// an answer that nobody vouches for is not taken: the step moves on, and is given up in the end.
    pub(crate) fn not_judged(
        &mut self,
        cx: &mut Context,
        now: Now,
        lease: LeaseId,
        why: &Refusal,
        out: &mut Vec<Effect>,
    ) {
        let Some(audit) = self.open.get(&lease).filter(|a| matches!(a.stage, Stage::Own { .. })) else { return };
        let claim = audit.claim();
        let vouched = !audit.opinions.is_empty() && audit.opinions.iter().all(|o| o.finding == claim);
        // Without its weights here an answer of the float tier is as good as any other of that tier.
        if vouched || !cx.own_audits || audit.purchase.work.tier == Tier::Float {
            return self.decide(cx, lease, None, out);
        }
        if audit.own_first {
            // Then strangers, if they may.
            return self.ask_strangers(cx, now, lease, out);
        }
        let (attempt, node) = (audit.purchase.attempt, audit.purchase.worker.node);
        if !audit.opinions.is_empty() {
            out.push(Effect::Keep(Box::new(keep(cx, audit, None))));
        }
        self.asked.retain(|_, of| *of != lease);
        if let Some(mut audit) = self.open.remove(&lease) {
            audit.opinions.iter_mut().for_each(|opinion| opinion.reward(cx, out));
        }
        let message = format!("our own engine could not check its answer: {}", why.message);
        let refusal = Refusal::new(RefusalCode::RunFailed, message, why.hint.clone());
        out.push(Effect::Broken { attempt, node, refusal });
    }

    fn ask_strangers(&mut self, cx: &mut Context, now: Now, lease: LeaseId, out: &mut Vec<Effect>) {
        let Some(audit) = self.open.get_mut(&lease) else { return };
        audit.own_first = false;
        self.next(cx, now, lease, out);
    }

    fn decide(&mut self, cx: &mut Context, lease: LeaseId, truth: Option<Finding>, out: &mut Vec<Effect>) {
        let Some(mut audit) = self.open.remove(&lease) else { return };
        self.asked.retain(|_, of| *of != lease);
        let right = |o: &&mut Opinion| truth.is_none_or(|truth| o.finding == truth);
        audit.opinions.iter_mut().filter(right).for_each(|opinion| opinion.reward(cx, out));
        let claim = audit.claim();
        let against: Vec<&Opinion> = audit.opinions.iter().filter(|o| o.finding != claim).collect();
        let agree = |o: &&&Opinion| against.iter().filter(|p| p.finding == o.finding).count() >= 2;
        let stands = match truth {
            Some(truth) => truth == claim,
            None => against.iter().find(agree).is_none() && against.len() < audit.opinions.len().max(1),
        };
        let strangers = against.iter().find(agree).map(|o| o.finding).filter(|_| !cx.own_audits);
        let proven = truth.or(strangers);
        if stands {
            accept(cx, &audit, !audit.opinions.is_empty() || truth.is_some(), truth.map(|_| true), out);
        } else {
            let (attempt, node) = (audit.purchase.attempt, audit.purchase.worker.node);
            out.push(Effect::Keep(Box::new(keep(cx, &audit, truth.map(|_| false)))));
            let faulty = truth.is_some() && quarantine(cx, &audit, out);
            out.extend(truth.filter(|_| !faulty).and_then(|_| dispute(&audit)));
            if proven.is_some() && !faulty {
                let why = lie(&audit, proven);
                convict(cx, node, Refusal::new(RefusalCode::ProvenLiar, why, "its receipt is kept as evidence"), out);
            }
            if truth.is_some() {
                warn(node, lease, out);
            }
            out.push(Effect::Verdict { attempt, node, stands: false, audited: true });
        }
        let Some(truth) = truth else { return };
        for opinion in audit.opinions.iter().filter(|o| o.finding != truth) {
            warn(opinion.verifier.node, LeaseId(opinion.receipt.body.request), out);
            if same_fault(cx, &audit, opinion) {
                continue;
            }
            let refusal = Refusal::new(RefusalCode::ProvenLiar, "its audit found what no honest run finds", "");
            convict(cx, opinion.verifier.node, refusal, out);
        }
    }
}
