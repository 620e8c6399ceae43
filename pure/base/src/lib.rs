//! The words: keys, ids, amounts, times, limits, refusals and the canonical bytes of every signed record.
