//! Stakes: what an operator sends so that its bond votes.

use talkoo_base::wire::Typed;
use talkoo_base::{Address, Network, SecretKey, Signer, ValidatorKey};
use talkoo_ledger::bindings::IStaking;

/// The call with which `operator`'s bond votes by `key` from the next epoch on, if the bond has the role to validate and
/// [`talkoo_ledger::contracts::VALIDATOR_BOND_MIN`]. The operator sends it to the staking contract.
pub(crate) fn set_validator_key(key: &SecretKey, operator: Address) -> IStaking::setValidatorKeyCall {
    let named = ValidatorKey { operator, key: key.address() };
    // The digest depends on the chain, not on the network's name.
    let signature = key.sign(&named.digest(&Network::local("")));
    IStaking::setValidatorKeyCall { key: named.key.0.into(), signature: signature.0.to_vec().into() }
}
