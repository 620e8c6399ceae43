//! Metadata values. Floating-point numbers stay bit patterns: the contract reads them as integers.

use std::collections::BTreeMap;

/// One metadata value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// u8 to u64.
    Unsigned(u64),
    /// i8 to i64.
    Signed(i64),
    /// The bits of an f32.
    SingleBits(u32),
    /// The bits of an f64.
    DoubleBits(u64),
    /// A truth value.
    Bool(bool),
    /// A string.
    String(String),
    /// A list of strings.
    Strings(Vec<String>),
    /// A list of whole numbers or truth values.
    Integers(Vec<i64>),
    /// The bits of a list of f32.
    SinglesBits(Vec<u32>),
    /// A list of f64: read past, used by nothing here.
    Ignored,
}

impl Value {
    /// The value as a whole number, if it is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Unsigned(v) => i64::try_from(*v).ok(),
            Self::Signed(v) => Some(*v),
            Self::Bool(v) => Some(i64::from(*v)),
            _ => None,
        }
    }
}

/// Metadata by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    values: BTreeMap<String, Value>,
}

impl Metadata {
    pub(super) fn insert(&mut self, key: String, value: Value) {
        self.values.insert(key, value);
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// A whole number that is not negative.
    #[must_use]
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_i64().and_then(|v| u64::try_from(v).ok())
    }

    /// A whole number below 2^32.
    #[must_use]
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.u64(key).and_then(|v| u32::try_from(v).ok())
    }

    /// The bit pattern of an f32.
    #[must_use]
    pub fn single_bits(&self, key: &str) -> Option<u32> {
        match self.get(key)? {
            Value::SingleBits(bits) => Some(*bits),
            _ => None,
        }
    }

    /// A truth value.
    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::Bool(v) => Some(*v),
            _ => None,
        }
    }

    /// A string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            Value::String(v) => Some(v),
            _ => None,
        }
    }

    /// A list of strings.
    #[must_use]
    pub fn strings(&self, key: &str) -> Option<&[String]> {
        match self.get(key)? {
            Value::Strings(v) => Some(v),
            _ => None,
        }
    }

    /// A list of whole numbers.
    #[must_use]
    pub fn integers(&self, key: &str) -> Option<&[i64]> {
        match self.get(key)? {
            Value::Integers(v) => Some(v),
            _ => None,
        }
    }

    /// The bit patterns of a list of f32.
    #[must_use]
    pub fn singles(&self, key: &str) -> Option<&[u32]> {
        match self.get(key)? {
            Value::SinglesBits(v) => Some(v),
            _ => None,
        }
    }
}
