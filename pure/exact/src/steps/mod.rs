//! The program as a list of vectors, each of which follows element by element from others: what two who disagree about a
//! state search through until one element is left, and what `contracts/src/Referee.sol` recomputes of it.
//!
//! ```text
//! Residual ─► AttentionNorm ─► AttentionInput ─► Query, Key, Value ─► (QueryNorm, KeyNorm) ─► QueryTurned, KeyTurned
//!     │                                                        QueryCodes, KeyCodes, ValueCodes ◄──────┘
//!     │            AttentionOutput ◄─ MixedInput ◄─ Attention ◄─ Row of every position ◄─┘
//!     └─► Middle ◄─ (AttentionPostNorm) ◄─┘
//!           └─► FeedForwardNorm ─► FeedForwardInput ─► Gate, Up ─► Product ─► ProductInput ─► Down ─► (DownPostNorm)
//!                                               OutputNorm ◄─ Output = Middle + that ◄────────────────────┘
//!                                                   └─► LogitsInput ─► Logits ─► Sampler
//! ```
//! Long sums are *folds*: vectors of running values, so that no element needs more than 32 numbers of another vector or
//! one block of weights, whatever the model's size. An element that left its range is [`OUT_OF_RANGE`], and the program ends
//! with its vector. Formats and rules: "Steps" in `docs/EXACT.md`.
//!
//! It deliberately is slow: vectors are made one element at a time, when somebody asks for them.

mod attention;
mod element;
mod names;
mod opening;
mod sampler;

pub use names::{Name, Place, Stage};
pub use opening::{ModelTree, Opening, Tensor, TileOpening, Witness, vector_leaves, vector_root};
pub use sampler::Draw;

use crate::kv::{CachedHead, KvFormat};
use crate::matrix::Matrix;
use crate::model::{Layer, Model};
use crate::trace::cached_row_bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use talkoo_base::{Digest, sha256};

/// What stands for an element that left its range.
pub const OUT_OF_RANGE: i128 = i128::MIN;
/// The score of a position that is not seen: so far below every score that its weight is 0.
pub const UNSEEN: i128 = -(1 << 62);
/// What the fold of value exponents begins with.
pub const NO_EXPONENT: i128 = -(1 << 31);

/// Keys and values of one position in one layer.
pub type CachedRow = (Vec<CachedHead>, Vec<CachedHead>);

/// Vectors by their names.
pub type Vectors = BTreeMap<Name, Rc<[i128]>>;

/// One position in one layer, and what is known before it.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The model.
    pub model: &'a Model,
    /// The layer.
    pub layer: usize,
    /// The position.
    pub position: usize,
    /// The token there.
    pub token: u32,
    /// The residual after the layer below, and its keys and values at this position; none below layer 0.
    pub before: Option<(&'a [i64], &'a CachedRow)>,
    /// The residual after this layer at every earlier position, and the keys and values.
    pub earlier: &'a [(Vec<i64>, CachedRow)],
    /// How the next token is drawn.
    pub draw: Draw,
}

impl<'a> Program<'a> {
    /// The weights of the layer.
    #[must_use]
    pub fn weights(&self) -> &'a Layer {
        &self.model.layers[self.layer]
    }

    /// The canonical bytes of the state that element `index` of a vector is read from: residual, K row, V row. `None` if it
    /// is not read from a state. Of Residual that is the state of the layer below, of attention that of an earlier position
    /// of this layer.
    #[must_use]
    pub fn state(&self, name: Name, index: usize) -> Option<Vec<u8>> {
        let (residual, row) = match (name.place, name.stage) {
            (Place::Residual, _) => self.before?,
            (Place::Attention, Stage::Scores | Stage::Exponent | Stage::Aligned) if index < self.first() => {
                return None;
            }
            (Place::Attention, Stage::Scores | Stage::Exponent | Stage::Aligned | Stage::Partial) => {
                self.earlier.get(index).map(|(residual, row)| (&residual[..], row))?
            }
            _ => return None,
        };
        let format = self.model.manifest.kv;
        let mut bytes: Vec<u8> = residual.iter().flat_map(|r| r.to_le_bytes()).collect();
        bytes.extend(cached_row_bytes(&row.0, format));
        bytes.extend(cached_row_bytes(&row.1, format));
        Some(bytes)
    }

    /// The matrix of a linear place.
    #[must_use]
    pub fn matrix(&self, place: Place) -> Option<&'a Matrix> {
        let layer = self.weights();
        Some(match place {
            Place::Residual => &self.model.embedding,
            Place::Query => &layer.query,
            Place::Key => &layer.key,
            Place::Value => &layer.value,
            Place::AttentionOutput => &layer.attention_output,
            Place::Gate => &layer.gate,
            Place::Up => &layer.up,
            Place::Down => &layer.down,
            Place::Logits => self.model.output_matrix(),
            _ => return None,
        })
    }

    /// The gains of a norm, the biases of a linear place; `None` where the model has none.
    #[must_use]
    pub fn gains(&self, place: Place) -> Option<&'a [i32]> {
        let layer = self.weights();
        let extras = &layer.extras;
        let of = |vectors: &'a Option<[Vec<i32>; 2]>, i: usize| vectors.as_ref().map(|v| &v[i]);
        let bias = |i: usize| extras.biases.as_ref().map(|v| &v[i]);
        let gains = match place {
            Place::AttentionNorm => Some(&layer.attention_norm),
            Place::FeedForwardNorm => Some(&layer.feed_forward_norm),
            Place::OutputNorm => Some(&self.model.output_norm),
            Place::Query => bias(0),
            Place::Key => bias(1),
            Place::Value => bias(2),
            Place::QueryNorm => of(&extras.head_norms, 0),
            Place::KeyNorm => of(&extras.head_norms, 1),
            Place::AttentionPostNorm => of(&extras.post_norms, 0),
            Place::DownPostNorm => of(&extras.post_norms, 1),
            _ => None,
        };
        gains.map(Vec::as_slice)
    }
}

/// The vectors of one [`Program`], made when asked for.
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    program: Program<'a>,
    vectors: Vectors,
}

impl<'a> Steps<'a> {
    /// Nothing made yet.
    #[must_use]
    pub fn new(program: Program<'a>) -> Self {
        Self { program, vectors: Vectors::new() }
    }

    /// With vectors that were made before, of the same program.
    #[must_use]
    pub fn with(program: Program<'a>, vectors: Vectors) -> Self {
        Self { program, vectors }
    }

    /// The vectors made so far.
    #[must_use]
    pub fn into_vectors(self) -> Vectors {
        self.vectors
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program<'a> {
        &self.program
    }

    /// Takes a vector as given, agreed by both sides of a dispute, whatever the program says.
    pub fn agree(&mut self, name: Name, elements: Vec<i128>) {
        assert_eq!(elements.len(), self.program.length(name), "a vector of another length");
        self.vectors.insert(name, elements.into());
    }

    /// A vector; it ends with its first [`OUT_OF_RANGE`] if it has one.
    pub fn vector(&mut self, name: Name) -> Rc<[i128]> {
        if let Some(vector) = self.vectors.get(&name) {
            return Rc::clone(vector);
        }
        let (program, mut elements) = (self.program, Vec::new());
        for index in 0..program.length(name) {
            let previous = elements.last().copied();
            let read = &mut |name: Name, index: usize| self.vector(name)[index];
            elements.push(program.element(name, index, previous, read));
            if elements.last() == Some(&OUT_OF_RANGE) {
                break;
            }
        }
        let vector: Rc<[i128]> = elements.into();
        self.vectors.insert(name, Rc::clone(&vector));
        vector
    }

    /// The vectors that elements `indices` of a vector are made of.
    pub fn reads(&mut self, name: Name, indices: &[usize]) -> BTreeSet<Name> {
        let (program, own) = (self.program, self.vector(name));
        let mut read = BTreeSet::new();
        for index in indices.iter().copied().filter(|index| *index < own.len()) {
            let previous = index.checked_sub(1).map(|before| own[before]);
            program.element(name, index, previous, &mut |name, index| {
                read.insert(name);
                self.vector(name)[index]
            });
        }
        read
    }

    /// Makes the outputs of all places in order, up to [`Place::Output`] and, in the last layer, to [`Place::Logits`]: the
    /// state's digest. `None` if an element leaves its range.
    pub fn run(&mut self) -> Option<Digest> {
        let end = if self.program.is_last() { Place::Logits } else { Place::Output };
        self.state_up_to(end).map(|bytes| sha256(&[&bytes]))
    }

    /// The canonical bytes of this position's state in this layer. `None` if an element leaves its range.
    pub fn state(&mut self) -> Option<Vec<u8>> {
        self.state_up_to(Place::Output)
    }

    fn state_up_to(&mut self, end: Place) -> Option<Vec<u8>> {
        for name in self.program.outputs(end) {
            if self.vector(name).last() == Some(&OUT_OF_RANGE) {
                return None;
            }
        }
        let residual = self.vector(Name::out(Place::Output));
        let row = self.vector(self.program.output(Place::Row));
        let (keys, values) = self.program.row_bytes(&row);
        let mut bytes: Vec<u8> = residual.iter().flat_map(|r| (*r as i64).to_le_bytes()).collect();
        bytes.extend([keys, values].concat());
        Some(bytes)
    }
}

impl Program<'_> {
    /// Whether its layer is the last one.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.layer + 1 == self.model.layers.len()
    }

    /// The outputs of all places that the model has, in order, up to `end`.
    #[must_use]
    pub fn outputs(&self, end: Place) -> Vec<Name> {
        let places = Place::ALL.into_iter().filter(|place| *place <= end && self.has(*place));
        places.map(|place| self.output(place)).collect()
    }

    /// The output of a place; of [`Place::Row`] this position's.
    #[must_use]
    pub fn output(&self, place: Place) -> Name {
        Name::of(place, Stage::Out, if place == Place::Row { self.position as u32 } else { 0 })
    }

    /// The canonical bytes of a row vector: keys, values.
    fn row_bytes(&self, row: &[i128]) -> (Vec<u8>, Vec<u8>) {
        let shape = &self.model.manifest.architecture;
        let heads = |values: usize| -> Vec<CachedHead> {
            let head = |g| CachedHead {
                codes: (0..shape.head_dim).map(|i| row[self.code_at(values, g, i)] as i16).collect(),
                mantissas: (0..shape.head_dim / 32).map(|b| row[self.mantissa_at(values, g, b)] as u16).collect(),
                exponent: row[self.exponent_at(values, g)] as i32,
            };
            (0..shape.kv_heads).map(head).collect()
        };
        let format: KvFormat = self.model.manifest.kv;
        (cached_row_bytes(&heads(0), format), cached_row_bytes(&heads(1), format))
    }
}
