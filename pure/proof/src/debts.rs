//! Clients that let work go unpaid. A worker risks a prefill and two chunks on every lease; a client
//! that walks away again and again has to wait. What it pays to the end is forgiven it token by token,
//! and some with time, so that a crash or a lost connection costs nobody his worker.

use crate::limits::{DEBT_FORGIVEN_MTPS, DEBT_TOKENS_MAX, DEBTORS_MAX};
use std::collections::BTreeMap;
use talkoo_base::{Mono, NodeId};

/// What each client left unpaid.
#[derive(Default)]
pub struct Debts(BTreeMap<NodeId, Debt>);

struct Debt {
    tokens: u64,
    /// Forgiven up to here.
    since: Mono,
}

impl Debt {
    /// What is left of it.
    fn left(&self, now: Mono) -> u64 {
        self.tokens.saturating_sub((now - self.since).saturating_mul(DEBT_FORGIVEN_MTPS) / 1_000_000)
    }
}

impl Debts {
    /// How many milliseconds a client has to wait before it gets a lease.
    #[must_use]
    pub fn wait_ms(&self, now: Mono, client: &NodeId) -> u64 {
        let left = self.0.get(client).map_or(0, |debt| debt.left(now));
        left.saturating_sub(DEBT_TOKENS_MAX).saturating_mul(1_000_000).div_ceil(DEBT_FORGIVEN_MTPS)
    }

    /// A lease of so many tokens ended without being paid to its end.
    pub fn unpaid(&mut self, now: Mono, client: NodeId, tokens: u64) {
        self.0.retain(|_, debt| {
            (debt.tokens, debt.since) = (debt.left(now), now);
            debt.tokens > 0
        });
        if self.0.len() >= DEBTORS_MAX && !self.0.contains_key(&client) {
            let least = self.0.iter().min_by_key(|(_, debt)| debt.tokens).map(|(node, _)| *node);
            least.map(|node| self.0.remove(&node));
        }
        self.0.entry(client).or_insert(Debt { tokens: 0, since: now }).tokens += tokens;
    }

    /// A lease of so many tokens was paid to its end.
    pub fn paid(&mut self, client: &NodeId, tokens: u64) {
        if let Some(debt) = self.0.get_mut(client) {
            debt.tokens = debt.tokens.saturating_sub(tokens);
        }
    }
}
