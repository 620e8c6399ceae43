//! Prints signed records with their EIP-712 types as JSON, for an outside judge to recompute.
#![allow(clippy::print_stdout, reason = "this program's only purpose is to print")]

use serde_json::{Value, json};
use talkoo_base::eip712::Domain;
use talkoo_base::wire::Typed;
use talkoo_base::{
    Address, Amount, AuditPolicy, ChannelConfig, Delegation, Digest, Finish, Kind, Limits, Network, Price, Receipt,
    Request, SecretKey, Signed, Signer, Tier, Unit, Unix, Voucher,
};

/// `[("name", "type"), …]` as EIP-712 writes it.
fn fields(list: &[(&str, &str)]) -> Value {
    list.iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect()
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn case<T: Typed + Clone>(name: &str, record: &T, types: &Value, message: &Value) -> Value {
    let (network, key) = (Network::local("judge"), SecretKey::from_bytes(&[7; 32]).expect("a small number is a key"));
    let Domain { name: title, version, chain_id, verifying_contract } = T::domain(&network);
    let signed = Signed::new(record.clone(), &network, &key);
    json!({
        "name": name,
        "domain": {
            "name": title, "version": version, "chainId": chain_id, "verifyingContract": verifying_contract.to_string(),
        },
        "types": types,
        "message": message,
        "digest": hex(&record.digest(&network).0),
        "signature": hex(&signed.signature.0),
        "signer": key.address().to_string(),
    })
}

fn request(d: impl Fn(u8) -> Digest) -> Value {
    let request = Request {
        version: 1,
        kind: Kind::Generate,
        job: d(1),
        program: d(2),
        inputs: vec![d(3), d(4), d(5)],
        params: vec![1, 2, 3],
        limits: Limits { input_units: u64::MAX, output_units: 6, state_bytes: 7 },
        seed: u64::MAX,
        audit_commit: d(8),
        audit: AuditPolicy::Drawn,
        price: Price { input: u128::MAX, output: 10 },
        deadline: Unix(11),
        worker: Address([12; 20]),
        channel: d(13),
    };
    let types = json!({
        "Limits": fields(&[("inputUnits", "uint64"), ("outputUnits", "uint64"), ("stateBytes", "uint64")]),
        "Price": fields(&[("input", "uint128"), ("output", "uint128")]),
        "Request": fields(&[
            ("version", "uint16"), ("kind", "uint8"), ("job", "bytes32"), ("program", "bytes32"),
            ("inputs", "bytes32[]"), ("params", "bytes"), ("limits", "Limits"), ("seed", "uint64"),
            ("auditCommit", "bytes32"), ("audit", "uint8"), ("price", "Price"), ("deadline", "uint64"),
            ("worker", "address"), ("channelId", "bytes32"),
        ]),
    });
    let message = json!({
        "version": 1, "kind": 0, "job": hex(&d(1).0), "program": hex(&d(2).0),
        "inputs": [hex(&d(3).0), hex(&d(4).0), hex(&d(5).0)], "params": "0x010203",
        "limits": {"inputUnits": u64::MAX.to_string(), "outputUnits": 6, "stateBytes": 7},
        "seed": u64::MAX.to_string(), "auditCommit": hex(&d(8).0), "audit": 3,
        "price": {"input": u128::MAX.to_string(), "output": 10}, "deadline": 11,
        "worker": request.worker.to_string(), "channelId": hex(&d(13).0),
    });
    case("request", &request, &types, &message)
}

fn receipt(d: impl Fn(u8) -> Digest) -> Value {
    let receipt = Receipt {
        version: 1,
        tier: Tier::Exact,
        request: d(1),
        unit: Unit::Token,
        units: 33,
        output_root: d(2),
        trace_root: d(3),
        build: d(4),
        operator: Address([5; 20]),
        node: Address([6; 20]),
        channel: d(7),
        cumulative: Amount(u128::MAX),
        finish: Finish::Length,
    };
    let types = json!({"Receipt": fields(&[
        ("version", "uint16"), ("tier", "uint8"), ("requestHash", "bytes32"), ("unit", "uint8"), ("units", "uint64"),
        ("outputRoot", "bytes32"), ("traceRoot", "bytes32"), ("buildHash", "bytes32"), ("operator", "address"),
        ("node", "address"), ("channelId", "bytes32"), ("cumulative", "uint128"), ("finish", "uint8"),
    ])});
    let message = json!({
        "version": 1, "tier": 0, "requestHash": hex(&d(1).0), "unit": 0, "units": 33, "outputRoot": hex(&d(2).0),
        "traceRoot": hex(&d(3).0), "buildHash": hex(&d(4).0), "operator": receipt.operator.to_string(),
        "node": receipt.node.to_string(), "channelId": hex(&d(7).0), "cumulative": u128::MAX.to_string(), "finish": 2,
    });
    case("receipt", &receipt, &types, &message)
}

fn payment(d: impl Fn(u8) -> Digest) -> [Value; 3] {
    let a = |byte: u8| Address([byte; 20]);
    let voucher = Voucher { channel: d(7), max_claimable: Amount(u128::MAX) };
    let types = json!({"Voucher": fields(&[("channelId", "bytes32"), ("maxClaimableAmount", "uint128")])});
    let message = json!({"channelId": hex(&d(7).0), "maxClaimableAmount": u128::MAX.to_string()});
    let first = case("voucher", &voucher, &types, &message);
    let channel = ChannelConfig {
        payer: a(1),
        payer_authorizer: a(2),
        receiver: a(3),
        receiver_authorizer: a(4),
        token: a(5),
        withdraw_delay: 86_400,
        salt: d(6),
    };
    let types = json!({"ChannelConfig": fields(&[
        ("payer", "address"), ("payerAuthorizer", "address"), ("receiver", "address"),
        ("receiverAuthorizer", "address"), ("token", "address"), ("withdrawDelay", "uint40"), ("salt", "bytes32"),
    ])});
    let message = json!({
        "payer": a(1).to_string(), "payerAuthorizer": a(2).to_string(), "receiver": a(3).to_string(),
        "receiverAuthorizer": a(4).to_string(), "token": a(5).to_string(), "withdrawDelay": 86_400,
        "salt": hex(&d(6).0),
    });
    let second = case("channel", &channel, &types, &message);
    let delegation = Delegation { owner: a(1), node: a(2), roles: Delegation::ALL_ROLES, expiry: Unix(9) };
    let types = json!({"Delegation": fields(&[
        ("owner", "address"), ("nodeKey", "address"), ("roles", "uint8"), ("expiry", "uint64"),
    ])});
    let message = json!({"owner": a(1).to_string(), "nodeKey": a(2).to_string(), "roles": 7, "expiry": 9});
    [first, second, case("delegation", &delegation, &types, &message)]
}

fn main() {
    let d = |byte: u8| Digest([byte; 32]);
    let mut cases = vec![request(d), receipt(d)];
    cases.extend(payment(d));
    println!("{}", Value::Array(cases));
}
