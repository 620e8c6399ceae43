//! Deals about storage of this node: as a client that wants something kept, as a provider that keeps others' things for pay.
//!
//! ```text
//! client: order ── ask, offers ──► seal a replica ──► propose ──► Active ──► a part fetched now and then
//!            ▲                                                      └─ terminated, not fetchable ──► another replica
//! provider:  proposal ──► fetch, check ──► accept ──► each epoch: the beacon draws, leaves are shown ──► pay
//! ```
//! Two threads, both block: `deals` follows the clock of chain and beacon, and must never wait long; `storage` moves bytes.
//! The contract is `contracts/src/StorageDeals.sol`, replicas and trees are `talkoo_store::{replica, possession}`.

mod client;
mod clock;
mod office;
mod orders;
mod provider;
mod record;
mod replica;
mod talk;

pub(crate) use talk::is_of_deals;

use crate::ledger::Place;
use anyhow::{Context, Result, bail, ensure};
use client::{Client, random};
use clock::Clock;
use office::{Office, OwnerKey};
use provider::Proposals;
use record::{Kept, Object, Offering, Records};
use serde_json::Value;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use talk::Said;
use talkoo_base::{Address, Cid, NodeId, Refusal, RefusalCode, SecretKey};
use talkoo_disk::Blocks;
use talkoo_net::{FetchOptions, FetchProgress, Net, peer_id_of};
use talkoo_store::unixfs::FileNode;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What waits for either thread.
const QUEUED_MAX: usize = 256;
/// How often the storage thread looks at what it keeps and wants kept.
const LOOK: Duration = Duration::from_secs(1);
/// The only offering's name.
const OFFER: &str = "offer";
/// Levels of a replica's file.
const LEVELS_MAX: usize = 8;

/// Sends bytes to a peer; whether it is connected.
type Post = Arc<dyn Fn(NodeId, Vec<u8>) -> bool + Send + Sync>;
/// Who asked.
type Reply = oneshot::Sender<Result<Value, Refusal>>;

/// What deals are started with.
pub(crate) struct Setup<'a> {
    /// The node's data folder.
    pub(crate) dir: &'a Path,
    pub(crate) place: &'a Place,
    pub(crate) node: Arc<SecretKey>,
    pub(crate) owner: Address,
    /// Puts up money; nothing while the wallet is locked.
    pub(crate) owner_key: Option<SecretKey>,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) net: Arc<Net>,
}

/// What both threads use.
struct Shared {
    office: Office,
    /// Replicas' keys follow from it.
    key: [u8; 32],
    blocks: Arc<Blocks>,
    net: Arc<Net>,
    runtime: Handle,
    post: Post,
    stop: CancellationToken,
    offerings: Records<Offering>,
    kept: Records<Kept>,
    objects: Records<Object>,
}

/// What the storage thread hears.
enum Told {
    /// A peer's answer.
    Heard(NodeId, Said),
    /// Who would keep something, and at what price.
    Quote(Value, Reply),
    /// Have something kept.
    Order(Value, Reply),
    /// Bring it back.
    Restore(Cid, Reply),
}

/// The handle that the node's loop holds.
pub(crate) struct Deals {
    shared: Arc<Shared>,
    owner_key: OwnerKey,
    storage: Option<SyncSender<Told>>,
    clock: Option<SyncSender<Reply>>,
    threads: Vec<JoinHandle<()>>,
}

impl Deals {
    /// Starts the threads; deals of an earlier start go on. Needs tokio's runtime.
    ///
    /// # Errors
    /// A folder that can't be used.
    pub(crate) fn start(setup: Setup<'_>) -> std::io::Result<Self> {
        let Setup { dir, place, node, owner, owner_key, blocks, net } = setup;
        let (dir, key) = (dir.join("deals"), node.expose());
        let owner_key: OwnerKey = Arc::new(Mutex::new(owner_key));
        let sender = net.clone();
        let shared = Arc::new(Shared {
            office: Office::new(place, node, owner.0.into(), owner_key.clone()),
            key,
            blocks,
            net,
            runtime: Handle::current(),
            post: Arc::new(move |to, bytes| sender.send(to, bytes).is_ok()),
            stop: CancellationToken::new(),
            offerings: Records::open(dir.join("terms"))?,
            kept: Records::open(dir.join("kept"))?,
            objects: Records::open(dir.join("objects"))?,
        });
        let (storage, inbox) = sync_channel(QUEUED_MAX);
        let (clock, asked) = sync_channel(QUEUED_MAX);
        let (moves, ticks) = (shared.clone(), Clock::new(shared.clone()));
        let thread =
            |name: &str, work: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.into()).spawn(work);
        let threads = vec![
            thread("storage", Box::new(move || store(&moves, &inbox)))?,
            thread("deals", Box::new(move || ticks.run(&asked)))?,
        ];
        Ok(Self { shared, owner_key, storage: Some(storage), clock: Some(clock), threads })
    }

    /// Takes a peer's message.
    ///
    /// # Errors
    /// What is wrong with its bytes.
    pub(crate) fn hear(&self, from: NodeId, bytes: &[u8]) -> Result<(), String> {
        match Said::from_bytes(bytes).map_err(|why| why.to_string())? {
            Said::Ask { id, bytes, epochs, epoch_s } => {
                (self.shared.post)(from, self.shared.offer(id, bytes, epochs, epoch_s).to_bytes());
            }
            // A queue that is full of answers has answers.
            said => drop(self.storage.as_ref().map(|to| to.try_send(Told::Heard(from, said)))),
        }
        Ok(())
    }

    /// The wallet is open.
    pub(crate) fn unlock(&self, key: SecretKey) {
        *self.owner_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    /// Keeps others' things from now on, on these terms; the answer repeats them.
    ///
    /// # Errors
    /// Terms that are none, and the disk's.
    pub(crate) fn provide(&self, args: &Value) -> Result<Value, Refusal> {
        let number = |key: &str| args[key].as_u64();
        let (Some(space), Some(rate)) = (number("space_bytes"), number("price")) else {
            let what = "`space_bytes` and `price` are whole numbers: bytes, and micro-units for a GiB and 30 days";
            return Err(Refusal::new(RefusalCode::Malformed, what, "see docs/API.md"));
        };
        let offering = Offering { space, rate };
        self.shared.offerings.keep(OFFER, &offering).map_err(|why| refusal(&why))?;
        info!(space, rate, "replicas are kept for pay");
        Ok(orders::terms_of(offering))
    }

    /// Answers a question of the API in its own time.
    pub(crate) fn ask(&self, name: &str, args: &Value, reply: Reply) {
        let cid = || args["cid"].as_str().and_then(|cid| Cid::try_from(cid).ok());
        let told = match (name, cid()) {
            ("deals", _) => {
                // Dropping a reply tells who asked.
                return drop(self.clock.as_ref().map(|to| to.try_send(reply)));
            }
            ("deal_quote", _) => Told::Quote(args.clone(), reply),
            ("deal", _) => Told::Order(args.clone(), reply),
            (_, Some(cid)) => Told::Restore(cid, reply),
            (_, None) => {
                let bad = Refusal::new(RefusalCode::Malformed, "`cid` is no CID", "see docs/API.md");
                return drop(reply.send(Err(bad)));
            }
        };
        drop(self.storage.as_ref().map(|to| to.try_send(told)));
    }

    /// Ends the threads; what is under way goes on at the next start.
    pub(crate) fn end(&mut self) {
        self.shared.stop.cancel();
        (self.storage, self.clock) = (None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                warn!("a thread of the deals panicked");
            }
        }
    }
}

/// What went wrong, as an answer.
fn refusal(why: &anyhow::Error) -> Refusal {
    Refusal::new(RefusalCode::Unfit, format!("{why:#}"), "see docs/STORAGE.md, \"Deals\"")
}

/// The storage thread.
fn store(shared: &Shared, inbox: &Receiver<Told>) {
    let (mut client, mut proposals, mut trouble) = (Client::default(), Proposals::default(), None);
    let mut next = Instant::now();
    while !shared.stop.is_cancelled() {
        let told = match client.later.pop_front() {
            Some(told) => Some(told),
            None => match inbox.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(told) => Some(told),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            },
        };
        // An answer after its question's end is nothing.
        match told {
            Some(Told::Heard(from, Said::Decline { deal, reason })) => shared.declined(&from, &deal, &reason),
            Some(Told::Heard(..)) => {}
            Some(Told::Quote(args, reply)) => drop(reply.send(client.quote(shared, inbox, &args))),
            Some(Told::Order(args, reply)) => drop(reply.send(client.order(shared, inbox, &args))),
            Some(Told::Restore(cid, reply)) => drop(reply.send(shared.bring_back(&cid))),
            None => {
                let looked = proposals.look(shared).err();
                if let Some(why) = looked.as_ref().filter(|why| trouble.as_ref() != Some(*why)) {
                    warn!(%why, "the chain can't be asked for proposals; trying again");
                }
                trouble = looked;
                client.tend(shared, inbox);
                next = Instant::now() + LOOK;
            }
        }
    }
}

impl Shared {
    fn offering(&self) -> Option<Offering> {
        self.offerings.get(OFFER).filter(|offering| offering.space > 0)
    }

    /// Downloads a replica of so many bytes from a node.
    fn fetch(&self, root: &Cid, from: &NodeId, bytes: u64) -> Result<()> {
        // Nodes above the leaves have some bytes for each of these.
        let (most, over) = (bytes + bytes / 64 + (1 << 20), CancellationToken::new());
        let progress = |now: FetchProgress| {
            if now.bytes + now.held_bytes > most {
                over.cancel();
            }
        };
        let from = vec![peer_id_of(from).context("the node has no name in the network")?];
        let (net, root, options) = (self.net.clone(), *root, FetchOptions { from, ..FetchOptions::default() });
        self.runtime.block_on(async {
            tokio::select! {
                () = self.stop.cancelled() => bail!("the node is stopping"),
                () = over.cancelled() => bail!("it has more than the {bytes} bytes that were said"),
                done = net.fetch(root, options, progress) => Ok(done.map(drop)?),
            }
        })
    }

    /// Fetches one random leaf of a replica and what leads there, and keeps nothing of it.
    fn sample(&self, root: &Cid, from: &NodeId) -> Result<()> {
        let from = vec![peer_id_of(from).context("the node has no name in the network")?];
        let mut got = Vec::new();
        let sampled = self.runtime.block_on(async {
            let session = self.net.session(*root, from).await?;
            let mut cid = *root;
            for _ in 0..LEVELS_MAX {
                got.push(cid);
                let block = tokio::select! {
                    () = self.stop.cancelled() => bail!("the node is stopping"),
                    block = session.get(cid) => block?,
                };
                let FileNode::Branch { children, .. } = FileNode::of(&block)? else { return Ok(()) };
                ensure!(!children.is_empty(), "the replica has a node without children");
                cid = children[usize::try_from(random()? % children.len() as u64)?].cid;
            }
            bail!("the replica is deeper than it was made");
        });
        self.blocks.delete(&got)?;
        sampled
    }
}
