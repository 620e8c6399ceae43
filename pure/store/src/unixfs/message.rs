//! The UnixFS message inside a DAG-PB node's data (specs.ipfs.tech/unixfs, "Data").

use super::hamt::MURMUR3_X64_64;
use super::{Meta, Mtime};
use crate::dagpb::NodeError;
use crate::pb::{self, Fields, Value};
use bytes::Bytes;

pub(super) const RAW: u64 = 0;
pub(super) const DIRECTORY: u64 = 1;
pub(super) const FILE: u64 = 2;
pub(super) const SYMLINK: u64 = 4;
pub(super) const SHARD: u64 = 5;

#[derive(Default)]
pub(super) struct Message {
    pub(super) kind: u64,
    pub(super) data: Bytes,
    pub(super) size: Option<u64>,
    pub(super) child_sizes: Vec<u64>,
    pub(super) hash: Option<u64>,
    pub(super) fanout: Option<u64>,
    pub(super) meta: Meta,
}

impl Message {
    pub(super) fn decode(bytes: &Bytes) -> Result<Self, NodeError> {
        let mut message = Self::default();
        let mut kind = None;
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Varint(value)) => kind = Some(value),
                (2, Value::Bytes(data)) => message.data = bytes.slice_ref(data),
                (3, Value::Varint(size)) => message.size = Some(size),
                (4, Value::Varint(size)) => message.child_sizes.push(size),
                (5, Value::Varint(code)) => message.hash = Some(code),
                (6, Value::Varint(fanout)) => message.fanout = Some(fanout),
                (7, Value::Varint(mode)) => message.meta.mode = Some(mode as u32 & 0o7777),
                (8, Value::Bytes(time)) => message.meta.mtime = Some(decode_time(time)?),
                _ => {}
            }
        }
        message.kind = kind.ok_or(NodeError::Malformed { what: "(unixfs type)" })?;
        Ok(message)
    }

    /// Type, data unless empty, size.
    pub(super) fn of_leaf(data: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(data.len() + 12);
        pb::write_number(1, FILE, &mut out);
        if !data.is_empty() {
            pb::write_bytes(2, data, &mut out);
        }
        pb::write_number(3, data.len() as u64, &mut out);
        out.into()
    }

    /// Type, size, sizes of the children, in the order kubo writes them.
    pub(super) fn of_branch(child_sizes: &[u64]) -> Bytes {
        let mut out = Vec::with_capacity(12 + child_sizes.len() * 4);
        pb::write_number(1, FILE, &mut out);
        pb::write_number(3, child_sizes.iter().sum(), &mut out);
        for size in child_sizes {
            pb::write_number(4, *size, &mut out);
        }
        out.into()
    }

    pub(super) fn of_directory() -> Bytes {
        let mut out = Vec::new();
        pb::write_number(1, DIRECTORY, &mut out);
        out.into()
    }

    pub(super) fn of_symlink(target: &str) -> Bytes {
        let mut out = Vec::with_capacity(target.len() + 8);
        pb::write_number(1, SYMLINK, &mut out);
        pb::write_bytes(2, target.as_bytes(), &mut out);
        out.into()
    }

    /// `bits` is the bitfield as a big-endian number without leading zeros.
    pub(super) fn of_shard(bits: &[u8], fanout: u64) -> Bytes {
        let mut out = Vec::with_capacity(bits.len() + 12);
        pb::write_number(1, SHARD, &mut out);
        pb::write_bytes(2, bits, &mut out);
        pb::write_number(5, MURMUR3_X64_64, &mut out);
        pb::write_number(6, fanout, &mut out);
        out.into()
    }
}

fn decode_time(bytes: &[u8]) -> Result<Mtime, NodeError> {
    let mut time = Mtime { seconds: 0, nanos: 0 };
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Varint(seconds)) => time.seconds = seconds as i64,
            (2, Value::Fixed32(nanos)) if nanos < 1_000_000_000 => time.nanos = nanos,
            _ => return Err(NodeError::Malformed { what: "(mtime)" }),
        }
    }
    Ok(time)
}
