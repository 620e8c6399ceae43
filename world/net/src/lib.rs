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
//! Blocks are exchanged with any libp2p peer that speaks bitswap, kubo and Helia too; they are
//! *strangers*: served as [`Serve`] says, and never told to the node. HTTP gateways are the second
//! source. Deliberately absent: any opinion about messages, NAT traversal, relays.

mod crowd;
mod error;
mod events;
mod fetch;
mod gateway;
mod ident;
mod ledger;
pub mod limits;
mod net;
mod reach;
mod region;
mod router;
mod session;
mod shared;
mod streams;
mod swarm;

pub use error::{DialError, FetchError, NetError, PingError, SendError};
pub use events::{
    BlockStore, Counters, Direction, FetchOptions, FetchProgress, Fetched, Ipfs, LedgerEntry, NetConfig, NetEvent,
    PeerInfo, RelayFor, Search, Serve, Strangers, SwarmPeer, Tried,
};
pub use ident::{node_of, peer_id_of};
pub use libp2p::{Multiaddr, PeerId};
pub use net::Net;
pub use reach::{Mapping, Nat, Reach, Reservation};
pub use region::Region;
pub use session::Session;
pub use talkoo_store::fetch::Scope;

#[cfg(test)]
mod tests;
