//! What buyer, owner and keepers say to one another as nodes: one question, one answer.
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
/// Bytes of a manifest: far more than its rules allow.
const MANIFEST_BYTES_MAX: usize = 256 << 10;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// Buyer to owner: the key, please. `grant` is zero for a gift. The delegation says whose node asks.
    Ask { version: Digest, grant: u64, delegation: Sealed<Delegation> },
    /// Owner to buyer: the key, wrapped for the node that asked.
    Tell { version: Digest, grant: u64, wrap: ByteBuf },
    /// No. `grant` is zero for a gift, and for what is not kept.
    Refuse { version: Digest, grant: u64, reason: String },
    /// Owner to keeper: keep this share, please, and what the manifest says.
    Keep { version: Digest, part: u8, wrap: ByteBuf, manifest: ByteBuf },
    /// Keeper to owner: the share is kept, and maybe all sealed blocks.
    Kept { version: Digest, has_data: bool },
    /// Keeper to buyer: it is paid, and I would deliver.
    Ready { version: Digest, grant: u64 },
    /// Buyer to keeper: enough are ready, deliver.
    Deliver { version: Digest, grant: u64, delegation: Sealed<Delegation> },
    /// Keeper to buyer: a share, wrapped for the node that asked.
    Share { version: Digest, grant: u64, part: u8, wrap: ByteBuf },
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
            Self::Tell { wrap, .. } | Self::Keep { wrap, .. } | Self::Share { wrap, .. }
                if wrap.len() > WRAP_BYTES_MAX =>
            {
                return Err(DecodeError::Rule("a wrapped key has at most 256 bytes"));
            }
            Self::Refuse { reason, .. } => talk::clean(reason),
            Self::Keep { manifest, .. } if manifest.len() > MANIFEST_BYTES_MAX => {
                return Err(DecodeError::Rule("a manifest has at most 256 KiB"));
            }
            Self::Ask { .. } | Self::Tell { .. } | Self::Keep { .. } | Self::Kept { .. } => {}
            Self::Ready { .. } | Self::Deliver { .. } | Self::Share { .. } => {}
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
        let (version, grant, wrap) = (Digest([7; 32]), 3, ByteBuf::from(vec![1; 113]));
        let delegation = Sealed { body, signature };
        let good = [
            Said::Ask { version, grant, delegation: delegation.clone() },
            Said::Tell { version, grant, wrap: wrap.clone() },
            Said::Refuse { version, grant, reason: "not paid".into() },
            Said::Keep { version, part: 1, wrap: wrap.clone(), manifest: ByteBuf::from(vec![2; 600]) },
            Said::Kept { version, has_data: false },
            Said::Ready { version, grant },
            Said::Deliver { version, grant, delegation },
            Said::Share { version, grant, part: 3, wrap: wrap.clone() },
        ];
        let refuse = |reason| Said::Refuse { version, grant, reason };
        talk::check(&good, refuse, Said::to_bytes, Said::from_bytes);
        assert!(good.iter().all(|said| is_of_data(&said.to_bytes())));
        let (long, manifest) = (ByteBuf::from(vec![0; 257]), ByteBuf::from(vec![0; MANIFEST_BYTES_MAX + 1]));
        let bad = [
            Said::Tell { version, grant, wrap: long.clone() },
            Said::Share { version, grant, part: 1, wrap: long.clone() },
            Said::Keep { version, part: 1, wrap: long, manifest: ByteBuf::new() },
            Said::Keep { version, part: 1, wrap, manifest },
        ];
        for said in bad {
            assert!(matches!(Said::from_bytes(&said.to_bytes()), Err(DecodeError::Rule(_))));
        }
    }
}
