//! Webhooks: a node tells programs what became of the work that nobody waits for, as standardwebhooks.com (version 1.0.0) and
//! OpenAI's clients have it. What is told is an event's name and the id of its object; who wants more asks with a key.
//!
//! An event that has to be told is a file before the state it tells of is one; so it is told at least once, with the same
//! `webhook-id` each time.

mod deliver;
#[cfg(test)]
mod tests;

use crate::collect::{fresh, unix};
use crate::files::write;
use crate::kept::{OpenError, list};
use crate::limits::{HOOKS_MAX, PENDING_MAX, URL_BYTES_MAX};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use talkoo_base::{Refusal, RefusalCode, sha256};
use tokio::sync::Notify;

/// All events there are.
const EVENTS: &[&str] = &[
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    "response.completed",
    "response.failed",
    "response.cancelled",
    "response.incomplete",
];
/// What `test` tells.
const TEST: &str = "webhook.test";
/// Begins a secret, as the standard has it.
const SECRET_PREFIX: &str = "whsec_";

/// An address that wants to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Its name here.
    pub id: String,
    /// Where to.
    pub url: String,
    /// Which events; none: all.
    pub events: Vec<String>,
    /// Signs what is told.
    secret: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Events that it took.
    pub delivered: u64,
    /// Events that were given up.
    pub given_up: u64,
    /// Why the last attempt failed, if it did.
    pub trouble: Option<String>,
    /// Whether it said that it is gone (410): it is told nothing more.
    pub is_gone: bool,
}

impl Hook {
    fn wants(&self, kind: &str) -> bool {
        !self.is_gone && (self.events.is_empty() || self.events.iter().any(|event| event == kind))
    }
}

/// An event on its way to one address.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pending {
    /// The `webhook-id`.
    event: String,
    hook: String,
    body: String,
    /// Told once, and not again.
    is_test: bool,
    /// Attempts that failed.
    attempts: usize,
    /// When to try next, in seconds since 1970.
    due: u64,
}

impl Pending {
    fn name(&self) -> String {
        format!("{}-{}", self.event, self.hook)
    }

    fn is_about(&self, objects: &BTreeSet<String>) -> bool {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body["data"]["id"].as_str().is_some_and(|id| objects.contains(id))
    }
}

/// The webhooks of a node, in a folder.
pub struct Hooks {
    folder: PathBuf,
    hooks: Mutex<Vec<Hook>>,
    pending: Mutex<BTreeMap<String, Pending>>,
    wake: Notify,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panic left is whole: every change is one assignment.
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unkept(why: &io::Error) -> Refusal {
    Refusal::new(RefusalCode::Other, format!("webhooks can't be written ({why})"), "is the disk full?")
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(RefusalCode::UnknownId, format!("no webhook is called {id:?}"), "see `talkoo webhook ls`")
}

fn json_of<T: Serialize>(what: &T) -> Vec<u8> {
    serde_json::to_vec(what).expect("texts and numbers are JSON")
}

/// An http or https address without a name and password in it.
fn checked(url: &str) -> Result<String, Refusal> {
    let no = |why: &str| {
        let message = format!("the webhook's `url` {why}");
        Err(Refusal::new(RefusalCode::Malformed, message, "an example: https://example.org/talkoo"))
    };
    if url.len() > URL_BYTES_MAX {
        return no(&format!("has more than {URL_BYTES_MAX} bytes"));
    }
    let Ok(uri) = url.parse::<axum::http::Uri>() else { return no("is not an address") };
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(place)) if place.as_str().contains('@') => no("has a name or password in it"),
        (Some("http" | "https"), Some(place)) if !place.host().is_empty() => Ok(url.to_owned()),
        _ => no("is neither http nor https"),
    }
}

impl Hooks {
    /// Reads the folder; there need not be one.
    ///
    /// # Errors
    /// If it can't be made or read.
    pub fn open(folder: PathBuf) -> Result<Self, OpenError> {
        let queue = folder.join("queue");
        std::fs::create_dir_all(&queue).map_err(OpenError::disk(&queue))?;
        let hooks = list(&folder.join("webhooks.json"))?;
        let mut pending = BTreeMap::new();
        for path in
            std::fs::read_dir(&queue).map_err(OpenError::disk(&queue))?.filter_map(|entry| Some(entry.ok()?.path()))
        {
            // What a stop cut off is no event yet.
            match std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Pending>(&bytes).ok()) {
                Some(one) if path.extension().is_some_and(|e| e == "json") => {
                    pending.insert(one.name(), one);
                }
                _ => std::fs::remove_file(&path).map_err(OpenError::disk(&path))?,
            }
        }
        Ok(Self { folder, hooks: Mutex::new(hooks), pending: Mutex::new(pending), wake: Notify::new() })
    }

    fn save(&self, hooks: &[Hook]) -> io::Result<()> {
        write(&self.folder.join("webhooks.json"), &json_of(&hooks))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("queue").join(format!("{name}.json"))
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Hook> {
        lock(&self.hooks).clone()
    }

    /// Makes one, and tells its secret this once.
    ///
    /// # Errors
    /// If the address or an event is none, there are too many, or it can't be kept.
    pub fn create(&self, url: &str, events: Vec<String>) -> Result<(Hook, String), Refusal> {
        let url = checked(url)?;
        if let Some(event) = events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
            let message = format!("there is no event {event:?}");
            return Err(Refusal::new(RefusalCode::Malformed, message, format!("there are {}", EVENTS.join(", "))));
        }
        let mut hooks = lock(&self.hooks);
        if hooks.len() >= HOOKS_MAX {
            let message = format!("there are {HOOKS_MAX} webhooks");
            return Err(Refusal::new(RefusalCode::TooLarge, message, "talkoo webhook rm"));
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the system has random bytes");
        let secret = format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes));
        let hook = Hook {
            id: fresh("we_"),
            url,
            events,
            secret: secret.clone(),
            created: unix(),
            delivered: 0,
            given_up: 0,
            trouble: None,
            is_gone: false,
        };
        let mut more = hooks.clone();
        more.push(hook.clone());
        self.save(&more).map_err(|why| unkept(&why))?;
        *hooks = more;
        Ok((hook, secret))
    }

    /// Removes one, and what was on its way to it.
    ///
    /// # Errors
    /// If there is none, or that can't be kept.
    pub fn remove(&self, id: &str) -> Result<(), Refusal> {
        let mut hooks = lock(&self.hooks);
        let rest: Vec<Hook> = hooks.iter().filter(|hook| hook.id != id).cloned().collect();
        if rest.len() == hooks.len() {
            return Err(unknown(id));
        }
        self.save(&rest).map_err(|why| unkept(&why))?;
        *hooks = rest;
        drop(hooks);
        let of_it = |one: &&Pending| one.hook == id;
        let gone: Vec<String> = lock(&self.pending).values().filter(of_it).map(Pending::name).collect();
        gone.iter().for_each(|name| self.forget(name));
        Ok(())
    }

    /// Tells one address a test event, whatever it wants.
    ///
    /// # Errors
    /// If there is none, or the event can't be kept.
    pub fn test(&self, id: &str) -> Result<String, Refusal> {
        let hook = self.all().into_iter().find(|hook| hook.id == id).ok_or_else(|| unknown(id))?;
        let event = fresh("evt_");
        self.put(&hook, &event, TEST, id)?;
        Ok(event)
    }

    /// Notes that all who want it have to be told of an event.
    pub(crate) fn tell(&self, kind: &str, object: &str) {
        // The same event has the same id after a restart, so that who hears it twice knows.
        let event = format!("evt_{}", hex::encode(&sha256(&[kind.as_bytes(), &[0], object.as_bytes()]).0[..12]));
        for hook in self.all().iter().filter(|hook| hook.wants(kind)) {
            if let Err(why) = self.put(hook, &event, kind, object) {
                tracing::warn!(%why, hook = hook.id, kind, "a webhook's event is lost");
            }
        }
    }

    fn put(&self, hook: &Hook, event: &str, kind: &str, object: &str) -> Result<(), Refusal> {
        let body = json!({
            "id": event, "object": "event", "type": kind, "created_at": unix(), "data": {"id": object},
        });
        let one = Pending {
            event: event.to_owned(),
            hook: hook.id.clone(),
            body: body.to_string(),
            is_test: kind == TEST,
            attempts: 0,
            due: unix(),
        };
        let mut pending = lock(&self.pending);
        if pending.len() >= PENDING_MAX {
            let message = format!("{PENDING_MAX} events wait to be told");
            return Err(Refusal::new(RefusalCode::Busy, message, "see `talkoo webhook ls` for who does not answer"));
        }
        write(&self.path(&one.name()), &json_of(&one)).map_err(|why| unkept(&why))?;
        pending.insert(one.name(), one);
        drop(pending);
        self.wake.notify_one();
        Ok(())
    }

    /// How many events about these objects wait to be told, and their bytes.
    pub(crate) fn about(&self, objects: &BTreeSet<String>) -> (u64, u64) {
        let bytes: Vec<u64> =
            lock(&self.pending).values().filter(|one| one.is_about(objects)).map(|one| one.body.len() as u64).collect();
        (bytes.len() as u64, bytes.iter().sum())
    }

    /// Tells nobody any more of these objects.
    pub(crate) fn forget_about(&self, objects: &BTreeSet<String>) {
        let of_it = |one: &&Pending| one.is_about(objects);
        let gone: Vec<String> = lock(&self.pending).values().filter(of_it).map(Pending::name).collect();
        gone.iter().for_each(|name| self.forget(name));
    }

    /// An event is told, or given up.
    fn forget(&self, name: &str) {
        lock(&self.pending).remove(name);
        if let Err(why) = std::fs::remove_file(self.path(name)) {
            tracing::warn!(%why, name, "a told event can't be removed; it will be told again");
        }
    }

    /// As it is shown: never the secret.
    #[must_use]
    pub fn shown(&self, hook: &Hook) -> Value {
        let waiting = lock(&self.pending).values().filter(|one| one.hook == hook.id).count();
        json!({
            "id": hook.id, "url": hook.url, "events": hook.events, "created": hook.created, "waiting": waiting,
            "delivered": hook.delivered, "given_up": hook.given_up, "trouble": hook.trouble, "gone": hook.is_gone,
        })
    }
}
