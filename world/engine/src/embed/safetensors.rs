//! Safetensors: a table of tensors as JSON behind its length (u64 LE), then their bytes.
//!
//! Strict and total: every tensor lies inside the file, is as long as its shape says, and no two overlap.
//! Format: the `README` of the `safetensors` project.

use crate::error::ModelError;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes of the table; the reference allows as many.
const TABLE_MAX: usize = 100_000_000;
/// The one entry of the table that is no tensor.
const METADATA: &str = "__metadata__";

/// One tensor: its bytes are little-endian, rows first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    pub(super) kind: String,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: &'a [u8],
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The tensors of a file, by name.
pub(super) fn read(file: &[u8]) -> Result<BTreeMap<String, Stored<'_>>, ModelError> {
    let damaged = |what: String| ModelError::damaged(format!("safetensors: {what}"));
    let ended = || damaged("the file ends within its table".into());
    let (length, rest) = file.split_first_chunk::<8>().ok_or_else(ended)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (table, data) = rest.split_at_checked(length).filter(|_| length <= TABLE_MAX).ok_or_else(ended)?;
    let table: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(table).map_err(|why| damaged(format!("the table is no JSON: {why}")))?;
    let (mut out, mut ranges) = (BTreeMap::new(), Vec::new());
    for (name, entry) in table.into_iter().filter(|(name, _)| name != METADATA) {
        let entry = Entry::deserialize(entry).map_err(|why| damaged(format!("tensor {name}: {why}")))?;
        let [from, to] = entry.data_offsets;
        let bytes = data.get(from..to).ok_or_else(|| damaged(format!("tensor {name} lies outside the file")))?;
        let wide = entry.shape.iter().try_fold(width(&entry.dtype), |n, d| n.checked_mul(*d));
        if wide != Some(bytes.len()) {
            return Err(damaged(format!("tensor {name} has {} bytes for {:?}", bytes.len(), entry.shape)));
        }
        ranges.push((from, to));
        out.insert(name, Stored { kind: entry.dtype, shape: entry.shape, bytes });
    }
    ranges.sort_unstable();
    if ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        return Err(damaged("tensors overlap".into()));
    }
    Ok(out)
}

/// Bytes of a number; of unknown types none, so that no shape fits.
fn width(kind: &str) -> usize {
    match kind {
        "BOOL" | "U8" | "I8" => 1,
        "F16" | "BF16" | "I16" | "U16" => 2,
        "F32" | "I32" | "U32" => 4,
        "F64" | "I64" | "U64" => 8,
        _ => 0,
    }
}
