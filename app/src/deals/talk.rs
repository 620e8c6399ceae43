//! What clients and providers of storage say to each other as nodes; the deals themselves are made on chain.
//!
//! A message is the byte 6, then canonical DAG-CBOR of [`Said`].

use serde::{Deserialize, Serialize};
use talkoo_base::wire::{DecodeError, decode_shape, encode};
use talkoo_base::{Address, Digest};

/// First byte.
const DEALS: u8 = 6;
/// Longest reason of a peer that we keep, in characters.
const REASON_CHARS_MAX: usize = 300;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// Client to provider: would you keep so much for so long?
    Ask { id: u64, bytes: u64, epochs: u32, epoch_s: u64 },
    /// Provider to client: its owner's account, and the price of an epoch.
    Offer { id: u64, owner: Address, price: u64 },
    /// Provider to client: no, and why.
    Refuse { id: u64, reason: String },
    /// Provider to client: this deal will not be accepted, and why.
    Decline { deal: Digest, reason: String },
}

/// Whether a message between nodes is about deals.
pub(crate) fn is_of_deals(bytes: &[u8]) -> bool {
    bytes.first() == Some(&DEALS)
}

impl Said {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        [&[DEALS], encode(self).as_slice()].concat()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut said: Self = decode_shape(bytes.strip_prefix(&[DEALS]).unwrap_or_default())?;
        if let Self::Refuse { reason, .. } | Self::Decline { reason, .. } = &mut said {
            *reason = reason.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect();
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_again_and_nothing_else_is() {
        let good = [
            Said::Ask { id: 9, bytes: 1 << 40, epochs: 30, epoch_s: 86_400 },
            Said::Offer { id: 9, owner: Address([1; 20]), price: 7 },
            Said::Refuse { id: 9, reason: "there is no room".into() },
            Said::Decline { deal: Digest([2; 32]), reason: "too cheap".into() },
        ];
        for said in good {
            let bytes = said.to_bytes();
            assert!(is_of_deals(&bytes));
            assert_eq!(Said::from_bytes(&bytes).unwrap(), said);
            assert!(Said::from_bytes(&bytes[1..]).is_err() && Said::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        }
        assert!(!is_of_deals(&[]) && !is_of_deals(&[4, 6]) && Said::from_bytes(&[DEALS]).is_err());
        let long = Said::Refuse { id: 1, reason: "a\n".repeat(1_000) };
        let Said::Refuse { reason, .. } = Said::from_bytes(&long.to_bytes()).unwrap() else { panic!("{long:?}") };
        assert_eq!(reason, "a".repeat(REASON_CHARS_MAX));
    }
}
