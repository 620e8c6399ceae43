//! A bare peer for judges and benches: blocks in memory, or made up; it obeys the lines of its input.
//!
//! `exchange KEY`, where the number KEY makes the identity; each command answers with one line of JSON:
//!
//! ```text
//! add FILE                  {"cid"}           keeps a file as public blocks
//! make BYTES SEED           {"cid"}           keeps a file that is made up anew whenever it is read
//! forget                    {}                drops every block, and keeps no leaf from now on
//! connect ADDR              {"peer"}
//! disconnect PEER           {"gone"}
//! fetch CID OUT [PEER..]    {"seconds", "bytes", "blocks", "sha256"}   OUT may be -, PEERs are those to ask
//! get CID CID..             {"seconds", "bytes"}   single blocks of one session
//! ready PEER                {}                waits until it is known as a node of ours
//! stream PEER BYTES         {}                messages of 1 MiB over one stream to another `exchange`
//! streamed                  {"seconds", "bytes"}   waits for the end of such a stream
//! relay HOST:PORT MS        {"port"}          passes TCP connections on, each way later by so much
//! swarm, ledger PEER, ping PEER, memory
//! ```
#![allow(clippy::print_stdout, reason = "this program's only purpose is to print")]

mod relay;
mod store;

use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::error::Error;
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Memory;
use talkoo_base::Cid;
use talkoo_net::{BlockStore, FetchOptions, Multiaddr, Net, NetConfig, NetEvent, PeerId, SendError, Serve, node_of};
use talkoo_store::unixfs::{Importer, Profile, Reader};
use talkoo_store::{Block, Visibility};
use tokio::sync::mpsc;

type Answer = Result<String, Box<dyn Error>>;

const MIB: usize = 1 << 20;

struct Peer {
    net: Net,
    store: Arc<Memory>,
    /// Seconds and bytes of what was streamed to us.
    streamed: mpsc::Receiver<(f64, u64)>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut key = [7; 32];
    key[31] = std::env::args().nth(1).ok_or("usage: exchange KEY")?.parse()?;
    let (store, serve) = (Arc::new(Memory::default()), Serve { bytes_per_hour: u64::MAX, ..Serve::default() });
    let (events, inbox) = mpsc::channel(64);
    let config =
        NetConfig { serve: Serve { bytes_per_hour_all: u64::MAX, ..serve }, ..NetConfig::loopback(key, "exchange") };
    let net = Net::start(config, Arc::clone(&store) as Arc<dyn BlockStore>, events).await?;
    let (told, streamed) = mpsc::channel(1);
    tokio::spawn(listen(inbox, told));
    let addrs: Vec<String> = net.addresses().iter().map(|addr| format!("{:?}", addr.to_string())).collect();
    println!("{{\"addrs\": [{}]}}", addrs.join(", "));
    let mut peer = Peer { net, store, streamed };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match peer.obey(&line.split_whitespace().collect::<Vec<_>>()).await {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("{{\"error\": {:?}}}", error.to_string()),
        }
        std::io::stdout().flush()?;
    }
    peer.net.shutdown().await;
    Ok(())
}

/// Counts the bytes of messages up to the empty one that ends a stream.
async fn listen(mut inbox: mpsc::Receiver<NetEvent>, told: mpsc::Sender<(f64, u64)>) {
    let (mut start, mut total) = (None, 0);
    while let Some(event) = inbox.recv().await {
        let NetEvent::Message { bytes, .. } = event else { continue };
        let since: &mut Instant = start.get_or_insert_with(Instant::now);
        total += bytes.len() as u64;
        if bytes.is_empty() {
            let _ = told.send((since.elapsed().as_secs_f64(), std::mem::take(&mut total))).await;
            start = None;
        }
    }
}

impl Peer {
    async fn obey(&mut self, words: &[&str]) -> Answer {
        match words {
            ["add", file] => self.add(file),
            ["make", bytes, seed] => {
                let cid = self.store.make(bytes.parse()?, seed.parse()?)?;
                Ok(format!("{{\"cid\": \"{cid}\"}}"))
            }
            ["forget"] => {
                self.store.forget();
                Ok("{}".to_owned())
            }
            ["connect", addr] => {
                let peer = self.net.connect(addr.parse::<Multiaddr>()?).await?;
                Ok(format!("{{\"peer\": \"{peer}\"}}"))
            }
            ["disconnect", peer] => Ok(format!("{{\"gone\": {}}}", self.net.disconnect(peer.parse()?).await)),
            ["fetch", cid, out, from @ ..] => self.fetch(cid.parse()?, out, from).await,
            ["get", first, rest @ ..] => self.get(first.parse()?, rest).await,
            ["ready", peer] => {
                let node = node_of(&peer.parse()?).ok_or("not a node of ours")?;
                while !self.net.peers().iter().any(|peer| peer.id == node) {
                    self.net.ping(peer.parse()?).await?;
                }
                Ok("{}".to_owned())
            }
            ["stream", peer, bytes] => self.stream(peer.parse()?, bytes.parse()?).await,
            ["streamed"] => {
                let (seconds, bytes) = self.streamed.recv().await.ok_or("the network is down")?;
                Ok(format!("{{\"seconds\": {seconds}, \"bytes\": {bytes}}}"))
            }
            ["relay", target, delay] => {
                let port = relay::start((*target).to_owned(), Duration::from_millis(delay.parse()?)).await?;
                Ok(format!("{{\"port\": {port}}}"))
            }
            ["swarm"] => Ok(self.swarm()),
            ["ledger", peer] => {
                let entry = self.net.ledger(peer.parse()?);
                Ok(format!("{{\"sent_bytes\": {}, \"received_bytes\": {}}}", entry.sent_bytes, entry.received_bytes))
            }
            ["ping", peer] => Ok(format!("{{\"seconds\": {}}}", self.net.ping(peer.parse()?).await?.as_secs_f64())),
            ["memory"] => {
                let status = std::fs::read_to_string("/proc/self/status")?;
                let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
                Ok(format!("{{\"kib\": {}}}", peak.trim().trim_end_matches(" kB")))
            }
            _ => Err("no such command".into()),
        }
    }

    fn add(&self, file: &str) -> Answer {
        let (mut importer, mut keep) =
            (Importer::new(Profile::default()), |block: Block| self.store.put(&[block], Visibility::Public));
        importer.push(&std::fs::read(file)?, &mut keep)?;
        Ok(format!("{{\"cid\": \"{}\"}}", importer.finish(&mut keep)?.cid))
    }

    async fn fetch(&self, root: Cid, out: &str, from: &[&str]) -> Answer {
        let from = from.iter().map(|peer| peer.parse()).collect::<Result<Vec<PeerId>, _>>()?;
        let start = Instant::now();
        let fetched = self.net.fetch(root, FetchOptions { from, ..FetchOptions::default() }, |_| {}).await?;
        let seconds = start.elapsed().as_secs_f64();
        let (mut digest, mut file) = (Sha256::new(), None);
        if out != "-" {
            let mut reader = Reader::new(root);
            let file = file.insert(std::fs::File::create(out)?);
            while let Some(leaf) = reader.next(&mut |cid| Ok::<_, Infallible>(self.store.get(cid)))? {
                digest.update(&leaf);
                file.write_all(&leaf)?;
            }
        }
        let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let (bytes, blocks) = (fetched.bytes - fetched.held_bytes, fetched.blocks);
        Ok(format!("{{\"seconds\": {seconds}, \"bytes\": {bytes}, \"blocks\": {blocks}, \"sha256\": \"{digest}\"}}"))
    }

    async fn get(&self, first: Cid, rest: &[&str]) -> Answer {
        let session = self.net.session(first, Vec::new()).await?;
        let start = Instant::now();
        let mut bytes = session.get(first).await?.bytes().len();
        for cid in rest {
            bytes += session.get(cid.parse()?).await?.bytes().len();
        }
        Ok(format!("{{\"seconds\": {}, \"bytes\": {bytes}}}", start.elapsed().as_secs_f64()))
    }

    async fn stream(&self, peer: PeerId, bytes: usize) -> Answer {
        let node = node_of(&peer).ok_or("not a node of ours")?;
        let message = vec![0x5a; MIB];
        for part in (0..bytes / MIB).map(|_| &message[..]).chain([&[][..]]) {
            while let Err(error) = self.net.send(node, part.to_vec()) {
                if error != SendError::Congested {
                    return Err(error.into());
                }
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        }
        Ok("{}".to_owned())
    }

    fn swarm(&self) -> String {
        let told = |peer: talkoo_net::SwarmPeer| {
            let (id, agent) = (peer.peer, peer.agent.unwrap_or_default());
            format!(
                "{{\"peer\": \"{id}\", \"addr\": \"{}\", \"agent\": {agent:?}, \"protocols\": {:?}}}",
                peer.addr, peer.protocols
            )
        };
        let peers: Vec<String> = self.net.swarm().into_iter().map(told).collect();
        format!("{{\"peers\": [{}]}}", peers.join(", "))
    }
}
