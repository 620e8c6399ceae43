//! Answers for whoever pays, without key or account: x402 version 2, scheme `exact` by ERC-3009. The node is its own facilitator.
//!
//! ```text
//! no payment ─► the body is read, the prompt tokenised ─► 402, the price in PAYMENT-REQUIRED
//! PAYMENT-SIGNATURE ─► checked, the nonce taken ─► the answer begins ─► first piece of a stream, or all of it, is there
//!    ─► intent on the disk ─► transfer on the chain ─► noted as paid ─► the answer leaves, with PAYMENT-RESPONSE
//! ```
//! No answer, no transfer; no transfer, no answer. What was paid and broke off is answered again to who sends the same
//! authorization and body again: the seed follows from the authorization, so it is the same answer.

mod check;
mod desk;
mod door;
mod kept;
mod places;
mod settling;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use door::{is_free, is_sold, look_around, sell};

use futures::future::BoxFuture;
use kept::Kept;
use places::Places;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use talkoo_base::{Address, Amount, Digest, Price, Refusal, Signature};

/// Reasons, as the specification names them (§9); those that it has not, as `@x402/evm` does.
mod reason {
    pub(super) const PAYLOAD: &str = "invalid_payload";
    pub(super) const VERSION: &str = "invalid_x402_version";
    pub(super) const SCHEME: &str = "unsupported_scheme";
    pub(super) const NETWORK: &str = "invalid_network";
    pub(super) const REQUIREMENTS: &str = "invalid_payment_requirements";
    pub(super) const SIGNATURE: &str = "invalid_exact_evm_payload_signature";
    pub(super) const RECIPIENT: &str = "invalid_exact_evm_payload_recipient_mismatch";
    pub(super) const VALUE: &str = "invalid_exact_evm_payload_authorization_value";
    pub(super) const VALID_AFTER: &str = "invalid_exact_evm_payload_authorization_valid_after";
    pub(super) const VALID_BEFORE: &str = "invalid_exact_evm_payload_authorization_valid_before";
    pub(super) const FUNDS: &str = "insufficient_funds";
    pub(super) const NONCE: &str = "invalid_exact_evm_nonce_already_used";
    pub(super) const PENDING: &str = "settlement_pending";
    pub(super) const TRANSACTION: &str = "invalid_transaction_state";
    pub(super) const SETTLE: &str = "unexpected_settle_error";
}

/// Why a payment is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
struct No {
    reason: &'static str,
    message: String,
}

impl No {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// What is paid with, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// The token.
    pub asset: Address,
    /// Its EIP-712 domain's name.
    pub name: String,
    /// Its EIP-712 domain's version.
    pub version: String,
    /// That domain's separator.
    pub separator: Digest,
    /// Who is paid.
    pub pay_to: Address,
}

impl Terms {
    /// The chain as CAIP-2 names it.
    fn network(&self) -> String {
        format!("eip155:{}", self.chain_id)
    }
}

/// A payer's signed order to the token (ERC-3009).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authorization {
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// In the token's smallest unit.
    pub value: u128,
    /// It is good after this second since 1970.
    pub valid_after: u64,
    /// It is good before this second since 1970.
    pub valid_before: u64,
    /// Makes it good once.
    pub nonce: Digest,
    /// Of `from`.
    pub signature: Signature,
}

/// What the chain says of an authorization before it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What the payer has.
    pub balance: u128,
    /// Whether the nonce was used, or taken back.
    pub is_used: bool,
    /// Number of the last block.
    pub block: u64,
    /// Why the chain would refuse the transfer now, if it would: a frozen account, or one that is good after the last block's time.
    pub refusal: Option<String>,
}

/// Why a transfer did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// The chain refuses it.
    Refused(String),
    /// It was sent as this transaction, and stands in no block yet.
    Late(String),
    /// Nobody knows: the chain did not answer.
    Away(String),
}

/// The chain, as far as payments need it.
pub trait Till: Send + Sync + 'static {
    /// What is paid with, and to whom.
    fn terms(&self) -> BoxFuture<'_, Result<Terms, Refusal>>;
    /// How payer and nonce stand now, and whether the transfer would be made; nothing is sent.
    fn look(&self, authorization: Authorization) -> BoxFuture<'_, Result<Look, Refusal>>;
    /// The transaction that used an authorization after block `since`, if one did; its being taken back is none.
    fn find(&self, from: Address, nonce: Digest, since: u64) -> BoxFuture<'_, Result<Option<String>, Refusal>>;
    /// Makes the transfer, and waits for its block; its transaction. `sent` was sent before for the same authorization: only waited for.
    fn settle(
        &self,
        authorization: Authorization,
        since: u64,
        sent: Option<String>,
    ) -> BoxFuture<'_, Result<String, Unsettled>>;
}

/// What a node sells answers with.
pub struct Selling {
    /// The chain.
    pub till: Arc<dyn Till>,
    /// What tokens cost.
    pub price: Price,
    /// What an answer costs at least: its transfer takes gas.
    pub least: Amount,
}

/// All that the door needs.
pub(crate) struct Sales {
    till: Arc<dyn Till>,
    pub(crate) price: Price,
    least: Amount,
    kept: Arc<Kept>,
    places: Arc<Places>,
}

impl Sales {
    /// Says on the log whether answers can be sold now.
    pub(crate) async fn try_out(&self) {
        match self.till.terms().await {
            Ok(terms) => {
                let (network, asset, pay_to) = (terms.network(), terms.asset, terms.pay_to);
                tracing::info!(network, %asset, %pay_to, "answers are sold by x402");
            }
            Err(no) => tracing::warn!(%no, "answers can't be sold by x402"),
        }
    }

    /// Reads what was paid before.
    pub(crate) fn open(selling: Selling, folder: PathBuf) -> io::Result<Self> {
        let Selling { till, price, least } = selling;
        Ok(Self { till, price, least, kept: Arc::new(Kept::open(folder)?), places: Arc::default() })
    }
}
