//! A batch of quantised vectors, with the sums of codes that zero points and minimums need.
//!
//! Tokens stand in tiles of eight, and each tile block by block: what a kernel needs of a block for all
//! tokens of a tile lies side by side, at distances known when it is compiled.

use super::pool::{Pool, SharedSlice};
use super::{Isa, quantize};
use std::cell::RefCell;
use talkoo_exact::limits::{BLOCK, COLUMNS_MAX};

/// Tokens in one tile.
pub(super) const TOKENS: usize = 8;

#[derive(Clone, Debug, Default)]
pub(crate) struct Activations {
    pub(crate) tokens: usize,
    pub(super) columns: usize,
    /// Per tile, block of 32 columns and token: 32 codes. The last tile may have tokens to spare.
    pub(super) codes: Vec<i8>,
    /// Per tile, block and token: a mantissa.
    pub(super) mantissas: Vec<i32>,
    /// Per tile, block and token: the sum of the codes.
    pub(super) sums: Vec<i32>,
    /// The same of every half block.
    pub(super) half_sums: Vec<i32>,
    /// One exponent per token.
    pub(super) exponents: Vec<i32>,
}

/// Index of a token's number in a list of one number per tile, block and token.
pub(super) fn place(token: usize, block: usize, blocks: usize) -> usize {
    (token / TOKENS * blocks + block) * TOKENS + token % TOKENS
}

/// One token's part of a batch.
pub(crate) struct ActivationRow<'a> {
    token: usize,
    columns: usize,
    codes: &'a SharedSlice<'a, i8>,
    mantissas: &'a SharedSlice<'a, i32>,
    sums: &'a SharedSlice<'a, i32>,
    half_sums: &'a SharedSlice<'a, i32>,
    exponents: &'a SharedSlice<'a, i32>,
}

impl ActivationRow<'_> {
    /// Quantises `x`, which has `fraction_bits` fraction bits.
    pub(crate) fn fill(&mut self, isa: Isa, x: &[i64], fraction_bits: i32) {
        let blocks = self.columns / BLOCK;
        SCRATCH.with_borrow_mut(|(codes, mantissas)| {
            codes.resize(self.columns, 0);
            let exponent = quantize(isa, x, fraction_bits, codes, &mut mantissas[..blocks]);
            // SAFETY: every token is handed out once, and its places belong to no other.
            unsafe { self.exponents.range(self.token, 1)[0] = exponent };
            for (b, (codes, mantissa)) in codes.chunks_exact(BLOCK).zip(mantissas.iter()).enumerate() {
                let halves = [0, 1].map(|h| codes[h * BLOCK / 2..][..BLOCK / 2].iter().map(|c| i32::from(*c)).sum());
                let at = place(self.token, b, blocks);
                // SAFETY: as above.
                unsafe {
                    self.codes.range(at * BLOCK, BLOCK).copy_from_slice(codes);
                    self.mantissas.range(at, 1)[0] = i32::from(*mantissa);
                    self.sums.range(at, 1)[0] = halves[0] + halves[1];
                    for (h, sum) in halves.into_iter().enumerate() {
                        self.half_sums.range(place(self.token, 2 * b + h, 2 * blocks), 1)[0] = sum;
                    }
                }
            }
        });
    }
}

/// Blocks of the longest vector the contract allows.
const MANTISSAS: usize = COLUMNS_MAX / BLOCK;

thread_local! {
    /// Codes and mantissas of one token in order.
    static SCRATCH: RefCell<(Vec<i8>, [u16; MANTISSAS])> = const { RefCell::new((Vec::new(), [0; MANTISSAS])) };
}

impl Activations {
    /// Fills the batch: `fill(token, row)` for each of `tokens`, each by one thread.
    pub(crate) fn fill(
        &mut self,
        pool: &mut Pool,
        tokens: usize,
        columns: usize,
        fill: &(dyn Fn(usize, ActivationRow<'_>) + Sync),
    ) {
        (self.tokens, self.columns) = (tokens, columns);
        let numbers = tokens.next_multiple_of(TOKENS) * (columns / BLOCK);
        self.codes.resize(numbers * BLOCK, 0);
        self.mantissas.resize(numbers, 0);
        self.sums.resize(numbers, 0);
        self.half_sums.resize(numbers * 2, 0);
        self.exponents.resize(tokens, 0);
        let (codes, mantissas) = (SharedSlice::new(&mut self.codes), SharedSlice::new(&mut self.mantissas));
        let (sums, half_sums) = (SharedSlice::new(&mut self.sums), SharedSlice::new(&mut self.half_sums));
        let exponents = SharedSlice::new(&mut self.exponents);
        pool.run(tokens, 4, &|range| {
            for token in range {
                let (codes, mantissas, sums, half_sums) = (&codes, &mantissas, &sums, &half_sums);
                let exponents = &exponents;
                fill(token, ActivationRow { token, columns, codes, mantissas, sums, half_sums, exponents });
            }
        });
    }

    /// The codes of a token in one block of 32.
    pub(super) fn block(&self, token: usize, block: usize) -> &[i8] {
        &self.codes[place(token, block, self.columns / BLOCK) * BLOCK..][..BLOCK]
    }

    /// Its mantissa there.
    pub(super) fn mantissa(&self, token: usize, block: usize) -> i32 {
        self.mantissas[place(token, block, self.columns / BLOCK)]
    }

    /// Sums of codes per tile, block of `size` (16 or 32) columns and token.
    pub(super) fn sums_of(&self, size: usize) -> &[i32] {
        if size == BLOCK { &self.sums } else { &self.half_sums }
    }
}
