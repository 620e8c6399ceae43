//! The embedded chain of this node: a thread that executes blocks and keeps them.
//!
//! ```text
//! wallet, RPC, peers ──► pool ──► propose ──► agree ──► write (one fsync) ──► publish a view ──► RPC, node
//! ```
//! A block is written with its certificate before anybody hears of it. The state is written less often: a restart
//! executes the blocks since then again. Readers get immutable views and never wait for the thread.

pub(crate) mod bench;
mod earnings;
mod file;
mod rpc;
mod sponsor;
#[cfg(test)]
mod tests;
mod treasury;

pub(crate) use file::{Disk, GenesisFile};
pub(crate) use rpc::Rpc;
pub(crate) use treasury::{Command, News, SETTLE_WAIT, Setup as TreasurySetup, Treasury};

use alloy_primitives::{Address, B256};
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use talkoo_api::eth::{Chain, SponsorError, SubmitError, View};
use talkoo_base::wire::{Typed, encode};
use talkoo_base::{Certificate, Digest, Network, SecretKey, Signer, Vote, VoteKind};
use talkoo_disk::Ledger as Store;
use talkoo_ledger::{
    BASE_FEE_MIN, Executed, Head, KvRead, Mempool, Seal, SignedBy, Standing, State, Writes, apply, propose, store,
};
use tokio::sync::broadcast;
use tracing::{error, info, warn};

/// Blocks after which the state is written: so many are executed again after a crash, in well under a second.
const STATE_EVERY: u64 = 64;
/// A proposer waits so long after a block, so that transactions which arrive together share one.
const BLOCK_MS_MIN: u64 = 20;
/// How long the thread waits before it tries a disk that failed again.
const RETRY: Duration = Duration::from_secs(1);
/// Blocks that a slow listener may be behind before it misses some.
const NEWS_MAX: usize = 256;

/// What the thread and its readers share.
struct Shared {
    view: RwLock<Arc<View>>,
    pool: Mutex<Mempool>,
    /// Something waits, or the end came.
    wake: Condvar,
    stop: AtomicBool,
    /// The key that may give starter credit, and whose turn it is.
    sponsor: Option<SecretKey>,
    sponsoring: Mutex<()>,
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
    /// The key of the one validator, if it is ours.
    pub(crate) validator: Option<SecretKey>,
    /// The same key, if it may give starter credit.
    pub(crate) sponsor: Option<SecretKey>,
}

/// The thread's own.
struct Driver {
    shared: Arc<Shared>,
    store: Arc<Store>,
    network: Network,
    validator: SecretKey,
    head: Head,
    /// The block whose state is on disk.
    saved: u64,
}

impl Ledger {
    /// Opens the chain, executes what its last run left unwritten, and goes on.
    ///
    /// # Errors
    /// A file that can't be used, or that holds another network's chain.
    pub(crate) fn start(setup: Setup<'_>) -> Result<Self> {
        let Setup { dir, genesis, network, validator, sponsor } = setup;
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let path = dir.join("ledger.redb");
        let store = Arc::new(Store::open(&path).with_context(|| format!("cannot open {}", path.display()))?);
        let (head, saved) = open(&store, genesis)?;
        let view = Arc::new(View { head: head.clone(), kv: Box::new(Disk(store.snapshot()?)) });
        let (blocks, _) = broadcast::channel(NEWS_MAX);
        let shared = Arc::new(Shared {
            view: RwLock::new(view),
            pool: Mutex::new(Mempool::default()),
            wake: Condvar::new(),
            stop: AtomicBool::new(false),
            sponsor,
            sponsoring: Mutex::new(()),
            blocks,
        });
        let run = |validator| {
            let driver = Driver { shared: shared.clone(), store, network, validator, head, saved };
            std::thread::Builder::new().name("ledger".into()).spawn(move || driver.run())
        };
        let thread = validator.map(run).transpose().context("cannot start the ledger's thread")?;
        Ok(Self { shared, thread })
    }

    /// Ends the thread; the state is written first.
    pub(crate) fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        // Under the lock, so that no wait begins between the store and the word.
        drop(lock(&self.shared.pool));
        self.shared.wake.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the ledger's thread panicked");
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The last block's head, and the block whose state is on disk.
fn open(store: &Store, genesis: &GenesisFile) -> Result<(Head, u64)> {
    let (head, block, mut writes) = genesis.beginning().genesis().build()?;
    let disk = Disk(store.snapshot()?);
    let Some((last, _)) = store::head(&disk)? else {
        let first = Executed { block, senders: Vec::new(), receipts: Vec::new(), head: head.clone() };
        writes.extend(store::record(&first, Vec::new()));
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
    let mut head = Head { header: Arc::new(block.header), hash, chain_id: head.chain_id, state };
    for number in saved + 1..=last {
        let block = store::block(&disk, number)?.with_context(|| format!("the ledger's file lacks block {number}"))?;
        head = apply(&head, &disk, &|n| ancestor(&disk, n), block)?.head;
    }
    Ok((head, saved))
}

fn ancestor(kv: &dyn KvRead, number: u64) -> Result<B256, talkoo_ledger::KvError> {
    Ok(store::block(kv, number)?.map_or_else(Default::default, |block| talkoo_ledger::hash(&block.header)))
}

impl Driver {
    fn run(mut self) {
        while self.wait() {
            match self.block() {
                Ok(()) => std::thread::sleep(Duration::from_millis(BLOCK_MS_MIN)),
                Err(why) => {
                    error!(%why, "no block was made; trying again");
                    std::thread::sleep(RETRY);
                }
            }
        }
        if let Err(why) = self.save() {
            warn!(%why, "the state was not written at the end; the next start executes its blocks again");
        }
    }

    /// Until something can stand in a block; false at the end.
    fn wait(&self) -> bool {
        let mut pool = lock(&self.shared.pool);
        while !self.shared.stop.load(Ordering::Acquire) {
            if pool.is_ready() {
                return true;
            }
            pool = self.shared.wake.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    /// Makes a block of what waits, has it agreed, writes it, and tells.
    fn block(&mut self) -> Result<()> {
        let disk = Disk(self.store.snapshot()?);
        let base_fee = self.head.header.base_fee_per_gas.unwrap_or(BASE_FEE_MIN);
        let candidates: Vec<SignedBy> = lock(&self.shared.pool).best(base_fee.into()).collect();
        let timestamp = unix().max(self.head.header.timestamp);
        let beneficiary = self.validator.address().0.into();
        let seal = Seal { timestamp, beneficiary, extra_data: self.head.header.extra_data.clone() };
        let (executed, refused) = propose(&self.head, &disk, &|n| ancestor(&disk, n), seal, candidates)?;
        {
            let mut pool = lock(&self.shared.pool);
            for (hash, reason) in refused {
                info!(%hash, %reason, "a transaction was dropped");
                pool.refuse(&hash);
            }
        }
        if executed.block.body.transactions.is_empty() {
            return Ok(());
        }
        let certificate = self.agree(&executed);
        self.commit(executed, encode(&certificate))
    }

    /// The certificate of a chain with one validator: its own vote is all of the power.
    fn agree(&self, executed: &Executed) -> Certificate {
        let (height, block) = (executed.block.header.number, Digest(executed.head.hash.0));
        let vote = Vote { kind: VoteKind::Precommit, height, round: 0, block };
        let signature = self.validator.sign(&vote.digest(&self.network));
        Certificate { height, round: 0, block, signatures: vec![signature] }
    }

    fn commit(&mut self, executed: Executed, certificate: Vec<u8>) -> Result<()> {
        let mut writes = store::record(&executed, certificate);
        let mut head = executed.head.clone();
        let number = head.header.number;
        let saving = number >= self.saved + STATE_EVERY;
        if saving {
            head.state.save(&mut writes);
            store::state_saved(&mut writes, number);
        }
        self.store.write(&writes)?;
        if saving {
            self.saved = number;
        }
        self.head = head;
        let view = View { head: self.head.clone(), kv: Box::new(Disk(self.store.snapshot()?)) };
        *self.shared.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        {
            let mut pool = lock(&self.shared.pool);
            let senders = executed.senders.iter().zip(&executed.block.body.transactions);
            for (sender, transaction) in senders {
                pool.advance(sender, alloy_consensus::Transaction::nonce(transaction) + 1);
            }
        }
        // Nobody may be listening.
        self.shared.blocks.send(Arc::new(executed)).ok();
        Ok(())
    }

    fn save(&mut self) -> Result<()> {
        let number = self.head.header.number;
        if number > self.saved {
            let mut writes = Writes::new();
            self.head.state.save(&mut writes);
            store::state_saved(&mut writes, number);
            self.store.write(&writes)?;
        }
        Ok(())
    }
}

impl Chain for Shared {
    fn view(&self) -> Arc<View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn submit(&self, transaction: SignedBy) -> Result<B256, SubmitError> {
        let sender = transaction.signer();
        // The lock first: a block that becomes final meanwhile tells the pool after this, so no nonce goes back.
        let mut pool = lock(&self.pool);
        let account = self.view().read(0, |reader| reader.account(sender))?;
        let standing = Standing { nonce: account.nonce, balance: account.balance };
        let hash = pool.add(transaction, standing, BASE_FEE_MIN.into())?;
        drop(pool);
        self.wake.notify_all();
        Ok(hash)
    }

    fn waiting(&self, hash: &B256) -> Option<SignedBy> {
        lock(&self.pool).get(hash).cloned()
    }

    fn next_nonce(&self, account: &Address) -> Option<u64> {
        lock(&self.pool).next_nonce(account)
    }

    fn sponsor(&self, owner: Address, node: Address) -> Result<Vec<B256>, SponsorError> {
        let key = self.sponsor.as_ref().ok_or(SponsorError::None)?;
        self.give(key, owner, node)
    }

    fn blocks(&self) -> broadcast::Receiver<Arc<Executed>> {
        self.blocks.subscribe()
    }
}

impl Ledger {
    /// The chain as the RPC sees it.
    pub(crate) fn chain(&self) -> Arc<dyn Chain> {
        self.shared.clone()
    }
}
