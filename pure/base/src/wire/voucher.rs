//! Payment: x402 v2 `batch-settlement`, unchanged. Types, domain and channel id are those of
//! `@x402/evm` 2.27.0 (`BATCH_SETTLEMENT_DOMAIN`, `computeChannelId`).

use super::{Check, DecodeError, Typed};
use crate::eip712::{Domain, StructHash};
use crate::{Address, Amount, Digest, Network};
use serde::{Deserialize, Serialize};

/// Shortest withdraw delay the contract accepts, in seconds.
const WITHDRAW_DELAY_S_MIN: u64 = 900;
/// Longest withdraw delay the contract accepts, in seconds (30 days).
const WITHDRAW_DELAY_S_MAX: u64 = 2_592_000;

/// What a channel is between; its EIP-712 digest is the channel's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelConfig {
    /// Who deposits.
    pub payer: Address,
    /// Whose signature makes a voucher: the client's node key.
    pub payer_authorizer: Address,
    /// Who receives: the network's WorkerVault.
    pub receiver: Address,
    /// Who may claim for the receiver: the worker's operator.
    pub receiver_authorizer: Address,
    /// Token paid in.
    pub token: Address,
    /// Seconds between asking back the deposit and getting it.
    pub withdraw_delay: u64,
    /// Makes several channels between the same two possible.
    pub salt: Digest,
}

impl ChannelConfig {
    /// The channel's id on a network.
    #[must_use]
    pub fn id(&self, network: &Network) -> Digest {
        self.digest(network)
    }
}

impl Check for ChannelConfig {
    fn check(&self) -> Result<(), DecodeError> {
        if (WITHDRAW_DELAY_S_MIN..=WITHDRAW_DELAY_S_MAX).contains(&self.withdraw_delay) {
            return Ok(());
        }
        Err(DecodeError::Rule("withdraw delay must be 15 minutes to 30 days"))
    }
}

impl Typed for ChannelConfig {
    fn struct_hash(&self) -> Digest {
        StructHash::new(
            "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,\
             address token,uint40 withdrawDelay,bytes32 salt)",
        )
        .address(&self.payer)
        .address(&self.payer_authorizer)
        .address(&self.receiver)
        .address(&self.receiver_authorizer)
        .address(&self.token)
        .uint(self.withdraw_delay.into())
        .word(&self.salt)
        .finish()
    }

    fn domain(network: &Network) -> Domain {
        network.payment_domain()
    }
}

/// The client's cumulative promise to pay on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// Which channel.
    pub channel: Digest,
    /// What the receiver may claim in all, in micro-units.
    pub max_claimable: Amount,
}

impl Check for Voucher {
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl Typed for Voucher {
    fn struct_hash(&self) -> Digest {
        StructHash::new("Voucher(bytes32 channelId,uint128 maxClaimableAmount)")
            .word(&self.channel)
            .uint(self.max_claimable.0)
            .finish()
    }

    fn domain(network: &Network) -> Domain {
        network.payment_domain()
    }
}
