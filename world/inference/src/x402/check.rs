//! Whether a payment is the one that is asked (specs/schemes/exact/scheme_exact_evm.md, "Verification").

use super::wire::{Payment, Requirement, SCHEME};
use super::{Authorization, No, Terms, reason};
use crate::limits::{CLOCKS_S, PAY_WITHIN_S, SETTLE_ROOM_S};
use serde_json::Value;
use talkoo_base::eip712::StructHash;
use talkoo_base::{Digest, keccak256, recover};

/// ERC-3009's struct.
const TRANSFER: &str = "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,\
                        uint256 validBefore,bytes32 nonce)";

/// What the payer signs, under the token's domain.
pub(super) fn digest(terms: &Terms, authorization: &Authorization) -> Digest {
    let Authorization { from, to, value, valid_after, valid_before, nonce, .. } = authorization;
    let (after, before) = (u128::from(*valid_after), u128::from(*valid_before));
    let fields = StructHash::new(TRANSFER).address(from).address(to).uint(*value).uint(after).uint(before).word(nonce);
    keccak256(&[&[0x19, 0x01], &terms.separator.0, &fields.finish().0])
}

/// Whether he who pays has signed.
///
/// # Errors
/// If somebody else did, or for another token or chain.
pub(super) fn signed(terms: &Terms, authorization: &Authorization) -> Result<(), No> {
    match recover(&digest(terms, authorization), &authorization.signature) {
        Ok(signer) if signer == authorization.from => Ok(()),
        _ => Err(No::new(reason::SIGNATURE, "the authorization is not signed by `from`, for this token and chain")),
    }
}

/// Whether a payment is what is asked, at `now` in seconds since 1970; its signature was looked at.
///
/// # Errors
/// The first field that is not.
pub(super) fn fits(asked: &Requirement, payment: &Payment, now: u64) -> Result<(), No> {
    let Payment { accepted, authorization } = payment;
    if accepted["scheme"] != SCHEME {
        return Err(No::new(reason::SCHEME, "only the scheme `exact` is taken"));
    }
    if accepted["network"] != asked.terms.network() {
        return Err(No::new(reason::NETWORK, format!("what is asked is on {}", asked.terms.network())));
    }
    let want = asked.json();
    let same = |key: &str| match (&want[key], &accepted[key]) {
        // Addresses are written with a checksum's capitals, or without.
        (Value::String(want), Value::String(have)) => want.eq_ignore_ascii_case(have),
        (want, have) => want == have,
    };
    if let Some(key) = ["amount", "asset", "payTo", "maxTimeoutSeconds"].into_iter().find(|key| !same(key)) {
        return Err(No::new(reason::REQUIREMENTS, format!("`accepted.{key}` is not what this request is asked")));
    }
    if ["name", "version"].iter().any(|key| accepted["extra"][*key] != want["extra"][*key]) {
        return Err(No::new(reason::REQUIREMENTS, "`accepted.extra` is not what this request is asked"));
    }
    if authorization.to != asked.terms.pay_to {
        return Err(No::new(reason::RECIPIENT, "the authorization pays somebody else"));
    }
    if authorization.value != asked.amount {
        return Err(No::new(reason::VALUE, format!("this request costs {}, no more and no less", asked.amount)));
    }
    if authorization.valid_after >= now {
        return Err(No::new(reason::VALID_AFTER, "the authorization is not good yet"));
    }
    if authorization.valid_before < now + SETTLE_ROOM_S {
        let message = format!("the authorization ends within {SETTLE_ROOM_S} s, too soon for a block");
        return Err(No::new(reason::VALID_BEFORE, message));
    }
    if authorization.valid_before > now + PAY_WITHIN_S + CLOCKS_S {
        let message = format!("the authorization is good for longer than {} s", PAY_WITHIN_S + CLOCKS_S);
        return Err(No::new(reason::VALID_BEFORE, message));
    }
    Ok(())
}
