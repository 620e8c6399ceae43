//! A batch of quantised vectors, with the sums of codes that zero points and minimums need.

use super::pool::{Pool, SharedSlice};
use super::{Isa, quantize};
use talkoo_exact::limits::BLOCK;

#[derive(Clone, Debug, Default)]
pub(crate) struct Activations {
    pub(crate) tokens: usize,
    pub(super) columns: usize,
    /// tokens * columns codes.
    pub(super) codes: Vec<i8>,
    /// One mantissa per block of 32.
    pub(super) mantissas: Vec<i32>,
    /// Sums of the codes of every 32.
    pub(super) sums: Vec<i32>,
    /// Sums of the codes of every 16.
    pub(super) half_sums: Vec<i32>,
    /// One exponent per token.
    pub(super) exponents: Vec<i32>,
}

/// One token's part of a batch.
pub(crate) struct ActivationRow<'a> {
    codes: &'a mut [i8],
    mantissas: &'a mut [i32],
    sums: &'a mut [i32],
    half_sums: &'a mut [i32],
    exponent: &'a mut i32,
}

impl ActivationRow<'_> {
    /// Quantises `x`, which has `fraction_bits` fraction bits.
    pub(crate) fn fill(&mut self, isa: Isa, x: &[i64], fraction_bits: i32) {
        let mut mantissas = [0u16; MANTISSAS];
        let mantissas = &mut mantissas[..self.mantissas.len()];
        *self.exponent = quantize(isa, x, fraction_bits, self.codes, mantissas);
        for (wide, m) in self.mantissas.iter_mut().zip(mantissas) {
            *wide = i32::from(*m);
        }
        for (sum, codes) in self.half_sums.iter_mut().zip(self.codes.chunks_exact(16)) {
            *sum = codes.iter().map(|c| i32::from(*c)).sum();
        }
        for (sum, halves) in self.sums.iter_mut().zip(self.half_sums.chunks_exact(2)) {
            *sum = halves[0] + halves[1];
        }
    }
}

/// Blocks of the longest vector the contract allows.
const MANTISSAS: usize = talkoo_exact::limits::COLUMNS_MAX / BLOCK;

impl Activations {
    /// Fills the batch: `fill(token, row)` for each of `tokens`, each by one thread.
    pub(crate) fn fill(
        &mut self,
        pool: &mut Pool,
        tokens: usize,
        columns: usize,
        fill: &(dyn Fn(usize, ActivationRow<'_>) + Sync),
    ) {
        let blocks = columns / BLOCK;
        (self.tokens, self.columns) = (tokens, columns);
        self.codes.resize(tokens * columns, 0);
        self.mantissas.resize(tokens * blocks, 0);
        self.sums.resize(tokens * blocks, 0);
        self.half_sums.resize(tokens * blocks * 2, 0);
        self.exponents.resize(tokens, 0);
        let (codes, mantissas) = (SharedSlice::new(&mut self.codes), SharedSlice::new(&mut self.mantissas));
        let (sums, half_sums) = (SharedSlice::new(&mut self.sums), SharedSlice::new(&mut self.half_sums));
        let exponents = SharedSlice::new(&mut self.exponents);
        pool.run(tokens, 4, &|range| {
            for t in range {
                // SAFETY: every token is handed out once, and its ranges belong to no other.
                let row = unsafe {
                    ActivationRow {
                        codes: codes.range(t * columns, columns),
                        mantissas: mantissas.range(t * blocks, blocks),
                        sums: sums.range(t * blocks, blocks),
                        half_sums: half_sums.range(t * blocks * 2, blocks * 2),
                        exponent: &mut exponents.range(t, 1)[0],
                    }
                };
                fill(t, row);
            }
        });
    }
}
