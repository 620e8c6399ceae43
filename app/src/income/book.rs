//! The day book: how much more clients' vouchers are worth than before, by the day in UTC, for vouchers have no dates.
//!
//! The file `earnings.json` is written every few seconds at most. A kill loses nothing: the vouchers are in the journal, and what
//! the file does not know of them counts for the day on which it was written last.

use super::{DAYS_MAX, Days};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tracing::warn;

pub(super) const DAY_S: u64 = 86_400;
/// Seconds between two writes on one day.
const WRITE_S: u64 = 5;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Since when it is counted, in seconds since 1970.
    since: u64,
    /// When it was written.
    at: u64,
    /// What all vouchers were worth then, in micro-units.
    total: u64,
    /// Micro-units by day since 1970.
    days: BTreeMap<u64, u64>,
}

/// The book of a node.
#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    /// None before the first count.
    kept: Option<Kept>,
    /// Whether it was not counted yet since the start.
    is_first: bool,
    /// Whether the file does not say all.
    is_changed: bool,
}

impl Book {
    /// Reads what is kept. A damaged file is said, and counting begins anew.
    pub(crate) fn open(dir: &Path) -> Self {
        let path = dir.join("earnings.json");
        let kept = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .inspect_err(
                    |why| warn!(path = %path.display(), %why, "this file is damaged: earnings are counted from now on"),
                )
                .ok(),
            Err(_) => None,
        };
        Self { path, kept, is_first: true, is_changed: false }
    }

    /// All vouchers together are worth `total` micro-units now.
    pub(crate) fn count(&mut self, total: u128, now: u64) {
        let total = u64::try_from(total).unwrap_or(u64::MAX);
        let is_new = self.kept.is_none();
        // What was earned before this file is of no known day.
        let kept = self.kept.get_or_insert(Kept { since: now, at: now, total, days: BTreeMap::new() });
        // The first count after a start finds what came after the last write.
        let day = if self.is_first { kept.at } else { now } / DAY_S;
        let more = total.saturating_sub(kept.total);
        if more > 0 {
            let sum = kept.days.entry(day).or_default();
            *sum = sum.saturating_add(more);
        }
        while kept.days.len() as u64 > DAYS_MAX {
            kept.days.pop_first();
        }
        kept.total = total;
        self.is_first = false;
        self.is_changed |= is_new || more > 0;
        if is_new || kept.at / DAY_S != now / DAY_S || now >= kept.at.saturating_add(WRITE_S) {
            self.close(now);
        }
    }

    /// Writes what is not written yet.
    pub(crate) fn close(&mut self, now: u64) {
        let Some(kept) = self.kept.as_mut().filter(|_| self.is_changed) else { return };
        (kept.at, self.is_changed) = (now, false);
        let part = self.path.with_extension("part");
        let bytes = serde_json::to_vec(kept).expect("numbers only");
        let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, &self.path));
        written.unwrap_or_else(|why| warn!(path = %self.path.display(), %why, "the day book can't be written"));
    }

    /// What came by day, and since when it is counted.
    pub(crate) fn days(&self) -> (Days, u64) {
        let Some(kept) = &self.kept else { return (Days::new(), 0) };
        (kept.days.iter().map(|(day, micro)| (*day, u128::from(*micro))).collect(), kept.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_what_came_on_it_also_over_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        let at = |day: u64, second: u64| day * DAY_S + second;
        let mut book = Book::open(dir.path());
        // What there was before is of no day.
        book.count(500, at(10, 0));
        book.count(520, at(10, 9));
        book.count(523, at(10, 10));
        book.count(523, at(11, 3));
        book.count(530, at(12, 0));
        // Not written yet, and the process is killed: the next start finds the difference, of the day of the last write.
        book.count(532, at(12, 1));
        drop(book);
        let mut book = Book::open(dir.path());
        book.count(532, at(14, 0));
        book.count(540, at(14, 1));
        book.close(at(14, 1));
        let (days, since) = Book::open(dir.path()).days();
        assert_eq!(days, Days::from([(10, 23), (12, 9), (14, 8)]));
        assert_eq!(since, at(10, 0));
    }

    #[test]
    fn a_book_is_bounded_and_a_damaged_one_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("earnings.json"), b"{").unwrap();
        let mut book = Book::open(dir.path());
        for day in 0..DAYS_MAX + 20 {
            book.count(u128::from(day), day * DAY_S + 1);
        }
        let (days, since) = book.days();
        assert_eq!((days.len() as u64, since), (DAYS_MAX, 1));
        assert_eq!(days.last_key_value(), Some((&(DAYS_MAX + 19), &1)));
    }
}
