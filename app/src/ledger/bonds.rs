//! What workers' operators have at stake: it decides how often a client checks them.

use super::rpc::RpcError;
use super::treasury::{News, Purse};
use alloy_primitives::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use talkoo_base::Amount;
use talkoo_ledger::bindings::IStaking;

/// How often bonds are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// What was told of bonds, and when they were looked at.
#[derive(Default)]
pub(super) struct Bonds {
    told: BTreeMap<talkoo_base::Address, u128>,
    looked: Option<Instant>,
}

impl Purse {
    /// Tells the bonds of everybody whom we pay, when they change. A bond that is on its way out does not count.
    pub(super) fn look_at_bonds(&mut self) -> Result<(), RpcError> {
        let operators: BTreeSet<_> = self.ours.values().map(|ours| ours.config.receiver_authorizer).collect();
        let is_new = operators.iter().any(|operator| !self.bonds.told.contains_key(operator));
        if operators.is_empty() || (!is_new && self.bonds.looked.is_some_and(|at| at.elapsed() < LOOK)) {
            return Ok(());
        }
        self.bonds.looked = Some(Instant::now());
        for operator in operators {
            let call = IStaking::bondOfCall { operator: Address::from(operator.0) };
            let bond: u128 = self.rpc.call(self.at().staking, &call)?.saturating_to();
            let before = self.bonds.told.insert(operator, bond);
            // Nothing is what is taken for granted.
            if before.unwrap_or(0) != bond {
                (self.tell)(News::Bond { operator, bond: Amount(bond) });
            }
        }
        Ok(())
    }
}
