//! What the two sides of a dispute say to each other as nodes: one question, one answer.
//!
//! A message is the byte 4, then canonical DAG-CBOR of [`Said`]; the chain's begin with 1, 2 and 3, all others with none of
//! these. It travels as they do: queued within the limits of the connection, or not at all.

use crate::talk;
use serde::{Deserialize, Serialize};
use talkoo_base::Digest;
use talkoo_base::wire::{Check, DecodeError};
use talkoo_proof::dispute::{Answer, Question};

/// First byte.
const DISPUTE: u8 = 4;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// Client to worker.
    Ask { id: u64, lease: Digest, receipt: Digest, question: Question },
    /// Worker to client: the answer to that.
    Tell { id: u64, answer: Answer },
    /// Worker to client: there will be none.
    Refuse { id: u64, reason: String },
}

/// Whether a message between nodes is about a dispute.
pub(crate) fn is_of_dispute(bytes: &[u8]) -> bool {
    bytes.first() == Some(&DISPUTE)
}

impl Said {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        talk::to_bytes(DISPUTE, self)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut said: Self = talk::from_bytes(DISPUTE, bytes)?;
        match &mut said {
            Self::Tell { answer: Answer::Roots { roots, .. }, .. } => roots.check()?,
            Self::Refuse { reason, .. } => talk::clean(reason),
            Self::Ask { .. } | Self::Tell { .. } => {}
        }
        Ok(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use talkoo_base::wire::VectorRoots;
    use talkoo_base::{SecretKey, Signer};

    #[test]
    fn what_is_said_is_read_again_and_nothing_else_is() {
        let question = Question::Roots { position: 41, layer: 17, vectors: vec![5, 7] };
        let roots = |vectors: &[u64]| {
            let (vectors, roots) = (vectors.to_vec(), vec![Digest([3; 32])]);
            VectorRoots { receipt: Digest([2; 32]), position: 41, layer: 17, vectors, roots }
        };
        let signature = SecretKey::from_bytes(&[1; 32]).unwrap().sign(&Digest([4; 32]));
        let tell = |vectors: &[u64]| Said::Tell { id: 9, answer: Answer::Roots { roots: roots(vectors), signature } };
        let good = [
            Said::Ask { id: 9, lease: Digest([1; 32]), receipt: Digest([2; 32]), question },
            tell(&[5]),
            Said::Refuse { id: 9, reason: "no such lease".into() },
        ];
        let refuse = |reason| Said::Refuse { id: 1, reason };
        talk::check(&good, refuse, Said::to_bytes, Said::from_bytes);
        assert!(good.iter().all(|said| is_of_dispute(&said.to_bytes())));
        assert!(Said::from_bytes(&tell(&[5, 7]).to_bytes()).is_err(), "two vectors, one root");
        assert!(!is_of_dispute(&[]) && !is_of_dispute(&[1, 4]));
    }
}
