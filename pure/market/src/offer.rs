//! The worker's side: which clients hold how many of our slots.

use crate::explain::{Summary, summarise};
use crate::limits::{CLIENTS_MAX, HOLD_MS, IDLE_MS, SLOTS_PER_CLIENT_MAX};
use std::collections::BTreeMap;
use talkoo_base::{Digest, Mono, NodeId, Price, Refusal, RefusalCode, Tier};

/// What this node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Models that are loaded or can be, with their tier and longest context.
    pub programs: BTreeMap<Digest, (Tier, u32)>,
    /// Leases at once.
    pub slots: u32,
    /// Least price.
    pub price: Price,
}

#[derive(Default)]
pub(crate) struct Offer {
    ask: Option<Ask>,
    held: BTreeMap<NodeId, (u32, Mono)>,
    /// Clients that let a hold run out, until when they get no other.
    idle: BTreeMap<NodeId, Mono>,
    /// Why clients got nothing, since the start: how often, and the refusals that differ.
    lost: BTreeMap<RefusalCode, (usize, Vec<Refusal>)>,
}

/// Refusals of one kind that are kept to tell what was nearest.
const LOST_KEPT_MAX: usize = 64;

impl Offer {
    pub(crate) fn provide(&mut self, ask: Option<Ask>) {
        if ask.is_none() {
            self.held.clear();
        }
        self.ask = ask;
    }

    pub(crate) fn offered(&self) -> Option<(&Ask, u32)> {
        self.ask.as_ref().map(|ask| (ask, self.held.values().map(|(slots, _)| slots).sum()))
    }

    pub(crate) fn holds(&self, client: &NodeId) -> u32 {
        self.held.get(client).map_or(0, |(slots, _)| *slots)
    }

    pub(crate) fn used(&mut self, now: Mono, client: NodeId) {
        if let Some((_, until)) = self.held.get_mut(&client) {
            *until = (*until).max(now + HOLD_MS);
        }
    }

    pub(crate) fn release(&mut self, client: &NodeId) {
        self.held.remove(client);
    }

    pub(crate) fn expire(&mut self, now: Mono) {
        self.idle.retain(|_, until| *until > now);
        self.held.retain(|client, (_, until)| {
            let holds = *until > now;
            if !holds && self.idle.len() < CLIENTS_MAX {
                self.idle.insert(*client, now + IDLE_MS);
            }
            holds
        });
    }

    pub(crate) fn next_wake(&self) -> Option<Mono> {
        self.held.values().map(|(_, until)| *until).min()
    }

    /// Why clients got nothing.
    pub(crate) fn lost(&self) -> Vec<Summary> {
        let mut rows = summarise(self.lost.values().flat_map(|(_, kept)| kept));
        for row in &mut rows {
            row.count = self.lost.get(&row.code).map_or(0, |(count, _)| *count);
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        rows
    }

    /// Remembers that a client got nothing.
    pub(crate) fn lose(&mut self, refusal: &Refusal) {
        let (count, kept) = self.lost.entry(refusal.code).or_default();
        *count += 1;
        if kept.len() < LOST_KEPT_MAX && !kept.contains(refusal) {
            kept.push(refusal.clone());
        }
    }

    pub(crate) fn reserve(
        &mut self,
        now: Mono,
        client: NodeId,
        program: Digest,
        price: Price,
        context: u32,
    ) -> Result<u32, Refusal> {
        let Some(ask) = &self.ask else {
            return Err(Refusal::new(RefusalCode::NotProviding, "this node offers no compute now", "ask another"));
        };
        let Some((_, longest)) = ask.programs.get(&program) else {
            return Err(Refusal::new(RefusalCode::UnknownModel, "this node does not have the model", "ask another"));
        };
        if context > *longest {
            let no = Refusal::new(RefusalCode::ContextExceeded, "the model's context is shorter", "shorten the prompt");
            return Err(no.with(context, longest));
        }
        if !ask.price.within(&price) {
            let no = Refusal::new(RefusalCode::PriceTooLow, "the price offered is too low", "raise the highest price");
            return Err(no.with(
                format!("{}/{}", ask.price.input, ask.price.output),
                format!("{}/{}", price.input, price.output),
            ));
        }
        let others: u32 = self.held.iter().filter(|(n, _)| **n != client).map(|(_, (slots, _))| *slots).sum();
        let free = ask.slots.saturating_sub(others).min(SLOTS_PER_CLIENT_MAX);
        if free == 0 || self.held.len() >= CLIENTS_MAX && !self.held.contains_key(&client) {
            let no = Refusal::new(RefusalCode::Busy, "all slots are held by other clients", "try again in 30 s");
            return Err(no.with(1, 0));
        }
        if let Some(until) = self.idle.get(&client).filter(|until| **until > now) {
            let hint = format!("try again in {} s", (*until - now).div_ceil(1_000));
            return Err(Refusal::new(RefusalCode::Busy, "this client's last reservation ran out unused", hint));
        }
        // Asking again does not make a hold last longer; work does.
        let until = self.held.get(&client).map_or(now + HOLD_MS, |(_, until)| *until);
        self.held.insert(client, (free, until));
        Ok(free)
    }
}
