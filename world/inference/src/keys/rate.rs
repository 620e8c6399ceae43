//! How often a key asks: a bucket for each, that fills again within a minute.

use axum::http::{HeaderMap, HeaderValue, header};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long an empty bucket takes to be full.
const FULL: Duration = Duration::from_secs(60);

/// How a key stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests per minute.
    pub limit: u32,
    /// Requests that it may make at once now.
    pub remaining: u32,
    /// Until it may make all of them.
    pub reset: Duration,
    /// Until it may make the next one; none: this one may pass.
    pub wait: Option<Duration>,
}

impl Standing {
    /// OpenAI's headers of a rate limit (platform.openai.com/docs/guides/rate-limits).
    pub fn tell(&self, headers: &mut HeaderMap) {
        headers.insert("x-ratelimit-limit-requests", HeaderValue::from(self.limit));
        headers.insert("x-ratelimit-remaining-requests", HeaderValue::from(self.remaining));
        let reset = format!("{}ms", self.reset.as_millis());
        headers.insert("x-ratelimit-reset-requests", HeaderValue::from_str(&reset).expect("digits"));
        if let Some(wait) = self.wait {
            let seconds = wait.as_millis().div_ceil(1_000) as u64;
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
    }
}

/// What is missing in the buckets that are not full; those of keys, so there are no more than keys, or of who holds them.
#[derive(Debug, Default)]
pub(crate) struct Rates(BTreeMap<String, (f64, Instant)>);

impl Rates {
    /// A request of a key that may make `limit` in a minute.
    pub(crate) fn ask(&mut self, key: &str, limit: u32, now: Instant) -> Standing {
        let per_second = f64::from(limit) / FULL.as_secs_f64();
        let (missing, at) = self.0.get(key).copied().unwrap_or((0.0, now));
        let missing = (missing - now.saturating_duration_since(at).as_secs_f64() * per_second).max(0.0);
        let left = f64::from(limit) - missing;
        let passes = left >= 1.0;
        let missing = if passes { missing + 1.0 } else { missing };
        self.0.insert(key.to_owned(), (missing, now));
        Standing {
            limit,
            remaining: (f64::from(limit) - missing).max(0.0) as u32,
            reset: Duration::from_secs_f64(missing / per_second),
            wait: (!passes).then(|| Duration::from_secs_f64((1.0 - left) / per_second)),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets the buckets that are full again, if each fills with `limit` in a minute.
    pub(crate) fn tidy(&mut self, limit: u32, now: Instant) {
        let per_second = f64::from(limit) / FULL.as_secs_f64();
        self.0.retain(|_, (missing, at)| now.saturating_duration_since(*at).as_secs_f64() * per_second < *missing);
    }

    /// A key that is gone has no bucket.
    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let (mut rates, begin) = (Rates::default(), Instant::now());
        let at = |ms| begin + Duration::from_millis(ms);
        // Milliseconds, what remains, whether it has to wait and how many milliseconds.
        let asks = [
            (0, 2, None),
            (0, 1, None),
            (0, 0, None),
            (0, 0, Some(20_000)),
            (10_000, 0, Some(10_000)),
            (20_000, 0, None),
            (20_001, 0, Some(19_999)),
            (200_000, 2, None),
        ];
        for (ms, remaining, wait) in asks {
            let standing = rates.ask("a", 3, at(ms));
            let waits = standing.wait.map(|wait| (wait.as_secs_f64() * 1e3).round() as u64);
            assert_eq!((standing.remaining, waits), (remaining, wait), "at {ms} ms");
        }
        assert_eq!(rates.ask("b", 3, at(0)).remaining, 2, "another key has its own");
    }
}
