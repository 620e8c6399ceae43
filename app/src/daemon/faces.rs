//! The store over HTTP: the gateway on a port of its own, kubo's RPC, the Pinning Service and the hub beside the API.

use super::Config;
use super::denylists::Denylists;
use crate::models::{Held, Shelf};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use talkoo_api::axum::Router;
use talkoo_base::{Cid, Refusal, RefusalCode, sha256};
use talkoo_disk::Blocks;
use talkoo_gateway::{
    Connected, Gateway, Hub, Identity, Model, Models, Network, Pinning, Provider, Reach, Session, Store, rpc,
};
use talkoo_net::{DialError, Direction, FetchError, FetchOptions, Multiaddr, Net, PeerId};
use talkoo_store::Block;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// What the faces are put up with.
pub(super) struct Around<'a> {
    pub(super) dir: &'a Path,
    pub(super) key: &'a [u8; 32],
    pub(super) blocks: Arc<Blocks>,
    pub(super) denylists: Arc<Denylists>,
    pub(super) net: Arc<Net>,
    pub(super) tasks: &'a TaskTracker,
    pub(super) stop: CancellationToken,
}

/// Puts up the gateway; answers the routes for the API's port.
pub(super) async fn start(config: &Config, around: Around<'_>) -> Result<Router> {
    let Around { dir, key, blocks, denylists, net, tasks, stop } = around;
    let network = Arc::new(Others { net, runtime: Handle::current() });
    provide_again(tasks, &blocks, &network.net, stop.clone());
    let store = Store { blocks, network, denied: Arc::new(move |cid, path| denylists.denies(cid, path).is_some()) };
    let (kept, folder) = (store.clone(), dir.join("hub"));
    let models = models_of(dir.to_owned());
    // Addresses of uploads are good over a restart, and nobody else can make them.
    let secret = sha256(&[b"talkoo/hub/secret/1", key]).0;
    let hub = tokio::task::spawn_blocking(move || Hub::open(kept, models, folder, secret)).await?;
    let hub = hub.map_err(crate::commands::Failure::from)?;
    let pinning = Pinning::new(store.clone());
    pinning.resume();
    let faces = rpc::router(store.clone()).merge(pinning.router()).merge(hub.router());
    if let Some(addr) = config.gateway {
        let reach = if config.gateway_local { Reach::Local } else { Reach::Network };
        let router = Gateway { store, reach }.router();
        let listen =
            || format!("the gateway cannot listen on {addr}: is the port taken? choose another with --gateway");
        let listener = TcpListener::bind(addr).await.with_context(listen)?;
        let addr = listener.local_addr().with_context(listen)?;
        std::fs::write(dir.join("gateway.addr"), addr.to_string())?;
        info!(%addr, "the gateway listens");
        let served = talkoo_api::serve(listener, router, stop);
        tasks.spawn(async move { served.await.unwrap_or_else(|why| warn!(%why, "the gateway ended")) });
    }
    Ok(faces)
}

/// What the shelf holds now, for the hub.
fn models_of(dir: PathBuf) -> Models {
    Arc::new(move || {
        let shelf = Shelf::open(&dir).ok();
        let held = shelf.iter().flat_map(Shelf::all);
        let model = |held: &Held| {
            Some(Model { name: held.name.replace(':', "-"), file: held.file.clone(), cid: held.cid.parse().ok()? })
        };
        held.filter_map(model).collect()
    })
}

/// Announces at the start what is public; while the node runs, the DHT's own timer renews it.
fn provide_again(tasks: &TaskTracker, blocks: &Arc<Blocks>, net: &Arc<Net>, stop: CancellationToken) {
    let (blocks, net) = (blocks.clone(), net.clone());
    tasks.spawn(async move {
        let roots = tokio::task::spawn_blocking(move || blocks.public_roots()).await;
        let roots = match roots {
            Ok(Ok(roots)) => roots,
            other => return warn!(?other, "what is public cannot be announced"),
        };
        for root in roots {
            tokio::select! {
                () = net.provide(root) => {}
                () = stop.cancelled() => return,
            }
        }
    });
}

/// The network for the faces, whose calls block a thread.
struct Others {
    net: Arc<Net>,
    runtime: Handle,
}

/// A session that begins with the first block that is needed.
struct Blocking {
    net: Arc<Net>,
    runtime: Handle,
    root: Cid,
    session: Option<talkoo_net::Session>,
}

fn fetched(why: &FetchError) -> Refusal {
    let code = match why {
        FetchError::TooMany => RefusalCode::Busy,
        FetchError::Closed => RefusalCode::Stopping,
        _ => RefusalCode::Silent,
    };
    Refusal::new(code, why.to_string(), "ask again later, or connect to a node that has it")
}

fn dialled(why: &DialError) -> Refusal {
    Refusal::new(RefusalCode::Disconnected, why.to_string(), "is the address right, and the node up?")
}

fn peer_of(peer: &str) -> Result<PeerId, Refusal> {
    let hint = "a PeerId begins with 12D3Koo, 16Uiu2 or Qm";
    peer.parse().map_err(|_| Refusal::new(RefusalCode::Malformed, "this is not a PeerId", hint))
}

impl Blocking {
    fn run(
        &mut self,
        ask: impl AsyncFnOnce(&talkoo_net::Session) -> Result<Block, FetchError>,
    ) -> Result<Block, Refusal> {
        let Self { net, runtime, root, session } = self;
        runtime.block_on(async {
            let session = match session {
                Some(session) => session,
                None => session.insert(net.session(*root, Vec::new()).await.map_err(|why| fetched(&why))?),
            };
            ask(session).await.map_err(|why| fetched(&why))
        })
    }
}

impl Session for Blocking {
    fn get(&mut self, cid: &Cid) -> Result<Block, Refusal> {
        self.run(async |session| session.get(*cid).await)
    }

    fn get_elsewhere(&mut self, cid: &Cid) -> Result<Block, Refusal> {
        self.run(async |session| session.get_elsewhere(*cid).await)
    }
}

impl Network for Others {
    fn session(&self, root: &Cid) -> Box<dyn Session> {
        Box::new(Blocking { net: self.net.clone(), runtime: self.runtime.clone(), root: *root, session: None })
    }

    fn fetch(&self, root: &Cid) -> Result<(), Refusal> {
        let done = self.runtime.block_on(self.net.fetch(*root, FetchOptions::default(), |_| ()));
        done.map(drop).map_err(|why| fetched(&why))
    }

    fn identity(&self) -> Identity {
        let id = talkoo_net::peer_id_of(&self.net.id()).expect("our own key is a key");
        let addrs = self.net.addresses().iter().map(ToString::to_string).collect();
        // The PeerId of such a key is the key itself, behind two bytes that say so.
        let public_key = id.to_bytes()[2..].to_vec();
        let agent = format!("talkoo/{}", env!("CARGO_PKG_VERSION"));
        Identity { id: id.to_string(), public_key, addrs, agent }
    }

    fn connected(&self) -> Vec<Connected> {
        let peers = self.net.swarm().into_iter().map(|peer| Connected {
            id: peer.peer.to_string(),
            addr: bare(&peer.addr).to_string(),
            rtt: peer.rtt_us.map(Duration::from_micros),
            inbound: peer.direction == Direction::Inbound,
            agent: peer.agent.unwrap_or_default(),
            sent_bytes: peer.sent_bytes,
            received_bytes: peer.received_bytes,
        });
        peers.collect()
    }

    fn connect(&self, addr: &str) -> Result<(), Refusal> {
        let hint = "an example: /ip4/127.0.0.1/tcp/4001/p2p/<PeerId>";
        let addr: Multiaddr =
            addr.parse().map_err(|_| Refusal::new(RefusalCode::Malformed, "this is not a multiaddress", hint))?;
        self.runtime.block_on(self.net.connect(addr)).map(drop).map_err(|why| dialled(&why))
    }

    fn disconnect(&self, peer: &str) -> Result<(), Refusal> {
        let id = peer_of(peer)?;
        if self.runtime.block_on(self.net.disconnect(id)) {
            return Ok(());
        }
        Err(Refusal::new(RefusalCode::UnknownId, format!("{peer} is not connected"), "list the peers with swarm/peers"))
    }

    fn ping(&self, peer: &str) -> Result<Duration, Refusal> {
        let id = peer_of(peer)?;
        self.runtime.block_on(self.net.ping(id)).map_err(|why| {
            Refusal::new(RefusalCode::Silent, why.to_string(), "connect to it first, with swarm/connect")
        })
    }

    fn providers(&self, cid: &Cid) -> Vec<Provider> {
        let found = self.runtime.block_on(self.net.providers(*cid));
        let ids = found.iter().map(ToString::to_string);
        ids.map(|id| Provider { addrs: self.addresses(&id), id }).collect()
    }

    fn addresses(&self, peer: &str) -> Vec<String> {
        let known = self.net.swarm().into_iter().filter(|known| known.peer.to_string() == peer);
        known.map(|known| bare(&known.addr).to_string()).collect()
    }

    fn provide(&self, cid: &Cid) {
        let (net, cid) = (self.net.clone(), *cid);
        self.runtime.spawn(async move { net.provide(cid).await });
    }
}

/// An address without the PeerId at its end.
fn bare(addr: &Multiaddr) -> Multiaddr {
    let text = addr.to_string();
    let cut = text.find("/p2p/").map_or(text.as_str(), |at| &text[..at]);
    cut.parse().unwrap_or_else(|_| addr.clone())
}
