//! How others reach us, and how we reach them: what is known, for the owner to read.

use libp2p::{Multiaddr, PeerId};
use std::collections::BTreeMap;

/// Whether strangers can dial us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nat {
    /// Nobody has tried yet.
    #[default]
    Unknown,
    /// Somebody dialled an address of ours back.
    Public,
    /// Those who tried did not get through.
    Private,
}

/// How a relay serves us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// We asked.
    Asked,
    /// Others reach us through it.
    Held,
}

/// What the router at home said to our request for a port (UPnP).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mapping {
    /// It was not asked: we listen on loopback, or the owner does not want it.
    #[default]
    NotAsked,
    /// No answer yet.
    Asked,
    /// There is no router that speaks UPnP.
    NoRouter,
    /// The router itself has no public address.
    NotPublic,
    /// This address of the router leads to us.
    Mapped(Multiaddr),
}

/// What is known of our reachability.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The verdict.
    pub nat: Nat,
    /// Addresses at which we were reached, or which the owner named.
    pub confirmed: Vec<Multiaddr>,
    /// Addresses at which we were not, with the last reason.
    pub refused: BTreeMap<Multiaddr, String>,
    /// Relays that serve us.
    pub relays: BTreeMap<PeerId, Reservation>,
    /// The router.
    pub mapping: Mapping,
    /// Whether we relay for others.
    pub is_relay: bool,
    /// Relayed connections that became direct.
    pub punched: u64,
    /// Peers with whom that failed, with the reason.
    pub unpunched: BTreeMap<PeerId, String>,
    /// Whether we answer for the public DHT of IPFS, if we are in it.
    pub serves_public_dht: Option<bool>,
}
