//! Where requests are answered: the table of methods, and what an answer is made from.

use super::filters::{Arrivals, Filters};
use super::params::{BlockId, Params};
use super::request::Batch;
use super::{Chain, RpcError, View, fees, filters, finality, history, logs, pool, state, trace};
use crate::limits::{RPC_ANSWER_BYTES_MAX, RPC_MS_MAX};
use alloy_primitives::{Address, Bytes, keccak256};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use talkoo_ledger::{KvError, Reader};

/// What came of a request.
pub(super) type Answer = Result<Value, RpcError>;

/// Answers requests of one chain.
pub(super) struct Desk {
    pub(super) chain: Arc<dyn Chain>,
    /// Name of the network, for people.
    pub(super) network: String,
    pub(super) filters: Mutex<Filters>,
    pub(super) arrivals: Arrivals,
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// The node itself.
    Node,
    /// A program.
    Program,
    /// A web page: browsers tell its origin.
    Page,
}

/// On whose account a request is answered, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) asker: Asker,
    pub(super) deadline: Instant,
}

impl Visit {
    pub(super) fn of(asker: Asker) -> Self {
        Self { asker, deadline: Instant::now() + Duration::from_millis(RPC_MS_MAX) }
    }
}

/// A request being answered.
pub(super) struct Asked<'a> {
    pub(super) desk: &'a Desk,
    /// The chain as it is now, for all of the answer.
    pub(super) view: Arc<View>,
    params: &'a [Value],
    visit: Visit,
}

type Method = fn(&Asked<'_>) -> Answer;

/// Every method, except those that need a WebSocket of their own.
pub(super) const METHODS: &[(&str, Method)] = &[
    ("web3_clientVersion", |a| Ok(json!(format!("talkoo/v{}/{}", env!("CARGO_PKG_VERSION"), a.desk.network)))),
    ("web3_sha3", |a| a.read::<(Bytes,)>().map(|(data,)| super::json::hex(keccak256(data)))),
    ("net_version", |a| Ok(json!(a.view.head.chain_id.to_string()))),
    ("net_listening", |_| Ok(json!(true))),
    ("net_peerCount", |_| Ok(json!("0x0"))),
    ("eth_chainId", |a| Ok(super::json::hex(a.view.head.chain_id))),
    ("eth_syncing", |_| Ok(json!(false))),
    ("eth_accounts", |_| Ok(json!([]))),
    ("eth_blockNumber", |a| Ok(super::json::hex(a.view.head.header.number))),
    ("eth_gasPrice", fees::gas_price),
    ("eth_maxPriorityFeePerGas", fees::tip),
    ("eth_blobBaseFee", |_| Ok(json!("0x1"))),
    ("eth_feeHistory", fees::history),
    ("eth_getBalance", state::balance),
    ("eth_getTransactionCount", state::nonce),
    ("eth_getCode", state::code),
    ("eth_getStorageAt", state::storage),
    ("eth_getProof", state::proof),
    ("eth_call", state::call),
    ("eth_estimateGas", state::estimate),
    ("eth_createAccessList", state::access_list),
    ("eth_sendRawTransaction", history::send),
    ("eth_getBlockByNumber", history::block),
    ("eth_getBlockByHash", history::block),
    ("eth_getBlockTransactionCountByNumber", history::count),
    ("eth_getBlockTransactionCountByHash", history::count),
    ("eth_getUncleCountByBlockNumber", history::uncles),
    ("eth_getUncleCountByBlockHash", history::uncles),
    ("eth_getTransactionByHash", history::transaction),
    ("eth_getTransactionByBlockNumberAndIndex", history::transaction_at),
    ("eth_getTransactionByBlockHashAndIndex", history::transaction_at),
    ("eth_getTransactionReceipt", history::receipt),
    ("eth_getBlockReceipts", history::receipts),
    ("eth_getLogs", logs::logs),
    ("eth_newFilter", filters::new_logs),
    ("eth_newBlockFilter", filters::new_blocks),
    ("eth_newPendingTransactionFilter", filters::new_arrivals),
    ("eth_getFilterChanges", filters::changes),
    ("eth_getFilterLogs", filters::logs),
    ("eth_uninstallFilter", filters::uninstall),
    ("txpool_status", pool::status),
    ("txpool_content", pool::content),
    ("debug_traceTransaction", trace::transaction),
    ("debug_traceCall", trace::call),
    ("debug_getRawHeader", history::raw_header),
    ("debug_getRawBlock", history::raw_block),
    ("talkoo_getCertificate", finality::certificate),
    ("talkoo_getHandovers", finality::handovers),
    ("talkoo_sponsor", sponsor),
];

/// Starter credit for a newcomer: the addresses of its owner and of its node. A test network's own, no value.
fn sponsor(asked: &Asked<'_>) -> Answer {
    let (owner, node) = asked.read::<(Address, Address)>()?;
    if asked.visit.asker == Asker::Page {
        return Err(RpcError::server("a web page gets no starter credit: ask from a program"));
    }
    let hashes = asked.desk.chain.sponsor(owner, node).map_err(|error| RpcError::server(error.to_string()))?;
    Ok(hashes.into_iter().map(super::json::hex).collect())
}

impl Desk {
    pub(super) fn new(chain: Arc<dyn Chain>, network: String) -> Self {
        Self { chain, network, filters: Mutex::default(), arrivals: Arrivals::default() }
    }

    /// The answers to a batch as text, if any is expected. May take [`RPC_MS_MAX`]: not for a thread that others need.
    pub(super) fn answer(&self, batch: &Batch, asker: Asker) -> Option<String> {
        let visit = Visit::of(asker);
        batch.answer(RPC_ANSWER_BYTES_MAX, |request| self.ask(&request.method, &request.params, visit))
    }

    pub(super) fn ask(&self, method: &str, params: &[Value], visit: Visit) -> Answer {
        let found = METHODS.iter().find(|(name, _)| *name == method).map(|(_, answer)| answer);
        let answer = match found {
            None if matches!(method, "eth_subscribe" | "eth_unsubscribe") => return Err(RpcError::no_notifications()),
            None => return Err(RpcError::method(method)),
            Some(answer) => answer,
        };
        let asked = Asked { desk: self, view: self.chain.view(), params, visit };
        asked.in_time()?;
        answer(&asked)
    }

    pub(super) fn filters(&self) -> MutexGuard<'_, Filters> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Asked<'a> {
    /// A question that the node asks itself.
    pub(super) fn inside(desk: &'a Desk) -> Self {
        Self { desk, view: desk.chain.view(), params: &[], visit: Visit::of(Asker::Node) }
    }

    /// The arguments.
    pub(super) fn read<T: Params>(&self) -> Result<T, RpcError> {
        T::read(self.params)
    }

    /// Ends what takes too long.
    pub(super) fn in_time(&self) -> Result<(), RpcError> {
        match Instant::now() < self.visit.deadline {
            true => Ok(()),
            false => Err(RpcError::timed_out()),
        }
    }

    /// The number of a block that is there; a number may lie beyond the last one.
    pub(super) fn number(&self, block: BlockId) -> Result<Option<u64>, KvError> {
        let last = self.view.head.header.number;
        Ok(match block {
            BlockId::Latest | BlockId::Pending => Some(last),
            BlockId::Number(number) => Some(number).filter(|number| *number <= last),
            BlockId::Hash(hash) => talkoo_ledger::store::number_of(&*self.view.kv, &hash)?,
        })
    }

    /// Asks the state after a block: only the last one's is kept.
    pub(super) fn state<T, E>(
        &self,
        block: BlockId,
        ask: impl FnOnce(&mut Reader<'_>) -> Result<T, E>,
    ) -> Result<T, RpcError>
    where
        RpcError: From<E>,
    {
        let last = self.view.head.header.number;
        match self.number(block)? {
            None => Err(RpcError::server("header not found")),
            Some(number) if number < last => {
                let message =
                    format!("missing trie node: the state of block {number} is not kept, only the last, {last}");
                Err(RpcError::server(message))
            }
            Some(_) => self.now(ask),
        }
    }
}

impl Asked<'_> {
    /// Asks the state after the last block.
    pub(super) fn now<T, E>(&self, ask: impl FnOnce(&mut Reader<'_>) -> Result<T, E>) -> Result<T, RpcError>
    where
        RpcError: From<E>,
    {
        Ok(self.view.read(unix(), ask)?)
    }
}

/// Calls are made in this second: no block is made while nobody sends.
fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
