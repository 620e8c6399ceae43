//! Questions for blocks, transactions and receipts, and the way in for a new transaction.

use super::desk::{Answer, Asked};
use super::json::{Told, hex, sender, transaction as transaction_json};
use super::params::BlockId;
use super::{RpcError, json as write};
use alloy_primitives::{B256, Bytes};
use serde_json::Value;
use talkoo_ledger::{Block, KvError, decode_transaction, hash, store};

/// Takes a signed transaction in.
pub(super) fn send(asked: &Asked<'_>) -> Answer {
    let (bytes,): (Bytes,) = asked.read()?;
    let transaction = decode_transaction(&bytes, asked.view.head.chain_id)?;
    let hash = asked.desk.chain.submit(transaction)?;
    asked.desk.arrivals.push(hash);
    Ok(hex(hash))
}

/// A block that may not be there.
fn find(asked: &Asked<'_>, block: BlockId) -> Result<Option<Block>, KvError> {
    let Some(number) = asked.number(block)? else { return Ok(None) };
    store::block(&*asked.view.kv, number)
}

pub(super) fn block(asked: &Asked<'_>) -> Answer {
    let (block, is_full): (BlockId, Option<bool>) = asked.read()?;
    find(asked, block)?.map_or(Ok(Value::Null), |block| write::block(&block, is_full.unwrap_or(false)))
}

pub(super) fn count(asked: &Asked<'_>) -> Answer {
    let (block,): (BlockId,) = asked.read()?;
    Ok(find(asked, block)?.map_or(Value::Null, |block| hex(block.body.transactions.len())))
}

/// The RLP of a block's header.
pub(super) fn raw_header(asked: &Asked<'_>) -> Answer {
    let (block,): (BlockId,) = asked.read()?;
    Ok(find(asked, block)?.map_or(Value::Null, |block| hex(Bytes::from(alloy_rlp::encode(&block.header)))))
}

/// The RLP of a block.
pub(super) fn raw_block(asked: &Asked<'_>) -> Answer {
    let (block,): (BlockId,) = asked.read()?;
    Ok(find(asked, block)?.map_or(Value::Null, |block| hex(Bytes::from(talkoo_ledger::encode_block(&block)))))
}

/// No block of ours has any.
pub(super) fn uncles(asked: &Asked<'_>) -> Answer {
    let (block,): (BlockId,) = asked.read()?;
    Ok(asked.number(block)?.map_or(Value::Null, |_| hex(0u8)))
}

pub(super) fn transaction(asked: &Asked<'_>) -> Answer {
    let (hash,): (B256,) = asked.read()?;
    let waiting = asked.desk.chain.waiting(&hash);
    // The chain as it is after the pool was asked: whatever left the pool meanwhile stands in a block.
    let now = Asked::inside(asked.desk);
    match (store::place(&*now.view.kv, &hash)?, waiting) {
        (Some((number, index)), _) => placed(&now, BlockId::Number(number), index),
        (None, Some(waiting)) => transaction_json(&waiting, waiting.signer(), None),
        (None, None) => Ok(Value::Null),
    }
}

pub(super) fn transaction_at(asked: &Asked<'_>) -> Answer {
    let (block, index): (BlockId, u64) = asked.read()?;
    usize::try_from(index).map_or(Ok(Value::Null), |index| placed(asked, block, index))
}

fn placed(asked: &Asked<'_>, block: BlockId, index: usize) -> Answer {
    let Some(block) = find(asked, block)? else { return Ok(Value::Null) };
    let Some(transaction) = block.body.transactions.get(index) else { return Ok(Value::Null) };
    transaction_json(transaction, sender(transaction)?, Some((&block.header, hash(&block.header), index)))
}

pub(super) fn receipt(asked: &Asked<'_>) -> Answer {
    let (hash,): (B256,) = asked.read()?;
    let Some((number, index)) = store::place(&*asked.view.kv, &hash)? else { return Ok(Value::Null) };
    let told = told(asked, number)?;
    let Some(told) = told else { return Err(KvError::Damaged(format!("block {number}")).into()) };
    told.receipt(index)
}

pub(super) fn receipts(asked: &Asked<'_>) -> Answer {
    let (block,): (BlockId,) = asked.read()?;
    let Some(number) = asked.number(block)? else { return Ok(Value::Null) };
    told(asked, number)?.map_or(Ok(Value::Null), |told| told.all())
}

/// A block with what came of it.
pub(super) fn told(asked: &Asked<'_>, number: u64) -> Result<Option<Told>, RpcError> {
    let kv = &*asked.view.kv;
    Ok(store::block(kv, number)?.map(|block| Told::read(kv, block)).transpose()?)
}
