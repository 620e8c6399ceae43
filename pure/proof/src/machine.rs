//! The machine that joins the three roles.

use crate::audit::Audits;
use crate::buyer::Buyer;
use crate::paid::Paid;
use crate::purse::{Account, Earnings, Purse};
use crate::seller::Seller;
use crate::weigh::Scales;
use crate::{Effect, Event, Input, Message, Terms, Ticket};
use std::sync::Arc;
use talkoo_base::{Address, Amount, Digest, Finish, LeaseId, Mono, Network, NodeId, Now, Receipt, Signer, Tier, Unit};

/// What every role needs of the node it belongs to.
pub(crate) struct Context {
    pub(crate) me: NodeId,
    pub(crate) operator: Address,
    pub(crate) network: Network,
    pub(crate) signer: Arc<dyn Signer>,
    pub(crate) build: Digest,
    /// Fresh at every start.
    pub(crate) entropy: Digest,
    /// Whether our own engine can judge.
    pub(crate) own_audits: bool,
    /// Whether vouchers count only as far as their channel holds money.
    pub(crate) funded: bool,
    pub(crate) purse: Purse,
    pub(crate) paid: Paid,
    pub(crate) scales: Scales,
}

impl Context {
    pub(crate) fn record(&mut self, event: Event, out: &mut Vec<Effect>) {
        self.purse.apply(&event);
        out.push(Effect::Record(event));
    }

    /// A receipt of ours for a lease, before anything was done.
    pub(crate) fn receipt(&self, lease: LeaseId, channel: Digest) -> Receipt {
        Receipt {
            version: talkoo_base::wire::VERSION,
            tier: Tier::Exact,
            request: lease.0,
            unit: Unit::Token,
            units: 0,
            output_root: Digest::ZERO,
            trace_root: Digest::ZERO,
            build: self.build,
            operator: self.operator,
            node: self.me.address(),
            channel,
            cumulative: Amount::ZERO,
            finish: Finish::Running,
        }
    }
}

/// Receipts, payments and audits of one node.
pub struct Proof {
    context: Context,
    buyer: Buyer,
    seller: Seller,
    audits: Audits,
    terms: Option<Terms>,
}

/// What a [`Proof`] is made with.
pub struct Setup {
    /// Our node.
    pub me: NodeId,
    /// Its owner.
    pub operator: Address,
    /// The network every signature is bound to.
    pub network: Network,
    /// Signs for our node.
    pub signer: Arc<dyn Signer>,
    /// Hash of our engine's build.
    pub build: Digest,
    /// 32 random bytes, fresh at every start.
    pub entropy: Digest,
    /// Whether our own engine can judge answers.
    pub own_audits: bool,
    /// Whether vouchers count only as far as a ledger says that their channel holds money.
    pub funded: bool,
}

impl Proof {
    /// A machine without leases.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { me, operator, network, signer, build, entropy, own_audits, funded } = setup;
        let (purse, paid, scales) = (Purse::default(), Paid::default(), Scales::default());
        let context =
            Context { me, operator, network, signer, build, entropy, own_audits, funded, purse, paid, scales };
        Self { context, buyer: Buyer::default(), seller: Seller::default(), audits: Audits::default(), terms: None }
    }

    /// Takes one input. Total: never fails, whatever a peer sends.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        let cx = &mut self.context;
        match input {
            Input::Open { attempt, worker, work, audit } => {
                self.buyer.open(cx, now, attempt, worker, *work, audit, out);
            }
            Input::Close { attempt, refusal } => {
                self.buyer.close(attempt, &refusal, out);
                self.audits.close(attempt, &refusal, out);
            }
            Input::Terms(terms) => self.terms = terms,
            Input::Candidates { lease, nodes } => self.audits.candidates(cx, now, lease, &nodes, out),
            Input::Message { from, message } => self.message(now, from, message, out),
            Input::Produced { ticket, index, tokens, digest, logprobs, finish } => {
                self.seller.produced(cx, now.mono, ticket, index, &tokens, digest, logprobs, finish, out);
            }
            Input::Verified { ticket: Ticket::Sale(lease), digests, diverged, finish } => {
                self.seller.verified(cx, now.mono, lease, &digests, diverged, finish, out);
            }
            Input::Verified { ticket: Ticket::Own(lease), digests, diverged, finish } => {
                self.audits.judged(cx, lease, &digests, diverged, finish, out);
            }
            Input::Weighed { ticket: Ticket::Own(lease), likeness } => self.audits.weighed(cx, lease, likeness, out),
            Input::Weighed { ticket: Ticket::Sale(_), .. } => {}
            Input::RunFailed { ticket: Ticket::Sale(lease), refusal } => {
                self.seller.run_failed(now.mono, lease, &refusal, out);
            }
            Input::RunFailed { ticket: Ticket::Own(lease), refusal } => {
                self.audits.not_judged(cx, now, lease, &refusal, out);
            }
            Input::Funds { client, balance } => self.seller.funds(now.mono, client, balance, out),
            Input::Bond { operator, bond } => cx.purse.bonded(operator, bond),
            Input::PeerDown(node) => {
                self.seller.peer_down(now.mono, node, out);
                self.audits.peer_down(cx, now, node, out);
            }
            Input::Stopping => self.seller.stopping(out),
            Input::Tick => {
                self.seller.tick(now.mono, out);
                self.audits.tick(cx, now, out);
            }
        }
    }

    /// When this machine next wants an [`Input::Tick`].
    #[must_use]
    pub fn next_wake(&self) -> Option<Mono> {
        self.seller.next_wake().into_iter().chain(self.audits.next_wake()).min()
    }

    /// Applies a recorded event: also how a restart rebuilds the state.
    pub fn apply(&mut self, event: &Event) {
        self.context.purse.apply(event);
    }

    /// The fewest events that give this state again.
    pub fn history(&self) -> impl Iterator<Item = Event> {
        self.context.purse.history()
    }

    /// Our accounts with workers.
    pub fn accounts(&self) -> impl Iterator<Item = (&NodeId, &Account)> {
        self.context.purse.accounts()
    }

    /// Our accounts with clients.
    pub fn earnings(&self) -> impl Iterator<Item = (&NodeId, &Earnings)> {
        self.context.purse.earnings()
    }

    /// Leases, sales and audits that are open: what a watcher may see, and what must be empty at the end.
    #[must_use]
    pub fn open(&self) -> (usize, usize, usize) {
        (self.buyer.len(), self.seller.len(), self.audits.len())
    }

    /// Whether our own engine can judge answers from now on.
    pub fn set_own_audits(&mut self, can: bool) {
        self.context.own_audits = can;
    }

    fn message(&mut self, now: Now, from: NodeId, message: Message, out: &mut Vec<Effect>) {
        let cx = &mut self.context;
        match message {
            Message::Lease(order) => self.seller.lease(cx, now, from, *order, self.terms.take(), out),
            Message::Pay { lease, index, voucher } => {
                self.seller.paid(cx, now.mono, from, lease, index, &voucher, out);
            }
            Message::Reveal { lease } => self.seller.reveal(now.mono, from, lease, out),
            Message::Chunk(chunk) => {
                let Some(delivery) = self.buyer.chunk(cx, from, *chunk, out) else { return };
                self.audits.start(cx, now, delivery, out);
            }
            Message::Commit { lease, commit } => self.audits.commit(from, lease, commit, out),
            Message::Answer(answer) => self.audits.answer(cx, now, from, &answer, out),
            Message::Warning { lease, refusal } => self.seller.recent.warned(from, lease, refusal, out),
            Message::Owed { voucher } => self.buyer.owed(cx, from, &voucher, out),
            Message::Close { lease, refusal } => {
                self.buyer.closed(from, lease, &refusal, out);
                self.seller.closed(cx, now.mono, from, lease, refusal.code, out);
                self.audits.refused(cx, now, from, lease, out);
            }
        }
    }
}
