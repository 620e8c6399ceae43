//! Where a chain has our contracts, and what puts them there.

use crate::contracts::{
    ACCESS, ALLOTMENTS, ASSETS, ATTENTION_REFEREE, BEACON, DELEGATIONS, DISPUTE_FINDINGS, DISPUTE_QUESTIONS, DISPUTES,
    ERC3009_COLLECTOR, ESCROW, PARAMETERS, REFEREE, REVENUE, SETTLEMENT, STAKING, STORAGE_DEALS, TOKEN, VAULT, made,
};
use crate::contracts::{
    ACCESS_AT, ALLOTMENTS_AT, ASSETS_AT, ATTENTION_REFEREE_AT, BEACON_AT, CREDIT_AT, DELEGATIONS_AT,
    DISPUTE_FINDINGS_AT, DISPUTE_QUESTIONS_AT, DISPUTES_AT, ERC3009_COLLECTOR_AT, ESCROW_AT, PARAMETERS_AT, REFEREE_AT,
    REVENUE_AT, SETTLEMENT_AT, STAKING_AT, STORAGE_DEALS_AT, TOKEN_AT, VAULT_AT,
};
use crate::contracts::{
    ANSWER_S, BEACON_BOND, BEACON_S, DEAL_ACCEPT_S, DISPUTE_BOND, EPOCH_S, JAIL_S, PARAMETER_DELAY_S, TOKEN_SUPPLY,
    UNBOND_S, VALIDATOR_BOND_MIN,
};
use crate::genesis::Contract;
use alloy_primitives::{Address, B256, U256, aliases::U40};
use alloy_sol_types::{SolValue, sol};
use talkoo_base::Contracts;

sol! {
    struct StakingOptions {
        address token; address gate; address admin; address treasury;
        uint40 unbondS; uint40 jailS; uint128 validatorBondMin; uint40 epochS;
        address[] slashers; InitialStake[] initial;
    }
    struct InitialStake { address operator; address validatorKey; uint128 bonded; uint8 roles; }
    struct VaultOptions {
        address token; address gate; address settlement; address staking; address delegations;
        uint40 windowS; address admin; address[] slashers;
    }
    struct DisputesOptions {
        address token; address vault; address staking; address delegations; address questions; address findings;
        uint40 answerS; uint40 openS; uint128 bond; address treasury;
    }
    struct BeaconOptions {
        address token; address gate; uint40 commitS; uint40 revealS; uint128 bond; uint32 revealsMin; address treasury;
    }
    struct Range { uint256 least; uint256 most; }
    struct Initial { bytes32 key; uint256 value; Range range; }
}

/// Addresses of our contracts on one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// Payment channels.
    pub settlement: Address,
    /// Collects deposits by ERC-3009.
    pub collector: Address,
    /// Receiver of every worker's channels.
    pub vault: Address,
    /// What is paid with.
    pub token: Address,
    /// Node keys and their owners.
    pub delegations: Address,
    /// Bonds.
    pub staking: Address,
    /// What is staked.
    pub stake: Address,
    /// One deposit for many payees.
    pub allotments: Address,
    /// One-off jobs.
    pub escrow: Address,
    /// Public randomness.
    pub beacon: Address,
    /// Models and data sets.
    pub assets: Address,
    /// Their income.
    pub revenue: Address,
    /// Access to them.
    pub access: Address,
    /// Recomputes one element of the integer program.
    pub referee: Address,
    /// The part of it for attention and the draw.
    pub attention_referee: Address,
    /// The judge of exact work.
    pub disputes: Address,
    /// Its part that knows questions and answers.
    pub dispute_questions: Address,
    /// Its part that knows what convicts.
    pub dispute_findings: Address,
    /// Deals about storage.
    pub deals: Address,
    /// Slow values, the brake on deposits, and, outside, the list of all these.
    pub parameters: Address,
}

impl Deployment {
    /// In every genesis of ours.
    pub const GENESIS: Self = Self {
        settlement: SETTLEMENT_AT,
        collector: ERC3009_COLLECTOR_AT,
        vault: VAULT_AT,
        token: CREDIT_AT,
        delegations: DELEGATIONS_AT,
        staking: STAKING_AT,
        stake: TOKEN_AT,
        allotments: ALLOTMENTS_AT,
        escrow: ESCROW_AT,
        beacon: BEACON_AT,
        assets: ASSETS_AT,
        revenue: REVENUE_AT,
        access: ACCESS_AT,
        referee: REFEREE_AT,
        attention_referee: ATTENTION_REFEREE_AT,
        disputes: DISPUTES_AT,
        dispute_questions: DISPUTE_QUESTIONS_AT,
        dispute_findings: DISPUTE_FINDINGS_AT,
        deals: STORAGE_DEALS_AT,
        parameters: PARAMETERS_AT,
    };

    /// The part that vouchers and channels name.
    #[must_use]
    pub fn signed(&self) -> Contracts {
        let ours = |address: Address| talkoo_base::Address(address.0.0);
        Contracts { settlement: ours(self.settlement), vault: ours(self.vault), token: ours(self.token) }
    }

    /// Every address but that of the list itself, by its name.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, Address); 19] {
        [
            ("settlement", self.settlement),
            ("collector", self.collector),
            ("vault", self.vault),
            ("token", self.token),
            ("delegations", self.delegations),
            ("staking", self.staking),
            ("stake", self.stake),
            ("allotments", self.allotments),
            ("escrow", self.escrow),
            ("beacon", self.beacon),
            ("assets", self.assets),
            ("revenue", self.revenue),
            ("access", self.access),
            ("referee", self.referee),
            ("attentionReferee", self.attention_referee),
            ("disputes", self.disputes),
            ("disputeQuestions", self.dispute_questions),
            ("disputeFindings", self.dispute_findings),
            ("deals", self.deals),
        ]
    }

    /// Reads the list that `parameters` keeps; `get` gives the value of a key.
    ///
    /// # Errors
    /// Those of `get`.
    pub fn read<E>(parameters: Address, mut get: impl FnMut(B256) -> Result<U256, E>) -> Result<Self, E> {
        let mut at = |name: &str| get(key(name)).map(|value| Address::from_word(value.into()));
        Ok(Self {
            settlement: at("settlement")?,
            collector: at("collector")?,
            vault: at("vault")?,
            token: at("token")?,
            delegations: at("delegations")?,
            staking: at("staking")?,
            stake: at("stake")?,
            allotments: at("allotments")?,
            escrow: at("escrow")?,
            beacon: at("beacon")?,
            assets: at("assets")?,
            revenue: at("revenue")?,
            access: at("access")?,
            referee: at("referee")?,
            attention_referee: at("attentionReferee")?,
            disputes: at("disputes")?,
            dispute_questions: at("disputeQuestions")?,
            dispute_findings: at("disputeFindings")?,
            deals: at("deals")?,
            parameters,
        })
    }

    /// What a deployer that has sent `nonce` transactions has to create, in this order, for a chain without our
    /// contracts, and where they will be. What is `there` already is used. The token, if none is there, is all the
    /// deployer's; so are the rights of an administrator.
    #[must_use]
    pub fn plan(deployer: Address, nonce: u64, there: Existing, window_s: u64) -> (Self, Vec<Contract>) {
        let mut next = nonce;
        let mut place = || {
            let at = deployer.create(next);
            next += 1;
            at
        };
        // The order of creation; `contracts` keeps to it.
        let parameters = place();
        let (settlement, collector) = there.channels.unwrap_or_else(|| (place(), place()));
        let token = there.token.unwrap_or_else(&mut place);
        let at = Self {
            settlement,
            collector,
            token,
            stake: token,
            parameters,
            delegations: place(),
            staking: place(),
            vault: place(),
            allotments: place(),
            escrow: place(),
            beacon: place(),
            assets: place(),
            revenue: place(),
            access: place(),
            attention_referee: place(),
            referee: place(),
            dispute_questions: place(),
            dispute_findings: place(),
            disputes: place(),
            deals: place(),
        };
        let list = at.entries().map(|(name, address)| {
            let value = U256::from_be_bytes(address.into_word().0);
            Initial { key: key(name), value, range: Range { least: value, most: value } }
        });
        let mut contracts = vec![at.parameters(deployer, list.to_vec())];
        if there.channels.is_none() {
            contracts.push(made(SETTLEMENT, settlement, &(parameters,).abi_encode_params()));
            contracts.push(made(ERC3009_COLLECTOR, collector, &(settlement,).abi_encode_params()));
        }
        if there.token.is_none() {
            contracts.push(at.talkoo_token(Address::ZERO, deployer));
        }
        let clocks = Clocks { window_s, answer_s: ANSWER_S, epoch_s: EPOCH_S, beacon_s: BEACON_S };
        contracts.extend(at.ours(deployer, clocks, Bonds::default()));
        (at, contracts)
    }

    pub(crate) fn parameters(&self, founder: Address, initial: Vec<Initial>) -> Contract {
        let arguments = (founder, founder, U40::from(PARAMETER_DELAY_S), initial);
        made(PARAMETERS, self.parameters, &arguments.abi_encode_params())
    }

    pub(crate) fn talkoo_token(&self, minter: Address, founder: Address) -> Contract {
        let arguments = ("Talkoo", "TALKOO", minter, founder, U256::from(TOKEN_SUPPLY));
        made(TOKEN, self.stake, &arguments.abi_encode_params())
    }

    /// What is the same on every chain but for addresses.
    pub(crate) fn ours(&self, founder: Address, clocks: Clocks, bonds: Bonds) -> Vec<Contract> {
        let (Clocks { window_s, answer_s, epoch_s, beacon_s }, Bonds { mut slashers, initial }) = (clocks, bonds);
        slashers.push(self.disputes);
        let gate = self.parameters;
        let beacon = BeaconOptions {
            token: self.token,
            gate,
            commitS: U40::from(beacon_s),
            revealS: U40::from(beacon_s),
            bond: BEACON_BOND,
            revealsMin: 1,
            treasury: founder,
        };
        let staking = StakingOptions {
            token: self.stake,
            gate,
            admin: founder,
            treasury: founder,
            unbondS: U40::from(UNBOND_S),
            jailS: U40::from(JAIL_S),
            validatorBondMin: VALIDATOR_BOND_MIN,
            epochS: U40::from(epoch_s),
            slashers,
            initial,
        };
        let vault = VaultOptions {
            token: self.token,
            gate,
            settlement: self.settlement,
            staking: self.staking,
            delegations: self.delegations,
            windowS: U40::from(window_s),
            admin: founder,
            slashers: vec![self.disputes],
        };
        let disputes = DisputesOptions {
            token: self.token,
            vault: self.vault,
            staking: self.staking,
            delegations: self.delegations,
            questions: self.dispute_questions,
            findings: self.dispute_findings,
            answerS: U40::from(answer_s),
            openS: U40::from(window_s),
            bond: DISPUTE_BOND,
            treasury: founder,
        };
        let asked = (self.settlement, self.attention_referee).abi_encode_params();
        let found = (self.settlement, self.referee).abi_encode_params();
        // A provider has a whole round to prove what the one before drew.
        let (accept_s, prove_s) = (U40::from(DEAL_ACCEPT_S), U40::from(2 * beacon_s));
        let deals = (self.token, gate, self.beacon, accept_s, prove_s).abi_encode_params();
        vec![
            made(DELEGATIONS, self.delegations, &[]),
            made(STAKING, self.staking, &(staking,).abi_encode_params()),
            made(VAULT, self.vault, &(vault,).abi_encode_params()),
            made(ALLOTMENTS, self.allotments, &(self.token, gate, self.settlement).abi_encode_params()),
            made(ESCROW, self.escrow, &(self.token, gate).abi_encode_params()),
            made(BEACON, self.beacon, &(beacon,).abi_encode_params()),
            made(ASSETS, self.assets, &[]),
            made(REVENUE, self.revenue, &(self.token, self.assets).abi_encode_params()),
            made(ACCESS, self.access, &(self.token, gate, self.revenue).abi_encode_params()),
            made(ATTENTION_REFEREE, self.attention_referee, &[]),
            made(REFEREE, self.referee, &(self.attention_referee,).abi_encode_params()),
            made(DISPUTE_QUESTIONS, self.dispute_questions, &asked),
            made(DISPUTE_FINDINGS, self.dispute_findings, &found),
            made(DISPUTES, self.disputes, &(disputes,).abi_encode_params()),
            made(STORAGE_DEALS, self.deals, &deals),
        ]
    }
}

/// Seconds that a chain chooses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) window_s: u64,
    pub(crate) answer_s: u64,
    pub(crate) epoch_s: u64,
    pub(crate) beacon_s: u64,
}

/// What bonds are there from the beginning, and who may cut them besides the judge of exact work.
#[derive(Default)]
pub(crate) struct Bonds {
    pub(crate) slashers: Vec<Address>,
    pub(crate) initial: Vec<InitialStake>,
}

/// What a chain has already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// x402's channels and their collector of ERC-3009 deposits.
    pub channels: Option<(Address, Address)>,
    /// A token with ERC-20 and ERC-3009 to pay and stake with.
    pub token: Option<Address>,
}

/// A name as a contract's key: its bytes from the left.
fn key(name: &str) -> B256 {
    B256::right_padding_from(name.as_bytes())
}
