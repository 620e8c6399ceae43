//! Time as machines see it. They have no clock: every input brings its [`Now`].

use std::ops::{Add, Sub};

/// A span of time in milliseconds.
pub type Millis = u64;

/// Milliseconds on a clock that only goes forward; leases and waits use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mono(pub u64);

/// Seconds since 1970-01-01 UTC; signed deadlines use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Unix(pub u64);

/// Both clocks at the moment of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// For leases and waits.
    pub mono: Mono,
    /// For signed deadlines.
    pub unix: Unix,
}

impl Add<Millis> for Mono {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span))
    }
}

impl Sub for Mono {
    type Output = Millis;
    fn sub(self, earlier: Self) -> Millis {
        self.0.saturating_sub(earlier.0)
    }
}
