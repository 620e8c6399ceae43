//! Vouchers of leases that are over. The last word of a lease may be lost like any other: a worker
//! that sends its last chunk or answer again gets the same voucher again, and nothing is paid twice.

use crate::limits::PAID_KEPT_MAX;
use crate::{Effect, Message};
use std::collections::{BTreeMap, VecDeque};
use talkoo_base::{LeaseId, NodeId, Signed, Voucher};

#[derive(Default)]
pub(crate) struct Paid {
    leases: BTreeMap<LeaseId, (NodeId, Vec<Signed<Voucher>>)>,
    oldest_first: VecDeque<LeaseId>,
}

impl Paid {
    pub(crate) fn keep(&mut self, lease: LeaseId, node: NodeId, vouchers: Vec<Signed<Voucher>>) {
        if self.leases.insert(lease, (node, vouchers)).is_none() {
            self.oldest_first.push_back(lease);
        }
        while self.oldest_first.len() > PAID_KEPT_MAX {
            let Some(oldest) = self.oldest_first.pop_front() else { return };
            self.leases.remove(&oldest);
        }
    }

    /// Answers a chunk or an answer of a lease that is over, if `from` was its worker.
    pub(crate) fn again(&self, from: NodeId, lease: LeaseId, index: u32, out: &mut Vec<Effect>) {
        let Some((_, vouchers)) = self.leases.get(&lease).filter(|(node, _)| *node == from) else { return };
        let Some(voucher) = vouchers.get(index as usize) else { return };
        out.push(Effect::Send { to: from, message: Message::Pay { lease, index, voucher: voucher.clone() } });
    }
}
