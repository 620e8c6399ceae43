//! Bounded reading of GGUF's primitive values.

use super::value::Value;
use crate::error::ModelError;
use std::io::Read;

/// Bytes of one key or name.
const STRING_MAX: u64 = 16 << 20;
/// Memory is reserved for at most this many elements before they have been read.
const RESERVE_MAX: u64 = 4096;

/// Reads little-endian values from a stream and counts the bytes.
#[derive(Debug)]
pub(super) struct Reader<R> {
    source: R,
    position: u64,
    length: u64,
}

impl<R: Read> Reader<R> {
    /// A reader over a source of at most `length` bytes.
    pub(super) fn new(source: R, length: u64) -> Self {
        Self { source, position: 0, length }
    }

    /// Bytes read so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    fn ended() -> ModelError {
        ModelError::damaged("the file ends within its header")
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|_| Self::ended())?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ModelError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ModelError> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things, at most `max`.
    pub(super) fn count(&mut self, max: u64, what: &str) -> Result<u64, ModelError> {
        let count = self.u64()?;
        if count > max {
            return Err(ModelError::damaged(format!("{count} {what}, more than {max}")));
        }
        Ok(count)
    }

    /// A string with a 64-bit length. Memory grows only with bytes that are there.
    pub(super) fn string(&mut self) -> Result<String, ModelError> {
        let length = self.u64()?;
        if length > STRING_MAX || length > self.length.saturating_sub(self.position) {
            return Err(Self::ended());
        }
        let mut bytes = Vec::with_capacity(length.min(RESERVE_MAX) as usize);
        self.source.by_ref().take(length).read_to_end(&mut bytes).map_err(|_| Self::ended())?;
        if bytes.len() as u64 != length {
            return Err(Self::ended());
        }
        self.position += length;
        String::from_utf8(bytes).map_err(|_| ModelError::damaged("a string that is not UTF-8"))
    }

    /// A value of GGUF type number `kind`.
    pub(super) fn value(&mut self, kind: u32) -> Result<Value, ModelError> {
        match kind {
            8 => self.string().map(Value::String),
            9 => self.list(),
            _ => self.scalar(kind),
        }
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, ModelError> {
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>()?[0].into()),
            1 => Value::Signed(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::SingleBits(self.u32()?),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::DoubleBits(self.u64()?),
            _ => return Err(ModelError::damaged(format!("a metadata value of unknown type {kind}"))),
        })
    }

    fn list(&mut self) -> Result<Value, ModelError> {
        let (kind, count) = (self.u32()?, self.u64()?);
        // Every element takes at least one byte, so a longer list cannot be in the file.
        if count > self.length.saturating_sub(self.position) {
            return Err(Self::ended());
        }
        let reserve = count.min(RESERVE_MAX) as usize;
        match kind {
            8 => {
                let mut out = Vec::with_capacity(reserve);
                for _ in 0..count {
                    out.push(self.string()?);
                }
                Ok(Value::Strings(out))
            }
            6 => {
                let mut out = Vec::with_capacity(reserve);
                for _ in 0..count {
                    out.push(self.u32()?);
                }
                Ok(Value::SinglesBits(out))
            }
            12 => {
                for _ in 0..count {
                    self.scalar(kind)?;
                }
                Ok(Value::Ignored)
            }
            9 => Err(ModelError::damaged("a list of lists in the metadata")),
            _ => {
                let mut out = Vec::with_capacity(reserve);
                for _ in 0..count {
                    out.push(self.scalar(kind)?.as_i64().unwrap_or(i64::MAX));
                }
                Ok(Value::Integers(out))
            }
        }
    }
}
