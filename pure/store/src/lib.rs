//! Content-addressed blocks: what a block is, how files and folders become blocks and come back,
//! what blocks of other kinds link to, how they travel as CAR files, what bitswap peers say to one
//! another, which block to ask from whom, and how private objects are sealed.
//!
//! ```text
//! file ──unixfs::Importer──► Block… ──(disk, net)──► Fetch ──► Block… ──unixfs::Reader──► file
//!                              │  bitswap::Message  ▲            │
//!                   path ──resolve──► dag::Walk ──► car ──► car::Decoder
//! ```
//! A [`Block`] is proof of its own name: it cannot be built from bytes that do not hash to its
//! CID. Nothing here touches a socket or a file; `world/net` and `world/disk` do.

pub mod bitswap;
mod block;
pub mod car;
pub mod dag;
pub mod dagpb;
pub mod denylist;
pub mod fetch;
pub mod ipld;
pub mod limits;
mod pb;
pub mod possession;
pub mod replica;
pub mod seal;
pub mod session;
pub mod unixfs;

pub use block::{Block, BlockError, CidPrefix, DAG_CBOR, DAG_JSON, DAG_PB, RAW, SHA2_256, Visibility};
