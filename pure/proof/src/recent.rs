//! Leases that ended: their clients may warn us of them, once for each, and pay late.

use crate::limits::RECENT_MAX;
use crate::machine::Context;
use crate::purse::channel;
use crate::{Effect, Event, Notice};
use std::collections::VecDeque;
use talkoo_base::{Amount, LeaseId, NodeId, Refusal, Signed, Voucher};

/// The last ones, the oldest first.
#[derive(Default)]
pub(crate) struct Recent(VecDeque<(LeaseId, NodeId)>);

impl Recent {
    pub(crate) fn push(&mut self, lease: LeaseId, client: NodeId) {
        self.0.push_back((lease, client));
        if self.0.len() > RECENT_MAX {
            self.0.pop_front();
        }
    }

    /// A client's own engine finds other numbers than ours.
    pub(crate) fn warned(&mut self, from: NodeId, lease: LeaseId, refusal: Refusal, out: &mut Vec<Effect>) {
        if let Some(at) = self.0.iter().position(|ended| *ended == (lease, from)) {
            self.0.remove(at);
            out.push(Effect::Notice(Notice::Warned { client: from, refusal }));
        }
    }
}

/// A voucher for a lease that we gave up, as of a verdict that took long: money all the same. `held` is what the ledger
/// says that the client's channel holds.
pub(crate) fn paid_late(
    cx: &mut Context,
    held: Option<Amount>,
    from: NodeId,
    voucher: &Signed<Voucher>,
    out: &mut Vec<Effect>,
) {
    let Some(payer) = cx.purse.payer(&from) else { return };
    let own = channel(&cx.network, payer, from.address(), cx.operator, cx.me.address());
    let Voucher { channel, max_claimable } = voucher.body;
    let is_money = !cx.funded || max_claimable <= held.unwrap_or_default();
    let is_ours = voucher.signer == from.address() && channel == own.id(&cx.network);
    if is_ours && is_money && max_claimable > cx.purse.earned(&from) {
        cx.record(Event::Earned { node: from, voucher: voucher.into() }, out);
    }
}
