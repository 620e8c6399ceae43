//! The merging of neighbours that all kinds of byte-pair encoding share: the best pair first, the
//! leftmost of equals, with a heap, so that a long text costs n log n and not n².

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Marks the ends of the linked list of symbols.
const NONE: u32 = u32::MAX;

/// Merges until `candidate` knows no pair: it gives the rank (least first) and what the pair becomes.
/// Returns the symbols that are left, in order.
pub(super) fn merge<S: Copy + Ord, R: Ord>(mut symbols: Vec<S>, candidate: impl Fn(S, S) -> Option<(R, S)>) -> Vec<S> {
    let count = symbols.len() as u32;
    let mut next: Vec<u32> = (1..=count).map(|i| if i == count { NONE } else { i }).collect();
    let mut previous: Vec<u32> = (0..count).map(|i| i.checked_sub(1).unwrap_or(NONE)).collect();
    let mut gone = vec![false; symbols.len()];
    let mut heap = BinaryHeap::new();
    let pair = |symbols: &[S], left: u32, right: u32| {
        let (rank, merged) = candidate(symbols[left as usize], symbols[right as usize])?;
        Some(Reverse((rank, left, merged)))
    };
    heap.extend((1..count).filter_map(|i| pair(&symbols, i - 1, i)));
    while let Some(best) = heap.pop() {
        let Reverse((_, left, merged)) = &best;
        let (left, merged, right) = (*left, *merged, next[*left as usize]);
        // A candidate is stale if one of its two symbols has changed since.
        let stale = gone[left as usize] || right == NONE || pair(&symbols, left, right).as_ref() != Some(&best);
        if stale {
            continue;
        }
        symbols[left as usize] = merged;
        gone[right as usize] = true;
        let after = next[right as usize];
        next[left as usize] = after;
        if after != NONE {
            previous[after as usize] = left;
            heap.extend(pair(&symbols, left, after));
        }
        if previous[left as usize] != NONE {
            heap.extend(pair(&symbols, previous[left as usize], left));
        }
    }
    symbols.into_iter().zip(gone).filter(|(_, gone)| !gone).map(|(symbol, _)| symbol).collect()
}
