//! Deals about storage, on chain: the tree of pure/store's `possession` is the contract's, and what a proof costs.

use super::contracts::{beginning, ours};
use super::{Chain, address, key};
use crate::bindings::*;
use crate::contracts::*;
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U40};
use talkoo_base::{Digest, Signer, merkle};

const TAG: &str = "replica/1";
const LEAF: usize = 128;
const CLIENT: u8 = 2;
const PROVIDER: u8 = 3;
const ROUND_S: u64 = 2 * BEACON_S;

fn pay(chain: &mut Chain, who: u8, to: Address, amount: u128, nonce: B256) -> (U256, Bytes) {
    let separator = chain.ask(CREDIT_AT, &IToken::DOMAIN_SEPARATORCall {});
    let until = chain.head.header.timestamp + 1_000_000;
    let digest = authorization::digest(separator, address(who), to, amount, until, nonce);
    (U256::from(until), key(who).sign(&Digest(digest.0)).0.to_vec().into())
}

/// A replica as its provider opens it: a leaf's bytes and path.
trait Opens {
    fn root(&self) -> Digest;
    fn size(&self) -> u64;
    fn open(&self, leaf: usize) -> (Vec<u8>, Vec<Digest>);
}

/// Does something to leaves and paths.
type Change = fn(&mut [Vec<u8>; 2], &mut [Vec<B256>; 2]);

/// Bytes that lie here.
struct Small(Vec<u8>);

impl Small {
    fn leaves(&self) -> Vec<Digest> {
        self.0.chunks(LEAF).map(|data| merkle::leaf(TAG, data)).collect()
    }
}

impl Opens for Small {
    fn root(&self) -> Digest {
        merkle::root_of_leaves(TAG, self.leaves())
    }
    fn size(&self) -> u64 {
        self.0.len() as u64
    }
    fn open(&self, leaf: usize) -> (Vec<u8>, Vec<Digest>) {
        let data = self.0.chunks(LEAF).nth(leaf).unwrap().to_vec();
        (data, merkle::open(&self.leaves(), leaf).unwrap().siblings)
    }
}

/// 2^n leaves that are all the same: a tree of any height whose paths are known.
struct Uniform(u32);

impl Uniform {
    const DATA: [u8; LEAF] = [0xa7; LEAF];

    fn levels(&self) -> Vec<Digest> {
        let up = |top: &Digest| Some(merkle::node(top, top));
        std::iter::successors(Some(merkle::leaf(TAG, &Self::DATA)), up).take(self.0 as usize + 1).collect()
    }
}

impl Opens for Uniform {
    fn root(&self) -> Digest {
        merkle::seal(TAG, 1 << self.0, self.levels().last().unwrap())
    }
    fn size(&self) -> u64 {
        (LEAF as u64) << self.0
    }
    fn open(&self, _: usize) -> (Vec<u8>, Vec<Digest>) {
        (Self::DATA.to_vec(), self.levels()[..self.0 as usize].to_vec())
    }
}

/// A round of the beacon in which two commit and reveal, from the next one's beginning to its end.
fn round(chain: &mut Chain) {
    let until_next = |chain: &Chain| ROUND_S - chain.head.header.timestamp % ROUND_S;
    let round = chain.head.header.timestamp / ROUND_S + 1;
    let mut later = until_next(chain);
    for who in [CLIENT, PROVIDER] {
        let secret = B256::repeat_byte(who);
        let asked = IBeacon::hashOfCall { round: U256::from(round), account: address(who), secret };
        let hash = chain.ask(BEACON_AT, &asked);
        let nonce = alloy_primitives::keccak256(alloy_sol_types::SolValue::abi_encode(&(hash, address(who))));
        let (valid_before, signature) = pay(chain, who, BEACON_AT, BEACON_BOND, nonce);
        let call = IBeacon::commitForCall { payer: address(who), hash, validBefore: valid_before, signature };
        assert!(chain.gas(who, BEACON_AT, &call, later).is_some());
        later = 0;
    }
    let mut later = BEACON_S;
    for who in [CLIENT, PROVIDER] {
        let call = IBeacon::revealCall { secret: B256::repeat_byte(who) };
        assert!(chain.gas(who, BEACON_AT, &call, later).is_some());
        later = 0;
    }
    let account = address(CLIENT);
    assert!(chain.gas(CLIENT, BEACON_AT, &IBeacon::withdrawCall { account }, until_next(chain)).is_some());
}

/// A deal about `replica` to its second proof: the gas of proposing, accepting and both proofs.
fn deal(replica: &dyn Opens) -> [u64; 4] {
    let mut chain = Chain::of(&beginning().genesis());
    for who in [CLIENT, PROVIDER] {
        let amount = CreditAndGas { credit: 10_000_000, gas: 10u128.pow(17) };
        let give = IFaucet::grantCall { account: address(who), invite: B256::ZERO, amount };
        assert!(chain.gas(0, FAUCET_AT, &give, 0).is_some());
    }
    let (epochs, price, collateral) = (3, 1_000, 900_000);
    let terms = DealTerms {
        client: address(CLIENT),
        provider: address(PROVIDER),
        root: replica.root().0.into(),
        size: replica.size(),
        epochS: U40::from(2 * ROUND_S),
        epochs,
        price,
        collateral,
        salt: B256::ZERO,
    };
    let id = chain.ask(STORAGE_DEALS_AT, &IDeals::idOfCall { terms: terms.clone(), agent: address(CLIENT) });
    let (valid_before, signature) = pay(&mut chain, CLIENT, STORAGE_DEALS_AT, price * u128::from(epochs), id);
    let call = IDeals::proposeCall { terms, name: vec![7; 36].into(), validBefore: valid_before, signature };
    let proposed = chain.gas(CLIENT, STORAGE_DEALS_AT, &call, 0).unwrap();
    let (valid_before, signature) = pay(&mut chain, PROVIDER, STORAGE_DEALS_AT, collateral, id);
    let call = IDeals::acceptCall { id, validBefore: valid_before, signature };
    let accepted = chain.gas(PROVIDER, STORAGE_DEALS_AT, &call, 0).unwrap();
    let first = prove(&mut chain, replica, id, 0);
    let second = prove(&mut chain, replica, id, 1);
    let credit = chain.ask(STORAGE_DEALS_AT, &IDeals::creditCall { account: address(PROVIDER) });
    assert_eq!(credit, U256::from(2 * price));
    [proposed, accepted, first, second]
}

/// Lets the beacon draw an epoch and proves it, after what proves nothing; the gas.
fn prove(chain: &mut Chain, replica: &dyn Opens, id: B256, epoch: u32) -> u64 {
    round(chain);
    let drawn = chain.ask(STORAGE_DEALS_AT, &IDeals::challengeCall { id });
    assert_eq!((drawn.epoch, drawn.draw), (epoch, Draw::Open));
    let opened: Vec<_> = drawn.leaves.iter().map(|leaf| replica.open(leaf.to())).collect();
    let prove = |change: Change| {
        let path = |n: usize| opened[n].1.iter().map(|d: &Digest| B256::from(d.0)).collect::<Vec<_>>();
        let (mut leaves, mut siblings) = ([opened[0].0.clone(), opened[1].0.clone()], [path(0), path(1)]);
        change(&mut leaves, &mut siblings);
        IDeals::proveCall { id, leaves: leaves.map(Into::into), siblings }
    };
    let bad: [(&str, Change); 3] = [
        ("a changed byte", |leaves, _| leaves[1][0] ^= 1),
        ("a longer leaf", |leaves, _| leaves[0].push(0)),
        ("a longer path", |_, siblings| siblings[0].push(B256::ZERO)),
    ];
    for (what, change) in bad {
        assert!(chain.gas(PROVIDER, STORAGE_DEALS_AT, &prove(change), 0).is_none(), "{what}");
    }
    let proven = chain.gas(PROVIDER, STORAGE_DEALS_AT, &prove(|_, _| ()), 0).unwrap();
    assert!(chain.gas(PROVIDER, STORAGE_DEALS_AT, &prove(|_, _| ()), 0).is_none(), "twice");
    proven
}

#[test]
fn the_contract_checks_the_tree_that_pure_base_makes() {
    for size in [1, 127, 128, 129, 3 * 128, 5 * 128 + 1, 8 * 128, 1_000_000] {
        deal(&Small((0..size).map(|i: usize| (i ^ i >> 8) as u8).collect()));
    }
    assert_eq!(ours(STORAGE_DEALS_AT).0[19], 0x14);
}

#[test]
fn a_proof_costs_less_than_120_000_gas_for_32_gib() {
    // 64 MiB and 32 GiB.
    for height in [19, 28] {
        let [proposed, accepted, first, proven] = deal(&Uniform(height));
        println!("2^{height} leaves: propose {proposed}, accept {accepted}, prove {first}, then {proven}");
        assert!(proven < 120_000, "{proven}");
    }
}
