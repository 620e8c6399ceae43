//! Rule 6: rotary positions with angles in fractions of a turn.

use crate::arith::rsh128;
use crate::features::Rotation;

/// 2 pi in Q60, which turns 2^-64 turns into Q62 radians: x = r * this >> 62.
const TURN: i128 = 7_244_019_458_077_122_842;

/// Sine and cosine in Q30 of `phase`, in 2^-64 turns: quadrant plus an eight-term Taylor series in Q62.
#[must_use]
pub fn sine_cosine(phase: u64) -> (i64, i64) {
    let quadrant = phase.wrapping_add(1 << 61) >> 62;
    let rest = phase.wrapping_sub(quadrant << 62) as i64;
    let x = (i128::from(rest) * TURN) >> 62;
    let x2 = (x * x) >> 62;
    let one = 1i128 << 62;
    let (mut sine, mut cosine) = (one, one);
    for n in (1..=8i128).rev() {
        sine = one - ((x2 * sine) >> 62) / ((2 * n) * (2 * n + 1));
        cosine = one - ((x2 * cosine) >> 62) / ((2 * n - 1) * (2 * n));
    }
    let to_q30 = |v: i128| ((v + (1 << 31)) >> 32) as i64;
    let (sine, cosine) = (to_q30((x * sine) >> 62), to_q30(cosine));
    match quadrant {
        0 => (sine, cosine),
        1 => (cosine, -sine),
        2 => (-sine, -cosine),
        _ => (-cosine, sine),
    }
}

/// The sine and cosine of every frequency (2^-64 turns per position) at `position`.
#[must_use]
pub fn table(frequencies: &[u64], position: u64) -> Vec<(i64, i64)> {
    frequencies.iter().map(|f| sine_cosine(f.wrapping_mul(position))).collect()
}

/// Rotates the first `2 * table.len()` numbers of one head in place. Numbers below 2^41 stay below 2^42.
#[inline(always)]
pub fn rotate(head: &mut [i64], table: &[(i64, i64)], rotation: Rotation) {
    for_each_pair(head, table, rotation, |u, w, sine, cosine| {
        let (wide_u, wide_w) = (i128::from(*u), i128::from(*w));
        let (sine, cosine) = (i128::from(sine), i128::from(cosine));
        *u = rsh128(wide_u * cosine - wide_w * sine, 30) as i64;
        *w = rsh128(wide_u * sine + wide_w * cosine, 30) as i64;
    });
}

/// Calls `turn` with the two numbers of every pair, the sine and the cosine.
#[inline(always)]
pub fn for_each_pair(
    head: &mut [i64],
    table: &[(i64, i64)],
    rotation: Rotation,
    turn: impl Fn(&mut i64, &mut i64, i64, i64),
) {
    match rotation {
        Rotation::Interleaved => {
            for (pair, (sine, cosine)) in head.chunks_exact_mut(2).zip(table) {
                let (u, w) = pair.split_at_mut(1);
                turn(&mut u[0], &mut w[0], *sine, *cosine);
            }
        }
        Rotation::Halves => {
            let (first, second) = head.split_at_mut(table.len());
            for ((u, w), (sine, cosine)) in first.iter_mut().zip(second).zip(table) {
                turn(u, w, *sine, *cosine);
            }
        }
    }
}
