//! What was exchanged with whom, and how much a stranger may still have.

use crate::events::{Counters, LedgerEntry, Serve, Strangers};
use crate::limits::LEDGERS_MAX;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

/// Blocks exchanged with one peer since it was first seen; where paying per byte will hook in.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) sent_bytes: AtomicU64,
    sent_blocks: AtomicU64,
    pub(crate) received_bytes: AtomicU64,
    received_blocks: AtomicU64,
    refused: AtomicU64,
    budget: Mutex<Budget>,
}

impl Ledger {
    pub(crate) fn sent(&self, blocks: usize, bytes: usize) {
        self.sent_blocks.fetch_add(blocks as u64, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, blocks: usize, bytes: usize) {
        self.received_blocks.fetch_add(blocks as u64, Ordering::Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn entry(&self) -> LedgerEntry {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        LedgerEntry {
            sent_bytes: read(&self.sent_bytes),
            sent_blocks: read(&self.sent_blocks),
            received_bytes: read(&self.received_bytes),
            received_blocks: read(&self.received_blocks),
            refused: read(&self.refused),
        }
    }
}

/// Bytes that may still be given: full at first, and refilled evenly over an hour.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    spent: u64,
    at: Option<Instant>,
}

impl Budget {
    fn refill(&mut self, bytes_per_hour: u64, now: Instant) {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)).min(HOUR);
        let refilled = u128::from(bytes_per_hour) * passed.as_millis() / HOUR.as_millis();
        // A part of a byte is not lost: time counts from the last whole one.
        if refilled > 0 || self.spent == 0 {
            self.at = Some(now);
        }
        self.spent = self.spent.saturating_sub(u64::try_from(refilled).unwrap_or(u64::MAX));
    }

    /// Whether anything is left. The last block may go over it, which the next hour pays for.
    fn is_left(&mut self, bytes_per_hour: u64, now: Instant) -> bool {
        self.refill(bytes_per_hour, now);
        self.spent < bytes_per_hour
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) wants: AtomicU64,
    pub(crate) wants_refused: AtomicU64,
    pub(crate) budget_refused: AtomicU64,
    pub(crate) strangers_refused: AtomicU64,
    pub(crate) misbehaved: AtomicU64,
    pub(crate) records_refused: AtomicU64,
}

/// All ledgers, and what strangers may have together.
#[derive(Debug, Default)]
pub(crate) struct Ledgers {
    serve: Serve,
    known: Mutex<BTreeMap<PeerId, Arc<Ledger>>>,
    strangers: Mutex<Budget>,
    pub(crate) counts: Counts,
}

impl Ledgers {
    pub(crate) fn new(serve: Serve) -> Self {
        Self { serve, ..Self::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<PeerId, Arc<Ledger>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger of a peer, the same one when it comes back.
    pub(crate) fn of(&self, peer: PeerId) -> Arc<Ledger> {
        let mut known = self.known();
        if known.len() >= LEDGERS_MAX && !known.contains_key(&peer) {
            // Those who are not connected are forgotten, the smallest first.
            let idle = known.iter().filter(|(_, ledger)| Arc::strong_count(ledger) == 1);
            let size = |ledger: &Ledger| ledger.entry().sent_bytes + ledger.entry().received_bytes;
            let smallest = idle.min_by_key(|(_, ledger)| size(ledger)).map(|(peer, _)| *peer);
            smallest.map(|peer| known.remove(&peer));
        }
        Arc::clone(known.entry(peer).or_default())
    }

    pub(crate) fn entry(&self, peer: &PeerId) -> LedgerEntry {
        self.known().get(peer).map_or_else(LedgerEntry::default, |ledger| ledger.entry())
    }

    /// Whether a stranger at `addr` is served now; a refusal is counted.
    pub(crate) fn admits(&self, ledger: &Ledger, addr: &Multiaddr, now: Instant) -> bool {
        let is_meant = match self.serve.strangers {
            Strangers::Nobody => false,
            Strangers::Near => is_near(addr),
            Strangers::Everybody => true,
        };
        let has_budget = || {
            let mut own = ledger.budget.lock().unwrap_or_else(PoisonError::into_inner);
            let mut all = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
            own.is_left(self.serve.bytes_per_hour, now) && all.is_left(self.serve.bytes_per_hour_all, now)
        };
        let is_admitted = is_meant && has_budget();
        if !is_admitted {
            let count = if is_meant { &self.counts.budget_refused } else { &self.counts.strangers_refused };
            count.fetch_add(1, Ordering::Relaxed);
            ledger.refused.fetch_add(1, Ordering::Relaxed);
        }
        is_admitted
    }

    /// Takes what a stranger was given from the budgets.
    pub(crate) fn spend(&self, ledger: &Ledger, bytes: usize) {
        for budget in [&ledger.budget, &self.strangers] {
            budget.lock().unwrap_or_else(PoisonError::into_inner).spent += bytes as u64;
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counters {
            wants: read(&self.counts.wants),
            wants_refused: read(&self.counts.wants_refused),
            budget_refused: read(&self.counts.budget_refused),
            strangers_refused: read(&self.counts.strangers_refused),
            misbehaved: read(&self.counts.misbehaved),
            records_refused: read(&self.counts.records_refused),
        }
    }
}

/// Whether an address is on this machine or in a private network.
pub(crate) fn is_near(addr: &Multiaddr) -> bool {
    addr.iter().any(|part| match part {
        Protocol::Ip4(ip) => is_private(ip.into()),
        Protocol::Ip6(ip) => is_private(ip.into()),
        _ => false,
    })
}

/// Whether an address means nothing outside a private network (RFC 1918, 4193, 6598, and the local ones).
pub(crate) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || a == 0 || is_shared
        }
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(
            || ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local(),
            |ip| is_private(ip.into()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_gets_its_hourly_bytes_and_no_more() {
        let serve = Serve { strangers: Strangers::Everybody, bytes_per_hour: 3600, bytes_per_hour_all: 5400 };
        let ledgers = Ledgers::new(serve);
        let (addr, now): (Multiaddr, _) = ("/ip4/8.8.8.8/tcp/1".parse().unwrap(), Instant::now());
        let (a, b) = (ledgers.of(PeerId::random()), ledgers.of(PeerId::random()));
        assert!(ledgers.admits(&a, &addr, now));
        ledgers.spend(&a, 3600);
        assert!(!ledgers.admits(&a, &addr, now) && ledgers.admits(&b, &addr, now));
        // Another name gets the rest of what all get together, not an hour's bytes again.
        ledgers.spend(&b, 1800);
        assert!(!ledgers.admits(&b, &addr, now));
        let now = now + Duration::from_secs(60);
        assert!(ledgers.admits(&a, &addr, now), "a minute later sixty bytes are there again");
        ledgers.spend(&a, 60);
        assert!(!ledgers.admits(&a, &addr, now));
        assert_eq!(ledgers.counters().budget_refused, 3);
        assert_eq!(a.entry().refused, 2);
    }

    #[test]
    fn strangers_from_afar_are_served_on_request_only() {
        let addrs =
            ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.9/tcp/1", "/ip4/8.8.8.8/tcp/1", "/ip6/::ffff:9.9.9.9/tcp/1"];
        let admitted = |strangers| {
            let ledgers = Ledgers::new(Serve { strangers, ..Serve::default() });
            let ledger = ledgers.of(PeerId::random());
            addrs.map(|addr| ledgers.admits(&ledger, &addr.parse().unwrap(), Instant::now()))
        };
        assert_eq!(admitted(Strangers::Nobody), [false; 4]);
        assert_eq!(admitted(Strangers::Near), [true, true, false, false]);
        assert_eq!(admitted(Strangers::Everybody), [true; 4]);
    }

    #[test]
    fn a_ledger_survives_its_connection_and_their_number_is_bounded() {
        let ledgers = Ledgers::default();
        let friend = PeerId::random();
        ledgers.of(friend).received(2, 10);
        let connected = PeerId::random();
        let held = ledgers.of(connected);
        for _ in 0..LEDGERS_MAX + 10 {
            ledgers.of(PeerId::random());
        }
        assert_eq!(ledgers.known().len(), LEDGERS_MAX);
        assert_eq!(ledgers.entry(&friend).received_bytes, 10);
        held.sent(1, 5);
        assert_eq!(ledgers.entry(&connected).ratio(), Some(5.0));
    }
}
