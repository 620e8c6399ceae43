//! Which private addresses are dialled. Strangers name addresses, also such as lead to services of this machine, of a
//! network that they cannot reach, of the cloud that the node runs in. So every dial, whoever wants it, passes here after
//! names were resolved, and goes into a private network only if the node listens in it or its owner named an address of it.

use crate::ledger::is_private;
use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// This machine, the first 16 bits of an IPv4 address, or the first 64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    Own,
    V4([u8; 2]),
    V6([u16; 4]),
}

impl Network {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() || ip.is_unspecified() => Self::Own,
            IpAddr::V4(ip) => Self::V4([ip.octets()[0], ip.octets()[1]]),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Self::V6([a, b, c, d])
            }
        }
    }

    /// Nobody listens there for others; clouds tell secrets there.
    fn is_link_local(self) -> bool {
        matches!(self, Self::V4([169, 254])) || matches!(self, Self::V6([first, ..]) if first & 0xffc0 == 0xfe80)
    }
}

/// The private networks where this node has business. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Near(Arc<Mutex<BTreeSet<Network>>>);

impl Near {
    fn networks(&self) -> MutexGuard<'_, BTreeSet<Network>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The owner named an address.
    pub(crate) fn name(&self, addr: &Multiaddr) {
        let network = ip_of(addr).filter(|ip| is_private(*ip)).map(Network::of);
        self.networks().extend(network);
    }

    /// The node listens at an address. That it also does so on its own machine is no reason to look around there.
    pub(crate) fn listens(&self, addr: &Multiaddr) {
        let network = ip_of(addr).filter(|ip| is_private(*ip)).map(Network::of);
        let is_meant = |network: &Network| *network != Network::Own && !network.is_link_local();
        self.networks().extend(network.filter(is_meant));
    }

    /// Whether an address may be dialled; a name may, until it is known what it stands for.
    pub(crate) fn allows(&self, addr: &Multiaddr) -> bool {
        ip_of(addr).is_none_or(|ip| !is_private(ip) || self.networks().contains(&Network::of(ip)))
    }
}

fn ip_of(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        _ => None,
    }
}

/// A transport that dials what [`Near`] allows.
pub(super) struct Careful<T> {
    pub(super) inner: T,
    pub(super) near: Near,
}

impl<T: Transport + Unpin> Transport for Careful<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, addr: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, addr: Multiaddr, opts: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        if self.near.allows(&addr) {
            return self.inner.dial(addr, opts);
        }
        tracing::debug!(%addr, "not dialled: a private network where this node has no business");
        Err(TransportError::MultiaddrNotSupported(addr))
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        Pin::new(&mut self.inner).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::core::Endpoint;
    use libp2p::core::transport::PortUse;
    use libp2p::tcp;

    fn addr(ip: &str) -> Multiaddr {
        let family = if ip.contains(':') { "ip6" } else { "ip4" };
        format!("/{family}/{ip}/tcp/22").parse().unwrap()
    }

    #[tokio::test]
    async fn strangers_send_nobody_into_private_networks() {
        let near = Near::default();
        let inner = tcp::tokio::Transport::new(tcp::Config::default());
        let mut transport = Careful { inner, near: near.clone() };
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let mut dials = |ip: &str| transport.dial(addr(ip), opts).is_ok();
        let private = ["127.0.0.1", "0.0.0.0", "10.1.2.3", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1"];
        assert!(private.iter().all(|ip| !dials(ip)) && dials("203.0.113.1") && dials("2001:db8::1"));
        ["127.0.0.1", "192.168.1.5", "169.254.3.4", "fd00::9"].iter().for_each(|ip| near.listens(&addr(ip)));
        let cases = ["127.0.0.1", "169.254.169.254", "192.168.9.9", "fd00::1", "10.1.2.3"].map(&mut dials);
        assert_eq!(cases, [false, false, true, true, false]);
        ["127.0.0.1", "10.1.0.1", "169.254.1.1"].iter().for_each(|ip| near.name(&addr(ip)));
        assert!(["127.0.0.9", "10.1.2.3", "169.254.3.4", "::1"].iter().all(|ip| dials(ip)) && !dials("10.2.0.1"));
        assert!(near.allows(&"/dns4/localhost/tcp/22".parse().unwrap()), "its address is looked at later");
    }
}
