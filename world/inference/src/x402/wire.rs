//! What x402 version 2 writes into headers: base64 of JSON (specs/x402-specification-v2.md, specs/transports-v2/http.md).

use super::{Authorization, No, Terms, reason};
use crate::limits::{PAY_WITHIN_S, PAYMENT_BYTES_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use talkoo_base::{Address, Digest, Signature};

/// The version that is spoken.
const VERSION: u64 = 2;
/// The one scheme.
pub(super) const SCHEME: &str = "exact";

/// What is asked for one request: `PaymentRequirements`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Requirement {
    pub(super) terms: Terms,
    /// In the asset's smallest unit.
    pub(super) amount: u128,
    /// How many orders the request is.
    pub(super) orders: usize,
}

/// What a buyer sends: `PaymentPayload`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Payment {
    /// The requirement that he says he fulfils.
    pub(super) accepted: Value,
    pub(super) authorization: Authorization,
}

impl Requirement {
    pub(super) fn json(&self) -> Value {
        let Terms { asset, pay_to, name, version, .. } = &self.terms;
        json!({
            "scheme": SCHEME,
            "network": self.terms.network(),
            "amount": self.amount.to_string(),
            "asset": asset.to_string(),
            "payTo": pay_to.to_string(),
            "maxTimeoutSeconds": PAY_WITHIN_S,
            "extra": {"name": name, "version": version},
        })
    }

    /// `PAYMENT-REQUIRED` of a request to `url`, which is refused for `error`.
    pub(super) fn header(&self, url: &str, error: &str) -> String {
        let resource =
            json!({"url": url, "description": "An answer of a language model", "mimeType": "application/json"});
        encode(&json!({"x402Version": VERSION, "error": error, "resource": resource, "accepts": [self.json()]}))
    }
}

/// `PAYMENT-RESPONSE` of a payment that was settled by `transaction`, or not, for a reason.
pub(super) fn settled(terms: &Terms, authorization: &Authorization, end: Result<&str, &str>) -> String {
    let mut value = json!({
        "success": end.is_ok(),
        "transaction": end.unwrap_or_default(),
        "network": terms.network(),
        "payer": authorization.from.to_string(),
    });
    match end {
        Ok(_) => value["amount"] = json!(authorization.value.to_string()),
        Err(reason) => value["errorReason"] = json!(reason),
    }
    encode(&value)
}

fn encode(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

/// Reads `PAYMENT-SIGNATURE`.
///
/// # Errors
/// What is no payment of the scheme `exact` by ERC-3009.
pub(super) fn decode(header: &[u8]) -> Result<Payment, No> {
    let no = |message: &str| No::new(reason::PAYLOAD, message);
    if header.len() > PAYMENT_BYTES_MAX {
        return Err(no("the payment has more than 8,192 bytes"));
    }
    let bytes = STANDARD.decode(header.trim_ascii()).map_err(|_| no("the payment is not base64"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| no("the payment is not JSON"))?;
    if value["x402Version"] != VERSION {
        return Err(No::new(reason::VERSION, "x402Version is not 2"));
    }
    if !value["accepted"].is_object() {
        return Err(no("`accepted` is missing"));
    }
    let payload = &value["payload"];
    if !payload["permit2Authorization"].is_null() {
        return Err(No::new(reason::SCHEME, "only ERC-3009 is taken, not Permit2"));
    }
    let signed = &payload["authorization"];
    let field = |name: &str| signed[name].as_str().ok_or_else(|| no(&format!("`authorization.{name}` is no text")));
    let account =
        |name: &str| account(field(name)?).ok_or_else(|| no(&format!("`authorization.{name}` is no address")));
    let number = |name: &str| number(field(name)?).ok_or_else(|| no(&format!("`authorization.{name}` is no number")));
    let seconds = |name: &str| Ok::<_, No>(u64::try_from(number(name)?).unwrap_or(u64::MAX));
    let nonce = field("nonce")?;
    let nonce = Digest::from_hex(nonce).filter(|_| nonce.starts_with("0x"));
    let authorization = Authorization {
        from: account("from")?,
        to: account("to")?,
        value: number("value")?,
        valid_after: seconds("validAfter")?,
        valid_before: seconds("validBefore")?,
        nonce: nonce.ok_or_else(|| no("`authorization.nonce` is not 0x and 64 hexadecimal digits"))?,
        signature: signature(payload["signature"].as_str().unwrap_or_default())?,
    };
    Ok(Payment { accepted: value["accepted"].clone(), authorization })
}

fn account(text: &str) -> Option<Address> {
    let mut bytes = [0; 20];
    hex::decode_to_slice(text.strip_prefix("0x")?, &mut bytes).ok()?;
    Some(Address(bytes))
}

/// A whole number, decimal, or hexadecimal behind `0x`.
fn number(text: &str) -> Option<u128> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // `parse` would take a sign.
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u128::from_str_radix(digits, radix).ok().filter(|_| is_plain)
}

fn signature(text: &str) -> Result<Signature, No> {
    let no = |message: &str| No::new(reason::SIGNATURE, message);
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let mut bytes = [0; 65];
    match hex::decode_to_slice(digits, &mut bytes) {
        Ok(()) => {}
        Err(_) if digits.len() > 130 => {
            return Err(no("only signatures of a key's 65 bytes are taken, none of contracts (ERC-1271, ERC-6492)"));
        }
        Err(_) => return Err(no("`signature` is not 0x and 130 hexadecimal digits")),
    }
    // Some signers write the parity alone.
    bytes[64] += if bytes[64] < 2 { 27 } else { 0 };
    Ok(Signature(bytes))
}
