//! Being reached: others dial our addresses back (AutoNAT v2); who cannot be dialled asks relays to be reached through,
//! and punches holes from there (circuit relay v2, DCUtR); the router is asked for a port (UPnP).
//!
//! ```text
//! Unknown ──dialled back──► Public: server of both DHTs
//!    └──tried in vain──► Private ──relay found──► reached through it: server of our own DHT
//! ```

use super::{Task, record_key};
use crate::limits::{ADDRESSES_PER_PEER, REFUSED_MAX, RELAY_RETRY, RELAYS_KNOWN, RELAYS_USED, UNPUNCHED_MAX};
use crate::reach::{Mapping, Nat, Reservation};
use crate::shared::is_relayed;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, autonat, dcutr, identify, kad, relay, upnp};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use talkoo_base::Cid;
use tokio::time::Instant;

/// What the swarm's task remembers of it.
#[derive(Default)]
pub(super) struct Reaching {
    /// Peers that relay, with an address at which they answered us.
    relays: BTreeMap<PeerId, Multiaddr>,
    /// When a relay said no or went, for it is not asked again at once.
    refused: BTreeMap<PeerId, Instant>,
    /// Our listeners at relays.
    listeners: BTreeMap<String, PeerId>,
}

impl Task {
    /// An address that is known to lead to us: the owner says so, or we listen at one of the internet.
    pub(super) fn named(&mut self, address: Multiaddr) {
        self.swarm.add_external_address(address.clone());
        self.reached_at(address);
    }

    /// Whether we are in the DHT of IPFS for local networks.
    pub(super) fn is_in_lan_dht(&self) -> bool {
        let ipfs = self.swarm.behaviour().ipfs.as_ref();
        ipfs.is_some_and(|ipfs| ipfs.protocol_names().iter().any(|name| name.as_ref().contains("/lan/")))
    }

    /// An address leads to us.
    pub(super) fn reached_at(&mut self, address: Multiaddr) {
        tracing::info!(%address, "others reach this node here");
        let mut reach = self.shared.reach();
        reach.refused.remove(&address);
        if !reach.confirmed.contains(&address) {
            reach.confirmed.push(address.clone());
        }
        if !is_relayed(&address) {
            reach.nat = Nat::Public;
        }
        drop(reach);
        self.set_modes();
    }

    pub(super) fn reach_lost(&mut self, address: &Multiaddr) {
        let mut reach = self.shared.reach();
        reach.confirmed.retain(|known| known != address);
        if !reach.confirmed.iter().any(|known| !is_relayed(known)) {
            reach.nat = if reach.refused.is_empty() { Nat::Unknown } else { Nat::Private };
        }
        drop(reach);
        self.set_modes();
    }

    /// Somebody tried an address of ours; that it was reached is told by the swarm itself.
    pub(super) fn on_probe(&mut self, event: autonat::v2::client::Event) {
        let Err(why) = event.result else { return };
        let mut reach = self.shared.reach();
        tracing::info!(address = %event.tested_addr, server = %event.server, %why, "not reached from outside");
        if reach.refused.len() < REFUSED_MAX {
            reach.refused.insert(event.tested_addr, why.to_string());
        }
        if !reach.confirmed.iter().any(|known| !is_relayed(known)) {
            reach.nat = Nat::Private;
        }
        drop(reach);
        self.set_modes();
        self.use_relays();
    }

    /// Who can be dialled answers for others. In our own DHT also who is reached through a relay, and who does not know:
    /// in a network at home nobody tries.
    fn set_modes(&mut self) {
        let reach = self.shared.reach();
        let is_held = reach.relays.values().any(|state| *state == Reservation::Held);
        let own = if reach.nat == Nat::Private && !is_held { kad::Mode::Client } else { kad::Mode::Server };
        let has_public = reach.confirmed.iter().any(|addr| !is_relayed(addr) && is_public(addr));
        drop(reach);
        let serves = has_public || self.is_in_lan_dht();
        let behaviour = self.swarm.behaviour_mut();
        behaviour.kad.set_mode(Some(own));
        if let Some(ipfs) = behaviour.ipfs.as_mut() {
            ipfs.set_mode(Some(if serves { kad::Mode::Server } else { kad::Mode::Client }));
            self.shared.reach().serves_public_dht = Some(serves);
        }
    }

    /// Notes a peer that relays.
    pub(super) fn consider_relay(&mut self, peer: PeerId, info: &identify::Info) {
        if info.protocols.contains(&relay::HOP_PROTOCOL_NAME)
            && let Some(addr) = self.answered.get(&peer).filter(|addr| !is_relayed(addr))
        {
            if self.reaching.relays.len() < RELAYS_KNOWN {
                self.reaching.relays.insert(peer, addr.clone());
            }
            self.use_relays();
        }
    }

    /// Asks relays to be reached through, if we cannot be dialled.
    pub(super) fn use_relays(&mut self) {
        let mut reach = self.shared.reach();
        if reach.nat != Nat::Private {
            return;
        }
        for (peer, addr) in &self.reaching.relays {
            if reach.relays.len() >= RELAYS_USED {
                break;
            }
            let was_refused = self.reaching.refused.get(peer).is_some_and(|at| at.elapsed() < RELAY_RETRY);
            if was_refused || reach.relays.contains_key(peer) {
                continue;
            }
            let bare: Multiaddr = addr.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
            let at = bare.with(Protocol::P2p(*peer)).with(Protocol::P2pCircuit);
            match self.swarm.listen_on(at) {
                Ok(listener) => {
                    self.reaching.listeners.insert(format!("{listener:?}"), *peer);
                    reach.relays.insert(*peer, Reservation::Asked);
                }
                Err(why) => tracing::debug!(%peer, %why, "a relay cannot be used"),
            }
        }
    }

    pub(super) fn on_relay(&mut self, event: relay::client::Event) {
        if let relay::client::Event::ReservationReqAccepted { relay_peer_id, .. } = event {
            self.shared.reach().relays.insert(relay_peer_id, Reservation::Held);
            self.set_modes();
        }
    }

    /// A listener is gone; if it was at a relay, another one is asked.
    pub(super) fn relay_lost(&mut self, listener: ListenerId) {
        let Some(peer) = self.reaching.listeners.remove(&format!("{listener:?}")) else { return };
        tracing::info!(%peer, "a relay serves us no more");
        self.shared.reach().relays.remove(&peer);
        self.reaching.refused.insert(peer, Instant::now());
        self.set_modes();
        self.use_relays();
    }

    pub(super) fn on_punched(&mut self, event: dcutr::Event) {
        let mut reach = self.shared.reach();
        match event.result {
            Ok(_) => {
                reach.punched += 1;
                reach.unpunched.remove(&event.remote_peer_id);
                tracing::info!(peer = %event.remote_peer_id, "a relayed connection became direct");
            }
            Err(why) => {
                tracing::info!(peer = %event.remote_peer_id, %why, "no direct connection");
                if reach.unpunched.len() < UNPUNCHED_MAX {
                    reach.unpunched.insert(event.remote_peer_id, why.to_string());
                }
            }
        }
    }

    pub(super) fn on_router(&mut self, event: upnp::Event) {
        self.shared.reach().mapping = match event {
            upnp::Event::NewExternalAddr { external_addr, .. } => Mapping::Mapped(external_addr),
            upnp::Event::ExpiredExternalAddr { .. } => Mapping::Asked,
            upnp::Event::GatewayNotFound => Mapping::NoRouter,
            upnp::Event::NonRoutableGateway => Mapping::NotPublic,
        };
    }

    /// Takes a peer that speaks the DHT of IPFS into its routing table.
    pub(super) fn consider_ipfs(&mut self, peer: PeerId, info: &identify::Info) {
        let Some(ipfs) = self.swarm.behaviour_mut().ipfs.as_mut() else { return };
        if !ipfs.protocol_names().first().is_some_and(|name| info.protocols.contains(name)) {
            return;
        }
        let answered = self.answered.get(&peer).cloned();
        for addr in answered.iter().chain(info.listen_addrs.iter().take(ADDRESSES_PER_PEER)) {
            ipfs.add_address(&peer, addr.clone());
        }
    }

    /// Announces a root also in the DHT of IPFS, if we joined it.
    pub(super) fn provide_in_ipfs(&mut self, root: &Cid) {
        if let Some(ipfs) = self.swarm.behaviour_mut().ipfs.as_mut()
            && let Err(why) = ipfs.start_providing(record_key(root))
        {
            tracing::debug!(%root, ?why, "not announced in the DHT of IPFS");
        }
    }
}

/// Whether an address is one of the internet.
fn is_public(addr: &Multiaddr) -> bool {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => is_public_v4(ip),
        Some(Protocol::Ip6(ip)) => is_public_v6(ip),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_)) => true,
        _ => false,
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let shared = ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]);
    !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || ip.is_broadcast() || shared)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    !(ip.is_loopback() || ip.is_unspecified() || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80)
}

/// Whether an address of a listener is one at which the internet reaches it: public, and its own.
pub(super) fn is_own_public(addr: &Multiaddr) -> bool {
    is_public(addr) && !is_relayed(addr)
}
