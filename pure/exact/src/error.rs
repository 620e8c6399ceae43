//! What can go wrong in the definition: a weight that has no integer form, a number out of range.

/// A weight or constant that the contract cannot represent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// An infinite or not-a-number scale, gain or constant.
    #[error("{what} is infinite or not a number; the file is damaged or hostile, fetch it again")]
    NotFinite {
        /// What was read.
        what: &'static str,
    },
    /// A number outside the contract's limits.
    #[error("{what} is {have}, outside {need}; this model cannot run under the exact contract")]
    OutOfRange {
        /// What was read.
        what: &'static str,
        /// The limit.
        need: String,
        /// What the file says.
        have: String,
    },
    /// Bytes or elements that do not fill the declared shape.
    #[error("{what} has {have} elements where {need} belong; the file is damaged, fetch it again")]
    Shape {
        /// What was read.
        what: &'static str,
        /// Expected number.
        need: usize,
        /// Number found.
        have: usize,
    },
}

/// An intermediate result left the range in which the contract is defined: the run ends.
/// Only a hostile or broken model gets here; every honest machine ends at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{operator} left its range of {bits} bits; the model's numbers are broken, use another model")]
pub struct RangeError {
    /// The operator whose output is too large.
    pub operator: &'static str,
    /// Bits the output may have.
    pub bits: u32,
}

impl RangeError {
    /// Checks |value| < 2^bits.
    ///
    /// # Errors
    /// If it is not.
    #[inline]
    pub fn check(operator: &'static str, value: i128, bits: u32) -> Result<i64, Self> {
        if value.unsigned_abs() >> bits == 0 { Ok(value as i64) } else { Err(Self { operator, bits }) }
    }
}
