//! Who decides: stakes make validators, votes that contradict each other cost the bond, and a light client follows.

use super::contracts::{beginning, ours};
use super::{Chain, address, key};
use crate::bindings::{self, *};
use crate::contracts::*;
use crate::light::{Handover, LightError, Trusted};
use crate::limits::POWER_MAX;
use crate::*;
use alloy_primitives::U256;
use talkoo_base::wire::{Typed, VoteKind};
use talkoo_base::{
    Certificate, Digest, Network, Signature, Signer, Validator, ValidatorKey, Vote as Voted, validators_hash,
};

/// Operators that join by stake, and the keys that vote for them.
const JOINS: [(u8, u8); 2] = [(2, 3), (4, 5)];

fn network() -> Network {
    Network::local("test")
}

fn of(validators: &[(u8, u64)]) -> Vec<Validator> {
    let mut set: Vec<_> =
        validators.iter().map(|(n, power)| Validator { address: ours(address(*n)), power: *power }).collect();
    set.sort();
    set
}

impl Chain {
    /// A block `later` seconds on, with nothing in it: whom it names, if others than before.
    fn empty(&mut self, later: u64) -> Option<Vec<Validator>> {
        self.later = later;
        let (executed, _) = self.extend(vec![]);
        let named = validators_hash(&executed.handover.clone().unwrap_or_default());
        assert!(executed.handover.is_none() || executed.block.header.extra_data[..] == named.0[..]);
        executed.handover
    }

    /// The operator gets tokens and gas, bonds, and names its key.
    fn join(&mut self, (operator, voter): (u8, u8), bond: u128) {
        let give = CreditAndGas { credit: 0, gas: 10u128.pow(18) };
        let account = address(operator);
        assert!(self.send(0, FAUCET_AT, &IFaucet::grantCall { account, invite: Default::default(), amount: give }, 0));
        assert!(self.send(1, TOKEN_AT, &IToken::transferCall { to: account, value: U256::from(bond) }, 0));
        let approve = IToken::approveCall { spender: STAKING_AT, value: U256::from(bond) };
        assert!(self.send(operator, TOKEN_AT, &approve, 0));
        assert!(self.send(operator, STAKING_AT, &IStaking::bondCall { amount: bond, roles: VALIDATE }, 0));
        let named = ValidatorKey { operator: ours(account), key: ours(address(voter)) };
        let signature = key(voter).sign(&named.digest(&network())).0.to_vec().into();
        let call = IStaking::setValidatorKeyCall { key: address(voter), signature };
        assert!(self.send(operator, STAKING_AT, &call, 0));
    }

    fn tokens(&mut self, who: alloy_primitives::Address) -> u128 {
        self.ask(TOKEN_AT, &IToken::balanceOfCall { account: who }).to()
    }
}

#[test]
fn the_first_bonds_are_real_tokens() {
    let mut chain = Chain::of(&beginning().genesis());
    let supply: u128 = chain.ask(TOKEN_AT, &IToken::totalSupplyCall {}).to();
    let (held, rest) = (chain.tokens(STAKING_AT), chain.tokens(address(1)));
    assert_eq!((supply, held, rest), (TOKEN_SUPPLY, VALIDATOR_BOND_MIN, TOKEN_SUPPLY - VALIDATOR_BOND_MIN));
    let stake = chain.ask(STAKING_AT, &IStaking::stakesCall { operator: address(6) });
    assert_eq!((stake.bonded, stake.roles, stake.validatorKey), (VALIDATOR_BOND_MIN, VALIDATE, address(0)));
    assert_eq!(chain.head.header.extra_data[..], validators_hash(&of(&[(0, 1)])).0[..]);
}

#[test]
fn the_first_block_of_an_epoch_names_the_largest_stakes() {
    let mut chain = Chain::of(&beginning().genesis());
    assert_eq!(chain.empty(EPOCH_S), None, "the stakes are those of the genesis");
    chain.join(JOINS[0], 3 * VALIDATOR_BOND_MIN + 5);
    chain.join(JOINS[1], VALIDATOR_BOND_MIN - 1);
    assert_eq!(chain.empty(1), None, "never within an epoch");
    assert_eq!(chain.empty(EPOCH_S), Some(of(&[(0, 1), (3, 3)])), "a bond below the least is none");
    assert_eq!(chain.empty(EPOCH_S), None, "the same set");
    let leave = IStaking::unbondCall { amount: 2 * VALIDATOR_BOND_MIN };
    assert!(chain.send(JOINS[0].0, STAKING_AT, &leave, 0));
    assert_eq!(chain.empty(7 * EPOCH_S), Some(of(&[(0, 1), (3, 1)])));
    let leave = IStaking::unbondCall { amount: VALIDATOR_BOND_MIN };
    assert!(chain.send(6, STAKING_AT, &leave, 0));
    assert!(chain.send(JOINS[0].0, STAKING_AT, &leave, 0));
    assert_eq!(chain.empty(EPOCH_S), None, "somebody has to decide: an empty list changes nothing");
}

#[test]
fn two_votes_for_one_place_cost_half_the_bond_and_the_seat() {
    let mut chain = Chain::of(&beginning().genesis());
    chain.join(JOINS[0], 4 * VALIDATOR_BOND_MIN);
    chain.empty(EPOCH_S).unwrap();
    let signed = |block| {
        let vote = Voted { kind: VoteKind::Precommit, height: 9, round: 2, block: Digest([block; 32]) };
        let signature = key(JOINS[0].1).sign(&vote.digest(&network())).0.to_vec().into();
        (bindings::Vote::from(&vote), signature)
    };
    let ((a, first), (b, second)) = (signed(1), signed(0));
    let report = IEquivocation::reportCall { a, signatureA: first, b, signatureB: second };
    assert!(chain.send(0, EQUIVOCATION_AT, &report, 0));
    assert!(!chain.send(0, EQUIVOCATION_AT, &report, 0), "once");
    let stake = chain.ask(STAKING_AT, &IStaking::stakesCall { operator: address(JOINS[0].0) });
    assert_eq!(stake.bonded, 2 * VALIDATOR_BOND_MIN);
    assert!(u64::try_from(stake.jailedUntil).unwrap() > chain.head.header.timestamp);
    assert_eq!(chain.empty(EPOCH_S), Some(of(&[(0, 1)])));
}

#[test]
fn a_set_is_what_it_is_worth() {
    let few = |bonds: &[(u8, u128)]| {
        let bonds: Vec<_> = bonds.iter().map(|(n, bond)| (ours(address(*n)), *bond)).collect();
        epoch::validators(bonds.into_iter())
    };
    let one = VALIDATOR_BOND_MIN;
    assert_eq!(few(&[(1, 5 * one), (2, one - 1), (1, one), (3, 2 * one - 1)]), of(&[(1, 5), (3, 1)]));
    assert_eq!(few(&[(1, u128::MAX)]), of(&[(1, POWER_MAX)]));
    assert_eq!(few(&[(2, one - 1)]), []);
}

/// A certificate of these keys.
fn certificate(header: &Header, keys: &[u8]) -> Certificate {
    let (height, block) = (header.number, Digest(hash(header).0));
    let vote = Voted { kind: VoteKind::Precommit, height, round: 0, block };
    let signatures: Vec<Signature> = keys.iter().map(|n| key(*n).sign(&vote.digest(&network()))).collect();
    Certificate { height, round: 0, block, signatures }
}

/// Headers that name these sets in turn, each decided by the set before it; the last one changes nothing.
fn followed(sets: &[&[u8]]) -> Vec<Handover> {
    let set = |keys: &[u8]| of(&keys.iter().map(|n| (*n, 1)).collect::<Vec<_>>());
    let mut parent = Header { extra_data: validators_hash(&set(sets[0])).0.to_vec().into(), ..Header::default() };
    let mut all = Vec::new();
    for two in sets.windows(2) {
        let (number, validators) = (parent.number + 1, set(two[1]));
        let extra_data = validators_hash(&validators).0.to_vec().into();
        let header = Header { number, parent_hash: hash(&parent), extra_data, ..Header::default() };
        all.push(Handover { certificate: certificate(&header, two[0]), parent, header: header.clone(), validators });
        parent = header;
    }
    all
}

#[test]
fn a_light_client_follows_every_change_and_no_other() {
    // The second set lacks one, the third is the first again, so that votes of one set might pass for another's.
    let sets: [&[u8]; 5] = [&[0, 1, 2, 3], &[0, 1, 2], &[0, 1, 2, 3], &[4], &[4]];
    let changes = followed(&sets);
    let begin = || Trusted::new(of(&[(0, 1), (1, 1), (2, 1), (3, 1)]));
    let mut trusted = begin();
    for change in &changes {
        trusted.hand_over(change.clone(), &network()).unwrap();
    }
    assert_eq!(trusted.since(), 4);
    let with = |change: &dyn Fn(&mut Handover)| {
        let mut forged = changes[0].clone();
        change(&mut forged);
        vec![forged]
    };
    let power = |have, total| LightError::Certificate(talkoo_base::wire::CertificateError::Power { have, total });
    let resigned = |keys: &'static [u8]| with(&|h| h.certificate = certificate(&h.header, keys));
    let stranger = |n| LightError::Certificate(talkoo_base::wire::CertificateError::Stranger(ours(address(n))));
    let twice = LightError::Certificate(talkoo_base::wire::CertificateError::Twice(ours(address(0))));
    let other_header = |h: &mut Handover| {
        h.header.gas_used += 1;
        h.certificate = certificate(&h.header, &[0, 1, 2, 3]);
    };
    let other_parent = |h: &mut Handover| {
        h.parent.extra_data = validators_hash(&of(&[(9, 1)])).0.to_vec().into();
        h.header.parent_hash = hash(&h.parent);
        h.certificate = certificate(&h.header, &[9]);
    };
    let cases = [
        ("skipped", vec![changes[1].clone()], LightError::OtherValidators),
        ("reordered", vec![changes[2].clone(), changes[0].clone()], LightError::Order { have: 1, last: 3 }),
        ("told twice", vec![changes[0].clone(), changes[0].clone()], LightError::Order { have: 1, last: 1 }),
        ("another set", with(&|h| h.validators = of(&[(9, 1)])), LightError::OtherSet),
        ("more power", with(&|h| h.validators[0].power = 9), LightError::OtherSet),
        ("no votes", with(&|h| h.certificate.signatures.clear()), power(0, 4)),
        ("too few votes", resigned(&[0, 1]), power(2, 4)),
        ("one twice", resigned(&[0, 0, 1]), twice),
        ("a stranger", resigned(&[0, 1, 2, 9]), stranger(9)),
        ("the next ones", with(&|h| h.certificate = changes[1].certificate.clone()), LightError::OtherBlock),
        ("another header", with(&|h| h.header.gas_used += 1), LightError::OtherBlock),
        ("a parent elsewhere", with(&|h| h.parent.gas_used += 1), LightError::OtherParent),
        ("a forged parent", with(&other_parent), LightError::OtherValidators),
    ];
    for (what, told, want) in cases {
        let mut trusted = begin();
        let errors: Vec<_> = told.into_iter().filter_map(|h| trusted.hand_over(h, &network()).err()).collect();
        assert_eq!(errors.last(), Some(&want), "{what}");
    }
    let mut trusted = begin();
    let mut honest = changes[0].clone();
    other_header(&mut honest);
    trusted.hand_over(honest, &network()).expect("what they signed counts, whatever it is");
}
