//! The IPFS Pinning Service API, `/pins` (ipfs.github.io/pinning-services-api-spec, 1.0.0): others' tools let this node
//! keep what they name. Only for the owner.
//!
//! A pin is written before it is fetched, so it survives a restart; what was not whole then is fetched again.

mod filter;

use crate::body::blocking;
use crate::gateway::parse_cid;
use crate::keep;
use crate::limits::{BODY_BYTES_MAX, PINNING_AT_ONCE, PINS_LISTED_MAX};
use crate::rpc::is_whole;
use crate::source::{Store, broken};
use crate::time::{now_ms, rfc3339};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use filter::Filter;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_disk::blocks::Pin;
use tokio::sync::Semaphore;

/// Begin of the ids of these pins.
const PREFIX: &str = "service/";
/// Longest name of a pin, and most entries of its meta data (the specification's limits).
const NAME_CHARS_MAX: usize = 255;
const META_MAX: usize = 1000;
const LIMIT_DEFAULT: usize = 10;
/// Addresses of ours in an answer (the specification's limit).
const DELEGATES_MAX: usize = 20;
/// Key of the origins among the meta data.
const ORIGINS: &str = "talkoo/origins";

/// How far a pin is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Status {
    Queued,
    Pinning,
    Pinned,
    Failed(String),
}

impl Status {
    fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pinning => "pinning",
            Self::Pinned => "pinned",
            Self::Failed(_) => "failed",
        }
    }
}

/// The service.
#[derive(Clone)]
pub struct Pinning {
    store: Store,
    /// What is known of pins since the start; the rest is looked up.
    known: Arc<Mutex<BTreeMap<String, Status>>>,
    turns: Arc<Semaphore>,
}

struct No(StatusCode, &'static str, String);

impl From<Refusal> for No {
    fn from(no: Refusal) -> Self {
        match no.code {
            RefusalCode::Malformed => Self(StatusCode::BAD_REQUEST, "BAD_REQUEST", no.to_string()),
            RefusalCode::Busy => Self(StatusCode::SERVICE_UNAVAILABLE, "BUSY", no.to_string()),
            _ => Self(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_SERVER_ERROR", no.to_string()),
        }
    }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        (self.0, axum::Json(json!({"error": {"reason": self.1, "details": self.2}}))).into_response()
    }
}

fn bad(message: impl Into<String>) -> No {
    No(StatusCode::BAD_REQUEST, "BAD_REQUEST", message.into())
}

fn missing(id: &str) -> No {
    let id: String = id.chars().take(80).collect();
    No(StatusCode::NOT_FOUND, "NOT_FOUND", format!("there is no pin {id}: list them with GET /pins"))
}

impl Pinning {
    /// The service over a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, known: Arc::default(), turns: Arc::new(Semaphore::new(PINNING_AT_ONCE)) }
    }

    /// Goes on with what a stop interrupted. Must be called inside tokio.
    pub fn resume(&self) {
        let this = self.clone();
        tokio::spawn(async move {
            let found = this.clone();
            let pins = blocking(Caller::Owner, move || found.all()).await.unwrap_or_default();
            for pin in pins {
                this.start(pin);
            }
        });
    }

    /// The routes. Whoever puts them up says with an [`Extension`] who asks ([`Caller`]).
    pub fn router(self) -> Router {
        Router::new()
            .route("/pins", get(list).post(add))
            .route("/pins/{id}", get(show).post(replace).delete(remove))
            .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self)
    }

    fn all(&self) -> Result<Vec<Pin>, Refusal> {
        let mut pins = Vec::new();
        let mut after = PREFIX.to_owned();
        loop {
            let page = self.store.blocks.pin_list(Some(&after), PINS_LISTED_MAX).map_err(broken)?;
            let ours: Vec<Pin> = page.into_iter().take_while(|pin| pin.id.starts_with(PREFIX)).collect();
            let Some(last) = ours.last() else { return Ok(pins) };
            after.clone_from(&last.id);
            pins.extend(ours);
        }
    }

    /// A pin that is written down.
    fn kept(&self, id: &str) -> Result<Option<Pin>, Refusal> {
        let before = &id[..id.len() - 1];
        let page = self.store.blocks.pin_list(Some(before), PINS_LISTED_MAX).map_err(broken)?;
        Ok(page.into_iter().find(|pin| pin.id == id))
    }

    /// Tells how far a pin is, unless it was taken back meanwhile.
    fn tell(&self, id: &str, status: Status) {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get_mut(id) {
            *known = status;
        }
    }

    fn status(&self, id: &str) -> Status {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).cloned().unwrap_or(Status::Queued)
    }

    fn forget(&self, id: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Fetches what a pin names, when it is its turn.
    fn start(&self, pin: Pin) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(pin.id.clone(), Status::Queued);
        let this = self.clone();
        tokio::spawn(async move {
            let Ok(_turn) = this.turns.clone().acquire_owned().await else { return };
            let (work, id) = (this.clone(), pin.id.clone());
            let done = blocking(Caller::Owner, move || {
                // It may have been taken back while it waited.
                if work.kept(&pin.id)?.is_none() {
                    return Ok(None);
                }
                if !is_whole(&work.store, &pin.root)? {
                    work.tell(&pin.id, Status::Pinning);
                    for origin in origins(&pin) {
                        // A hint: the network is asked also when it leads nowhere.
                        work.store.network.connect(&origin).ok();
                    }
                    work.store.network.fetch(&pin.root)?;
                }
                Ok(Some(Status::Pinned))
            });
            match done.await {
                Ok(Some(status)) => this.tell(&id, status),
                Ok(None) => this.forget(&id),
                Err(why) => this.tell(&id, Status::Failed(why.to_string())),
            }
        });
    }

    fn told(&self, pin: &Pin) -> Value {
        let id = &pin.id[PREFIX.len()..];
        let status = self.status(&pin.id);
        let meta: BTreeMap<_, _> = pin.meta.iter().filter(|(key, _)| *key != ORIGINS).collect();
        let mut said = json!({"cid": pin.root.to_string(), "origins": origins(pin), "meta": meta});
        if !pin.name.is_empty() {
            said["name"] = pin.name.clone().into();
        }
        let info = match &status {
            Status::Failed(why) => json!({"status_details": why}),
            _ => json!({}),
        };
        let mut delegates = self.store.network.identity().addrs;
        delegates.truncate(DELEGATES_MAX);
        json!({"requestid": id, "status": status.name(), "created": rfc3339(created(pin)), "pin": said,
               "delegates": delegates, "info": info})
    }
}

fn owner(caller: Option<Extension<Caller>>) -> Result<(), No> {
    if caller.is_some_and(|Extension(caller)| caller == Caller::Owner) {
        return Ok(());
    }
    let details = "send `Authorization: Bearer` with the content of api.token in the data folder";
    Err(No(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", details.into()))
}

/// Reads the `Pin` object of a request.
fn pin_of(body: &[u8]) -> Result<Pin, No> {
    let value: Value = serde_json::from_slice(body).map_err(|why| bad(format!("the body is not JSON: {why}")))?;
    let fields = value.as_object().ok_or_else(|| bad("the body is not an object"))?;
    let cid = fields.get("cid").and_then(Value::as_str).ok_or_else(|| bad("`cid` is missing"))?;
    let cid = parse_cid(cid).ok_or_else(|| bad("`cid` is not a CID"))?;
    let name = match fields.get("name") {
        None => "",
        Some(name) => name.as_str().ok_or_else(|| bad("`name` is not a string"))?,
    };
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(bad(format!("`name` has more than {NAME_CHARS_MAX} characters")));
    }
    let texts = |value: &Value| value.as_str().map(str::to_owned);
    let origins: Vec<String> = match fields.get("origins") {
        None => Vec::new(),
        Some(Value::Array(list)) if list.len() <= 20 => {
            list.iter().map(texts).collect::<Option<_>>().ok_or_else(|| bad("`origins` are strings"))?
        }
        Some(_) => return Err(bad("`origins` is a list of at most 20 multiaddresses")),
    };
    if origins.iter().collect::<BTreeSet<_>>().len() < origins.len() {
        return Err(bad("an origin comes twice"));
    }
    let meta = match fields.get("meta") {
        None => BTreeMap::new(),
        Some(Value::Object(meta)) if meta.len() <= META_MAX => {
            strings(meta).ok_or_else(|| bad("`meta` holds strings"))?
        }
        Some(_) => return Err(bad(format!("`meta` is an object of at most {META_MAX} strings"))),
    };
    let mut pin = keep::pin(String::new(), cid, "pinning service");
    name.clone_into(&mut pin.name);
    pin.meta = meta;
    if !origins.is_empty() {
        pin.meta.insert(ORIGINS.to_owned(), json!(origins).to_string());
    }
    Ok(pin)
}

/// Where the maker of a pin says that it is.
fn origins(pin: &Pin) -> Vec<String> {
    pin.meta.get(ORIGINS).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn strings(map: &Map<String, Value>) -> Option<BTreeMap<String, String>> {
    map.iter().map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// A new id: when it was made, to a millisecond of its own, for lists go on where a time ended, and what it pins.
fn new_id(pin: &Pin) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = now_ms();
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)));
    let at = now.max(last.unwrap_or_default() + 1);
    let digest = talkoo_base::sha256(&[&pin.root.to_bytes(), &at.to_be_bytes()]);
    format!("{PREFIX}{at:012x}-{}", &digest.to_string()[..24])
}

/// When a pin was made, in milliseconds since 1970.
fn created(pin: &Pin) -> u64 {
    let digits = pin.id.get(PREFIX.len()..PREFIX.len() + 12).unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or(pin.created * 1_000)
}

/// The id as it is kept; what cannot be one is none.
fn kept(id: &str) -> Result<String, No> {
    let is_one = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_one { Ok(format!("{PREFIX}{id}")) } else { Err(missing(id)) }
}

async fn add(
    State(this): State<Pinning>,
    caller: Option<Extension<Caller>>,
    body: Bytes,
) -> Result<(StatusCode, axum::Json<Value>), No> {
    owner(caller)?;
    let mut pin = pin_of(&body)?;
    pin.id = new_id(&pin);
    Ok((StatusCode::ACCEPTED, axum::Json(this.keep(pin, None).await?)))
}

async fn replace(
    State(this): State<Pinning>,
    caller: Option<Extension<Caller>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, axum::Json<Value>), No> {
    owner(caller)?;
    let (old, mut pin) = (kept(&id)?, pin_of(&body)?);
    pin.id = new_id(&pin);
    this.find(&old).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(this.keep(pin, Some(old)).await?)))
}

async fn show(
    State(this): State<Pinning>,
    caller: Option<Extension<Caller>>,
    Path(id): Path<String>,
) -> Result<axum::Json<Value>, No> {
    owner(caller)?;
    let pin = this.find(&kept(&id)?).await?;
    Ok(axum::Json(blocking(Caller::Owner, move || Ok(this.told(&pin))).await?))
}

async fn remove(
    State(this): State<Pinning>,
    caller: Option<Extension<Caller>>,
    Path(id): Path<String>,
) -> Result<StatusCode, No> {
    owner(caller)?;
    let id = kept(&id)?;
    this.find(&id).await?;
    this.forget(&id);
    blocking(Caller::Owner, move || this.store.blocks.pin_remove(&id).map_err(broken)).await?;
    Ok(StatusCode::ACCEPTED)
}

impl Pinning {
    async fn find(&self, id: &str) -> Result<Pin, No> {
        let (this, key) = (self.clone(), id.to_owned());
        let found = blocking(Caller::Owner, move || this.kept(&key)).await?;
        found.ok_or_else(|| missing(&id[PREFIX.len()..]))
    }

    /// Writes a pin, begins to fetch it, and lets go of the one that it replaces.
    async fn keep(&self, pin: Pin, instead_of: Option<String>) -> Result<Value, No> {
        let (this, new) = (self.clone(), pin.clone());
        blocking(Caller::Owner, move || {
            this.store.allow(&new.root, "")?;
            this.store.blocks.pin_add(&new).map_err(broken)
        })
        .await?;
        self.start(pin.clone());
        if let Some(old) = instead_of {
            let this = self.clone();
            self.forget(&old);
            blocking(Caller::Owner, move || this.store.blocks.pin_remove(&old).map_err(broken)).await?;
        }
        let this = self.clone();
        Ok(blocking(Caller::Owner, move || Ok(this.told(&pin))).await?)
    }
}

async fn list(
    State(this): State<Pinning>,
    caller: Option<Extension<Caller>>,
    RawQuery(query): RawQuery,
) -> Result<axum::Json<Value>, No> {
    owner(caller)?;
    let filter = Filter::parse(&query.unwrap_or_default())?;
    let said = blocking(Caller::Owner, move || {
        let mut pins = this.all()?;
        pins.retain(|pin| filter.takes(pin, &this.status(&pin.id)));
        // The newest first.
        pins.sort_by(|a, b| b.id.cmp(&a.id));
        let results: Vec<Value> = pins.iter().take(filter.limit).map(|pin| this.told(pin)).collect();
        Ok(json!({"count": pins.len(), "results": results}))
    });
    Ok(axum::Json(said.await?))
}

#[cfg(test)]
mod tests;
