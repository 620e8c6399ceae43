//! The chain as an explorer shows it: blocks, transactions and addresses in words, asked by JSON-RPC as everything else is.
//! It reads and decides nothing; what our contracts' calls and events are called is known by their selectors.

use super::Place;
use super::rpc::{Rpc, RpcError};
use alloy_primitives::{Address, B256, U256};
use serde_json::{Value, json};
use talkoo_base::{Refusal, RefusalCode};
use talkoo_inference::Asset;
use talkoo_ledger::Deployment;
use talkoo_ledger::bindings::{IToken, names};
use talkoo_ledger::contracts::{EQUIVOCATION_AT, FAUCET_AT};

/// Hexadecimal digits of an input or of an event's data that are shown, with `0x`: 4,096 bytes.
const SHOWN_DIGITS_MAX: usize = 2 + 2 * 4_096;
/// Events of a transaction that are shown.
const EVENTS_MAX: usize = 200;

/// A chain of ours to look at: our contracts are where its genesis has them.
pub(crate) struct Explorer {
    rpc: Rpc,
    /// Where wallets find it.
    public: String,
    at: Deployment,
}

type Answer = Result<Value, Refusal>;

impl Explorer {
    pub(crate) fn new(place: &Place, public: String) -> Self {
        Self { rpc: Rpc::new(&place.url.rpc), public, at: place.at }
    }

    /// The chain and our contracts.
    pub(crate) fn summary(&self) -> Answer {
        let mut contracts: Vec<Value> = self.contracts().map(contract).collect();
        contracts.sort_by_key(|one| one["name"].to_string());
        Ok(json!({
            "chain": small(&self.ask("eth_chainId", &json!([]))?),
            "rpc": self.public,
            "height": self.height()?,
            "contracts": contracts,
        }))
    }

    /// Blocks from `from` downwards, the last one if left out, and the number of the next.
    pub(crate) fn blocks(&self, from: Option<u64>, most: usize) -> Answer {
        let height = self.height()?;
        let first = from.unwrap_or(height).min(height);
        let mut blocks = Vec::new();
        for number in (0..=first).rev().take(most) {
            blocks.push(short(&self.found(&json!(format!("{number:#x}")), false)?));
        }
        let next = (first + 1).checked_sub(blocks.len() as u64).filter(|left| *left > 0).map(|left| left - 1);
        Ok(json!({"height": height, "blocks": blocks, "next_cursor": next.map(|next| next.to_string())}))
    }

    /// A block by number or hash, with transactions from `from` on.
    pub(crate) fn block(&self, name: &str, from: usize, most: usize) -> Answer {
        let number = name.parse::<u64>().ok().map(|number| json!(format!("{number:#x}")));
        let hash = || name.parse::<B256>().ok().map(|hash| json!(hash.to_string()));
        let name =
            number.or_else(hash).ok_or_else(|| bad("a block is a number, or a hash of 64 hexadecimal digits"))?;
        let block = self.found(&name, true)?;
        let all = block["transactions"].as_array().map_or(&[][..], Vec::as_slice);
        let rows: Vec<Value> = all.iter().skip(from).take(most).map(|one| self.row(one)).collect();
        let next = (from + rows.len() < all.len()).then(|| (from + rows.len()).to_string());
        let certificate = self.ask("talkoo_getCertificate", &json!([block["number"]]))?;
        Ok(json!({
            "block": short(&block),
            "parent": block["parentHash"],
            "state_root": block["stateRoot"],
            "gas_limit": small(&block["gasLimit"]),
            "base_fee": word(&block["baseFeePerGas"]).map(|fee| fee.to_string()),
            "bytes": small(&block["size"]),
            "signatures": certificate["signatures"].as_array().map(Vec::len),
            "transactions": rows,
            "next_cursor": next,
        }))
    }

    /// A transaction and what came of it.
    pub(crate) fn transaction(&self, hash: &str) -> Answer {
        let hash: B256 = hash.parse().map_err(|_| bad("a transaction's hash has 64 hexadecimal digits"))?;
        let told = self.ask("eth_getTransactionByHash", &json!([hash.to_string()]))?;
        if told.is_null() {
            return Err(unknown(&format!("no transaction has the hash {hash}")));
        }
        let receipt = self.ask("eth_getTransactionReceipt", &json!([hash.to_string()]))?;
        let status = match receipt["status"].as_str() {
            None => "waiting",
            Some("0x1") => "done",
            Some(_) => "reverted",
        };
        let fee = word(&receipt["gasUsed"]).zip(word(&receipt["effectiveGasPrice"])).map(|(gas, price)| gas * price);
        let input = told["input"].as_str().unwrap_or("0x");
        let logs = receipt["logs"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(json!({
            "transaction": self.row(&told),
            "status": status,
            "block": word(&told["blockNumber"]).map(|number| number.saturating_to::<u64>()),
            "time": word(&told["blockTimestamp"]).map(|time| time.saturating_to::<u64>()),
            "nonce": small(&told["nonce"]),
            "gas_limit": small(&told["gas"]),
            "gas_used": word(&receipt["gasUsed"]).map(|gas| gas.saturating_to::<u64>()),
            "fee": fee.map(gas),
            "made": receipt["contractAddress"],
            "input_bytes": (input.len() - 2) / 2,
            "input": beginning(input),
            "events": logs.iter().take(EVENTS_MAX).map(|log| self.event(log)).collect::<Vec<_>>(),
            "events_left": logs.len().saturating_sub(EVENTS_MAX),
        }))
    }

    /// What an address has after the last block.
    pub(crate) fn address(&self, address: &str) -> Answer {
        let address = crate::cli::account(address).map_err(|why| bad(&format!("{address} is no address ({why})")))?;
        let address = Address::from(address.0);
        let now = json!([address.to_string(), "latest"]);
        let held = |token| self.rpc.call(token, &IToken::balanceOfCall { account: address }).map_err(|why| no(&why));
        let amount = |asset: Asset, units: U256| asset.shown(units.saturating_to());
        Ok(json!({
            "address": address.to_string(),
            "contract": self.name_of(address),
            "is_contract": self.rpc.has_code(address).map_err(|why| no(&why))?,
            "nonce": small(&self.ask("eth_getTransactionCount", &now)?),
            "gas": gas(word(&self.ask("eth_getBalance", &now)?).unwrap_or_default()),
            "money": amount(Asset::Money, held(self.at.token)?),
            "stake": amount(Asset::Stake, held(self.at.stake)?),
        }))
    }

    fn ask(&self, method: &str, params: &Value) -> Answer {
        self.rpc.ask(method, params).map_err(|why| no(&why))
    }

    fn height(&self) -> Result<u64, Refusal> {
        Ok(small(&self.ask("eth_blockNumber", &json!([]))?))
    }

    fn found(&self, name: &Value, is_full: bool) -> Answer {
        let is_hash = name.as_str().is_some_and(|name| name.len() == 66);
        let method = if is_hash { "eth_getBlockByHash" } else { "eth_getBlockByNumber" };
        let block = self.ask(method, &json!([name, is_full]))?;
        if block.is_null() { Err(unknown("there is no such block")) } else { Ok(block) }
    }

    fn contracts(&self) -> impl Iterator<Item = (&'static str, Address)> {
        let beside = [("parameters", self.at.parameters), ("equivocation", EQUIVOCATION_AT), ("faucet", FAUCET_AT)];
        self.at.entries().into_iter().chain(beside)
    }

    fn name_of(&self, address: Address) -> Option<&'static str> {
        self.contracts().find(|(_, at)| *at == address).map(|(name, _)| name)
    }

    fn contract_at(&self, address: &Value) -> Option<&'static str> {
        self.name_of(address.as_str()?.parse().ok()?)
    }

    fn row(&self, told: &Value) -> Value {
        let contract = self.contract_at(&told["to"]);
        let selector = told["input"].as_str().and_then(|input| input.get(2..10));
        let selector: Option<[u8; 4]> = selector.and_then(|digits| hex::decode(digits).ok()?.try_into().ok());
        json!({
            "hash": told["hash"],
            "from": told["from"],
            "to": told["to"],
            "contract": contract,
            "function": contract.and(selector).and_then(names::function),
            "value": gas(word(&told["value"]).unwrap_or_default()),
        })
    }

    fn event(&self, log: &Value) -> Value {
        let contract = self.contract_at(&log["address"]);
        let topic: Option<B256> = log["topics"][0].as_str().and_then(|topic| topic.parse().ok());
        json!({
            "address": log["address"],
            "contract": contract,
            "event": contract.and(topic).and_then(names::event),
            "topics": log["topics"],
            "data": beginning(log["data"].as_str().unwrap_or("0x")),
        })
    }
}

fn contract((name, at): (&'static str, Address)) -> Value {
    json!({"name": name, "address": at.to_string()})
}

fn short(block: &Value) -> Value {
    json!({
        "number": small(&block["number"]),
        "hash": block["hash"],
        "time": small(&block["timestamp"]),
        "proposer": block["miner"],
        "transactions": block["transactions"].as_array().map_or(0, Vec::len),
        "gas_used": small(&block["gasUsed"]),
    })
}

fn word(value: &Value) -> Option<U256> {
    value.as_str()?.parse().ok()
}

fn small(value: &Value) -> u64 {
    word(value).unwrap_or_default().saturating_to()
}

/// Wei in units of gas money.
fn gas(wei: U256) -> String {
    Asset::Gas.shown(wei.saturating_to())
}

fn beginning(digits: &str) -> &str {
    digits.get(..SHOWN_DIGITS_MAX).unwrap_or(digits)
}

fn no(why: &RpcError) -> Refusal {
    Refusal::new(RefusalCode::Silent, why.to_string(), "see the node's log")
}

fn bad(message: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, "see docs/API.md")
}

fn unknown(message: &str) -> Refusal {
    Refusal::new(RefusalCode::UnknownId, message, "`GET /ledger/blocks` lists what is there")
}
