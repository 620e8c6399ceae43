//! Payments on a chain that a test can see into, for answers of a desk that says what it is told.

use super::check::{digest, fits, signed};
use super::wire::{Requirement, decode};
use super::{Authorization, Look, Selling, Terms, Till, Unsettled, reason};
use crate::collect::unix;
use crate::limits::{CLOCKS_S, PAY_WITHIN_S, PAYMENT_BYTES_MAX, REPEATS_MAX, SETTLE_ROOM_S};
use crate::tests::Parrot;
use crate::{Attach, Hooks, Keys, Meters, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use talkoo_api::Caller;
use talkoo_base::{Address, Amount, Digest, Price, Refusal, SecretKey, Signature, Signer as _};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

fn terms() -> Terms {
    let (asset, pay_to) = (Address([0xaa; 20]), Address([0xbb; 20]));
    let (name, version) = ("Money".to_owned(), "2".to_owned());
    Terms { chain_id: 7, asset, name, version, separator: Digest([9; 32]), pay_to }
}

fn payer() -> SecretKey {
    SecretKey::from_bytes(&[5; 32]).unwrap()
}

/// What is said of a transfer.
type Settled = Result<String, Unsettled>;

/// A chain with one payer.
struct Chain {
    folder: std::path::PathBuf,
    balance: u128,
    /// Whether it says of every transfer that it would refuse it.
    would_refuse: bool,
    /// What the next transfers come to; all others are made.
    ends: Mutex<Vec<Settled>>,
    /// Whether a transfer is made, whatever is said of it.
    is_made: bool,
    made: Mutex<Vec<(Address, Digest, String)>>,
    asked: Mutex<Vec<Option<String>>>,
    /// Transfers that may go on.
    may: Semaphore,
}

impl Chain {
    fn new(folder: &Path) -> Self {
        let (ends, made, asked) = (Mutex::default(), Mutex::default(), Mutex::default());
        let may = Semaphore::new(Semaphore::MAX_PERMITS);
        let (folder, balance) = (folder.to_owned(), 1_000_000);
        Self { folder, balance, would_refuse: false, ends, is_made: false, made, asked, may }
    }

    fn transfers(&self) -> usize {
        self.made.lock().unwrap().len()
    }
}

impl Till for Chain {
    fn terms(&self) -> BoxFuture<'_, Result<Terms, Refusal>> {
        Box::pin(async { Ok(terms()) })
    }

    fn look(&self, paid: Authorization) -> BoxFuture<'_, Result<Look, Refusal>> {
        let Authorization { from, nonce, .. } = paid;
        let is_used = self.made.lock().unwrap().iter().any(|(by, used, _)| (*by, *used) == (from, nonce));
        let refusal = self.would_refuse.then(|| "the account is frozen".to_owned());
        Box::pin(async move { Ok(Look { balance: self.balance, is_used, block: 11, refusal }) })
    }

    fn find(&self, from: Address, nonce: Digest, since: u64) -> BoxFuture<'_, Result<Option<String>, Refusal>> {
        assert_eq!(since, 11, "the block of the first look");
        let made = self.made.lock().unwrap();
        let found = made.iter().find(|(by, used, _)| (*by, *used) == (from, nonce)).map(|(.., hash)| hash.clone());
        Box::pin(async move { Ok(found) })
    }

    fn settle(&self, paid: Authorization, since: u64, sent: Option<String>) -> BoxFuture<'_, Settled> {
        Box::pin(async move {
            let files = std::fs::read_dir(self.folder.join("x402")).unwrap().map(|file| file.unwrap().path());
            let intents: Vec<Value> =
                files.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect();
            let nonce = paid.nonce.to_string();
            assert!(intents.iter().any(|intent| intent["nonce"] == nonce), "the intent is on the disk before");
            assert_eq!(since, 11);
            self.asked.lock().unwrap().push(sent);
            let _may = self.may.acquire().await.unwrap();
            let end = self.ends.lock().unwrap().pop().unwrap_or_else(|| Ok("0xfeed".to_owned()));
            if end.is_ok() || self.is_made {
                self.made.lock().unwrap().push((paid.from, paid.nonce, "0xfeed".to_owned()));
            }
            end
        })
    }
}

/// A node that sells, and its chain.
struct Shop {
    router: Router,
    chain: Arc<Chain>,
    parrot: Arc<Parrot>,
    keys: Arc<Keys>,
    meters: Meters,
}

fn shop(folder: &Path, parrot: Parrot, change: impl FnOnce(&mut Chain)) -> Shop {
    let mut chain = Chain::new(folder);
    change(&mut chain);
    let (chain, parrot) = (Arc::new(chain), Arc::new(parrot));
    let keys = Arc::new(Keys::open(&folder.join("keys.json"), false).unwrap());
    // 3 tokens of prompt and 10 of answer cost 3 × 100 + 10 × 400.
    let (price, least) = (Price { input: 100_000_000, output: 400_000_000 }, Amount(5));
    let meters = Meters::default();
    let attach = Attach {
        desk: parrot.clone(),
        keys: keys.clone(),
        hooks: Arc::new(Hooks::open(folder.join("webhooks")).unwrap()),
        meters: meters.clone(),
        folder: folder.to_owned(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
        selling: Some(Selling { till: chain.clone(), price, least }),
    };
    Shop { router: router(attach).unwrap().guarded, chain, parrot, keys, meters }
}

const COST: u128 = 4_300;

fn question(more: Value) -> Value {
    let mut body =
        json!({"model": "a/parrot", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10, "seed": null});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> Value {
        let base64 = self.headers.get(name).map(|value| STANDARD.decode(value.as_bytes()).unwrap());
        base64.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap())
    }

    /// Why it is refused, by `PAYMENT-REQUIRED`.
    fn reason(&self) -> String {
        self.header("payment-required")["error"].as_str().unwrap_or("none").to_owned()
    }
}

impl Shop {
    async fn ask(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = Request::post(path).header("host", "sells.example");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_string())).unwrap();
        request.extensions_mut().insert(Caller::Stranger);
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Answer { status, headers, text: String::from_utf8(bytes.into()).unwrap() }
    }

    fn metrics(&self) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        self.meters.register(&mut registry);
        encode(&mut text, &registry).unwrap();
        text
    }

    async fn see(&self, path: &str) -> Value {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        request.extensions_mut().insert(Caller::Stranger);
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap()
    }

    async fn pay(&self, payment: &Value, body: &Value) -> Answer {
        let payment = STANDARD.encode(payment.to_string());
        self.ask("/v1/chat/completions", &[("payment-signature", &payment)], body).await
    }
}

fn asked() -> Requirement {
    Requirement { terms: terms(), amount: COST, orders: 1 }
}

/// One time for all of a test, so that the same authorization is the same a second later.
static BEGUN: std::sync::LazyLock<u64> = std::sync::LazyLock::new(unix);

fn authorization(nonce: u8) -> Authorization {
    let (from, to) = (payer().address(), terms().pay_to);
    let (nonce, valid_before) = (Digest([nonce; 32]), *BEGUN + PAY_WITHIN_S);
    sign(Authorization { from, to, value: COST, valid_after: 0, valid_before, nonce, signature: Signature([0; 65]) })
}

fn sign(unsigned: Authorization) -> Authorization {
    Authorization { signature: payer().sign(&digest(&terms(), &unsigned)), ..unsigned }
}

/// A payment as a client sends it.
fn payment(authorization: &Authorization) -> Value {
    let Authorization { from, to, value, valid_after, valid_before, nonce, signature } = authorization;
    json!({
        "x402Version": 2,
        "accepted": asked().json(),
        "payload": {
            "signature": format!("0x{}", hex::encode(signature.0)),
            "authorization": {
                "from": from.to_string(), "to": to.to_string(), "value": value.to_string(),
                "validAfter": valid_after.to_string(), "validBefore": valid_before.to_string(),
                "nonce": format!("0x{nonce}"),
            },
        },
    })
}

fn encoded(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

#[test]
fn a_payment_is_read_field_by_field() {
    let good = payment(&authorization(1));
    assert_eq!(decode(encoded(&good).as_bytes()).unwrap().authorization, authorization(1));
    let with = |path: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(path).unwrap() = value;
        decode(encoded(&changed).as_bytes())
    };
    let field = |name: &str| format!("/payload/authorization/{name}");
    assert_eq!(with(&field("value"), json!("0x10cc")).unwrap().authorization.value, COST);
    let parity = authorization(1).signature.0[64] - 27;
    let bare = format!("0x{}{parity:02x}", hex::encode(&authorization(1).signature.0[..64]));
    assert_eq!(with("/payload/signature", json!(bare)).unwrap().authorization, authorization(1));
    let cases = [
        ("/x402Version".to_owned(), json!(1), reason::VERSION),
        ("/x402Version".to_owned(), json!("2"), reason::VERSION),
        ("/accepted".to_owned(), Value::Null, reason::PAYLOAD),
        ("/payload".to_owned(), json!([]), reason::PAYLOAD),
        ("/payload".to_owned(), json!({"permit2Authorization": {}}), reason::SCHEME),
        (field("from"), json!("0x12"), reason::PAYLOAD),
        (field("to"), json!(7), reason::PAYLOAD),
        (field("value"), json!(COST), reason::PAYLOAD),
        (field("value"), json!("-1"), reason::PAYLOAD),
        (field("value"), json!("+1"), reason::PAYLOAD),
        (field("value"), json!(""), reason::PAYLOAD),
        (field("value"), json!("340282366920938463463374607431768211456"), reason::PAYLOAD),
        (field("validAfter"), json!("soon"), reason::PAYLOAD),
        (field("validBefore"), Value::Null, reason::PAYLOAD),
        (field("nonce"), json!("7".repeat(64)), reason::PAYLOAD),
        (field("nonce"), json!("0x77"), reason::PAYLOAD),
        ("/payload/signature".to_owned(), json!("0x12"), reason::SIGNATURE),
        ("/payload/signature".to_owned(), json!(format!("0x{}", "6".repeat(300))), reason::SIGNATURE),
    ];
    for (path, value, want) in cases {
        let no = with(&path, value.clone()).expect_err(&path);
        assert_eq!(no.reason, want, "{path} = {value}");
    }
    let long = "A".repeat(PAYMENT_BYTES_MAX + 1);
    for torn in ["", "!", "bm90IGpzb24=", "W10=", long.as_str()] {
        assert!(decode(torn.as_bytes()).is_err(), "{torn}");
    }
}

#[test]
fn no_bytes_break_the_reader_and_no_changed_field_keeps_its_signature() {
    let good = payment(&authorization(1)).to_string().into_bytes();
    for at in 0..good.len() {
        for byte in [0, b'0', b'"', b'}', 0xff, good[at] ^ 1] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let Ok(payment) = decode(STANDARD.encode(&bytes).as_bytes()) else { continue };
            let same = payment.authorization == authorization(1);
            assert!(same || signed(&terms(), &payment.authorization).is_err(), "byte {at} = {byte}");
        }
        assert!(decode(STANDARD.encode(&good[..at]).as_bytes()).is_err(), "cut at {at}");
    }
}

#[test]
fn a_payment_is_what_is_asked_or_names_the_field_that_is_not() {
    let now = 1_000_000;
    let base = Authorization { valid_before: now + PAY_WITHIN_S, ..authorization(1) };
    let fit = |authorization: Authorization, path: &str, value: Value| {
        let mut payment = payment(&authorization);
        if let Some(field) = payment.pointer_mut(path) {
            *field = value;
        }
        let payment = decode(encoded(&payment).as_bytes()).unwrap();
        fits(&asked(), &payment, now).map_err(|no| no.reason)
    };
    let same = |path: &str, value: Value| fit(base, path, value);
    assert_eq!(same("/none", Value::Null), Ok(()));
    assert_eq!(same("/accepted/payTo", json!(terms().pay_to.to_string().to_uppercase().replace("0X", "0x"))), Ok(()));
    let accepted = [
        ("/accepted/scheme", json!("upto"), reason::SCHEME),
        ("/accepted/network", json!("eip155:8"), reason::NETWORK),
        ("/accepted/amount", json!("4299"), reason::REQUIREMENTS),
        ("/accepted/amount", json!("4301"), reason::REQUIREMENTS),
        ("/accepted/asset", json!(terms().pay_to.to_string()), reason::REQUIREMENTS),
        ("/accepted/payTo", json!(terms().asset.to_string()), reason::REQUIREMENTS),
        ("/accepted/maxTimeoutSeconds", json!(1), reason::REQUIREMENTS),
        ("/accepted/extra/name", json!("Other"), reason::REQUIREMENTS),
        ("/accepted/extra/version", json!("1"), reason::REQUIREMENTS),
    ];
    for (path, value, want) in accepted {
        assert_eq!(same(path, value), Err(want), "{path}");
    }
    let signed = [
        (Authorization { to: terms().asset, ..base }, Err(reason::RECIPIENT)),
        (Authorization { value: COST - 1, ..base }, Err(reason::VALUE)),
        (Authorization { value: COST + 1, ..base }, Err(reason::VALUE)),
        (Authorization { valid_after: now, ..base }, Err(reason::VALID_AFTER)),
        (Authorization { valid_after: now - 1, ..base }, Ok(())),
        (Authorization { valid_before: now + SETTLE_ROOM_S - 1, ..base }, Err(reason::VALID_BEFORE)),
        (Authorization { valid_before: now + SETTLE_ROOM_S, ..base }, Ok(())),
        (Authorization { valid_before: now + PAY_WITHIN_S + CLOCKS_S, ..base }, Ok(())),
        (Authorization { valid_before: now + PAY_WITHIN_S + CLOCKS_S + 1, ..base }, Err(reason::VALID_BEFORE)),
        (Authorization { valid_before: u64::MAX, ..base }, Err(reason::VALID_BEFORE)),
    ];
    for (authorization, want) in signed {
        assert_eq!(fit(authorization, "/none", Value::Null), want, "{authorization:?}");
    }
    let other = Terms { separator: Digest([8; 32]), ..terms() };
    assert_eq!(super::check::signed(&terms(), &authorization(1)), Ok(()));
    assert_eq!(super::check::signed(&other, &authorization(1)).unwrap_err().reason, reason::SIGNATURE);
}

#[tokio::test]
async fn a_price_is_told_and_paid_before_the_answer_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(folder.path(), Parrot::default(), |_| ());
    let path = "/v1/chat/completions";
    let no = shop.ask(path, &[("authorization", "Bearer another-service")], &question(json!({}))).await;
    let required = no.header("payment-required");
    assert_eq!((no.status, &required["accepts"]), (402, &json!([asked().json()])), "{}", no.text);
    assert_eq!(required["resource"]["url"], "http://sells.example/v1/chat/completions");
    assert_eq!(serde_json::from_str::<Value>(&no.text).unwrap()["error"]["code"], "payment_required");
    let no = shop.ask("/v1/messages", &[], &question(json!({"seed": null}))).await;
    let said: Value = serde_json::from_str(&no.text).unwrap();
    assert_eq!((no.status, &said["error"]["type"]), (402, &json!("billing_error")), "in its protocol's words");
    assert!(shop.parrot.orders.lock().unwrap().is_empty(), "nothing was computed");

    let answer = shop.pay(&payment(&authorization(1)), &question(json!({}))).await;
    let said: Value = serde_json::from_str(&answer.text).unwrap();
    assert_eq!((answer.status, &said["choices"][0]["message"]["content"]), (200, &json!("Hello")), "{said}");
    let paid = json!({
        "success": true, "transaction": "0xfeed", "network": "eip155:7", "amount": "4300",
        "payer": payer().address().to_string(),
    });
    assert_eq!(answer.header("payment-response"), paid);
    assert_eq!(
        (&said["talkoo"]["price"], &said["talkoo"]["payment"]["transaction"]),
        (&json!("0.004300"), &json!("0xfeed"))
    );
    let stream = shop.pay(&payment(&authorization(2)), &question(json!({"stream": true}))).await;
    assert_eq!((stream.status, stream.header("payment-response")["success"].as_bool()), (200, Some(true)));
    assert!(stream.text.contains("Hel") && stream.text.contains("0xfeed") && stream.text.ends_with("[DONE]\n\n"));
    let seeds: Vec<_> = shop.parrot.orders.lock().unwrap().iter().map(|order| order.seed).collect();
    assert!(seeds[0].is_some() && seeds[0] != seeds[1], "who names no seed has that of his authorization");
    assert_eq!(shop.chain.transfers(), 2);
}

#[tokio::test]
async fn without_an_answer_nothing_is_paid_and_without_payment_nothing_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let silent = || Parrot { says: vec![], fails: true, ..Parrot::default() };
    for stream in [false, true] {
        let shop = shop(folder.path(), silent(), |_| ());
        let answer = shop.pay(&payment(&authorization(1)), &question(json!({"stream": stream}))).await;
        assert_eq!((answer.status, shop.chain.transfers()), (504, 0), "{}", answer.text);
        assert!(answer.headers.get("payment-response").is_none());
    }
    let whole = shop(folder.path(), Parrot { fails: true, ..Parrot::default() }, |_| ());
    let answer = whole.pay(&payment(&authorization(1)), &question(json!({}))).await;
    assert_eq!((answer.status, whole.chain.transfers()), (504, 0), "half an answer is none");
    for stream in [false, true] {
        let refused = Unsettled::Refused("no money".into());
        let shop = shop(folder.path(), Parrot::default(), |chain| chain.ends.lock().unwrap().push(Err(refused)));
        let answer = shop.pay(&payment(&authorization(1)), &question(json!({"stream": stream}))).await;
        let said = answer.header("payment-response");
        assert_eq!((answer.status, answer.reason().as_str()), (402, reason::TRANSACTION));
        assert_eq!((&said["success"], &said["transaction"]), (&json!(false), &json!("")));
        assert!(!answer.text.contains("Hel"), "{}", answer.text);
        let files = std::fs::read_dir(folder.path().join("x402")).unwrap().count();
        assert_eq!(files, 0, "what the chain refused is forgotten");
    }
    let poor = shop(folder.path(), Parrot::default(), |chain| chain.balance = COST - 1);
    let answer = poor.pay(&payment(&authorization(1)), &question(json!({}))).await;
    assert_eq!((answer.status, answer.reason().as_str()), (402, reason::FUNDS));
    let seen = poor.see("/v1/models").await;
    assert_eq!(seen["data"][0]["pricing"], json!({"prompt": "0.0001", "completion": "0.0004"}));
    assert!(poor.parrot.orders.lock().unwrap().is_empty(), "nothing was computed for who cannot pay");
}

#[tokio::test]
async fn nothing_is_computed_for_a_transfer_that_the_chain_would_refuse() {
    let folder = tempfile::tempdir().unwrap();
    for stream in [false, true] {
        let frozen = shop(folder.path(), Parrot::default(), |chain| chain.would_refuse = true);
        let answer = frozen.pay(&payment(&authorization(1)), &question(json!({"stream": stream}))).await;
        assert_eq!((answer.status, answer.reason().as_str()), (402, reason::TRANSACTION));
        assert!(answer.text.contains("frozen"), "{}", answer.text);
        assert!(frozen.parrot.orders.lock().unwrap().is_empty(), "it is asked before anything is computed");
    }
}

#[tokio::test]
async fn an_authorization_buys_one_answer_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let shop = Arc::new(shop(folder.path(), Parrot::default(), |chain| {
        chain.may = Semaphore::new(0);
        chain.balance = 2 * COST - 1;
    }));
    let (paid, body) = (payment(&authorization(1)), question(json!({})));
    let first = tokio::spawn({
        let (shop, paid, body) = (shop.clone(), paid.clone(), body.clone());
        async move { shop.pay(&paid, &body).await }
    });
    // Its transfer is under way.
    until("a transfer is asked for", || !shop.chain.asked.lock().unwrap().is_empty()).await;
    assert_eq!(shop.pay(&paid, &body).await.reason(), reason::PENDING, "twice at once");
    let beside = shop.pay(&payment(&authorization(2)), &body).await;
    assert_eq!(beside.reason(), reason::FUNDS, "the same money does not pay for two");
    shop.chain.may.add_permits(1);
    assert_eq!(first.await.unwrap().status, 200);
    let other = shop.pay(&paid, &question(json!({"max_tokens": 10, "top_p": 0.5}))).await;
    assert_eq!((other.status, other.reason().as_str()), (402, reason::NONCE), "of the same price, another request");
    for _ in 0..REPEATS_MAX {
        let again = shop.pay(&paid, &body).await;
        assert_eq!((again.status, again.header("payment-response")["transaction"].as_str()), (200, Some("0xfeed")));
    }
    assert_eq!(shop.pay(&paid, &body).await.reason(), reason::NONCE, "often enough");
    shop.chain.may.add_permits(1);
    assert_eq!(shop.pay(&payment(&authorization(2)), &body).await.status, 200, "what is paid is not owed");
    let orders = shop.parrot.orders.lock().unwrap();
    let (last, orders) = orders.split_last().unwrap();
    assert_ne!(last.seed, orders[0].seed);
    assert!(orders.iter().all(|order| order.seed == orders[0].seed), "the same answer each time");
    assert_eq!((orders.len(), shop.chain.transfers()), (1 + REPEATS_MAX as usize, 2));
}

/// Lets the others go on until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("not after a minute: {what}"));
}

#[tokio::test]
async fn who_goes_away_pays_nothing_before_his_answer_and_loses_nothing_after() {
    let folder = tempfile::tempdir().unwrap();
    let (paid, body) = (payment(&authorization(1)), question(json!({})));
    let begin = |shop: &Arc<Shop>| {
        let (shop, paid, body) = (shop.clone(), paid.clone(), body.clone());
        tokio::spawn(async move { shop.pay(&paid, &body).await })
    };
    let silent = Arc::new(shop(folder.path(), Parrot { is_silent: true, ..Parrot::default() }, |_| ()));
    let gone = begin(&silent);
    until("the answer is under way", || !silent.parrot.open.lock().unwrap().is_empty()).await;
    gone.abort();
    until("nobody computes it", || silent.parrot.open.lock().unwrap()[0].is_closed()).await;
    assert!(silent.chain.asked.lock().unwrap().is_empty(), "no transfer");

    let shop = Arc::new(shop(folder.path(), Parrot::default(), |chain| chain.may = Semaphore::new(0)));
    let gone = begin(&shop);
    until("a transfer is asked for", || !shop.chain.asked.lock().unwrap().is_empty()).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    shop.chain.may.add_permits(1);
    until("it is noted", || shop.metrics().contains("talkoo_x402_total{outcome=\"paid\"} 1")).await;
    let answer = shop.pay(&paid, &body).await;
    assert_eq!((answer.status, shop.chain.transfers()), (200, 1), "{}", answer.text);
}

#[tokio::test]
async fn what_was_paid_is_answered_after_a_kill_and_a_slow_chain_is_not_paid_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (paid, body) = (payment(&authorization(1)), question(json!({})));
    // The transfer is made, and the node hears nothing of it: as if it were killed in between.
    let dying = shop(folder.path(), Parrot::default(), |chain| {
        chain.is_made = true;
        chain.ends.lock().unwrap().push(Err(Unsettled::Away("the chain is away".into())));
    });
    assert_eq!(dying.pay(&paid, &body).await.reason(), reason::SETTLE);
    let made = dying.chain.made.lock().unwrap().clone();
    let next = shop(folder.path(), Parrot::default(), |chain| *chain.made.lock().unwrap() = made);
    let other = next.pay(&paid, &question(json!({"top_p": 0.5}))).await;
    assert_eq!(other.reason(), reason::NONCE, "it is another's money");
    let answer = next.pay(&paid, &body).await;
    assert_eq!((answer.status, answer.header("payment-response")["transaction"].as_str()), (200, Some("0xfeed")));
    assert!(next.chain.asked.lock().unwrap().is_empty(), "nothing is sent again");

    let (paid, late) = (payment(&authorization(2)), Unsettled::Late("0x1a7e".into()));
    let slow = shop(folder.path(), Parrot::default(), |chain| chain.ends.lock().unwrap().push(Err(late)));
    let no = slow.pay(&paid, &body).await;
    assert_eq!((no.reason().as_str(), no.text.contains("0x1a7e")), (reason::PENDING, true));
    let answer = slow.pay(&paid, &body).await;
    assert_eq!(answer.status, 200);
    let asked = slow.chain.asked.lock().unwrap().clone();
    assert_eq!(asked, [None, Some("0x1a7e".to_owned())], "the one that was sent is waited for");
}

#[tokio::test]
async fn a_nonce_that_was_used_elsewhere_buys_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(folder.path(), Parrot::default(), |_| ());
    let one = authorization(1);
    shop.chain.made.lock().unwrap().push((one.from, one.nonce, "0xe15e".into()));
    let no = shop.pay(&payment(&one), &question(json!({}))).await;
    assert_eq!((no.status, no.reason().as_str()), (402, reason::NONCE));
    let forged = Authorization { from: Address([1; 20]), ..authorization(2) };
    let no = shop.pay(&payment(&forged), &question(json!({}))).await;
    assert_eq!((no.reason().as_str(), shop.chain.transfers()), (reason::SIGNATURE, 1));
}

#[tokio::test]
async fn who_pays_buys_answers_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(folder.path(), Parrot::default(), |_| ());
    let no_payment = |answer: &Answer| answer.headers.get("payment-required").is_none();
    let closed = [
        "/v1/files",
        "/v1/batches",
        "/v1/embeddings",
        "/v1/responses/compact",
        "/v1/messages/count_tokens",
        "/api/chat",
    ];
    for path in closed {
        let answer = shop.ask(path, &[], &question(json!({}))).await;
        assert!(answer.status == 401 && no_payment(&answer), "{path}: {}", answer.status);
    }
    let refused = [
        ("/v1/chat/completions", question(json!({"model": "b"})), 404),
        ("/v1/chat/completions", question(json!({"messages": 7})), 400),
        ("/v1/chat/completions", question(json!({"provider": {"sort": "price"}})), 400),
        ("/v1/chat/completions", question(json!({"service_tier": "priority"})), 400),
        ("/v1/chat/completions", question(json!({"n": 9})), 413),
        ("/v1/completions", json!({"model": "a/parrot", "prompt": vec!["x"; 9]}), 413),
        ("/v1/responses", json!({"model": "a/parrot", "input": "x", "background": true}), 400),
        ("/v1/responses", json!({"model": "a/parrot", "input": "x", "store": true}), 400),
        ("/v1/responses", json!({"model": "a/parrot", "input": "x", "previous_response_id": "resp_1"}), 404),
        ("/v1/chat/completions", question(json!({"user": "x".repeat(1 << 20)})), 413),
    ];
    for (path, body, status) in refused {
        let answer = shop.ask(path, &[], &body).await;
        assert!(answer.status == status && no_payment(&answer), "{path} {status}: {} {}", answer.status, answer.text);
    }
    let (_, secret) = shop.keys.create("friend", None, None).unwrap();
    let answer = shop.ask("/v1/chat/completions", &[("x-api-key", &secret)], &question(json!({}))).await;
    assert_eq!((answer.status, shop.chain.transfers()), (200, 0), "a key goes on as before");
    let answer = shop.ask("/v1/chat/completions", &[("x-api-key", "sk-talkoo-none")], &question(json!({}))).await;
    assert!(answer.status == 401 && no_payment(&answer), "a wrong key is no wallet");
}
