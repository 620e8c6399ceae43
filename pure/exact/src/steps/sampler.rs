//! Rule 10's draw, one number at a time: "is token `sub` the one?", for temperature 0 and for a plain temperature.
//!
//! No order has to be built: token c is drawn if the mass before it in the sampler's order is at most r * Z, and more than
//! that with its own weight.

use super::element::Read;
use super::{Name, Place, Program, Stage};
use crate::limits::BLOCK;
use crate::sample::{draw, weight};

/// A token's place in the order of logit, then of the lower id.
fn key(logit: i128, token: usize) -> i128 {
    (logit << 20) + (0xf_ffff - token as i128)
}

impl Program<'_> {
    pub(super) fn sampler(&self, name: Name, index: usize, previous: Option<i128>, read: Read<'_>) -> i128 {
        let (logits, token) = (Name::out(Place::Logits), name.sub as usize);
        let of = |stage| Name::of(Place::Sampler, stage, 0);
        let keys = |read: Read<'_>| -> Vec<i128> {
            let block = self.block(logits, index, read);
            block.into_iter().enumerate().map(|(i, logit)| key(logit, index * BLOCK + i)).collect()
        };
        match name.stage {
            Stage::Max => {
                let largest = keys(read).into_iter().max().expect("a block has tokens");
                previous.map_or(largest, |p| p.max(largest))
            }
            Stage::Weights => {
                let below = (self.last(of(Stage::Max), read) >> 20) - read(logits, index);
                weight(below as u64, self.draw.temperature.max(1)).into()
            }
            Stage::Total => previous.unwrap_or(0) + self.block(of(Stage::Weights), index, read).iter().sum::<i128>(),
            Stage::Before => {
                let own = key(read(logits, token), token);
                let before = keys(read).into_iter().zip(self.block(of(Stage::Weights), index, read));
                previous.unwrap_or(0) + before.filter(|(key, _)| *key > own).map(|(_, w)| w).sum::<i128>()
            }
            _ if self.draw.temperature == 0 => {
                let largest = self.last(of(Stage::Max), read);
                i128::from(largest & 0xf_ffff == 0xf_ffff - token as i128)
            }
            _ => {
                let target = i128::from(draw(self.draw.seed, self.draw.index)) * self.last(of(Stage::Total), read);
                let before = self.last(Name { stage: Stage::Before, ..name }, read);
                let with = before + read(of(Stage::Weights), token);
                i128::from(before << 64 <= target && target < with << 64)
            }
        }
    }
}
