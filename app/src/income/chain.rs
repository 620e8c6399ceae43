//! Income that stands on the ledger, dated by its blocks: of the owner, whichever of his nodes earned it.
//!
//! | source | counted at | what |
//! |---|---|---|
//! | storage | `Proven` of a deal | its price for an epoch |
//! | data | `Paid` for a version, when its key is delivered | what its parents leave of it |
//! | data | `Distributed` of a version that was made from one of ours | our part, less that of our parents |
//! | x402 | a transfer to the owner by authorization (ERC-3009) | all of it |

use super::book::DAY_S;
use super::{Days, Sources};
use crate::commands::{Books, refusal_of};
use crate::ledger::{RpcError, Told};
use alloy_primitives::{Address, B256, U256};
use alloy_sol_types::SolEvent;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use talkoo_base::{Refusal, RefusalCode};
use talkoo_ledger::bindings::{IAssets, IDeals, IRevenue, IToken, Share};

/// Blocks of an outside chain that are looked at: each thousand is a question to somebody else's server.
const OUTSIDE_BLOCKS: u64 = 10_000;
/// Versions whose income one answer looks at.
const VERSIONS_MAX: usize = 1_000;

/// What is looked at.
struct Look<'a> {
    books: &'a Books,
    owner: Address,
    /// First and last block.
    span: (u64, u64),
    /// Days of blocks.
    times: BTreeMap<u64, u64>,
    /// Versions that were looked up: whether each is the owner's, and its parents.
    versions: BTreeMap<B256, (bool, Vec<Share>)>,
}

/// Reads what came since a time; since when it was looked at, which is later if the chain is long and not ours.
pub(super) fn read(books: &Books, from: u64, into: &mut Sources) -> Result<u64, Refusal> {
    let owner = books.account("owner").map_err(|why| refusal_of(&why))?;
    read_for(books, owner, from, into).map_err(|no| match no {
        No::Rpc(why) => Refusal::new(RefusalCode::Silent, why.to_string(), "the node's log says more; try again"),
        No::TooMany => {
            let message = format!("more than {VERSIONS_MAX} versions of data were paid for in these days");
            Refusal::new(RefusalCode::TooLarge, message, "ask for fewer days")
        }
    })
}

enum No {
    Rpc(RpcError),
    TooMany,
}

impl From<RpcError> for No {
    fn from(why: RpcError) -> Self {
        Self::Rpc(why)
    }
}

fn read_for(books: &Books, owner: Address, from: u64, into: &mut Sources) -> Result<u64, No> {
    let last: u64 = books.rpc.number("eth_blockNumber", &json!([]))?.saturating_to();
    let least = if books.place.is_outside() { last.saturating_sub(OUTSIDE_BLOCKS) } else { 0 };
    let mut look = Look { books, owner, span: (least, last), times: BTreeMap::new(), versions: BTreeMap::new() };
    let since = look.time(least)?;
    look.span.0 = look.first_block(from)?;
    look.storage(least, &mut into.storage)?;
    look.data(&mut into.data)?;
    look.x402(&mut into.x402)?;
    // A block before the span may be its last: what is older than was asked for is left out by the days.
    Ok(since)
}

impl Look<'_> {
    /// When a block was made.
    fn time(&mut self, block: u64) -> Result<u64, RpcError> {
        if let Some(time) = self.times.get(&block) {
            return Ok(*time);
        }
        let told = self.books.rpc.ask("eth_getBlockByNumber", &json!([format!("0x{block:x}"), false]))?;
        let time = told["timestamp"].as_str().and_then(|text| text.parse::<U256>().ok()).unwrap_or_default();
        let time = time.saturating_to();
        self.times.insert(block, time);
        Ok(time)
    }

    /// The first block that is not older.
    fn first_block(&mut self, from: u64) -> Result<u64, RpcError> {
        let (mut low, mut high) = self.span;
        while low < high {
            let middle = low + (high - low) / 2;
            if self.time(middle)? < from { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    fn events<E: SolEvent>(&self, at: Address, topics: &[Option<B256>]) -> Result<Vec<Told<E>>, RpcError> {
        self.books.rpc.events(at, self.span, topics)
    }

    fn add(&mut self, days: &mut Days, block: u64, amount: u128) -> Result<(), RpcError> {
        let sum = days.entry(self.time(block)? / DAY_S).or_default();
        *sum = sum.saturating_add(amount);
        Ok(())
    }

    fn storage(&mut self, least: u64, days: &mut Days) -> Result<(), RpcError> {
        let at = self.books.place.at.deals;
        let ours = [None, Some(self.owner.into_word())];
        let rpc = &self.books.rpc;
        let ours: BTreeSet<B256> = rpc
            .events::<IDeals::Proposed>(at, (least, self.span.1), &ours)?
            .into_iter()
            .map(|told| told.event.id)
            .collect();
        if ours.is_empty() {
            return Ok(());
        }
        let mut prices = BTreeMap::new();
        for Told { event: IDeals::Proven { id, .. }, block, .. } in self.events(at, &[])? {
            if !ours.contains(&id) {
                continue;
            }
            let price = match prices.get(&id) {
                Some(price) => *price,
                None => self.books.rpc.call(at, &IDeals::dealOfCall { id })?.price,
            };
            prices.insert(id, price);
            self.add(days, block, price)?;
        }
        Ok(())
    }

    fn data(&mut self, days: &mut Days) -> Result<(), No> {
        let at = self.books.place.at.revenue;
        for Told { event: IRevenue::Paid { version, amount, .. }, block, .. } in self.events(at, &[])? {
            let (is_ours, parents) = self.version(version)?;
            if is_ours {
                self.add(days, block, left(amount, &parents))?;
            }
        }
        for Told { event: IRevenue::Distributed { version, amount, .. }, block, .. } in self.events(at, &[])? {
            for parent in self.version(version)?.1 {
                let (is_ours, parents) = self.version(parent.version)?;
                if is_ours {
                    self.add(days, block, left(part(amount, parent.bps), &parents))?;
                }
            }
        }
        Ok(())
    }

    /// Whether a version is the owner's, and what it was made from.
    fn version(&mut self, id: B256) -> Result<(bool, Vec<Share>), No> {
        if let Some(known) = self.versions.get(&id) {
            return Ok(known.clone());
        }
        if self.versions.len() >= VERSIONS_MAX {
            return Err(No::TooMany);
        }
        let (rpc, at) = (&self.books.rpc, self.books.place.at.assets);
        let version = rpc.call(at, &IAssets::versionOfCall { id })?;
        let owner = rpc.call(at, &IAssets::ownerOfCall { asset: version.asset })?;
        let known = (owner == self.owner, version.parents);
        self.versions.insert(id, known.clone());
        Ok(known)
    }

    fn x402(&mut self, days: &mut Days) -> Result<(), RpcError> {
        let at = self.books.place.at.token;
        let to_us = [None, Some(self.owner.into_word())];
        let came = self.events::<IToken::Transfer>(at, &to_us)?;
        if came.is_empty() {
            return Ok(());
        }
        let authorized = self.events::<IToken::AuthorizationUsed>(at, &[])?;
        let authorized: BTreeSet<(B256, Address)> =
            authorized.into_iter().map(|told| (told.sent, told.event.authorizer)).collect();
        for Told { event, sent, block } in came {
            if event.from != self.owner && authorized.contains(&(sent, event.from)) {
                self.add(days, block, event.value.saturating_to())?;
            }
        }
        Ok(())
    }
}

/// A part in ten-thousandths, as `RevenueSplit` rounds it.
fn part(amount: U256, bps: u16) -> U256 {
    amount * U256::from(bps) / U256::from(10_000)
}

/// What parents leave of an amount.
fn left(amount: U256, parents: &[Share]) -> u128 {
    parents.iter().fold(amount, |rest, parent| rest.saturating_sub(part(amount, parent.bps))).saturating_to()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_divide_is_the_owner_s() {
        let share = |bps| Share { version: B256::ZERO, bps };
        assert_eq!(left(U256::from(1_001), &[]), 1_001);
        assert_eq!(left(U256::from(1_001), &[share(2_500), share(3_333)]), 1_001 - 250 - 333);
        assert_eq!(left(U256::from(3), &[share(10_000)]), 0);
    }
}
