use super::*;
use alloy_consensus::{SignableTransaction, TxEip1559};
use alloy_primitives::{Signature, TxKind, U256};
use talkoo_base::Validator;
use talkoo_ledger::contracts::{Beginning, WINDOW_S};
use talkoo_ledger::{decode_transaction, encode_transaction};

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn genesis() -> GenesisFile {
    let founder = key(1).address();
    let validators = vec![Validator { address: founder, power: 1 }];
    let chain_id = Network::LOCAL_CHAIN_ID;
    GenesisFile::new(Beginning { chain_id, timestamp: 1, validators, founder: founder.0.into(), window_s: WINDOW_S })
}

fn start(dir: &Path) -> Ledger {
    let (genesis, network) = (genesis(), Network::local("test"));
    Ledger::start(Setup { dir, genesis: &genesis, network, validator: Some(key(1)), sponsor: None }).unwrap()
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
    let signature = key(1).sign(&Digest(transaction.signature_hash().0));
    let signed = transaction.into_signed(Signature::from_raw(&signature.0).unwrap());
    decode_transaction(&encode_transaction(&signed.into()), Network::LOCAL_CHAIN_ID).unwrap()
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
        certificate.verify(&genesis().beginning().validators, &network).unwrap();
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
        let seal = Seal { timestamp: 2 + nonce, beneficiary: [3; 20].into(), extra_data: Default::default() };
        let (executed, _) = propose(&head, &disk, &|n| ancestor(&disk, n), seal, [pay(nonce, 7)]).unwrap();
        store.write(&store::record(&executed, Vec::new())).unwrap();
        head = executed.head;
    }
    let (again, saved) = open(&store, &genesis).unwrap();
    assert_eq!((again.hash, saved), (head.hash, 0));
}

#[test]
fn another_networks_chain_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(start(dir.path()));
    let mut beginning = genesis().beginning().clone();
    beginning.timestamp += 1;
    let store = Store::open(&dir.path().join("ledger.redb")).unwrap();
    let error = open(&store, &GenesisFile::new(beginning)).unwrap_err().to_string();
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
