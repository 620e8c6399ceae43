//! Ourselves and the others: `id`, `version`, `swarm/*`, `routing/*`, `ping`, `stats/bw`, `bitswap/stat`.

use super::args::cid;
use super::{Args, line};
use crate::body::Pipe;
use crate::network::{Connected, Provider};
use crate::source::{Store, broken};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};

/// Kinds of a routing event, as go-libp2p numbers them.
const FINAL_PEER: u8 = 2;
const PROVIDER: u8 = 4;

pub(super) fn id(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let me = store.network.identity();
    if let Some(other) = args.all().next().filter(|other| *other != me.id) {
        let peers = store.network.connected();
        let Some(peer) = peers.iter().find(|peer| peer.id == other) else {
            let hint = "connect to it first, with swarm/connect";
            return Err(Refusal::new(RefusalCode::UnknownId, format!("{other} is not connected"), hint));
        };
        let addrs: Vec<String> =
            store.network.addresses(other).iter().map(|addr| format!("{addr}/p2p/{other}")).collect();
        return Ok(json!({"ID": peer.id, "PublicKey": "", "Addresses": addrs, "AgentVersion": peer.agent,
                         "ProtocolVersion": "ipfs/0.1.0", "Protocols": []}));
    }
    let key = STANDARD.encode(&me.public_key);
    Ok(json!({"ID": me.id, "PublicKey": key, "Addresses": me.addrs, "AgentVersion": me.agent,
              "ProtocolVersion": "ipfs/0.1.0", "Protocols": ["/ipfs/bitswap/1.2.0"]}))
}

pub(super) fn version(_: &Store, _: &Args) -> Result<Value, Refusal> {
    let system = format!("{}/{}", std::env::consts::ARCH, std::env::consts::OS);
    Ok(json!({"Version": env!("CARGO_PKG_VERSION"), "Commit": "", "Repo": "16", "System": system, "Golang": "none"}))
}

/// A span as Go prints it.
fn go_span(span: Duration) -> String {
    format!("{:.3}ms", span.as_secs_f64() * 1_000.0)
}

pub(super) fn peers(store: &Store, _: &Args) -> Result<Value, Refusal> {
    let peers = store.network.connected().into_iter().map(|peer| {
        let Connected { id, addr, rtt, inbound, agent, .. } = peer;
        let latency = rtt.map_or_else(|| "n/a".to_owned(), go_span);
        json!({"Addr": addr, "Peer": id, "Latency": latency, "Muxer": "", "Direction": if inbound { 1 } else { 2 },
               "Streams": null, "Identify": {"ID": "", "PublicKey": "", "Addresses": null, "AgentVersion": agent, "Protocols": null}})
    });
    Ok(json!({"Peers": peers.collect::<Vec<_>>()}))
}

pub(super) fn addrs(store: &Store, _: &Args) -> Result<Value, Refusal> {
    let peers = store.network.connected().into_iter();
    let addrs: Map<String, Value> =
        peers.map(|peer| (peer.id.clone(), json!(store.network.addresses(&peer.id)))).collect();
    Ok(json!({"Addrs": addrs}))
}

pub(super) fn local(store: &Store, _: &Args) -> Result<Value, Refusal> {
    Ok(json!({"Strings": store.network.identity().addrs}))
}

pub(super) fn connect(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let mut said = Vec::new();
    for addr in args.all() {
        store.network.connect(addr)?;
        said.push(format!("connect {} success", addr.rsplit('/').next().unwrap_or(addr)));
    }
    if said.is_empty() {
        args.one()?;
    }
    Ok(json!({"Strings": said}))
}

pub(super) fn disconnect(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let mut said = Vec::new();
    for addr in args.all() {
        let peer = addr.rsplit('/').next().unwrap_or(addr);
        store.network.disconnect(peer)?;
        said.push(format!("disconnect {peer} success"));
    }
    if said.is_empty() {
        args.one()?;
    }
    Ok(json!({"Strings": said}))
}

fn event(kind: u8, found: &[Provider]) -> Vec<u8> {
    let responses: Vec<Value> = found.iter().map(|p| json!({"ID": p.id, "Addrs": p.addrs})).collect();
    line(&json!({"Extra": "", "ID": "", "Responses": responses, "Type": kind}))
}

pub(super) fn find_providers(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let cid = cid(args.one()?)?;
    for provider in store.network.providers(&cid) {
        pipe.send(event(PROVIDER, &[provider]))?;
    }
    Ok(())
}

pub(super) fn find_peer(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let id = args.one()?;
    let addrs = store.network.addresses(id);
    if addrs.is_empty() {
        let hint = "connect to it by an address, with swarm/connect";
        return Err(Refusal::new(RefusalCode::UnknownId, format!("nobody here knows where {id} is"), hint));
    }
    pipe.send(event(FINAL_PEER, &[Provider { id: id.to_owned(), addrs }]))?;
    Ok(())
}

/// Announces what is public; what is not would lead others to a door that stays shut.
pub(super) fn provide(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    for arg in args.all() {
        let cid = cid(arg)?;
        let info = store.blocks.info(&cid).map_err(broken)?;
        if info.is_none_or(|info| info.visibility != talkoo_store::Visibility::Public) {
            let hint = "make it public first: block/class?arg=<cid>&visibility=public";
            return Err(Refusal::new(RefusalCode::UnknownId, format!("{cid} is not here, or not public"), hint));
        }
        store.network.provide(&cid);
        pipe.send(event(FINAL_PEER, &[]))?;
    }
    Ok(())
}

pub(super) fn ping(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let peer = args.one()?.rsplit('/').next().unwrap_or_default().to_owned();
    let count = args.number("count")?.or(args.number("n")?).unwrap_or(10).clamp(1, 100);
    pipe.send(line(&json!({"Success": true, "Time": 0, "Text": format!("PING {peer}.")})))?;
    let mut sum = Duration::ZERO;
    for _ in 0..count {
        let rtt = store.network.ping(&peer)?;
        sum += rtt;
        pipe.send(line(
            &json!({"Success": true, "Time": u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX), "Text": ""}),
        ))?;
    }
    let average = go_span(sum / u32::try_from(count).expect("at most 100"));
    pipe.send(line(&json!({"Success": true, "Time": 0, "Text": format!("Average latency: {average}")})))?;
    Ok(())
}

/// Bytes of blocks; the rates are not measured, and zero.
pub(super) fn bandwidth(store: &Store, _: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let peers = store.network.connected();
    let sum = |of: fn(&Connected) -> u64| peers.iter().map(of).sum::<u64>();
    let (received, sent) = (sum(|p| p.received_bytes), sum(|p| p.sent_bytes));
    pipe.send(line(&json!({"TotalIn": received, "TotalOut": sent, "RateIn": 0.0, "RateOut": 0.0})))?;
    Ok(())
}

pub(super) fn bitswap(store: &Store, _: &Args) -> Result<Value, Refusal> {
    let peers = store.network.connected();
    let sum = |of: fn(&Connected) -> u64| peers.iter().map(of).sum::<u64>();
    let ids: Vec<&str> = peers.iter().map(|peer| peer.id.as_str()).collect();
    Ok(json!({"ProvideBufLen": 0, "Wantlist": [], "Peers": ids, "BlocksReceived": 0, "BlocksSent": 0,
              "DataReceived": sum(|p| p.received_bytes), "DataSent": sum(|p| p.sent_bytes),
              "DupBlksReceived": 0, "DupDataReceived": 0, "MessagesReceived": 0}))
}
