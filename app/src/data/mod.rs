//! Data that its owner can sell: sealed before it is stored, found by a public manifest, paid and granted on the chain, its key
//! wrapped for the buyer's node alone (docs/DATA.md).
//!
//! ```text
//! owner: add ─► publish ─► (Bought on the chain, Ask) ─► wrap, keep ─► deliver on the chain ─► Tell
//! buyer: buy ─► Ask, again and again ─► Tell ─► equals the chain's hash? opens? ─► fetch what is sealed ─► get
//! ```
//! A thread of its own asks and answers; calls of the API come on threads of theirs. Either side can be killed anywhere: files
//! in `<data-dir>/data` and the chain say where to go on.

mod audit;
mod buyer;
mod chain;
mod files;
mod find;
mod manifest;
mod object;
mod owner;
mod release;
mod talk;
mod wrap;

pub(crate) use owner::{Price, Said as Terms};
pub(crate) use talk::is_of_data;

use crate::ledger::Place;
use anyhow::Context as _;
use audit::Audit;
use chain::Desk;
use files::{Bought, Given, Keyring, Own, Shelf};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
/// How long an owner that said no is left alone.
const REFUSED_WAIT: Duration = Duration::from_secs(30);
/// Refusals of ours that are remembered.
const REFUSED_MAX: usize = 1_024;
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
    Fetched(String, Result<(), String>),
    /// There is something new.
    Look,
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
    bought: Shelf<Bought>,
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
            bought: Shelf::open(in_dir("bought"))?,
            audit: Audit::open(&in_dir("audit"))?,
            tell,
            to,
            changing: Mutex::default(),
            buying: Mutex::default(),
            said: Mutex::default(),
            refused: Mutex::default(),
        });
        let (stop, stopped) = sync_channel(1);
        let thread = Turns { desks: desks.clone(), inbox, stopped, fetching: BTreeMap::new(), trouble: None };
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
        for bought in self.desks.bought.all().into_iter().filter(|bought| bought.over.is_none() && !bought.is_here) {
            if bought.wrap.is_none() {
                self.desks.ask_again(&bought)?;
            } else if self.fetching.get(&bought.name()).is_none_or(|until| until.is_some_and(|at| Instant::now() > at))
            {
                self.fetching.insert(bought.name(), None);
                self.desks.fetch_sealed(&bought)?;
            }
        }
        Ok(())
    }

    fn fetched(&mut self, name: &str, how: Result<(), String>) -> Answer<()> {
        match how {
            Ok(()) => {
                self.fetching.remove(name);
                if let Some(bought) = self.desks.bought.get(name) {
                    let about = json!({"grant": bought.grant, "version": bought.version.to_string()});
                    self.desks.tell("data.here", about);
                }
            }
            Err(why) => {
                lock(&self.desks.said).insert(name.to_owned(), (why, Instant::now()));
                self.fetching.insert(name.to_owned(), Some(Instant::now() + BLOCK_WAIT));
            }
        }
        Ok(())
    }
}

impl Desks {
    /// Sends a message; who is not connected is looked for, and asked again later.
    fn post(&self, to: NodeId, said: &Said) {
        if self.net.send(to, said.to_bytes()).is_err() {
            self.net.meet(to);
        }
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

    /// Takes what a node said.
    fn heard(&self, from: NodeId, said: Said) -> Answer<()> {
        match said {
            Said::Ask { version, grant, delegation } => {
                let answer = match self.release(from, version, grant, &delegation) {
                    Ok(wrap) => Said::Tell { version, grant, wrap: wrap.into() },
                    Err(why) => {
                        self.note_refusal(from, version, grant, &why.message);
                        Said::Refuse { version, grant, reason: why.message }
                    }
                };
                self.post(from, &answer);
                Ok(())
            }
            Said::Tell { version, grant, wrap } => self.delivered(from, version, grant, &wrap),
            Said::Refuse { version, grant, reason } => {
                let name = format!("{version}-{grant}");
                let Some(bought) = self.bought.get(&name).filter(|bought| bought.wrap.is_none()) else { return Ok(()) };
                if !self.manifest_of_bought(&bought)?.nodes.contains(&from) {
                    return Ok(());
                }
                lock(&self.said).insert(name.clone(), (reason.clone(), Instant::now()));
                // What is paid may still come; what is not given is asked for again when somebody wants it.
                if grant == 0 { self.change(&self.bought, &name, |bought| bought.over = Some(reason)) } else { Ok(()) }
            }
        }
    }

    fn note_refusal(&self, node: NodeId, version: Digest, grant: u64, why: &str) {
        let mut refused = lock(&self.refused);
        if refused.len() >= REFUSED_MAX {
            return;
        }
        if refused.insert((node, version, grant, why.to_owned())) {
            let about = json!({"node": node.to_string(), "version": version.to_string(), "grant": grant, "why": why});
            self.audit.note("refused", about);
        }
    }

    /// The audit log: its last lines, or whether all of it is as it was written.
    pub(crate) fn audit(&self, verify: bool) -> Answer<Value> {
        if !verify {
            return Ok(json!({"lines": self.audit.last().map_err(broken)?}));
        }
        let checked = self.audit.verify().map_err(broken)?;
        match checked.broken {
            None => Ok(json!({"lines": checked.lines, "head": checked.head.to_string(), "whole": true})),
            Some(line) => {
                let hint = "somebody changed it: compare it with a copy";
                Err(no(RefusalCode::Malformed, format!("line {line} of the audit log is not what was written"), hint))
            }
        }
    }
}

/// 32 random bytes, or fewer.
fn random<const N: usize>() -> Answer<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|why| broken(format!("the system gives no random bytes: {why}")))?;
    Ok(bytes)
}

/// Visibility of what is sealed, here and at whoever was granted it.
const SEALED: Visibility = Visibility::Private;
