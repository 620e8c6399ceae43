//! Clients that let work go unpaid. A worker risks a prefill and two chunks on every lease; a client
//! that walks away again and again has to wait. One lease is forgiven for each that is paid to its
//! end, and one with every minute, so that a crash or a lost connection costs nobody his worker.

use crate::limits::{DEBT_FORGIVEN_MS, DEBTORS_MAX, DEBTS_MAX};
use std::collections::BTreeMap;
use talkoo_base::{Mono, NodeId};

#[derive(Default)]
pub(crate) struct Debts(BTreeMap<NodeId, Debt>);

struct Debt {
    leases: u32,
    /// One lease is forgiven with every period since.
    since: Mono,
}

impl Debt {
    fn forgive(&mut self, now: Mono) {
        let periods = (now - self.since) / DEBT_FORGIVEN_MS;
        self.leases = self.leases.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX));
        self.since = self.since + periods * DEBT_FORGIVEN_MS;
    }
}

impl Debts {
    /// How many milliseconds a client has to wait before it gets a lease.
    pub(crate) fn wait_ms(&self, now: Mono, client: &NodeId) -> u64 {
        let Some(debt) = self.0.get(client) else { return 0 };
        let too_many = u64::from((debt.leases + 1).saturating_sub(DEBTS_MAX));
        if too_many == 0 { 0 } else { debt.since + too_many * DEBT_FORGIVEN_MS - now }
    }

    /// A lease ended without being paid to its end.
    pub(crate) fn unpaid(&mut self, now: Mono, client: NodeId) {
        self.0.retain(|_, debt| {
            debt.forgive(now);
            debt.leases > 0
        });
        if self.0.len() >= DEBTORS_MAX && !self.0.contains_key(&client) {
            let least = self.0.iter().min_by_key(|(_, debt)| debt.leases).map(|(node, _)| *node);
            least.map(|node| self.0.remove(&node));
        }
        self.0.entry(client).or_insert(Debt { leases: 0, since: now }).leases += 1;
    }

    /// A lease was paid to its end.
    pub(crate) fn paid(&mut self, client: &NodeId) {
        if let Some(debt) = self.0.get_mut(client) {
            debt.leases -= 1;
            if debt.leases == 0 {
                self.0.remove(client);
            }
        }
    }
}
