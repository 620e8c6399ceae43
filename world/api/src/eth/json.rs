//! Blocks, transactions, receipts and logs as Ethereum's clients read them (execution-apis, as go-ethereum answers).

use super::RpcError;
use alloy_consensus::TxReceipt as _;
use alloy_consensus::transaction::{SignerRecoverable, Transaction as _};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_primitives::{Address, B256, Log, U256};
use alloy_rlp::Encodable;
use serde_json::{Map, Value, json};
use talkoo_ledger::{Block, Header, KvError, KvRead, Receipt, Transaction, hash, store};

/// A number, without leading zeros, or a hash, an address, bytes: all of them.
pub(super) fn hex(value: impl std::fmt::LowerHex) -> Value {
    json!(format!("{value:#x}"))
}

/// A number as 32 bytes.
pub(super) fn word(number: U256) -> Value {
    json!(format!("{number:#066x}"))
}

/// A header, as `newHeads` tells it and a block begins.
pub(super) fn header(header: &Header, hash: B256) -> Map<String, Value> {
    let maybe = |number: Option<u64>| number.map_or(Value::Null, hex);
    let fields = json!({
        "hash": hex(hash),
        "parentHash": hex(header.parent_hash),
        "sha3Uncles": hex(header.ommers_hash),
        "miner": hex(header.beneficiary),
        "stateRoot": hex(header.state_root),
        "transactionsRoot": hex(header.transactions_root),
        "receiptsRoot": hex(header.receipts_root),
        "logsBloom": hex(header.logs_bloom),
        "difficulty": hex(header.difficulty),
        "number": hex(header.number),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "timestamp": hex(header.timestamp),
        "extraData": hex(&header.extra_data),
        "mixHash": hex(header.mix_hash),
        "nonce": hex(header.nonce),
        "baseFeePerGas": maybe(header.base_fee_per_gas),
        "withdrawalsRoot": header.withdrawals_root.map(hex),
        "blobGasUsed": maybe(header.blob_gas_used),
        "excessBlobGas": maybe(header.excess_blob_gas),
        "parentBeaconBlockRoot": header.parent_beacon_block_root.map(hex),
        "requestsHash": header.requests_hash.map(hex),
    });
    let Value::Object(fields) = fields else { unreachable!("the braces above make an object") };
    fields
}

/// A block; its transactions whole or as hashes.
pub(super) fn block(block: &Block, is_full: bool) -> Result<Value, RpcError> {
    let name = hash(&block.header);
    let mut fields = header(&block.header, name);
    fields.insert("totalDifficulty".into(), json!("0x0"));
    fields.insert("size".into(), hex(block.length()));
    fields.insert("uncles".into(), json!([]));
    let all = block.body.transactions.iter();
    let transactions: Result<Vec<Value>, RpcError> = match is_full {
        true => all.enumerate().map(|(n, t)| transaction(t, sender(t)?, Some((&block.header, name, n)))).collect(),
        false => Ok(all.map(|t| hex(t.tx_hash())).collect()),
    };
    fields.insert("transactions".into(), Value::Array(transactions?));
    fields.insert("withdrawals".into(), json!([]));
    Ok(Value::Object(fields))
}

/// Who signed a transaction of a block.
pub(super) fn sender(transaction: &Transaction) -> Result<Address, RpcError> {
    transaction.recover_signer().map_err(|_| KvError::Damaged(format!("transaction {}", transaction.tx_hash())).into())
}

/// A transaction; without a place it waits.
pub(super) fn transaction(
    transaction: &Transaction,
    from: Address,
    place: Option<(&Header, B256, usize)>,
) -> Result<Value, RpcError> {
    let signature = transaction.signature();
    let kind = transaction.tx_type() as u8;
    let parity = u64::from(signature.v());
    let base_fee = place.and_then(|(header, ..)| header.base_fee_per_gas);
    let price =
        if base_fee.is_some() { transaction.effective_gas_price(base_fee) } else { transaction.max_fee_per_gas() };
    let v = match (kind, transaction.chain_id()) {
        (0, Some(id)) => 35 + 2 * id + parity,
        (0, None) => 27 + parity,
        _ => parity,
    };
    let mut fields = json!({
        "blockHash": place.map(|(_, hash, _)| hex(hash)),
        "blockNumber": place.map(|(header, ..)| hex(header.number)),
        "transactionIndex": place.map(|(.., index)| hex(index)),
        "type": hex(kind),
        "chainId": transaction.chain_id().map(hex),
        "nonce": hex(transaction.nonce()),
        "from": hex(from),
        "to": transaction.to().map(hex),
        "value": hex(transaction.value()),
        "gas": hex(transaction.gas_limit()),
        "gasPrice": hex(price),
        "input": hex(transaction.input()),
        "hash": hex(transaction.tx_hash()),
        "v": hex(v),
        "r": hex(signature.r()),
        "s": hex(signature.s()),
    });
    if let Some((header, ..)) = place {
        fields["blockTimestamp"] = hex(header.timestamp);
    }
    if let Some(list) = transaction.access_list() {
        fields["accessList"] = access_list(list);
        fields["yParity"] = hex(parity);
    }
    if let Some(tip) = transaction.max_priority_fee_per_gas() {
        fields["maxFeePerGas"] = hex(transaction.max_fee_per_gas());
        fields["maxPriorityFeePerGas"] = hex(tip);
    }
    if let Some(list) = transaction.authorization_list() {
        fields["authorizationList"] = list.iter().map(authorization).collect();
    }
    Ok(fields)
}

/// What is said to be touched (EIP-2930).
pub(super) fn access_list(list: &AccessList) -> Value {
    let item = |item: &AccessListItem| {
        let keys: Vec<Value> = item.storage_keys.iter().map(hex).collect();
        json!({"address": hex(item.address), "storageKeys": keys})
    };
    list.iter().map(item).collect()
}

fn authorization(signed: &alloy_eips::eip7702::SignedAuthorization) -> Value {
    json!({
        "chainId": hex(signed.chain_id),
        "address": hex(signed.address),
        "nonce": hex(signed.nonce),
        "yParity": hex(signed.y_parity()),
        "r": hex(signed.r()),
        "s": hex(signed.s()),
    })
}

/// A block with its receipts: what receipts and logs are told from.
pub(super) struct Told {
    pub(super) block: Block,
    pub(super) hash: B256,
    receipts: Vec<Receipt>,
}

impl Told {
    pub(super) fn read(kv: &dyn KvRead, block: Block) -> Result<Self, KvError> {
        let receipts = store::receipts(kv, block.header.number)?;
        if receipts.len() != block.body.transactions.len() {
            return Err(KvError::Damaged(format!("receipts of block {}", block.header.number)));
        }
        Ok(Self { hash: hash(&block.header), block, receipts })
    }

    /// The gas that each transaction used.
    pub(super) fn gas(&self) -> impl Iterator<Item = u64> + '_ {
        let totals = self.receipts.iter().map(talkoo_ledger::Receipt::cumulative_gas_used);
        totals.scan(0, |before, total| Some(total - std::mem::replace(before, total)))
    }

    /// What came of the transaction at a place.
    pub(super) fn receipt(&self, index: usize) -> Result<Value, RpcError> {
        let (transaction, receipt) = (&self.block.body.transactions[index], &self.receipts[index]);
        let header = &self.block.header;
        let from = sender(transaction)?;
        let made = transaction.is_create().then(|| hex(from.create(transaction.nonce())));
        let first = self.receipts[..index].iter().map(|receipt| receipt.logs().len()).sum();
        let logs: Vec<Value> = (first..).zip(receipt.logs()).map(|(n, log)| self.log(index, n, log)).collect();
        Ok(json!({
            "transactionHash": hex(transaction.tx_hash()),
            "transactionIndex": hex(index),
            "blockHash": hex(self.hash),
            "blockNumber": hex(header.number),
            "from": hex(from),
            "to": transaction.to().map(hex),
            "type": hex(transaction.tx_type() as u8),
            "status": hex(u8::from(receipt.status())),
            "cumulativeGasUsed": hex(receipt.cumulative_gas_used()),
            "gasUsed": self.gas().nth(index).map(hex),
            "effectiveGasPrice": hex(transaction.effective_gas_price(header.base_fee_per_gas)),
            "contractAddress": made,
            "logs": logs,
            "logsBloom": hex(receipt.bloom()),
        }))
    }

    /// All receipts.
    pub(super) fn all(&self) -> Result<Value, RpcError> {
        (0..self.receipts.len()).map(|index| self.receipt(index)).collect()
    }

    /// The logs that are wanted.
    pub(super) fn logs(&self, wanted: impl Fn(&Log) -> bool) -> Vec<Value> {
        let all = self.receipts.iter().enumerate().flat_map(|(index, r)| r.logs().iter().map(move |log| (index, log)));
        all.enumerate().filter(|(_, (_, log))| wanted(log)).map(|(n, (index, log))| self.log(index, n, log)).collect()
    }

    fn log(&self, transaction: usize, index: usize, log: &Log) -> Value {
        let topics: Vec<Value> = log.topics().iter().map(hex).collect();
        json!({
            "address": hex(log.address),
            "topics": topics,
            "data": hex(&log.data.data),
            "blockHash": hex(self.hash),
            "blockNumber": hex(self.block.header.number),
            "blockTimestamp": hex(self.block.header.timestamp),
            "transactionHash": hex(self.block.body.transactions[transaction].tx_hash()),
            "transactionIndex": hex(transaction),
            "logIndex": hex(index),
            "removed": false,
        })
    }
}
