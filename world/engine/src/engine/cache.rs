//! Keys and values of one stream.

use crate::kernels::HeadCache;
use talkoo_exact::Manifest;

/// Everything a stream keeps between batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache {
    /// Per layer, per key-value head.
    pub(super) layers: Vec<Vec<HeadCache>>,
    pub(super) positions: usize,
}

impl Cache {
    pub(crate) fn new(manifest: &Manifest) -> Self {
        let shape = &manifest.architecture;
        let layer = || vec![HeadCache::new(shape.head_dim, manifest.kv); shape.kv_heads];
        Self { layers: (0..shape.layers).map(|_| layer()).collect(), positions: 0 }
    }

    /// How many it holds.
    pub(crate) fn positions(&self) -> usize {
        self.positions
    }

    /// A copy of the first `positions`.
    pub(crate) fn prefix(&self, positions: usize) -> Self {
        let copy = |heads: &Vec<HeadCache>| heads.iter().map(|head| head.prefix(positions)).collect();
        Self { layers: self.layers.iter().map(copy).collect(), positions }
    }

    /// Forgets all but the first `positions`.
    pub(crate) fn truncate(&mut self, positions: usize) {
        self.layers.iter_mut().flatten().for_each(|head| head.truncate(positions));
        self.positions = positions;
    }
}
