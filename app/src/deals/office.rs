//! The contract of deals and the beacon, as this node calls them. Everything is read from the chain before something is sent,
//! so a kill repeats nothing.

use crate::ledger::{Place, Rpc, RpcError};
use alloy_primitives::{Address, B256, Bytes, U256, aliases::U40, keccak256};
use alloy_sol_types::{SolCall, SolInterface, SolValue};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_base::{Digest, SecretKey, Signer, sha256};
use talkoo_ledger::Deployment;
use talkoo_ledger::bindings::IDeals::{self, IDealsErrors};
use talkoo_ledger::bindings::{Deal, DealState, DealTerms, IBeacon, IToken, authorization};
use talkoo_store::possession::Proof;
use thiserror::Error;

/// Seconds that an authorization to take money is good for.
const AUTHORIZATION_S: u64 = 600;
/// Blocks in which what became of epochs is counted.
const COUNTED_BLOCKS: u64 = 20_000;
/// Epochs that a poke decides at most.
const POKED_MAX: u64 = 64;

/// Why the chain does not do what we ask.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(super) enum OfficeError {
    /// It says no.
    #[error("the contract refuses: {0}")]
    Refused(String),
    /// The owner's key is needed.
    #[error("the wallet is locked, and money has to be put up: talkoo wallet unlock")]
    Locked,
    /// The ledger.
    #[error(transparent)]
    Rpc(RpcError),
}

impl From<RpcError> for OfficeError {
    fn from(error: RpcError) -> Self {
        match error {
            RpcError::Refused { code: 3, message, data } => {
                let named = IDealsErrors::abi_decode(&data).map(|error| format!("{error:?}"));
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
pub(super) struct Office {
    pub(super) rpc: Arc<Rpc>,
    pub(super) at: Deployment,
    pub(super) node: Arc<SecretKey>,
    pub(super) owner: Address,
    pub(super) owner_key: OwnerKey,
    pub(super) is_outside: bool,
}

impl Office {
    pub(super) fn new(place: &Place, node: Arc<SecretKey>, owner: Address, owner_key: OwnerKey) -> Self {
        Self { rpc: Arc::new(place.rpc()), at: place.at, node, owner, owner_key, is_outside: place.is_outside() }
    }

    /// Who we are on the chain.
    pub(super) fn me(&self) -> Address {
        self.node.address().0.into()
    }

    fn send<C: SolCall>(&self, to: Address, call: &C) -> Result<(), OfficeError> {
        self.rpc.wait(self.rpc.send(&self.node, to, call)?)?;
        Ok(())
    }

    /// Seconds since 1970, as the next block has them.
    pub(super) fn time(&self) -> Result<u64, OfficeError> {
        Ok(self.rpc.time()?)
    }

    /// The owner's word that `to` may take `amount`, once: until when, and the signature.
    fn authorize(&self, to: Address, amount: u128, nonce: B256) -> Result<(U256, Bytes), OfficeError> {
        let key = self.owner_key.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key.as_ref().ok_or(OfficeError::Locked)?;
        let separator = self.rpc.call(self.at.token, &IToken::DOMAIN_SEPARATORCall {})?;
        let until = self.time()? + AUTHORIZATION_S;
        let digest = authorization::digest(separator, self.owner, to, amount, until, nonce);
        Ok((U256::from(until), key.sign(&Digest(digest.0)).0.to_vec().into()))
    }

    /// The name that a deal on these terms will have.
    pub(super) fn id_of(&self, terms: &DealTerms) -> Digest {
        Digest(keccak256((self.at.deals, terms.clone(), self.me()).abi_encode()).0)
    }

    pub(super) fn deal(&self, id: &Digest) -> Result<Deal, OfficeError> {
        Ok(self.rpc.call(self.at.deals, &IDeals::dealOfCall { id: id.0.into() })?)
    }

    /// How the first undecided epoch stands; nothing if the deal is not active.
    pub(super) fn challenge(&self, id: &Digest) -> Result<Option<IDeals::challengeReturn>, OfficeError> {
        match self.rpc.call(self.at.deals, &IDeals::challengeCall { id: id.0.into() }) {
            Ok(drawn) => Ok(Some(drawn)),
            Err(RpcError::Refused { code: 3, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Locks the price of a deal.
    pub(super) fn propose(&self, terms: DealTerms, name: Vec<u8>) -> Result<(), OfficeError> {
        let amount = terms.price.saturating_mul(terms.epochs.into());
        let id = self.id_of(&terms);
        let (until, signature) = self.authorize(self.at.deals, amount, id.0.into())?;
        self.send(self.at.deals, &IDeals::proposeCall { terms, name: name.into(), validBefore: until, signature })
    }

    /// Locks the collateral of a deal.
    pub(super) fn accept(&self, id: &Digest, collateral: u128) -> Result<(), OfficeError> {
        let (until, signature) = self.authorize(self.at.deals, collateral, id.0.into())?;
        self.send(self.at.deals, &IDeals::acceptCall { id: id.0.into(), validBefore: until, signature })
    }

    pub(super) fn prove(&self, id: &Digest, proofs: [Proof; 2]) -> Result<(), OfficeError> {
        let path = |proof: &Proof| proof.path.siblings.iter().map(|d| B256::from(d.0)).collect();
        let siblings = [path(&proofs[0]), path(&proofs[1])];
        let leaves = proofs.map(|proof| proof.data.into());
        self.send(self.at.deals, &IDeals::proveCall { id: id.0.into(), leaves, siblings })
    }

    /// Lets time decide.
    pub(super) fn poke(&self, id: &Digest) -> Result<(), OfficeError> {
        self.send(self.at.deals, &IDeals::pokeCall { id: id.0.into(), most: U256::from(POKED_MAX) })
    }

    pub(super) fn cancel(&self, id: &Digest) -> Result<(), OfficeError> {
        self.send(self.at.deals, &IDeals::cancelCall { id: id.0.into() })
    }

    /// Proposals to our owner in blocks `from` to `to`.
    pub(super) fn proposals(&self, from: u64, to: u64) -> Result<Vec<IDeals::Proposed>, OfficeError> {
        let topics = [None, Some(self.owner.into_word())];
        let told = self.rpc.events::<IDeals::Proposed>(self.at.deals, (from, to), &topics)?;
        Ok(told.into_iter().map(|told| told.event).collect())
    }

    /// How many epochs of a deal were proven, missed, and void: in the last blocks of a chain of ours.
    pub(super) fn told_of(&self, id: &Digest) -> Result<[u64; 3], OfficeError> {
        let last = self.block()?;
        let (range, topics) = ((last.saturating_sub(COUNTED_BLOCKS), last), [Some(id.0.into())]);
        let proven = self.rpc.events::<IDeals::Proven>(self.at.deals, range, &topics)?.len();
        let missed = self.rpc.events::<IDeals::Missed>(self.at.deals, range, &topics)?.len();
        let void = self.rpc.events::<IDeals::Void>(self.at.deals, range, &topics)?.len();
        Ok([proven, missed, void].map(|count| count as u64))
    }

    /// The last block.
    pub(super) fn block(&self) -> Result<u64, OfficeError> {
        Ok(self.rpc.number("eth_blockNumber", &json!([]))?.saturating_to())
    }

    /// What our owner has, in micro-units.
    pub(super) fn balance(&self) -> Result<u128, OfficeError> {
        Ok(self.rpc.call(self.at.token, &IToken::balanceOfCall { account: self.owner })?.saturating_to())
    }

    /// Whether the beacon is needed by anybody.
    pub(super) fn has_active(&self) -> Result<bool, OfficeError> {
        Ok(!self.rpc.call(self.at.deals, &IDeals::activeCall {})?.is_zero())
    }

    /// Takes part in the beacon's current round: commits in its first part, reveals in its second. The secret follows from the
    /// node's key, the chain and the round, so a kill forgets none. The round.
    pub(super) fn draw(&self, clock: &BeaconClock, commits: bool) -> Result<u64, OfficeError> {
        let (at, account, now) = (self.at.beacon, self.me(), self.time()?);
        let (round, is_reveal) = (clock.round(now), now % clock.round_s >= clock.commit_s);
        let number = U256::from(round);
        let secret = B256::from(
            sha256(&[b"talkoo/beacon/1", &self.node.expose(), clock.first.as_slice(), &round.to_be_bytes()]).0,
        );
        let committed = self.rpc.call(at, &IBeacon::commitOfCall { round: number, account })?;
        match (is_reveal, committed.is_zero()) {
            (true, false) => self.send(at, &IBeacon::revealCall { secret })?,
            (false, true) if commits => {
                let hash = self.rpc.call(at, &IBeacon::hashOfCall { round: number, account, secret })?;
                let bond = self.rpc.call(at, &IBeacon::BONDCall {})?;
                let nonce = keccak256((hash, account).abi_encode());
                let (valid_before, signature) = self.authorize(at, bond, nonce)?;
                let payer = self.owner;
                self.send(at, &IBeacon::commitForCall { payer, hash, validBefore: valid_before, signature })?;
            }
            _ => {}
        }
        Ok(round)
    }

    /// The beacon's clock.
    pub(super) fn beacon_clock(&self) -> Result<BeaconClock, OfficeError> {
        let block = self.rpc.ask("eth_getBlockByNumber", &json!(["0x0", false]))?;
        let first = block["hash"].as_str().and_then(|hash| hash.parse().ok());
        let first = first.ok_or_else(|| OfficeError::Refused("its first block has no hash".into()))?;
        let commit_s = self.rpc.call(self.at.beacon, &IBeacon::COMMIT_SCall {})?.to::<u64>();
        let reveal_s = self.rpc.call(self.at.beacon, &IBeacon::REVEAL_SCall {})?.to::<u64>();
        Ok(BeaconClock { first, commit_s, round_s: commit_s + reveal_s })
    }

    /// Brings what contracts owe our owner to its account.
    pub(super) fn collect(&self) -> Result<(), OfficeError> {
        let account = self.owner;
        if !self.rpc.call(self.at.deals, &IDeals::creditCall { account })?.is_zero() {
            self.send(self.at.deals, &IDeals::withdrawCall { account })?;
        }
        if !self.rpc.call(self.at.beacon, &IBeacon::creditCall { account })?.is_zero() {
            self.send(self.at.beacon, &IBeacon::withdrawCall { account })?;
        }
        Ok(())
    }
}

/// When the beacon does what, and on which chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BeaconClock {
    /// Hash of the chain's first block.
    pub(super) first: B256,
    pub(super) commit_s: u64,
    pub(super) round_s: u64,
}

impl BeaconClock {
    /// The round at a time.
    pub(super) fn round(&self, now: u64) -> u64 {
        now / self.round_s
    }
}

/// Terms of a deal, from what a client knows.
pub(super) fn terms(owner: Address, object: &super::record::Object, replica: &super::record::Replica) -> DealTerms {
    DealTerms {
        client: owner,
        provider: replica.owner.0.into(),
        root: replica.root.0.into(),
        size: replica.bytes,
        epochS: U40::from(object.epoch_s),
        epochs: replica.epochs,
        price: replica.price.into(),
        collateral: collateral(replica.price, replica.epochs),
        // One replica of one object is proposed once.
        salt: sha256(&[&object.until.to_be_bytes(), &replica.number.to_be_bytes(), &object.cid.to_bytes()]).0.into(),
    }
}

/// What a provider puts up: as much as it is paid in all.
pub(super) fn collateral(price: u64, epochs: u32) -> u128 {
    u128::from(price) * u128::from(epochs)
}

/// Whether a deal is over for its provider.
pub(super) fn is_over(state: DealState) -> bool {
    matches!(state, DealState::Completed | DealState::Terminated | DealState::Lapsed)
}
