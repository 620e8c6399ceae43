//! What buyer and owner say to each other as nodes: one question, one answer.
//!
//! A message is the byte 5, then canonical DAG-CBOR of [`Said`]. A wrapped key is worth nothing to anybody but its node.

use crate::talk;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use talkoo_base::wire::{DecodeError, Sealed};
use talkoo_base::{Delegation, Digest};

/// First byte.
const DATA: u8 = 5;
/// Bytes of a wrapped key or share.
const WRAP_BYTES_MAX: usize = 256;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// Buyer to owner: the key, please. `grant` is zero for a gift. The delegation says whose node asks.
    Ask { version: Digest, grant: u64, delegation: Sealed<Delegation> },
    /// Owner to buyer: the key, wrapped for the node that asked.
    Tell { version: Digest, grant: u64, wrap: ByteBuf },
    /// Owner to buyer: no.
    Refuse { version: Digest, grant: u64, reason: String },
}

/// Whether a message between nodes is about data.
pub(crate) fn is_of_data(bytes: &[u8]) -> bool {
    bytes.first() == Some(&DATA)
}

impl Said {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        talk::to_bytes(DATA, self)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut said: Self = talk::from_bytes(DATA, bytes)?;
        match &mut said {
            Self::Tell { wrap, .. } if wrap.len() > WRAP_BYTES_MAX => {
                return Err(DecodeError::Rule("a wrapped key has at most 256 bytes"));
            }
            Self::Refuse { reason, .. } => talk::clean(reason),
            Self::Ask { .. } | Self::Tell { .. } => {}
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use talkoo_base::{Address, SecretKey, Signer as _, Unix};

    #[test]
    fn what_is_said_is_read_again_and_nothing_else_is() {
        let signature = SecretKey::from_bytes(&[1; 32]).unwrap().sign(&Digest([4; 32]));
        let body = Delegation { owner: Address([1; 20]), node: Address([2; 20]), roles: 7, expiry: Unix(9) };
        let (version, grant) = (Digest([7; 32]), 3);
        let good = [
            Said::Ask { version, grant, delegation: Sealed { body, signature } },
            Said::Tell { version, grant, wrap: ByteBuf::from(vec![1; 113]) },
            Said::Refuse { version, grant, reason: "not paid".into() },
        ];
        let refuse = |reason| Said::Refuse { version, grant, reason };
        talk::check(&good, refuse, Said::to_bytes, Said::from_bytes);
        assert!(good.iter().all(|said| is_of_data(&said.to_bytes())));
        let long = Said::Tell { version, grant, wrap: ByteBuf::from(vec![0; 257]) };
        assert!(Said::from_bytes(&long.to_bytes()).is_err());
    }
}
