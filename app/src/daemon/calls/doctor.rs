//! `doctor`: how this node is reached, peer by peer and transport by transport, and what to do about what is amiss.

use super::{Answer, Daemon};
use serde_json::{Value, json};
use talkoo_net::{Direction, Mapping, Multiaddr, Nat, Reach, Reservation, SwarmPeer};

/// What is so, and what to do if it should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    is_good: bool,
    what: String,
    fix: Option<&'static str>,
}

fn good(what: impl Into<String>) -> Finding {
    Finding { is_good: true, what: what.into(), fix: None }
}

fn bad(what: impl Into<String>, fix: &'static str) -> Finding {
    Finding { is_good: false, what: what.into(), fix: Some(fix) }
}

const LISTEN: &str = "let others in: talkoo up --listen /ip4/0.0.0.0/tcp/4001 --listen /ip4/0.0.0.0/udp/4001/quic-v1";
const FORWARD: &str =
    "forward TCP and UDP port 4001 of your router to this machine, and say so with --external /ip4/ADDRESS/tcp/4001";
const RELAY: &str =
    "connect to a node that relays (up --relay, on a machine with a public address): talkoo join, or --bootstrap";

impl Daemon {
    pub(super) fn doctor(&self) -> Answer {
        let (reach, peers) = (self.net.reach(), self.net.swarm());
        let mut findings = reached(&reach, &self.net.addresses());
        findings.extend(met(&peers, &reach));
        findings.extend(self.kept());
        let told = findings.iter().map(|f| json!({"good": f.is_good, "what": f.what, "fix": f.fix}));
        let texts = |addrs: &[Multiaddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
        Ok(json!({
            "findings": told.collect::<Vec<_>>(),
            "nat": match reach.nat { Nat::Unknown => "unknown", Nat::Public => "public", Nat::Private => "private" },
            "listen": texts(&self.net.addresses()),
            "reached_at": texts(&reach.confirmed),
            "not_reached_at": reach.refused.iter().map(|(addr, why)| json!({"addr": addr.to_string(), "why": why})).collect::<Vec<_>>(),
            "relays": reach.relays.iter().map(|(peer, state)| json!({"peer": peer.to_string(), "held": *state == Reservation::Held})).collect::<Vec<_>>(),
            "peers": peers.iter().map(peer).collect::<Vec<_>>(),
        }))
    }

    /// The disk and the models.
    fn kept(&self) -> Vec<Finding> {
        let mut findings = vec![match self.blocks.usage() {
            Ok(usage) if usage.used_bytes > usage.quota_bytes / 10 * 9 => {
                let share = usage.used_bytes * 100 / usage.quota_bytes.max(1);
                let fix = "talkoo store gc, or more room: up --quota GIB";
                bad(format!("the block store is {share} % full"), fix)
            }
            Ok(usage) => good(format!("{} of {} MiB of blocks", usage.used_bytes >> 20, usage.quota_bytes >> 20)),
            Err(why) => bad(format!("the block store cannot be read: {why}"), "look at the disk and at the node's log"),
        }];
        if self.shelf.all().is_empty() {
            findings.push(bad("there is no model here", "talkoo pull smollm2"));
        }
        findings
    }
}

fn is_loopback(addr: &Multiaddr) -> bool {
    let text = addr.to_string();
    text.starts_with("/ip4/127.") || text.starts_with("/ip6/::1/")
}

fn reached(reach: &Reach, listen: &[Multiaddr]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if listen.iter().all(is_loopback) {
        findings.push(bad("only programs on this machine reach this node: it listens on loopback", LISTEN));
        return findings;
    }
    let held = reach.relays.values().filter(|state| **state == Reservation::Held).count();
    match reach.nat {
        Nat::Public => findings.push(good("others reach this node directly")),
        Nat::Unknown => findings.push(bad(
            "nobody has tried yet to reach this node from outside",
            "connect to somebody outside: talkoo join CODE, or up --bootstrap ADDR",
        )),
        Nat::Private if held > 0 => {
            findings.push(good(format!(
                "others reach this node through {held} relays, and directly if a hole can be punched"
            )));
        }
        Nat::Private => findings.push(bad("nobody reaches this node from outside, and no relay serves it", RELAY)),
    }
    match &reach.mapping {
        Mapping::Mapped(addr) => findings.push(good(format!("the router leads {addr} to this node"))),
        Mapping::NoRouter if reach.nat != Nat::Public => {
            findings.push(bad("no router gave a port (it speaks no UPnP, or it is switched off there)", FORWARD));
        }
        Mapping::NotPublic => findings.push(bad(
            "the router itself has no public address: the provider shares one among its customers",
            "ask the provider for an IPv4 address of your own, use IPv6, or rely on relays",
        )),
        Mapping::NoRouter | Mapping::NotAsked | Mapping::Asked => {}
    }
    if reach.is_relay && reach.nat != Nat::Public {
        let fix = "name the address at which others reach it: up --relay --external /ip4/ADDRESS/tcp/4001";
        findings.push(bad("this node relays for nobody: no address of the internet is known to lead to it", fix));
    }
    findings
}

fn met(peers: &[SwarmPeer], reach: &Reach) -> Vec<Finding> {
    let mut findings = Vec::new();
    let nodes = peers.iter().filter(|peer| peer.node.is_some()).count();
    let relayed = peers.iter().filter(|peer| peer.is_relayed).count();
    if peers.is_empty() {
        findings
            .push(bad("no peer is connected", "talkoo join CODE, with a code that `talkoo invite` printed elsewhere"));
    } else {
        findings.push(good(format!("{} peers, {nodes} of them nodes, {relayed} through relays", peers.len())));
    }
    if relayed > 0 && !reach.unpunched.is_empty() {
        let what =
            format!("no direct connection with {} peers: both sides' routers change ports", reach.unpunched.len());
        findings.push(bad(what, FORWARD));
    }
    findings
}

fn peer(peer: &SwarmPeer) -> Value {
    let text = peer.addr.to_string();
    let transport = match () {
        () if peer.is_relayed => "relay",
        () if text.contains("/quic") => "quic",
        () => "tcp",
    };
    let direction = if peer.direction == Direction::Inbound { "in" } else { "out" };
    json!({"peer": peer.peer.to_string(), "addr": text, "transport": transport, "relayed": peer.is_relayed,
           "direction": direction, "node": peer.node.is_some(), "rtt_us": peer.rtt_us, "agent": peer.agent})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(nat: Nat, held: bool) -> Reach {
        let peer = "16Uiu2HAm5hPxT7s3TA2f4b4YjAPzS7yLRSgdj87ysDZ6NAXMiRuY".parse().expect("a PeerId");
        let relays = if held { [(peer, Reservation::Held)].into() } else { Default::default() };
        Reach { nat, relays, ..Reach::default() }
    }

    #[test]
    fn what_is_amiss_has_a_remedy() {
        let addrs = |text: &str| vec![text.parse::<Multiaddr>().expect("an address")];
        let (near, far) = (addrs("/ip4/127.0.0.1/tcp/1"), addrs("/ip4/192.168.1.2/tcp/4001"));
        let cases = [
            (reach(Nat::Public, false), &near, "loopback", Some("--listen")),
            (reach(Nat::Public, false), &far, "directly", None),
            (reach(Nat::Unknown, false), &far, "nobody has tried", Some("join")),
            (reach(Nat::Private, true), &far, "through 1 relays", None),
            (reach(Nat::Private, false), &far, "no relay", Some("--relay")),
            (Reach { mapping: Mapping::NoRouter, ..reach(Nat::Private, true) }, &far, "UPnP", Some("--external")),
            (Reach { mapping: Mapping::NotPublic, ..reach(Nat::Private, true) }, &far, "shares one", Some("IPv6")),
            (Reach { is_relay: true, ..reach(Nat::Unknown, false) }, &far, "relays for nobody", Some("--external")),
        ];
        for (reach, listen, word, fix) in cases {
            let findings = reached(&reach, listen);
            let found = findings.iter().find(|finding| finding.what.contains(word));
            let found = found.unwrap_or_else(|| panic!("`{word}` is not among {findings:?}"));
            assert_eq!(found.is_good, fix.is_none());
            assert!(fix.is_none_or(|word| found.fix.is_some_and(|fix| fix.contains(word))), "{found:?}");
        }
        let unpunched =
            [("16Uiu2HAm5hPxT7s3TA2f4b4YjAPzS7yLRSgdj87ysDZ6NAXMiRuY".parse().expect("a PeerId"), "x".to_owned())];
        assert!(!met(&[], &Reach { unpunched: unpunched.into(), ..Reach::default() })[0].is_good);
    }
}
