//! Connections of one caller from elsewhere: so many at once, that he leaves places for others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Who has how many. An entry goes with its last connection, so there are no more than connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Callers(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A connection's place; it is free again when this goes.
#[derive(Debug)]
pub(crate) struct Place {
    of: Option<(Callers, IpAddr)>,
}

/// Whoever has an address of IPv6 has all of its network (RFC 6177), so that counts as one.
fn who(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & !u128::from(u64::MAX)).into()),
        ip => ip,
    }
}

impl Callers {
    /// A place, unless the caller has `most`. Programs of this machine are not counted: they are one address, and many.
    pub(crate) fn take(&self, from: IpAddr, most: usize) -> Option<Place> {
        if from.to_canonical().is_loopback() {
            return Some(Place { of: None });
        }
        let from = who(from);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(from).or_default();
        // Who is at the limit has an entry already; a limit of 0 is none of ours.
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { of: Some((self.clone(), from)) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((callers, from)) = &self.of else { return };
        let mut all = callers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(from) {
            *count -= 1;
            if *count == 0 {
                all.remove(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_does_not_take_all_places() {
        let callers = Callers::default();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        // Addresses, and whether the third connection of them together is taken.
        let cases = [
            (["192.0.2.1", "192.0.2.1", "192.0.2.1"], false),
            (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], false),
            (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"], false),
            (["2001:db8::1", "2001:db8:0:1::1", "2001:db8::1"], true),
            (["192.0.2.1", "192.0.2.1", "192.0.2.2"], true),
            (["127.0.0.1", "127.0.0.1", "127.0.0.1"], true),
            (["::1", "::ffff:127.0.0.1", "::1"], true),
        ];
        for (from, is_taken) in cases {
            let [a, b, c] = from.map(|from| callers.take(ip(from), 2));
            assert_eq!((a.is_some(), b.is_some(), c.is_some()), (true, true, is_taken), "{from:?}");
            drop((a, b));
            assert!(callers.take(ip(from[2]), 2).is_some(), "{from:?}: places are free again");
            drop(c);
            assert!(callers.0.lock().unwrap().is_empty(), "{from:?}: nothing stays");
        }
    }
}
