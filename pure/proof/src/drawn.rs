//! Which of those that could verify does.

use crate::Candidate;
use crate::parameters::VERIFIER_UNIT;
use std::collections::BTreeSet;
use talkoo_base::{Address, Amount, Digest};

/// One of `others`: first its operator, by stake, so that many nodes of one owner are no more likely than one; then one
/// of its nodes. Everybody has one share, and one more for each [`VERIFIER_UNIT`] of bond.
pub(crate) fn drawn(draw: &Digest, others: &[&Candidate], bond: impl Fn(&Address) -> Amount) -> Option<Candidate> {
    let operators: BTreeSet<Address> = others.iter().map(|c| c.operator).collect();
    let weight = |operator: &Address| 1 + (bond(operator).0 / VERIFIER_UNIT).min(u128::from(u32::MAX));
    let shares: u128 = operators.iter().map(weight).sum();
    let mut left = (u128::from(draw.first_u64()) * shares) >> 64;
    let operator = operators.iter().find(|operator| {
        let own = weight(operator);
        let found = left < own;
        left = left.saturating_sub(own);
        found
    })?;
    let nodes: Vec<&&Candidate> = others.iter().filter(|c| c.operator == *operator).collect();
    let second = u64::from_be_bytes(draw.0[8..16].try_into().expect("eight bytes"));
    Some(**nodes[usize::try_from(second % nodes.len() as u64).expect("fewer than there are nodes")])
}
