//! The fast forward pass: many positions at once, on several threads, with the kernels.

mod cache;
mod forward;
mod measure;
mod score;

pub(crate) use cache::Cache;
pub(crate) use forward::{LOGITS_BATCH, Observer, Row};
pub use measure::Speed;

use crate::kernels::{Activations, Isa, Kernel, Pool};
use crate::model::Model;
use std::sync::Arc;

/// Positions of one batch: more does not make a matrix product faster, less memory stays in cache.
pub(crate) const BATCH: usize = 128;

/// Runs one model on its own threads, one task at a time; [`crate::Server`] runs many. Threads sleep
/// between tasks.
#[derive(Debug)]
pub struct Engine {
    pub(crate) model: Arc<Model>,
    isa: Isa,
    pool: Pool,
    /// Positions of one batch.
    batch: usize,
    /// Of the task in progress.
    cache: Cache,
    pub(crate) memory: Memory,
}

/// Vectors of one batch, kept between batches.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// tokens x embedding, Q16.
    residual: Vec<i64>,
    x: Activations,
    query: Vec<i64>,
    key: Vec<i64>,
    value: Vec<i64>,
    /// tokens x query, Q20.
    mixed: Vec<i64>,
    /// Output of the matrix that is added to the residual.
    delta: Vec<i64>,
    gate: Vec<i64>,
    up: Vec<i64>,
    /// Canonical key and value rows of one layer: tokens x row bytes.
    rows: Vec<u8>,
    /// A layer whose states somebody wants to see, and their bytes so far.
    pub(crate) shown: Option<(usize, Vec<Vec<u8>>)>,
    logits: Vec<i64>,
    /// Position of every token of the batch in its stream.
    positions: Vec<usize>,
    /// Rotation of every token of the batch, in global and in local layers.
    angles: [Vec<(i64, i64)>; 2],
}

impl Engine {
    /// An engine with the fastest kernels this machine has, on `threads` threads (at least one).
    #[must_use]
    pub fn new(model: Arc<Model>, threads: usize) -> Self {
        Self::with_kernel(model, threads, Kernel::Auto)
    }

    /// An engine with chosen kernels. All give the same results; tests and audits compare them.
    #[must_use]
    pub fn with_kernel(model: Arc<Model>, threads: usize, kernel: Kernel) -> Self {
        Self {
            isa: Isa::detect(kernel),
            pool: Pool::new(threads),
            batch: BATCH,
            cache: Cache::default(),
            memory: Memory::default(),
            model,
        }
    }

    /// The model it runs.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Name of the instructions in use: `scalar`, `avx2` or `avx512-vnni`.
    #[must_use]
    pub fn kernel_name(&self) -> &'static str {
        self.isa.name()
    }

    /// Threads in use, the caller's included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Uses at most so many of its threads, at least one, until told otherwise. Costs next to nothing;
    /// results do not depend on it.
    pub fn set_threads(&mut self, threads: usize) {
        self.pool.set_threads(threads);
    }

    /// Positions per batch of a prefill, for tests and benches: results do not depend on it.
    pub fn set_batch(&mut self, positions: usize) {
        self.batch = positions.max(1);
    }
}
