//! Why a block is final: its certificate, and the changes of those who sign one.

use super::RpcError;
use super::desk::{Answer, Asked};
use super::json::hex;
use super::params::BlockId;
use crate::limits::RPC_HANDOVERS_MAX;
use alloy_primitives::{B256, Bytes};
use serde_json::{Value, json};
use talkoo_base::Certificate;
use talkoo_base::wire::decode;
use talkoo_ledger::{Header, KvError, store};

/// The precommits that made a block final: `{height, round, block, signatures}`; null for the first block, which needs none.
pub(super) fn certificate(asked: &Asked<'_>) -> Answer {
    let (block,) = asked.read::<(BlockId,)>()?;
    asked.number(block)?.map_or(Ok(Value::Null), |number| signed(asked, number))
}

/// The next changes of validators after block `from`, which is the first one or one that changed them, a page at most:
/// `[{parent, header, certificate, validators: [{address, power}]}]`, both headers as RLP. `validators` decide from the
/// block after the header's on.
pub(super) fn handovers(asked: &Asked<'_>) -> Answer {
    let (mut at,) = asked.read::<(u64,)>()?;
    let mut page = Vec::new();
    while page.len() < RPC_HANDOVERS_MAX
        && let Some(number) = store::next_handover(&*asked.view.kv, at)?
    {
        let header = header(asked, number)?;
        let validators = store::validators(&*asked.view.kv, &header)?;
        let validators: Vec<Value> = validators
            .iter()
            .map(|v| json!({"address": hex(alloy_primitives::Address::from(v.address.0)), "power": hex(v.power)}))
            .collect();
        page.push(json!({
            "parent": rlp(&self::header(asked, number - 1)?),
            "header": rlp(&header),
            "certificate": signed(asked, number)?,
            "validators": validators,
        }));
        at = number;
    }
    Ok(page.into())
}

fn header(asked: &Asked<'_>, number: u64) -> Result<Header, RpcError> {
    let block = store::block(&*asked.view.kv, number)?;
    Ok(block.ok_or_else(|| KvError::Damaged(format!("block {number}")))?.header)
}

fn rlp(header: &Header) -> Value {
    hex(Bytes::from(alloy_rlp::encode(header)))
}

fn signed(asked: &Asked<'_>, number: u64) -> Answer {
    let bytes = store::certificate(&*asked.view.kv, number)?.filter(|bytes| !bytes.is_empty());
    let Some(bytes) = bytes else { return Ok(Value::Null) };
    let certificate: Certificate =
        decode(&bytes).map_err(|error| KvError::Damaged(format!("certificate {number}: {error}")))?;
    let signatures: Vec<Value> = certificate.signatures.iter().map(|s| hex(Bytes::from(s.0))).collect();
    Ok(json!({
        "height": hex(certificate.height),
        "round": hex(certificate.round),
        "block": hex(B256::from(certificate.block.0)),
        "signatures": signatures,
    }))
}
