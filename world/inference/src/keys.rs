//! Who asks: keys that the owner gives away, with budgets.
//!
//! Before there is a first key, everybody on this machine may ask for what costs nothing, as with other programs that run
//! models; the first key closes that door. Only the SHA-256 of a key is kept.

use crate::error::{Fault, Tongue, drain};
use crate::limits::{BODY_WAIT, KEYS_MAX};
use crate::{Shared, collect};
use axum::body::{Body, BodyDataStream};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use talkoo_api::Caller;
use talkoo_base::{Amount, Refusal, RefusalCode, sha256};
use tokio::time::timeout;

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
}

/// The name under which what is kept is somebody's.
pub(crate) fn name_of(who: &Who) -> String {
    match who {
        Who::Owner => "owner".to_owned(),
        Who::Anybody => "anybody".to_owned(),
        Who::Key(id) => id.clone(),
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
}

/// The keys of a node, in a file.
pub struct Keys {
    path: PathBuf,
    keys: Mutex<Vec<Key>>,
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
    pub fn open(path: &Path, is_local: bool) -> io::Result<Self> {
        let keys = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(why) if why.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(why) => return Err(why),
        };
        Ok(Self { path: path.to_owned(), keys: Mutex::new(keys), is_local })
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
        let mut keys = self.lock();
        let mut more = keys.clone();
        if more.len() >= KEYS_MAX {
            // The oldest that is good for nothing any more makes room.
            let Some(old) = more.iter().position(|key| !key.is_good()) else {
                let message = format!("there are {KEYS_MAX} keys");
                return Err(Refusal::new(RefusalCode::TooLarge, message, "talkoo key revoke"));
            };
            more.remove(old);
        }
        let secret = format!("{PREFIX}{}{}", collect::fresh(""), collect::fresh(""));
        let key = Key {
            id: collect::fresh("key_"),
            name: name.to_owned(),
            digest: digest(&secret),
            created: collect::unix(),
            expires,
            budget: budget.map(|amount| amount.0),
            spent: 0,
            revoked: false,
        };
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
        let mut keys = self.lock();
        let mut changed = keys.clone();
        let mut called = changed.iter_mut().filter(|key| !key.revoked && (key.id == id || key.name == id));
        let no = |code, message| Err(Refusal::new(code, message, "see `talkoo key ls`"));
        let Some(key) = called.next() else { return no(RefusalCode::UnknownId, format!("no key is called {id}")) };
        if called.next().is_some() {
            return no(RefusalCode::Malformed, format!("several keys are called {id}: say which by its id"));
        }
        key.revoked = true;
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

    /// Who asks with these headers.
    fn who(&self, caller: Caller, headers: &HeaderMap) -> Result<Who, Refusal> {
        if caller == Caller::Owner {
            return Ok(Who::Owner);
        }
        let given = given(headers);
        let keys = self.lock();
        let hint = "send a key of `talkoo key create`, or the content of api.token in the data folder";
        let no = |message: &str| Err(Refusal::new(RefusalCode::BadSignature, message, hint));
        let digest = given.map(digest);
        match keys.iter().find(|key| digest.as_ref() == Some(&key.digest)) {
            Some(key) if key.revoked => no("the key was revoked"),
            Some(key) if key.has_expired() => no("the key has expired"),
            Some(key) => Ok(Who::Key(key.id.clone())),
            None if given.is_some_and(|given| given.starts_with(PREFIX)) => no("there is no such key"),
            None if !self.is_local => no("no or wrong key"),
            // A revoked key does not open the door again.
            None if !keys.is_empty() => no("no or wrong key"),
            None => Ok(Who::Anybody),
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

/// What stands where OpenAI's and Anthropic's clients put their key.
fn given(headers: &HeaderMap) -> Option<&str> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let bearer = || {
        let (scheme, token) = text(header::AUTHORIZATION)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
    };
    bearer().or_else(|| text(HeaderName::from_static("x-api-key")))
}

/// Whether a page of another site asks: browsers then say which.
fn is_foreign(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_none_or(|(_, name)| name != host)
}

/// A body whose bytes have to go on coming: one that stalls would hold its place for ever.
fn in_time(body: Body) -> Body {
    let read = |mut stream: BodyDataStream| async move {
        let late = || axum::Error::new(format!("nothing came for {} s", BODY_WAIT.as_secs()));
        let next = timeout(BODY_WAIT, stream.next()).await.unwrap_or_else(|_| Some(Err(late())));
        next.map(|bytes| (bytes, stream))
    };
    Body::from_stream(futures::stream::unfold(body.into_data_stream(), read))
}

/// Finds out who asks, and gives every answer a name.
pub(crate) async fn guard(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    request = request.map(in_time);
    let route = request.extensions().get::<MatchedPath>().map_or_else(String::new, |path| path.as_str().to_owned());
    let tongue = Tongue::of(request.uri().path());
    let caller = request.extensions().get::<Caller>().copied().unwrap_or(Caller::Stranger);
    let who = match shared.keys.who(caller, request.headers()) {
        Ok(Who::Anybody) if is_foreign(request.headers()) => {
            let hint = "make a key, and let the page send it: `talkoo key create`";
            Err(Refusal::new(RefusalCode::Denied, "a page of another site asks", hint))
        }
        who => who,
    };
    let mut response = match who {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(refusal) => {
            drain(request).await;
            Fault::from(refusal).response(tongue)
        }
    };
    shared.meters.request(&route, response.status().as_u16(), begun.elapsed());
    let headers = response.headers_mut();
    let id = HeaderValue::from_str(&collect::fresh("req_")).expect("letters and digits");
    headers.insert("x-request-id", id);
    headers.insert("openai-processing-ms", HeaderValue::from(begun.elapsed().as_millis() as u64));
    response
}
