//! What a node remembers of its place in the network, so that a plain restart finds back: where it
//! listened, whom it was connected with, whether it offered compute. One small file, `network.json`;
//! without it a node starts as a new one.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use tracing::warn;

/// Addresses of peers remembered, the latest first.
const PEERS_MAX: usize = 32;
/// Addresses of one peer: it could fill the memory with its own.
const ADDRESSES_PER_PEER: usize = 4;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The network that the peers are of.
    #[serde(default)]
    network: String,
    #[serde(default)]
    listen: Vec<String>,
    #[serde(default)]
    peers: Vec<String>,
    #[serde(default)]
    providing: bool,
    /// Whether its owner had set limits.
    #[serde(default)]
    limited: bool,
    /// Under which terms it offered, as [`super::terms`] writes them.
    #[serde(default)]
    terms: Value,
}

pub(super) struct Memory {
    path: PathBuf,
    kept: Kept,
}

impl Memory {
    pub(super) fn open(data_dir: &Path, network: &str) -> Self {
        let path = data_dir.join("network.json");
        let mut kept = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|why| {
                warn!(path = %path.display(), %why, "this file is damaged and not used");
                Kept::default()
            }),
            Err(_) => Kept::default(),
        };
        if kept.network != network {
            kept.peers.clear();
            network.clone_into(&mut kept.network);
        }
        Self { path, kept }
    }

    pub(super) fn providing(&self) -> bool {
        self.kept.providing
    }

    /// Whether its owner had set limits, and the terms of the last time: none, if a version wrote them that kept none.
    pub(super) fn terms(&self) -> (bool, &Value) {
        (self.kept.limited, &self.kept.terms)
    }

    /// It offers under these terms from now on.
    pub(super) fn agrees(&mut self, limited: bool, terms: Value) {
        self.change(|kept| (kept.limited, kept.terms) = (limited, terms));
    }

    pub(super) fn peers(&self) -> &[String] {
        &self.kept.peers
    }

    /// The addresses to listen on: a port that the system may choose becomes the last one, if it is free.
    pub(super) fn listen(&self, wanted: &[String]) -> Vec<String> {
        wanted.iter().map(|addr| self.port_of(addr).unwrap_or_else(|| addr.clone())).collect()
    }

    /// `wanted` with the remembered port.
    fn port_of(&self, wanted: &str) -> Option<String> {
        let (head, tail) = ["/tcp/0", "/udp/0"].iter().find_map(|zero| {
            let at = wanted.find(zero)? + zero.len() - 1;
            Some((&wanted[..at], &wanted[at + 1..]))
        })?;
        let (kind, ip) = head.strip_prefix('/')?.rsplit_once('/')?.0.rsplit_once('/')?.0.split_once('/')?;
        let ip: IpAddr = ip.parse().ok()?;
        let transport = &head[head.len() - "/tcp/".len()..];
        let port = self.kept.listen.iter().find_map(|old| {
            // Who listens on all addresses of a machine is told each of them.
            let (old_ip, rest) = old.strip_prefix('/')?.strip_prefix(kind)?.strip_prefix('/')?.split_once(transport)?;
            if !ip.is_unspecified() && old_ip.parse() != Ok(ip) {
                return None;
            }
            let (port, end) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            (end.strip_prefix(tail)?.is_empty() || end.strip_prefix(tail)?.starts_with("/p2p/")).then_some(port)
        })?;
        let port = port.parse::<u16>().ok()?;
        let is_free = if head.ends_with("/tcp/") {
            TcpListener::bind((ip, port)).is_ok()
        } else {
            UdpSocket::bind((ip, port)).is_ok()
        };
        is_free.then(|| format!("{head}{port}{tail}"))
    }

    pub(super) fn listens(&mut self, addresses: Vec<String>) {
        self.change(|kept| kept.listen = addresses);
    }

    pub(super) fn provides(&mut self, on: bool) {
        self.change(|kept| kept.providing = on);
    }

    /// Where a connected peer can be dialled; each address ends in `/p2p/` and its name.
    pub(super) fn met(&mut self, mut addrs: Vec<String>) {
        addrs.truncate(ADDRESSES_PER_PEER);
        let who = |addr: &str| addr.rsplit("/p2p/").next().map(str::to_owned);
        let Some(peer) = addrs.first().map(|addr| who(addr)) else { return };
        // Who stands here just so keeps the place: peers tell their addresses again and again.
        if self.kept.peers.iter().filter(|known| who(known) == peer).eq(&addrs) {
            return;
        }
        self.change(|kept| {
            kept.peers.retain(|known| who(known) != peer);
            kept.peers.splice(0..0, addrs);
            kept.peers.truncate(PEERS_MAX);
        });
    }

    fn change(&mut self, change: impl FnOnce(&mut Kept)) {
        let before = self.kept.clone();
        change(&mut self.kept);
        if self.kept == before {
            return;
        }
        let part = self.path.with_extension("part");
        let bytes = serde_json::to_vec_pretty(&self.kept).expect("strings and a flag are JSON");
        if let Err(why) = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, &self.path)) {
            warn!(path = %self.path.display(), %why, "the next start will not find back by itself");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "/ip4/127.0.0.1/tcp/0";
    const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

    #[test]
    fn a_restart_finds_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path(), "n");
        let wanted = [TCP.to_owned(), QUIC.to_owned(), "/ip4/127.0.0.1/tcp/4001".to_owned()];
        assert_eq!(memory.listen(&wanted), wanted, "nothing is known yet");
        let free = |socket: std::net::SocketAddr| socket.port();
        let tcp = free(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        let udp = free(UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        memory.listens(vec![
            format!("/ip4/127.0.0.1/udp/{udp}/quic-v1/p2p/16Uiu2A"),
            format!("/ip4/127.0.0.1/tcp/{tcp}/p2p/16Uiu2A"),
        ]);
        memory.provides(true);
        (0..40).for_each(|n| memory.met(vec![format!("/ip4/127.0.0.1/tcp/{n}/p2p/peer{n}")]));
        memory.met(vec!["/ip4/127.0.0.1/tcp/9/p2p/peer30".to_owned()]);
        memory.met((0..9).map(|n| format!("/ip4/127.0.0.1/tcp/{n}/p2p/many")).collect());
        memory.met(vec!["/ip4/127.0.0.1/tcp/9/p2p/peer30".to_owned()]);
        let memory = Memory::open(dir.path(), "n");
        assert!(memory.providing());
        assert_eq!((memory.peers().len(), memory.peers()[4].as_str()), (32, "/ip4/127.0.0.1/tcp/9/p2p/peer30"));
        assert_eq!(memory.peers().iter().filter(|p| p.ends_with("many")).count(), ADDRESSES_PER_PEER);
        assert_eq!(Memory::open(dir.path(), "other").peers().len(), 0, "peers of another network are none");
        assert_eq!(memory.peers().iter().filter(|p| p.ends_with("peer30")).count(), 1);
        let (tcp_addr, udp_addr) = (format!("/ip4/127.0.0.1/tcp/{tcp}"), format!("/ip4/127.0.0.1/udp/{udp}/quic-v1"));
        assert_eq!(memory.listen(&wanted), [tcp_addr, udp_addr.clone(), wanted[2].clone()]);
        let everywhere = ["/ip4/0.0.0.0/tcp/0".to_owned(), "/ip6/::/tcp/0".to_owned()];
        let again = [format!("/ip4/0.0.0.0/tcp/{tcp}"), everywhere[1].clone()];
        assert_eq!(memory.listen(&everywhere), again, "it was told each of its addresses");
        let taken = TcpListener::bind(("127.0.0.1", tcp)).unwrap();
        assert_eq!(memory.listen(&wanted), [TCP.to_owned(), udp_addr, wanted[2].clone()], "somebody else has it");
        drop(taken);
    }

    #[test]
    fn a_damaged_file_is_as_none() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("network.json"), "{").unwrap();
        let mut memory = Memory::open(dir.path(), "n");
        assert!(memory.peers().is_empty() && !memory.providing());
        memory.provides(true);
        assert!(Memory::open(dir.path(), "n").providing());
    }
}
