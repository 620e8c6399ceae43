//! A client of Ethereum's JSON-RPC: the one way to the contracts, on our own chain as on any other.

use super::unix;
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, hex};
use alloy_sol_types::{SolCall, SolEvent};
use serde_json::{Value, json};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use talkoo_base::{Digest, SecretKey, Signer};
use talkoo_ledger::encode_transaction;
use thiserror::Error;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a transaction may take to stand in a block.
const INCLUDED: Duration = Duration::from_secs(30);
/// How long a poll for a receipt waits for the next.
const POLL: Duration = Duration::from_millis(25);
/// Highest tip that is paid for a unit of gas, in wei, whatever a server suggests.
const TIP_MAX: u128 = 100_000_000_000;
/// Held from a transaction's nonce to its sending.
static SENDING: Mutex<()> = Mutex::new(());
/// Blocks that one question for events covers.
const LOG_BLOCKS: u64 = 1_000;
/// Longest answer.
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a question had no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum RpcError {
    /// The server is away, or says nothing we understand.
    #[error("the ledger at {url} gives no answer: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        why: String,
    },
    /// It says no.
    #[error("{message}")]
    Refused {
        /// JSON-RPC's code; 3 for a revert.
        code: i64,
        /// Its words.
        message: String,
        /// What a revert says.
        data: Bytes,
    },
    /// A transaction went into a block and failed there.
    #[error("transaction {0} was reverted")]
    Reverted(B256),
    /// A transaction is in no block yet.
    #[error(
        "transaction {0} is in no block after half a minute; it may still come, so don't send it again: talkoo ledger tx {0}"
    )]
    Late(B256),
}

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Included {
    pub(crate) hash: B256,
    pub(crate) block: u64,
    pub(crate) gas_used: u64,
    pub(crate) success: bool,
}

/// An event, and the block it stands in.
pub(crate) struct Told<E> {
    pub(crate) event: E,
    pub(crate) sent: B256,
    pub(crate) block: u64,
}

/// The bytes of a transaction that `key` signed.
pub(super) fn signed(transaction: TxEip1559, key: &SecretKey) -> Vec<u8> {
    let signature = key.sign(&Digest(transaction.signature_hash().0));
    let signature = Signature::from_raw(&signature.0).expect("our own signature");
    encode_transaction(&transaction.into_signed(signature).into())
}

/// One server.
#[derive(Clone)]
pub(crate) struct Rpc {
    agent: ureq::Agent,
    url: String,
    /// Where it is, for people: a path may be a secret.
    pub(super) name: String,
    /// The chain that it has to be, if that is known.
    chain: Option<u64>,
}

impl Rpc {
    pub(crate) fn new(url: &str) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(ANSWER));
        let name: Vec<&str> = url.splitn(4, '/').take(3).collect();
        Self { agent: config.build().into(), url: url.to_owned(), name: name.join("/"), chain: None }
    }

    /// Signs for this chain alone, whatever the server says that it is.
    pub(crate) fn of_chain(self, chain: u64) -> Self {
        Self { chain: Some(chain), ..self }
    }

    /// Asks one question.
    pub(crate) fn ask(&self, method: &str, params: &Value) -> Result<Value, RpcError> {
        let silent = |why: String| RpcError::Unreachable { url: self.name.clone(), why };
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let sent = self.agent.post(&self.url).header("content-type", "application/json").send(question.to_string());
        let mut response = sent.map_err(|e| silent(e.to_string()))?;
        let text = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|e| silent(e.to_string()))?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|e| silent(e.to_string()))?;
        if let Some(error) = answer.get("error") {
            let data = error["data"].as_str().and_then(|data| data.parse().ok()).unwrap_or_default();
            let message = error["message"].as_str().unwrap_or("no reason given").to_owned();
            return Err(RpcError::Refused { code: error["code"].as_i64().unwrap_or(0), message, data });
        }
        Ok(answer["result"].take())
    }

    /// A question whose answer is a number.
    pub(crate) fn number(&self, method: &str, params: &Value) -> Result<U256, RpcError> {
        let answer = self.ask(method, params)?;
        let number = answer.as_str().and_then(|text| text.parse::<U256>().ok());
        number.ok_or_else(|| self.odd(method, &answer))
    }

    fn odd(&self, method: &str, answer: &Value) -> RpcError {
        RpcError::Unreachable { url: self.name.clone(), why: format!("{method} answered {answer}") }
    }

    /// Calls a contract without sending anything.
    pub(crate) fn call<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, RpcError> {
        let data = hex::encode_prefixed(call.abi_encode());
        let answer = self.ask("eth_call", &json!([{"to": to.to_string(), "data": data}, "latest"]))?;
        let bytes: Option<Bytes> = answer.as_str().and_then(|text| text.parse().ok());
        let decoded = bytes.and_then(|bytes| C::abi_decode_returns(&bytes).ok());
        decoded.ok_or_else(|| RpcError::Unreachable {
            url: self.name.clone(),
            why: format!("{} at {to} answers something else: is our contract there?", C::SIGNATURE),
        })
    }

    /// Signs and sends a transaction of `key`, `nonce` after those that wait. Its gas is estimated, so what would be
    /// reverted is refused here, with the reason.
    pub(crate) fn send<C: SolCall>(&self, key: &SecretKey, to: Address, call: &C) -> Result<B256, RpcError> {
        self.transact(key, TxKind::Call(to), U256::ZERO, call.abi_encode().into())
    }

    /// As [`Rpc::send`], for a contract that `code` makes.
    pub(crate) fn create(&self, key: &SecretKey, code: &Bytes) -> Result<B256, RpcError> {
        self.transact(key, TxKind::Create, U256::ZERO, code.clone())
    }

    /// As [`Rpc::send`], for the gas asset itself, in wei.
    pub(crate) fn give(&self, key: &SecretKey, to: Address, wei: U256) -> Result<B256, RpcError> {
        self.transact(key, TxKind::Call(to), wei, Bytes::new())
    }

    /// What `from` needs to send this now, in wei; what would be reverted is refused, with the reason. Nothing is sent.
    pub(crate) fn cost<C: SolCall>(&self, from: Address, to: Address, call: &C) -> Result<U256, RpcError> {
        let gas = self.gas(&from.to_string(), TxKind::Call(to), U256::ZERO, &call.abi_encode().into())?;
        Ok(U256::from(gas).saturating_mul(U256::from(self.fees()?.0)))
    }

    /// The gas that a transaction may take.
    fn gas(&self, from: &str, to: TxKind, value: U256, input: &Bytes) -> Result<u64, RpcError> {
        let mut call = json!({"from": from, "value": format!("{value:#x}"), "data": hex::encode_prefixed(input)});
        if let TxKind::Call(to) = to {
            call["to"] = json!(to.to_string());
        }
        let gas = self.number("eth_estimateGas", &json!([call, "latest"]))?;
        // What others do in between may cost a little more.
        Ok(gas.saturating_to::<u64>().saturating_mul(5) / 4)
    }

    /// The most that a unit of gas may cost now, in wei, and what of it is a tip.
    fn fees(&self) -> Result<(u128, u128), RpcError> {
        let price: u128 = self.number("eth_gasPrice", &json!([]))?.saturating_to();
        let tip = self.number("eth_maxPriorityFeePerGas", &json!([]))?.saturating_to::<u128>().min(TIP_MAX);
        Ok((price.saturating_mul(2).saturating_add(tip), tip))
    }

    fn transact(&self, key: &SecretKey, to: TxKind, value: U256, input: Bytes) -> Result<B256, RpcError> {
        let from = Address::from(key.address().0).to_string();
        let gas_limit = self.gas(&from, to, value, &input)?;
        let chain_id: u64 = self.number("eth_chainId", &json!([]))?.saturating_to();
        if let Some(chain) = self.chain.filter(|chain| *chain != chain_id) {
            let why = format!("it says that it is chain {chain_id}, and was chain {chain}: nothing is signed for it");
            return Err(RpcError::Unreachable { url: self.name.clone(), why });
        }
        // Whoever else sends for this key in this process waits: nonces are counted from what was sent.
        let _turn = SENDING.lock().unwrap_or_else(PoisonError::into_inner);
        let nonce = self.number("eth_getTransactionCount", &json!([from, "pending"]))?.saturating_to();
        let (max_fee_per_gas, tip) = self.fees()?;
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit,
            max_fee_per_gas,
            max_priority_fee_per_gas: tip,
            to,
            value,
            input,
            ..TxEip1559::default()
        };
        let bytes = signed(transaction, key);
        let answer = self.ask("eth_sendRawTransaction", &json!([hex::encode_prefixed(bytes)]))?;
        answer.as_str().and_then(|hash| hash.parse().ok()).ok_or_else(|| self.odd("eth_sendRawTransaction", &answer))
    }

    /// Seconds since 1970 that the next block has at least: a chain without transactions lags behind the clock, one
    /// under test runs ahead of it.
    pub(crate) fn time(&self) -> Result<u64, RpcError> {
        let block = self.ask("eth_getBlockByNumber", &json!(["latest", false]))?;
        let last = block["timestamp"].as_str().and_then(|text| text.parse::<U256>().ok());
        let last = last.ok_or_else(|| self.odd("eth_getBlockByNumber", &block))?;
        Ok(unix().max(last.saturating_to()))
    }

    /// Whether there is a contract.
    pub(crate) fn has_code(&self, at: Address) -> Result<bool, RpcError> {
        let code = self.ask("eth_getCode", &json!([at.to_string(), "latest"]))?;
        Ok(code.as_str().is_some_and(|code| code.len() > 2))
    }

    /// Events of a contract, with these topics after the signature, in blocks `from` to `to`.
    pub(crate) fn events<E: SolEvent>(
        &self,
        at: Address,
        (from, to): (u64, u64),
        topics: &[Option<B256>],
    ) -> Result<Vec<Told<E>>, RpcError> {
        let mut all = vec![json!(E::SIGNATURE_HASH.to_string())];
        all.extend(topics.iter().map(|topic| json!(topic.map(|topic| topic.to_string()))));
        let mut told = Vec::new();
        for from in (from..=to).step_by(LOG_BLOCKS as usize) {
            let last = to.min(from + LOG_BLOCKS - 1);
            let asked = json!([{
                "fromBlock": format!("0x{from:x}"), "toBlock": format!("0x{last:x}"),
                "address": at.to_string(), "topics": all,
            }]);
            let logs = self.ask("eth_getLogs", &asked)?;
            told.extend(logs.as_array().into_iter().flatten().filter_map(event));
        }
        Ok(told)
    }

    /// What became of a transaction, if it stands in a block.
    pub(crate) fn included(&self, hash: B256) -> Result<Option<Included>, RpcError> {
        let answer = self.ask("eth_getTransactionReceipt", &json!([hash.to_string()]))?;
        if answer.is_null() {
            return Ok(None);
        }
        let number = |name: &str| answer[name].as_str().and_then(|text| text.parse::<U256>().ok());
        let read = || {
            let (block, gas_used) = (number("blockNumber")?.saturating_to(), number("gasUsed")?.saturating_to());
            Some(Included { hash, block, gas_used, success: number("status")? == U256::from(1) })
        };
        read().map(Some).ok_or_else(|| self.odd("eth_getTransactionReceipt", &answer))
    }

    /// Waits until a transaction stands in a block.
    pub(crate) fn wait(&self, hash: B256) -> Result<Included, RpcError> {
        let start = Instant::now();
        while start.elapsed() < INCLUDED {
            match self.included(hash) {
                Ok(Some(included)) if included.success => return Ok(included),
                Ok(Some(_)) => return Err(RpcError::Reverted(hash)),
                // It was sent: a server that refuses to say how it stands has not refused the transaction.
                Ok(None) | Err(RpcError::Refused { .. }) => std::thread::sleep(POLL),
                Err(why) => return Err(why),
            }
        }
        Err(RpcError::Late(hash))
    }
}

/// An event of a log.
fn event<E: SolEvent>(log: &Value) -> Option<Told<E>> {
    let word = |value: &Value| value.as_str()?.parse::<B256>().ok();
    let topics: Vec<B256> = log["topics"].as_array()?.iter().filter_map(word).collect();
    let data: Bytes = log["data"].as_str()?.parse().ok()?;
    let event = E::decode_raw_log(topics, &data).ok()?;
    let block = log["blockNumber"].as_str()?.parse::<U256>().ok()?.saturating_to();
    Some(Told { event, sent: word(&log["transactionHash"])?, block })
}
