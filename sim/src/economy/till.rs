//! Where the money is. It only moves; nobody has less than nothing.

use std::ops::{Index, IndexMut};

/// Whose money it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Power plants, machines, chains: what work and names cost goes there.
    Outside,
    /// Nobody, ever.
    Burnt,
    Clients,
    Honest,
    /// Those with a plan.
    League,
    /// Pay that is held.
    Vault,
    Bonds,
}

/// Every account.
const ALL: usize = 7;
/// What people begin with: more than they can spend.
const ENDOWMENT: u128 = 1 << 80;

#[derive(Debug)]
pub(crate) struct Till([u128; ALL]);

impl Till {
    pub(crate) fn new() -> Self {
        let mut till = Self([0; ALL]);
        for who in [Who::Outside, Who::Clients, Who::Honest, Who::League] {
            till[who] = ENDOWMENT;
        }
        till
    }

    pub(crate) fn pay(&mut self, from: Who, to: Who, amount: u128) {
        let left = self[from].checked_sub(amount);
        self[from] = left.unwrap_or_else(|| panic!("{from:?} has {} and cannot pay {amount}", self[from]));
        self[to] += amount;
        assert_eq!(self.0.iter().sum::<u128>(), 4 * ENDOWMENT, "money appeared or vanished");
    }

    /// What an account won, or lost, since the beginning.
    pub(crate) fn won(&self, who: Who) -> i128 {
        let begun = if matches!(who, Who::Outside | Who::Clients | Who::Honest | Who::League) { ENDOWMENT } else { 0 };
        i128::try_from(self[who]).expect("below 2^82") - i128::try_from(begun).expect("2^80")
    }
}

impl Index<Who> for Till {
    type Output = u128;
    fn index(&self, who: Who) -> &u128 {
        &self.0[who as usize]
    }
}

impl IndexMut<Who> for Till {
    fn index_mut(&mut self, who: Who) -> &mut u128 {
        &mut self.0[who as usize]
    }
}
