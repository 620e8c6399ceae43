//! What a node earned, by day in UTC and by source. Answers that were sold are counted by this node, a day book of its own; what
//! stands on the ledger with a date is read there: storage, data, and answers paid by transfer (x402).
//!
//! Deliberately no forecast: a day without income is a row of zeros.

mod book;
mod chain;

pub(crate) use book::Book;

use crate::commands::{Books, day_of};
use book::DAY_S;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use talkoo_base::{Amount, Refusal};

/// The most days that one answer tells: those that the book keeps.
pub(crate) const DAYS_MAX: u64 = 366;

/// Micro-units by day since 1970.
type Days = BTreeMap<u64, u128>;

/// What came in from where.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sources {
    inference: Days,
    x402: Days,
    storage: Days,
    data: Days,
}

impl Sources {
    fn all(&self) -> [(&'static str, &Days); 4] {
        [("inference", &self.inference), ("x402", &self.x402), ("storage", &self.storage), ("data", &self.data)]
    }

    /// A row for a span of days, in tokens of money.
    fn row(&self, days: std::ops::RangeInclusive<u64>) -> Value {
        let of = |source: &Days| source.range(days.clone()).fold(0u128, |sum, (_, micro)| sum.saturating_add(*micro));
        let each = self.all().map(|(name, source)| (name, of(source)));
        let total = each.iter().fold(0u128, |sum, (_, micro)| sum.saturating_add(*micro));
        let mut row: serde_json::Map<_, _> =
            each.into_iter().map(|(name, micro)| (name.to_owned(), json!(Amount(micro).to_string()))).collect();
        row.insert("total".into(), json!(Amount(total).to_string()));
        Value::Object(row)
    }
}

/// The last days up to now, today's the last; with a ledger also what stands there. Blocks.
///
/// # Errors
/// A ledger that does not answer.
pub(crate) fn answer(
    inference: Days,
    since: u64,
    books: Option<&Books>,
    days: u64,
    now: u64,
) -> Result<Value, Refusal> {
    let today = now / DAY_S;
    let first = (today + 1).saturating_sub(days);
    let mut sources = Sources { inference, ..Sources::default() };
    let chain_since = match books {
        Some(books) => Some(chain::read(books, first * DAY_S, &mut sources)?),
        None => None,
    };
    let row = |day: u64| {
        let mut row = sources.row(day..=day);
        row["date"] = json!(day_of(day.saturating_mul(DAY_S)));
        row
    };
    Ok(json!({
        "days": (first..=today).map(row).collect::<Vec<_>>(),
        "sum": sources.row(first..=today),
        "since": {"inference": since, "ledger": chain_since},
        "unit": "tokens of money",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_has_a_row_and_those_before_have_none() {
        let now = 20_000 * DAY_S + 5;
        let inference = Days::from([(19_990, 7), (19_998, 1_500_000), (20_000, 250_000)]);
        let told = answer(inference, 77, None, 3, now).unwrap();
        let shown = |row: &Value| {
            ["date", "inference", "data", "total"].map(|key| row[key].as_str().unwrap_or_default().to_owned())
        };
        let rows: Vec<[String; 4]> = told["days"].as_array().unwrap().iter().map(shown).collect();
        let want = [
            ["2024-10-02", "1.500000", "0.000000", "1.500000"],
            ["2024-10-03", "0.000000", "0.000000", "0.000000"],
            ["2024-10-04", "0.250000", "0.000000", "0.250000"],
        ];
        assert_eq!(rows, want.map(|row| row.map(str::to_owned)));
        assert_eq!(told["sum"]["total"], "1.750000");
        assert_eq!(told["since"], json!({"inference": 77, "ledger": null}));
    }
}
