//! Which network a record belongs to: the names and addresses every signature is bound to.

use crate::eip712::Domain;
use crate::keys::Address;

/// Constants of one network. Every signature is bound to its chain id and contracts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Name in protocol ids: `/talkoo/<name>/work/1`. Lower case, digits and `-`, at most 32.
    pub name: String,
    /// EIP-155 chain id of the chain that settles.
    pub chain_id: u64,
}

/// `x402 batch-settlement`: the canonical CREATE2 address on existing chains and in our genesis.
const X402_BATCH_SETTLEMENT: &str = "4020074e9df2ce1dee5a9c1b5c3f541d02a10003";

fn predeploy(last: u8) -> Address {
    let mut bytes = [0; 20];
    (bytes[0], bytes[1], bytes[19]) = (0x7a, 0x1c, last);
    Address(bytes)
}

impl Network {
    /// Chain id of every embedded network that nobody named otherwise ("talkoo" on a phone's keys).
    pub const LOCAL_CHAIN_ID: u64 = 825_566;

    /// A private network with the local chain id.
    #[must_use]
    pub fn local(name: &str) -> Self {
        Self { name: name.into(), chain_id: Self::LOCAL_CHAIN_ID }
    }

    /// Whether `name` may be a network's name.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=32).contains(&name.len()) && name.chars().all(ok)
    }

    /// Domain of requests, receipts, cards and delegations. The verifying contract is the genesis
    /// predeploy 0x7a1c…01, which will judge disputes.
    #[must_use]
    pub fn talkoo_domain(&self) -> Domain {
        Domain { name: "Talkoo", version: "1", chain_id: self.chain_id, verifying_contract: predeploy(1) }
    }

    /// Domain of vouchers and channel configs: x402 v2 `batch-settlement`, unchanged.
    #[must_use]
    pub fn payment_domain(&self) -> Domain {
        let mut address = [0; 20];
        hex::decode_to_slice(X402_BATCH_SETTLEMENT, &mut address).expect("a constant of 40 hex digits");
        Domain {
            name: "x402 Batch Settlement",
            version: "1",
            chain_id: self.chain_id,
            verifying_contract: Address(address),
        }
    }

    /// Receiver of every worker's channels (`WorkerVault`, genesis predeploy 0x7a1c…02).
    #[must_use]
    pub fn worker_vault(&self) -> Address {
        predeploy(2)
    }

    /// The payment token (genesis predeploy 0x7a1c…03).
    #[must_use]
    pub fn token(&self) -> Address {
        predeploy(3)
    }
}
