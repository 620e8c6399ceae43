//! Pretended signatures: a hash that names the signer. Some seeds use real keys and real bytes.

use std::sync::Arc;
use talkoo_base::{Address, Digest, NodeId, SecretKey, Signature, Signer, sha256};

struct Pretended(Address);

impl Signer for Pretended {
    fn address(&self) -> Address {
        self.0
    }

    fn sign(&self, digest: &Digest) -> Signature {
        let mut bytes = [0; 65];
        bytes[..32].copy_from_slice(&sha256(&[&self.0.0, &digest.0]).0);
        Signature(bytes)
    }
}

/// Name and signer of node number `index`.
pub(crate) fn identity(index: u32, real: bool) -> (NodeId, Arc<dyn Signer>) {
    if real {
        let secret = sha256(&[b"simulated node", &index.to_be_bytes()]);
        let key = SecretKey::from_bytes(&secret.0).expect("a hash below the group order, for these few numbers");
        return (key.node_id(), Arc::new(key));
    }
    let id = NodeId::pretended(index + 1);
    (id, Arc::new(Pretended(id.address())))
}
