//! Disputes of this node: as a client whose engine refuted a worker, as a worker whose receipts are doubted.
//!
//! ```text
//! loop ── Dispute ──► records/ ──► challenge (thread) ── questions ──► worker, or chain ──► verdict, money
//!      ── Sold ─────► sold/    ──► defence (thread)   ◄── questions ── clients, chain
//! ```
//! Both threads block: a dispute is a strictly sequential dialogue. They run their own engine over the models that serve others,
//! and call the contract through the JSON-RPC that the treasury uses. The game itself is `talkoo_proof::dispute`.

mod abi;
mod challenge;
mod court;
mod defence;
mod findings;
mod record;
mod rerun;
mod sold;
mod talk;
#[cfg(test)]
mod tests;
mod verdict;
mod words;

pub(crate) use talk::is_of_dispute;

use crate::daemon::executor::Lender;
use crate::ledger::{Place, unix};
use challenge::{Challenges, Expected};
use court::{Court, OwnerKey};
use defence::{Asked, Defence, State, Waiting};
use record::{Dispute, Records};
use serde_json::{Value, json};
use sold::Shelf;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use talk::Said;
use talkoo_base::wire::{Sealed, Signed};
use talkoo_base::{Address, Delegation, Network, NodeId, Refusal, RefusalCode, SecretKey};
use talkoo_proof::Sold;
use talkoo_proof::dispute::Case;
use tracing::{info, warn};

/// What waits for either thread; a question that finds no room is asked again, by message or on chain.
const QUEUED_MAX: usize = 64;
/// Peers whose owner's word is remembered.
const OWNERS_MAX: usize = 4_096;
/// Blocks before the last one that are looked through for what happened while we were away: longer than a move takes.
const LOOK_BACK: u64 = 4_000;

/// Sends bytes to a peer; whether it is connected.
pub(crate) type Post = Arc<dyn Fn(NodeId, Vec<u8>) -> bool + Send + Sync>;
/// Tells everybody who listens to the node's events.
pub(crate) type Tell = Arc<dyn Fn(&Value) + Send + Sync>;

/// Takes prompts and answers out of the records of disputes that are over: those that are meant, by their job and when they began. How
/// many had them, and the bytes of it; counts only, unless it `writes`.
///
/// # Errors
/// What the disk says.
pub(crate) fn forget_words(
    dir: &Path,
    network: &Network,
    is_meant: impl Fn(&str, u64) -> bool,
    writes: bool,
) -> std::io::Result<(u64, u64)> {
    let dir = dir.join("disputes");
    if dir.is_dir() { Records::open(dir, network.clone())?.forget_words(is_meant, writes) } else { Ok((0, 0)) }
}

/// Whose answer is waited for; others' are dropped at the door.
#[derive(Default)]
struct Mailbox(Mutex<Expected>);

impl Mailbox {
    fn expect(&self, expected: Expected) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = expected;
    }

    fn expects(&self, from: NodeId, id: u64) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) == Some((from, id))
    }
}

/// What disputes are started with.
pub(crate) struct Setup<'a> {
    /// The node's data folder.
    pub(crate) dir: &'a Path,
    pub(crate) place: &'a Place,
    pub(crate) network: Network,
    pub(crate) node: Arc<SecretKey>,
    pub(crate) owner: Address,
    /// Puts up bonds; nothing while the wallet is locked.
    pub(crate) owner_key: Option<SecretKey>,
    pub(crate) lender: Lender,
    pub(crate) post: Post,
    pub(crate) tell: Tell,
}

/// The handle that the node's loop holds.
pub(crate) struct Disputes {
    network: Network,
    shelf: Arc<Shelf>,
    records: Records,
    owner_key: OwnerKey,
    mailbox: Arc<Mailbox>,
    waiting: Arc<Waiting>,
    /// The word of peers' owners that they act for them.
    owners: BTreeMap<NodeId, Sealed<Delegation>>,
    tell: Tell,
    stop: Arc<AtomicBool>,
    challenges: Option<SyncSender<challenge::Told>>,
    defence: Option<SyncSender<Asked>>,
    threads: Vec<JoinHandle<()>>,
}

impl Disputes {
    /// Starts the threads; disputes of an earlier start go on.
    ///
    /// # Errors
    /// A folder that can't be used.
    pub(crate) fn start(setup: Setup<'_>) -> std::io::Result<Self> {
        let Setup { dir, place, network, node, owner, owner_key, lender, post, tell } = setup;
        let shelf = Arc::new(Shelf::open(dir.join("sold"), node.expose(), network.clone())?);
        let records = Records::open(dir.join("disputes"), network.clone())?;
        let owner_key: OwnerKey = Arc::new(Mutex::new(owner_key));
        let (mailbox, waiting, stop) = (Arc::<Mailbox>::default(), Arc::<Waiting>::default(), Arc::default());
        let court = Court::new(place, network.clone(), node, owner.0.into(), owner_key.clone());
        let (challenges, inbox) = sync_channel(QUEUED_MAX);
        let challenge = Challenges {
            court: court.clone(),
            records: records.clone(),
            lender: lender.clone(),
            post: post.clone(),
            tell: tell.clone(),
            inbox,
            mailbox: mailbox.clone(),
            stop: Arc::clone(&stop),
            // Answers to an earlier start's questions are none to ours.
            number: unix() << 20,
            is_outside: place.is_outside(),
            is_new: false,
        };
        let (defence, inbox) = sync_channel(QUEUED_MAX);
        let is_outside = place.is_outside();
        let (kept, at_once, stopping) = (shelf.clone(), waiting.clone(), Arc::clone(&stop));
        let defend = move || {
            let (waiting, stop, state) = (at_once, stopping, State::default());
            Defence { court, is_outside, shelf: kept, lender, post, inbox, waiting, stop, state }.run();
        };
        let thread =
            |name: &str, work: Box<dyn FnOnce() + Send>| std::thread::Builder::new().name(name.into()).spawn(work);
        let threads =
            vec![thread("challenge", Box::new(move || challenge.run()))?, thread("defence", Box::new(defend))?];
        let (challenges, defence, owners) = (Some(challenges), Some(defence), BTreeMap::new());
        Ok(Self {
            network,
            shelf,
            records,
            owner_key,
            mailbox,
            waiting,
            owners,
            tell,
            stop,
            challenges,
            defence,
            threads,
        })
    }

    /// Keeps what a receipt that is about to leave commits us to.
    pub(crate) fn sold(&self, sold: &Sold) {
        self.shelf.put(sold);
    }

    /// Whether so much is kept that nothing more of the exact tier should be sold.
    pub(crate) fn is_full(&self) -> bool {
        self.shelf.is_full()
    }

    /// Our engine refuted a worker.
    pub(crate) fn begin(&self, worker: NodeId, case: Case) {
        let dispute = Dispute::new(worker, case, self.owners.get(&worker).cloned(), unix());
        if self.records.has(&dispute.id(&self.network)) {
            return;
        }
        self.records.keep(&dispute);
        warn!(?worker, dispute = %dispute.id(&self.network).short(), "our engine refuted a worker: it goes before the judge");
        let mut event = dispute.summary(&self.network);
        event["type"] = json!("dispute.begun");
        (self.tell)(&event);
        self.look();
    }

    fn look(&self) {
        // A full queue means that it looks anyway.
        self.challenges.iter().for_each(|to| drop(to.try_send(challenge::Told::Look)));
    }

    /// A peer shows who owns it.
    pub(crate) fn owned(&mut self, peer: NodeId, delegation: &Signed<Delegation>) {
        if self.owners.len() >= OWNERS_MAX && !self.owners.contains_key(&peer) {
            self.owners.pop_first();
        }
        self.owners.insert(peer, delegation.into());
    }

    /// The wallet is open.
    pub(crate) fn unlock(&self, key: SecretKey) {
        *self.owner_key.lock().unwrap_or_else(PoisonError::into_inner) = Some(key);
        self.look();
    }

    /// Takes a peer's message.
    ///
    /// # Errors
    /// What is wrong with its bytes.
    pub(crate) fn hear(&self, from: NodeId, bytes: &[u8]) -> Result<(), String> {
        match Said::from_bytes(bytes).map_err(|why| why.to_string())? {
            Said::Ask { id, lease, receipt, question } => {
                let Some(to) = self.defence.as_ref().filter(|_| self.waiting.begin(from)) else { return Ok(()) };
                if to.try_send(Asked { from, id, lease, receipt, question }).is_err() {
                    self.waiting.end(&from);
                }
            }
            Said::Tell { id, answer } => self.answered(from, id, Ok(answer)),
            Said::Refuse { id, reason } => self.answered(from, id, Err(reason)),
        }
        Ok(())
    }

    fn answered(&self, from: NodeId, id: u64, answer: Result<talkoo_proof::dispute::Answer, String>) {
        if let Some(to) = self.challenges.as_ref().filter(|_| self.mailbox.expects(from, id)) {
            to.try_send(challenge::Told::Answer(id, answer)).ok();
        }
    }

    /// All disputes, the oldest first.
    pub(crate) fn list(&self) -> Value {
        let rows: Vec<Value> = self.records.all().iter().map(|dispute| dispute.summary(&self.network)).collect();
        json!({"disputes": rows})
    }

    /// One of them, by the first digits of its name.
    ///
    /// # Errors
    /// If there is none, or more than one.
    pub(crate) fn show(&self, id: &str) -> Result<Value, Refusal> {
        let all = self.records.all();
        let named = |dispute: &&Dispute| dispute.id(&self.network).to_string().starts_with(id);
        match all.iter().filter(named).collect::<Vec<_>>()[..] {
            [one] => Ok(one.detail(&self.network)),
            ref found => {
                let what = if found.is_empty() { "no dispute has" } else { "several disputes have" };
                let hint = "`talkoo dispute list` has all of them";
                Err(Refusal::new(RefusalCode::UnknownId, format!("{what} the id {id}"), hint))
            }
        }
    }

    /// Ends the threads; what is under way goes on at the next start.
    pub(crate) fn end(&mut self) {
        self.stop.store(true, Ordering::Release);
        (self.challenges, self.defence) = (None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                warn!("a thread of the disputes panicked");
            }
        }
        info!("disputes rest until the next start");
    }
}
