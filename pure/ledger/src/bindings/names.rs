//! What the calls and events of our contracts are called, for people: by the first bytes of a call, by an event's first topic.

use super::{
    IAccess, IAssets, IBeacon, IDeals, IDelegations, IDisputes, IEquivocation, IFaucet, IParameters, IRevenue,
};
use super::{ISettlement, IStaking, IToken, IVault};
use alloy_primitives::B256;

/// Looks a name up.
type Find<T> = fn(T) -> Option<&'static str>;

/// A contract's function by its selector, as Solidity writes it: `claim((…)[])`. None of a function that the bindings
/// do not have.
#[must_use]
pub fn function(selector: [u8; 4]) -> Option<&'static str> {
    let all: [Find<[u8; 4]>; 14] = [
        IToken::ITokenCalls::signature_by_selector,
        ISettlement::ISettlementCalls::signature_by_selector,
        IVault::IVaultCalls::signature_by_selector,
        IStaking::IStakingCalls::signature_by_selector,
        IDelegations::IDelegationsCalls::signature_by_selector,
        IDisputes::IDisputesCalls::signature_by_selector,
        IEquivocation::IEquivocationCalls::signature_by_selector,
        IParameters::IParametersCalls::signature_by_selector,
        IFaucet::IFaucetCalls::signature_by_selector,
        IAssets::IAssetsCalls::signature_by_selector,
        IAccess::IAccessCalls::signature_by_selector,
        IRevenue::IRevenueCalls::signature_by_selector,
        IDeals::IDealsCalls::signature_by_selector,
        IBeacon::IBeaconCalls::signature_by_selector,
    ];
    all.iter().find_map(|find| find(selector))
}

/// An event by its first topic, as [`function`].
#[must_use]
pub fn event(topic: B256) -> Option<&'static str> {
    let all: [Find<[u8; 32]>; 8] = [
        IToken::ITokenEvents::signature_by_selector,
        ISettlement::ISettlementEvents::signature_by_selector,
        IVault::IVaultEvents::signature_by_selector,
        IDisputes::IDisputesEvents::signature_by_selector,
        IEquivocation::IEquivocationEvents::signature_by_selector,
        IAssets::IAssetsEvents::signature_by_selector,
        IAccess::IAccessEvents::signature_by_selector,
        IDeals::IDealsEvents::signature_by_selector,
    ];
    all.iter().find_map(|find| find(topic.0))
}

#[cfg(test)]
mod tests {
    use super::{event, function};
    use crate::bindings::{IToken, IVault};
    use alloy_primitives::B256;
    use alloy_sol_types::{SolCall, SolEvent};

    #[test]
    fn calls_and_events_have_their_names() {
        assert_eq!(function(IToken::transferCall::SELECTOR), Some("transfer(address,uint256)"));
        assert_eq!(function(IVault::releaseCall::SELECTOR), Some("release(address,uint256)"));
        assert_eq!(function([0xff; 4]), None);
        assert_eq!(event(IToken::Transfer::SIGNATURE_HASH), Some("Transfer(address,address,uint256)"));
        assert_eq!(event(B256::ZERO), None);
    }
}
