//! How keys and values are kept between positions: what the contract's version says. Rule 8.

use crate::CONTRACT;
use crate::limits::BLOCK;
use crate::quantize::{quantize_fine_into, quantize_into};

/// The format of cached keys and values. Each is a version of the contract of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvFormat {
    /// Codes of 8 bits.
    #[default]
    Int8,
    /// Codes of 16 bits, 256 times finer.
    Int16,
}

impl KvFormat {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Int8, Self::Int16];

    /// Its name in commands and calls.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Int16 => "int16",
        }
    }

    /// Reads such a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Name of the contract's version, which is part of the manifest and so of the model root.
    #[must_use]
    pub fn contract(self) -> &'static str {
        match self {
            Self::Int8 => CONTRACT,
            Self::Int16 => "IR-1/kv16",
        }
    }

    /// Bytes of one code.
    #[must_use]
    pub fn code_bytes(self) -> usize {
        match self {
            Self::Int8 => 1,
            Self::Int16 => 2,
        }
    }

    /// Bits of the largest weight on the grid that segments are summed on. Eight bits more of a value leave eight
    /// less to a weight: over 2^17 positions sums stay below 2^56 either way.
    #[must_use]
    pub fn grid_bits(self) -> i32 {
        match self {
            Self::Int8 => 32,
            Self::Int16 => 24,
        }
    }
}

/// One head's key or value at one position: value_i = codes_i * mantissas_(i/32) * 2^exponent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CachedHead {
    /// One code per dimension: in -127..=127 or, if they are fine, -32,512..=32,512.
    pub codes: Vec<i16>,
    /// One mantissa per block of 32, at most 33,027.
    pub mantissas: Vec<u16>,
    /// The exponent of the whole head.
    pub exponent: i32,
}

impl CachedHead {
    /// Quantises a head of Q16 numbers.
    #[must_use]
    pub fn of(v: &[i64], format: KvFormat) -> Self {
        let mut mantissas = vec![0; v.len() / BLOCK];
        let mut codes = vec![0; v.len()];
        let exponent = match format {
            KvFormat::Int16 => quantize_fine_into(v, 16, &mut codes, &mut mantissas),
            KvFormat::Int8 => {
                let mut bytes = vec![0; v.len()];
                let exponent = quantize_into(v, 16, &mut bytes, &mut mantissas);
                codes.iter_mut().zip(bytes).for_each(|(code, byte)| *code = byte.into());
                exponent
            }
        };
        Self { codes, mantissas, exponent }
    }
}
