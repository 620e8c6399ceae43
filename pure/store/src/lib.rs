//! Content-addressed blocks: what a block is, how files become blocks and files again, what
//! bitswap peers say to one another, which block to ask from whom, and how private objects are
//! sealed.
//!
//! ```text
//! file ──unixfs::Importer──► Block… ──(disk, net)──► Fetch ──► Block… ──unixfs::Reader──► file
//!                                 bitswap::Message  ▲
//! ```
//! A [`Block`] is proof of its own name: it cannot be built from bytes that do not hash to its
//! CID. Nothing here touches a socket or a file; `world/net` and `world/disk` do.

pub mod bitswap;
mod block;
pub mod dagpb;
pub mod fetch;
pub mod limits;
mod pb;
pub mod seal;
pub mod session;
pub mod unixfs;

pub use block::{Block, BlockError, CidPrefix, DAG_PB, RAW, SHA2_256, Visibility};
