//! The embedded chain of this node: a thread that agrees with others on blocks, executes and keeps them.
//!
//! ```text
//! wallet, RPC, peers ──► pool ──► propose ──► agree ──► write (one fsync) ──► publish a view ──► RPC, node
//! ```
//! A block is written with its certificate before anybody hears of it. The state is written less often: a restart
//! executes the blocks since then again. Readers get immutable views and never wait for the thread.

pub(crate) mod bench;
mod bonds;
pub(crate) mod closing;
pub(crate) mod deploy;
mod deposits;
mod driver;
mod earnings;
mod evidence;
mod explorer;
mod file;
mod log;
pub(crate) mod place;
mod rpc;
mod sponsor;
mod stake;
#[cfg(test)]
mod tests;
mod till;
mod treasury;

pub(crate) use explorer::Explorer;
pub(crate) use file::{Disk, GenesisFile};
pub(crate) use place::{Place, Url};
pub(crate) use rpc::{Included, Rpc, RpcError, Told};
pub(crate) use stake::set_validator_key;
pub(crate) use till::NodeTill;
pub(crate) use treasury::{Command, News, SETTLE_WAIT, Setup as TreasurySetup, Treasury};

use alloy_primitives::{Address, B256};
use anyhow::{Context, Result, bail};
use driver::{CHAIN, Driver, Inbound, NEWCOMER, Post, TRANSACTION, ancestor};
use evidence::Cases;
use log::{pack, unpack};
use sponsor::Askers;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use talkoo_api::eth::{Chain, SponsorError, SubmitError, View};
use talkoo_base::{Network, NodeId, SecretKey, Signer};
use talkoo_chain::{Event, Message};
use talkoo_disk::{Journal, Ledger as Store};
use talkoo_ledger::{BASE_FEE_MIN, Executed, Head, Mempool, SignedBy, Standing, State, apply, store};
use tokio::sync::broadcast;
use tracing::{info, warn};

/// Bytes of peers' messages that may wait for the thread; more are dropped, for whatever matters is said again.
const QUEUED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Blocks that a slow listener may be behind before it misses some.
const NEWS_MAX: usize = 256;

// Held pay counts as a stake only as long as the vault holds it, on a chain with the window that is usual.
const _: () = assert!(talkoo_proof::parameters::VEST_S == talkoo_ledger::contracts::WINDOW_S);

/// What the thread and its readers share.
struct Shared {
    view: RwLock<Arc<View>>,
    pool: Mutex<Mempool>,
    /// Transactions that were handed in here, for the peers.
    fresh: Mutex<Vec<SignedBy>>,
    /// Whether the thread knows that something waits.
    nudged: AtomicBool,
    inbox: Mutex<Sender<Inbound>>,
    /// Bytes of peers' messages that wait for the thread.
    queued: AtomicUsize,
    stop: AtomicBool,
    /// The validator's key, for transactions of its own, and whose turn it is to send one.
    key: SecretKey,
    sponsoring: Mutex<()>,
    /// Whether it may give starter credit.
    is_sponsor: bool,
    blocks: broadcast::Sender<Arc<Executed>>,
}

/// The chain of this node.
pub(crate) struct Ledger {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the chain is started with.
pub(crate) struct Setup<'a> {
    /// Folder of its files.
    pub(crate) dir: &'a Path,
    /// What its first block is made of.
    pub(crate) genesis: &'a GenesisFile,
    /// The network its votes are bound to.
    pub(crate) network: Network,
    /// Signs votes, if it is a validator's.
    pub(crate) key: SecretKey,
    /// The same key again, for transactions: reports of double votes, and starter credit if a genesis names it.
    pub(crate) pays: SecretKey,
    /// Sends to peers.
    pub(crate) post: Post,
    /// Stops the node, when the chain's disk fails.
    pub(crate) fatal: Box<dyn Fn() + Send>,
}

impl Ledger {
    /// Opens the chain, executes what its last run left unwritten, and goes on.
    ///
    /// # Errors
    /// A file that can't be used, or that holds another network's chain.
    pub(crate) fn start(setup: Setup<'_>) -> Result<Self> {
        let Setup { dir, genesis, network, key, pays, post, fatal } = setup;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join("ledger.redb");
        let store = Arc::new(Store::open(&path).with_context(|| format!("cannot open {}", path.display()))?);
        let (head, saved) = open(&store, genesis)?;
        let view = Arc::new(View { head: head.clone(), kv: Box::new(Disk(store.snapshot()?)) });
        let (blocks, _) = broadcast::channel(NEWS_MAX);
        let (inbox, heard) = channel();
        let shared = Arc::new(Shared {
            view: RwLock::new(view),
            pool: Mutex::new(Mempool::default()),
            fresh: Mutex::new(Vec::new()),
            nudged: AtomicBool::new(false),
            inbox: Mutex::new(inbox),
            queued: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            is_sponsor: genesis.beginning().validators().iter().any(|v| v.address == pays.address()),
            key: pays,
            sponsoring: Mutex::new(()),
            blocks,
        });
        let (mut journal, recovered) = Journal::open(dir.join("journal"))?;
        let snapshot = recovered.snapshot.as_deref().map(unpack).transpose()?.unwrap_or_default();
        let records: Vec<&[u8]> = snapshot.into_iter().chain(recovered.records.iter().map(Vec::as_slice)).collect();
        let (restarted, me) = (!records.is_empty(), key.address());
        let disk = Disk(store.snapshot()?);
        let validators = store::validators(&disk, &head.header)?;
        // A journal says itself where it begins, and with whom.
        let (first, voters) =
            if restarted { (1, &genesis.beginning().validators()) } else { (head.header.number + 1, &validators) };
        let mut chain = talkoo_chain::Chain::new(Box::new(key), network, first, voters);
        for record in records {
            chain.apply(&Event::from_bytes(record).context("the chain's journal can't be read")?);
        }
        if !restarted {
            journal.snapshot(&pack(chain.history()))?;
        }
        if chain.height() > head.header.number + 1 {
            let (agreed, there) = (chain.height() - 1, head.header.number);
            bail!("the chain's journal is at block {agreed}, its ledger at {there}: restore {}", path.display());
        }
        let (candidates, peers, started) = (BTreeMap::new(), Vec::new(), Instant::now());
        let driver = Driver {
            shared: shared.clone(),
            store,
            chain,
            journal,
            validators,
            me,
            head,
            saved,
            post,
            fatal,
            started,
            candidates,
            cases: Cases::read(&disk)?,
            peers,
            askers: Askers::default(),
        };
        let thread = std::thread::Builder::new().name("ledger".into());
        let thread = thread.spawn(move || driver.run(&heard, restarted)).context("cannot start the ledger's thread")?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A peer came or went.
    pub(crate) fn peer(&self, peer: NodeId, is_up: bool) {
        self.shared.tell(Inbound::Peer(peer, is_up));
    }

    /// Takes a peer's message if it is about the chain; says so, or what is wrong with it.
    pub(crate) fn hear(&self, from: NodeId, bytes: &[u8]) -> Option<Result<(), String>> {
        let inbound = match bytes.split_first()? {
            (&CHAIN, rest) => {
                Message::from_bytes(rest).map(|message| Inbound::Said(from, message)).map_err(|why| why.to_string())
            }
            (&NEWCOMER, rest) => match rest.split_at_checked(20) {
                Some((owner, node)) if node.len() == 20 => {
                    let address = |bytes: &[u8]| talkoo_base::Address(bytes.try_into().expect("20 bytes"));
                    Ok(Inbound::Newcomer(from, [address(owner), address(node)]))
                }
                _ => Err("a newcomer names two addresses".into()),
            },
            (&TRANSACTION, rest) => Ok(Inbound::Transaction(rest.to_vec())),
            _ => return None,
        };
        Some(inbound.map(|inbound| self.queue(inbound, bytes.len())))
    }

    fn queue(&self, inbound: Inbound, bytes: usize) {
        let queued = &self.shared.queued;
        if queued.fetch_add(bytes, Ordering::AcqRel) + bytes > QUEUED_BYTES_MAX {
            queued.fetch_sub(bytes, Ordering::AcqRel);
            return;
        }
        self.shared.tell(Inbound::Queued(Box::new(inbound), bytes));
    }

    /// Ends the thread; the state is written first.
    pub(crate) fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.tell(Inbound::Nudge);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the ledger's thread panicked");
        }
    }

    /// The chain as the RPC sees it.
    pub(crate) fn chain(&self) -> Arc<dyn Chain> {
        self.shared.clone()
    }
}

/// Whether a message between nodes is about a chain.
pub(crate) fn is_of_chain(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(&CHAIN | &TRANSACTION | &NEWCOMER))
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds since 1970.
pub(crate) fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The last block's head, and the block whose state is on disk.
fn open(store: &Store, genesis: &GenesisFile) -> Result<(Head, u64)> {
    let (head, block, mut writes) = genesis.beginning().genesis().build()?;
    let disk = Disk(store.snapshot()?);
    let Some((last, _)) = store::head(&disk)? else {
        let first = Executed::first(block, head.clone());
        writes.extend(store::record(&first, Vec::new()));
        store::handed_over(&mut writes, &disk, 0, &genesis.beginning().validators())?;
        store::state_saved(&mut writes, 0);
        store.write(&writes)?;
        info!(genesis = %head.hash, "a new chain");
        return Ok((head, 0));
    };
    let there = store::block(&disk, 0)?.map(|block| talkoo_ledger::hash(&block.header));
    if there != Some(head.hash) {
        let there = there.unwrap_or_default();
        bail!(
            "the ledger here began with block {there}, its genesis file says {}: one of the two is another network's",
            head.hash
        );
    }
    let saved = store::saved(&disk)?;
    let block = store::block(&disk, saved)?.context("the ledger's file lacks the block whose state it has")?;
    let state = State::at(block.header.state_root);
    let hash = talkoo_ledger::hash(&block.header);
    let mut head = Head { header: Arc::new(block.header), hash, state, ..head };
    for number in saved + 1..=last {
        let block = store::block(&disk, number)?.with_context(|| format!("the ledger's file lacks block {number}"))?;
        head = apply(&head, &disk, &|n| ancestor(&disk, n), block)?.head;
    }
    Ok((head, saved))
}

impl Shared {
    /// The thread ends after everybody who tells it something.
    fn tell(&self, inbound: Inbound) {
        lock(&self.inbox).send(inbound).ok();
    }

    /// Gives starter credit, if we are who may.
    fn give_as_sponsor(&self, owner: Address, node: Address) -> Option<Result<Vec<B256>, SponsorError>> {
        self.is_sponsor.then(|| self.give(&self.key, owner, node))
    }

    /// Takes a transaction into the pool.
    fn admit(&self, transaction: SignedBy) -> Result<B256, SubmitError> {
        let sender = transaction.signer();
        // The lock first: a block that becomes final meanwhile tells the pool after this, so no nonce goes back.
        let mut pool = lock(&self.pool);
        let account = self.view().read(0, |reader| reader.account(sender))?;
        let standing = Standing { nonce: account.nonce, balance: account.balance };
        Ok(pool.add(transaction, standing, BASE_FEE_MIN.into())?)
    }

    /// A block is final and written: everybody may see it.
    fn publish(&self, head: Head, disk: Disk, executed: Executed) {
        let view = View { head, kv: Box::new(disk) };
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        {
            let mut pool = lock(&self.pool);
            executed.nonces.iter().for_each(|(account, next)| pool.advance(account, *next));
        }
        // Nobody may be listening.
        self.blocks.send(Arc::new(executed)).ok();
    }
}

impl Chain for Shared {
    fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn submit(&self, transaction: SignedBy) -> Result<B256, SubmitError> {
        let hash = self.admit(transaction.clone())?;
        lock(&self.fresh).push(transaction);
        if !self.nudged.swap(true, Ordering::AcqRel) {
            self.tell(Inbound::Nudge);
        }
        Ok(hash)
    }

    fn waiting(&self, hash: &B256) -> Option<SignedBy> {
        lock(&self.pool).get(hash).cloned()
    }

    fn pool(&self, tell: &mut dyn FnMut(&SignedBy, bool) -> bool) {
        lock(&self.pool).all().all(|(waiting, is_ready)| tell(waiting, is_ready));
    }

    fn next_nonce(&self, account: &Address) -> Option<u64> {
        lock(&self.pool).next_nonce(account)
    }

    fn sponsor(&self, owner: Address, node: Address) -> Result<Vec<B256>, SponsorError> {
        self.give_as_sponsor(owner, node).unwrap_or_else(|| {
            let ours = |address: Address| talkoo_base::Address(address.0.0);
            self.tell(Inbound::Ask([ours(owner), ours(node)]));
            Ok(Vec::new())
        })
    }

    fn blocks(&self) -> broadcast::Receiver<Arc<Executed>> {
        self.blocks.subscribe()
    }
}
