//! Prints a genesis as JSON: what it is made of, the root of its state, the nodes of all tries, the codes. So other programs
//! can begin where our chain begins, or make the beginning themselves. usage: genesis_nodes GENESIS.json
#![allow(clippy::print_stdout, reason = "this is what it is for")]

use alloy_primitives::{Address, hex};
use serde_json::{Map, Value, json};
use talkoo_ledger::contracts::{Beginning, Staker};
use talkoo_ledger::{Code, Contract};

fn main() {
    let path = std::env::args().nth(1).expect("usage: genesis_nodes GENESIS.json");
    let text = std::fs::read_to_string(path).expect("the file is there");
    let file: Value = serde_json::from_str(&text).expect("the file is JSON");
    let address = |value: &Value| -> Address { value.as_str().and_then(|a| a.parse().ok()).expect("an address") };
    let number = |value: &Value| value.as_u64().expect("a number");
    let stakers = file["validators"].as_array().expect("a list of validators").iter();
    let staker = |v: &Value| {
        let ours = |name: &str| talkoo_base::Address(address(&v[name]).0.0);
        Staker { operator: ours("operator"), ..Staker::own(ours("address"), number(&v["power"])) }
    };
    let beginning = Beginning {
        chain_id: number(&file["chainId"]),
        timestamp: number(&file["timestamp"]),
        stakers: stakers.map(staker).collect(),
        founder: address(&file["founder"]),
        window_s: number(&file["windowS"]),
        answer_s: number(&file["answerS"]),
        epoch_s: number(&file["epochS"]),
        beacon_s: number(&file["beaconS"]),
    };
    let genesis = beginning.genesis();
    let (head, _, writes) = genesis.build().expect("a genesis of ours can be built");
    let contracts: Vec<Value> = genesis.contracts.iter().map(contract).collect();
    let balances: Map<String, Value> = genesis
        .balances
        .iter()
        .map(|(address, balance)| (address.to_string(), json!(format!("{balance:#x}"))))
        .collect();
    let (codes, nodes): (Vec<_>, Vec<_>) = writes.into_iter().partition(|(key, _)| key.first() == Some(&b'c'));
    let values = |all: Vec<(Vec<u8>, Option<Vec<u8>>)>| -> Vec<String> {
        all.into_iter().filter_map(|(_, value)| value).map(hex::encode_prefixed).collect()
    };
    let (root, hash) = (head.header.state_root.to_string(), head.hash.to_string());
    println!(
        "{}",
        json!({
            "chainId": genesis.chain_id, "balances": balances, "contracts": contracts,
            "root": root, "hash": hash, "nodes": values(nodes), "codes": values(codes),
        })
    );
}

fn contract(contract: &Contract) -> Value {
    let (code, is_creation) = match &contract.code {
        Code::Creation(code) => (code, true),
        Code::Runtime(code) => (code, false),
    };
    json!({"address": contract.address.to_string(), "code": code.to_string(), "isCreation": is_creation})
}
