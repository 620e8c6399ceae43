//! Many reasons as few lines: "41 nodes: 30 context_exceeded (need 4096, best 2048), 9 price_above_max, 2 silent".

use std::collections::BTreeMap;
use talkoo_base::{Refusal, RefusalCode};

/// What one reason says about several nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The reason.
    pub code: RefusalCode,
    /// How many nodes.
    pub count: usize,
    /// What all of them would need, if they need the same.
    pub need: Option<String>,
    /// The nearest to it that one of them has; if they have the same and need different things, the least need.
    pub best: Option<String>,
    /// What would help.
    pub hint: String,
}

/// The number a text begins with.
fn number(text: &str) -> u128 {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// Counts refusals by their codes, the commonest first.
#[must_use]
pub fn summarise<'a>(refusals: impl Iterator<Item = &'a Refusal>) -> Vec<Summary> {
    let mut kinds: BTreeMap<RefusalCode, Vec<&Refusal>> = BTreeMap::new();
    for refusal in refusals {
        kinds.entry(refusal.code).or_default().push(refusal);
    }
    let mut rows: Vec<Summary> = kinds.into_iter().map(|(code, all)| summary(code, &all)).collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.count), row.code));
    rows
}

fn summary(code: RefusalCode, all: &[&Refusal]) -> Summary {
    let needs = all.iter().filter_map(|refusal| refusal.need.as_deref());
    let have = all.iter().filter_map(|refusal| refusal.have.as_deref());
    let same = |mut texts: Box<dyn Iterator<Item = &str> + '_>| {
        let first = texts.next()?;
        texts.all(|text| text == first).then(|| first.to_owned())
    };
    let (need, had) = (same(Box::new(needs.clone())), same(Box::new(have.clone())));
    let (need, best) = match (need, had) {
        (Some(need), _) => (Some(need), have.max_by_key(|text| number(text)).map(str::to_owned)),
        // What they ask differs: the least of it is the nearest.
        (None, Some(had)) => (Some(had), needs.min_by_key(|text| number(text)).map(str::to_owned)),
        (None, None) => (None, None),
    };
    let hint = all.first().map_or_else(String::new, |refusal| refusal.hint.clone());
    Summary { code, count: all.len(), need, best, hint }
}

/// One line for people.
#[must_use]
pub fn line(rows: &[Summary]) -> String {
    let count: usize = rows.iter().map(|row| row.count).sum();
    let parts: Vec<String> = rows.iter().map(part).collect();
    match count {
        0 => "no node".into(),
        1 => format!("1 node: {}", parts.join(", ")),
        _ => format!("{count} nodes: {}", parts.join(", ")),
    }
}

fn part(row: &Summary) -> String {
    let what = format!("{} {}", row.count, row.code);
    match (&row.need, &row.best) {
        (Some(need), Some(best)) => format!("{what} (need {need}, best {best})"),
        _ => what,
    }
}
