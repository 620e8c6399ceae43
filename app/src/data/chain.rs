//! The contracts of data as this node calls them: registry, access and income. What the chain says decides; everything is
//! read from it again before something is sent, so a kill repeats nothing.

use super::manifest::Manifest;
use crate::ledger::{Included, Place, Rpc, RpcError};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::{SolCall, SolEvent, SolInterface};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_base::{Digest, Refusal, RefusalCode, SecretKey};
use talkoo_inference::{Asset, Payment};
use talkoo_ledger::Deployment;
use talkoo_ledger::bindings::IAccess::{self, IAccessErrors};
use talkoo_ledger::bindings::{AssetVersion, IAssets, IRevenue, IToken, Share, Terms};

/// Blocks that one question for events covers.
const LOG_BLOCKS: u64 = 1_000;

/// An owner's key that may come later, when the wallet is opened.
pub(super) type OwnerKey = Arc<Mutex<Option<SecretKey>>>;

/// How a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    None,
    /// Paid, and to be delivered.
    Paid,
    /// Delivered.
    Granted,
    /// Ended by the owner.
    Revoked,
    /// Not delivered, paid back.
    Refunded,
}

/// A grant with its offer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) id: u64,
    pub(super) state: State,
    pub(super) grantee: Address,
    pub(super) end: u64,
    pub(super) uses: u32,
    pub(super) uses_most: u32,
    pub(super) offer: u64,
    pub(super) version: B256,
    pub(super) sealed_key: B256,
    pub(super) price: u128,
}

/// An offer.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) id: u64,
    pub(super) terms: Terms,
}

/// A published version.
pub(super) struct Version {
    pub(super) id: B256,
    pub(super) of: AssetVersion,
    pub(super) owner: Address,
}

/// The contracts.
#[derive(Clone)]
pub(super) struct Desk {
    rpc: Rpc,
    at: Deployment,
    is_outside: bool,
    node: Arc<SecretKey>,
    pub(super) owner: Address,
    owner_key: OwnerKey,
}

/// What the ledger's "no" is for people.
pub(super) fn refusal(error: RpcError) -> Refusal {
    let hint = "see docs/DATA.md";
    match error {
        RpcError::Refused { code: 3, message, data } => {
            let named = IAccessErrors::abi_decode(&data).map(|error| format!("{error:?}"));
            Refusal::new(RefusalCode::Denied, format!("the contract refuses: {}", named.unwrap_or(message)), hint)
        }
        other => Refusal::new(RefusalCode::Silent, other.to_string(), "the node's log says more; try again"),
    }
}

/// The same for a payment: nobody is to pay twice because he was told to try again.
fn unpaid(error: RpcError) -> Refusal {
    let (code, hint) = match &error {
        RpcError::Unreachable { .. } | RpcError::Late(_) => {
            (RefusalCode::Silent, "it may have been sent: see `talkoo wallet history` before you pay again")
        }
        RpcError::Refused { .. } | RpcError::Reverted(_) => {
            (RefusalCode::Denied, "nothing was paid; is there enough, and gas? talkoo wallet show -v")
        }
    };
    Refusal::new(code, error.to_string(), hint)
}

type Answer<T> = Result<T, Refusal>;

fn short(number: U256) -> u64 {
    number.saturating_to()
}

impl Desk {
    pub(super) fn new(place: &Place, node: Arc<SecretKey>, owner: Address, owner_key: OwnerKey) -> Self {
        Self { rpc: place.rpc(), at: place.at, is_outside: place.is_outside(), node, owner, owner_key }
    }

    pub(super) fn is_outside(&self) -> bool {
        self.is_outside
    }

    /// The wallet is open.
    pub(super) fn unlock(&self, key: SecretKey) {
        *self.owner_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    pub(super) fn key(&self) -> Answer<SecretKey> {
        let key = self.owner_key.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key.as_ref().map(|key| SecretKey::from_bytes(&key.expose()).expect("the bytes of a key"));
        let locked = || Refusal::new(RefusalCode::Denied, "the wallet is locked", "talkoo wallet unlock");
        key.ok_or_else(locked)
    }

    fn call<C: SolCall>(&self, to: Address, call: &C) -> Answer<C::Return> {
        self.rpc.call(to, call).map_err(refusal)
    }

    /// Sends as the owner and waits for the block.
    fn act<C: SolCall>(&self, to: Address, call: &C) -> Answer<B256> {
        let key = self.key()?;
        let hash = self.rpc.send(&key, to, call).map_err(refusal)?;
        self.rpc.wait(hash).map_err(refusal)?;
        Ok(hash)
    }

    /// Sends something of the owner's and waits for the block.
    pub(super) fn give(&self, key: &SecretKey, payment: &Payment) -> Answer<Included> {
        let (to, amount) = (Address::from(payment.to.0), U256::from(payment.amount));
        let token = |at| self.rpc.send(key, at, &IToken::transferCall { to, value: amount });
        let sent = match payment.asset {
            Asset::Gas => self.rpc.give(key, to, amount),
            Asset::Money => token(self.at.token),
            Asset::Stake => token(self.at.stake),
        };
        self.rpc.wait(sent.map_err(unpaid)?).map_err(unpaid)
    }

    pub(super) fn time(&self) -> Answer<u64> {
        self.rpc.time().map_err(refusal)
    }

    /// Events of a contract with these topics.
    fn events<E: SolEvent>(&self, contract: Address, topics: &[Option<B256>]) -> Answer<Vec<E>> {
        let last: u64 = self.rpc.number("eth_blockNumber", &json!([])).map_err(refusal)?.saturating_to();
        let mut all = vec![json!(E::SIGNATURE_HASH.to_string())];
        all.extend(topics.iter().map(|topic| json!(topic.map(|topic| topic.to_string()))));
        let mut told = Vec::new();
        for from in (0..=last).step_by(usize::try_from(LOG_BLOCKS).expect("a thousand")) {
            let to = last.min(from + LOG_BLOCKS - 1);
            let (from, to) = (format!("{from:#x}"), format!("{to:#x}"));
            let asked = json!([{"fromBlock": from, "toBlock": to, "address": contract.to_string(), "topics": all}]);
            let logs = self.rpc.ask("eth_getLogs", &asked).map_err(refusal)?;
            told.extend(logs.as_array().into_iter().flatten().filter_map(event::<E>));
        }
        Ok(told)
    }

    /// Events of one transaction.
    fn told<E: SolEvent>(&self, hash: B256) -> Answer<Option<E>> {
        let receipt = self.rpc.ask("eth_getTransactionReceipt", &json!([hash.to_string()])).map_err(refusal)?;
        Ok(receipt["logs"].as_array().into_iter().flatten().find_map(event::<E>))
    }

    /// A version that was published.
    pub(super) fn version(&self, id: B256) -> Answer<Version> {
        let of = self.call(self.at.assets, &IAssets::versionOfCall { id })?;
        if of.state == 0 {
            let hint = "names are an asset's number, a version, a manifest's CID, or OWNER/NAME";
            return Err(Refusal::new(RefusalCode::UnknownId, format!("no version {id} is published"), hint));
        }
        let owner = self.call(self.at.assets, &IAssets::ownerOfCall { asset: of.asset });
        Ok(Version { id, owner: owner?, of })
    }

    /// The newest version of an asset that is not revoked.
    pub(super) fn newest(&self, asset: u64) -> Answer<Version> {
        let ids = self.call(self.at.assets, &IAssets::versionsOfCall { asset: U256::from(asset) })?;
        for id in ids.iter().rev() {
            let version = self.version(*id)?;
            if version.of.state != 3 {
                return Ok(version);
            }
        }
        Err(Refusal::new(RefusalCode::UnknownId, format!("asset {asset} has no version"), "see `talkoo data ls`"))
    }

    /// Every published version, of one owner if that is told; the oldest first.
    pub(super) fn published(&self) -> Answer<Vec<B256>> {
        let events = self.events::<IAssets::Published>(self.at.assets, &[])?;
        Ok(events.into_iter().map(|event| event.version).collect())
    }

    /// A new asset of ours.
    pub(super) fn create(&self) -> Answer<u64> {
        let hash = self.act(self.at.assets, &IAssets::createCall {})?;
        let made = self.told::<IAssets::Transfer>(hash)?.map(|event| short(event.tokenId));
        made.ok_or_else(|| Refusal::new(RefusalCode::Other, "the registry made no asset", "report this"))
    }

    /// Publishes a version of an asset of ours; the same one twice is one.
    pub(super) fn publish(&self, asset: u64, manifest: &Manifest) -> Answer<B256> {
        let block = manifest.block();
        let word = |cid: &talkoo_base::Cid| B256::from_slice(&cid.hash().digest()[..32]);
        let (cid, name, licence) = (word(&manifest.sealed), word(block.cid()), B256::from(manifest.licence_hash().0));
        let id = alloy_primitives::keccak256(alloy_sol_types::SolValue::abi_encode(&(
            U256::from(asset),
            cid,
            name,
            licence,
        )));
        if self.call(self.at.assets, &IAssets::versionOfCall { id })?.state != 0 {
            return Ok(id);
        }
        let parents = manifest.parents.iter().map(|p| Share { version: p.version.0.into(), bps: p.bps }).collect();
        let call = IAssets::publishCall { asset: U256::from(asset), cid, manifest: name, licence, parents };
        self.act(self.at.assets, &call)?;
        Ok(id)
    }

    /// Offers a version.
    pub(super) fn offer(&self, terms: Terms) -> Answer<u64> {
        let hash = self.act(self.at.access, &IAccess::offerCall { terms })?;
        let id = self.told::<IAccess::Offered>(hash)?.map(|event| short(event.offer));
        id.ok_or_else(|| Refusal::new(RefusalCode::Other, "no offer was made", "report this"))
    }

    /// Lets an account deliver for an offer of ours, if it may not yet.
    pub(super) fn let_deliver(&self, offer: u64, account: Address) -> Answer<()> {
        let may = IAccess::deliversCall { offer: U256::from(offer), owner: self.owner, account };
        if self.call(self.at.access, &may)? {
            return Ok(());
        }
        let call = IAccess::setDelivererCall { id: U256::from(offer), account, may: true };
        self.act(self.at.access, &call).map(drop)
    }

    pub(super) fn close_offer(&self, id: u64) -> Answer<()> {
        self.act(self.at.access, &IAccess::closeOfferCall { id: U256::from(id) }).map(drop)
    }

    /// The offers of a version, the oldest first.
    pub(super) fn offers(&self, version: B256) -> Answer<Vec<Offer>> {
        let events = self.events::<IAccess::Offered>(self.at.access, &[None, Some(version)])?;
        events.into_iter().map(|event| self.offer_of(short(event.offer))).collect()
    }

    fn offer_of(&self, id: u64) -> Answer<Offer> {
        let o = self.call(self.at.access, &IAccess::offersCall { id: U256::from(id) })?;
        let IAccess::offersReturn { version, purpose, price, accessS, deliverS, usesMost, isOpen } = o;
        Ok(Offer { id, terms: Terms { version, purpose, price, accessS, deliverS, usesMost, isOpen } })
    }

    /// Pays for an offer; the grant.
    pub(super) fn buy(&self, offer: &Offer) -> Answer<u64> {
        let price = U256::from(offer.terms.price);
        let have = self.call(self.at.token, &IToken::balanceOfCall { account: self.owner })?;
        if have < price {
            let no = Refusal::new(RefusalCode::PriceAboveMax, "there is not enough credit", "talkoo wallet top-up");
            return Err(no.with(price, have));
        }
        if !price.is_zero() {
            self.act(self.at.token, &IToken::approveCall { spender: self.at.access, value: price })?;
        }
        let hash = self.act(self.at.access, &IAccess::buyCall { offerId: U256::from(offer.id) })?;
        let grant = self.told::<IAccess::Bought>(hash)?.map(|event| short(event.grant));
        grant.ok_or_else(|| Refusal::new(RefusalCode::Other, "no grant was made", "report this"))
    }

    /// A grant as the chain has it.
    pub(super) fn grant(&self, id: u64) -> Answer<Grant> {
        let g = self.call(self.at.access, &IAccess::grantsCall { id: U256::from(id) })?;
        let state = match g.state {
            1 => State::Paid,
            2 => State::Granted,
            3 => State::Revoked,
            4 => State::Refunded,
            _ => State::None,
        };
        let offer = self.offer_of(short(g.offer))?;
        let Terms { version, price, usesMost: uses_most, .. } = offer.terms;
        Ok(Grant {
            id,
            state,
            grantee: g.grantee,
            end: g.end.to(),
            uses: g.uses,
            uses_most,
            offer: offer.id,
            version,
            sealed_key: g.sealedKey,
            price,
        })
    }

    /// Whether a grant is good now.
    pub(super) fn good(&self, grant: &Grant) -> Answer<()> {
        let denied = |why: &str| Err(Refusal::new(RefusalCode::Denied, why, "talkoo data buy"));
        match grant.state {
            State::Granted if self.time()? >= grant.end => denied("the grant has expired"),
            State::Granted if grant.uses_most > 0 && grant.uses >= grant.uses_most => denied("the grant is used up"),
            State::Granted => Ok(()),
            State::Paid => denied("the owner has not delivered yet"),
            State::Revoked => denied("the grant was revoked"),
            State::Refunded => denied("the grant was paid back"),
            State::None => denied("there is no such grant"),
        }
    }

    /// Grants that were bought of an offer, or by us.
    pub(super) fn bought(&self, offer: Option<u64>) -> Answer<Vec<u64>> {
        let by = offer.is_none().then(|| self.owner.into_word());
        let topics = [None, offer.map(|id| B256::from(U256::from(id))), by];
        let events = self.events::<IAccess::Bought>(self.at.access, &topics)?;
        Ok(events.into_iter().map(|event| short(event.grant)).collect())
    }

    /// Delivers, as the node if the owner let it.
    pub(super) fn deliver(&self, id: u64, sealed_key: B256) -> Answer<()> {
        let call = IAccess::deliverCall { id: U256::from(id), sealedKey: sealed_key };
        let hash = self.rpc.send(&self.node, self.at.access, &call).map_err(refusal)?;
        self.rpc.wait(hash).map(drop).map_err(refusal)
    }

    /// Counts one use of ours.
    pub(super) fn use_once(&self, id: u64) -> Answer<()> {
        self.act(self.at.access, &IAccess::useCall { id: U256::from(id) }).map(drop)
    }

    pub(super) fn revoke(&self, id: u64) -> Answer<()> {
        self.act(self.at.access, &IAccess::revokeCall { id: U256::from(id) }).map(drop)
    }

    /// Takes back what was paid and not delivered; what came back in all.
    pub(super) fn refund(&self, id: u64) -> Answer<U256> {
        self.act(self.at.access, &IAccess::refundCall { id: U256::from(id) })?;
        let back = self.call(self.at.access, &IAccess::creditCall { account: self.owner })?;
        self.act(self.at.access, &IAccess::withdrawCall { account: self.owner })?;
        Ok(back)
    }

    /// Sends a version's income on to owner and parents, and ours to the wallet; what came.
    pub(super) fn collect(&self, version: B256) -> Answer<U256> {
        if !self.call(self.at.revenue, &IRevenue::dueCall { version })?.is_zero() {
            self.act(self.at.revenue, &IRevenue::distributeCall { version })?;
        }
        let credit = self.call(self.at.revenue, &IRevenue::creditCall { account: self.owner })?;
        if !credit.is_zero() {
            self.act(self.at.revenue, &IRevenue::withdrawCall { account: self.owner })?;
        }
        Ok(credit)
    }
}

fn event<E: SolEvent>(log: &Value) -> Option<E> {
    let topics = log["topics"].as_array()?.iter().map(|topic| topic.as_str()?.parse().ok());
    let topics: Vec<B256> = topics.collect::<Option<_>>()?;
    let data: alloy_primitives::Bytes = log["data"].as_str()?.parse().ok()?;
    E::decode_raw_log(topics, &data).ok()
}

/// A word of the chain as ours.
pub(super) fn digest(word: B256) -> Digest {
    Digest(word.0)
}
