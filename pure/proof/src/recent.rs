//! Leases that ended: their clients may warn us of them, once for each.

use crate::limits::RECENT_MAX;
use crate::{Effect, Notice};
use std::collections::VecDeque;
use talkoo_base::{LeaseId, NodeId, Refusal};

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
