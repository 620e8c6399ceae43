//! Real sockets on loopback. Every wait is for an event and has a deadline.

mod blocks;
mod gateways;
mod messages;
mod raw;
mod strangers;

use crate::{BlockStore, Net, NetConfig, NetEvent};
use bytes::Bytes;
use libp2p::Multiaddr;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use talkoo_base::{Cid, NodeId};
use talkoo_store::unixfs::{Importer, Profile, Reader};
use talkoo_store::{Block, Visibility};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(30);

type Serve = dyn Fn(&Block, u64) -> Option<Bytes> + Send + Sync;

/// Blocks in memory. `serving` may change or hold back the n-th answer.
pub(crate) struct Memory {
    blocks: Mutex<BTreeMap<Cid, (Block, Visibility)>>,
    serving: Option<Box<Serve>>,
    served: AtomicU64,
    stored: watch::Sender<u64>,
    quota: u64,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self {
            blocks: Mutex::default(),
            serving: None,
            served: AtomicU64::new(0),
            stored: watch::Sender::new(0),
            quota: u64::MAX,
        }
    }

    fn with_file(data: &[u8]) -> (Self, Cid) {
        let memory = Self::new();
        let root = memory.import(data);
        (memory, root)
    }

    fn import(&self, data: &[u8]) -> Cid {
        let mut sink = |block: Block| {
            self.blocks.lock().unwrap().insert(*block.cid(), (block, Visibility::Public));
            Ok::<(), Infallible>(())
        };
        let mut importer = Importer::new(Profile::default());
        importer.push(data, &mut sink).unwrap();
        importer.finish(&mut sink).unwrap().cid
    }

    fn serving(mut self, serve: impl Fn(&Block, u64) -> Option<Bytes> + Send + Sync + 'static) -> Self {
        self.serving = Some(Box::new(serve));
        self
    }

    fn read(&self, root: Cid) -> Vec<u8> {
        let mut reader = Reader::new(root);
        let mut out = Vec::new();
        let mut get = |cid: &Cid| Ok::<_, Infallible>(self.get(cid));
        while let Some(leaf) = reader.next(&mut get).unwrap() {
            out.extend_from_slice(&leaf);
        }
        out
    }
}

impl BlockStore for Memory {
    fn serve(&self, _: Option<&NodeId>, cid: &Cid) -> Option<Bytes> {
        let block = self.blocks.lock().unwrap().get(cid).filter(|(_, who)| *who == Visibility::Public)?.0.clone();
        let n = self.served.fetch_add(1, Ordering::SeqCst);
        match &self.serving {
            Some(serve) => serve(&block, n),
            None => Some(block.bytes().clone()),
        }
    }

    fn serves(&self, _: Option<&NodeId>, cid: &Cid) -> bool {
        self.blocks.lock().unwrap().get(cid).is_some_and(|(_, who)| *who == Visibility::Public)
    }

    fn held_bytes(&self, cid: &Cid) -> Option<u64> {
        Some(self.get(cid)?.bytes().len() as u64)
    }

    fn get(&self, cid: &Cid) -> Option<Block> {
        Some(self.blocks.lock().unwrap().get(cid)?.0.clone())
    }

    fn put(&self, blocks: &[Block], visibility: Visibility) -> Result<(), String> {
        let mut map = self.blocks.lock().unwrap();
        for block in blocks {
            if map.len() as u64 >= self.quota {
                return Err("the quota is full".to_owned());
            }
            map.insert(*block.cid(), (block.clone(), visibility));
        }
        drop(map);
        self.stored.send_modify(|count| *count += blocks.len() as u64);
        Ok(())
    }
}

struct Node {
    net: Net,
    events: mpsc::Receiver<NetEvent>,
    store: Arc<Memory>,
}

static KEYS: AtomicU8 = AtomicU8::new(1);

fn config(network: &str) -> NetConfig {
    let mut key = [7; 32];
    key[31] = KEYS.fetch_add(1, Ordering::SeqCst);
    NetConfig::loopback(key, network)
}

impl Node {
    async fn start(store: Memory, bootstrap: &[Multiaddr]) -> Self {
        let config = NetConfig { bootstrap: bootstrap.to_vec(), ..config("test") };
        Self::start_with(config, store, 4096).await
    }

    async fn start_with(config: NetConfig, store: Memory, events_queued: usize) -> Self {
        let (sender, events) = mpsc::channel(events_queued);
        let store = Arc::new(store);
        let net = Net::start(config, Arc::clone(&store) as Arc<dyn BlockStore>, sender).await.unwrap();
        Self { net, events, store }
    }

    fn tcp(&self) -> Multiaddr {
        self.net.addresses().into_iter().find(|addr| addr.to_string().contains("/tcp/")).unwrap()
    }

    fn quic(&self) -> Multiaddr {
        self.net.addresses().into_iter().find(|addr| addr.to_string().contains("/quic-v1")).unwrap()
    }

    /// The first event that `pick` takes; others are passed over.
    async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the network runs");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {what}"))
    }

    async fn message(&mut self) -> (NodeId, Bytes) {
        self.until("a message", |event| match event {
            NetEvent::Message { peer, bytes } => Some((peer, bytes)),
            _ => None,
        })
        .await
    }

    async fn peer_up(&mut self, who: NodeId) {
        self.until("a peer", |event| matches!(event, NetEvent::PeerUp { peer, .. } if peer == who).then_some(())).await;
    }

    async fn peer_down(&mut self, who: NodeId) {
        self.until("a lost peer", |event| (event == NetEvent::PeerDown { peer: who }).then_some(())).await;
    }
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 1000) as u8 ^ (i / 256_000) as u8 ^ seed).collect()
}
