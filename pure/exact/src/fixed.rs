//! Numbers with 64 integer and 256 fraction bits, for the constants of a manifest.
//! Slow and plain on purpose: it runs once per model.

/// A non-negative fixed-point number; limbs from low to high, the last one the integer part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fixed {
    /// Compared first, so the derived order is the numeric one: limbs from high to low.
    limbs: [u64; LIMBS],
}

const LIMBS: usize = 5;
const FRACTION_BITS: usize = 256;
/// Series stop by themselves when a term is zero; this bounds them.
const TERMS_MAX: u64 = 400;

impl Fixed {
    pub(crate) const ZERO: Self = Self { limbs: [0; LIMBS] };

    pub(crate) fn integer(v: u64) -> Self {
        let mut out = Self::ZERO;
        out.limbs[0] = v;
        out
    }

    /// The integer part.
    pub(crate) fn floor(self) -> u64 {
        self.limbs[0]
    }

    pub(crate) fn add(self, other: Self) -> Self {
        let (mut out, mut carry) = (Self::ZERO, false);
        for i in (0..LIMBS).rev() {
            let (sum, first) = self.limbs[i].overflowing_add(other.limbs[i]);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            out.limbs[i] = sum;
            carry = first || second;
        }
        assert!(!carry, "a constant exceeded 2^64");
        out
    }

    pub(crate) fn sub(self, other: Self) -> Self {
        let (mut out, mut borrow) = (Self::ZERO, false);
        for i in (0..LIMBS).rev() {
            let (difference, first) = self.limbs[i].overflowing_sub(other.limbs[i]);
            let (difference, second) = difference.overflowing_sub(u64::from(borrow));
            out.limbs[i] = difference;
            borrow = first || second;
        }
        assert!(!borrow, "a constant became negative");
        out
    }

    /// The product, rounded down.
    pub(crate) fn mul(self, other: Self) -> Self {
        // Place k of the product has weight 2^(64 * (1 - k)) before the shift back by one integer limb.
        let mut wide = [0u64; 2 * LIMBS];
        for i in (0..LIMBS).rev() {
            let mut carry = 0u128;
            for j in (0..LIMBS).rev() {
                let at = i + j + 1;
                let sum = u128::from(self.limbs[i]) * u128::from(other.limbs[j]) + u128::from(wide[at]) + carry;
                wide[at] = sum as u64;
                carry = sum >> 64;
            }
            wide[i] = carry as u64;
        }
        assert!(wide[0] == 0, "a constant exceeded 2^64");
        let mut out = Self::ZERO;
        out.limbs.copy_from_slice(&wide[1..=LIMBS]);
        out
    }

    /// The quotient by a small number, rounded down.
    pub(crate) fn div_small(self, divisor: u64) -> Self {
        let (mut out, mut rest) = (Self::ZERO, 0u128);
        for i in 0..LIMBS {
            let dividend = (rest << 64) | u128::from(self.limbs[i]);
            out.limbs[i] = (dividend / u128::from(divisor)) as u64;
            rest = dividend % u128::from(divisor);
        }
        out
    }

    /// The quotient, rounded down, by long division bit by bit. `divisor` is below 2^63.
    pub(crate) fn div(self, divisor: Self) -> Self {
        assert!(divisor > Self::ZERO, "division of a constant by zero");
        let (mut quotient, mut rest) = (Self::ZERO, Self::ZERO);
        for step in 0..LIMBS * 64 + FRACTION_BITS {
            let bit = if step < LIMBS * 64 { self.limbs[step / 64] >> (63 - step % 64) & 1 } else { 0 };
            rest = rest.doubled(bit);
            let fits = rest >= divisor;
            if fits {
                rest = rest.sub(divisor);
            }
            quotient = quotient.doubled(u64::from(fits));
        }
        quotient
    }

    /// self * 2 + bit, dropping what leaves at the top.
    fn doubled(self, bit: u64) -> Self {
        let (mut out, mut carry) = (self, bit);
        for limb in out.limbs.iter_mut().rev() {
            let next = *limb >> 63;
            *limb = *limb << 1 | carry;
            carry = next;
        }
        out
    }

    /// self * 2^n.
    pub(crate) fn shl(self, n: u32) -> Self {
        (0..n).fold(self, |v, _| v.add(v))
    }

    /// self / 2^n, rounded down.
    pub(crate) fn shr(self, n: u64) -> Self {
        (0..n.min(320)).fold(self, |v, _| v.div_small(2))
    }

    /// 2 * atanh(1/3) = ln 2.
    pub(crate) fn ln2() -> Self {
        Self::atanh(Self::integer(1).div_small(3)).shl(1)
    }

    /// pi by Machin's formula.
    pub(crate) fn pi() -> Self {
        Self::atan_inverse(5).shl(4).sub(Self::atan_inverse(239).shl(2))
    }

    /// atan(1/n) by its series, the positive and the negative terms apart.
    fn atan_inverse(n: u64) -> Self {
        let (mut power, mut sums) = (Self::integer(1).div_small(n), [Self::ZERO; 2]);
        for k in 0..TERMS_MAX {
            let sum = &mut sums[usize::from(k % 2 == 1)];
            *sum = sum.add(power.div_small(2 * k + 1));
            power = power.div_small(n * n);
        }
        sums[0].sub(sums[1])
    }

    /// atanh(z) for z <= 1/3.
    fn atanh(z: Self) -> Self {
        let (mut power, mut sum, square) = (z, Self::ZERO, z.mul(z));
        for k in 0..TERMS_MAX {
            sum = sum.add(power.div_small(2 * k + 1));
            power = power.mul(square);
        }
        sum
    }

    /// ln(mantissa * 2^exponent) for a value of at least 1 and a mantissa below 2^62.
    pub(crate) fn ln(mantissa: u64, exponent: i32) -> Self {
        let bits = 63 - mantissa.leading_zeros();
        let one = 1u64 << bits;
        let z = Self::integer(mantissa - one).div(Self::integer(mantissa + one));
        let octaves = bits as i32 + exponent;
        assert!(octaves >= 0, "the logarithm of a constant below one");
        Self::ln2().mul(Self::integer(octaves as u64)).add(Self::atanh(z).shl(1))
    }

    /// e^-self: 2^-(n+1) * e^(ln2 - rest), where self = n * ln2 + rest.
    pub(crate) fn exp_neg(self) -> Self {
        let ln2 = Self::ln2();
        let octaves = self.div(ln2).floor();
        let rest = ln2.sub(self.sub(ln2.mul(Self::integer(octaves))));
        let (mut term, mut sum) = (Self::integer(1), Self::ZERO);
        for k in 1..TERMS_MAX {
            sum = sum.add(term);
            term = term.mul(rest).div_small(k);
        }
        sum.shr(octaves + 1)
    }
}
