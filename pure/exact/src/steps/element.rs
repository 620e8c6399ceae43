//! One element of a vector from elements of others: the rules of `docs/EXACT.md`, one number at a time.

use super::names::Kind;
use super::{Name, OUT_OF_RANGE, Place, Program, Stage};
use crate::arith::{bit_length, rsh, rsh128};
use crate::error::RangeError;
use crate::exp::gate_times;
use crate::features::Rotation;
use crate::kv::KvFormat;
use crate::limits::{BLOCK, LINEAR_BITS};
use crate::matrix::finish;
use crate::norm::inverse_root;
use crate::rope::sine_cosine;

/// Gives an element of another vector.
pub(super) type Read<'a> = &'a mut dyn FnMut(Name, usize) -> i128;

impl Program<'_> {
    /// Element `index` of the vector `name`; `previous` is the one before it in the same vector, `read` gives those of
    /// other vectors.
    pub(super) fn element(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        match name.place.kind() {
            Kind::Residual => self.residual(index),
            Kind::Norm => self.norm(name, index, previous, read),
            Kind::Quantise => self.quantised(name, index, previous, read),
            Kind::Linear => self.linear(name, index, previous, read),
            Kind::Turn => self.turned(name, index, read),
            Kind::Row => self.row(name, index, read),
            Kind::Attention => self.attention(name, index, previous, read),
            Kind::Add => self.added(name, index, read),
            Kind::Product => self.product(name, index, read),
            Kind::Sampler => self.sampler(name, index, previous, read),
            Kind::Logprobs => self.logprob(name, index, previous, read),
        }
    }

    /// The last element of a vector: what a fold comes to.
    pub(super) fn last(&self, name: Name, read: Read<'_>) -> i128 {
        read(name, self.length(name) - 1)
    }

    /// Of the state below, or rule 4's embedding.
    fn residual(&self, index: usize) -> i128 {
        if let Some((residual, _)) = self.before {
            return residual[index].into();
        }
        let (matrix, row) = (&self.model.embedding, self.token as usize);
        let at = row * matrix.columns + index;
        let scaled = i64::from(matrix.sw[at / matrix.block])
            * (i64::from(matrix.codes[at]) - i64::from(matrix.zero_point))
            + matrix.mn.get(at / matrix.block).map_or(0, |m| i64::from(*m));
        let value = rsh128(i128::from(scaled) * i128::from(self.model.manifest.embedding_scale), -matrix.ew[row]);
        ranged(RangeError::check("embedding", value, LINEAR_BITS))
    }

    /// The largest magnitude so far of group `sub` of a place's input.
    fn largest(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        let (input, from) = (Name::out(self.input(name.place)), self.groups(name.place).0 * name.sub as usize);
        let block = (0..BLOCK).map(|i| read(input, from + index * BLOCK + i).abs());
        block.fold(previous.unwrap_or(0), i128::max)
    }

    /// Rule 5.
    fn norm(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        let (width, input) = (self.groups(name.place).0, Name::out(self.input(name.place)));
        let group = |stage| Name { stage, sub: (index / width) as u32, ..name };
        match name.stage {
            Stage::Max => self.largest(name, index, previous, read),
            Stage::Squares => {
                let shift = bits(self.last(Name { stage: Stage::Max, ..name }, read)) - 24;
                let from = width * name.sub as usize + index * BLOCK;
                let squares = (0..BLOCK).map(|i| i128::from(rsh(read(input, from + i) as i64, shift)).pow(2));
                previous.unwrap_or(0) + squares.sum::<i128>()
            }
            _ => {
                let shift = bits(self.last(group(Stage::Max), read)) - 24;
                let squares = self.last(group(Stage::Squares), read) as u64;
                let inverse = inverse_root(squares, width, shift, self.model.manifest.epsilon);
                let normed = rsh(rsh(read(input, index) as i64, shift) * inverse, 24);
                let gain = self.gains(name.place).expect("a norm has gains")[index % width];
                let wide = rsh(normed * i64::from(gain), 16);
                rsh(wide, if is_narrow(name.place) { 4 } else { 0 }).into()
            }
        }
    }

    /// Rule 2, and rule 8's for queries.
    fn quantised(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        if name.stage == Stage::Max {
            return self.largest(name, index, previous, read);
        }
        let input = Name::out(self.input(name.place));
        let at = if name.stage == Stage::Out { index } else { index * BLOCK };
        let group = (at / self.groups(name.place).0) as u32;
        let bits = bits(self.last(Name::of(name.place, Stage::Max, group), read));
        if name.place == Place::QueryCodes {
            return rsh(read(input, index) as i64, bits - 14).into();
        }
        let mut wide = |i: usize| rsh(read(input, i) as i64, bits - 30);
        if name.stage == Stage::Mantissas {
            let largest = (at..at + BLOCK).map(|i| wide(i).abs()).max().expect("a block has numbers");
            return ((largest + 32_511) / 32_512).into();
        }
        let wide = wide(index);
        let mantissa = read(Name::of(name.place, Stage::Mantissas, 0), index / BLOCK) as i64;
        let shift = if self.is_fine(name.place) { 47 } else { 40 };
        if mantissa == 0 {
            0
        } else {
            ((wide * ((1 << fine_or(shift)) / mantissa) + (1 << (shift - 1))) >> shift).into()
        }
    }

    /// Whether a place makes codes of 16 bits.
    pub(super) fn is_fine(&self, place: Place) -> bool {
        matches!(place, Place::KeyCodes | Place::ValueCodes) && self.model.manifest.kv == KvFormat::Int16
    }

    /// Rule 3.
    fn linear(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        let (matrix, input) = (self.matrix(name.place).expect("a linear place has a matrix"), self.input(name.place));
        if name.stage == Stage::Out {
            let sum = self.last(Name::of(name.place, Stage::Sums, index as u32), read);
            let largest = bits(self.last(Name::of(input, Stage::Max, 0), read));
            let bias = self.gains(name.place).map_or(0, |biases| i128::from(biases[index]));
            // Every input of a product is in Q20.
            let y = finish(sum as i64, matrix.ew[index] + largest - 22 - 20);
            return y.map_or(OUT_OF_RANGE, |y| i128::from(y) + bias);
        }
        let mantissa = read(Name::of(input, Stage::Mantissas, 0), index) as i64;
        let first = name.sub as usize * matrix.columns + index * BLOCK;
        let block = |at: usize| -> i64 {
            let (mut dot, mut plain) = (0, 0);
            for i in at..at + matrix.block {
                let code = read(Name::out(input), index * BLOCK + i - first) as i64;
                dot += (i64::from(matrix.codes[i]) - i64::from(matrix.zero_point)) * code;
                plain += code;
            }
            let minimum = matrix.mn.get(at / matrix.block).map_or(0, |m| i64::from(*m));
            i64::from(matrix.sw[at / matrix.block]) * dot + minimum * plain
        };
        let sum: i64 = (first..first + BLOCK).step_by(matrix.block).map(block).sum();
        previous.unwrap_or(0) + i128::from(mantissa * sum)
    }

    /// Rule 6.
    fn turned(&self, name: Name, index: usize, read: Read<'_>) -> i128 {
        let (manifest, input) = (&self.model.manifest, Name::out(self.input(name.place)));
        let (head, i) = (index - index % manifest.architecture.head_dim, index % manifest.architecture.head_dim);
        let pairs = manifest.architecture.rope_dim / 2;
        if i >= 2 * pairs {
            return read(input, index);
        }
        let (j, u, w) = match manifest.features.rotation {
            Rotation::Interleaved => (i / 2, i - i % 2, i - i % 2 + 1),
            Rotation::Halves => (i % pairs, i % pairs, i % pairs + pairs),
        };
        let local = manifest.features.is_local(self.layer);
        let frequencies = if local { manifest.frequencies_of_local() } else { &manifest.frequencies };
        let (sine, cosine) = sine_cosine(frequencies[j].wrapping_mul(self.position as u64));
        let (sine, cosine) = (i128::from(sine), i128::from(cosine));
        let (x, y) = (read(input, head + u), read(input, head + w));
        let turned = if i == u { x * cosine - y * sine } else { x * sine + y * cosine };
        rsh128(turned, 30)
    }

    /// A cached row: the vector of this position or, which is no vector of this program, that of an earlier one.
    fn row(&self, name: Name, index: usize, read: Read<'_>) -> i128 {
        let shape = &self.model.manifest.architecture;
        let (codes, mantissas) = (shape.key(), shape.key() / BLOCK);
        let (stage, at, each) = match index {
            i if i < 2 * codes => (Stage::Out, i, codes),
            i if i < 2 * (codes + mantissas) => (Stage::Mantissas, i - 2 * codes, mantissas),
            i => (Stage::Max, i - 2 * (codes + mantissas), shape.kv_heads),
        };
        let (values, at) = (at / each, at % each);
        if let Some((_, (keys, vectors))) = self.earlier.get(name.sub as usize) {
            let heads = if values == 0 { keys } else { vectors };
            let head = &heads[at / (each / shape.kv_heads)];
            return match stage {
                Stage::Out => head.codes[at % shape.head_dim].into(),
                Stage::Mantissas => head.mantissas[at % (shape.head_dim / BLOCK)].into(),
                _ => head.exponent.into(),
            };
        }
        let place = [Place::KeyCodes, Place::ValueCodes][values];
        if stage != Stage::Max {
            return read(Name::of(place, stage, 0), at);
        }
        let offset = if self.is_fine(place) { 30 } else { 22 };
        i128::from(bits(self.last(Name::of(place, Stage::Max, at as u32), read)) - offset - 16)
    }

    /// Rule 4: the residual with a part's output added.
    fn added(&self, name: Name, index: usize, read: Read<'_>) -> i128 {
        let before = if name.place == Place::Middle { Place::Residual } else { Place::Middle };
        read(Name::out(before), index) + read(Name::out(self.input(name.place)), index)
    }

    /// Rule 9.
    fn product(&self, name: Name, index: usize, read: Read<'_>) -> i128 {
        let gate = read(Name::out(Place::Gate), index) as i64;
        let up = read(Name::out(self.input(name.place)), index) as i64;
        ranged(gate_times(self.model.manifest.features.activation, gate, up))
    }
}

/// 2^32 and 2^47 are what codes of 8 and 16 bits divide by their mantissa.
const fn fine_or(shift: u32) -> u32 {
    if shift == 47 { 47 } else { 32 }
}

/// Head norms and norms after a part are in Q16.
pub(super) fn is_narrow(place: Place) -> bool {
    matches!(place, Place::QueryNorm | Place::KeyNorm | Place::AttentionPostNorm | Place::DownPostNorm)
}

pub(super) fn bits(largest: i128) -> i32 {
    bit_length(largest as u64)
}

pub(super) fn ranged(value: Result<i64, RangeError>) -> i128 {
    value.map_or(OUT_OF_RANGE, i128::from)
}
