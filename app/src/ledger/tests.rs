mod validators;

use super::*;
use alloy_consensus::TxEip1559;
use alloy_primitives::{Bytes, TxKind, U256};
use alloy_sol_types::SolCall;
use talkoo_base::Certificate;
use talkoo_ledger::Call;
use talkoo_ledger::contracts::{ANSWER_S, BEACON_S, Beginning, EPOCH_S, Staker, WINDOW_S};
use talkoo_ledger::{Seal, decode_transaction, propose};

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn genesis() -> GenesisFile {
    let founder = key(1).address();
    let chain_id = Network::LOCAL_CHAIN_ID;
    GenesisFile::checked(Beginning {
        chain_id,
        timestamp: 1,
        stakers: vec![Staker::own(founder, 1)],
        founder: founder.0.into(),
        window_s: WINDOW_S,
        answer_s: ANSWER_S,
        epoch_s: EPOCH_S,
        beacon_s: BEACON_S,
    })
    .unwrap()
}

fn start(dir: &Path) -> Ledger {
    let (genesis, network) = (genesis(), Network::local("test"));
    let post = Box::new(|_, _| ());
    Ledger::start(Setup { dir, genesis: &genesis, network, key: key(1), pays: key(1), post, fatal: Box::new(|| ()) })
        .unwrap()
}

fn pay(nonce: u64, value: u64) -> SignedBy {
    let transaction = TxEip1559 {
        chain_id: Network::LOCAL_CHAIN_ID,
        nonce,
        gas_limit: 21_000,
        max_fee_per_gas: 1_000,
        to: TxKind::Call([9; 20].into()),
        value: U256::from(value),
        ..TxEip1559::default()
    };
    decode_transaction(&rpc::signed(transaction, &key(1)), Network::LOCAL_CHAIN_ID).unwrap()
}

fn balance(chain: &dyn Chain) -> U256 {
    chain.view().read(0, |reader| reader.account([9; 20].into())).unwrap().balance
}

/// Waits until so many transactions stand in blocks; the channel's own end is the deadline's.
fn until(news: &mut broadcast::Receiver<Arc<Executed>>, mut count: usize) {
    while count > 0 {
        count -= news.blocking_recv().expect("the thread goes on").block.body.transactions.len();
    }
}

#[test]
fn a_chain_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut ledger = start(dir.path());
    let chain = ledger.chain();
    let mut news = chain.blocks();
    for nonce in 0..10 {
        chain.submit(pay(nonce, 5)).unwrap();
    }
    until(&mut news, 10);
    assert_eq!(balance(&*chain), U256::from(50));
    let head = chain.view().head.hash;
    ledger.end();
    drop((ledger, chain));
    let ledger = start(dir.path());
    let chain = ledger.chain();
    assert_eq!((chain.view().head.hash, balance(&*chain)), (head, U256::from(50)));
    let mut news = chain.blocks();
    assert!(chain.submit(pay(9, 5)).is_err());
    chain.submit(pay(10, 5)).unwrap();
    until(&mut news, 1);
    assert_eq!(balance(&*chain), U256::from(55));
    // Every block has a certificate of the validators.
    let view = chain.view();
    let network = Network::local("test");
    for number in 1..=view.head.header.number {
        let bytes = store::certificate(&*view.kv, number).unwrap().unwrap();
        let certificate: Certificate = talkoo_base::wire::decode(&bytes).unwrap();
        assert_eq!(certificate.block.0, view.hash(number).unwrap().0);
        certificate.verify(&genesis().beginning().validators(), &network).unwrap();
    }
}

#[test]
fn a_state_that_was_not_written_is_executed_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, genesis) = (Store::open(&dir.path().join("ledger.redb")).unwrap(), genesis());
    let (head, saved) = open(&store, &genesis).unwrap();
    assert_eq!(saved, 0);
    // Blocks are recorded as the thread does, but the state never.
    let mut head = head;
    for nonce in 0..5 {
        let disk = Disk(store.snapshot().unwrap());
        let seal = Seal { timestamp: 2 + nonce, beneficiary: [3; 20].into() };
        let (executed, _) = propose(&head, &disk, &|n| ancestor(&disk, n), seal, [pay(nonce, 7)]).unwrap();
        store.write(&store::record(&executed, Vec::new())).unwrap();
        head = executed.head;
    }
    let (again, saved) = open(&store, &genesis).unwrap();
    assert_eq!((again.hash, saved), (head.hash, 0));
}

#[test]
fn a_peer_may_ask_for_starter_credit_every_day() {
    let (mut askers, [one, other]) = (sponsor::Askers::default(), [key(1).node_id(), key(2).node_id()]);
    let mut count = |peer, unix| (0..20).filter(|_| askers.may(peer, unix)).count();
    assert_eq!([count(one, 86_399), count(one, 86_000), count(other, 86_000), count(one, 86_400)], [8, 0, 8, 8]);
}

#[test]
fn an_account_gets_starter_credit_once_whoever_is_asked_how_often() {
    use talkoo_ledger::bindings::IToken;
    use talkoo_ledger::contracts::{CREDIT_AT, STARTER_CREDIT};
    let (mesh, owner) = (Mesh::new(3), Address::from(key(50).address().0));
    let node = |n: u8| Address::from(key(60 + n).address().0);
    // Each validator is asked again before the first gift is mined; a second node of the same owner gets gas.
    for n in (0..3).cycle().take(9) {
        mesh.chain(n).sponsor(owner, node(0)).unwrap();
        mesh.chain(n).sponsor(owner, node(1)).unwrap();
    }
    let deadline = Instant::now() + SETTLE_WAIT;
    let waits = |n: u8| {
        let mut waits = false;
        mesh.chain(n).pool(&mut |_, _| {
            waits = true;
            false
        });
        waits
    };
    let balance = |n: u8| {
        let asked = IToken::balanceOfCall { account: owner };
        let call = Call { to: Some(CREDIT_AT), data: asked.abi_encode().into(), ..Call::default() };
        mesh.chain(n).view().read(0, |reader| reader.call(&call, &BTreeMap::new())).unwrap().output
    };
    let one = Bytes::from(U256::from(STARTER_CREDIT).to_be_bytes::<32>());
    while (0..3).any(|n| waits(n) || balance(n) != one) {
        assert!(
            Instant::now() < deadline,
            "it has {:?}, and {:?} wait",
            balance(0),
            (0..3).map(waits).collect::<Vec<_>>()
        );
        std::thread::yield_now();
    }
    let has_gas = |n| !mesh.chain(0).view().read(0, |reader| reader.account(node(n))).unwrap().balance.is_zero();
    assert!(has_gas(0) && has_gas(1));
    assert!(mesh.chain(0).sponsor(owner, node(0)).unwrap().is_empty(), "nothing is wanted");
}

#[test]
fn another_networks_chain_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(start(dir.path()));
    let mut beginning = genesis().beginning().clone();
    beginning.timestamp += 1;
    let store = Store::open(&dir.path().join("ledger.redb")).unwrap();
    let error = open(&store, &GenesisFile::checked(beginning).unwrap()).unwrap_err().to_string();
    assert!(error.contains("another network's"), "{error}");
}

#[test]
fn a_genesis_file_is_written_once_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("genesis.json");
    let first = GenesisFile::open(&path, || genesis().beginning().clone()).unwrap();
    let second = GenesisFile::open(&path, || panic!("it is there")).unwrap();
    assert_eq!(first, second);
    for bad in ["", "{}", "{\"validators\":[{}]}", "[]"] {
        std::fs::write(&path, bad).unwrap();
        let error = GenesisFile::open(&path, || panic!("it is there")).unwrap_err().to_string();
        assert!(error.contains("is no genesis"), "{error}");
    }
}

/// A chain with its RPC on a real socket, as a node has them.
struct Network1 {
    ledger: Ledger,
    url: String,
    stop: tokio_util::sync::CancellationToken,
    _runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

fn served() -> Network1 {
    let dir = tempfile::tempdir().unwrap();
    let mut beginning = genesis().beginning().clone();
    beginning.window_s = 0;
    let (genesis, network) = (GenesisFile::checked(beginning).unwrap(), Network::local("test"));
    let setup = Setup {
        dir: dir.path(),
        genesis: &genesis,
        network,
        key: key(1),
        pays: key(1),
        post: Box::new(|_, _| ()),
        fatal: Box::new(|| ()),
    };
    let ledger = Ledger::start(setup).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let attach = talkoo_api::eth::RpcAttach {
        addr: ([127, 0, 0, 1], 0).into(),
        chain: ledger.chain(),
        network_name: "test".into(),
        stop: stop.clone(),
    };
    let server = runtime.block_on(talkoo_api::eth::Rpc::bind(attach)).unwrap();
    let url = format!("http://{}", server.addr);
    runtime.spawn(server.serve());
    Network1 { ledger, url, stop, _runtime: runtime, _dir: dir }
}

impl Drop for Network1 {
    fn drop(&mut self) {
        self.stop.cancel();
        self.ledger.end();
    }
}

/// A node's treasury, with a file for its channels; owner and node have keys of their own.
fn treasury_at(url: &str, number: u8, channels: &Path) -> (Treasury, std::sync::mpsc::Receiver<News>) {
    let (network, owner, node) = (Network::local("test"), Arc::new(key(number)), Arc::new(key(number + 1)));
    let body = talkoo_base::Delegation {
        owner: owner.address(),
        node: node.address(),
        roles: talkoo_base::Delegation::ALL_ROLES,
        expiry: talkoo_base::Unix(u64::from(u32::MAX)),
    };
    let delegation = talkoo_base::Signed::new(body, &network, owner.as_ref());
    let (sender, news) = std::sync::mpsc::channel();
    let (place, channels) = (Place::ours(url), channels.to_owned());
    let (owner, owner_key) = (key(number).address(), Some(key(number)));
    let setup = TreasurySetup { place, gas_worth: None, channels, network, node, owner, owner_key, delegation };
    let tell = move |one| {
        // The test may have ended.
        sender.send(one).ok();
    };
    (Treasury::start(setup, tell).unwrap(), news)
}

fn treasury(url: &str, number: u8) -> (Treasury, std::sync::mpsc::Receiver<News>) {
    treasury_at(url, number, Path::new("/dev/null"))
}

fn settled(treasury: &Treasury) {
    let (done, wait) = std::sync::mpsc::channel();
    treasury.tell(Command::Settle(done));
    wait.recv_timeout(SETTLE_WAIT).expect("the ledger takes the claims");
}

#[test]
fn money_goes_from_a_client_to_a_worker_and_survives_what_is_killed() {
    use talkoo_base::{Amount, Voucher};
    use talkoo_ledger::bindings::{ISettlement, IToken};
    use talkoo_ledger::contracts::{CREDIT_AT, SETTLEMENT_AT};
    let net = served();
    let (network, rpc) = (Network::local("test"), Rpc::new(&net.url));
    let dir = tempfile::tempdir().unwrap();
    let channels = dir.path().join("channels");
    let (mut client, _) = treasury_at(&net.url, 10, &channels);
    let (mut worker, news) = treasury(&net.url, 20);
    let (payer, client_key) = (key(10).address(), key(11));
    let config = talkoo_proof::channel(&network, payer, client_key.address(), key(20).address(), key(21).address());
    let client_id = client_key.node_id();
    worker.tell(Command::Channel(talkoo_proof::Channel::Watch { client: client_id, config: config.clone() }));
    client.tell(Command::Channel(talkoo_proof::Channel::Fund { config: config.clone(), need: Amount(30_000) }));
    let told = |want: u128| {
        let deadline = std::time::Instant::now() + SETTLE_WAIT;
        while std::time::Instant::now() < deadline {
            let told = news.recv_timeout(SETTLE_WAIT).expect("the worker hears of it");
            if told == (News::Funds { client: client_id, balance: Amount(want) }) {
                return;
            }
        }
        panic!("the worker never heard of {want}");
    };
    told(60_000);
    // Less than what is there asks for nothing; more is topped up, twice what is missing.
    client.tell(Command::Channel(talkoo_proof::Channel::Fund { config: config.clone(), need: Amount(50_000) }));
    client.tell(Command::Channel(talkoo_proof::Channel::Fund { config: config.clone(), need: Amount(65_000) }));
    told(70_000);

    let voucher = |total: u128| {
        let body = Voucher { channel: config.id(&network), max_claimable: Amount(total) };
        talkoo_base::wire::Sealed::from(&talkoo_base::Signed::new(body, &network, &client_key))
    };
    let has = |who: SecretKey| -> u64 {
        rpc.call(CREDIT_AT, &IToken::balanceOfCall { account: who.address().0.into() }).unwrap().to()
    };
    assert_eq!((has(key(10)), has(key(20))), (10_000_000 - 70_000, 10_000_000));
    worker.tell(Command::Earned { config: config.clone(), voucher: voucher(40_000) });
    // What the chain refuses, here for it names another signer, keeps nothing else from being claimed.
    let mut other = config.clone();
    other.payer_authorizer = key(99).address();
    let deposit = talkoo_proof::Channel::Fund { config: other.clone(), need: Amount(10_000) };
    client.tell(Command::Channel(deposit));
    let deadline = std::time::Instant::now() + SETTLE_WAIT;
    let channel = ISettlement::channelsCall { channelId: other.id(&network).0.into() };
    while rpc.call(SETTLEMENT_AT, &channel).unwrap().balance == 0 {
        assert!(std::time::Instant::now() < deadline, "the deposit does not come");
        std::thread::yield_now();
    }
    let body = Voucher { channel: other.id(&network), max_claimable: Amount(5_000) };
    let bad = talkoo_base::wire::Sealed::from(&talkoo_base::Signed::new(body, &network, &client_key));
    worker.tell(Command::Earned { config: other, voucher: bad });
    settled(&worker);
    assert_eq!(has(key(20)), 10_040_000);
    // The client closes, after a restart: what it promised stays, the rest leaves and counts no more, orders pay anew.
    client.end();
    let (client, _) = treasury_at(&net.url, 10, &channels);
    let (done, wait) = std::sync::mpsc::channel();
    client.tell(Command::Promised([(key(21).address(), 40_000)].into(), Some(done)));
    wait.recv_timeout(SETTLE_WAIT).expect("the chain hears of it");
    told(40_000);
    client.tell(Command::Channel(talkoo_proof::Channel::Fund { config: config.clone(), need: Amount(45_000) }));
    told(50_000);
    // Killed and started again, it hears of the same voucher from the journal: nothing is paid twice.
    worker.end();
    let (worker, _) = treasury(&net.url, 20);
    worker.tell(Command::Earned { config: config.clone(), voucher: voucher(40_000) });
    settled(&worker);
    assert_eq!(has(key(20)), 10_040_000);
    // A promise above the deposit is worth the deposit, also what would have left.
    worker.tell(Command::Earned { config: config.clone(), voucher: voucher(90_000) });
    settled(&worker);
    assert_eq!(has(key(20)), 10_080_000);
    let supply: u64 = rpc.call(CREDIT_AT, &IToken::totalSupplyCall {}).unwrap().to();
    let refused: u64 = rpc.call(CREDIT_AT, &IToken::balanceOfCall { account: SETTLEMENT_AT }).unwrap().to();
    assert_eq!((refused, supply), (20_000, has(key(10)) + has(key(20)) + refused));
}

#[test]
fn a_client_hears_what_its_workers_have_at_stake() {
    use talkoo_base::Amount;
    use talkoo_ledger::bindings::IStaking;
    use talkoo_ledger::contracts::{STAKING_AT, VALIDATOR_BOND_MIN};
    let net = served();
    let (network, rpc, operator) = (Network::local("test"), Rpc::new(&net.url), key(1).address());
    let (client, news) = treasury(&net.url, 10);
    let config = talkoo_proof::channel(&network, key(10).address(), key(11).address(), operator, key(21).address());
    client.tell(Command::Channel(talkoo_proof::Channel::Fund { config, need: Amount(1_000) }));
    let told = || news.recv_timeout(SETTLE_WAIT).expect("the bond is told");
    assert_eq!(told(), News::Bond { operator, bond: Amount(VALIDATOR_BOND_MIN) });
    // What is on its way out is no stake.
    let hash = rpc.send(&key(1), STAKING_AT, &IStaking::unbondCall { amount: 1_000 }).unwrap();
    rpc.wait(hash).unwrap();
    assert_eq!(told(), News::Bond { operator, bond: Amount(VALIDATOR_BOND_MIN - 1_000) });
}

/// A server that gives these answers, one after the other.
fn scripted(answers: &'static [&'static str]) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"}") {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).unwrap();
                assert_ne!(count, 0, "the question broke off");
                seen.extend_from_slice(&piece[..count]);
            }
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json";
            write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len()).unwrap();
        }
    });
    url
}

#[test]
fn a_server_that_refuses_to_say_how_it_stands_refused_nothing() {
    let refused = r#"{"id":1,"jsonrpc":"2.0","error":{"code":-32005,"message":"too many questions"}}"#;
    let stands = r#"{"id":1,"jsonrpc":"2.0","result":{"blockNumber":"0x7","gasUsed":"0x5208","status":"0x1"}}"#;
    let failed = r#"{"id":1,"jsonrpc":"2.0","result":{"blockNumber":"0x7","gasUsed":"0x5208","status":"0x0"}}"#;
    let hash = alloy_primitives::B256::repeat_byte(5);
    let rpc = Rpc::new(&scripted(Vec::leak(vec![refused, refused, stands])));
    assert_eq!(rpc.wait(hash).map(|included| included.block), Ok(7));
    let rpc = Rpc::new(&scripted(Vec::leak(vec![refused, failed])));
    assert_eq!(rpc.wait(hash), Err(RpcError::Reverted(hash)));
}

#[tokio::test]
async fn a_payment_is_tried_with_the_node_s_gas_before_anything_is_computed() {
    use talkoo_base::{Amount, Digest, Price, RefusalCode};
    let result = |value: &str| format!(r#"{{"id":1,"jsonrpc":"2.0","result":"{value}"}}"#);
    let word = |value: u8| result(&format!("0x{value:064x}"));
    let frozen = r#"{"id":1,"jsonrpc":"2.0","error":{"code":3,"message":"frozen"}}"#.to_owned();
    let look = async |answers: Vec<String>| {
        let answers: Vec<&'static str> = answers.into_iter().map(|answer| &*String::leak(answer)).collect();
        let place = Place::ours(&scripted(Vec::leak(answers)));
        let price = Price { input: 1, output: 1 };
        let selling = NodeTill::selling(((price, Amount(1)), &place), &Arc::new(key(1)), key(2).address());
        let signature = key(3).sign(&Digest([1; 32]));
        let (from, to, nonce) = (key(3).address(), key(2).address(), Digest([2; 32]));
        let paid =
            talkoo_inference::Authorization { from, to, value: 5, valid_after: 0, valid_before: 9, nonce, signature };
        selling.till.look(paid).await
    };
    // 5/4 of 40 gas at twice 7 and a tip of 1.
    let needs = |wei: &str| vec![result(wei), result("0x28"), result("0x7"), result("0x1")];
    let rest = || [result("0x5"), word(0), word(6)];
    assert_eq!(look(needs("0x2ed")).await.unwrap_err().code, RefusalCode::NotProviding, "one wei is missing");
    let seen = look([needs("0x2ee"), rest().to_vec()].concat()).await.unwrap();
    assert_eq!((seen.balance, seen.is_used, seen.block, seen.refusal), (6, false, 5, None));
    let seen = look([vec![result("0x2ee"), frozen], rest().to_vec()].concat()).await.unwrap();
    assert!(seen.refusal.unwrap().contains("frozen"));
}

#[test]
fn a_ledger_that_is_not_there_is_said_and_waited_for() {
    let rpc = Rpc::new("http://127.0.0.1:9");
    let error = rpc.number("eth_blockNumber", &serde_json::json!([])).unwrap_err();
    assert!(error.to_string().contains("http://127.0.0.1:9 gives no answer"), "{error}");
    let (mut treasury, _) = treasury("http://127.0.0.1:9", 30);
    treasury.end();
}

/// Several validators in one process: real threads, disks and signatures, messages by hand.
struct Mesh {
    genesis: GenesisFile,
    dirs: Vec<tempfile::TempDir>,
    ledgers: Arc<Vec<Mutex<Option<Ledger>>>>,
}

impl Mesh {
    fn new(count: u8) -> Self {
        let mut beginning = genesis().beginning().clone();
        beginning.stakers = (1..=count).map(|n| Staker::own(key(n).address(), 1)).collect();
        Self::of(GenesisFile::checked(beginning).unwrap(), count)
    }

    /// The first so many nodes of a network.
    fn of(genesis: GenesisFile, count: u8) -> Self {
        let ledgers = Arc::new((0..count).map(|_| Mutex::new(None)).collect::<Vec<_>>());
        let dirs = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let mesh = Self { genesis, dirs, ledgers };
        (0..count).for_each(|n| mesh.start(n));
        mesh
    }

    fn start(&self, n: u8) {
        let (all, from) = (Arc::downgrade(&self.ledgers), key(n + 1).node_id());
        let post = Box::new(move |to: NodeId, bytes: Vec<u8>| {
            let Some(all) = all.upgrade() else { return };
            let there = (0..).zip(all.iter()).find(|(n, _)| key(n + 1).node_id() == to);
            // Who is stopped hears nothing; nobody waits for whoever is being stopped.
            if let Some(Ok(slot)) = there.map(|(_, slot)| slot.try_lock())
                && let Some(ledger) = &*slot
            {
                ledger.hear(from, &bytes).expect("it is about the chain").expect("it is well formed");
            }
        });
        let (dir, network) = (self.dirs[usize::from(n)].path(), Network::local("test"));
        let setup = Setup {
            dir,
            genesis: &self.genesis,
            network,
            key: key(n + 1),
            pays: key(n + 1),
            post,
            fatal: Box::new(|| ()),
        };
        let ledger = Ledger::start(setup).unwrap();
        let mut others = Vec::new();
        for (m, slot) in (0..).zip(self.ledgers.iter()) {
            if let Some(other) = &*lock(slot) {
                other.peer(from, true);
                others.push(key(m + 1).node_id());
            }
        }
        others.into_iter().for_each(|other| ledger.peer(other, true));
        *lock(&self.ledgers[usize::from(n)]) = Some(ledger);
    }

    fn stop(&self, n: u8) {
        let gone = lock(&self.ledgers[usize::from(n)]).take();
        for slot in self.ledgers.iter() {
            lock(slot).iter().for_each(|other| other.peer(key(n + 1).node_id(), false));
        }
        drop(gone);
    }

    fn chain(&self, n: u8) -> Arc<dyn Chain> {
        lock(&self.ledgers[usize::from(n)]).as_ref().expect("it runs").chain()
    }

    /// Waits until node `n` has made `value` of payments final.
    fn until(&self, n: u8, value: u64) {
        let (chain, deadline) = (self.chain(n), Instant::now() + SETTLE_WAIT);
        let mut news = chain.blocks();
        while balance(&*chain) < U256::from(value) {
            assert!(Instant::now() < deadline, "node {n} has {} of {value}", balance(&*chain));
            // A block, or nothing for a while: the deadline is above.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                tokio::time::timeout(std::time::Duration::from_millis(200), news.recv()).await.ok();
            });
        }
    }
}

#[test]
fn four_validators_agree_and_outlive_one_of_them() {
    let mesh = Mesh::new(4);
    mesh.chain(1).submit(pay(0, 5)).unwrap();
    (0..4).for_each(|n| mesh.until(n, 5));
    mesh.stop(3);
    for nonce in 1..6 {
        mesh.chain(0).submit(pay(nonce, 5)).unwrap();
        (0..3).for_each(|n| mesh.until(n, 5 * (nonce + 1)));
    }
    // It comes back, hears what it missed, and takes part again: then another may be away.
    mesh.start(3);
    mesh.until(3, 30);
    mesh.stop(0);
    mesh.chain(2).submit(pay(6, 5)).unwrap();
    (1..4).for_each(|n| mesh.until(n, 35));
    let heads: Vec<_> = (1..4).map(|n| mesh.chain(n).view().head.hash).collect();
    assert!(heads.iter().all(|head| *head == heads[0]), "{heads:?}");
    let (view, network) = (mesh.chain(1).view(), Network::local("test"));
    for number in 1..=view.head.header.number {
        let bytes = store::certificate(&*view.kv, number).unwrap().unwrap();
        let certificate: Certificate = talkoo_base::wire::decode(&bytes).unwrap();
        certificate.verify(&mesh.genesis.beginning().validators(), &network).unwrap();
    }
    // Two of four decide nothing, and lose nothing: with a third it goes on.
    mesh.stop(1);
    mesh.chain(2).submit(pay(7, 5)).unwrap();
    mesh.start(1);
    (1..4).for_each(|n| mesh.until(n, 40));
}
