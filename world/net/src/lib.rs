//! The network: peers, messages, blocks.
//!
//! rust-libp2p underneath; `/talkoo/<network>/work/1` for messages between nodes, bitswap 1.2 for
//! blocks, `/talkoo/<network>/kad/1` to find both. The PeerId is the node's secp256k1 key.
//!
//! ```text
//!  node ◄── NetEvent ── Net ── Command ──► swarm task ──► libp2p
//!    │                   │                                  │
//!    └── send(bytes) ──► queue ──► connection's own streams ┘
//! ```
//! Deliberately absent: any opinion about messages, NAT traversal, relays.

mod error;
mod events;
mod fetch;
mod ident;
pub mod limits;
mod net;
mod router;
mod shared;
mod streams;
mod swarm;

pub use error::{DialError, FetchError, NetError, SendError};
pub use events::{BlockStore, FetchProgress, Fetched, NetConfig, NetEvent, PeerInfo};
pub use ident::{node_of, peer_id_of};
pub use libp2p::{Multiaddr, PeerId};
pub use net::Net;

#[cfg(test)]
mod tests;
