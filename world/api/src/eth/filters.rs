//! Filters: questions that a client asks again and again, each time for what came since.

use super::desk::{Answer, Asked};
use super::json::hex;
use super::logs::{find, header, range};
use super::params::{BlockId, Criteria};
use super::{RpcError, logs as history};
use crate::limits::{ARRIVALS_MAX, FILTER_MS_MAX, FILTERS_MAX, LOG_BLOCKS_MAX};
use alloy_primitives::B256;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// The filters that wait to be asked, by their ids.
#[derive(Default)]
pub(super) struct Filters(BTreeMap<String, Filter>);

#[derive(Clone)]
struct Filter {
    kind: Kind,
    /// The block, or the arrival, that was not told yet.
    next: u64,
    used: Instant,
}

#[derive(Clone)]
enum Kind {
    Logs(Criteria),
    Blocks,
    Arrivals,
}

/// Hashes of the transactions that came in over this interface, numbered.
pub(super) struct Arrivals {
    last: Mutex<(u64, VecDeque<B256>)>,
    news: broadcast::Sender<B256>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self { last: Mutex::default(), news: broadcast::channel(ARRIVALS_MAX).0 }
    }
}

impl Arrivals {
    /// Another one.
    pub(super) fn push(&self, hash: B256) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, hashes) = &mut *last;
        *count += 1;
        hashes.push_back(hash);
        if hashes.len() > ARRIVALS_MAX {
            hashes.pop_front();
        }
        // Nobody may be listening.
        self.news.send(hash).ok();
    }

    /// What comes from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<B256> {
        self.news.subscribe()
    }

    fn count(&self) -> u64 {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn since(&self, next: u64) -> (u64, Vec<B256>) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, hashes) = &*last;
        let new = usize::try_from(count - next).unwrap_or(usize::MAX).min(hashes.len());
        (*count, hashes.range(hashes.len() - new..).copied().collect())
    }
}

/// A name that nobody guesses: local web pages share the filters.
pub(super) fn fresh_id() -> Result<String, RpcError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(RpcError::internal)?;
    Ok(B256::left_padding_from(&bytes).to_string().replacen(&"0".repeat(32), "", 1))
}

fn install(asked: &Asked<'_>, kind: Kind, next: u64) -> Answer {
    let (now, id) = (Instant::now(), fresh_id()?);
    let mut filters = asked.desk.filters();
    filters.0.retain(|_, filter| now.duration_since(filter.used) < Duration::from_millis(FILTER_MS_MAX));
    if filters.0.len() >= FILTERS_MAX {
        let message = format!("too many filters: {FILTERS_MAX} are waiting; uninstall some, or wait five minutes");
        return Err(RpcError::limit(message));
    }
    filters.0.insert(id.clone(), Filter { kind, next, used: now });
    Ok(json!(id))
}

pub(super) fn new_logs(asked: &Asked<'_>) -> Answer {
    let (criteria,): (Criteria,) = asked.read()?;
    let last = asked.view.head.header.number;
    let next = match criteria.from {
        Some(BlockId::Number(number)) => number.max(last + 1),
        _ => last + 1,
    };
    install(asked, Kind::Logs(criteria), next)
}

pub(super) fn new_blocks(asked: &Asked<'_>) -> Answer {
    install(asked, Kind::Blocks, asked.view.head.header.number + 1)
}

pub(super) fn new_arrivals(asked: &Asked<'_>) -> Answer {
    install(asked, Kind::Arrivals, asked.desk.arrivals.count())
}

pub(super) fn uninstall(asked: &Asked<'_>) -> Answer {
    let (id,): (String,) = asked.read()?;
    Ok(json!(asked.desk.filters().0.remove(&id).is_some()))
}

/// A filter as it is, if somebody asked it lately.
fn filter(asked: &Asked<'_>, id: &str) -> Result<Filter, RpcError> {
    let now = Instant::now();
    let mut filters = asked.desk.filters();
    let filter = filters.0.get_mut(id);
    let fresh = filter.filter(|filter| now.duration_since(filter.used) < Duration::from_millis(FILTER_MS_MAX));
    let filter = fresh.ok_or_else(|| RpcError::server("filter not found"))?;
    filter.used = now;
    Ok(filter.clone())
}

/// What came since the last question.
pub(super) fn changes(asked: &Asked<'_>) -> Answer {
    let (id,): (String,) = asked.read()?;
    let Filter { kind, next, .. } = filter(asked, &id)?;
    // Whoever did not ask for very long gets the rest with the next answers.
    let last = asked.view.head.header.number.min(next.saturating_add(LOG_BLOCKS_MAX - 1));
    let (next, answer) = match kind {
        Kind::Arrivals => {
            let (next, hashes) = asked.desk.arrivals.since(next);
            (next, hashes.into_iter().map(hex).collect())
        }
        _ if next > last => (next, Vec::new()),
        Kind::Blocks => {
            let hashes = (next..=last).map(|number| {
                asked.in_time()?;
                Ok(header(&asked.view, number)?.map_or(Value::Null, |header| hex(talkoo_ledger::hash(&header))))
            });
            (last + 1, hashes.collect::<Result<Vec<_>, RpcError>>()?)
        }
        Kind::Logs(criteria) => {
            let end = match criteria.to {
                Some(BlockId::Number(to)) => last.min(to),
                _ => last,
            };
            (last + 1, if next > end { Vec::new() } else { find(asked, &criteria, next..=end)? })
        }
    };
    if let Some(filter) = asked.desk.filters().0.get_mut(&id) {
        filter.next = next;
    }
    Ok(Value::Array(answer))
}

/// All logs of a filter, told already or not.
pub(super) fn logs(asked: &Asked<'_>) -> Answer {
    let (id,): (String,) = asked.read()?;
    let Kind::Logs(criteria) = filter(asked, &id)?.kind else { return Err(RpcError::server("filter not found")) };
    let range = range(asked, &criteria)?;
    history::find(asked, &criteria, range).map(Value::Array)
}
