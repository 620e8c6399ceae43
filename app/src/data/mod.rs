//! Data that its owner can sell: sealed before it is stored, found by a public manifest, paid and granted on the chain, its key
//! wrapped for the buyer's node alone (docs/DATA.md).
//!
//! ```text
//! owner: add ─► publish ─► (Bought on the chain, Ask) ─► wrap, keep ─► deliver on the chain ─► Tell
//! buyer: buy ─► Ask, again and again ─► Tell ─► equals the chain's hash? opens? ─► fetch what is sealed ─► get
//!
//! while the owner is away:
//! keeper: Keep, the sealed blocks ─► (Paid on the chain, Ask) ─► Ready ─► Deliver ─► (Granted) ─► Share
//! buyer: Ask ─► k are Ready ─► Deliver, to one ─► (Granted) ─► Ask ─► k Shares that fit ─► the key
//! ```
//! A thread of its own asks and answers; calls of the API come on threads of theirs. Either side can be killed anywhere: files
//! in `<data-dir>/data` and the chain say where to go on.

pub(crate) mod audit;
mod buyer;
mod chain;
mod files;
mod find;
mod gather;
mod hand;
mod hear;
mod keep;
mod manifest;
mod object;
mod owner;
mod part;
mod pay;
mod release;
mod request;
mod talk;
mod wrap;

pub(crate) use owner::{Price, Said as Terms};
pub(crate) use part::Part;
pub(crate) use pay::Choice;
pub(crate) use talk::is_of_data;

use crate::ledger::Place;
use anyhow::Context as _;
use audit::Audit;
use chain::Desk;
use files::{Asked, Bought, Given, Kept, Keyring, Own, Room, Shelf, random};
use gather::Gathering;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use talk::Said;
use talkoo_base::wire::Signed;
use talkoo_base::{Address, Delegation, Digest, Network, NodeId, Refusal, RefusalCode, SecretKey};
use talkoo_disk::Blocks;
use talkoo_net::Net;
use talkoo_store::Visibility;
use tokio::runtime::Handle;
use tracing::warn;

/// Messages and results that wait for the thread; what is more is asked again.
const QUEUED_MAX: usize = 256;
/// How often a key that was not delivered is asked for, and a chain of ours looked at; another's.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_OUTSIDE: Duration = Duration::from_secs(10);
/// How long an owner or keeper that said no is left alone.
const REFUSED_WAIT: Duration = Duration::from_secs(30);
/// Refusals of ours that are remembered.
const REFUSED_MAX: usize = 1_024;
/// Requests that are kept for the owner's word: each is a paid grant, and a file.
const ASKED_MAX: usize = 1_024;
/// How long an owner may be silent before its keepers are asked, and a keeper has to deliver before the next is told: on a chain
/// of ours, on another.
const SILENT: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];
const DELIVER_WAIT: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(120)];
/// How long a keeper's word counts that it would deliver.
const READY_WAIT: Duration = Duration::from_secs(60);
/// When a share is sent again that is not kept yet, and how long publishing waits for the keepers.
const HAND_AGAIN: Duration = Duration::from_secs(5);
const HAND_WAIT: Duration = Duration::from_secs(20);
/// Shares that a node keeps: each has a file; and those of one owner, so that it leaves room to others.
const KEPT_MAX: usize = 1_024;
const KEPT_OF_OWNER_MAX: usize = 128;
/// How long one block is looked for in the network.
const BLOCK_WAIT: Duration = Duration::from_secs(15);

/// What it is started with.
pub(crate) struct Setup<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) place: &'a Place,
    pub(crate) network: Network,
    pub(crate) node: Arc<SecretKey>,
    pub(crate) owner: Address,
    pub(crate) owner_key: Option<SecretKey>,
    pub(crate) delegation: Signed<Delegation>,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) net: Arc<Net>,
    /// Tells everybody who listens to the event stream.
    pub(crate) tell: Arc<dyn Fn(&Value) + Send + Sync>,
}

/// What the thread hears.
enum Told {
    Said(NodeId, Said),
    /// A download ended: the name of the record, and how.
    Fetched(String, Result<(), Lost>),
    /// There is something new.
    Look,
}

/// Why a download came to nothing.
enum Lost {
    /// It is larger than its manifest says: it is not tried again.
    TooLarge,
    Now(String),
}

type Answer<T> = Result<T, Refusal>;

/// What calls and the thread share.
pub(crate) struct Desks {
    desk: Desk,
    network: Network,
    node: Arc<SecretKey>,
    delegation: Signed<Delegation>,
    blocks: Arc<Blocks>,
    net: Arc<Net>,
    runtime: Handle,
    keyring: Keyring,
    own: Shelf<Own>,
    given: Shelf<Given>,
    asked: Shelf<Asked>,
    bought: Shelf<Bought>,
    kept: Shelf<Kept>,
    room: Shelf<Room>,
    audit: Audit,
    tell: Arc<dyn Fn(&Value) + Send + Sync>,
    to: SyncSender<Told>,
    /// Held while a record is read, changed and written.
    changing: Mutex<()>,
    /// Held while something is bought: nothing is paid twice.
    buying: Mutex<()>,
    /// What the other side said last, by record.
    said: Mutex<BTreeMap<String, (String, Instant)>>,
    /// Refusals that the log has: a peer that asks again and again does not fill the disk.
    refused: Mutex<BTreeSet<(NodeId, Digest, u64, String)>>,
    /// Releases that the log has, one for each grant, share and node.
    released: Mutex<BTreeSet<String>>,
    /// Data of ours whose keepers do not have everything yet, and when they are told again.
    handing: Mutex<BTreeMap<String, Instant>>,
    handed: Condvar,
    /// Shares that we keep, and whose blocks are not here yet.
    wanted: Mutex<BTreeSet<String>>,
    /// Purchases that wait for keepers.
    gatherings: Mutex<BTreeMap<String, Gathering>>,
}

/// The handle.
pub(crate) struct Data {
    desks: Option<Arc<Desks>>,
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

fn no(code: RefusalCode, message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(code, message, hint)
}

/// An error of the disk, for people.
fn broken(why: impl std::fmt::Display) -> Refusal {
    no(RefusalCode::Other, why.to_string(), "see the node's log, and the disk's room")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Data {
    /// Starts the thread; what an earlier start began goes on.
    ///
    /// # Errors
    /// A folder that can't be used.
    pub(crate) fn start(setup: Setup<'_>) -> anyhow::Result<Self> {
        let Setup { dir, place, network, node, owner, owner_key, delegation, blocks, net, tell } = setup;
        let dir = dir.join("data");
        let in_dir = |name: &str| dir.join(name);
        let (to, inbox) = sync_channel(QUEUED_MAX);
        let desks = Arc::new(Desks {
            desk: Desk::new(place, node.clone(), owner.0.into(), Arc::new(Mutex::new(owner_key))),
            network,
            keyring: Keyring::of(&node),
            node,
            delegation,
            blocks,
            net,
            runtime: Handle::current(),
            own: Shelf::open(in_dir("own")).context("cannot make the folder of data")?,
            given: Shelf::open(in_dir("given"))?,
            asked: Shelf::open(in_dir("asked"))?,
            bought: Shelf::open(in_dir("bought"))?,
            kept: Shelf::open(in_dir("kept"))?,
            room: Shelf::open(dir.clone())?,
            audit: Audit::open(&in_dir("audit"))?,
            tell,
            to,
            changing: Mutex::default(),
            buying: Mutex::default(),
            said: Mutex::default(),
            refused: Mutex::default(),
            released: Mutex::default(),
            handing: Mutex::default(),
            handed: Condvar::new(),
            wanted: Mutex::default(),
            gatherings: Mutex::default(),
        });
        desks.go_on();
        let (stop, stopped) = sync_channel(1);
        let thread = Turns {
            desks: desks.clone(),
            inbox,
            stopped,
            fetching: BTreeMap::new(),
            are_offers_whole: false,
            trouble: None,
        };
        let thread = std::thread::Builder::new().name("data".into()).spawn(move || thread.run())?;
        Ok(Self { desks: Some(desks), stop: Some(stop), thread: Some(thread) })
    }

    /// For calls, which wait: on threads of theirs.
    pub(crate) fn desks(&self) -> Option<Arc<Desks>> {
        self.desks.clone()
    }

    /// The wallet is open.
    pub(crate) fn unlock(&self, key: &SecretKey) {
        self.desks.iter().for_each(|desks| desks.desk.unlock(SecretKey::from_bytes(&key.expose()).expect("a key")));
    }

    /// Takes a peer's message; beyond what can wait it is dropped, for it comes again.
    ///
    /// # Errors
    /// What is wrong with its bytes.
    pub(crate) fn hear(&self, from: NodeId, bytes: &[u8]) -> Result<(), String> {
        let said = Said::from_bytes(bytes).map_err(|why| why.to_string())?;
        if let Some(desks) = &self.desks {
            desks.to.try_send(Told::Said(from, said)).ok();
        }
        Ok(())
    }

    /// Ends the thread.
    pub(crate) fn end(&mut self) {
        self.stop = None;
        if let Some(desks) = self.desks.take() {
            desks.to.try_send(Told::Look).ok();
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            warn!("the thread of data panicked");
        }
    }
}

/// The thread's own.
struct Turns {
    desks: Arc<Desks>,
    inbox: Receiver<Told>,
    stopped: Receiver<()>,
    /// Downloads under way, and those that failed until when.
    fetching: BTreeMap<String, Option<Instant>>,
    /// Whether no offer was cut off by a kill.
    are_offers_whole: bool,
    trouble: Option<Refusal>,
}

impl Turns {
    fn run(mut self) {
        let look = if self.desks.desk.is_outside() { LOOK_OUTSIDE } else { LOOK };
        if let Err(why) = self.desks.find_purchases() {
            warn!(%why, "what was bought cannot be looked up now");
        }
        let mut next = Instant::now();
        loop {
            let told = self.inbox.recv_timeout(next.saturating_duration_since(Instant::now()));
            if matches!(self.stopped.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected)) {
                return;
            }
            let done = match told {
                Ok(Told::Said(from, said)) => self.desks.heard(from, said),
                Ok(Told::Fetched(name, how)) => self.fetched(&name, how),
                Ok(Told::Look) | Err(RecvTimeoutError::Timeout) => {
                    next = Instant::now() + look;
                    self.look()
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Err(trouble) = done
                && self.trouble.as_ref() != Some(&trouble)
            {
                warn!(%trouble, "data: trying again");
                self.trouble = Some(trouble);
            }
        }
    }

    /// Asks for what is missing.
    fn look(&mut self) -> Answer<()> {
        // One that fails keeps no other from its turn.
        let mut done = self.desks.hand_out();
        if !self.are_offers_whole {
            let mended = self.desks.mend_offers();
            self.are_offers_whole = mended.is_ok();
            done = done.and(mended);
        }
        let wanted = lock(&self.desks.wanted).clone();
        for name in wanted {
            if self.is_due(&name) {
                let began = self.desks.fetch_kept(&name);
                done = done.and(self.fetching(name, began));
            }
        }
        for bought in self.desks.bought.all().into_iter().filter(|bought| bought.over.is_none() && !bought.is_here) {
            if bought.wrap.is_none() {
                done = done.and(self.desks.ask_again(&bought));
            } else if self.is_due(&bought.name()) {
                let began = self.desks.fetch_bought(&bought);
                done = done.and(self.fetching(bought.name(), began));
            }
        }
        done
    }

    fn fetching(&mut self, name: String, began: Answer<()>) -> Answer<()> {
        if began.is_ok() {
            self.fetching.insert(name, None);
        }
        began
    }

    /// Whether a download is neither under way nor failed a moment ago.
    fn is_due(&self, name: &str) -> bool {
        self.fetching.get(name).is_none_or(|until| until.is_some_and(|at| Instant::now() > at))
    }

    fn fetched(&mut self, name: &str, how: Result<(), Lost>) -> Answer<()> {
        match how {
            Ok(()) => {
                self.fetching.remove(name);
                match self.desks.bought.get(name) {
                    Some(bought) => self.desks.fetched_bought(&bought)?,
                    None => self.desks.kept_data(name)?,
                }
            }
            Err(Lost::TooLarge) => {
                self.fetching.remove(name);
                self.desks.too_large(name)?;
            }
            Err(Lost::Now(why)) => {
                lock(&self.desks.said).insert(name.to_owned(), (why, Instant::now()));
                self.fetching.insert(name.to_owned(), Some(Instant::now() + BLOCK_WAIT));
            }
        }
        Ok(())
    }
}

impl Desks {
    /// Takes up what an earlier start left.
    fn go_on(&self) {
        let undone =
            self.own.all().into_iter().filter(|own| own.keepers.as_ref().is_some_and(|handed| !handed.are_done()));
        lock(&self.handing).extend(undone.map(|own| (own.sealed.to_string(), Instant::now())));
        let wanted = self.kept.all().into_iter().filter(Kept::is_wanted);
        lock(&self.wanted).extend(wanted.map(|kept| kept.version.to_string()));
    }

    /// Reads, changes and writes a record.
    fn change<T>(&self, shelf: &Shelf<T>, name: &str, change: impl FnOnce(&mut T)) -> Answer<()>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        let _turn = lock(&self.changing);
        let gone = || no(RefusalCode::UnknownId, "the record of it is gone", "see `talkoo data ls`");
        let mut record = shelf.get(name).ok_or_else(gone)?;
        change(&mut record);
        shelf.put(name, &record).map_err(broken)
    }

    fn tell(&self, kind: &str, about: Value) {
        let mut event = about;
        event["type"] = json!(kind);
        (self.tell)(&event);
    }
}

/// Visibility of what is sealed, here and at whoever was granted it.
const SEALED: Visibility = Visibility::Private;
