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
    /// Its contracts that vouchers and channels name.
    pub contracts: Contracts,
}

/// The contracts that vouchers and channels name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contracts {
    /// Payment channels: x402's `batch-settlement`.
    pub settlement: Address,
    /// Receiver of every worker's channels: `WorkerVault`.
    pub vault: Address,
    /// What is paid with.
    pub token: Address,
}

const fn predeploy(last: u8) -> Address {
    let mut bytes = [0; 20];
    (bytes[0], bytes[1], bytes[19]) = (0x7a, 0x1c, last);
    Address(bytes)
}

impl Contracts {
    /// x402's `batch-settlement` where its makers deployed it on existing chains; our genesis has it there, too.
    pub const CANONICAL_SETTLEMENT: Address = Address([
        0x40, 0x20, 0x07, 0x4e, 0x9d, 0xf2, 0xce, 0x1d, 0xee, 0x5a, 0x9c, 0x1b, 0x5c, 0x3f, 0x54, 0x1d, 0x02, 0xa1, 0,
        3,
    ]);
    /// Those of every genesis of ours.
    pub const GENESIS: Self = Self { settlement: Self::CANONICAL_SETTLEMENT, vault: predeploy(2), token: predeploy(3) };
}

impl Network {
    /// Chain id of every embedded network that nobody named otherwise ("talkoo" on a phone's keys).
    pub const LOCAL_CHAIN_ID: u64 = 825_566;

    /// A private network with the local chain id.
    #[must_use]
    pub fn local(name: &str) -> Self {
        Self { name: name.into(), chain_id: Self::LOCAL_CHAIN_ID, contracts: Contracts::GENESIS }
    }

    /// Whether `name` may be a network's name.
    #[must_use]
    pub fn is_name(name: &str) -> bool {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        (1..=32).contains(&name.len()) && name.chars().all(ok)
    }

    /// Domain of requests, receipts, cards and delegations. Its verifying contract is 0x7a1c…01 on every chain: a name
    /// that all contracts agree on, whichever of them opens the record.
    #[must_use]
    pub fn talkoo_domain(&self) -> Domain {
        Domain { name: "Talkoo", version: "1", chain_id: self.chain_id, verifying_contract: predeploy(1) }
    }

    /// Domain of vouchers and channel configs: x402 v2 `batch-settlement`, unchanged.
    #[must_use]
    pub fn payment_domain(&self) -> Domain {
        Domain {
            name: "x402 Batch Settlement",
            version: "1",
            chain_id: self.chain_id,
            verifying_contract: self.contracts.settlement,
        }
    }
}
