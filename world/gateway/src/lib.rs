//! HTTP of the store. For everybody, read only: the IPFS gateway ([`Gateway`]). For the owner, beside the native API and
//! under its token: kubo's RPC ([`rpc`]), the Pinning Service ([`Pinning`]), the protocol of the Hugging Face hub
//! ([`Hub`]).
//!
//! ```text
//! request ─► what is asked ─► a worker's thread: store, then network ─► pipe ─► answer
//! ```
//! Blocks are read and written on threads, never on the loop of HTTP. What is not public leaves only to the owner:
//! every way out goes through [`Source`].

mod archive;
mod body;
mod codecs;
mod gateway;
mod hub;
mod import;
mod keep;
mod limits;
mod network;
mod pinning;
mod routing;
/// kubo's RPC.
pub mod rpc;
mod source;
#[cfg(test)]
mod tests;
mod time;

pub use gateway::Gateway;
pub use hub::{Hub, Model, Models};
pub use import::{Added, Finished, Import, ImportOptions, Sink};
pub use network::{Connected, Identity, Network, Provider, Session};
pub use pinning::Pinning;
pub use source::{Denied, Reach, Source, Store};
