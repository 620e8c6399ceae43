//! One lease that a worker works on, and what it has to keep of it.

use crate::commit::{GrowingOutput, derive};
use crate::dispute::Case;
use crate::limits::{RECHECK_ONE_IN, RESEND_MS};
use crate::{Answer, Effect, Message, Order, Run, Sold, Ticket};
use std::collections::VecDeque;
use talkoo_base::wire::Sealed;
use talkoo_base::{Amount, Digest, Finish, GenerateParams, Kind, LeaseId, Mono, NodeId, Receipt, Tier, Work};

/// A lease that we work on.
pub(crate) struct Sale {
    pub(crate) client: NodeId,
    pub(crate) order: Order,
    pub(crate) tier: Tier,
    pub(crate) units: u64,
    pub(crate) output: GrowingOutput,
    pub(crate) digests: Vec<Digest>,
    /// What was made, its log probabilities, and every receipt that went out: they can be disputed.
    pub(crate) made: Vec<u32>,
    pub(crate) logprobs: Vec<Vec<u8>>,
    pub(crate) receipts: Vec<Sealed<Receipt>>,
    /// Price of the units that vouchers have paid.
    pub(crate) paid: Amount,
    /// Sent and not yet paid, with the price up to each.
    pub(crate) unpaid: VecDeque<(Message, Amount)>,
    pub(crate) settled_chunks: u32,
    pub(crate) finish: Finish,
    /// Whatever happens, it ends here: a client that vanished in between is not waited for.
    pub(crate) until: Mono,
    pub(crate) resend_at: Option<Mono>,
    pub(crate) resends: u32,
    pub(crate) answer: Option<Answer>,
    /// The last chunk and the price up to it, while our engine looks at the whole answer again.
    pub(crate) held_back: Option<(Message, Amount)>,
}

impl Sale {
    /// Tokens that it cost us so far: prompt, or prompt and output to check, and what we made.
    pub(crate) fn tokens(&self) -> u64 {
        self.order.request.body.limits.input_units.saturating_add(self.units)
    }

    /// Whether this answer is one of the sample that is run again before its end is signed away: a machine that fails
    /// shall know it before its clients do.
    pub(crate) fn is_rechecked(&self, entropy: &Digest, lease: &LeaseId) -> bool {
        let is_drawn = derive(entropy, "recheck", &[&lease.0.0]).first_u64().is_multiple_of(RECHECK_ONE_IN);
        self.tier == Tier::Exact && is_drawn
    }

    /// The answer once more, from its beginning: nothing that is known of the client's prompts is used.
    pub(crate) fn rerun(&self, me: NodeId, lease: LeaseId) -> Run {
        let (request, order) = (&self.order.request.body, &self.order);
        let params = GenerateParams::from_bytes(&request.params).expect("checked when the order came");
        let (program, tier, prompt, seed) = (request.program, self.tier, order.prompt.clone(), request.seed);
        Run {
            ticket: Ticket::Sale(lease),
            client: me,
            work: Work { kind: request.kind, program, tier, prompt, params, seed },
            trace_id: request.inputs[1],
            rerun: Some(self.made.clone()),
        }
    }

    /// Sends a chunk, and keeps what its receipt says.
    pub(crate) fn send(&mut self, now: Mono, message: Message, worth: Amount, out: &mut Vec<Effect>) {
        out.push(Effect::Send { to: self.client, message: message.clone() });
        out.extend(self.sold().map(|sold| Effect::Sold(Box::new(sold))));
        self.unpaid.push_back((message, worth));
        self.resend_at.get_or_insert(now + RESEND_MS);
    }

    /// Whether a contract can be asked who is right: only of text that an exact model made.
    fn is_judged(&self) -> bool {
        self.tier == Tier::Exact && self.order.request.body.kind == Kind::Generate
    }

    /// What has to be kept, whether the client comes back or not: from now on it can dispute the last receipt, or an earlier
    /// one.
    pub(crate) fn sold(&self) -> Option<Sold> {
        let (receipt, earlier) = self.receipts.split_last()?;
        let Order { request, channel, prompt_salt, trace_salt, prompt, .. } = &self.order;
        let case = Case {
            request: request.into(),
            receipt: receipt.clone(),
            channel: channel.clone(),
            prompt_salt: *prompt_salt,
            trace_salt: *trace_salt,
            prompt: prompt.clone(),
            output: self.made.clone(),
            digests: self.digests.clone(),
            logprobs: self.logprobs.clone(),
        };
        self.is_judged().then(|| Sold { case, earlier: earlier.to_vec() })
    }
}
