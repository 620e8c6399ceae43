//! The routes among the machines: what one of them asks, another is told. Two pages that are the
//! design; every match is exhaustive on purpose.

use crate::card::genuine;
use crate::{Effect, Event, Input, Message, Node, Notice};
use talkoo_base::{Digest, JobId, NodeId, Now, Preferences, Refusal, RefusalCode, Tier};
use talkoo_job as job;
use talkoo_market as market;
use talkoo_proof as proof;

/// An input on its way to one machine.
pub(crate) enum Inner {
    Market(market::Input),
    Job(job::Input),
    Proof(proof::Input),
}

/// Outboxes, kept so that no step allocates them anew.
#[derive(Default)]
pub(crate) struct Buffers {
    market: Vec<market::Effect>,
    job: Vec<job::Effect>,
    proof: Vec<proof::Effect>,
}

impl Node {
    /// The world's inputs, each to the machines it concerns.
    pub(crate) fn enter(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::PeerUp(node) => {
                self.cards.peer_up(now, node, out);
                self.gossip.peer_up(node, out);
                self.to(Inner::Market(market::Input::PeerUp(node)));
            }
            Input::PeerDown(node) => {
                self.cards.peer_down(&node);
                self.gossip.peer_down(&node);
                self.to(Inner::Market(market::Input::PeerDown(node)));
                self.to(Inner::Proof(proof::Input::PeerDown(node)));
            }
            Input::Message { from, message } => self.message(now, from, *message, out),
            Input::Post(spec) => self.to(Inner::Job(job::Input::Post(spec))),
            Input::Cancel(job) => self.to(Inner::Job(job::Input::Cancel(job))),
            Input::Forget(job) => self.to(Inner::Job(job::Input::Forget(job))),
            Input::Provide(providing) => {
                let ask = providing.as_ref().map(crate::Providing::ask);
                let card = self.cards.provide(now, providing, out);
                self.to(Inner::Market(market::Input::Provide(ask)));
                self.to(Inner::Market(market::Input::Card(card)));
            }
            Input::OwnAudits(can) => self.proof.set_own_audits(can),
            Input::Engine(report) => self.to(Inner::Proof(report)),
            Input::Restarted => self.to(Inner::Job(job::Input::Restarted)),
            Input::Stopping => self.to(Inner::Proof(proof::Input::Stopping)),
            Input::Tick => {
                if let Some(card) = self.cards.tick(now, out) {
                    self.to(Inner::Market(market::Input::Card(card)));
                }
                self.to(Inner::Market(market::Input::Tick));
                self.to(Inner::Job(job::Input::Tick));
                self.to(Inner::Proof(proof::Input::Tick));
            }
        }
    }

    /// One machine takes one input; its effects go where they belong.
    pub(crate) fn step(&mut self, now: Now, inner: Inner, out: &mut Vec<Effect>) {
        match inner {
            Inner::Market(input) => {
                let mut effects = std::mem::take(&mut self.buffers.market);
                self.market.handle(now, input, &mut effects);
                effects.drain(..).for_each(|effect| self.route_market(now, effect, out));
                self.buffers.market = effects;
            }
            Inner::Job(input) => {
                let mut effects = std::mem::take(&mut self.buffers.job);
                self.jobs.handle(now, input, &mut effects);
                effects.drain(..).for_each(|effect| self.route_job(effect, out));
                self.buffers.job = effects;
            }
            Inner::Proof(input) => {
                let mut effects = std::mem::take(&mut self.buffers.proof);
                self.proof.handle(now, input, &mut effects);
                effects.drain(..).for_each(|effect| self.route_proof(now, effect, out));
                self.buffers.proof = effects;
            }
        }
    }

    fn to(&mut self, inner: Inner) {
        self.queue.push_back(inner);
    }

    fn send(&mut self, now: Now, to: NodeId, message: Message, out: &mut Vec<Effect>) {
        if to == self.me {
            self.message(now, to, message, out);
        } else {
            out.push(Effect::Send { to, message: Box::new(message) });
        }
    }

    fn message(&mut self, now: Now, from: NodeId, message: Message, out: &mut Vec<Effect>) {
        match message {
            Message::Hello(hello) => {
                if genuine(&hello, from, now) {
                    self.gossip.hear(now, (self.me, from), &hello, &self.cards.peers, out);
                    self.to(Inner::Market(market::Input::Card(hello.card.body)));
                }
            }
            Message::Cards => self.gossip.tell(from, out),
            Message::Heard(hello) => {
                let news = self.gossip.hear(now, (self.me, from), &hello, &self.cards.peers, out);
                news.into_iter().for_each(|card| self.to(Inner::Market(market::Input::Card(card))));
            }
            Message::Market(message) => self.to(Inner::Market(market::Input::Message { from, message })),
            Message::Proof(message) => {
                if let proof::Message::Lease(order) = &message {
                    let terms = self.terms(&from, &order.request.body.program);
                    self.to(Inner::Proof(proof::Input::Terms(terms)));
                }
                self.to(Inner::Proof(proof::Input::Message { from, message }));
            }
        }
    }

    /// What we take of a client for a run of `program`.
    fn terms(&self, client: &NodeId, program: &Digest) -> Option<proof::Terms> {
        let (ask, _) = self.market.offered()?;
        let tier = ask.programs.get(program).map_or(Tier::Exact, |(tier, _)| *tier);
        Some(proof::Terms { price: ask.price, slots: self.market.holds(client), tier })
    }

    fn route_market(&mut self, now: Now, effect: market::Effect, out: &mut Vec<Effect>) {
        match effect {
            market::Effect::Record(event) => out.push(Effect::Record(Box::new(Event::Market(event)))),
            market::Effect::Send { to, message } => self.send(now, to, Message::Market(message), out),
            market::Effect::Meet(node) => out.push(Effect::Meet(node)),
            market::Effect::Agreed { job, node, slots, decode_mtps } => {
                self.to(Inner::Job(job::Input::Agreed { job, node, slots, decode_mtps }));
            }
            market::Effect::Lost { job, node, refusal } => {
                self.to(Inner::Job(job::Input::Lost { job, node, refusal }));
            }
        }
    }

    fn route_job(&mut self, effect: job::Effect, out: &mut Vec<Effect>) {
        match effect {
            job::Effect::Record(event) => out.push(Effect::Record(Box::new(Event::Job(*event)))),
            job::Effect::Want(job) => self.want(job),
            job::Effect::Enough(job) => self.to(Inner::Market(market::Input::Enough(job))),
            job::Effect::Open { attempt, node, work, audit } => match self.worker(&attempt.job, &node) {
                Ok(worker) => self.to(Inner::Proof(proof::Input::Open { attempt, worker, work, audit })),
                // The market lets it go, and with `Lost` the job takes its steps back.
                Err(refusal) => self.to(Inner::Market(market::Input::Failed { node, refusal })),
            },
            job::Effect::Close { attempt, refusal } => self.to(Inner::Proof(proof::Input::Close { attempt, refusal })),
            job::Effect::Failed { node, refusal } => self.to(Inner::Market(market::Input::Failed { node, refusal })),
            job::Effect::Measured { node, decode_mtps } => {
                self.to(Inner::Market(market::Input::Measured { node, decode_mtps }));
            }
            job::Effect::Notice(notice) => out.push(Effect::Notice(Notice::Job(notice))),
        }
    }

    fn route_proof(&mut self, now: Now, effect: proof::Effect, out: &mut Vec<Effect>) {
        match effect {
            proof::Effect::Record(event) => out.push(Effect::Record(Box::new(Event::Proof(event)))),
            proof::Effect::Send { to, message } => self.send(now, to, Message::Proof(message), out),
            proof::Effect::Run(run) => out.push(Effect::Run(run)),
            proof::Effect::Credit { ticket, chunks } => out.push(Effect::Credit { ticket, chunks }),
            proof::Effect::Stop(ticket) => out.push(Effect::Stop(ticket)),
            proof::Effect::Draw { lease, job, program, context, not } => {
                let nodes = self.verifiers(now, job, program, context, &not);
                self.to(Inner::Proof(proof::Input::Candidates { lease, nodes }));
            }
            proof::Effect::Progress { attempt, units } => self.to(Inner::Job(job::Input::Progress { attempt, units })),
            proof::Effect::Delivered { attempt, tokens, logprobs, finish } => {
                self.to(Inner::Job(job::Input::Delivered { attempt, tokens, logprobs, finish }));
            }
            proof::Effect::Broken { attempt, node, refusal } => {
                // A run that fails in the engine may be the step's own fault; the job counts those.
                if refusal.code != RefusalCode::RunFailed {
                    self.to(Inner::Market(market::Input::Failed { node, refusal: refusal.clone() }));
                }
                self.to(Inner::Job(job::Input::Broken { attempt, refusal }));
            }
            proof::Effect::Verdict { attempt, node: _, stands, audited } => {
                self.to(Inner::Job(job::Input::Verdict { attempt, stands, audited }));
            }
            proof::Effect::Convicted { node, refusal } => {
                self.to(Inner::Market(market::Input::Convicted { node, refusal }));
                self.to(Inner::Job(job::Input::Convicted(node)));
            }
            proof::Effect::Quarantined { build, nodes, refusal } => {
                self.to(Inner::Market(market::Input::Quarantined { build, refusal }));
                nodes.into_iter().for_each(|node| self.to(Inner::Job(job::Input::Convicted(node))));
            }
            proof::Effect::Keep(kept) => out.push(Effect::Keep(kept)),
            proof::Effect::Sold(sold) => out.push(Effect::Sold(sold)),
            proof::Effect::Dispute { worker, case } => out.push(Effect::Dispute { worker, case }),
            proof::Effect::Channel(channel) => out.push(Effect::Channel(Box::new(channel))),
            proof::Effect::Used { client, for_ms } => {
                self.to(Inner::Market(market::Input::Used { client, for_ms }));
            }
            proof::Effect::Notice(notice) => out.push(Effect::Notice(Notice::Proof(notice))),
        }
    }

    fn want(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let wanted = wanted(&job.spec);
        self.to(Inner::Market(market::Input::Want(wanted)));
    }

    fn candidate(&self, node: &NodeId) -> Option<proof::Candidate> {
        let card = self.market.peer(node)?.card.as_ref()?;
        Some(proof::Candidate { node: *node, operator: card.operator, price: card.price })
    }

    /// A worker as it takes a lease. Its card may be another one than when it was reserved.
    fn worker(&self, job: &JobId, node: &NodeId) -> Result<proof::Candidate, Refusal> {
        let Some(worker) = self.candidate(node) else {
            return Err(Refusal::new(RefusalCode::CardExpired, "it has no card any more", "it will send a new one"));
        };
        if self.jobs.get(job).is_none_or(|job| worker.price.within(&job.spec.price_max)) {
            return Ok(worker);
        }
        let raised = "it raised its price over what the job allows";
        Err(Refusal::new(RefusalCode::PriceAboveMax, raised, "raise --max-price, or `max_price` of `provider`"))
    }

    /// Nodes that could re-run an answer, best first. A verifier costs no more than a worker may.
    fn verifiers(&self, now: Now, job: JobId, program: Digest, context: u32, not: &[NodeId]) -> Vec<proof::Candidate> {
        let Some(spec) = self.jobs.get(&job).map(|job| &job.spec) else { return Vec::new() };
        let (tier, nodes_max, own, price_max) = (Tier::Exact, u32::MAX, false, spec.price_max);
        // Whom the buyer ignores shall not read the prompt either.
        let prefer = Preferences { ignore: spec.prefer.ignore.clone(), ..Preferences::default() };
        let wanted = market::Wanted { job, program, tier, context, price_max, nodes_max, own, prefer };
        let ranked = self.market.peers().filter(|(node, _)| !not.contains(node));
        let mut fit: Vec<(u64, NodeId)> = ranked
            .filter_map(|(node, peer)| market::rank(&wanted, &self.me, node, peer, now).ok().map(|s| (s, *node)))
            .collect();
        fit.sort_by_key(|(score, node)| (std::cmp::Reverse(*score), *node));
        fit.iter().filter_map(|(_, node)| self.candidate(node)).collect()
    }
}

/// What a job looks for in the market.
#[must_use]
pub fn wanted(spec: &job::JobSpec) -> market::Wanted {
    market::Wanted {
        job: spec.id,
        program: spec.program,
        tier: spec.tier,
        context: spec.context,
        price_max: spec.price_max,
        nodes_max: spec.nodes_max,
        own: spec.own,
        prefer: spec.prefer.clone(),
    }
}
