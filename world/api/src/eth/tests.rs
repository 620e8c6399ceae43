//! A chain in memory behind a real server: shapes, hostile requests, subscriptions.

use super::desk::{Asked, Asker, Desk, METHODS, Visit};
use super::json::hex;
use super::*;
use crate::limits::{BATCH_MAX, FILTERS_MAX, LOG_BLOCKS_MAX, RPC_AT_ONCE_MAX, RPC_BODY_BYTES_MAX, SUBSCRIPTIONS_MAX};
use alloy_consensus::{SignableTransaction, TxEip1559, TxLegacy};
use alloy_primitives::{Bytes, Signature, TxKind, U256, address, keccak256};
use alloy_sol_types::SolError;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use talkoo_base::{Digest, SecretKey, Signer};
use talkoo_ledger::{
    BASE_FEE_MIN, Code, Contract, Genesis, Memory, Mempool, Seal, Standing, decode_transaction, encode_transaction,
    propose,
};
use tokio_util::sync::CancellationToken;

const CHAIN: u64 = 825_566;
/// Logs its input's first word as a topic: `log1(0, 0, calldataload(0))`.
const LOGGER: [u8; 6] = [0x5f, 0x35, 0x5f, 0x5f, 0xa1, 0x00];
const LOGGER_AT: Address = address!("0000000000000000000000000000000000005100");
/// Reverts with its input: `calldatacopy(0, 0, calldatasize()) revert(0, calldatasize())`.
const REVERTER: [u8; 7] = [0x36, 0x5f, 0x5f, 0x37, 0x36, 0x5f, 0xfd];
const REVERTER_AT: Address = address!("0000000000000000000000000000000000005200");
/// Keeps its input's first word in slot 1.
const KEEPER: [u8; 6] = [0x5f, 0x35, 0x60, 0x01, 0x55, 0x00];
const KEEPER_AT: Address = address!("0000000000000000000000000000000000005300");

fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32]).unwrap()
}

fn owner() -> Address {
    Address::from(key().node_id().address().0)
}

struct Inner {
    kv: Memory,
    head: Head,
    pool: Mempool,
}

/// A chain in memory: `seal` makes a block of what waits.
struct Test {
    inner: Mutex<Inner>,
    blocks: broadcast::Sender<Arc<Executed>>,
    /// Whether every transaction gets a block at once.
    is_quick: bool,
}

impl Test {
    fn new(is_quick: bool) -> Arc<Self> {
        let contract =
            |name, address, code: &[u8]| Contract { name, address, code: Code::Runtime(code.to_vec().into()) };
        let genesis = Genesis {
            chain_id: CHAIN,
            timestamp: 1_700_000_000,
            epoch_s: 0,
            extra_data: Bytes::new(),
            balances: vec![(owner(), U256::from(10u64).pow(U256::from(18)))],
            contracts: vec![
                contract("logger", LOGGER_AT, &LOGGER),
                contract("reverter", REVERTER_AT, &REVERTER),
                contract("keeper", KEEPER_AT, &KEEPER),
            ],
        };
        let (head, block, mut writes) = genesis.build().unwrap();
        let first = Executed::first(block, head.clone());
        writes.extend(store::record(&first, Vec::new()));
        let mut kv = Memory::default();
        kv.write(writes);
        let inner = Mutex::new(Inner { kv, head, pool: Mempool::default() });
        Arc::new(Self { inner, blocks: broadcast::channel(64).0, is_quick })
    }

    fn seal(&self) {
        let mut inner = self.inner.lock().unwrap();
        let Inner { kv, head, pool } = &mut *inner;
        let seal = Seal { timestamp: head.header.timestamp + 1, beneficiary: Address::repeat_byte(9) };
        let candidates: Vec<SignedBy> = pool.best(talkoo_ledger::next_base_fee(&head.header).into()).collect();
        let hash = |n| Ok(store::block(kv, n)?.map_or(B256::ZERO, |block| talkoo_ledger::hash(&block.header)));
        let (executed, refused) = propose(head, kv, &hash, seal, candidates).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        let mut next = executed.head.clone();
        let mut writes = store::record(&executed, Vec::new());
        next.state.save(&mut writes);
        kv.write(writes);
        *head = next;
        executed.nonces.iter().for_each(|(account, next)| pool.advance(account, *next));
        drop(inner);
        self.blocks.send(Arc::new(executed)).ok();
    }
}

impl Chain for Test {
    fn view(&self) -> Arc<View> {
        let inner = self.inner.lock().unwrap();
        Arc::new(View { head: inner.head.clone(), kv: Box::new(inner.kv.clone()) })
    }

    fn submit(&self, transaction: SignedBy) -> Result<B256, SubmitError> {
        let account = self.view().read(0, |reader| reader.account(transaction.signer()))?;
        let standing = Standing { nonce: account.nonce, balance: account.balance };
        let hash = self.inner.lock().unwrap().pool.add(transaction, standing, BASE_FEE_MIN.into())?;
        if self.is_quick {
            self.seal();
        }
        Ok(hash)
    }

    fn waiting(&self, hash: &B256) -> Option<SignedBy> {
        self.inner.lock().unwrap().pool.get(hash).cloned()
    }

    fn pool(&self, tell: &mut dyn FnMut(&SignedBy, bool) -> bool) {
        self.inner.lock().unwrap().pool.all().all(|(waiting, is_ready)| tell(waiting, is_ready));
    }

    fn next_nonce(&self, account: &Address) -> Option<u64> {
        self.inner.lock().unwrap().pool.next_nonce(account)
    }

    fn sponsor(&self, owner: Address, node: Address) -> Result<Vec<B256>, SponsorError> {
        match owner == node {
            true => Err(SponsorError::Refused("no".into())),
            false => Ok(vec![B256::repeat_byte(1), B256::repeat_byte(2)]),
        }
    }

    fn blocks(&self) -> broadcast::Receiver<Arc<Executed>> {
        self.blocks.subscribe()
    }
}

fn signed<T: SignableTransaction<Signature>>(transaction: T) -> String
where
    talkoo_ledger::Transaction: From<alloy_consensus::Signed<T>>,
{
    let signature = key().sign(&Digest(transaction.signature_hash().0));
    let signed = transaction.into_signed(Signature::from_raw(&signature.0).unwrap());
    Bytes::from(encode_transaction(&signed.into())).to_string()
}

fn to(nonce: u64, kind: TxKind, input: &[u8]) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 200_000,
        max_fee_per_gas: 1_000,
        max_priority_fee_per_gas: 3,
        to: kind,
        input: Bytes::copy_from_slice(input),
        ..TxEip1559::default()
    }
}

fn log(nonce: u64, topic: u8) -> String {
    signed(to(nonce, TxKind::Call(LOGGER_AT), B256::with_last_byte(topic).as_slice()))
}

fn ask(desk: &Desk, method: &str, params: &Value) -> Result<Value, RpcError> {
    let deadline = Instant::now() + Duration::from_secs(3_600);
    desk.ask(method, params.as_array().unwrap(), Visit { asker: Asker::Program, deadline })
}

fn decode(text: &str) -> SignedBy {
    decode_transaction(&text.parse::<Bytes>().unwrap(), CHAIN).unwrap()
}

/// The keys of an object, sorted.
fn keys(value: &Value) -> String {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys.join(" ")
}

const BLOCK_KEYS: &str = "baseFeePerGas blobGasUsed difficulty excessBlobGas extraData gasLimit gasUsed hash logsBloom \
    miner mixHash nonce number parentBeaconBlockRoot parentHash receiptsRoot requestsHash sha3Uncles size stateRoot \
    timestamp totalDifficulty transactions transactionsRoot uncles withdrawals withdrawalsRoot";
const TRANSACTION_KEYS: &str = "accessList blockHash blockNumber blockTimestamp chainId from gas gasPrice hash input \
    maxFeePerGas maxPriorityFeePerGas nonce r s to transactionIndex type v value yParity";
const LEGACY_KEYS: &str = "blockHash blockNumber blockTimestamp chainId from gas gasPrice hash input nonce r s to \
    transactionIndex type v value";
const RECEIPT_KEYS: &str = "blockHash blockNumber contractAddress cumulativeGasUsed effectiveGasPrice from gasUsed logs \
    logsBloom status to transactionHash transactionIndex type";
const LOG_KEYS: &str = "address blockHash blockNumber blockTimestamp data logIndex removed topics transactionHash \
    transactionIndex";

/// Three blocks: a log; a contract made and money moved in the old way; two logs.
fn played() -> (Arc<Test>, Desk) {
    let chain = Test::new(false);
    let desk = Desk::new(chain.clone(), "test".into());
    let pay = TxLegacy {
        chain_id: Some(CHAIN),
        nonce: 2,
        gas_price: 50,
        gas_limit: 21_000,
        to: TxKind::Call(owner()),
        ..TxLegacy::default()
    };
    let blocks = [vec![log(0, 1)], vec![signed(to(1, TxKind::Create, &[])), signed(pay)], vec![log(3, 2), log(4, 3)]];
    for transactions in blocks {
        for transaction in transactions {
            ask(&desk, "eth_sendRawTransaction", &json!([transaction])).unwrap();
        }
        chain.seal();
    }
    (chain, desk)
}

#[test]
fn answers_have_the_shapes_of_other_nodes() {
    let (_, desk) = played();
    let block = ask(&desk, "eth_getBlockByNumber", &json!(["0x2", true])).unwrap();
    assert_eq!(keys(&block), BLOCK_KEYS);
    let [made, paid] = &block["transactions"].as_array().unwrap()[..] else { panic!("{block}") };
    assert_eq!((keys(made).as_str(), keys(paid).as_str()), (TRANSACTION_KEYS, LEGACY_KEYS));
    assert_eq!((&made["gasPrice"], &made["type"], &made["to"]), (&json!("0xa"), &json!("0x2"), &Value::Null));
    let v = paid["v"].as_str().unwrap().trim_start_matches("0x").to_owned();
    assert!([35, 36].contains(&(u64::from_str_radix(&v, 16).unwrap() - 2 * CHAIN)));
    let receipts = ask(&desk, "eth_getBlockReceipts", &json!(["0x2"])).unwrap();
    let [made, paid] = &receipts.as_array().unwrap()[..] else { panic!("{receipts}") };
    assert_eq!(keys(made), RECEIPT_KEYS);
    assert_eq!(made["contractAddress"], json!(format!("{:#x}", owner().create(1))));
    assert_eq!((&paid["gasUsed"], &paid["contractAddress"]), (&json!("0x5208"), &Value::Null));
    assert_eq!(ask(&desk, "eth_getTransactionReceipt", &json!([paid["transactionHash"]])).unwrap(), *paid);
    let by_place = ask(&desk, "eth_getTransactionByBlockNumberAndIndex", &json!(["0x2", "0x1"])).unwrap();
    assert_eq!(by_place, block["transactions"][1]);
    assert_eq!(ask(&desk, "eth_getTransactionByHash", &json!([paid["transactionHash"]])).unwrap(), by_place);
    let by_hash = ask(&desk, "eth_getBlockByHash", &json!([block["hash"], true])).unwrap();
    assert_eq!(by_hash, block);
    let logs = ask(&desk, "eth_getLogs", &json!([{"fromBlock": "0x3", "toBlock": "latest"}])).unwrap();
    assert_eq!(
        (keys(&logs[1]).as_str(), &logs[1]["logIndex"], &logs[1]["removed"]),
        (LOG_KEYS, &json!("0x1"), &json!(false))
    );
    let proof = ask(&desk, "eth_getProof", &json!([KEEPER_AT.to_string(), ["0x1"], "latest"])).unwrap();
    assert_eq!(keys(&proof), "accountProof address balance codeHash nonce storageHash storageProof");
    let fees = ask(&desk, "eth_feeHistory", &json!(["0x2", "latest", [25, 75]])).unwrap();
    assert_eq!(keys(&fees), "baseFeePerBlobGas baseFeePerGas blobGasUsedRatio gasUsedRatio oldestBlock reward");
    assert_eq!((&fees["oldestBlock"], &fees["reward"][0]), (&json!("0x2"), &json!(["0x3", "0x2b"])));
}

#[test]
fn every_method_answers() {
    let (_, desk) = played();
    let hash = ask(&desk, "eth_getBlockByNumber", &json!(["0x1"])).unwrap()["hash"].clone();
    let sent = ask(&desk, "eth_getBlockByNumber", &json!(["0x1"])).unwrap()["transactions"][0].clone();
    let filter = |method| ask(&desk, method, &if method == "eth_newFilter" { json!([{}]) } else { json!([]) }).unwrap();
    let (call, me) = (json!({"to": KEEPER_AT.to_string(), "data": "0x"}), owner().to_string());
    let cases = [
        ("web3_clientVersion", json!([]), json!(concat!("talkoo/v", env!("CARGO_PKG_VERSION"), "/test"))),
        ("web3_sha3", json!(["0x00"]), json!(keccak256([0]).to_string())),
        ("net_version", json!([]), json!("825566")),
        ("net_listening", json!([]), json!(true)),
        ("net_peerCount", json!([]), json!("0x0")),
        ("eth_chainId", json!([]), json!("0xc98de")),
        ("eth_syncing", json!([]), json!(false)),
        ("eth_accounts", json!([]), json!([])),
        ("eth_blockNumber", json!([]), json!("0x3")),
        ("eth_gasPrice", json!([]), json!("0x8")),
        ("eth_maxPriorityFeePerGas", json!([]), json!("0x1")),
        ("eth_blobBaseFee", json!([]), json!("0x1")),
        ("eth_feeHistory", json!([0, "latest"]), json!({"oldestBlock": "0x0", "gasUsedRatio": null})),
        ("eth_getBalance", json!([LOGGER_AT.to_string(), "latest"]), json!("0x0")),
        ("eth_getTransactionCount", json!([me, "pending"]), json!("0x5")),
        ("eth_getCode", json!([LOGGER_AT.to_string(), "safe"]), json!("0x5f355f5fa100")),
        ("eth_getStorageAt", json!([KEEPER_AT.to_string(), "0x1", "0x3"]), json!(B256::ZERO.to_string())),
        ("eth_getProof", json!([KEEPER_AT.to_string(), [], {"blockNumber": "0x3"}]), Value::Null),
        ("eth_call", json!([call]), json!("0x")),
        ("eth_estimateGas", json!([{"from": me, "to": me}]), json!("0x5208")),
        ("eth_createAccessList", json!([{"from": me, "to": me}]), json!({"accessList": [], "gasUsed": "0x5208"})),
        ("eth_sendRawTransaction", json!([log(5, 9)]), Value::Null),
        ("eth_getBlockByNumber", json!(["0x99"]), Value::Null),
        ("eth_getBlockByHash", json!([B256::ZERO.to_string()]), Value::Null),
        ("eth_getBlockTransactionCountByNumber", json!(["0x2"]), json!("0x2")),
        ("eth_getBlockTransactionCountByHash", json!([hash]), json!("0x1")),
        ("eth_getUncleCountByBlockNumber", json!(["0x2"]), json!("0x0")),
        ("eth_getUncleCountByBlockHash", json!([hash]), json!("0x0")),
        ("eth_getTransactionByHash", json!([B256::ZERO.to_string()]), Value::Null),
        ("eth_getTransactionByBlockNumberAndIndex", json!(["0x2", "0x9"]), Value::Null),
        ("eth_getTransactionByBlockHashAndIndex", json!([hash, "0x1"]), Value::Null),
        ("eth_getTransactionReceipt", json!([B256::ZERO.to_string()]), Value::Null),
        ("eth_getBlockReceipts", json!(["0x0"]), json!([])),
        ("eth_getLogs", json!([{"blockHash": hash, "topics": [B256::with_last_byte(7).to_string()]}]), json!([])),
        ("eth_newFilter", json!([{}]), Value::Null),
        ("eth_newBlockFilter", json!([]), Value::Null),
        ("eth_newPendingTransactionFilter", json!([]), Value::Null),
        ("eth_getFilterChanges", json!([filter("eth_newBlockFilter")]), json!([])),
        ("eth_getFilterLogs", json!([filter("eth_newFilter")]), Value::Null),
        ("eth_uninstallFilter", json!(["0x1"]), json!(false)),
        ("txpool_status", json!([]), json!({"pending": "0x1", "queued": "0x0"})),
        ("txpool_content", json!([]), Value::Null),
        ("debug_traceTransaction", json!([sent]), Value::Null),
        ("debug_traceCall", json!([call]), Value::Null),
        ("debug_getRawHeader", json!(["0x1"]), Value::Null),
        ("debug_getRawBlock", json!(["0x1"]), Value::Null),
        ("talkoo_getCertificate", json!(["0x0"]), Value::Null),
        ("talkoo_getHandovers", json!(["0x0"]), json!([])),
        (
            "talkoo_sponsor",
            json!([Address::repeat_byte(1).to_string(), Address::repeat_byte(2).to_string()]),
            json!([B256::repeat_byte(1).to_string(), B256::repeat_byte(2).to_string()]),
        ),
    ];
    let named: Vec<&str> = cases.iter().map(|(method, ..)| *method).collect();
    let all: Vec<&str> = METHODS.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, all, "every method has its line here");
    for (method, params, want) in cases {
        let answer = ask(&desk, method, &params).unwrap_or_else(|e| panic!("{method}: {e}"));
        assert!(want.is_null() || answer == want, "{method}: {answer}, not {want}");
    }
}

#[test]
fn a_waiting_transaction_is_nowhere_yet() {
    let chain = Test::new(false);
    let desk = Desk::new(chain.clone(), "test".into());
    let hash = ask(&desk, "eth_sendRawTransaction", &json!([log(0, 1)])).unwrap();
    let waiting = ask(&desk, "eth_getTransactionByHash", &json!([hash])).unwrap();
    for field in ["blockHash", "blockNumber", "transactionIndex"] {
        assert_eq!(waiting.get(field), Some(&Value::Null), "{field}");
    }
    assert_eq!(ask(&desk, "eth_getTransactionReceipt", &json!([hash])).unwrap(), Value::Null);
    let nonce = |at: &str| ask(&desk, "eth_getTransactionCount", &json!([owner().to_string(), at])).unwrap();
    assert_eq!((nonce("latest"), nonce("pending")), (json!("0x0"), json!("0x1")));
    chain.seal();
    let placed = ask(&desk, "eth_getTransactionByHash", &json!([hash])).unwrap();
    assert_eq!((&placed["blockNumber"], nonce("latest")), (&json!("0x1"), json!("0x1")));
}

#[test]
fn logs_are_found_by_what_they_are() {
    let (_, desk) = played();
    let topic = |n: u8| B256::with_last_byte(n).to_string();
    let at = LOGGER_AT.to_string();
    let cases = [
        (json!({"fromBlock": "earliest"}), 3),
        (json!({"fromBlock": "0x0", "toBlock": "0x2"}), 1),
        (json!({}), 2),
        (json!({"fromBlock": "0x0", "topics": [topic(1)]}), 1),
        (json!({"fromBlock": "0x0", "topics": [[topic(1), topic(3)]]}), 2),
        (json!({"fromBlock": "0x0", "topics": [null]}), 3),
        (json!({"fromBlock": "0x0", "topics": [[null, topic(1)]]}), 3),
        (json!({"fromBlock": "0x0", "topics": [topic(1), null]}), 0),
        (json!({"fromBlock": "0x0", "topics": []}), 3),
        (json!({"fromBlock": "0x0", "address": at}), 3),
        (json!({"fromBlock": "0x0", "address": [at, KEEPER_AT.to_string()]}), 3),
        (json!({"fromBlock": "0x0", "address": KEEPER_AT.to_string()}), 0),
        (json!({"fromBlock": "0x0", "toBlock": "0x99"}), 3),
    ];
    for (filter, count) in cases {
        let logs = ask(&desk, "eth_getLogs", &json!([filter])).unwrap();
        assert_eq!(logs.as_array().unwrap().len(), count, "{filter}");
    }
}

#[test]
fn filters_tell_everything_once() {
    let (chain, desk) = played();
    let new = |method: &str, params: Value| ask(&desk, method, &params).unwrap();
    let logs = new("eth_newFilter", json!([{"fromBlock": "0x0", "topics": [B256::with_last_byte(1).to_string()]}]));
    let blocks = new("eth_newBlockFilter", json!([]));
    let arrivals = new("eth_newPendingTransactionFilter", json!([]));
    let changes = |id: &Value| ask(&desk, "eth_getFilterChanges", &json!([id])).unwrap().as_array().unwrap().clone();
    let hash = ask(&desk, "eth_sendRawTransaction", &json!([log(5, 1)])).unwrap();
    chain.seal();
    let block = ask(&desk, "eth_getBlockByNumber", &json!(["latest"])).unwrap();
    assert_eq!((changes(&blocks), changes(&arrivals)), (vec![block["hash"].clone()], vec![hash.clone()]));
    let new_logs = changes(&logs);
    assert_eq!((new_logs.len(), &new_logs[0]["transactionHash"]), (1, &hash));
    assert_eq!([changes(&blocks), changes(&arrivals), changes(&logs)], [const { Vec::<Value>::new() }; 3]);
    let all = ask(&desk, "eth_getFilterLogs", &json!([logs])).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2);
    assert_eq!(ask(&desk, "eth_uninstallFilter", &json!([blocks])).unwrap(), json!(true));
    for _ in 2..FILTERS_MAX {
        ask(&desk, "eth_newBlockFilter", &json!([])).unwrap();
    }
    assert_eq!(ask(&desk, "eth_newBlockFilter", &json!([])).unwrap_err().code, -32_005);
}

#[test]
fn a_call_says_why_it_failed() {
    let (_, desk) = played();
    let reverter = REVERTER_AT.to_string();
    let reverts = |data: Vec<u8>| json!([{"to": reverter, "input": Bytes::from(data).to_string()}]);
    let stranger = Address::repeat_byte(0xaa).to_string();
    let words = alloy_sol_types::Revert::from("no such job").abi_encode();
    let panic = alloy_sol_types::Panic { code: U256::from(0x11) }.abi_encode();
    let cases = [
        ("eth_call", reverts(words.clone()), 3, "execution reverted: no such job"),
        ("eth_estimateGas", reverts(words), 3, "execution reverted: no such job"),
        ("eth_call", reverts(panic), 3, "execution reverted: panic: arithmetic underflow or overflow (0x11)"),
        ("eth_call", reverts(vec![0xab, 0xcd, 0xef, 0x01]), 3, "execution reverted: custom error 0xabcdef01"),
        ("eth_call", reverts(vec![]), 3, "execution reverted"),
        ("eth_call", json!([{"data": "0xfe"}]), -32_000, "execution halted: InvalidFEOpcode"),
        ("eth_call", json!([{"data": "0x5b5f56"}]), -32_000, "out of gas"),
        (
            "eth_estimateGas",
            json!([{"data": "0x5b5f56", "gas": "0x20000"}]),
            -32_000,
            "gas required exceeds allowance (131072)",
        ),
        ("eth_call", json!([{"from": stranger, "to": stranger, "value": "0x1"}]), -32_000, "insufficient funds"),
        ("eth_estimateGas", json!([{"from": stranger, "to": stranger, "value": "0x1"}]), -32_000, "insufficient funds"),
        ("eth_estimateGas", json!([{"from": stranger, "to": stranger, "gasPrice": "0x1"}]), -32_000, "intrinsic gas"),
        ("eth_call", json!([{"chainId": "0x1"}]), -32_000, "invalid chain id for signer: have 1 want 825566"),
        ("eth_call", json!([{}, "0x1"]), -32_000, "missing trie node: the state of block 1 is not kept"),
        ("eth_call", json!([{}, "0x9"]), -32_000, "header not found"),
        ("eth_sendRawTransaction", json!([log(0, 0)]), -32_000, "nonce too low: next nonce 5, tx nonce 0"),
        ("eth_sendRawTransaction", json!(["0x03aa"]), -32_000, "transaction type not supported"),
        ("eth_sendRawTransaction", json!(["0x01"]), -32_000, "rlp: "),
    ];
    for (method, params, code, text) in cases {
        let error = ask(&desk, method, &params).unwrap_err();
        assert_eq!((error.code, error.message.contains(text)), (code, true), "{params}: {error}");
        assert_eq!(error.data.is_some(), code == 3, "{params}");
    }
    let pretended = json!([{"to": stranger, "data": "0x"}, "latest", {stranger.clone(): {"code": "0x5f545f5260205ff3", "stateDiff": {"0x0": "0x2a"}}}]);
    assert_eq!(ask(&desk, "eth_call", &pretended).unwrap(), json!(B256::with_last_byte(42).to_string()));
}

#[test]
fn a_call_may_pretend_a_whole_storage() {
    let (chain, desk) = played();
    chain.submit(decode(&signed(to(5, TxKind::Call(KEEPER_AT), &[9; 32])))).unwrap();
    chain.seal();
    // Returns slot 1.
    let code = "0x6001545f5260205ff3";
    for (slots, want) in [
        (json!({"stateDiff": {"0x2": "0x2a"}}), B256::repeat_byte(9)),
        (json!({"state": {"0x2": "0x2a"}}), B256::ZERO),
        (json!({"state": {"0x1": "0x2a"}}), B256::with_last_byte(42)),
    ] {
        let mut pretended = slots.clone();
        pretended["code"] = json!(code);
        let params = json!([{"to": KEEPER_AT.to_string()}, "latest", {KEEPER_AT.to_string(): pretended}]);
        assert_eq!(ask(&desk, "eth_call", &params).unwrap(), json!(want.to_string()), "{slots}");
    }
}

#[test]
fn a_transaction_of_any_block_can_be_watched() {
    let (_, desk) = played();
    let block = ask(&desk, "eth_getBlockByNumber", &json!(["0x1", false])).unwrap();
    let hash = &block["transactions"][0];
    let steps = ask(&desk, "debug_traceTransaction", &json!([hash])).unwrap();
    let ops: Vec<&str> = steps["structLogs"].as_array().unwrap().iter().map(|s| s["op"].as_str().unwrap()).collect();
    assert_eq!(ops, ["PUSH0", "CALLDATALOAD", "PUSH0", "PUSH0", "LOG1", "STOP"]);
    let receipt = ask(&desk, "eth_getTransactionReceipt", &json!([hash])).unwrap();
    assert_eq!((&steps["failed"], hex(steps["gas"].as_u64().unwrap())), (&json!(false), receipt["gasUsed"].clone()));
    let calls = |with_logs| {
        let options = json!({"tracer": "callTracer", "tracerConfig": {"withLog": with_logs}});
        ask(&desk, "debug_traceTransaction", &json!([hash, options])).unwrap()
    };
    assert_eq!(keys(&calls(false)), "from gas gasUsed input to type value");
    assert_eq!(calls(true)["logs"][0]["topics"], receipt["logs"][0]["topics"]);
    let refusals = [
        ("debug_traceTransaction", json!([B256::ZERO.to_string()]), "transaction not found"),
        ("debug_traceTransaction", json!([hash, {"tracer": "prestateTracer"}]), "no tracer `prestateTracer`"),
        ("debug_traceCall", json!([{}, "0x1", {}]), "missing trie node"),
        ("debug_traceCall", json!([{}, "latest", {"blockOverrides": {}}]), "not supported"),
    ];
    for (method, params, text) in refusals {
        let error = ask(&desk, method, &params).unwrap_err();
        assert!(error.message.contains(text), "{method} {params}: {error}");
    }
    let failing = json!([{"to": REVERTER_AT.to_string(), "data": "0x01"}, "latest", {"tracer": "callTracer"}]);
    let failed = ask(&desk, "debug_traceCall", &failing).unwrap();
    assert_eq!((&failed["error"], &failed["output"]), (&json!("execution reverted"), &json!("0x01")));
    let deep = json!([{"to": KEEPER_AT.to_string(), "data": "0x"}, "latest", {
        "tracer": "callTracer",
        // Calls itself until its data, one byte more each time, are longer than 250.
        "stateOverrides": {KEEPER_AT.to_string(): {"code": "0x3660fa106013575f5f600136015f5f305af1005b00"}},
    }]);
    assert_eq!(ask(&desk, "debug_traceCall", &deep).unwrap().to_string().matches("CALL").count(), 252);
}

#[test]
fn what_waits_and_what_a_call_touches_is_told() {
    let (chain, desk) = played();
    for nonce in [5, 6, 9] {
        chain.submit(decode(&log(nonce, 1))).unwrap();
    }
    assert_eq!(ask(&desk, "txpool_status", &json!([])).unwrap(), json!({"pending": "0x2", "queued": "0x1"}));
    let content = ask(&desk, "txpool_content", &json!([])).unwrap();
    let of = |kind: &str| keys(&content[kind][owner().to_string()]);
    assert_eq!((of("pending"), of("queued")), ("5 6".into(), "9".into()));
    assert_eq!(content["queued"][owner().to_string()]["9"]["blockHash"], Value::Null);
    let call =
        json!({"from": owner().to_string(), "to": KEEPER_AT.to_string(), "data": B256::repeat_byte(1).to_string()});
    let answer = ask(&desk, "eth_createAccessList", &json!([call])).unwrap();
    let slots = [json!(B256::with_last_byte(1).to_string())];
    assert_eq!(answer["accessList"], json!([{"address": hex(KEEPER_AT), "storageKeys": slots}]));
    assert_eq!(keys(&answer), "accessList gasUsed");
}

#[test]
fn a_wrong_argument_is_named() {
    let (_, desk) = played();
    let me = owner().to_string();
    let many: Vec<Value> = (0..1_001).map(|_| json!(me)).collect();
    let far = format!("{:#x}", LOG_BLOCKS_MAX + 7);
    let cases = [
        ("eth_getBalance", json!([]), "missing value for required argument 0"),
        ("eth_getBalance", json!([null]), "missing value for required argument 0"),
        ("eth_getBalance", json!([me, "latest", 1]), "too many arguments, want at most 2"),
        ("eth_getBalance", json!(["0x12"]), "invalid argument 0: an address has 40 hex digits"),
        ("eth_getBalance", json!([5]), "invalid argument 0: an address is expected"),
        ("eth_getBalance", json!([me, "newest"]), "invalid argument 1: hex string without 0x prefix"),
        ("eth_getBalance", json!([me, {}]), "invalid argument 1: a block is named by"),
        ("eth_getBalance", json!([me, "0x"]), "is no quantity"),
        ("eth_getBalance", json!([me, "0x1ffffffffffffffff"]), "hex number > 64 bits"),
        ("eth_getStorageAt", json!([me, format!("0x{}", "f".repeat(65))]), "hex number > 256 bits"),
        ("eth_call", json!([[]]), "a call is expected"),
        ("eth_call", json!([{"data": "0x1"}]), "data: "),
        ("eth_call", json!([{"data": "0x01", "input": "0x02"}]), "both \"data\" and \"input\""),
        ("eth_call", json!([{"gasPrice": "0x1", "maxFeePerGas": "0x1"}]), "both gasPrice and"),
        ("eth_call", json!([{"value": "0xzz"}]), "value: invalid hex string"),
        ("eth_call", json!([{}, "latest", {me.clone(): {"state": {}, "stateDiff": {}}}]), "both `state` and"),
        ("eth_call", json!([{}, "latest", {"0x12": {}}]), "`0x12` is no address"),
        ("eth_getLogs", json!([{"address": many}]), "a list of 1001 entries, at most 1000"),
        ("eth_getLogs", json!([{"topics": [null, null, null, null, null]}]), "exceed max topics"),
        ("eth_getLogs", json!([{"topics": "0x"}]), "topics: a list is expected"),
        ("eth_getLogs", json!([{"fromBlock": "0x2", "toBlock": "0x1"}]), "invalid block range params"),
        ("eth_getLogs", json!([{"fromBlock": far}]), "invalid block range params"),
        ("eth_getLogs", json!([{"fromBlock": "0x1", "blockHash": B256::ZERO.to_string()}]), "cannot specify both"),
        ("eth_feeHistory", json!([1, "latest", [50, 20]]), "invalid reward percentile"),
        ("eth_getBlockByNumber", json!(["0x1", "yes"]), "a boolean is expected"),
        ("web3_sha3", json!(["00"]), "without 0x prefix"),
    ];
    for (method, params, text) in cases {
        let error = ask(&desk, method, &params).unwrap_err();
        assert_eq!((error.code, error.message.contains(text)), (-32_602, true), "{method} {params}: {error}");
    }
}

#[test]
fn nobody_gets_more_than_the_limits() {
    let (_, desk) = played();
    let asked = Asked::inside(&desk);
    let code = |range| logs::find(&asked, &Criteria::default(), range).map(|logs| logs.len()).map_err(|why| why.code);
    assert_eq!(
        (code(0..=LOG_BLOCKS_MAX - 1), code(0..=LOG_BLOCKS_MAX), code(0..=u64::MAX)),
        (Ok(3), Err(-32_005), Err(-32_005))
    );
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let batch = Batch::parse(format!("[{one},{one},{one}]").as_bytes()).unwrap();
    let answer = batch.answer(60, |request| ask(&desk, &request.method, &json!([]))).unwrap();
    let answers: Value = serde_json::from_str(&answer).unwrap();
    let codes: Vec<&Value> = answers.as_array().unwrap().iter().map(|answer| &answer["error"]["code"]).collect();
    assert_eq!(codes, [&Value::Null, &json!(-32_003), &json!(-32_003)]);
    let late = desk.ask("eth_chainId", &[], Visit { asker: Asker::Program, deadline: Instant::now() });
    assert_eq!(late.unwrap_err().code, -32_002);
}

async fn serve(is_quick: bool) -> (SocketAddr, Arc<Test>, CancellationToken) {
    let (chain, stop) = (Test::new(is_quick), CancellationToken::new());
    let addr = "127.0.0.1:0".parse().unwrap();
    let attach = RpcAttach { addr, chain: chain.clone(), network_name: "test".into(), stop: stop.clone() };
    let rpc = Rpc::bind(attach).await.unwrap();
    let addr = rpc.addr;
    tokio::spawn(rpc.serve());
    (addr, chain, stop)
}

/// Sends a request, returns status, head and body.
fn raw(addr: SocketAddr, line: &str, headers: &str, body: &str) -> (u16, String, String) {
    raw_at(addr, line, "/", headers, body)
}

fn raw_at(addr: SocketAddr, line: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    let request = format!(
        "{line} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_in_the_answer_is_an_error_of_json_rpc() {
    let (addr, _, stop) = serve(true).await;
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let batch = |n: usize| format!("[{}]", vec![one; n].join(","));
    let cases = [
        (one.to_owned(), json!([null])),
        (batch(BATCH_MAX), json!([])),
        (batch(BATCH_MAX + 1), json!([-32_600])),
        ("[]".into(), json!([-32_600])),
        (String::new(), json!([-32_700])),
        ("{".into(), json!([-32_700])),
        ("\u{0}\u{1}".into(), json!([-32_700])),
        (format!("{}1{}", "[".repeat(200), "]".repeat(200)), json!([-32_700])),
        (
            format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"eth_call","params":{}{}}}"#,
                "[".repeat(127),
                "]".repeat(127)
            ),
            json!([-32_700]),
        ),
        ("5".into(), json!([-32_600])),
        ("[1,2]".into(), json!([-32_600, -32_600])),
        (r#"{"id":1,"method":"eth_chainId"}"#.into(), json!([-32_600])),
        (r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#.into(), json!([-32_600])),
        (r#"{"jsonrpc":"2.0","id":{},"method":"eth_chainId"}"#.into(), json!([-32_600])),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#.into(), json!([-32_600])),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":{"a":1}}"#.into(), json!([-32_602])),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainid"}"#.into(), json!([-32_601])),
        (r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#.into(), json!([-32_601])),
        (format!("[{one},{{}}]"), json!([null, -32_600])),
    ];
    for (body, codes) in cases {
        let (status, _, answer) = raw(addr, "POST", "", &body);
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{body}: {e}: {answer}"));
        let entries = if answer.is_array() { answer.as_array().unwrap().clone() } else { vec![answer] };
        let got: Vec<Value> = entries.iter().map(|entry| entry["error"]["code"].clone()).collect();
        let want = codes.as_array().unwrap();
        let short = &body[..body.len().min(80)];
        assert!(want.is_empty() && got.iter().all(Value::is_null) || got == *want, "{short}: {got:?}");
        assert!(status == 200 && entries.iter().all(|e| e["jsonrpc"] == "2.0" && e.get("id").is_some()), "{short}");
    }
    let notification = raw(addr, "POST", "", r#"{"jsonrpc":"2.0","method":"eth_chainId"}"#);
    assert_eq!((notification.0, notification.2.as_str()), (204, ""));
    let (status, _, body) = raw(addr, "POST", "", &"x".repeat(RPC_BODY_BYTES_MAX + 1));
    assert!(status == 413 && body.contains("-32600"), "{status} {body}");
    let (status, _, body) = raw(addr, "GET", "", "");
    assert!(status == 405 && body.contains("-32600"), "{status} {body}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn any_page_may_ask_but_not_under_a_forged_name() {
    let (addr, _, stop) = serve(true).await;
    let (status, head, _) =
        raw(addr, "OPTIONS", "Origin: https://dapp.example\r\nAccess-Control-Request-Private-Network: true\r\n", "");
    assert_eq!(status, 204);
    for header in ["allow-origin: *", "allow-headers: *", "allow-private-network: true", "allow-methods: post"] {
        assert!(head.contains(&format!("access-control-{header}")), "{head}");
    }
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("-32600"), "{answer}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_gets_no_starter_credit() {
    let (addr, _, stop) = serve(true).await;
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "talkoo_sponsor", "params": [owner().to_string(), LOGGER_AT.to_string()]});
    let [alone, both] = [body.to_string(), format!("[{body}]")];
    for (headers, is_page) in [
        ("", false),
        ("Origin: http://127.0.0.1\r\n", false),
        ("Origin: http://127.0.0.1:81\r\n", true),
        ("Origin: https://dapp.example\r\n", true),
        ("Origin: null\r\n", true),
    ] {
        for body in [&alone, &both] {
            let (_, _, answer) = raw(addr, "POST", headers, body);
            assert_eq!(answer.contains("a web page gets no starter credit"), is_page, "{headers}{answer}");
        }
    }
    let mut client = Client::connect_with(addr, "Origin: https://dapp.example\r\n");
    let answer = client.ask("talkoo_sponsor", body["params"].clone());
    assert_eq!(answer["error"]["code"], json!(-32_000));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_take_the_nodes_turns() {
    let (chain, stop) = (Test::new(true), CancellationToken::new());
    let attach =
        RpcAttach { addr: "127.0.0.1:0".parse().unwrap(), chain, network_name: "test".into(), stop: stop.clone() };
    let rpc = Rpc::bind(attach).await.unwrap();
    let (addr, path) = (rpc.addr, rpc.server.own_path.clone());
    assert_eq!((rpc.own_url.clone(), path.len()), (format!("http://{addr}{path}"), 35));
    let all = rpc.server.turns.clone().acquire_many_owned(RPC_AT_ONCE_MAX as u32).await.unwrap();
    tokio::spawn(rpc.serve());
    let one = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}"#;
    let asked = |path: &str| raw_at(addr, "POST", path, "", one);
    assert!(asked(&path).2.contains("0xc98de"));
    assert_eq!(asked("/0000").0, 404);
    drop(all);
    assert!(asked("/").2.contains("0xc98de"));
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_can_be_waited_for() {
    let (addr, _, stop) = serve(true).await;
    let send = |transaction: String| {
        let request =
            json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransactionSync", "params": [transaction]});
        serde_json::from_str::<Value>(&raw(addr, "POST", "", &request.to_string()).2).unwrap()
    };
    let answer = send(log(0, 1));
    assert_eq!((&answer["result"]["status"], &answer["result"]["blockNumber"]), (&json!("0x1"), &json!("0x1")));
    // One whose turn does not come: the nonce before it is missing.
    let early = log(5, 1);
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransactionSync", "params": [early, 1]});
    let answer: Value = serde_json::from_str(&raw(addr, "POST", "", &request.to_string()).2).unwrap();
    let bytes: Bytes = early.parse().unwrap();
    let hash = *decode_transaction(&bytes, CHAIN).unwrap().tx_hash();
    assert_eq!((&answer["error"]["code"], &answer["error"]["data"]), (&json!(4), &json!(hash.to_string())));
    stop.cancel();
}

/// A client of a WebSocket that knows just what the test needs (RFC 6455).
struct Client(std::net::TcpStream);

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, "")
    }

    fn connect_with(addr: SocketAddr, headers: &str) -> Self {
        let mut stream = std::net::TcpStream::connect(addr).unwrap();
        let request = format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self(stream)
    }

    fn send(&mut self, method: &str, params: Value) {
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let length = u16::try_from(text.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(length.to_be_bytes());
        // Masked with zeros, which is a mask.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.0.write_all(&frame).unwrap();
    }

    /// The next text; nothing at the end.
    fn hear(&mut self) -> Option<Value> {
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head).ok()?;
            let length = match head[1] {
                126 => {
                    let mut length = [0; 2];
                    self.0.read_exact(&mut length).unwrap();
                    usize::from(u16::from_be_bytes(length))
                }
                short => usize::from(short),
            };
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).unwrap();
            match head[0] & 15 {
                1 => return Some(serde_json::from_slice(&body).unwrap()),
                8 => return None,
                _ => {}
            }
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.send(method, params);
        self.hear().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_hear_of_every_block() {
    let (addr, chain, stop) = serve(false).await;
    let talk = move || {
        let mut client = Client::connect(addr);
        let subscribe = |client: &mut Client, params| client.ask("eth_subscribe", params)["result"].clone();
        let heads = subscribe(&mut client, json!(["newHeads"]));
        let logs = subscribe(&mut client, json!(["logs", {"topics": [B256::with_last_byte(2).to_string()]}]));
        let arrivals = subscribe(&mut client, json!(["newPendingTransactions"]));
        let (mut heard, mut sent) = (Vec::new(), Vec::new());
        for (nonce, topic) in [(0, 1), (1, 2)] {
            client.send("eth_sendRawTransaction", json!([log(nonce, topic)]));
            // Notices come in between.
            let answer = loop {
                let said = client.hear().unwrap();
                if said.get("id").is_some() {
                    break said;
                }
                heard.push(said["params"].clone());
            };
            sent.push(answer["result"].clone());
            chain.seal();
        }
        while heard.len() < 5 {
            heard.push(client.hear().unwrap()["params"].clone());
        }
        let of = |id: &Value, field: &str| -> Vec<Value> {
            let notices = heard.iter().filter(|notice| notice["subscription"] == *id);
            notices.map(|n| n["result"].get(field).unwrap_or(&n["result"]).clone()).collect()
        };
        assert_eq!(of(&heads, "number"), [json!("0x1"), json!("0x2")]);
        assert_eq!((of(&logs, "blockNumber"), of(&arrivals, "")), (vec![json!("0x2")], sent));
        for id in [heads, logs, arrivals] {
            assert_eq!(client.ask("eth_unsubscribe", json!([id]))["result"], json!(true));
            assert_eq!(client.ask("eth_unsubscribe", json!([id]))["error"]["code"], json!(-32_000));
        }
        for _ in 0..SUBSCRIPTIONS_MAX {
            subscribe(&mut client, json!(["newPendingTransactions"]));
        }
        assert_eq!(client.ask("eth_subscribe", json!(["newHeads"]))["error"]["code"], json!(-32_005));
        assert_eq!(client.ask("eth_chainId", json!([]))["result"], json!("0xc98de"));
        client
    };
    let mut client = tokio::task::spawn_blocking(talk).await.unwrap();
    // The connection ends with the node.
    stop.cancel();
    assert_eq!(tokio::task::spawn_blocking(move || client.hear()).await.unwrap(), None);
}
