//! The start of a node, and its written end.

use super::denylists::Denylists;
use super::executor::Executor;
use super::memory::Memory;
use super::money::{self, Around, Money};
use super::remote::Remote;
use super::rim::Rim;
use super::store::PublicBlocks;
use super::timeline::Timeline;
use super::vault::Vault;
use super::{Config, Daemon, Event, INBOX_MAX, LedgerChoice, erasure, faces, fold::fold, operators, otlp, terms};
use crate::commands::{Failure, Passphrase};
use crate::erase::Places;
use crate::income::Book;
use crate::inference::{self, Bought, Node as Desk};
use crate::ledger::{NodeTill, Place, Url, unix};
use crate::models::Shelf;
use anyhow::{Context, Result};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use talkoo_api::{Api, Attach, Feed};
use talkoo_base::wire::Signed;
use talkoo_base::{Address, Delegation, Digest, Network, RefusalCode, Signer as _, Unix, sha256};
use talkoo_disk::{Blocks, BlocksConfig, DataDir, Journal, Owner};
use talkoo_inference::{Hooks, Keys, OpenError};
use talkoo_net::{Net, NetConfig};
use talkoo_node::{Input, Node, Setup};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How long tasks have to end after a stop.
const STOP_WAIT: Duration = Duration::from_secs(5);
/// How long the last claims may take.
const MONEY_WAIT: Duration = Duration::from_secs(10);
/// How long a delegation from owner to node lasts, in seconds; renewed at every start.
const DELEGATION_S: u64 = 365 * 24 * 3_600;

fn random() -> Result<Digest> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| anyhow::anyhow!("the system gives no random bytes: {e}"))?;
    Ok(Digest(bytes))
}

/// Hash of this build: what it was compiled from and for, and which kernels it chooses on this machine.
pub(crate) fn build_hash() -> Digest {
    let (system, kernels) = (std::env::consts::OS, talkoo_engine::best_name());
    let parts = [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, system, talkoo_engine::CONTRACT, kernels];
    sha256(&[parts.join("\n").as_bytes()])
}

/// Runs a node until `stop`. Prints nothing; `ready` hears one JSON line when it serves.
pub(crate) async fn run(
    mut config: Config,
    rim: Box<dyn Rim>,
    stop: CancellationToken,
    ready: impl FnOnce(&str),
) -> Result<()> {
    let started = Instant::now();
    let dir = DataDir::open(&config.data_dir)?;
    let (key, owner) = (Arc::new(dir.key()?), owner(&dir, config.passphrase.as_ref())?);
    let place = place(&config.ledger, &dir).await?;
    let network = place.as_ref().map_or_else(|| Network::local(&config.network), |p| p.network(&config.network));
    let (operator, delegation) = (owner.address(), delegation(&dir, &network, &owner, key.address())?);
    let (mut journal, recovered) = Journal::open(dir.path().join("journal"))?;
    let blocks = Arc::new(Blocks::open(dir.path(), BlocksConfig { quota_bytes: config.quota_bytes })?);
    let mut vault = Vault::new(blocks.clone(), key.expose());
    let shelf = Shelf::open(dir.path())?;
    let (inbox, events_in) = mpsc::channel(INBOX_MAX);
    let (net_events, network_in) = mpsc::channel(INBOX_MAX);
    let (calls, calls_in) = mpsc::channel(64);
    // Milliseconds, for a node may be started twice in a second.
    let events = Feed::new(u64::try_from(UNIX_EPOCH.elapsed()?.as_millis())?);
    let tasks = TaskTracker::new();
    let mut memory = Memory::open(dir.path(), &config.network);
    let mut bootstrap = parse_all(&config.bootstrap)?;
    bootstrap.extend(memory.peers().iter().filter_map(|addr| addr.parse::<talkoo_net::Multiaddr>().ok()));
    let net_config = NetConfig {
        listen: parse_all(&memory.listen(&config.listen))?,
        bootstrap,
        agent: config.agent(),
        serve: talkoo_net::Serve { strangers: config.strangers, ..talkoo_net::Serve::default() },
        gateways: config.ask_gateways.clone(),
        external: parse_all(&config.external)?,
        relay: config.relay.then(talkoo_net::RelayFor::default),
        upnp: config.upnp,
        ipfs: config.ipfs()?,
        ..NetConfig::loopback(key.expose(), &config.network)
    };
    let denylists = Arc::new(Denylists::open(dir.path())?);
    let store = PublicBlocks { blocks: blocks.clone(), denylists: denylists.clone() };
    let net = Net::start(net_config, Arc::new(store), net_events).await?;
    memory.listens(net.addresses().iter().map(ToString::to_string).collect());
    let forgotten = terms::recall(&mut config, &mut memory);
    let providing = config.provide || (memory.providing() && !forgotten);
    memory.provides(providing);
    let net = Arc::new(net);
    let around = faces::Around {
        dir: dir.path(),
        key: &key.expose(),
        blocks: blocks.clone(),
        denylists,
        net: net.clone(),
        tasks: &tasks,
        stop: stop.clone(),
    };
    let reports = inbox.clone();
    let executor = Executor::start(config.allowance, move |report| {
        // A closed inbox means the node is stopping.
        reports.blocking_send(Event::Report(report)).ok();
    })?;
    let keys = Keys::open(&dir.path().join("keys.json"), config.answers_anybody());
    let keys = Arc::new(keys.map_err(not_opened)?);
    let hooks = Arc::new(Hooks::open(dir.path().join("webhooks")).map_err(not_opened)?);
    let (meters, exporter) = otlp::begin(config.otlp.as_ref());
    let desk = Desk::new(inference::Setup {
        node: key.node_id(),
        dir: dir.path().to_owned(),
        kv: config.kv,
        lender: executor.lender(),
        inbox: inbox.clone(),
        keys: keys.clone(),
        retention: config.retention,
        tasks: tasks.clone(),
    });
    let inference = talkoo_inference::router(talkoo_inference::Attach {
        desk,
        keys: keys.clone(),
        hooks: hooks.clone(),
        meters: meters.clone(),
        folder: dir.path().to_owned(),
        tasks: tasks.clone(),
        stop: stop.clone(),
        selling: config.x402.zip(place.as_ref()).map(|sold| NodeTill::selling(sold, &key, operator)),
    });
    let inference = inference.context("what inference keeps cannot be read")?;
    let keepsakes = inference.keepsakes;
    let mcp = talkoo_mcp::router(talkoo_mcp::Attach {
        inference: inference.within,
        calls: calls.clone(),
        keys: keys.clone(),
        stop: stop.clone(),
    });
    let faces = faces::start(&config, around).await?.merge(inference.guarded).merge(mcp).merge(talkoo_web::router());
    let faces = faces.merge(operators::router(calls.clone()));
    let (token, stopped, tls) = (dir.token()?, stop.clone(), config.tls.clone());
    let asks = calls.clone();
    let (events_too, repeats) = (events.clone(), dir.path().join("repeats.log"));
    let attach = Attach { addr: config.api, token, calls, events: events_too, repeats, faces, tls, stop: stopped };
    let api = Api::bind(attach).await?;
    let (api_addr, tls_addr, repeated) = (api.addr, api.tls_addr, api.repeated.clone());
    tasks.spawn(async move { api.serve().await.unwrap_or_else(|why| warn!(%why, "the API ended")) });
    if let Some(exporter) = exporter {
        let about = otlp::Node { id: key.node_id().to_string(), api: api_addr, begun: SystemTime::now() };
        tasks.spawn(exporter.run(about, asks, stop.clone()));
    }
    let mut node = Node::new(Setup {
        me: key.node_id(),
        network: network.clone(),
        signer: key.clone(),
        delegation: delegation.clone(),
        build: build_hash(),
        entropy: random()?,
        own_audits: true,
        funded: config.funded,
    });
    fold(&mut node, &mut journal, &mut vault, &recovered)?;
    let places = Places { dir: dir.path().to_owned(), network: network.clone(), keepsakes, repeated };
    let erasure = erasure::open(places, &node, dir.path()).context("when jobs were over cannot be read")?;
    std::fs::write(dir.path().join("api.addr"), api_addr.to_string())?;
    let server = config.engine.clone();
    let remote = server.map(|server| Remote::new(server, inbox.clone(), tasks.clone(), stop.clone()));
    let own = money::Keys { node: key, owner, delegation };
    let around = Around {
        net: net.clone(),
        blocks: blocks.clone(),
        dir: &dir,
        network: &network,
        place,
        inbox: inbox.clone(),
        events: events.clone(),
        lender: executor.lender(),
        tasks: &tasks,
        stop: stop.clone(),
    };
    let money = Money::start(&config.ledger, own, around).await?;
    let has_dealt = node.proof().accounts().next().is_some() || node.proof().earnings().next().is_some();
    same_ledger(dir.path().join("ledger.id"), money.url.clone(), has_dealt).await?;
    let mut daemon = Daemon {
        bought: Bought::default(),
        erasure,
        book: Book::open(dir.path()),
        timeline: Timeline::default(),
        keys,
        hooks,
        meters,
        receipts: dir.path().to_owned(),
        operator,
        build: build_hash(),
        network,
        node,
        journal,
        vault,
        memory,
        blocks,
        shelf,
        net,
        executor,
        remote,
        rim,
        inbox,
        events,
        tasks,
        money,
        stop,
        started,
        api_addr,
        doubted: None,
        sold_out: false,
        offers: std::collections::BTreeMap::new(),
        pulling: std::collections::BTreeSet::new(),
        providing,
        held_back: None,
        senses: None,
        price: config.prices[0],
        demand: talkoo_market::Demand::default(),
        refused: std::collections::BTreeMap::new(),
        out: Vec::new(),
        pending: Vec::new(),
        replies: Vec::new(),
        config,
    };
    daemon.watch_owner();
    daemon.watch_demand();
    daemon.finish_erasure().await?;
    daemon.watch_retention();
    daemon.shelve();
    daemon.count_earned();
    daemon.earned(None);
    let addresses: Vec<String> = daemon.net.addresses().iter().map(ToString::to_string).collect();
    let line = json!({"node": daemon.node.id().to_string(), "api": api_addr, "listen": addresses,
               "ledger": daemon.money.url.as_ref().map(ToString::to_string), "tls": tls_addr});
    ready(&line.to_string());
    let served = daemon.serve(events_in, calls_in, network_in).await;
    end(daemon).await;
    std::fs::remove_file(dir.path().join("gateway.addr")).ok();
    std::fs::remove_file(dir.path().join("api.addr")).ok();
    served
}

/// Who owns this node; with the key, if the wallet is open or this is its passphrase.
fn owner(dir: &DataDir, passphrase: Option<&Passphrase>) -> Result<Owner> {
    match (dir.owner().open()?, passphrase) {
        (Owner::Locked(_), Some(passphrase)) => Ok(Owner::Open(dir.owner().unlock(passphrase.expose())?)),
        (owner, _) => Ok(owner),
    }
}

/// The owner's word that this node acts for it. It is kept, so that a node starts while its wallet is locked.
fn delegation(dir: &DataDir, network: &Network, owner: &Owner, node: Address) -> Result<Signed<Delegation>> {
    let path = dir.path().join("delegation");
    match owner {
        Owner::Open(key) => {
            let (roles, expiry) = (Delegation::ALL_ROLES, Unix(unix() + DELEGATION_S));
            let signed = Signed::new(Delegation { owner: key.address(), node, roles, expiry }, network, key);
            let aside = path.with_extension("new");
            let written = std::fs::write(&aside, signed.to_bytes()).and_then(|()| std::fs::rename(&aside, &path));
            written.with_context(|| format!("cannot write {}", path.display()))?;
            Ok(signed)
        }
        Owner::Locked(address) => {
            let kept = std::fs::read(&path).ok();
            let signed = kept.and_then(|bytes| Signed::<Delegation>::open(&bytes, network).ok());
            let good = signed.filter(|signed| {
                let Delegation { owner, node: delegate, expiry, .. } = signed.body;
                signed.signer == *address && owner == *address && delegate == node && expiry.0 > unix()
            });
            good.ok_or_else(|| {
                let why = "the wallet is locked, and its owner has not yet said that this node acts for it";
                let hint = "start once with --passphrase-file, or from a terminal";
                anyhow::Error::new(Failure::new(RefusalCode::Malformed, why, hint))
            })
        }
    }
}

/// The ledger, if it is not our own.
async fn place(choice: &LedgerChoice, dir: &DataDir) -> Result<Option<Place>> {
    let LedgerChoice::Url { url, .. } = choice else { return Ok(None) };
    let (url, path) = (url.clone(), dir.path().join("outside.json"));
    let place = tokio::task::spawn_blocking(move || {
        let place = Place::keep(&url, &path)?;
        // Who is away now is waited for; who is another chain will not become this one.
        if let Ok(id) = place.rpc().number("eth_chainId", &json!([]))
            && id != place.chain_id
        {
            let hint = "on a chain that is not ours: `up --ledger URL#ADDRESS`, as `ledger deploy` prints it";
            let why = format!("{} is chain {id}, not {}", place.url, place.chain_id);
            return Err(Failure::new(RefusalCode::Malformed, why, hint).into());
        }
        anyhow::Ok(place)
    });
    place.await?.map(Some)
}

/// Vouchers count on: on another ledger what was paid on this one would be paid again. So a folder that has dealt stays
/// with its chain, which is known by its first block, and outside by our list of contracts.
async fn same_ledger(path: PathBuf, url: Option<Url>, has_dealt: bool) -> Result<()> {
    let Some(url) = url else { return Ok(()) };
    let now = tokio::task::spawn_blocking(move || match url.list {
        Some(list) => Some(format!("contracts listed at {list}")),
        None => {
            let first = Place::ours(&url.rpc).rpc().ask("eth_getBlockByNumber", &json!(["0x0", false])).ok()?;
            first["hash"].as_str().map(|hash| format!("first block {hash}"))
        }
    });
    // Who is away now was asked before, or says so later.
    let Some(now) = now.await? else { return Ok(()) };
    let before = std::fs::read_to_string(&path).ok();
    match before.as_deref().map(str::trim).filter(|before| *before != now && has_dealt) {
        None => std::fs::write(&path, now + "\n").with_context(|| format!("cannot write {}", path.display())),
        Some(before) => {
            let why = format!("this folder has dealt on another ledger ({before}), not on this one ({now})");
            let hint = "start it with that `--ledger` again, or give this network a folder of its own: --data-dir";
            Err(Failure::new(RefusalCode::Malformed, why, hint).into())
        }
    }
}

pub(super) fn parse_all(addresses: &[String]) -> Result<Vec<talkoo_net::Multiaddr>> {
    let parse = |a: &String| {
        a.parse().with_context(|| format!("`{a}` is not a multiaddress; an example: /ip4/127.0.0.1/tcp/4001"))
    };
    addresses.iter().map(parse).collect()
}

/// Stops in order: leases go back, tasks end, the network closes, the journal is flushed.
async fn end(mut daemon: Daemon) {
    daemon.stop.cancel();
    daemon.pending.push(Input::Stopping);
    if let Err(why) = daemon.turn() {
        warn!(%why, "the journal could not be flushed at the end");
    }
    daemon.tasks.close();
    let now = daemon.now().unix.0;
    daemon.book.close(now);
    let Daemon { net, mut journal, tasks, mut executor, mut money, .. } = daemon;
    if tokio::time::timeout(MONEY_WAIT, tokio::task::spawn_blocking(move || money.end())).await.is_err() {
        warn!("the ledger did not take the last claims in time; the next start claims them");
    }
    match tokio::time::timeout(STOP_WAIT, tokio::task::spawn_blocking(move || executor.end())).await {
        Ok(Ok(Ok(()))) => {}
        Ok(_) => warn!("the engine's thread panicked"),
        Err(_) => warn!("the engine is still in a long prefill; it ends with the process"),
    }
    if tokio::time::timeout(STOP_WAIT, tasks.wait()).await.is_err() {
        warn!(open = tasks.len(), "tasks did not end in time");
    }
    drop(tasks);
    match Arc::try_unwrap(net) {
        Ok(net) => net.shutdown().await,
        Err(_) => warn!("the network is still in use at the end"),
    }
    if let Err(why) = journal.flush() {
        warn!(%why, "the journal could not be flushed at the end");
    }
}

/// What keeps the node from starting: it does not throw away what its owner made.
fn not_opened(why: OpenError) -> Failure {
    let (code, hint) = match &why {
        OpenError::Damaged { .. } => (
            RefusalCode::Malformed,
            "put a copy of it back; without one move it away: the node then starts without what was in it",
        ),
        OpenError::Disk { .. } => (RefusalCode::Other, "see to the disk of the data folder, and whose the file is"),
    };
    Failure::new(code, why.to_string(), hint)
}
