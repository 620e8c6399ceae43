//! Our contracts: their artifacts, where a genesis puts them, and the calls the node makes of them.
//!
//! Sources and states: `contracts/`. The artifacts are checked in and rebuilt byte for byte by `cargo xtask contracts`.

use crate::deployment::{Bonds, Clocks, Deployment, InitialStake};
use crate::genesis::{Code, Contract, Genesis};
use alloy_primitives::{Address, Bytes, U256, address, aliases::U40};
use alloy_sol_types::{SolValue, sol};
use serde_json::Value;
use std::collections::BTreeSet;
use talkoo_base::{Validator, validators_hash};

/// A compiled contract: name, and what the compiler made of it as JSON (`abi`, `bytecode`, `deployedBytecode`).
#[derive(Clone, Copy, Debug)]
pub struct Artifact {
    /// The contract's name.
    pub name: &'static str,
    /// The JSON.
    pub json: &'static str,
}

macro_rules! artifacts {
    ($($constant:ident = $name:literal;)*) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $constant: Artifact = Artifact {
                name: $name,
                json: include_str!(concat!("../../../contracts/artifacts/", $name, ".json")),
            };
        )*
        /// All of them.
        pub const ARTIFACTS: &[Artifact] = &[$($constant),*];
    };
}

artifacts! {
    ACCESS = "AccessGrants";
    ALLOTMENTS = "Allotments";
    ASSETS = "AssetRegistry";
    ATTENTION_REFEREE = "AttentionReferee";
    BEACON = "Beacon";
    ESCROW = "ComputeEscrow";
    DELEGATIONS = "Delegations";
    DISPUTE_FINDINGS = "DisputeFindings";
    DISPUTE_QUESTIONS = "DisputeQuestions";
    DISPUTES = "Disputes";
    ERC3009_COLLECTOR = "ERC3009DepositCollector";
    EQUIVOCATION = "EquivocationEvidence";
    FAUCET = "Faucet";
    MULTICALL = "Multicall3";
    PARAMETERS = "Parameters";
    PERMIT2_COLLECTOR = "Permit2DepositCollector";
    REFEREE = "Referee";
    REVENUE = "RevenueSplit";
    STAKING = "Staking";
    STORAGE_DEALS = "StorageDeals";
    TOKEN = "TalkooToken";
    CREDIT = "TestCredit";
    VAULT = "WorkerVault";
    SETTLEMENT = "X402BatchSettlement";
}

impl Artifact {
    /// The creation code.
    #[must_use]
    pub fn creation(&self) -> Bytes {
        let json: Value = serde_json::from_str(self.json).expect("checked in by the build of the contracts");
        let code = json["bytecode"].as_str().expect("every artifact has its bytecode");
        code.parse().expect("the compiler writes hexadecimal")
    }
}

const fn predeploy(last: u8) -> Address {
    let mut bytes = [0; 20];
    (bytes[0], bytes[1], bytes[19]) = (0x7a, 0x1c, last);
    Address::new(bytes)
}

/// The judge of exact work; every record of ours names this address as its verifying contract.
pub const DISPUTES_AT: Address = predeploy(0x01);
/// Receiver of every worker's channels.
pub const VAULT_AT: Address = predeploy(0x02);
/// What is paid with.
pub const CREDIT_AT: Address = predeploy(0x03);
/// Node keys and their owners.
pub const DELEGATIONS_AT: Address = predeploy(0x04);
/// Bonds.
pub const STAKING_AT: Address = predeploy(0x05);
/// Judge of double votes.
pub const EQUIVOCATION_AT: Address = predeploy(0x06);
/// Starter credit.
pub const FAUCET_AT: Address = predeploy(0x07);
/// One deposit for many payees.
pub const ALLOTMENTS_AT: Address = predeploy(0x08);
/// One-off jobs.
pub const ESCROW_AT: Address = predeploy(0x09);
/// Public randomness.
pub const BEACON_AT: Address = predeploy(0x0a);
/// Slow values, and the brake on deposits.
pub const PARAMETERS_AT: Address = predeploy(0x0b);
/// Models and data sets.
pub const ASSETS_AT: Address = predeploy(0x0c);
/// Their income.
pub const REVENUE_AT: Address = predeploy(0x0d);
/// Access to them.
pub const ACCESS_AT: Address = predeploy(0x0e);
/// What is staked.
pub const TOKEN_AT: Address = predeploy(0x0f);
/// Recomputes one element of the integer program.
pub const REFEREE_AT: Address = predeploy(0x10);
/// The part of it for attention and the draw.
pub const ATTENTION_REFEREE_AT: Address = predeploy(0x11);
/// The judge's part that knows questions and answers.
pub const DISPUTE_QUESTIONS_AT: Address = predeploy(0x12);
/// The judge's part that knows what convicts.
pub const DISPUTE_FINDINGS_AT: Address = predeploy(0x13);
/// Deals about storage.
pub const STORAGE_DEALS_AT: Address = predeploy(0x14);
/// Payment channels: x402's canonical address, which its SDKs know.
pub const SETTLEMENT_AT: Address = address!("4020074e9dF2ce1deE5A9C1b5c3f541D02a10003");
/// Collects deposits by ERC-3009, at x402's canonical address.
pub const ERC3009_COLLECTOR_AT: Address = address!("4020806089470a89826cB9fB1f4059150b550004");
/// Many calls in one, where clients look for it on every chain (<https://github.com/mds1/multicall3>).
pub const MULTICALL_AT: Address = address!("cA11bde05977b3631167028862bE2a173976CA11");
/// The deterministic deployment proxy that tools expect at this address on every chain
/// (<https://github.com/Arachnid/deterministic-deployment-proxy>).
pub const CREATE2_AT: Address = address!("4e59b44847b379578588920cA78FbF26c0B4956C");
const CREATE2: &str = "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f580151560395781\
82fd5b8082525050506014600cf3";

/// Seconds that a worker's proceeds can be challenged.
pub const WINDOW_S: u64 = 3_600;
/// Seconds of either side's move in a dispute.
pub const ANSWER_S: u64 = 600;
/// What a challenger puts up, in micro-units of what is paid with.
pub const DISPUTE_BOND: u128 = 500_000;
/// Seconds a bond takes to leave: longer than a reservation of 30 days and the window together.
pub const UNBOND_S: u64 = 32 * 24 * 3_600;
/// Seconds that a validator who signed twice is out.
pub const JAIL_S: u64 = 7 * 24 * 3_600;
/// Seconds of an epoch.
pub const EPOCH_S: u64 = 600;
/// The role of a validator among those of a bond.
pub const VALIDATE: u8 = 4;
/// Least bond of a validator, in micro-units of the token, and the bond of one unit of power.
pub const VALIDATOR_BOND_MIN: u128 = 1_000_000_000;
/// All of the token there is, in micro-units.
pub const TOKEN_SUPPLY: u128 = 1_000_000_000_000_000;
/// Part of a bond that two votes for one place cost, in ten-thousandths.
pub const EQUIVOCATION_BPS: u64 = 5_000;

/// Seconds between a parameter's proposal and its effect.
pub(crate) const PARAMETER_DELAY_S: u64 = 2 * 24 * 3_600;
/// Seconds in which a round of the beacon is committed to, and as many in which it is revealed.
pub const BEACON_S: u64 = 600;
/// What not revealing costs, in micro-units of what is paid with.
pub const BEACON_BOND: u128 = 1_000_000;
/// Seconds in which a provider can accept a deal: it has to fetch first.
pub(crate) const DEAL_ACCEPT_S: u64 = 3_600;
/// What an owner gets to pay with, once, in micro-units.
pub const STARTER_CREDIT: u128 = 10_000_000;
/// What an account, an invite and an epoch get of starter credit (micro-units) and of gas (wei), at most.
const FAUCET_CREDIT: [u128; 3] = [STARTER_CREDIT, 10_000_000_000, 100_000_000_000];
const FAUCET_GAS: [u128; 3] = [10u128.pow(18), 10u128.pow(20), 10u128.pow(21)];
/// Wei that the faucet holds at first.
const FAUCET_WEI: u128 = 10u128.pow(27);
/// An epoch of the faucet.
const FAUCET_EPOCH_S: u64 = 24 * 3_600;

sol! {
    struct Pair { uint128 credit; uint128 gas; }
    struct FaucetOptions {
        address credit; address admin; address[] sponsors; uint40 epochS;
        Pair accountMost; Pair inviteMost; Pair epochMost;
    }
}

/// A validator of the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Staker {
    /// Its key's address and its power.
    pub validator: Validator,
    /// Whose its bond is.
    pub operator: talkoo_base::Address,
}

impl Staker {
    /// A validator whose bond is its key's own.
    #[must_use]
    pub fn own(address: talkoo_base::Address, power: u64) -> Self {
        Self { validator: Validator { address, power }, operator: address }
    }

    /// Its bond, in micro-units of the token.
    #[must_use]
    pub fn bond(&self) -> u128 {
        u128::from(self.validator.power) * VALIDATOR_BOND_MIN
    }
}

impl From<&Staker> for InitialStake {
    fn from(staker: &Staker) -> Self {
        Self {
            operator: staker.operator.0.into(),
            validatorKey: staker.validator.address.0.into(),
            bonded: staker.bond(),
            roles: VALIDATE,
        }
    }
}

/// Who begins a network, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The network's chain id.
    pub chain_id: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// The first validators. Each may sponsor newcomers, and has gas for it, as has its operator.
    pub stakers: Vec<Staker>,
    /// Holds the token but for what is staked, and the rights of an administrator, at first.
    pub founder: Address,
    /// Seconds that a worker's proceeds can be challenged: [`WINDOW_S`] unless a test or a demo has no time.
    pub window_s: u64,
    /// Seconds of a move in a dispute: [`ANSWER_S`] unless a test or a demo has no time.
    pub answer_s: u64,
    /// Seconds of an epoch: [`EPOCH_S`] unless a test has no time.
    pub epoch_s: u64,
    /// Seconds of half a round of the beacon: [`BEACON_S`] unless a test has no time.
    pub beacon_s: u64,
}

impl Beginning {
    /// The first validators.
    #[must_use]
    pub fn validators(&self) -> Vec<Validator> {
        self.stakers.iter().map(|staker| staker.validator).collect()
    }

    /// The genesis of a network of ours: test credit to pay with, a token to stake, and the contracts around them.
    #[must_use]
    pub fn genesis(&self) -> Genesis {
        let sponsors: Vec<Address> = self.stakers.iter().map(|s| s.validator.address.0.into()).collect();
        let operators = self.stakers.iter().map(|s| s.operator.0.into());
        let rich: BTreeSet<Address> = operators.chain(sponsors.clone()).chain([self.founder]).collect();
        let mut balances: Vec<_> = rich.into_iter().map(|account| (account, U256::from(10u128.pow(24)))).collect();
        balances.push((FAUCET_AT, U256::from(FAUCET_WEI)));
        Genesis {
            chain_id: self.chain_id,
            timestamp: self.timestamp,
            epoch_s: self.epoch_s,
            extra_data: Bytes::copy_from_slice(&validators_hash(&self.validators()).0),
            balances,
            contracts: self.contracts(sponsors),
        }
    }

    fn contracts(&self, sponsors: Vec<Address>) -> Vec<Contract> {
        let at = Deployment::GENESIS;
        let venues = [
            SETTLEMENT_AT,
            ERC3009_COLLECTOR_AT,
            VAULT_AT,
            ALLOTMENTS_AT,
            ESCROW_AT,
            REVENUE_AT,
            ACCESS_AT,
            DISPUTES_AT,
            BEACON_AT,
            STORAGE_DEALS_AT,
        ];
        let pair = |n: usize| Pair { credit: FAUCET_CREDIT[n], gas: FAUCET_GAS[n] };
        let faucet = FaucetOptions {
            credit: CREDIT_AT,
            admin: self.founder,
            sponsors,
            epochS: U40::from(FAUCET_EPOCH_S),
            accountMost: pair(0),
            inviteMost: pair(1),
            epochMost: pair(2),
        };
        let create2 = CREATE2.parse().expect("a constant in hexadecimal");
        let mut contracts = vec![
            Contract { name: "create2", address: CREATE2_AT, code: Code::Runtime(create2) },
            made(MULTICALL, MULTICALL_AT, &[]),
            at.parameters(self.founder, Vec::new()),
            made(SETTLEMENT, SETTLEMENT_AT, &(PARAMETERS_AT,).abi_encode_params()),
            made(ERC3009_COLLECTOR, ERC3009_COLLECTOR_AT, &(SETTLEMENT_AT,).abi_encode_params()),
            made(CREDIT, CREDIT_AT, &(FAUCET_AT, venues.to_vec()).abi_encode_params()),
            // The contract of the stakes keeps the bonds and hands on the rest.
            at.talkoo_token(Address::ZERO, STAKING_AT),
            made(EQUIVOCATION, EQUIVOCATION_AT, &(STAKING_AT, U256::from(EQUIVOCATION_BPS)).abi_encode_params()),
            made(FAUCET, FAUCET_AT, &(faucet,).abi_encode_params()),
        ];
        let initial = self.stakers.iter().map(InitialStake::from).collect();
        let bonds = Bonds { slashers: vec![EQUIVOCATION_AT], initial };
        let clocks =
            Clocks { window_s: self.window_s, answer_s: self.answer_s, epoch_s: self.epoch_s, beacon_s: self.beacon_s };
        contracts.extend(at.ours(self.founder, clocks, bonds));
        contracts
    }
}

/// A contract that `artifact` makes with these encoded arguments.
pub(crate) fn made(artifact: Artifact, address: Address, arguments: &[u8]) -> Contract {
    let code = Bytes::from([artifact.creation().as_ref(), arguments].concat());
    Contract { name: artifact.name, address, code: Code::Creation(code) }
}
