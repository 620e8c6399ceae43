//! How the small types are spelled in DAG-CBOR: byte strings for keys, digests and 128-bit
//! integers (which DAG-CBOR's integers cannot hold), small integers for enumerations.

use crate::{Address, Amount, Digest, Finish, JobId, LeaseId, NodeId, Price, Signature, Unix};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

struct BytesOf<const N: usize>;

impl<const N: usize> Visitor<'_> for BytesOf<N> {
    type Value = [u8; N];
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a byte string of {N} bytes")
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
    }
    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        self.visit_bytes(&bytes)
    }
}

fn read<'de, D: Deserializer<'de>, const N: usize>(input: D) -> Result<[u8; N], D::Error> {
    input.deserialize_bytes(BytesOf::<N>)
}

macro_rules! byte_string {
    ($name:ident, $write:expr, $read:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                let bytes = $write(self);
                out.serialize_bytes(bytes.as_ref())
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                $read(read(input)?).map_err(D::Error::custom)
            }
        }
    };
}

byte_string!(Digest, |d: &Self| d.0, |b| Ok::<_, &str>(Self(b)));
byte_string!(JobId, |j: &Self| j.0.0, |b| Ok::<_, &str>(Self(Digest(b))));
byte_string!(LeaseId, |l: &Self| l.0.0, |b| Ok::<_, &str>(Self(Digest(b))));
byte_string!(Address, |a: &Self| a.0, |b| Ok::<_, &str>(Self(b)));
byte_string!(Signature, |s: &Self| s.0, |b| Ok::<_, &str>(Self(b)));
byte_string!(NodeId, |n: &Self| *n.as_bytes(), |b: [u8; 33]| Self::from_bytes(&b));
byte_string!(Amount, |a: &Self| a.0.to_be_bytes(), |b| Ok::<_, &str>(Self(u128::from_be_bytes(b))));

impl Serialize for Price {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        (Amount(self.input), Amount(self.output)).serialize(out)
    }
}

impl<'de> Deserialize<'de> for Price {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let (input, output) = <(Amount, Amount)>::deserialize(input)?;
        Ok(Self { input: input.0, output: output.0 })
    }
}

impl Serialize for Unix {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Unix {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        u64::deserialize(input).map(Self)
    }
}

/// An enumeration with explicit numbers, spelled as its number.
macro_rules! numbered {
    ($name:ident) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.serialize_u8(*self as u8)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
                let number = u8::deserialize(input)?;
                let unknown = || serde::de::Error::custom(concat!("unknown ", stringify!($name)));
                Self::from_u8(number).ok_or_else(unknown)
            }
        }
    };
}
pub(super) use numbered;

numbered!(Finish);
