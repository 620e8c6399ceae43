//! How files and directories become blocks, so that all who follow a profile get the same CIDs.

use super::message::Message;
use crate::block::{Block, BlockError, CidPrefix, DAG_PB, RAW, SHA2_256};
use crate::dagpb::Node;
use crate::limits::{CHUNK_BYTES, CHUNK_BYTES_V0, LINKS_PER_NODE, LINKS_PER_NODE_V0};
use bytes::Bytes;
use cid::Version;

/// A profile of IPIP-499. Both are balanced trees over SHA-256, and shard directories of more than
/// 256 KiB into 256 slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// `unixfs-v1-2025`: CIDv1, raw leaves of 1 MiB, 1,024 links; a directory's size is that of its block.
    #[default]
    V1_2025,
    /// `unixfs-v0-2015`: CIDv0, DAG-PB leaves of 256 KiB, 174 links; a directory's size is the sum of
    /// its names and CIDs.
    V0_2015,
}

/// One stretch of a file as a block.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub(super) block: Block,
    /// Bytes of the file in it.
    pub(super) bytes: u64,
}

impl Profile {
    /// Bytes of each leaf but the last.
    #[must_use]
    pub fn chunk_bytes(self) -> usize {
        match self {
            Self::V1_2025 => CHUNK_BYTES,
            Self::V0_2015 => CHUNK_BYTES_V0,
        }
    }

    /// Hashes one stretch of a file, on any thread. Put all of them in order into
    /// [`super::Importer::push_leaf`].
    ///
    /// # Panics
    /// If `data` is longer than [`Profile::chunk_bytes`].
    #[must_use]
    pub fn leaf(self, data: Bytes) -> Leaf {
        assert!(data.len() <= self.chunk_bytes(), "a leaf of at most one chunk");
        let bytes = data.len() as u64;
        let block = match self {
            Self::V1_2025 => Block::of(RAW, data).expect("a chunk is smaller than the block limit"),
            Self::V0_2015 => {
                self.node(&Node { links: Vec::new(), data: Message::of_leaf(&data) }).expect("a small block")
            }
        };
        Leaf { block, bytes }
    }

    pub(super) fn links_per_node(self) -> usize {
        match self {
            Self::V1_2025 => LINKS_PER_NODE,
            Self::V0_2015 => LINKS_PER_NODE_V0,
        }
    }

    pub(super) fn node(self, node: &Node) -> Result<Block, BlockError> {
        let version = match self {
            Self::V1_2025 => Version::V1,
            Self::V0_2015 => Version::V0,
        };
        let prefix = CidPrefix { version, codec: DAG_PB, hash: SHA2_256, digest_bytes: 32 };
        Block::received(prefix, node.encode().into())
    }
}
