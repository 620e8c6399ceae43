//! Shifts, bit lengths and roots: the words the rules are written in.

/// Bit length: 0 for 0, else floor(log2 v) + 1.
#[inline(always)]
#[must_use]
pub const fn bit_length(v: u64) -> i32 {
    64 - v.leading_zeros() as i32
}

/// Largest magnitude of a vector; 0 if it is empty.
#[inline(always)]
#[must_use]
pub fn max_abs(v: &[i64]) -> u64 {
    v.iter().fold(0, |max, x| max.max(x.unsigned_abs()))
}

/// `rsh(v, s)`: v / 2^s, rounded half up, for s > 0; v * 2^-s otherwise. Needs |v| < 2^62.
/// The shift is arithmetic, so negative halves also round up: rsh(-1, 1) = 0.
#[inline(always)]
#[must_use]
pub const fn rsh(v: i64, s: i32) -> i64 {
    if s > 62 {
        0
    } else if s > 0 {
        (v + (1 << (s - 1))) >> s
    } else {
        v << -s
    }
}

/// [`rsh`] on 128 bits. Needs |v| < 2^125.
#[inline(always)]
#[must_use]
pub const fn rsh128(v: i128, s: i32) -> i128 {
    if s > 125 {
        0
    } else if s > 0 {
        (v + (1 << (s - 1))) >> s
    } else {
        v << -s
    }
}

/// v / 2^s rounded to nearest, ties to even, for s > 0; v * 2^-s otherwise. Only imports use it.
#[inline(always)]
#[must_use]
pub const fn rne(v: i128, s: i32) -> i128 {
    if s <= 0 {
        return v << -s;
    }
    if s > 126 {
        return 0;
    }
    let floor = v >> s;
    let rest = v - (floor << s);
    let half = 1 << (s - 1);
    if rest > half || (rest == half && floor & 1 == 1) { floor + 1 } else { floor }
}

/// floor(sqrt(v)).
#[must_use]
pub fn isqrt(v: u128) -> u64 {
    if let Ok(small) = u64::try_from(v) {
        return small.isqrt();
    }
    v.isqrt() as u64
}
