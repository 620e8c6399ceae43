//! Rule 8, one number at a time.

use super::element::{Read, bits};
use super::{NO_EXPONENT, Name, Place, Program, Stage, UNSEEN};
use crate::arith::rsh;
use crate::attention::{align, grid_shift, normalise, reciprocal, score, segment_shift, segment_weight};
use crate::exp::exp2neg;
use crate::limits::{BLOCK, SEGMENT};

/// Leaves of 32 positions in a segment.
const LEAVES: usize = SEGMENT / BLOCK;

impl Program<'_> {
    pub(super) fn attention(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        let (stage, sub) = (|stage| Name { stage, ..name }, name.sub as usize);
        let dim = self.model.manifest.architecture.head_dim;
        let previous_or = |first: i128| previous.unwrap_or(first);
        match name.stage {
            Stage::Scores => self.score_of(sub, index, read),
            Stage::Max => {
                self.block(stage(Stage::Scores), index, read).into_iter().fold(previous_or(UNSEEN), i128::max)
            }
            Stage::Weights => {
                let largest = self.last(stage(Stage::Max), read);
                exp2neg((largest - read(stage(Stage::Scores), index)) as i64).into()
            }
            Stage::Total => previous_or(0) + self.block(stage(Stage::Weights), index, read).iter().sum::<i128>(),
            Stage::Exponent if index < self.first() => previous_or(NO_EXPONENT),
            Stage::Exponent => read(row(index), self.exponent_at(1, self.kv_head(sub))).max(previous_or(NO_EXPONENT)),
            Stage::Aligned => self.aligned(sub / (dim / BLOCK), sub % (dim / BLOCK), index, read),
            Stage::SegmentMax => {
                let first = if index.is_multiple_of(LEAVES) { 0 } else { previous_or(0) };
                self.block(stage(Stage::Aligned), index, read).into_iter().fold(first, i128::max)
            }
            Stage::Top => self.block(stage(Stage::Aligned), index, read).into_iter().fold(previous_or(0), i128::max),
            Stage::Partial => {
                let aligned = Name { sub: (sub / BLOCK) as u32, ..stage(Stage::Aligned) };
                let weight = segment_weight(read(aligned, index) as i64, self.shift_of(sub, index / SEGMENT, read));
                let code = read(row(index), self.code_at(1, self.kv_head(sub / dim), sub % dim));
                let before = if index.is_multiple_of(SEGMENT) { 0 } else { previous_or(0) };
                before + i128::from(weight) * code
            }
            Stage::Segments => {
                let last = ((index + 1) * SEGMENT).min(self.position + 1) - 1;
                let partial = read(stage(Stage::Partial), last) as i64;
                let shift = self.grid(sub, read) - self.shift_of(sub, index, read);
                previous_or(0) + i128::from(rsh(partial, shift))
            }
            _ => {
                let (head, of) = (index / dim, |stage, sub: usize| Name::of(Place::Attention, stage, sub as u32));
                let sum = self.last(of(Stage::Segments, index), read) as i64;
                let total = self.last(of(Stage::Total, head), read) as i64;
                let exponent = self.last(of(Stage::Exponent, head), read) as i32;
                normalise(sum, reciprocal(total), self.grid(index, read) + exponent).into()
            }
        }
    }

    /// The first position seen.
    pub(super) fn first(&self) -> usize {
        self.model.manifest.features.first_visible(self.layer, self.position)
    }

    fn kv_head(&self, head: usize) -> usize {
        head * self.model.manifest.architecture.kv_heads / self.model.manifest.architecture.heads
    }

    /// Block `index` of 32 elements, or what is left of the vector.
    pub(super) fn block(&self, name: Name, index: usize, read: Read<'_>) -> Vec<i128> {
        let end = ((index + 1) * BLOCK).min(self.length(name));
        (index * BLOCK..end).map(|i| read(name, i)).collect()
    }

    /// The score of `head` with a position, times C.
    fn score_of(&self, head: usize, position: usize, read: Read<'_>) -> i128 {
        if position < self.first() {
            return UNSEEN;
        }
        let (dim, group) = (self.model.manifest.architecture.head_dim, self.kv_head(head));
        let mut dot = 0;
        for b in 0..dim / BLOCK {
            let product = |i| {
                let code = read(row(position), self.code_at(0, group, i)) as i64;
                read(Name::out(Place::QueryCodes), head * dim + i) as i64 * code
            };
            let sum: i64 = (b * BLOCK..(b + 1) * BLOCK).map(product).sum();
            dot += sum * read(row(position), self.mantissa_at(0, group, b)) as i64;
        }
        let query = bits(self.last(Name::of(Place::QueryCodes, Stage::Max, head as u32), read)) - 14 - 16;
        let key = read(row(position), self.exponent_at(0, group)) as i32;
        score(dot, query + key, self.model.manifest.score_scale).into()
    }

    fn aligned(&self, head: usize, block: usize, position: usize, read: Read<'_>) -> i128 {
        if position < self.first() {
            return 0;
        }
        let group = self.kv_head(head);
        let weight = read(Name::of(Place::Attention, Stage::Weights, head as u32), position) as i64;
        let mantissa = read(row(position), self.mantissa_at(1, group, block)) as i64;
        let own = read(row(position), self.exponent_at(1, group)) as i32;
        let largest = self.last(Name::of(Place::Attention, Stage::Exponent, head as u32), read) as i32;
        align(weight * mantissa, largest - own).into()
    }

    /// The shift of a segment's weights, for `sub` = head * head dim + dimension.
    fn shift_of(&self, sub: usize, segment: usize, read: Read<'_>) -> i32 {
        let name = Name::of(Place::Attention, Stage::SegmentMax, (sub / BLOCK) as u32);
        let last = ((segment + 1) * LEAVES).min(self.length(name)) - 1;
        segment_shift(read(name, last) as i64)
    }

    /// The shift of the common grid.
    fn grid(&self, sub: usize, read: Read<'_>) -> i32 {
        let top = self.last(Name::of(Place::Attention, Stage::Top, (sub / BLOCK) as u32), read);
        grid_shift(top as i64, self.model.manifest.kv)
    }
}

fn row(position: usize) -> Name {
    Name::of(Place::Row, Stage::Out, position as u32)
}
