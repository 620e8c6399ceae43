//! The subset of protobuf that DAG-PB, UnixFS and bitswap use: varints and length-delimited
//! fields. Own code because these readers meet hostile bytes: total, bounded, no allocation.

/// One field's content.
pub(crate) enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 1: nothing we read uses it.
    Fixed64,
    /// Wire type 5.
    Fixed32(u32),
}

/// Iterates over the fields of one message; ends after the first malformed field.
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl<'a> Fields<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = read_varint(self.bytes, &mut self.at)?;
        let value = match tag & 7 {
            0 => Value::Varint(read_varint(self.bytes, &mut self.at)?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let len = read_varint(self.bytes, &mut self.at)?;
                Value::Bytes(self.take(usize::try_from(len).ok()?)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let slice = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(slice)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let field = self.field().ok_or(Malformed);
        if field.is_err() {
            self.at = self.bytes.len();
        }
        Some(field)
    }
}

/// Reads an unsigned LEB128 number of at most 64 bits and moves `at` past it.
pub(crate) fn read_varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Appends `value` as unsigned LEB128.
pub(crate) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length-delimited field.
pub(crate) fn write_bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(field << 3 | 2, out);
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a varint field.
pub(crate) fn write_number(field: u64, value: u64, out: &mut Vec<u8>) {
    write_varint(field << 3, out);
    write_varint(value, out);
}
