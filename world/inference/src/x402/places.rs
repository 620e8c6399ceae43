//! How much of a node strangers without a key take: requests per minute and at once, of each address and of all.

use crate::keys::Rates;
use crate::limits::{BODY_UNHURRIED, PAYER_PLACES, PAYER_RATE, PAYERS_PLACES, PAYERS_RATE, SOURCES_MAX};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use talkoo_base::{Refusal, RefusalCode};
use tokio_util::sync::CancellationToken;

/// The bucket of all.
const ALL: &str = "all";

#[derive(Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    rates: Rates,
    /// Requests under way, by source.
    open: BTreeMap<String, usize>,
    /// Those whose bodies are still coming, the oldest first: since when, and what ends them.
    reading: VecDeque<(Instant, u64, CancellationToken)>,
    /// The number of the next of them.
    next: u64,
}

/// A body that is coming, until it is dropped.
pub(super) struct Reading {
    places: Arc<Places>,
    number: u64,
    /// It has to make room.
    pub(super) late: CancellationToken,
}

/// A place, until it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    source: String,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// [`RefusalCode::Busy`]: too many, of this address or of all.
    pub(super) fn enter(self: &Arc<Self>, ip: Option<IpAddr>, now: Instant) -> Result<Place, Refusal> {
        let busy = |message: &str| Err(Refusal::new(RefusalCode::Busy, message, "ask again later, or with a key"));
        let source = source_of(ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let mut taken = self.lock();
        let is_full = taken.open.values().sum::<usize>() >= PAYERS_PLACES;
        let is_slow = |(since, ..): &(Instant, u64, CancellationToken)| now.duration_since(*since) >= BODY_UNHURRIED;
        if is_full && !taken.reading.front().is_some_and(is_slow) {
            return busy("too many requests without a key are under way");
        }
        if taken.open.get(&source).is_some_and(|open| *open >= PAYER_PLACES) {
            return busy("too many requests of your address are under way");
        }
        if taken.rates.len() >= SOURCES_MAX {
            taken.rates.tidy(PAYER_RATE, now);
        }
        if taken.rates.len() >= SOURCES_MAX || taken.rates.ask(&source, PAYER_RATE, now).wait.is_some() {
            return busy("your address asks too often without a key");
        }
        if taken.rates.ask(ALL, PAYERS_RATE, now).wait.is_some() {
            return busy("too many ask without a key");
        }
        // Who sends his body slowly makes room: nothing was done for him yet. His place is free in a moment.
        if is_full && let Some((.., late)) = taken.reading.pop_front() {
            late.cancel();
        }
        *taken.open.entry(source.clone()).or_default() += 1;
        drop(taken);
        Ok(Place { places: self.clone(), source })
    }
}

impl Place {
    /// Its body begins to come, at `now`.
    pub(super) fn reading(&self, now: Instant) -> Reading {
        let late = CancellationToken::new();
        let mut taken = self.places.lock();
        let number = taken.next;
        taken.next += 1;
        taken.reading.push_back((now, number, late.clone()));
        Reading { places: self.places.clone(), number, late }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.places.lock().reading.retain(|(_, number, _)| *number != self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let left = taken.open.get(&self.source).copied().unwrap_or_default().saturating_sub(1);
        match left {
            0 => drop(taken.open.remove(&self.source)),
            left => drop(taken.open.insert(self.source.clone(), left)),
        }
    }
}

/// An address; of IPv6 the 64 bits that one customer has.
fn source_of(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => hex::encode(&ip.octets()[..8]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_address_has_its_share_and_all_have_theirs() {
        let (places, now) = (Arc::new(Places::default()), Instant::now());
        let of = |text: &str| Some(text.parse().unwrap());
        let held: Vec<_> = (0..PAYER_PLACES).map(|_| places.enter(of("192.0.2.1"), now).unwrap()).collect();
        assert_eq!(places.enter(of("::ffff:192.0.2.1"), now).err().unwrap().code, RefusalCode::Busy);
        assert!(places.enter(of("192.0.2.2"), now).is_ok(), "another address");
        drop(held);
        let passed = (0..PAYER_RATE).filter(|_| places.enter(of("192.0.2.1"), now).is_ok()).count();
        assert_eq!(passed, PAYER_RATE as usize - PAYER_PLACES, "a bucket is emptied by those before, too");
        assert!(places.enter(of("192.0.2.1"), now + Duration::from_secs(2)).is_ok(), "it fills again");
        let many = |net: u32| of(&format!("10.{}.{}.1", net / 256, net % 256));
        let late = now + Duration::from_secs(120);
        let held: Vec<_> = (0..2000).map_while(|net| places.enter(many(net), late).ok()).collect();
        assert_eq!(held.len(), PAYERS_PLACES);
        assert_eq!(source_of("2001:db8::1".parse().unwrap()), source_of("2001:db8::2".parse().unwrap()));
    }

    #[test]
    fn who_sends_slowly_makes_room_for_who_comes() {
        let (places, now) = (Arc::new(Places::default()), Instant::now());
        let of = |net: usize| Some(IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + net as u32)));
        let enter = |net| places.enter(of(net), now).unwrap();
        let held: Vec<_> = (0..PAYERS_PLACES).map(enter).collect();
        let reading: Vec<_> = held.iter().map(|place| place.reading(now)).collect();
        assert!(places.enter(of(900), now).is_err(), "they may still come in time");
        let later = now + BODY_UNHURRIED;
        let new = places.enter(of(900), later).unwrap();
        let late: Vec<bool> = reading.iter().map(|one| one.late.is_cancelled()).collect();
        assert!(late[0] && !late[1..].contains(&true), "one goes, the oldest");
        drop(reading);
        assert!(places.enter(of(901), later).is_err(), "who is being answered stays");
        drop((new, held));
        assert!(places.enter(of(901), later).is_ok());
    }

    #[test]
    fn no_more_sources_are_counted_than_there_is_room_for() {
        let (places, begin) = (Arc::new(Places::default()), Instant::now());
        for step in 0..SOURCES_MAX as u64 * 3 {
            let ip = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + step as u32));
            places.enter(Some(ip), begin + Duration::from_millis(step * 100)).unwrap();
            assert!(places.lock().rates.len() <= SOURCES_MAX);
        }
    }
}
