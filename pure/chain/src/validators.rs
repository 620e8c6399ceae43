//! Who votes at a height, how much it counts, and whose turn it is to propose.
//!
//! Turns go round in the order of addresses. Who let its turn go by is left out until the height is the next multiple
//! of [`ABSENT_HEIGHTS`]. That is read from who built each block, which all nodes agree on. The signatures of a
//! certificate, which would tell more, are not agreed on: two honest nodes hold different ones for the same block.

use crate::context::Address;
use crate::limits::{ABSENT_HEIGHTS, POWER_MAX};
use std::collections::BTreeSet;
use std::sync::Arc;
use talkoo_base as base;
use talkoo_base::{VALIDATORS_MAX, Validator};

/// One of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voter {
    pub(crate) address: Address,
    pub(crate) power: u64,
}

/// The validators of one height. Cheap to copy: the core does it often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validators(Arc<Set>);

#[derive(Debug, PartialEq, Eq)]
struct Set {
    voters: Vec<Voter>,
    power: u64,
    absent: BTreeSet<base::Address>,
    /// Positions in `voters` of those whose turn comes.
    turns: Vec<usize>,
}

impl Validators {
    /// The caller reads the set from the chain's state, so a bad one is our own bug: there are 1 to
    /// [`VALIDATORS_MAX`], each once, each with some power, together at most [`POWER_MAX`].
    pub(crate) fn new(validators: &[Validator], absent: BTreeSet<base::Address>) -> Self {
        assert!((1..=VALIDATORS_MAX).contains(&validators.len()), "a chain has 1 to {VALIDATORS_MAX} validators");
        let mut voters: Vec<Voter> =
            validators.iter().map(|v| Voter { address: Address(v.address), power: v.power }).collect();
        voters.sort_unstable_by_key(|v| v.address);
        assert!(voters.windows(2).all(|two| two[0].address < two[1].address), "a validator stands there twice");
        assert!(voters.iter().all(|v| v.power > 0), "a validator has no power");
        let power = voters.iter().fold(0u64, |sum, v| sum.saturating_add(v.power));
        assert!(power <= POWER_MAX, "the validators have more power than may be counted");
        let mut absent = absent;
        absent.retain(|a| voters.iter().any(|v| v.address.0 == *a));
        if absent.len() == voters.len() {
            absent.clear();
        }
        let turns = (0..voters.len()).filter(|i| !absent.contains(&voters[*i].address.0)).collect();
        Self(Arc::new(Set { voters, power, absent, turns }))
    }

    /// The set of the height after `height`, whose block `builder` made.
    pub(crate) fn next(&self, height: u64, builder: base::Address, validators: &[Validator]) -> Self {
        let mut absent = self.0.absent.clone();
        if (height + 1).is_multiple_of(ABSENT_HEIGHTS) {
            absent.clear();
        } else if self.get(builder).is_some() {
            absent.remove(&builder);
            let turns = (0..).map(|round| self.proposer(height, round).address.0);
            absent.extend(turns.take(self.0.voters.len()).take_while(|a| *a != builder));
        }
        Self::new(validators, absent)
    }

    pub(crate) fn voters(&self) -> &[Voter] {
        &self.0.voters
    }

    pub(crate) fn power(&self) -> u64 {
        self.0.power
    }

    pub(crate) fn absent(&self) -> &BTreeSet<base::Address> {
        &self.0.absent
    }

    pub(crate) fn get(&self, address: base::Address) -> Option<&Voter> {
        let at = self.0.voters.binary_search_by_key(&address, |v| v.address.0).ok()?;
        self.0.voters.get(at)
    }

    /// Whose turn it is. After everybody who is not left out had one in this height, everybody has.
    pub(crate) fn proposer(&self, height: u64, round: u32) -> &Voter {
        let Set { voters, turns, .. } = &*self.0;
        let (turn, round) = (height + u64::from(round), round as usize);
        let nth = |count: usize| usize::try_from(turn % count as u64).expect("below a count");
        if round < turns.len() { &voters[turns[nth(turns.len())]] } else { &voters[nth(voters.len())] }
    }

    /// As records.
    pub(crate) fn records(&self) -> Vec<Validator> {
        self.0.voters.iter().map(|v| Validator { address: v.address.0, power: v.power }).collect()
    }
}
