//! Who asks: keys that the owner gives away, with budgets.
//!
//! Before there is a first key, everybody on this machine may ask for what costs nothing, as with other programs that run
//! models; the first key closes that door. Only the SHA-256 of a key is kept. What a key may do is its scopes, how often its
//! rate, what it may pay its policy.

mod audit;
mod guard;
mod pay;
mod policy;
mod rate;
#[cfg(test)]
mod tests;

pub use audit::LINES_MAX as AUDIT_LINES_MAX;
pub(crate) use guard::guard;
pub use guard::{Admitted, in_time};
pub use pay::{Approval, Decision};
pub use policy::{Asset, Paid, Payment, Policy};
pub(crate) use rate::Rates;
pub use rate::Standing;

use crate::collect;
use crate::kept::{OpenError, list};
use crate::limits::KEYS_MAX;
use audit::Audit;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use talkoo_base::{Address, Amount, Refusal, RefusalCode, sha256};

/// A key begins so.
const PREFIX: &str = "sk-talkoo-";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// The owner, by the API's token.
    Owner,
    /// Who has this key.
    Key(String),
    /// Somebody on this machine, while there are no keys.
    Anybody,
    /// Who has no key and paid for this one answer (x402).
    Payer(Address),
}

/// What a key may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Answers, vectors, models.
    Inference,
    /// Files and batches.
    Batch,
    /// Sealed data: to find and to read it.
    Data,
    /// The wallet: to see it, and to pay what the key's policy allows.
    Wallet,
    /// The Model Context Protocol; each tool wants a scope of its own besides.
    Mcp,
}

impl Scope {
    /// All.
    pub const ALL: [Self; 5] = [Self::Inference, Self::Batch, Self::Data, Self::Wallet, Self::Mcp];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Batch => "batch",
            Self::Data => "data",
            Self::Wallet => "wallet",
            Self::Mcp => "mcp",
        }
    }

    /// The scope of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == word)
    }

    /// Of keys whose owner names none, and of those that were made before there were scopes.
    fn of_old() -> BTreeSet<Self> {
        BTreeSet::from([Self::Inference, Self::Batch])
    }
}

/// The name under which what is kept is somebody's.
pub(crate) fn name_of(who: &Who) -> String {
    match who {
        Who::Owner => "owner".to_owned(),
        Who::Anybody => "anybody".to_owned(),
        Who::Key(id) => id.clone(),
        Who::Payer(address) => format!("payer {address}"),
    }
}

/// A key that the owner gave away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its name here.
    pub id: String,
    /// What the owner calls it.
    pub name: String,
    /// SHA-256 of the key, as hex.
    pub digest: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it ends, if it does.
    pub expires: Option<u64>,
    /// What may be spent with it, in micro-units; nothing: as much as there is.
    pub budget: Option<u128>,
    /// What was spent.
    pub spent: u128,
    /// Whether it was taken back.
    pub revoked: bool,
    /// What it may be used for.
    #[serde(default = "Scope::of_old")]
    pub scopes: BTreeSet<Scope>,
    /// Requests per minute; nothing: any number.
    #[serde(default)]
    pub rate: Option<u32>,
    /// What it may pay; nothing: no payment.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// What it paid within 24 hours.
    #[serde(default)]
    pub payments: Vec<Paid>,
    /// What waits for the owner.
    #[serde(default)]
    pub approvals: Vec<Approval>,
}

/// The keys of a node, in a file.
pub struct Keys {
    path: PathBuf,
    keys: Mutex<Vec<Key>>,
    rates: Mutex<Rates>,
    audit: Audit,
    /// Whether the port is this machine's only.
    is_local: bool,
}

impl Key {
    fn has_expired(&self) -> bool {
        self.expires.is_some_and(|end| end <= collect::unix())
    }

    fn is_good(&self) -> bool {
        !self.revoked && !self.has_expired()
    }
}

impl Keys {
    /// Reads the file; there need not be one.
    ///
    /// # Errors
    /// If it is there and can't be read.
    pub fn open(path: &Path, is_local: bool) -> Result<Self, OpenError> {
        let keys = list(path)?;
        let (rates, audit) = (Mutex::default(), Audit::beside(path));
        Ok(Self { path: path.to_owned(), keys: Mutex::new(keys), rates, audit, is_local })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Key>> {
        // What a panic left is whole: every change is one assignment.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self, keys: &[Key]) -> io::Result<()> {
        crate::files::write(&self.path, &serde_json::to_vec_pretty(keys).map_err(io::Error::other)?)
    }

    /// Makes a key, and tells it this once.
    ///
    /// # Errors
    /// If there are too many, or it can't be kept.
    pub fn create(&self, name: &str, budget: Option<Amount>, expires: Option<u64>) -> Result<(Key, String), Refusal> {
        self.create_with(name, budget, expires, |_| Ok(()))
    }

    /// The same, with what else is to be said of it.
    ///
    /// # Errors
    /// As [`Keys::create`], and what `change` says; then no key is made.
    pub fn create_with(
        &self,
        name: &str,
        budget: Option<Amount>,
        expires: Option<u64>,
        change: impl FnOnce(&mut Key) -> Result<(), Refusal>,
    ) -> Result<(Key, String), Refusal> {
        let mut keys = self.lock();
        let mut more = keys.clone();
        if more.len() >= KEYS_MAX {
            // The oldest that is good for nothing any more makes room.
            let Some(old) = more.iter().position(|key| !key.is_good()) else {
                let message = format!("there are {KEYS_MAX} keys");
                return Err(Refusal::new(RefusalCode::TooLarge, message, "talkoo key revoke"));
            };
            let gone = more.remove(old);
            self.rates.lock().unwrap_or_else(PoisonError::into_inner).forget(&gone.id);
        }
        let secret = format!("{PREFIX}{}{}", collect::fresh(""), collect::fresh(""));
        let mut key = Key {
            id: collect::fresh("key_"),
            name: name.to_owned(),
            digest: digest(&secret),
            created: collect::unix(),
            expires,
            budget: budget.map(|amount| amount.0),
            spent: 0,
            revoked: false,
            scopes: Scope::of_old(),
            rate: None,
            policy: None,
            payments: Vec::new(),
            approvals: Vec::new(),
        };
        change(&mut key)?;
        more.push(key.clone());
        self.save(&more).map_err(|why| unkept(&why))?;
        *keys = more;
        Ok((key, secret))
    }

    /// All keys, in the order of their making.
    #[must_use]
    pub fn all(&self) -> Vec<Key> {
        self.lock().clone()
    }

    /// Takes a key back, by its id or name.
    ///
    /// # Errors
    /// If there is none, or several of that name, or it can't be kept.
    pub fn revoke(&self, id: &str) -> Result<Key, Refusal> {
        self.change(id, |key| {
            key.revoked = true;
            Ok(())
        })
    }

    /// Changes a key that was not taken back, by its id or name.
    ///
    /// # Errors
    /// If there is none, or several of that name, or it can't be kept; and what `change` says, which then changes nothing.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut Key) -> Result<(), Refusal>) -> Result<Key, Refusal> {
        let mut keys = self.lock();
        let mut changed = keys.clone();
        let mut called = changed.iter_mut().filter(|key| !key.revoked && (key.id == id || key.name == id));
        let no = |code, message| Err(Refusal::new(code, message, "see `talkoo key ls`"));
        let Some(key) = called.next() else {
            return match keys.iter().any(|key| key.id == id || key.name == id) {
                true => no(RefusalCode::Over, format!("the key {id} was revoked already")),
                false => no(RefusalCode::UnknownId, format!("no key is called {id}")),
            };
        };
        if called.next().is_some() {
            return no(RefusalCode::Malformed, format!("several keys are called {id}: say which by its id"));
        }
        change(key)?;
        let key = key.clone();
        self.save(&changed).map_err(|why| unkept(&why))?;
        *keys = changed;
        Ok(key)
    }

    /// Whether who asked a while ago still may.
    pub(crate) fn may(&self, who: &Who) -> bool {
        let keys = self.lock();
        match who {
            Who::Owner => true,
            Who::Anybody => keys.is_empty(),
            Who::Key(id) => keys.iter().any(|key| key.id == *id && key.is_good()),
            Who::Payer(_) => false,
        }
    }

    /// Whether somebody may begin to spend.
    ///
    /// # Errors
    /// Why not.
    pub fn may_spend(&self, who: &Who) -> Result<(), Refusal> {
        match who {
            Who::Owner => Ok(()),
            Who::Anybody => {
                let message = "what costs money needs a key or the API's token";
                Err(Refusal::new(RefusalCode::InsufficientFunds, message, "talkoo key create --budget 5"))
            }
            Who::Payer(_) => {
                let message = "who pays by x402 is answered by this node's own models";
                Err(Refusal::new(RefusalCode::Denied, message, "leave `provider` and `service_tier` out"))
            }
            Who::Key(id) => match self.lock().iter().find(|key| key.id == *id) {
                Some(key) if key.budget.is_none_or(|budget| key.spent < budget) => Ok(()),
                _ => Err(spent_out()),
            },
        }
    }

    /// Notes what was spent, for all that asks with the same key meanwhile. What is not yet written is lost with a crash.
    ///
    /// # Errors
    /// If it is more than the budget, or the key was taken back: what is under way has to end.
    pub fn spent(&self, who: &Who, amount: Amount) -> Result<(), Refusal> {
        let Who::Key(id) = who else { return Ok(()) };
        let mut keys = self.lock();
        let Some(key) = keys.iter_mut().find(|key| key.id == *id) else { return Err(spent_out()) };
        key.spent = key.spent.saturating_add(amount.0);
        let may_go_on = !key.revoked && key.budget.is_none_or(|budget| key.spent <= budget);
        if may_go_on { Ok(()) } else { Err(spent_out()) }
    }

    /// Writes what was spent.
    pub fn keep(&self) {
        if let Err(why) = self.save(&self.lock()) {
            tracing::warn!(%why, "what keys spent could not be written");
        }
    }
}

fn spent_out() -> Refusal {
    let message = "the key's budget is spent, or it was taken back";
    Refusal::new(RefusalCode::InsufficientFunds, message, "ask the node's owner for more")
}

fn digest(secret: &str) -> String {
    sha256(&[secret.as_bytes()]).to_string()
}

fn unkept(why: &io::Error) -> Refusal {
    Refusal::new(RefusalCode::Other, format!("the keys can't be written ({why})"), "is the disk full?")
}
