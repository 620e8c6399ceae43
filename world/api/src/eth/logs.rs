//! Questions for logs: the bloom of a header says which blocks need no look.

use super::desk::{Answer, Asked};
use super::history::told;
use super::params::{BlockId, Criteria};
use super::{RpcError, View};
use crate::limits::{LOG_BLOCKS_MAX, LOGS_MAX};
use alloy_primitives::{Bloom, BloomInput, Log};
use alloy_rlp::Decodable;
use serde_json::Value;
use std::ops::RangeInclusive;
use talkoo_ledger::{Header, KvError, store};

pub(super) fn logs(asked: &Asked<'_>) -> Answer {
    let (criteria,): (Criteria,) = asked.read()?;
    let range = range(asked, &criteria)?;
    find(asked, &criteria, range).map(Value::Array)
}

/// The blocks that a question names.
pub(super) fn range(asked: &Asked<'_>, criteria: &Criteria) -> Result<RangeInclusive<u64>, RpcError> {
    let last = asked.view.head.header.number;
    if let Some(hash) = criteria.hash {
        let number = asked.number(BlockId::Hash(hash))?.ok_or_else(|| RpcError::server("unknown block"))?;
        return Ok(number..=number);
    }
    let number = |block: Option<BlockId>| match block.unwrap_or_default() {
        BlockId::Number(number) => Ok(number),
        BlockId::Latest | BlockId::Pending => Ok(last),
        BlockId::Hash(_) => Err(RpcError::params("a range of blocks begins and ends with numbers or tags")),
    };
    let (from, to) = (number(criteria.from)?, number(criteria.to)?);
    if from > to {
        return Err(RpcError::params(format!("invalid block range params: from {from} to {to}")));
    }
    if from > last {
        return Err(RpcError::params(format!("block range extends beyond current head block: {from} is after {last}")));
    }
    Ok(from..=to.min(last))
}

/// The logs of a range that meet the criteria.
pub(super) fn find(asked: &Asked<'_>, criteria: &Criteria, range: RangeInclusive<u64>) -> Result<Vec<Value>, RpcError> {
    let blocks = (range.end() - range.start()).saturating_add(1);
    if blocks > LOG_BLOCKS_MAX {
        let message = format!("exceed maximum block range: {blocks} blocks, at most {LOG_BLOCKS_MAX}; ask in parts");
        return Err(RpcError::limit(message));
    }
    let mut found = Vec::new();
    for number in range {
        asked.in_time()?;
        let Some(header) = header(&asked.view, number)? else { continue };
        if !may_have(&header.logs_bloom, criteria) {
            continue;
        }
        let Some(told) = told(asked, number)? else { continue };
        found.extend(told.logs(|log| meets(log, criteria)));
        if found.len() > LOGS_MAX {
            let message = format!("query returned more than {LOGS_MAX} results; ask for fewer blocks at once");
            return Err(RpcError::limit(message));
        }
    }
    Ok(found)
}

/// A block's header, without the rest of it.
pub(super) fn header(view: &View, number: u64) -> Result<Option<Header>, KvError> {
    if number == view.head.header.number {
        return Ok(Some(Header::clone(&view.head.header)));
    }
    let Some(bytes) = store::block_bytes(&*view.kv, number)? else { return Ok(None) };
    let mut bytes = bytes.as_slice();
    // A block is a list that begins with its header.
    let header = alloy_rlp::Header::decode(&mut bytes).and_then(|_| Header::decode(&mut bytes));
    header.map(Some).map_err(|e| KvError::Damaged(format!("block {number}: {e}")))
}

fn may_have(bloom: &Bloom, criteria: &Criteria) -> bool {
    let has = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
    let any = |mut all: &mut dyn Iterator<Item = bool>| {
        let mut all = (&mut all).peekable();
        all.peek().is_none() || all.any(|has| has)
    };
    any(&mut criteria.addresses.iter().map(|address| has(address.as_slice())))
        && criteria.topics.iter().all(|topics| any(&mut topics.iter().map(|topic| has(topic.as_slice()))))
}

fn meets(log: &Log, criteria: &Criteria) -> bool {
    let address = criteria.addresses.is_empty() || criteria.addresses.contains(&log.address);
    let topics = log.topics();
    // A place that may hold anything still has to be there.
    address
        && topics.len() >= criteria.topics.len()
        && criteria.topics.iter().zip(topics).all(|(wanted, topic)| wanted.is_empty() || wanted.contains(topic))
}
