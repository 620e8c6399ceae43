//! What a transaction should offer.

use super::desk::{Answer, Asked};
use super::json::{Told, hex};
use super::logs::header;
use super::params::{BlockId, Percentiles};
use super::{RpcError, history::told};
use alloy_consensus::Transaction as _;
use serde_json::{Value, json};
use talkoo_ledger::{KvError, next_base_fee};

use crate::limits::FEE_BLOCKS_MAX;

/// A tip that is likely to be enough: 1 wei while blocks have room, else the median of the last block's.
fn enough(asked: &Asked<'_>) -> Result<u128, RpcError> {
    let header = &asked.view.head.header;
    if header.gas_used <= header.gas_limit / 2 {
        return Ok(1);
    }
    let Some(told) = told(asked, header.number)? else { return Ok(1) };
    Ok(told.tips(&[50.0])[0].max(1))
}

pub(super) fn tip(asked: &Asked<'_>) -> Answer {
    enough(asked).map(hex)
}

pub(super) fn gas_price(asked: &Asked<'_>) -> Answer {
    let base = u128::from(next_base_fee(&asked.view.head.header));
    enough(asked).map(|tip| hex(base.saturating_add(tip)))
}

/// Base fees, fullness and tips of some blocks up to one.
pub(super) fn history(asked: &Asked<'_>) -> Answer {
    let (count, newest, percentiles): (u64, BlockId, Option<Percentiles>) = asked.read()?;
    let newest = asked.number(newest)?.ok_or_else(|| {
        RpcError::server(format!("request beyond head block: the last is {}", asked.view.head.header.number))
    })?;
    let count = count.min(FEE_BLOCKS_MAX).min(newest + 1);
    if count == 0 {
        return Ok(json!({"oldestBlock": "0x0", "gasUsedRatio": Value::Null}));
    }
    let oldest = newest + 1 - count;
    let (mut fees, mut ratios, mut rewards) = (Vec::new(), Vec::new(), Vec::new());
    for number in oldest..=newest {
        asked.in_time()?;
        let header = header(&asked.view, number)?.ok_or_else(|| KvError::Damaged(format!("block {number}")))?;
        fees.push(hex(header.base_fee_per_gas.unwrap_or(0)));
        ratios.push(header.gas_used as f64 / header.gas_limit as f64);
        if let Some(Percentiles(percentiles)) = &percentiles {
            let tips = told(asked, number)?.map_or_else(Vec::new, |told| told.tips(percentiles));
            rewards.push(tips.into_iter().map(hex).collect::<Value>());
        }
        if number == newest {
            fees.push(hex(next_base_fee(&header)));
        }
    }
    let blobs = |count: u64, value: Value| vec![value; count as usize];
    let mut answer = json!({
        "oldestBlock": hex(oldest),
        "baseFeePerGas": fees,
        "gasUsedRatio": ratios,
        "baseFeePerBlobGas": blobs(count + 1, json!("0x1")),
        "blobGasUsedRatio": blobs(count, json!(0)),
    });
    if percentiles.is_some() {
        answer["reward"] = Value::Array(rewards);
    }
    Ok(answer)
}

impl Told {
    /// The tips at some percentiles of the block's gas, as go-ethereum reckons them; zeros for an empty block.
    fn tips(&self, percentiles: &[f64]) -> Vec<u128> {
        let base = self.block.header.base_fee_per_gas.unwrap_or(0);
        let tip = |t: &talkoo_ledger::Transaction| t.effective_tip_per_gas(base).unwrap_or(0);
        let mut tips: Vec<(u128, u64)> = self.block.body.transactions.iter().map(tip).zip(self.gas()).collect();
        tips.sort_unstable();
        let at = |percentile: &f64| {
            let wanted = (self.block.header.gas_used as f64 * percentile / 100.0) as u64;
            let mut sum = 0;
            let reaches = |(_, gas): &&(u128, u64)| {
                sum += gas;
                sum >= wanted
            };
            tips.iter().find(reaches).or(tips.last()).map_or(0, |(tip, _)| *tip)
        };
        percentiles.iter().map(at).collect()
    }
}
