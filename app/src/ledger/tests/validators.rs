//! Validators that come and go by stake, over restarts, and one that votes twice.

use super::{Mesh, balance, key, lock, pay};
use crate::ledger::rpc::signed;
use crate::ledger::{Chain, GenesisFile, set_validator_key};
use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, TxKind, U256};
use alloy_sol_types::SolCall;
use std::collections::BTreeMap;
use talkoo_api::eth::View;
use talkoo_base::wire::Typed;
use talkoo_base::{Certificate, Digest, Network, Signer, Validator, Vote, VoteKind, validators_hash};
use talkoo_chain::{Message, SignedVote};
use talkoo_ledger::bindings::{IStaking, IToken};
use talkoo_ledger::contracts::{Beginning, STAKING_AT, Staker, TOKEN_AT, VALIDATE, VALIDATOR_BOND_MIN};
use talkoo_ledger::light::{Handover, Trusted};
use talkoo_ledger::{Call, Header, decode_transaction, store};

fn address(n: u8) -> Address {
    key(n).address().0.into()
}

/// A call of key `n`, sent to `chain`.
fn act<C: SolCall>(chain: &dyn Chain, n: u8, to: Address, call: &C) {
    let used = chain.view().read(0, |reader| reader.account(address(n))).unwrap().nonce;
    let transaction = TxEip1559 {
        chain_id: Network::LOCAL_CHAIN_ID,
        nonce: chain.next_nonce(&address(n)).unwrap_or(used),
        gas_limit: 1_000_000,
        max_fee_per_gas: 1_000,
        to: TxKind::Call(to),
        input: call.abi_encode().into(),
        ..TxEip1559::default()
    };
    chain.submit(decode_transaction(&signed(transaction, &key(n)), Network::LOCAL_CHAIN_ID).unwrap()).unwrap();
}

fn stake(chain: &dyn Chain, n: u8) -> IStaking::stakesReturn {
    let call = IStaking::stakesCall { operator: address(n) };
    let asked = Call { to: Some(STAKING_AT), data: call.abi_encode().into(), ..Call::default() };
    let outcome = chain.view().read(0, |reader| reader.call(&asked, &BTreeMap::new())).unwrap();
    IStaking::stakesCall::abi_decode_returns(&outcome.output).unwrap()
}

fn of(validators: &[(u8, u64)]) -> Vec<Validator> {
    let one = |(n, power): &(u8, u64)| Validator { address: key(*n).address(), power: *power };
    validators.iter().map(one).collect()
}

/// Validators with an epoch of one second, of which the first so many run.
fn mesh(count: u8, running: u8) -> Mesh {
    let mut beginning = super::genesis().beginning().clone();
    beginning.stakers = (1..=count).map(|n| Staker::own(key(n).address(), 1)).collect();
    beginning.epoch_s = 1;
    Mesh::of(GenesisFile::checked(beginning).unwrap(), running)
}

/// Pays through node `n` until it knows that these decide the next block.
fn until_named(mesh: &Mesh, n: u8, paid: &mut u64, validators: &[(u8, u64)]) {
    let want = validators_hash(&of(validators));
    while mesh.chain(n).view().head.header.extra_data[..] != want.0[..] {
        one_more(mesh, &[n], paid);
    }
}

/// One more payment, final on these nodes.
fn one_more(mesh: &Mesh, nodes: &[u8], paid: &mut u64) {
    let chain = mesh.chain(nodes[0]);
    let used = chain.view().read(0, |reader| reader.account(address(1))).unwrap().nonce;
    let nonce = chain.next_nonce(&address(1)).unwrap_or(used);
    chain.submit(pay(nonce, 5)).unwrap();
    *paid += 5;
    nodes.iter().for_each(|n| mesh.until(*n, *paid));
}

#[test]
fn validators_follow_the_stakes_over_restarts() {
    let (mesh, mut paid) = (mesh(2, 3), 0);
    // The third bonds three times as much, the second leaves.
    let chain = mesh.chain(0);
    let bond = 3 * VALIDATOR_BOND_MIN;
    act(&*chain, 1, TOKEN_AT, &IToken::transferCall { to: address(3), value: U256::from(bond) });
    let gas = TxEip1559 {
        chain_id: Network::LOCAL_CHAIN_ID,
        nonce: chain.next_nonce(&address(1)).unwrap(),
        gas_limit: 21_000,
        max_fee_per_gas: 1_000,
        to: TxKind::Call(address(3)),
        value: U256::from(10u64.pow(18)),
        ..TxEip1559::default()
    };
    chain.submit(decode_transaction(&signed(gas, &key(1)), Network::LOCAL_CHAIN_ID).unwrap()).unwrap();
    one_more(&mesh, &[0, 1, 2], &mut paid);
    act(&*chain, 3, TOKEN_AT, &IToken::approveCall { spender: STAKING_AT, value: U256::from(bond) });
    act(&*chain, 3, STAKING_AT, &IStaking::bondCall { amount: bond, roles: VALIDATE });
    act(&*chain, 3, STAKING_AT, &set_validator_key(&key(3), key(3).address()));
    act(&*chain, 2, STAKING_AT, &IStaking::unbondCall { amount: VALIDATOR_BOND_MIN });
    drop(chain);
    until_named(&mesh, 0, &mut paid, &[(1, 1), (3, 3)]);
    // Three quarters of the power are enough: the third goes on with nobody, also when it forgot what it signed.
    mesh.until(2, paid);
    for n in [0, 1, 2] {
        mesh.stop(n);
    }
    mesh.start(2);
    one_more(&mesh, &[2], &mut paid);
    mesh.stop(2);
    std::fs::remove_dir_all(mesh.dirs[2].path().join("journal")).unwrap();
    mesh.start(2);
    one_more(&mesh, &[2], &mut paid);
    mesh.stop(2);
    mesh.start(2);
    one_more(&mesh, &[2], &mut paid);
    // Who was away follows, over the change of validators, and knows the same.
    mesh.start(0);
    mesh.start(1);
    one_more(&mesh, &[2, 0, 1], &mut paid);
    let (here, there) = (mesh.chain(2).view(), mesh.chain(1).view());
    assert_eq!(here.head.hash, there.head.hash);
    assert_eq!(balance(&*mesh.chain(1)), U256::from(paid));
    // And so does who only reads headers.
    let mut trusted = Trusted::new(of(&[(1, 1), (2, 1)]));
    while let Some(number) = store::next_handover(&*there.kv, trusted.since()).unwrap() {
        let validators = store::validators(&*there.kv, &header(&there, number)).unwrap();
        let (parent, header, certificate) = proof(&there, number);
        trusted.hand_over(Handover { parent, header, certificate, validators }, &Network::local("test")).unwrap();
    }
    assert!(trusted.since() > 0);
    let (parent, header, certificate) = proof(&there, there.head.header.number);
    trusted.check_final(&parent, &header, &certificate, &Network::local("test")).unwrap();
}

fn header(view: &View, number: u64) -> Header {
    store::block(&*view.kv, number).unwrap().unwrap().header
}

/// The header before a block, its own, and its certificate.
fn proof(view: &View, number: u64) -> (Header, Header, Certificate) {
    let certificate = store::certificate(&*view.kv, number).unwrap().unwrap();
    (header(view, number - 1), header(view, number), talkoo_base::wire::decode(&certificate).unwrap())
}

#[test]
fn a_beginning_that_bonds_cannot_pay_is_refused() {
    let (one, two) = (Staker::own(key(1).address(), 1), Staker::own(key(2).address(), 1));
    let powered = |power| Staker::own(key(1).address(), power);
    let cases = [
        (vec![one, one], 1, "named twice"),
        (vec![one, Staker { operator: one.operator, ..two }], 1, "two validators"),
        (vec![one, Staker { operator: Default::default(), ..two }], 1, "nobody's"),
        (vec![powered(0)], 1, "no power"),
        (vec![powered(1_000_000), two], 1, "enough for 1000000"),
        (vec![powered(u64::MAX), two], 1, "enough for 1000000"),
        (vec![one], 0, "at least one second"),
    ];
    for (stakers, epoch_s, want) in cases {
        let beginning = Beginning { stakers, epoch_s, ..super::genesis().beginning().clone() };
        let error = GenesisFile::checked(beginning).unwrap_err().to_string();
        assert!(error.contains(want), "{want}: {error}");
    }
    let all = Beginning { stakers: vec![powered(1_000_000)], ..super::genesis().beginning().clone() };
    GenesisFile::checked(all).unwrap().beginning().genesis().build().expect("all of the token may be staked");
}

#[test]
fn who_votes_twice_loses_half_the_bond_and_the_seat() {
    let (mesh, mut paid) = (mesh(4, 3), 0);
    one_more(&mesh, &[0, 1, 2], &mut paid);
    let network = Network::local("test");
    let height = mesh.chain(0).view().head.header.number + 1;
    for block in [Digest::ZERO, Digest([7; 32])] {
        let vote = Vote { kind: VoteKind::Prevote, height, round: 0, block };
        let (validator, signature) = (key(4).address(), key(4).sign(&vote.digest(&network)));
        let mut bytes = vec![crate::ledger::driver::CHAIN];
        bytes.extend(Message::Vote(SignedVote { vote, validator, signature }).to_bytes());
        // The second shows it, from its own account: the first one's nonces are the payments'.
        let slot = lock(&mesh.ledgers[1]);
        slot.as_ref().unwrap().hear(key(3).node_id(), &bytes).unwrap().unwrap();
    }
    while stake(&*mesh.chain(0), 4).jailedUntil.is_zero() {
        one_more(&mesh, &[0], &mut paid);
    }
    assert_eq!(stake(&*mesh.chain(0), 4).bonded, VALIDATOR_BOND_MIN / 2);
    until_named(&mesh, 0, &mut paid, &[(1, 1), (2, 1), (3, 1)]);
    one_more(&mesh, &[0, 1, 2], &mut paid);
}
