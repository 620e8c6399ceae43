//! Money in integers: 10⁻⁶ of the payment token.

use std::fmt;
use std::ops::{Add, AddAssign};

/// An amount of money in micro-units (10⁻⁶ of the payment token).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub u128);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `self - other`, or zero if that would be negative.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A price: micro-units per million units, input and output apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Price {
    /// Micro-units per 10⁶ input units (prompt tokens).
    pub input: u128,
    /// Micro-units per 10⁶ output units (generated tokens).
    pub output: u128,
}

impl Price {
    /// owed = ceil(units × price / 10⁶), summed before it is rounded so that chunks add up.
    #[must_use]
    pub fn owed(&self, input_units: u64, output_units: u64) -> Amount {
        let input = self.input.saturating_mul(u128::from(input_units));
        let output = self.output.saturating_mul(u128::from(output_units));
        Amount(input.saturating_add(output).div_ceil(1_000_000))
    }

    /// Whether neither part is dearer than `limit`'s.
    #[must_use]
    pub fn within(&self, limit: &Self) -> bool {
        self.input <= limit.input && self.output <= limit.output
    }
}
