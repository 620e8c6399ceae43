//! The chain in memory, and its rules.

mod contracts;
mod deals;
mod disputes;
mod referee;
mod traces;
mod validators;

use super::*;
use alloy_consensus::{SignableTransaction, TxEip1559, TxEip7702, TxLegacy};
use alloy_eips::eip2930::{AccessList, AccessListItem};
use alloy_eips::eip7702::Authorization;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_trie::proof::verify_proof;
use alloy_trie::{Nibbles, TrieAccount};
use proptest::prelude::*;
use std::collections::BTreeMap;
use talkoo_base::{Digest, SecretKey, Signer};

const CHAIN: u64 = 825_566;
/// `sstore(calldataload(0), calldataload(32))`.
const STORE: [u8; 7] = [0x60, 0x20, 0x35, 0x5f, 0x35, 0x55, 0x00];
const STORE_AT: Address = Address::repeat_byte(0x51);
/// Returns `blockhash(calldataload(0))`.
const HASH_OF: [u8; 9] = [0x5f, 0x35, 0x40, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3];
const HASH_AT: Address = Address::repeat_byte(0x52);

fn key(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n + 1; 32]).unwrap()
}

fn address(n: u8) -> Address {
    Address::from(key(n).node_id().address().0)
}

fn sign<T>(who: u8, transaction: T) -> SignedBy
where
    T: SignableTransaction<Signature>,
    Transaction: From<alloy_consensus::Signed<T>>,
{
    let signature = key(who).sign(&Digest(transaction.signature_hash().0));
    let signature = Signature::from_raw(&signature.0).unwrap();
    let bytes = encode_transaction(&transaction.into_signed(signature).into());
    decode_transaction(&bytes, CHAIN).unwrap()
}

fn plain(nonce: u64, to: Address, value: u64, input: &[u8]) -> TxEip1559 {
    TxEip1559 {
        chain_id: CHAIN,
        nonce,
        gas_limit: 200_000,
        max_fee_per_gas: 1_000_000_000,
        to: TxKind::Call(to),
        value: U256::from(value),
        input: Bytes::copy_from_slice(input),
        ..TxEip1559::default()
    }
}

fn store(nonce: u64, slot: u8, value: u8) -> TxEip1559 {
    let mut input = [0; 64];
    (input[31], input[63]) = (slot, value);
    plain(nonce, STORE_AT, 0, &input)
}

fn genesis() -> Genesis {
    let rich = U256::from(10u64).pow(U256::from(18));
    // The constructor returns the code that stands behind it, and remembers 7 in slot 1.
    let mut creation = vec![0x60, 0x07, 0x60, 0x01, 0x55, 0x60, 0x07, 0x80, 0x60, 0x0f, 0x5f, 0x39, 0x5f, 0xf3, 0x00];
    creation.extend(STORE);
    let contract = |name, address, code| Contract { name, address, code };
    Genesis {
        chain_id: CHAIN,
        timestamp: 1_700_000_000,
        epoch_s: 0,
        extra_data: Bytes::from_static(&[9; 32]),
        balances: (0..4).map(|n| (address(n), rich)).collect(),
        contracts: vec![
            contract("store", STORE_AT, Code::Creation(creation.into())),
            contract("hash", HASH_AT, Code::Runtime(HASH_OF.to_vec().into())),
        ],
    }
}

/// A chain in memory.
struct Chain {
    kv: Memory,
    head: Head,
    hashes: Vec<B256>,
    /// Seconds from the last block to the next.
    later: u64,
}

impl Chain {
    fn new() -> Self {
        Self::of(&genesis())
    }

    fn of(genesis: &Genesis) -> Self {
        let (head, _, writes) = genesis.build().unwrap();
        let mut kv = Memory::default();
        kv.write(writes);
        Self { kv, hashes: vec![head.hash], head, later: 0 }
    }

    fn seal(&self) -> Seal {
        Seal { timestamp: self.head.header.timestamp + self.later, beneficiary: address(9) }
    }

    /// Proposes a block, has it checked from its bytes, and takes it.
    fn extend(&mut self, candidates: Vec<SignedBy>) -> (Executed, Vec<(B256, InvalidTransaction)>) {
        let ancestors = |n: u64| Ok(self.hashes.get(n as usize).copied().unwrap_or_default());
        let (made, refused) = propose(&self.head, &self.kv, &ancestors, self.seal(), candidates).unwrap();
        let block = decode_block(&encode_block(&made.block)).unwrap();
        let checked = apply(&self.head, &self.kv, &ancestors, block).unwrap();
        assert_eq!(
            (checked.head.hash, &checked.receipts, &checked.senders),
            (made.head.hash, &made.receipts, &made.senders)
        );
        self.hashes.push(checked.head.hash);
        self.head = checked.head.clone();
        (checked, refused)
    }

    fn reader<T>(&mut self, ask: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let ancestors = |n: u64| Ok(self.hashes.get(n as usize).copied().unwrap_or_default());
        ask(&mut Reader { head: &mut self.head, kv: &self.kv, ancestors: &ancestors, timestamp: 0 })
    }

    fn slot(&mut self, slot: u8) -> u64 {
        self.reader(|r| r.slot(STORE_AT, U256::from(slot))).unwrap().to()
    }
}

#[test]
fn a_genesis_runs_constructors_where_they_belong() {
    let mut chain = Chain::new();
    let code = chain.reader(|r| r.account(STORE_AT)).unwrap();
    assert_eq!((code.code.as_ref(), code.nonce, chain.slot(1)), (STORE.as_slice(), 1, 7));
    assert_eq!(Chain::new().head.hash, chain.head.hash);
    let other = Genesis { chain_id: 1, timestamp: 1, ..genesis() };
    assert_ne!(other.build().unwrap().0.hash, chain.head.hash);
    // Nobody but those whom the genesis names is there: not even the callers of the constructors.
    for nobody in [Address::ZERO, address(9), revm::handler::SYSTEM_ADDRESS] {
        assert_eq!(chain.reader(|r| r.account(nobody)).unwrap().nonce, 0);
    }
    let mut failing = genesis();
    failing.contracts[0].code = Code::Creation(vec![0xfe].into());
    assert!(matches!(failing.build(), Err(GenesisError::Constructor { name: "store", .. })));
    assert_eq!(
        Genesis { extra_data: vec![0; 33].into(), ..genesis() }.build().err(),
        Some(GenesisError::ExtraData(33))
    );
}

#[test]
fn blocks_move_money_and_tell_what_they_did() {
    let mut chain = Chain::new();
    let legacy = TxLegacy {
        chain_id: Some(CHAIN),
        nonce: 1,
        gas_price: 1_000,
        gas_limit: 21_000,
        to: TxKind::Call(address(3)),
        value: U256::from(5),
        ..TxLegacy::default()
    };
    let candidates =
        vec![sign(0, plain(0, address(2), 77, &[])), sign(0, legacy), sign(1, store(0, 2, 9)), sign(1, store(5, 2, 1))];
    let early = *candidates[3].hash();
    let (executed, refused) = chain.extend(candidates);
    assert!(matches!(&refused[..], [(hash, InvalidTransaction::NonceTooHigh { tx: 5, state: 1 })] if *hash == early));
    assert_eq!(executed.senders, [address(0), address(0), address(1)]);
    assert!(executed.receipts.iter().all(Receipt::status));
    assert_eq!(executed.receipts[1].cumulative_gas_used(), 42_000);
    assert_eq!(chain.slot(2), 9);
    let rich = 10u128.pow(18);
    let balance = |chain: &mut Chain, n| chain.reader(|r| r.account(address(n))).unwrap().balance;
    assert_eq!(balance(&mut chain, 2), U256::from(rich + 77));
    // The base fee is burnt, what a legacy transaction pays above it is a tip.
    assert_eq!(balance(&mut chain, 0), U256::from(rich - 77 - 5 - 21_000 * 7 - 21_000 * 1_000));
    assert_eq!(balance(&mut chain, 9), U256::from(21_000 * (1_000 - 7)));
}

#[test]
fn a_block_that_claims_anything_else_is_refused() {
    let chain = Chain::new();
    let ancestors = |_| Ok(B256::ZERO);
    let candidates = vec![sign(0, plain(0, address(2), 77, &[])), sign(1, store(0, 2, 9))];
    let (made, _) = propose(&chain.head, &chain.kv, &ancestors, chain.seal(), candidates).unwrap();
    type Change = fn(&mut Block);
    let changes: [(&str, Change); 15] = [
        ("parent", |b| b.header.parent_hash.0[0] ^= 1),
        ("number", |b| b.header.number += 1),
        ("base fee", |b| b.header.base_fee_per_gas = Some(8)),
        ("base fee", |b| b.header.base_fee_per_gas = None),
        ("timestamp", |b| b.header.timestamp -= 1),
        ("validators", |b| b.header.extra_data = vec![0; 32].into()),
        ("state root", |b| b.header.state_root.0[0] ^= 1),
        ("receipts root", |b| b.header.receipts_root.0[0] ^= 1),
        ("transactions root", |b| b.header.transactions_root.0[0] ^= 1),
        ("hash", |b| b.header.gas_used += 1),
        ("hash", |b| b.header.logs_bloom.0[0] ^= 1),
        ("hash", |b| b.header.gas_limit += 1),
        ("hash", |b| b.header.mix_hash.0[0] ^= 1),
        ("transaction 1: nonce", |b| b.body.transactions.swap(0, 1)),
        ("ommers", |b| b.body.ommers.push(Header::default())),
    ];
    for (want, change) in changes {
        let mut block = made.block.clone();
        change(&mut block);
        let swapped = want.starts_with("transaction 1");
        if swapped {
            // Two of one sender in the wrong order.
            block.body.transactions[1] = block.body.transactions[0].clone();
        }
        let error = apply(&chain.head, &chain.kv, &ancestors, block).expect_err(want);
        assert!(matches!(error, ApplyError::Invalid(_)) && error.to_string().contains(want), "{want}: {error}");
    }
    apply(&chain.head, &chain.kv, &ancestors, made.block).unwrap();
}

#[test]
fn transactions_that_can_never_stand_in_a_block_are_named() {
    let good = encode_transaction(&sign(0, plain(0, address(2), 1, &[])).into_inner());
    let foreign = {
        let transaction = TxEip1559 { chain_id: 1, ..plain(0, address(2), 1, &[]) };
        let signature = Signature::from_raw(&key(0).sign(&Digest(transaction.signature_hash().0)).0).unwrap();
        encode_transaction(&transaction.into_signed(signature).into())
    };
    let greedy = {
        let transaction = TxEip1559 { gas_limit: TX_GAS_MAX + 1, ..plain(0, address(2), 1, &[]) };
        let signature = Signature::from_raw(&key(0).sign(&Digest(transaction.signature_hash().0)).0).unwrap();
        encode_transaction(&transaction.into_signed(signature).into())
    };
    let malleable = {
        let transaction = plain(0, address(2), 1, &[]);
        let signature = Signature::from_raw(&key(0).sign(&Digest(transaction.signature_hash().0)).0).unwrap();
        let order = U256::from_str_radix("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16);
        let twin = Signature::new(signature.r(), order.unwrap() - signature.s(), !signature.v());
        encode_transaction(&transaction.into_signed(twin).into())
    };
    let cases = [
        (vec![], "rlp"),
        (good[..good.len() - 1].to_vec(), "rlp"),
        ([good.as_slice(), &[0]].concat(), "rlp"),
        (vec![3, 0xc0], "no blobs"),
        (vec![5, 0xc0], "rlp"),
        (vec![2; TX_BYTES_MAX + 1], "oversized"),
        (foreign, "invalid chain id for signer: have 1 want 825566"),
        (greedy, "per-transaction gas limit"),
        (malleable, "invalid sender"),
    ];
    for (bytes, want) in cases {
        let error = decode_transaction(&bytes, CHAIN).expect_err(want).to_string();
        assert!(error.contains(want), "{want}: {error}");
    }
    decode_transaction(&good, CHAIN).unwrap();
}

#[test]
fn calls_change_nothing_and_see_what_they_pretend() {
    let mut chain = Chain::new();
    chain.extend(vec![]);
    chain.extend(vec![]);
    let (first, root) = (chain.hashes[1], chain.head.state.root());
    let data = B256::with_last_byte(1).to_vec().into();
    let ask = Call { to: Some(HASH_AT), data, ..Call::default() };
    let outcome = chain.reader(|r| r.call(&ask, &BTreeMap::new())).unwrap();
    assert!(outcome.success && outcome.output[..] == first[..]);
    // Somebody without money calls with code that is not there.
    let code =
        Override { code: Some(vec![0x5f, 0x54, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xfd].into()), ..Override::default() };
    let code = Override { slots: [(U256::ZERO, U256::from(42))].into(), ..code };
    let call = Call { from: address(77), to: Some(address(5)), ..Call::default() };
    let outcome = chain.reader(|r| r.call(&call, &[(address(5), code)].into())).unwrap();
    assert!(!outcome.success && outcome.halt.is_none());
    assert_eq!(U256::from_be_slice(&outcome.output), U256::from(42));
    let send = Call { from: address(0), to: Some(address(5)), value: U256::from(1), ..Call::default() };
    assert_eq!(chain.reader(|r| r.estimate(&send, &BTreeMap::new())).unwrap(), 21_000);
    let touched = AccessListItem { address: STORE_AT, storage_keys: vec![B256::ZERO] };
    let listed = Call { access_list: AccessList(vec![touched]), ..send.clone() };
    assert_eq!(chain.reader(|r| r.estimate(&listed, &BTreeMap::new())).unwrap(), 21_000 + 2_400 + 1_900);
    let too_much = Call { value: U256::MAX, gas_price: 1, ..send };
    assert!(matches!(chain.reader(|r| r.call(&too_much, &BTreeMap::new())), Err(CallError::Invalid(_))));
    let mut input = [0; 64];
    (input[31], input[63]) = (3, 3);
    let store = Call { from: address(0), to: Some(STORE_AT), data: input.to_vec().into(), ..Call::default() };
    let gas = chain.reader(|r| r.estimate(&store, &BTreeMap::new())).unwrap();
    let exactly = |gas| Call { gas: Some(gas), ..store.clone() };
    assert!(chain.reader(|r| r.call(&exactly(gas), &BTreeMap::new())).unwrap().success);
    assert!(!chain.reader(|r| r.call(&exactly(gas * 97 / 100), &BTreeMap::new())).unwrap().success);
    assert_eq!(chain.head.state.root(), root);
}

#[derive(Clone, Debug)]
enum Step {
    Send(u8, u8, u64),
    Store(u8, u8, u8),
    Block,
    /// What changed goes to disk.
    Save,
    /// As after a restart: everything is read again.
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..4, 0u8..20, 0u64..1000).prop_map(|(a, b, v)| Step::Send(a, b, v)),
        6 => (0u8..4, 0u8..30, 0u8..3).prop_map(|(a, b, v)| Step::Store(a, b, v)),
        4 => Just(Step::Block),
        1 => Just(Step::Save),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// The state that a history leaves is its slots and balances, whenever it was written and read again.
    #[test]
    fn any_history_can_be_proved(steps in prop::collection::vec(step(), 1..80)) {
        let mut chain = Chain::new();
        let (mut waiting, mut nonces, mut slots) = (Vec::new(), [0; 4], BTreeMap::from([(1, 7)]));
        for step in steps {
            match step {
                Step::Send(from, to, value) => {
                    waiting.push(sign(from, plain(nonces[usize::from(from)], address(to), value, &[])));
                    nonces[usize::from(from)] += 1;
                }
                Step::Store(from, slot, value) => {
                    waiting.push(sign(from, store(nonces[usize::from(from)], slot, value)));
                    nonces[usize::from(from)] += 1;
                    slots.insert(slot, u64::from(value));
                }
                Step::Block => {
                    let (_, refused) = chain.extend(std::mem::take(&mut waiting));
                    prop_assert!(refused.is_empty());
                }
                Step::Save | Step::Reopen => {
                    let mut writes = Writes::new();
                    chain.head.state.save(&mut writes);
                    chain.kv.write(writes);
                    if matches!(step, Step::Reopen) {
                        chain.head.state = State::at(chain.head.header.state_root);
                    }
                }
            }
        }
        chain.extend(waiting);
        let root = chain.head.header.state_root;
        let asked: Vec<_> = (0u8..30).map(U256::from).collect();
        let proof = chain.reader(|r| r.proof(STORE_AT, &asked)).unwrap();
        let Account { nonce, balance, code_hash, storage_root, .. } = proof.account;
        let leaf = alloy_rlp::encode(TrieAccount { nonce, balance, storage_root, code_hash });
        let nodes: Vec<Bytes> = proof.nodes.into_iter().map(Bytes::from).collect();
        prop_assert!(verify_proof(root, Nibbles::unpack(keccak256(STORE_AT)), Some(leaf), &nodes).is_ok());
        for (slot, value, nodes) in proof.slots {
            prop_assert_eq!(value.to::<u64>(), slots.get(&slot.to::<u8>()).copied().unwrap_or(0));
            let leaf = (!value.is_zero()).then(|| alloy_rlp::encode(value));
            let nodes: Vec<Bytes> = nodes.into_iter().map(Bytes::from).collect();
            let key = Nibbles::unpack(keccak256(B256::from(slot)));
            prop_assert!(verify_proof(storage_root, key, leaf, &nodes).is_ok());
        }
    }
}

fn standing(nonce: u64) -> Standing {
    Standing { nonce, balance: U256::from(10u64).pow(U256::from(18)) }
}

fn priced(who: u8, nonce: u64, fee: u128, tip: u128) -> SignedBy {
    let plain = plain(nonce, address(2), 1, &[]);
    sign(who, TxEip1559 { max_fee_per_gas: fee, max_priority_fee_per_gas: tip, ..plain })
}

#[test]
fn a_pool_gives_who_tips_most_first_and_keeps_nonces_in_order() {
    let mut pool = Mempool::default();
    for (who, nonce, tip) in [(0, 1, 90), (0, 0, 10), (1, 0, 50), (1, 1, 60), (2, 3, 100)] {
        pool.add(priced(who, nonce, 1_000, tip), standing(0), 7).unwrap();
    }
    let order = |pool: &Mempool| -> Vec<_> {
        pool.best(7).map(|t| (t.signer(), alloy_consensus::Transaction::nonce(&*t))).collect()
    };
    let of = |list: &[(u8, u64)]| -> Vec<_> { list.iter().map(|(who, nonce)| (address(*who), *nonce)).collect() };
    assert_eq!(order(&pool), of(&[(1, 0), (1, 1), (0, 0), (0, 1)]));
    assert_eq!(
        [pool.next_nonce(&address(0)), pool.next_nonce(&address(2)), pool.next_nonce(&address(3))],
        [Some(2), Some(0), None]
    );
    pool.advance(&address(1), 1);
    pool.advance(&address(2), 3);
    assert_eq!(order(&pool), of(&[(2, 3), (1, 1), (0, 0), (0, 1)]));
    // Whoever does not reach the base fee has to wait.
    assert_eq!(pool.best(1_001).count(), 0);
    for (who, nonce) in [(1, 2), (2, 4), (0, 2)] {
        pool.advance(&address(who), nonce);
    }
    assert!(pool.is_empty() && !pool.is_ready());
}

#[test]
fn a_pool_says_why_it_takes_a_transaction_or_not() {
    let mut pool = Mempool::default();
    pool.add(priced(0, 0, 1_000, 100), standing(0), 7).unwrap();
    let poor = Standing { nonce: 0, balance: U256::from(199_999u64 * 1_000) };
    let short = sign(1, TxEip1559 { gas_limit: 20_999, ..plain(0, address(2), 0, &[]) });
    let cases = [
        (priced(0, 0, 1_000, 100), standing(0), "already known"),
        (priced(0, 0, 1_099, 200), standing(0), "replacement transaction underpriced"),
        (priced(0, 0, 2_000, 109), standing(0), "replacement transaction underpriced"),
        (priced(0, 1, 1_000, 0), standing(2), "nonce too low: next nonce 2, tx nonce 1"),
        (priced(0, 2_000, 1_000, 0), standing(2), "nonce too high"),
        (priced(1, 0, 6, 0), standing(0), "transaction underpriced"),
        (priced(1, 0, 1_000, 1_001), standing(0), "higher than max fee"),
        (priced(1, 0, 1_000, 0), poor, "insufficient funds for gas * price + value"),
        (short, standing(0), "intrinsic gas too low: gas 20999, minimum needed 21000"),
    ];
    for (transaction, standing, want) in cases {
        let error = pool.add(transaction, standing, 7).expect_err(want).to_string();
        assert!(error.contains(want), "{want}: {error}");
    }
    let better = priced(0, 0, 1_100, 110);
    let hash = pool.add(better.clone(), standing(0), 7).unwrap();
    assert_eq!((pool.len(), pool.get(&hash)), (1, Some(&better)));
    pool.refuse(&hash);
    assert!(pool.is_empty());
}

#[test]
fn a_full_pool_keeps_who_pays_more_and_nobody_behind_a_gap() {
    let mut pool = Mempool::default();
    for nonce in 0..1_024 {
        pool.add(priced(0, nonce, 1_000, 0), standing(0), 7).unwrap();
    }
    assert_eq!(pool.add(priced(0, 1_024, 1_000, 0), standing(1), 7), Err(PoolError::SenderFull));
    let big = |who: u8, nonce, fee| {
        let transaction = plain(nonce, address(2), 0, &[0; 100_000]);
        sign(who, TxEip1559 { gas_limit: 4_100_000, max_fee_per_gas: fee, ..transaction })
    };
    // One sender has 1 MiB of room, also by replacing small ones; and pays for all of it or for none.
    for nonce in 0..10 {
        pool.add(big(1, nonce, 2_000), standing(0), 7).unwrap();
    }
    assert_eq!(pool.add(big(1, 10, 2_000), standing(0), 7), Err(PoolError::SenderFull));
    assert_eq!(pool.add(big(0, 3, 9_000), standing(0), 7).map(drop), Ok(()));
    let poor = Standing { nonce: 0, balance: U256::from(4_100_000u64 * 5_000) };
    pool.add(big(2, 0, 3_000), poor, 7).unwrap();
    assert!(matches!(pool.add(big(2, 1, 3_000), poor, 7), Err(PoolError::Funds { .. })));
    // Strangers who can never run, at a huge fee, fill all that is left …
    let mut jams = 0;
    for who in 3..90 {
        for nonce in 1..11 {
            jams += u32::from(pool.add(big(who, nonce, 1_000_000), standing(0), 7).is_ok());
        }
    }
    assert!(jams > 600 && pool.bytes() <= 64 << 20, "{jams}, {} bytes", pool.bytes());
    // … and make way for anybody who can, whatever he bids.
    let modest = pool.add(big(91, 0, 10), standing(0), 7).unwrap();
    assert!(pool.get(&modest).is_some());
}

#[test]
fn the_next_blocks_fee_chooses_who_goes_into_it() {
    let mut chain = Chain::new();
    // A full block before: the next one asks for more than it did.
    let full = std::sync::Arc::make_mut(&mut chain.head.header);
    full.gas_used = full.gas_limit;
    let fee = next_base_fee(&chain.head.header);
    let mut pool = Mempool::default();
    for (who, fee) in [(0, fee - 1), (1, fee)] {
        pool.add(priced(who, 0, fee.into(), 0), standing(0), 7).unwrap();
    }
    let chosen: Vec<_> = pool.best(fee.into()).collect();
    let (executed, refused) = propose(&chain.head, &chain.kv, &|_| Ok(B256::ZERO), chain.seal(), chosen).unwrap();
    assert_eq!((executed.senders, executed.block.header.base_fee_per_gas), (vec![address(1)], Some(fee)));
    assert!(refused.is_empty() && fee > 7);
}

#[test]
fn who_let_another_act_for_him_offers_no_used_nonces() {
    let mut chain = Chain::new();
    let allowed = Authorization { chain_id: U256::from(CHAIN), address: STORE_AT, nonce: 0 };
    let signature = Signature::from_raw(&key(1).sign(&Digest(allowed.signature_hash().0)).0).unwrap();
    let act = TxEip7702 {
        chain_id: CHAIN,
        gas_limit: 200_000,
        max_fee_per_gas: 1_000,
        to: address(1),
        authorization_list: vec![allowed.into_signed(signature)],
        ..TxEip7702::default()
    };
    let mut pool = Mempool::default();
    for (nonce, tip) in [(0, 1), (1, 2)] {
        pool.add(priced(1, nonce, 1_000, tip), standing(0), 7).unwrap();
    }
    let (executed, _) = chain.extend(vec![sign(0, act)]);
    assert_eq!(executed.senders, [address(0)]);
    executed.nonces.iter().for_each(|(account, next)| pool.advance(account, *next));
    let (next, refused) = chain.extend(pool.best(7).collect());
    assert_eq!((next.senders.len(), refused.len(), pool.len()), (1, 0, 1));
}
