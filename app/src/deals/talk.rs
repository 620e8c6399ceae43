//! What clients and providers of storage say to each other as nodes; the deals themselves are made on chain.
//!
//! A message is the byte 6, then canonical DAG-CBOR of [`Said`].

use crate::talk;
use serde::{Deserialize, Serialize};
use talkoo_base::wire::DecodeError;
use talkoo_base::{Address, Digest};

/// First byte.
const DEALS: u8 = 6;

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
        talk::to_bytes(DEALS, self)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut said: Self = talk::from_bytes(DEALS, bytes)?;
        if let Self::Refuse { reason, .. } | Self::Decline { reason, .. } = &mut said {
            talk::clean(reason);
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
        let refuse = |reason| Said::Refuse { id: 1, reason };
        talk::check(&good, refuse, Said::to_bytes, Said::from_bytes);
        assert!(good.iter().all(|said| is_of_deals(&said.to_bytes())));
        assert!(!is_of_deals(&[]) && !is_of_deals(&[4, 6]));
    }
}
