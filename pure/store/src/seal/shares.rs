//! A 32-byte secret in shares, so that any `k` of them give it and fewer tell nothing (Shamir 1979), byte by byte over GF(2^8)
//! with the polynomial of AES, x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4.2). The secret lies at x = 0, share *x* at x.
//!
//! The first `k` - 1 shares are drawn and the others follow, which is the same as drawing coefficients. Arithmetic on
//! shares has neither branches nor tables; x is public.

use thiserror::Error;
use zeroize::Zeroizing;

/// The most shares of a secret.
pub const SHARES_MAX: u8 = 16;

/// Bytes that are erased when they are dropped.
pub type Secret = Zeroizing<[u8; 32]>;

/// Why shares do not give a secret.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ShareError {
    /// One share would be the secret, or nobody could have enough.
    #[error("{k} of {n} shares: take 2 ≤ k ≤ n ≤ {SHARES_MAX}")]
    Counts {
        /// Shares that are enough.
        k: u8,
        /// Shares in all.
        n: u8,
    },
    /// A share is number 0, or there twice.
    #[error("share {0} is no share, or there twice")]
    Number(u8),
}

/// The shares 1 to `n` of a secret, any `k` of which give it. `draw` gives 32 random bytes for the number of a share; nobody else may
/// ever learn those.
///
/// # Errors
/// [`ShareError::Counts`].
pub fn split(secret: &Secret, k: u8, n: u8, mut draw: impl FnMut(u8) -> Secret) -> Result<Vec<Secret>, ShareError> {
    if k < 2 || k > n || n > SHARES_MAX {
        return Err(ShareError::Counts { k, n });
    }
    let mut points = vec![(0, secret.clone())];
    points.extend((1..k).map(|x| (x, draw(x))));
    let rest: Vec<_> = (k..=n).map(|x| (x, at(&points, x))).collect();
    points.extend(rest);
    Ok(points.into_iter().skip(1).map(|(_, share)| share).collect())
}

/// The secret, of `k` shares with their numbers. Too few, or one that is wrong, give another secret: check what comes.
///
/// # Errors
/// [`ShareError::Number`].
pub fn combine(shares: &[(u8, Secret)]) -> Result<Secret, ShareError> {
    let twice = |i: usize| shares[..i].iter().any(|(x, _)| *x == shares[i].0);
    match (0..shares.len()).find(|i| shares[*i].0 == 0 || twice(*i)) {
        Some(bad) => Err(ShareError::Number(shares[bad].0)),
        None => Ok(at(shares, 0)),
    }
}

/// The value at `x` of the one polynomial of least degree through the points, whose x differ (Lagrange).
fn at(points: &[(u8, Secret)], x: u8) -> Secret {
    let mut value = Secret::default();
    for (i, (own, share)) in points.iter().enumerate() {
        let others = points.iter().enumerate().filter(|(j, _)| *j != i);
        let weight = others.fold(1, |weight, (_, (other, _))| times(weight, times(x ^ other, inverse(own ^ other))));
        value.iter_mut().zip(share.iter()).for_each(|(sum, byte)| *sum ^= times(*byte, weight));
    }
    value
}

/// The product in GF(2^8): `a` doubled at each bit of `b`, and added where the bit is set.
fn times(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= a & (b >> bit & 1).wrapping_neg();
        a = a << 1 ^ 0x1b & (a >> 7).wrapping_neg();
    }
    product
}

/// a^254, which is 1 / a.
fn inverse(a: u8) -> u8 {
    (0..253).fold(a, |power, _| times(power, a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(text: &str) -> (u8, Secret) {
        let bytes = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
        (bytes(32), Secret::new(std::array::from_fn(bytes)))
    }

    #[test]
    fn shares_that_another_program_made_give_its_secret() {
        // pyshamir 1.1.0, which is HashiCorp Vault's: 32 bytes, then x.
        let of_two = [
            "a9bb9bc44d9e4b60b212e647f17119eaa1920bc40a95609a9d45a96c34e341cbf5",
            "85a77faf1584f48daef7a0877979ce06e9ec101e776a4328fa341f3098eab190a8",
        ];
        let of_five = [
            "fd92fe244dfbc28e290ce09b20621480dc795081f7389a0d8b10f04ad390cfb850",
            "a367ecf098d6c7b6f1e7b2bfec54547a05171d16bd9c6ae24763de3a2c2892aba7",
            "1c525b87af18d0b8a87b234545c74b19fdaaa1086f60fbf8e74f8c57ee5e8a7b7f",
            "638d0ef8ba299b307fbf3b4e12902bbc233495686a602257c72a8cb3aaa0e2c240",
            "0e8cba6647aa7724da2a1ea901fe845f48bb47f2f2a815958c6dd96490d1d613ff",
        ];
        let secret = Secret::new(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        for shares in [&of_two[..], &of_five] {
            assert_eq!(combine(&shares.iter().map(|text| share(text)).collect::<Vec<_>>()), Ok(secret.clone()));
        }
        // FIPS 197, sections 4.2 and 5.1.1.
        assert_eq!((times(0x57, 0x83), times(0x57, 0x13), inverse(0x53)), (0xc1, 0xfe, 0xca));
    }

    #[test]
    fn counts_and_numbers_have_rules() {
        let secret = Secret::default();
        for (k, n) in [(0, 3), (1, 3), (4, 3), (2, 17), (17, 17), (2, 0)] {
            assert_eq!(split(&secret, k, n, |_| secret.clone()), Err(ShareError::Counts { k, n }));
        }
        for (numbers, bad) in [([0, 1], 0), ([1, 0], 0), ([3, 3], 3)] {
            assert_eq!(combine(&numbers.map(|x| (x, secret.clone()))), Err(ShareError::Number(bad)));
        }
    }

    proptest! {
        #[test]
        fn any_k_give_the_secret_and_fewer_fit_every_other(
            (k, n) in (2..=SHARES_MAX).prop_flat_map(|n| (2..=n, Just(n))),
            secret: [u8; 32], other: [u8; 32], drawn: [[u8; 32]; 15], order in Just((1..=SHARES_MAX).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let (secret, other) = (Secret::new(secret), Secret::new(other));
            let shares = split(&secret, k, n, |x| Secret::new(drawn[usize::from(x) - 1])).unwrap();
            prop_assert_eq!(shares.len(), usize::from(n));
            let picked = order.into_iter().filter(|x| *x <= n).take(usize::from(k));
            let mut picked: Vec<_> = picked.map(|x| (x, shares[usize::from(x) - 1].clone())).collect();
            prop_assert_eq!(combine(&picked).unwrap(), secret);
            // With the last one unknown, there is a share that makes it any other secret.
            let (last, _) = picked.pop().unwrap();
            let with_other = [&[(0, other.clone())], &picked[..]].concat();
            picked.push((last, at(&with_other, last)));
            prop_assert_eq!(combine(&picked).unwrap(), other);
        }

        #[test]
        fn the_field_is_a_field(a: u8, b: u8, c: u8) {
            prop_assert_eq!(times(a, b), times(b, a));
            prop_assert_eq!(times(a, b ^ c), times(a, b) ^ times(a, c));
            prop_assert_eq!(times(a, times(b, c)), times(times(a, b), c));
            prop_assert_eq!(times(a, inverse(a)), u8::from(a != 0));
        }
    }
}
