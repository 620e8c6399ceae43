//! Keys and values of one head, in the order the attention kernels read them.
//!
//! - keys: per 16 positions, for every four dimensions, 16 x 4 codes + 128 (the unsigned operand)
//! - values: per 4 positions, for every dimension, 4 codes
//!
//! Fine codes are two signed bytes each (code = 256 * high + low, both in -128..=127 because |code| <= 32,512), and
//! each of the two has its own keys and values: what the kernels sum of one of them are sums of bytes as ever.
//!
//! Nothing is lost against the canonical rows, which are hashed when they are pushed.

use talkoo_exact::limits::BLOCK;
use talkoo_exact::{CachedHead, KvFormat};

/// Positions in one tile of keys.
pub(super) const KEY_TILE: usize = 16;
/// Positions in one group of values.
pub(super) const VALUE_GROUP: usize = 4;
/// Memory grows by this many positions: one segment.
const GROWTH: usize = talkoo_exact::limits::SEGMENT;

#[derive(Clone, Debug, Default)]
pub(crate) struct HeadCache {
    pub(super) dimensions: usize,
    length: usize,
    /// The bytes of the codes, the higher ones first.
    pub(super) planes: Vec<Plane>,
    /// Per 16 positions and block of 32 dimensions, 16 mantissas.
    pub(super) key_mantissas: Vec<i32>,
    pub(super) key_exponents: Vec<i32>,
    /// Per block of 32 dimensions, one mantissa per position.
    pub(super) value_mantissas: Vec<Vec<i32>>,
    pub(super) value_exponents: Vec<i32>,
}

/// One byte of every code.
#[derive(Clone, Debug, Default)]
pub(super) struct Plane {
    pub(super) keys: Vec<u8>,
    pub(super) values: Vec<i8>,
}

impl HeadCache {
    pub(crate) fn new(dimensions: usize, format: KvFormat) -> Self {
        let planes = vec![Plane::default(); format.code_bytes()];
        Self { dimensions, planes, value_mantissas: vec![Vec::new(); dimensions / BLOCK], ..Self::default() }
    }

    /// How its codes are kept.
    pub(super) fn format(&self) -> KvFormat {
        if self.planes.len() > 1 { KvFormat::Int16 } else { KvFormat::Int8 }
    }

    /// Appends one position.
    pub(crate) fn push(&mut self, key: &CachedHead, value: &CachedHead) {
        let (position, blocks) = (self.length, self.dimensions / BLOCK);
        if position == self.key_exponents.len() {
            self.grow();
        }
        let (tile, lane) = (position / KEY_TILE, position % KEY_TILE);
        let group = position / VALUE_GROUP * VALUE_GROUP * self.dimensions;
        let lowest = self.planes.len() - 1;
        for (p, plane) in self.planes.iter_mut().enumerate() {
            // The higher byte is rounded, for the lower one has a sign, too.
            let byte = |code: i16| if p < lowest { ((code + 128) >> 8) as i8 } else { code as i8 };
            let keys = &mut plane.keys[tile * KEY_TILE * self.dimensions..][..KEY_TILE * self.dimensions];
            for (quad, out) in key.codes.chunks_exact(4).zip(keys.chunks_exact_mut(4 * KEY_TILE)) {
                for (code, out) in quad.iter().zip(&mut out[lane * 4..]) {
                    *out = (byte(*code) as u8) ^ 0x80;
                }
            }
            for (d, code) in value.codes.iter().enumerate() {
                plane.values[group + d * VALUE_GROUP + position % VALUE_GROUP] = byte(*code);
            }
        }
        for (b, m) in key.mantissas.iter().enumerate() {
            self.key_mantissas[(tile * blocks + b) * KEY_TILE + lane] = i32::from(*m);
        }
        self.key_exponents[position] = key.exponent;

        for (mantissas, m) in self.value_mantissas.iter_mut().zip(&value.mantissas) {
            mantissas[position] = i32::from(*m);
        }
        self.value_exponents[position] = value.exponent;
        self.length += 1;
    }

    /// Forgets all but the first `length` positions. What was after them lies in tiles still, where
    /// nothing reads it: scores beyond the end are not looked at, weights there are zero.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// A copy of the first `length` positions, with room for no more than their last segment.
    pub(crate) fn prefix(&self, length: usize) -> Self {
        let (room, blocks) = (length.next_multiple_of(GROWTH), self.dimensions / BLOCK);
        let codes = room * self.dimensions;
        let plane = |p: &Plane| Plane { keys: p.keys[..codes].to_vec(), values: p.values[..codes].to_vec() };
        Self {
            dimensions: self.dimensions,
            length,
            planes: self.planes.iter().map(plane).collect(),
            key_mantissas: self.key_mantissas[..room * blocks].to_vec(),
            key_exponents: self.key_exponents[..room].to_vec(),
            value_mantissas: self.value_mantissas.iter().map(|m| m[..room].to_vec()).collect(),
            value_exponents: self.value_exponents[..room].to_vec(),
        }
    }

    fn grow(&mut self) {
        let room = self.key_exponents.len() + GROWTH;
        let blocks = self.dimensions / BLOCK;
        for plane in &mut self.planes {
            plane.keys.resize(room * self.dimensions, 0x80);
            plane.values.resize(room * self.dimensions, 0);
        }
        self.key_mantissas.resize(room * blocks, 0);
        self.key_exponents.resize(room, 0);
        self.value_mantissas.iter_mut().for_each(|m| m.resize(room, 0));
        self.value_exponents.resize(room, 0);
    }
}
