//! Takes payments of strangers (x402, scheme `exact`): the chain as [`Till`], with the node's key for the gas.

use super::place::Place;
use super::rpc::{Rpc, RpcError};
use alloy_primitives::{Address, B256, U256};
use futures::future::BoxFuture;
use serde_json::json;
use std::sync::{Arc, OnceLock};
use talkoo_base::eip712::StructHash;
use talkoo_base::{Address as Account, Amount, Digest, Price, Refusal, RefusalCode, SecretKey, Signer as _};
use talkoo_inference::{Authorization, Look, Selling, Terms, Till, Unsettled};
use talkoo_ledger::bindings::IToken;

/// The till of a node.
#[derive(Clone)]
pub(crate) struct NodeTill(Arc<Drawer>);

struct Drawer {
    place: Place,
    rpc: Rpc,
    /// Sends transfers, and pays their gas.
    node: Arc<SecretKey>,
    /// Is paid, as for all that is earned.
    owner: Account,
    terms: OnceLock<Terms>,
}

/// Why a token can't be used.
fn unfit(why: &str) -> Refusal {
    let hint = "x402 needs a token with ERC-20, ERC-3009 and EIP-712, as USDC: `talkoo ledger deploy --token ADDRESS`";
    Refusal::new(RefusalCode::Unfit, format!("this network's payment token can't be sold for ({why})"), hint)
}

fn away(why: &RpcError) -> Refusal {
    Refusal::new(RefusalCode::Silent, why.to_string(), "nothing was paid; ask again later")
}

impl NodeTill {
    fn new(place: Place, node: Arc<SecretKey>, owner: Account) -> Self {
        let rpc = place.rpc();
        Self(Arc::new(Drawer { place, rpc, node, owner, terms: OnceLock::new() }))
    }

    /// What answers are sold with to who has no key: for a price, and for so much at least.
    pub(crate) fn selling(
        ((price, least), place): ((Price, Amount), &Place),
        node: &Arc<SecretKey>,
        owner: Account,
    ) -> Selling {
        Selling { till: Arc::new(Self::new(place.clone(), node.clone(), owner)), price, least }
    }

    /// Asks the chain, where waiting is allowed.
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Drawer) -> Result<T, Refusal> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, Refusal>> {
        let drawer = self.0.clone();
        Box::pin(async move {
            let asked = tokio::task::spawn_blocking(move || ask(&drawer)).await;
            asked.unwrap_or_else(|why| Err(Refusal::new(RefusalCode::Other, why.to_string(), "please report it")))
        })
    }
}

impl Drawer {
    fn terms(&self) -> Result<Terms, Refusal> {
        if let Some(terms) = self.terms.get() {
            return Ok(terms.clone());
        }
        let (token, asset) = (self.place.at.token, Account(self.place.at.token.into()));
        let separator = self.rpc.call(token, &IToken::DOMAIN_SEPARATORCall {}).map_err(|why| match why {
            RpcError::Refused { .. } => unfit("it has no DOMAIN_SEPARATOR"),
            why => away(&why),
        })?;
        let domain = |name: &str, version: &str| {
            StructHash::new("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
                .bytes(name.as_bytes())
                .bytes(version.as_bytes())
                .uint(u128::from(self.place.chain_id))
                .address(&asset)
                .finish()
        };
        // ERC-5267 says both; USDC has `version` instead.
        let (name, version) = match self.rpc.call(token, &IToken::eip712DomainCall {}) {
            Ok(domain) => (domain.name, domain.version),
            Err(_) => {
                let name = self.rpc.call(token, &IToken::nameCall {}).map_err(|why| away(&why))?;
                let version = self.rpc.call(token, &IToken::versionCall {}).map_err(|why| away(&why))?;
                (name, version)
            }
        };
        if domain(&name, &version).0 != separator.0 {
            return Err(unfit("its EIP-712 domain is not made of name, version, chain and address"));
        }
        let state = IToken::authorizationStateCall { authorizer: token, nonce: B256::ZERO };
        self.rpc.call(token, &state).map_err(|why| match why {
            RpcError::Refused { .. } => unfit("it has no ERC-3009"),
            why => away(&why),
        })?;
        let (chain_id, separator, pay_to) = (self.place.chain_id, Digest(separator.0), self.owner);
        let terms = Terms { chain_id, asset, name, version, separator, pay_to };
        Ok(self.terms.get_or_init(|| terms).clone())
    }

    fn look(&self, paid: &Authorization) -> Result<Look, Refusal> {
        let Authorization { from, nonce, .. } = paid;
        let (token, account) = (self.place.at.token, Address::from(from.0));
        let number = |method: &str, params| self.rpc.number(method, &params).map_err(|why| away(&why));
        let (gas, node) =
            (number("eth_getBalance", json!([self.node.address().to_string(), "latest"]))?, self.node.address());
        let (cost, refusal) = match self.rpc.cost(Address::from(node.0), token, &transfer(paid)) {
            Ok(cost) => (cost, None),
            Err(why @ RpcError::Refused { .. }) => (U256::ONE, Some(why.to_string())),
            Err(why) => return Err(away(&why)),
        };
        // Less than one transfer takes is none: else it would be missing when the answer is there.
        if gas < cost {
            let message = format!("this node has too little gas to take payments with, at {node}");
            return Err(Refusal::new(RefusalCode::NotProviding, message, "its owner has to send some"));
        }
        // Before the nonce is looked at: a transfer that comes meanwhile is after it.
        let block = number("eth_blockNumber", json!([]))?.saturating_to();
        let state = IToken::authorizationStateCall { authorizer: account, nonce: nonce.0.into() };
        let is_used = self.rpc.call(token, &state).map_err(|why| away(&why))?;
        let balance = self.rpc.call(token, &IToken::balanceOfCall { account }).map_err(|why| away(&why))?;
        Ok(Look { balance: balance.saturating_to(), is_used, block, refusal })
    }

    /// The transaction that used a nonce; nothing if none did, or its owner took it back.
    fn find(&self, from: Account, nonce: Digest, since: u64) -> Result<Option<String>, RpcError> {
        let (token, authorizer) = (self.place.at.token, Address::from(from.0));
        if !self.rpc.call(token, &IToken::authorizationStateCall { authorizer, nonce: nonce.0.into() })? {
            return Ok(None);
        }
        let last: u64 = self.rpc.number("eth_blockNumber", &json!([]))?.saturating_to();
        let topics = [Some(authorizer.into_word()), Some(B256::from(nonce.0))];
        let told = self.rpc.events::<IToken::AuthorizationUsed>(token, (since, last), &topics)?;
        Ok(told.first().map(|told| told.sent.to_string()))
    }

    fn settle(&self, paid: &Authorization, since: u64, sent: Option<String>) -> Result<String, Unsettled> {
        let found = || self.find(paid.from, paid.nonce, since).map_err(|why| Unsettled::Away(why.to_string()));
        // One that was sent before may come yet: two would cost the gas of both.
        if let Some(hash) = sent.and_then(|hash| hash.parse::<B256>().ok()) {
            match self.rpc.wait(hash) {
                Ok(included) => return Ok(included.hash.to_string()),
                Err(RpcError::Late(_) | RpcError::Unreachable { .. }) => return Err(Unsettled::Late(hash.to_string())),
                Err(_) => {}
            }
        }
        let why = match self.send(paid) {
            Ok(hash) => match self.rpc.wait(hash) {
                Ok(included) => return Ok(included.hash.to_string()),
                Err(RpcError::Late(_) | RpcError::Unreachable { .. }) => return Err(Unsettled::Late(hash.to_string())),
                Err(why) => why,
            },
            Err(why) => why,
        };
        // Whoever brought it to the chain, we are paid.
        match (found()?, why) {
            (Some(transaction), _) => Ok(transaction),
            (None, why @ RpcError::Unreachable { .. }) => Err(Unsettled::Away(why.to_string())),
            (None, why) => Err(Unsettled::Refused(why.to_string())),
        }
    }

    fn send(&self, paid: &Authorization) -> Result<B256, RpcError> {
        self.rpc.send(&self.node, self.place.at.token, &transfer(paid))
    }
}

/// The token's call that makes it.
fn transfer(paid: &Authorization) -> IToken::transferWithAuthorizationCall {
    let (r, s) = paid.signature.0[..64].split_at(32);
    IToken::transferWithAuthorizationCall {
        from: paid.from.0.into(),
        to: paid.to.0.into(),
        value: U256::from(paid.value),
        validAfter: U256::from(paid.valid_after),
        validBefore: U256::from(paid.valid_before),
        nonce: paid.nonce.0.into(),
        v: paid.signature.0[64],
        r: B256::from_slice(r),
        s: B256::from_slice(s),
    }
}

impl Till for NodeTill {
    fn terms(&self) -> BoxFuture<'_, Result<Terms, Refusal>> {
        self.ask(Drawer::terms)
    }

    fn look(&self, authorization: Authorization) -> BoxFuture<'_, Result<Look, Refusal>> {
        self.ask(move |drawer| drawer.look(&authorization))
    }

    fn find(&self, from: Account, nonce: Digest, since: u64) -> BoxFuture<'_, Result<Option<String>, Refusal>> {
        self.ask(move |drawer| drawer.find(from, nonce, since).map_err(|why| away(&why)))
    }

    fn settle(
        &self,
        authorization: Authorization,
        since: u64,
        sent: Option<String>,
    ) -> BoxFuture<'_, Result<String, Unsettled>> {
        let drawer = self.0.clone();
        Box::pin(async move {
            let settled = tokio::task::spawn_blocking(move || drawer.settle(&authorization, since, sent)).await;
            settled.unwrap_or_else(|why| Err(Unsettled::Away(why.to_string())))
        })
    }
}
