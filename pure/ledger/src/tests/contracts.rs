//! The contracts of a genesis, as the node uses them: the signed types must be theirs to the byte.

use super::{Chain, address, key, plain, sign};
use crate::bindings::{self, *};
use crate::contracts::*;
use crate::*;
use alloy_consensus::TxEip1559;
use alloy_primitives::{Address, B256, TxKind, U256, keccak256};
use alloy_sol_types::{SolCall, sol};
use std::collections::BTreeMap;
use talkoo_base::wire::{Typed, VoteKind};
use talkoo_base::{Amount, Delegation as Delegated, Digest, Network, Signer, Unix, Vote as Voted};

sol! {
    interface IRoles {
        function hasRole(bytes32 role, address account) external view returns (bool);
    }
    interface IParts {
        function questions() external view returns (address);
        function findings() external view returns (address);
        function referee() external view returns (address);
        function attention() external view returns (address);
        function settlement() external view returns (address);
        function vault() external view returns (address);
        function token() external view returns (address);
    }
}

pub(super) fn ours(address: Address) -> talkoo_base::Address {
    talkoo_base::Address(address.0.0)
}

pub(super) fn beginning() -> Beginning {
    let stakers = vec![Staker { operator: ours(address(6)), ..Staker::own(ours(address(0)), 1) }];
    let (chain_id, timestamp) = (825_566, 1_700_000_000);
    Beginning {
        chain_id,
        timestamp,
        stakers,
        founder: address(1),
        window_s: WINDOW_S,
        answer_s: ANSWER_S,
        epoch_s: EPOCH_S,
        beacon_s: BEACON_S,
    }
}

impl Chain {
    fn ours() -> Self {
        Self::of(&beginning().genesis())
    }

    pub(super) fn ask<C: SolCall>(&mut self, to: Address, call: &C) -> C::Return {
        let call = Call { to: Some(to), data: call.abi_encode().into(), ..Call::default() };
        let outcome = self.reader(|r| r.call(&call, &BTreeMap::new())).unwrap();
        assert!(outcome.success, "{}", outcome.output);
        C::abi_decode_returns(&outcome.output).unwrap()
    }

    /// Sends a call in a block of its own, `later` seconds on; says whether it succeeded.
    pub(super) fn send<C: SolCall>(&mut self, who: u8, to: Address, call: &C, later: u64) -> bool {
        self.gas(who, to, call, later).is_some()
    }

    /// The same; the gas it took, or nothing if it failed.
    pub(super) fn gas<C: SolCall>(&mut self, who: u8, to: Address, call: &C, later: u64) -> Option<u64> {
        let nonce = self.reader(|r| r.account(address(who))).unwrap().nonce;
        let transaction = TxEip1559 {
            chain_id: 825_566,
            nonce,
            gas_limit: 1_000_000,
            max_fee_per_gas: 1_000,
            to: TxKind::Call(to),
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        self.later = later;
        let (executed, refused) = self.extend(vec![sign(who, transaction)]);
        assert!(refused.is_empty(), "{refused:?}");
        let receipt = &executed.receipts[0];
        receipt.status().then_some(receipt.cumulative_gas_used())
    }

    /// The judge has all its parts, may take bonds and held pay, and asks for the bond that it should.
    fn has_a_judge(&mut self, at: &Deployment) {
        let role = keccak256("SLASHER");
        for venue in [at.vault, at.staking] {
            assert!(self.ask(venue, &IRoles::hasRoleCall { role, account: at.disputes }));
        }
        let parts = [
            self.ask(at.disputes, &IParts::questionsCall {}),
            self.ask(at.disputes, &IParts::findingsCall {}),
            self.ask(at.disputes, &IParts::vaultCall {}),
            self.ask(at.disputes, &IParts::tokenCall {}),
            self.ask(at.dispute_questions, &IParts::attentionCall {}),
            self.ask(at.dispute_questions, &IParts::settlementCall {}),
            self.ask(at.dispute_findings, &IParts::refereeCall {}),
            self.ask(at.dispute_findings, &IParts::attentionCall {}),
            self.ask(at.dispute_findings, &IParts::settlementCall {}),
        ];
        let (questions, findings, attention) = (at.dispute_questions, at.dispute_findings, at.attention_referee);
        let s = at.settlement;
        assert_eq!(parts, [questions, findings, at.vault, at.token, attention, s, at.referee, attention, s]);
        assert_eq!(self.ask(at.disputes, &IDisputes::BONDCall {}), DISPUTE_BOND);
        assert_eq!(self.ask(at.disputes, &IDisputes::ANSWER_SCall {}).to::<u64>(), ANSWER_S);
        assert_eq!(self.ask(at.disputes, &IDisputes::OPEN_SCall {}).to::<u64>(), WINDOW_S);
    }

    fn credit(&mut self, who: Address) -> u64 {
        self.ask(CREDIT_AT, &IToken::balanceOfCall { account: who }).to()
    }
}

#[test]
fn signed_records_are_those_that_the_contracts_check() {
    let (mut chain, network) = (Chain::ours(), Network::local("test"));
    assert_eq!(network.contracts.vault, ours(VAULT_AT));
    assert_eq!(network.contracts.token, ours(CREDIT_AT));
    assert_eq!(network.payment_domain().verifying_contract, ours(SETTLEMENT_AT));
    let config = talkoo_base::ChannelConfig {
        payer: ours(address(2)),
        payer_authorizer: ours(address(3)),
        receiver: network.contracts.vault,
        receiver_authorizer: ours(address(4)),
        token: network.contracts.token,
        withdraw_delay: 86_400,
        salt: Digest([7; 32]),
    };
    let id = chain.ask(SETTLEMENT_AT, &ISettlement::getChannelIdCall { config: (&config).into() });
    assert_eq!(id.0, config.id(&network).0);
    let voucher = talkoo_base::Voucher { channel: Digest(id.0), max_claimable: Amount(12_345) };
    let asked = ISettlement::getVoucherDigestCall { channelId: id, maxClaimableAmount: 12_345 };
    assert_eq!(chain.ask(SETTLEMENT_AT, &asked).0, voucher.digest(&network).0);
    let (owner, node) = (ours(address(4)), ours(address(5)));
    let delegation = Delegated { owner, node, roles: Delegated::ALL_ROLES, expiry: Unix(99) };
    let theirs = bindings::Delegation { owner: address(4), nodeKey: address(5), roles: 7, expiry: 99 };
    let asked = IDelegations::getDigestCall { delegation: theirs };
    assert_eq!(chain.ask(DELEGATIONS_AT, &asked).0, delegation.digest(&network).0);
    for kind in [VoteKind::Prevote, VoteKind::Precommit] {
        let vote = Voted { kind, height: 8, round: 3, block: Digest([5; 32]) };
        let theirs = bindings::Vote::from(&vote);
        assert_eq!(
            chain.ask(EQUIVOCATION_AT, &IEquivocation::getVoteDigestCall { vote: theirs }).0,
            vote.digest(&network).0
        );
    }
}

#[test]
fn a_chunk_of_work_is_paid_from_faucet_to_withdrawal() {
    let (mut chain, network) = (Chain::ours(), Network::local("test"));
    let (client, owner, node) = (2, 3, 4);
    let give = |who: u8| IFaucet::grantCall {
        account: address(who),
        invite: B256::ZERO,
        amount: CreditAndGas { credit: 1_000_000, gas: 10u128.pow(17) },
    };
    for who in [client, owner, node] {
        assert!(chain.send(0, FAUCET_AT, &give(who), 0));
    }
    let again = IFaucet::grantCall { amount: CreditAndGas { credit: STARTER_CREDIT, gas: 0 }, ..give(client) };
    assert!(!chain.send(0, FAUCET_AT, &again, 0), "an account has its cap");
    assert!(!chain.send(client, FAUCET_AT, &give(client), 0), "only sponsors give");
    let gift = IToken::transferCall { to: address(9), value: U256::from(1) };
    assert!(!chain.send(client, CREDIT_AT, &gift, 0), "credit does not move between people");

    let config = talkoo_base::ChannelConfig {
        payer: ours(address(client)),
        payer_authorizer: ours(address(client)),
        receiver: network.contracts.vault,
        receiver_authorizer: ours(address(owner)),
        token: network.contracts.token,
        withdraw_delay: 86_400,
        salt: Digest::ZERO,
    };
    let id = B256::from(config.id(&network).0);
    let until = chain.head.header.timestamp + 60;
    let separator = chain.ask(CREDIT_AT, &IToken::DOMAIN_SEPARATORCall {});
    let nonce = authorization::nonce(id, U256::ZERO);
    let digest = authorization::digest(separator, address(client), ERC3009_COLLECTOR_AT, 500_000, until, nonce);
    let signature = key(client).sign(&Digest(digest.0));
    let deposit = ISettlement::depositCall {
        config: (&config).into(),
        amount: 500_000,
        collector: ERC3009_COLLECTOR_AT,
        data: authorization::payload(until, U256::ZERO, signature.0),
    };
    // Anybody may relay it; once.
    assert!(chain.send(0, SETTLEMENT_AT, &deposit, 0));
    assert!(!chain.send(0, SETTLEMENT_AT, &deposit, 0));
    let grant = |expiry| {
        let (owner, node) = (ours(address(owner)), ours(address(node)));
        let signed = Delegated { owner, node, roles: 7, expiry: Unix(expiry) };
        let signature = key(3).sign(&signed.digest(&network));
        let delegation = bindings::Delegation { owner: address(3), nodeKey: address(4), roles: 7, expiry };
        IDelegations::grantCall { delegation, signature: signature.0.to_vec().into() }
    };
    assert!(chain.send(node, DELEGATIONS_AT, &grant(chain.head.header.timestamp + 10_000_000), 0));

    // The channel's word in the settlement's storage is where a light client looks for it.
    let slot = light::channel_slot(&Digest(id.0));
    let proof = chain.reader(|r| r.proof(SETTLEMENT_AT, &[slot.into()])).unwrap();
    let nodes = |nodes: &[Vec<u8>]| nodes.iter().cloned().map(alloy_primitives::Bytes::from).collect::<Vec<_>>();
    let root = light::storage_root(chain.head.header.state_root, SETTLEMENT_AT, &nodes(&proof.nodes)).unwrap();
    let (_, word, path) = &proof.slots[0];
    light::check_slot(root, slot, *word, &nodes(path)).unwrap();
    assert_eq!(light::channel_of(*word), (500_000, 0));
    let false_word = *word + U256::from(1);
    assert_eq!(light::check_slot(root, slot, false_word, &nodes(path)), Err(light::LightError::Proof("the slot")));
    assert!(light::storage_root(B256::ZERO, SETTLEMENT_AT, &nodes(&proof.nodes)).is_err());
    assert!(light::storage_root(chain.head.header.state_root, VAULT_AT, &nodes(&proof.nodes)).is_err());
    assert!(light::storage_root(chain.head.header.state_root, SETTLEMENT_AT, &[]).is_err());

    let claim = |total: u128, most: u128| {
        let voucher = talkoo_base::Voucher { channel: Digest(id.0), max_claimable: Amount(most) };
        let signature = key(client).sign(&voucher.digest(&network)).0.to_vec().into();
        let voucher = bindings::Voucher { channel: (&config).into(), maxClaimableAmount: most };
        IVault::claimCall { claims: vec![VoucherClaim { voucher, signature, totalClaimed: total }] }
    };
    assert!(!chain.send(client, VAULT_AT, &claim(100, 100), 0), "a stranger claims nothing");
    assert!(!chain.send(node, VAULT_AT, &claim(101, 100), 0), "nor anyone above the voucher");
    assert!(!chain.send(node, VAULT_AT, &claim(500_001, 600_000), 0), "nor above the deposit");
    assert!(chain.send(node, VAULT_AT, &claim(200_000, 200_000), 0));
    assert!(chain.send(node, VAULT_AT, &claim(300_000, 300_000), 10));
    assert_eq!(chain.credit(VAULT_AT), 300_000);
    let release = IVault::releaseCall { operator: address(owner), most: U256::from(10) };
    assert!(chain.send(node, VAULT_AT, &release, WINDOW_S - 10));
    let free = |chain: &mut Chain| -> u64 { chain.ask(VAULT_AT, &IVault::creditCall { account: address(3) }).to() };
    assert_eq!(free(&mut chain), 200_000, "only what is old enough");
    assert!(chain.send(node, VAULT_AT, &release, 10));
    assert!(chain.send(node, VAULT_AT, &IVault::withdrawCall { account: address(owner) }, 0));
    assert_eq!((chain.credit(address(owner)), chain.credit(SETTLEMENT_AT)), (1_300_000, 200_000));
    let total: u64 = chain.ask(CREDIT_AT, &IToken::totalSupplyCall {}).to();
    let accounts = [address(client), address(owner), address(node), SETTLEMENT_AT, VAULT_AT];
    assert_eq!(total, accounts.into_iter().map(|who| chain.credit(who)).sum::<u64>());
}

#[test]
fn a_plan_puts_the_contracts_where_it_says_and_their_list_is_read_back() {
    let token = Address::repeat_byte(7);
    let there =
        [Existing::default(), Existing { channels: Some((SETTLEMENT_AT, ERC3009_COLLECTOR_AT)), token: None }, {
            Existing { channels: None, token: Some(token) }
        }];
    for there in there {
        let mut chain = Chain::ours();
        let (at, contracts) = Deployment::plan(address(0), 0, there, WINDOW_S);
        for (nonce, contract) in contracts.into_iter().enumerate() {
            let Code::Creation(input) = contract.code else { panic!("{} is no creation", contract.name) };
            let (nonce, to, gas_limit) = (nonce as u64, TxKind::Create, 6_000_000);
            let transaction = TxEip1559 { gas_limit, to, input, ..plain(nonce, Address::ZERO, 0, &[]) };
            let (made, _) = chain.extend(vec![sign(0, transaction)]);
            assert!(made.receipts[0].status(), "{}", contract.name);
            let code = chain.reader(|r| r.account(contract.address)).unwrap().code;
            assert!(!code.is_empty(), "{} is not at {}", contract.name, contract.address);
        }
        let read =
            Deployment::read(at.parameters, |key| Ok::<_, ()>(chain.ask(at.parameters, &IParameters::getCall { key })));
        assert_eq!(read, Ok(at));
        assert_eq!(
            (at.settlement == SETTLEMENT_AT, at.token == token),
            (there.channels.is_some(), there.token.is_some())
        );
        let vault = chain.ask(at.vault, &IVault::capacityCall { operator: address(0) });
        assert_eq!(vault, U256::ZERO, "the vault asks the staking contract");
        chain.has_a_judge(&at);
    }
}

#[test]
fn every_chain_of_ours_has_a_judge() {
    Chain::ours().has_a_judge(&Deployment::GENESIS);
    assert_eq!(Network::local("test").talkoo_domain().verifying_contract, ours(DISPUTES_AT));
}
