//! The contract that judges, as this node calls it: questions and findings of a challenger, answers of a worker, and the money
//! that a verdict moves. Everything is read from the chain again before something is sent, so a kill repeats nothing.

use super::abi;
use super::findings::Charge;
use super::record::Sent;
pub(super) use crate::ledger::Told;
use crate::ledger::{Place, Rpc, RpcError};
use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolEvent, SolInterface, SolValue};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_base::wire::{Sealed, Typed};
use talkoo_base::{Delegation, Digest, Network, SecretKey, Signer};
use talkoo_ledger::Deployment;
use talkoo_ledger::bindings::IDisputes::{self, IDisputesErrors};
use talkoo_ledger::bindings::IReferee::IRefereeErrors;
use talkoo_ledger::bindings::{
    self, Bond, Claim, IDelegations, IReferee, IStaking, IToken, IVault, Question, Signatures, Support, Words,
    authorization,
};
use talkoo_proof::dispute::Case;
use thiserror::Error;

/// Seconds that an authorization to take the bond is good for.
const AUTHORIZATION_S: u64 = 600;
/// The role of a node that works.
const WORK: u8 = 1;
/// Tranches of an operator that are looked at.
const TRANCHES_MAX: u64 = 4_096;

alloy_sol_types::sol! {
    struct Grant { address nodeKey; uint8 roles; uint40 since; uint40 until; }
    function history(address owner) external view returns (Grant[] memory);
    function WINDOW_S() external view returns (uint40);
}

/// Why the chain does not do what we ask.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum CourtError {
    /// It says no.
    #[error("the judge refuses: {0}")]
    Refused(String),
    /// The owner's key is needed.
    #[error("the wallet is locked, and a bond has to be put up: talkoo wallet unlock")]
    Locked,
    /// The ledger.
    #[error(transparent)]
    Rpc(RpcError),
}

impl From<RpcError> for CourtError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Refused { code: 3, message, data } => {
                let named = IDisputesErrors::abi_decode(&data).map(|error| format!("{error:?}"));
                let named = named.or_else(|_| IRefereeErrors::abi_decode(&data).map(|error| format!("{error:?}")));
                Self::Refused(named.unwrap_or(message))
            }
            other => Self::Rpc(other),
        }
    }
}

/// An owner's key that may come later, when the wallet is opened.
pub(super) type OwnerKey = Arc<Mutex<Option<SecretKey>>>;

/// The contracts as one node calls them.
#[derive(Clone)]
pub(super) struct Court {
    pub(super) rpc: Arc<Rpc>,
    pub(super) at: Deployment,
    pub(super) network: Network,
    pub(super) node: Arc<SecretKey>,
    pub(super) owner: Address,
    pub(super) owner_key: OwnerKey,
}

impl Court {
    pub(super) fn new(place: &Place, network: Network, node: Arc<SecretKey>, owner: Address, key: OwnerKey) -> Self {
        Self { rpc: Arc::new(place.rpc()), at: place.at, network, node, owner, owner_key: key }
    }

    /// Who we are on the chain.
    pub(super) fn me(&self) -> Address {
        self.node.address().0.into()
    }

    /// Seconds since 1970, as the next block has them.
    pub(super) fn time(&self) -> Result<u64, CourtError> {
        Ok(self.rpc.time()?)
    }

    /// The last block.
    pub(super) fn block(&self) -> Result<u64, CourtError> {
        Ok(self.rpc.number("eth_blockNumber", &json!([]))?.saturating_to())
    }

    fn send<C: SolCall>(&self, to: Address, call: &C) -> Result<Sent, CourtError> {
        let included = self.rpc.wait(self.rpc.send(&self.node, to, call)?)?;
        Ok(Sent { hash: included.hash.to_string(), block: included.block, gas: included.gas_used })
    }

    /// Events of these topics in blocks `from` to `to`.
    pub(super) fn events<E: SolEvent>(
        &self,
        (from, to): (u64, u64),
        topics: &[Option<B256>],
    ) -> Result<Vec<Told<E>>, CourtError> {
        Ok(self.rpc.events(self.at.disputes, (from, to), topics)?)
    }

    /// How long after a request's deadline a case about it can be open, in seconds.
    pub(super) fn open_s(&self) -> Result<u64, CourtError> {
        let at = self.at.disputes;
        let first = self.rpc.call(at, &IDisputes::OPEN_SCall {})?.to::<u64>();
        let rounds = self.rpc.call(at, &IDisputes::ROUNDS_MAXCall {})?.saturating_to::<u64>();
        let each = self.rpc.call(at, &IDisputes::ANSWER_SCall {})?.to::<u64>();
        Ok(first.saturating_add(each.saturating_mul(rounds.saturating_mul(2))))
    }

    /// How the case of a challenger about a receipt stands.
    pub(super) fn case(&self, id: &Digest, challenger: Address) -> Result<IDisputes::casesReturn, CourtError> {
        let call = IDisputes::casesCall { id: id.0.into(), challenger };
        Ok(self.rpc.call(self.at.disputes, &call)?)
    }

    /// What is known of a lease's guilt; `since` is 0 if there is none.
    pub(super) fn guilt(&self, lease: &Digest) -> Result<IDisputes::guiltsReturn, CourtError> {
        Ok(self.rpc.call(self.at.disputes, &IDisputes::guiltsCall { lease: lease.0.into() })?)
    }

    /// What a lease's conviction, not before block `from`, took of the bond.
    pub(super) fn slashed(&self, lease: &Digest, from: u64) -> Result<U256, CourtError> {
        let topics = [None, Some(lease.0.into())];
        let told: Vec<Told<IDisputes::Convicted>> = self.events((from, self.block()?), &topics)?;
        Ok(told.last().map_or(U256::ZERO, |told| told.event.slashed))
    }

    /// What an operator has at stake.
    pub(super) fn stake(&self, operator: Address) -> Result<u128, CourtError> {
        let stake = self.rpc.call(self.at.staking, &IStaking::stakesCall { operator })?;
        Ok(stake.bonded.saturating_add(stake.unbonding))
    }

    /// What shows the chain who signed a case.
    pub(super) fn signatures(&self, case: &Case, said: Option<&Sealed<Delegation>>) -> Result<Signatures, CourtError> {
        let (owner, node): (Address, Address) = (case.receipt.body.operator.0.into(), case.receipt.body.node.0.into());
        let active = IDelegations::isActiveCall { owner, nodeKey: node, roles: WORK };
        if owner == node || self.rpc.call(self.at.delegations, &active)? {
            return Ok(abi::signatures(case, None, 0));
        }
        let history = self.rpc.call(self.at.delegations, &historyCall { owner })?;
        let worked = history.iter().rposition(|grant| grant.nodeKey == node && grant.roles & WORK != 0);
        Ok(abi::signatures(case, said.filter(|_| worked.is_none()), worked.unwrap_or(0) as u64))
    }

    /// Puts up the bond for the first question about a receipt.
    pub(super) fn bond(&self, id: &Digest) -> Result<Bond, CourtError> {
        let key = self.owner_key.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key.as_ref().ok_or(CourtError::Locked)?;
        let amount = self.rpc.call(self.at.disputes, &IDisputes::BONDCall {})?;
        let separator = self.rpc.call(self.at.token, &IToken::DOMAIN_SEPARATORCall {})?;
        let until = self.time()? + AUTHORIZATION_S;
        let nonce = keccak256((B256::from(id.0), self.me()).abi_encode());
        let digest = authorization::digest(separator, self.owner, self.at.disputes, amount, until, nonce);
        let signature = Bytes::from(key.sign(&Digest(digest.0)).0.to_vec());
        Ok(Bond { from: self.owner, validAfter: U256::ZERO, validBefore: U256::from(until), signature })
    }

    /// Asks the worker.
    pub(super) fn ask(
        &self,
        words: Words,
        signatures: Signatures,
        question: Question,
        support: Support,
        bond: Bond,
    ) -> Result<Sent, CourtError> {
        self.send(self.at.disputes, &IDisputes::askCall { words, signatures, question, support, bond })
    }

    /// Answers a challenger.
    pub(super) fn answer(
        &self,
        words: Words,
        challenger: Address,
        question: Question,
        said: bindings::Answer,
    ) -> Result<Sent, CourtError> {
        self.send(self.at.disputes, &IDisputes::answerCall { words, challenger, question, said })
    }

    /// The last answer in our case about a receipt.
    pub(super) fn answered(&self, id: &Digest, from: u64) -> Result<Option<bindings::Answer>, CourtError> {
        let topics = [Some(id.0.into()), Some(self.me().into_word())];
        let mut told: Vec<Told<IDisputes::Answered>> = self.events((from, self.block()?), &topics)?;
        Ok(told.pop().map(|told| told.event.answer))
    }

    /// The worker did not answer in time.
    pub(super) fn timeout(&self, words: Words) -> Result<Sent, CourtError> {
        self.send(self.at.disputes, &IDisputes::timeoutCall { words, challenger: self.me() })
    }

    /// Ends a challenger's case: one that nobody went on with, its bond is the operator's; or one whose lease was found guilty
    /// otherwise, its bond goes back.
    pub(super) fn lapse(&self, words: Words, challenger: Address) -> Result<Sent, CourtError> {
        self.send(self.at.disputes, &IDisputes::lapseCall { words, challenger })
    }

    /// What the referee says that an element has to be.
    pub(super) fn value(&self, claim: Claim, witness: bindings::Witness) -> Result<i128, CourtError> {
        Ok(self.rpc.call(self.at.referee, &IReferee::checkCall { c: claim, w: witness })?.value)
    }

    /// Convicts.
    pub(super) fn convict(&self, words: Words, signatures: Signatures, charge: Charge) -> Result<Sent, CourtError> {
        let to = self.at.disputes;
        match charge {
            Charge::Element(finding) => {
                self.send(to, &IDisputes::convictElementCall { words, signatures, finding: *finding })
            }
            Charge::State(finding) => {
                self.send(to, &IDisputes::convictStateCall { words, signatures, finding: *finding })
            }
            Charge::Output(finding) => self.send(to, &IDisputes::convictOutputCall { words, signatures, finding }),
            Charge::Missing(finding) => self.send(to, &IDisputes::convictMissingCall { words, signatures, finding }),
        }
    }

    /// Until when a guilty operator's tranches may still come, and those that can be taken now.
    pub(super) fn takeable(&self, guilt: &IDisputes::guiltsReturn) -> Result<(u64, Vec<U256>), CourtError> {
        let window: u64 = self.rpc.call(self.at.vault, &WINDOW_SCall {})?.to();
        let (operator, now) = (guilt.operator, self.time()?);
        let head = self.rpc.call(self.at.vault, &IVault::accountsCall { operator })?.head;
        let (since, mut indices) = (guilt.since.to::<u64>(), Vec::new());
        for index in (head..).take(TRANCHES_MAX as usize).map(U256::from) {
            let tranche = match self.rpc.call(self.at.vault, &IVault::tranchesCall { operator, index }) {
                Ok(tranche) => tranche,
                // There is no such one.
                Err(RpcError::Refused { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            let (until, windows) = (tranche.releaseAt.to::<u64>(), 1 + u64::from(tranche.channel == guilt.channelId));
            if tranche.amount > 0 && now < until && until <= since + windows * window {
                indices.push(index);
            }
        }
        Ok((since + 2 * window, indices))
    }

    /// Takes tranches: what the payer got back, and the rest.
    pub(super) fn seize(&self, lease: &Digest, indices: Vec<U256>) -> Result<(Sent, [U256; 2]), CourtError> {
        let sent = self.send(self.at.disputes, &IDisputes::seizeCall { lease: lease.0.into(), indices })?;
        let told: Vec<Told<IDisputes::Seized>> = self.events((sent.block, sent.block), &[Some(lease.0.into())])?;
        let own = told.iter().find(|told| told.sent.to_string() == sent.hash);
        let taken = own.map_or([U256::ZERO; 2], |told| [told.event.refunded, told.event.rest]);
        Ok((sent, taken))
    }

    /// Brings what judge and vault owe our owner to its account.
    pub(super) fn collect(&self) -> Result<(), CourtError> {
        let account = self.owner;
        if !self.rpc.call(self.at.disputes, &IDisputes::creditCall { account })?.is_zero() {
            self.send(self.at.disputes, &IDisputes::withdrawCall { account })?;
        }
        if !self.rpc.call(self.at.vault, &IVault::creditCall { account })?.is_zero() {
            self.send(self.at.vault, &IVault::withdrawCall { account })?;
        }
        Ok(())
    }

    /// The name of a case: the digest of its receipt.
    pub(super) fn id(&self, case: &Case) -> Digest {
        case.receipt.body.digest(&self.network)
    }
}
