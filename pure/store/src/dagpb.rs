//! DAG-PB nodes (IPLD specification "DAG-PB"): links, then data.

use crate::limits::{DAG_BLOCKS_MAX, DAG_DEPTH_MAX, LINKS_READ_MAX};
use crate::pb::{self, Fields, Malformed, Value};
use bytes::Bytes;
use cid::Cid;
use thiserror::Error;

/// One link of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it points to.
    pub cid: Cid,
    /// Its name; empty in files.
    pub name: String,
    /// Cumulative bytes of all blocks below, as the writer claims (`Tsize`).
    pub total_bytes: u64,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// In the order of the file.
    pub links: Vec<Link>,
    /// The UnixFS message.
    pub data: Bytes,
}

/// Why bytes are not a node of a DAG that we read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NodeError {
    /// Not the codec that the CID names, or not UnixFS inside.
    #[error("malformed node {what}: it was written by a faulty program")]
    Malformed {
        /// Which part.
        what: &'static str,
    },
    /// More links than a node may have.
    #[error("node with more than {LINKS_READ_MAX} links: re-import the file with fewer links per node")]
    TooManyLinks,
    /// A directory, a symlink, a HAMT shard, or another codec, where a file is needed.
    #[error("{what} is not a file: name a file inside it, or list it")]
    NotAFile {
        /// What it is.
        what: &'static str,
    },
    /// Anything else where a directory is needed.
    #[error("not a directory: it has no names inside")]
    NotADirectory,
    /// Sizes that contradict one another.
    #[error("sizes of the file do not add up: the file was written by a faulty program")]
    SizeMismatch,
    /// Deeper than a DAG may be.
    #[error("dag deeper than {DAG_DEPTH_MAX} levels: re-import the file with more links per node")]
    TooDeep,
    /// More blocks than a walk may hold in memory.
    #[error("dag with more than {DAG_BLOCKS_MAX} blocks: take its parts one by one")]
    TooManyBlocks,
}

impl From<Malformed> for NodeError {
    fn from(_: Malformed) -> Self {
        Self::Malformed { what: "(protobuf)" }
    }
}

impl Node {
    /// Canonical bytes: all links (Hash, Name, Tsize), then the data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.links.len() * 52 + self.data.len() + 8);
        let mut entry = Vec::with_capacity(64);
        for link in &self.links {
            entry.clear();
            pb::write_bytes(1, &link.cid.to_bytes(), &mut entry);
            pb::write_bytes(2, link.name.as_bytes(), &mut entry);
            pb::write_number(3, link.total_bytes, &mut entry);
            pb::write_bytes(2, &entry, &mut out);
        }
        pb::write_bytes(1, &self.data, &mut out);
        out
    }

    /// Reads a node; its data shares `bytes`. Unknown fields are an error, as the specification demands.
    ///
    /// # Errors
    /// [`NodeError::Malformed`], [`NodeError::TooManyLinks`].
    pub fn decode(bytes: &Bytes) -> Result<Self, NodeError> {
        let mut node = Self::default();
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Bytes(data)) => node.data = bytes.slice_ref(data),
                (2, Value::Bytes(_)) if node.links.len() >= LINKS_READ_MAX => {
                    return Err(NodeError::TooManyLinks);
                }
                (2, Value::Bytes(link)) => node.links.push(decode_link(link)?),
                _ => return Err(NodeError::Malformed { what: "(unknown field)" }),
            }
        }
        Ok(node)
    }
}

fn decode_link(bytes: &[u8]) -> Result<Link, NodeError> {
    let (mut cid, mut name, mut total_bytes) = (None, String::new(), 0);
    for field in Fields::of(bytes) {
        match field? {
            (1, Value::Bytes(hash)) => cid = Cid::try_from(hash).ok(),
            (2, Value::Bytes(text)) => {
                let text = std::str::from_utf8(text);
                name = text.map_err(|_| NodeError::Malformed { what: "(link name)" })?.to_owned();
            }
            (3, Value::Varint(size)) => total_bytes = size,
            _ => return Err(NodeError::Malformed { what: "(unknown field of a link)" }),
        }
    }
    let cid = cid.ok_or(NodeError::Malformed { what: "(link without a cid)" })?;
    Ok(Link { cid, name, total_bytes })
}
