//! One lease that a worker works on, and what it has to keep of it.

use crate::commit::GrowingOutput;
use crate::dispute::Case;
use crate::{Answer, Message, Order, Sold};
use std::collections::VecDeque;
use talkoo_base::wire::Sealed;
use talkoo_base::{Amount, Digest, Finish, Mono, NodeId, Receipt, Signed, Tier};

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
}

impl Sale {
    /// Tokens that it cost us so far: prompt, or prompt and output to check, and what we made.
    pub(crate) fn tokens(&self) -> u64 {
        self.order.request.body.limits.input_units.saturating_add(self.units)
    }

    /// What has to be kept, whether the client comes back or not: from now on it can dispute the last receipt, or an earlier
    /// one.
    pub(crate) fn sold(&self) -> Option<Sold> {
        let (receipt, earlier) = self.receipts.split_last()?;
        let case = self.case(receipt.clone(), &self.made, &self.digests);
        (self.tier == Tier::Exact).then(|| Sold { case, earlier: earlier.to_vec() })
    }

    /// The same of an audit: what it says of a whole run can be disputed, too.
    pub(crate) fn vouched(&self, receipt: &Signed<Receipt>, digests: &[Digest]) -> Option<Sold> {
        let output = self.order.rerun.as_ref().filter(|_| receipt.body.finish != Finish::Diverged)?;
        let case = self.case(receipt.into(), output, digests);
        (self.tier == Tier::Exact).then(|| Sold { case, earlier: Vec::new() })
    }

    fn case(&self, receipt: Sealed<Receipt>, output: &[u32], digests: &[Digest]) -> Case {
        let Order { request, channel, prompt_salt, trace_salt, prompt, .. } = &self.order;
        Case {
            request: request.into(),
            receipt,
            channel: channel.clone(),
            prompt_salt: *prompt_salt,
            trace_salt: *trace_salt,
            prompt: prompt.clone(),
            output: output.to_vec(),
            digests: digests.to_vec(),
            logprobs: self.logprobs.clone(),
        }
    }
}
