//! What waits for a block, as go-ethereum tells it.

use super::RpcError;
use super::desk::{Answer, Asked};
use super::json::{hex, transaction};
use crate::limits::{POOL_TOLD_BYTES_MAX, POOL_TOLD_MAX};
use alloy_consensus::Transaction as _;
use serde_json::{Map, Value, json};
use talkoo_ledger::{SignedBy, encode_transaction};

/// How many wait: `pending` could stand in the next block, `queued` wait for what is missing before them.
pub(super) fn status(asked: &Asked<'_>) -> Answer {
    asked.read::<()>()?;
    let [mut pending, mut queued] = [0u64; 2];
    asked.desk.chain.pool(&mut |_, is_ready| {
        *(if is_ready { &mut pending } else { &mut queued }) += 1;
        true
    });
    Ok(json!({"pending": hex(pending), "queued": hex(queued)}))
}

/// What waits, by sender and nonce, as far as the limits go.
pub(super) fn content(asked: &Asked<'_>) -> Answer {
    asked.read::<()>()?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    asked.desk.chain.pool(&mut |waiting, is_ready| {
        bytes += encode_transaction(waiting).len();
        found.push((waiting.clone(), is_ready));
        found.len() < POOL_TOLD_MAX && bytes < POOL_TOLD_BYTES_MAX
    });
    let told = |wanted: bool| -> Result<Value, RpcError> {
        let mut senders = Map::new();
        for (waiting, _) in found.iter().filter(|(_, is_ready)| *is_ready == wanted) {
            let sender = senders.entry(waiting.signer().to_string()).or_insert_with(|| json!({}));
            sender[waiting.nonce().to_string()] = one(waiting)?;
        }
        Ok(Value::Object(senders))
    };
    Ok(json!({"pending": told(true)?, "queued": told(false)?}))
}

fn one(waiting: &SignedBy) -> Answer {
    transaction(waiting, waiting.signer(), None)
}
