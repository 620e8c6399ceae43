//! The integers of a manifest that stand for real numbers, computed to more than 200 bits from
//! exact inputs: GGUF's 32-bit patterns are taken as the dyadic rationals they are.

use crate::arith::{isqrt, rne};
use crate::error::ImportError;
use crate::fixed::Fixed;

/// A finite number from its 32-bit IEEE 754 pattern: mantissa * 2^exponent, exactly.
///
/// # Errors
/// If it is infinite or not a number.
pub fn single(bits: u32, what: &'static str) -> Result<(i64, i32), ImportError> {
    let (exponent, fraction) = ((bits >> 23 & 0xff) as i32, i64::from(bits & 0x7f_ffff));
    let (mantissa, exponent) = match exponent {
        0xff => return Err(ImportError::NotFinite { what }),
        0 => (fraction, -149),
        e => (fraction | 1 << 23, e - 150),
    };
    Ok((if bits >> 31 == 1 { -mantissa } else { mantissa }, exponent))
}

/// A number with `fraction_bits` fraction bits from its 32-bit pattern, to nearest, ties to even.
///
/// # Errors
/// If it is not finite or reaches 2^31 in that form.
pub fn round_single(bits: u32, fraction_bits: i32, what: &'static str) -> Result<i32, ImportError> {
    let (mantissa, exponent) = single(bits, what)?;
    let shift = -(exponent + fraction_bits);
    // A shift left of more than 40 of a non-zero mantissa is out of range anyway; zero stays zero.
    let value = rne(i128::from(mantissa), shift.max(-40));
    i32::try_from(value).map_err(|_| ImportError::OutOfRange {
        what,
        need: format!("|x| < 2^{}", 31 - fraction_bits),
        have: format!("{mantissa} * 2^{exponent}"),
    })
}

/// eps * 2^48 from the 32-bit pattern of the model's RMSNorm epsilon, which must be in 0..1.
///
/// # Errors
/// If it is not.
pub fn epsilon(bits: u32) -> Result<u64, ImportError> {
    let what = "the norm's epsilon";
    let (mantissa, exponent) = single(bits, what)?;
    let value = rne(i128::from(mantissa), (-(exponent + 48)).max(-60));
    u64::try_from(value).ok().filter(|v| *v <= 1 << 48).ok_or(ImportError::OutOfRange {
        what,
        need: "0..=1".into(),
        have: format!("{mantissa} * 2^{exponent}"),
    })
}

/// The rotary frequencies floor(base^(-2j/dimensions) / (2 pi) / divisors_j * 2^64), j = 0..dimensions/2,
/// in 2^-64 turns per position, from the 32-bit pattern of the base. No divisors: none divides.
///
/// # Errors
/// If the base is not a finite number from 1 to 2^40.
pub fn frequencies(base_bits: u32, dimensions: usize, divisors: &[Divisor]) -> Result<Vec<u64>, ImportError> {
    let what = "the rotary base";
    let (mantissa, exponent) = single(base_bits, what)?;
    let octaves = 63 - mantissa.unsigned_abs().leading_zeros() as i32 + exponent;
    if mantissa <= 0 || !(0..=40).contains(&octaves) {
        let have = format!("{mantissa} * 2^{exponent}");
        return Err(ImportError::OutOfRange { what, need: "1..2^40".into(), have });
    }
    let ln = Fixed::ln(mantissa as u64, exponent);
    let turn = Fixed::pi().shl(1);
    let frequency = |j: usize| {
        let power = ln.mul(Fixed::integer(2 * j as u64)).div_small(dimensions as u64);
        let turns = power.exp_neg().div(turn);
        divisors.get(j).map_or(turns, |divisor| divisor.divide(turns)).shl(64).floor()
    };
    Ok((0..dimensions / 2).map(frequency).collect())
}

/// What a rotary frequency is divided by: a product of numbers from 1 to 2^20, each exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divisor {
    /// mantissa * 2^-exponent.
    factors: Vec<(u64, u32)>,
}

impl Divisor {
    fn push(&mut self, bits: u32) -> Result<(), ImportError> {
        let what = "a divisor of the rotary frequencies";
        let (mantissa, exponent) = single(bits, what)?;
        let octaves = 63 - mantissa.unsigned_abs().leading_zeros() as i32 + exponent;
        if mantissa <= 0 || !(0..20).contains(&octaves) {
            let have = format!("{mantissa} * 2^{exponent}");
            return Err(ImportError::OutOfRange { what, need: "1..2^20".into(), have });
        }
        // A normal number of at least 1 has 24 bits of mantissa, so its exponent is within -23..0.
        self.factors.push((mantissa as u64, exponent.unsigned_abs()));
        Ok(())
    }

    fn divide(&self, v: Fixed) -> Fixed {
        self.factors.iter().fold(v, |v, (mantissa, exponent)| v.shl(*exponent).div_small(*mantissa))
    }
}

/// The divisors of the frequencies of `dimensions`: those of each frequency, and one of all.
///
/// # Errors
/// If one is not a finite number from 1 to 2^20, or there are too few or too many.
pub fn divisors(each: &[u32], all: Option<u32>, dimensions: usize) -> Result<Vec<Divisor>, ImportError> {
    let need = dimensions / 2;
    if !each.is_empty() && each.len() != need {
        return Err(ImportError::Shape { what: "the divisors of the rotary frequencies", need, have: each.len() });
    }
    let mut out = vec![Divisor::default(); need];
    for (j, divisor) in out.iter_mut().enumerate() {
        each.get(j).copied().into_iter().chain(all).try_for_each(|bits| divisor.push(bits))?;
    }
    Ok(out)
}

/// sqrt(n) in Q16, to nearest.
#[must_use]
pub fn root(n: usize) -> i64 {
    (isqrt((n as u128) << 34).div_ceil(2)) as i64
}

/// log2(e) / sqrt(head_dim) in Q30, to nearest.
#[must_use]
pub fn score_scale(head_dim: usize) -> i64 {
    let root = Fixed::ln(head_dim as u64, 0).div_small(2).exp_neg();
    let scaled = root.div(Fixed::ln2()).shl(31).floor();
    (scaled.div_ceil(2)) as i64
}
