//! How long things are kept if nobody erases them.

use super::Intent;
use std::time::Duration;

/// A day.
const DAY_S: u64 = 24 * 3_600;
/// What whoever asked has at least to fetch an answer.
const LEAST_S: u64 = 3_600;

/// Days; none: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Of receipts and evidence.
    pub(crate) receipts: Option<u32>,
    /// Of prompts and answers.
    pub(crate) prompts: Option<u32>,
}

impl Retention {
    /// What is due at a time, in seconds since 1970; nothing if all is kept for ever.
    pub(crate) fn due(&self, now: u64) -> Option<Intent> {
        let cut = |days: u32| now.saturating_sub((u64::from(days) * DAY_S).max(LEAST_S));
        let due = Intent { prompts: self.prompts.map(cut), receipts: self.receipts.map(cut), ..Intent::before(0) };
        (due.prompts.is_some() || due.receipts.is_some()).then_some(due)
    }

    /// When a prompt of this time goes, or the receipt that discloses it, in seconds since 1970: until then its answer can be computed again
    /// from what is here. None if both are kept for ever.
    pub(crate) fn until(&self, at: u64) -> Option<u64> {
        let days = self.prompts.into_iter().chain(self.receipts).min()?;
        Some(at.saturating_add((u64::from(days) * DAY_S).max(LEAST_S)))
    }

    /// How often it is looked at: what is kept for an hour is no day too late.
    pub(crate) fn period(&self) -> Duration {
        let is_short = self.receipts == Some(0) || self.prompts == Some(0);
        Duration::from_secs(if is_short { LEAST_S / 6 } else { DAY_S })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_first_says_until_when() {
        let until = |prompts, receipts| Retention { prompts, receipts }.until(1_000);
        assert_eq!(until(None, None), None);
        assert_eq!(until(Some(2), None), Some(1_000 + 2 * DAY_S));
        assert_eq!(until(Some(2), Some(1)), Some(1_000 + DAY_S));
        assert_eq!(until(Some(0), Some(9)), Some(1_000 + LEAST_S));
        // Nothing is due before it.
        let kept = Retention { prompts: Some(3), receipts: Some(1) };
        let end = kept.until(500_000).unwrap();
        let due = |now| kept.due(now).unwrap();
        assert!(due(end).prompts <= Some(500_000) && due(end).receipts <= Some(500_000));
        assert!(due(end + 1).receipts > Some(500_000));
    }
}
