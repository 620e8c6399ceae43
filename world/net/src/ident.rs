//! A node's key as libp2p sees it. The PeerId of a secp256k1 key contains the key, so both
//! directions need no lookup.

use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, secp256k1};
use talkoo_base::NodeId;

/// The multihash code of "identity": the digest is the key itself.
const IDENTITY: u64 = 0;

/// The libp2p name of a node; `None` only for the names that the simulator pretends.
#[must_use]
pub fn peer_id_of(node: &NodeId) -> Option<PeerId> {
    let key = secp256k1::PublicKey::try_from_bytes(node.as_bytes()).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The node of a libp2p name; `None` for peers with another kind of key, which are never nodes.
#[must_use]
pub fn node_of(peer: &PeerId) -> Option<NodeId> {
    let hash = peer.as_ref();
    if hash.code() != IDENTITY {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(hash.digest()).ok()?.try_into_secp256k1().ok()?;
    NodeId::from_bytes(&key.to_bytes()).ok()
}

/// The key pair of a node; `None` if the bytes are no key.
pub(crate) fn keypair_of(key: &[u8; 32]) -> Option<Keypair> {
    let secret = secp256k1::SecretKey::try_from_bytes(*key).ok()?;
    Some(secp256k1::Keypair::from(secret).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use talkoo_base::{SecretKey, Signer};

    #[test]
    fn one_key_has_three_names() {
        let peer = keypair_of(&[7; 32]).unwrap().public().to_peer_id();
        let node = node_of(&peer).unwrap();
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        assert_eq!(node, key.node_id());
        assert_eq!(peer_id_of(&node), Some(peer));
        // Measured against js-libp2p and ethers.
        assert_eq!(peer.to_string(), "16Uiu2HAm5hPxT7s3TA2f4b4YjAPzS7yLRSgdj87ysDZ6NAXMiRuY");
        assert_eq!(key.address().to_string(), "0x4a62316623ad457f02cdc5d997ded67a383ec569");
    }

    #[test]
    fn other_keys_are_no_nodes() {
        assert_eq!(node_of(&Keypair::generate_ed25519().public().to_peer_id()), None);
        assert_eq!(node_of(&PeerId::random()), None);
        assert_eq!(peer_id_of(&NodeId::pretended(1)), None);
        assert!(keypair_of(&[0; 32]).is_none());
    }
}
