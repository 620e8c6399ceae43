//! What shows one element to somebody who knows only roots: the leaves of other vectors that it follows from, the block
//! of weights, the gains, the state.

use super::{Name, Place, Stage, Steps};
use crate::limits::{BLOCK, TILE};
use crate::model::Model;
use std::collections::BTreeSet;
use talkoo_base::{Digest, merkle};

const TAG: &str = "talkoo/vector/1";

/// The bytes of one leaf: the vector's number (u64 BE), then up to 32 elements (i128 BE).
fn leaf_bytes(name: Name, elements: &[i128]) -> Vec<u8> {
    let numbers = elements.iter().flat_map(|e| e.to_be_bytes());
    name.number().to_be_bytes().into_iter().chain(numbers).collect()
}

/// The leaves of a vector's tree.
#[must_use]
pub fn vector_leaves(name: Name, elements: &[i128]) -> Vec<Digest> {
    elements.chunks(BLOCK).map(|chunk| merkle::leaf(TAG, &leaf_bytes(name, chunk))).collect()
}

/// What a vector is committed to by.
#[must_use]
pub fn vector_root(name: Name, elements: &[i128]) -> Digest {
    merkle::root_of_leaves(TAG, vector_leaves(name, elements))
}

/// A leaf of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The vector.
    pub name: Name,
    /// Its root.
    pub root: Digest,
    /// Number of the leaf.
    pub leaf: u32,
    /// Its elements, i128 BE each.
    pub elements: Vec<u8>,
    /// Siblings on the way to the root.
    pub siblings: Vec<Digest>,
}

/// A vector of gains or biases: all of it, for its digest has no tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tensor {
    /// i32 LE each.
    pub bytes: Vec<u8>,
    /// Siblings on the way from its digest to the model root.
    pub siblings: Vec<Digest>,
}

/// A tile of a matrix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TileOpening {
    /// Rows, columns, block, zero point, has minimums.
    pub shape: [u32; 5],
    /// Root of its tiles.
    pub tiles: Digest,
    /// Siblings on the way from the matrix's digest to the model root.
    pub siblings: Vec<Digest>,
    /// The tile.
    pub tile: Vec<u8>,
    /// Siblings on the way from it to the root of the tiles.
    pub tile_siblings: Vec<Digest>,
}

/// All that shows an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Element before, of a fold.
    pub previous: i128,
    /// Leaves of other vectors.
    pub openings: Vec<Opening>,
    /// The manifest's canonical bytes, and siblings on their digest's way to the model root.
    pub manifest: Tensor,
    /// Gains or biases.
    pub gains: Tensor,
    /// Weights.
    pub weights: TileOpening,
    /// What a state digest is of: residual, K row, V row.
    pub state: Vec<u8>,
}

/// The leaves of a model's tree.
#[derive(Clone, Debug)]
pub struct ModelTree {
    leaves: Vec<Digest>,
}

impl ModelTree {
    /// Hashes a whole model.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let items = [vec![model.manifest.digest()], model.tensors()].concat();
        Self { leaves: items.iter().map(|d| merkle::leaf("talkoo/model/1", &d.0)).collect() }
    }

    /// The model root.
    #[must_use]
    pub fn root(&self) -> Digest {
        merkle::root_of_leaves("talkoo/model/1", self.leaves.clone())
    }

    /// The manifest, shown to be that of the model.
    #[must_use]
    pub fn manifest(&self, model: &Model) -> Tensor {
        Tensor { bytes: model.manifest.bytes(), siblings: self.open(0) }
    }

    fn open(&self, index: usize) -> Vec<Digest> {
        merkle::open(&self.leaves, index).expect("a tensor of the model").siblings
    }
}

impl Steps<'_> {
    /// What shows element `index` of the vector `name`; `tree` is the model's.
    pub fn witness(&mut self, name: Name, index: usize, tree: &ModelTree) -> Witness {
        let program = *self.program();
        let is_fold =
            index > 0 && !matches!(name.stage, Stage::Out | Stage::Mantissas | Stage::Scores | Stage::Aligned);
        let previous = if is_fold { self.vector(name)[index - 1] } else { 0 };
        let mut read = BTreeSet::new();
        program.element(name, index, is_fold.then_some(previous), &mut |name, index| {
            read.insert((name, index / BLOCK));
            self.vector(name)[index]
        });
        // An earlier row is shown by the state it is part of.
        read.retain(|(name, _)| program.exists(*name));
        let openings = read.into_iter().map(|(name, leaf)| self.open(name, leaf)).collect();
        let is_last = name.place == Place::Logits || name.stage == Stage::Out;
        let model = program.model;
        let gains = program.gains(name.place).filter(|_| is_last).map(|gains| Tensor {
            bytes: gains.iter().flat_map(|g| g.to_le_bytes()).collect(),
            siblings: tree.open(program.tensor(name.place, true)),
        });
        let state = program.state(name, index);
        let weights = program.matrix(name.place).filter(|_| state.is_none()).map(|matrix| {
            let (row, column) = match (name.place, name.stage) {
                (Place::Residual, _) => (program.token as usize, index),
                (_, Stage::Sums) => (name.sub as usize, index * BLOCK),
                _ => (index, 0),
            };
            let (hasher, tiles) = (matrix.hasher(), matrix.columns.div_ceil(TILE));
            let mut tile = Vec::new();
            matrix.row(row).push_tile(column / TILE, matrix.block, &mut tile);
            TileOpening {
                shape: hasher.shape(matrix.columns),
                tiles: merkle::root_of_leaves("talkoo/tile/1", hasher.leaves.clone()),
                siblings: tree.open(program.tensor(name.place, false)),
                tile,
                tile_siblings: merkle::open(&hasher.leaves, row * tiles + column / TILE).expect("a tile").siblings,
            }
        });
        Witness {
            previous,
            openings,
            manifest: tree.manifest(model),
            gains: gains.unwrap_or_default(),
            weights: weights.unwrap_or_default(),
            state: state.unwrap_or_default(),
        }
    }

    fn open(&mut self, name: Name, leaf: usize) -> Opening {
        let vector = self.vector(name);
        let leaves = vector_leaves(name, &vector);
        let elements = vector.chunks(BLOCK).nth(leaf).expect("a leaf that was read");
        Opening {
            name,
            root: merkle::root_of_leaves(TAG, leaves.clone()),
            leaf: leaf as u32,
            elements: elements.iter().flat_map(|e| e.to_be_bytes()).collect(),
            siblings: merkle::open(&leaves, leaf).expect("a leaf that was read").siblings,
        }
    }
}

impl super::Program<'_> {
    /// Index of a place's matrix, or of its gains or biases, in the model's tree.
    fn tensor(&self, place: Place, is_gains: bool) -> usize {
        let features = &self.model.manifest.features;
        let [biases, norms, posts] = [features.biases, features.head_norms, features.post_norms].map(usize::from);
        let each = 9 + 3 * biases + 2 * norms + 2 * posts;
        let (layer, last) = (2 + self.layer * each, 2 + self.model.layers.len() * each);
        let extra = layer + 9;
        match (place, is_gains) {
            (Place::AttentionNorm, _) => layer,
            (Place::Query, true) => extra,
            (Place::Query, _) => layer + 1,
            (Place::Key, true) => extra + 1,
            (Place::Key, _) => layer + 2,
            (Place::Value, true) => extra + 2,
            (Place::Value, _) => layer + 3,
            (Place::AttentionOutput, _) => layer + 4,
            (Place::FeedForwardNorm, _) => layer + 5,
            (Place::Gate, _) => layer + 6,
            (Place::Up, _) => layer + 7,
            (Place::Down, _) => layer + 8,
            (Place::QueryNorm, _) => extra + 3 * biases,
            (Place::KeyNorm, _) => extra + 3 * biases + 1,
            (Place::AttentionPostNorm, _) => extra + 3 * biases + 2 * norms,
            (Place::DownPostNorm, _) => extra + 3 * biases + 2 * norms + 1,
            (Place::OutputNorm, _) => last,
            (Place::Logits, _) if self.model.output.is_some() => last + 1,
            _ => 1,
        }
    }
}
