//! The protocol of the Hugging Face hub, `/hf`: with `HF_ENDPOINT` set to it, `huggingface_hub`, `transformers` and
//! `datasets` treat the network as a hub. A repository is a name for folders in the store; `ipfs/<cid>` is any folder
//! of the network, `talkoo/<name>` a model of the node.
//!
//! Public repositories are read by anybody who reaches the API, private ones and all writing need its token
//! (`HF_TOKEN`). Absent: pull requests, branches besides `main`, discussions, spaces that run, git itself.

mod read;
mod repo;
mod tree;
mod write;

use crate::body::blocking;
use crate::limits::BODY_BYTES_MAX;
use crate::source::Store;
use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use repo::{Id, Kind, Shelf};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};

/// A model of the node, offered as the repository `talkoo/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// What its file is called.
    pub file: String,
    /// The file.
    pub cid: Cid,
}

/// The models that the node has now.
pub type Models = Arc<dyn Fn() -> Vec<Model> + Send + Sync>;

/// The hub of a node.
#[derive(Clone)]
pub struct Hub {
    store: Store,
    shelf: Shelf,
    models: Models,
    /// Uploads have addresses that only we can have made; this makes them.
    secret: Arc<[u8; 32]>,
}

/// A request to the hub, with its path in parts.
struct Asked {
    method: Method,
    parts: Vec<String>,
    query: Vec<(String, String)>,
    caller: Caller,
    /// Where clients reach us, as they say it.
    base: String,
}

/// What is wrong, in the hub's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    NoRepo,
    NoRevision,
    NoEntry,
    Exists,
    NeedsToken,
    Other,
}

/// A refusal with the hub's own code.
struct No {
    wrong: Wrong,
    why: Refusal,
}

impl From<Refusal> for No {
    fn from(why: Refusal) -> Self {
        Self { wrong: Wrong::Other, why }
    }
}

fn no(wrong: Wrong, message: impl Into<String>, hint: &str) -> No {
    No { wrong, why: Refusal::new(RefusalCode::UnknownId, message, hint) }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let (status, code) = match self.wrong {
            Wrong::NoRepo => (StatusCode::NOT_FOUND, "RepoNotFound"),
            Wrong::NoRevision => (StatusCode::NOT_FOUND, "RevisionNotFound"),
            Wrong::NoEntry => (StatusCode::NOT_FOUND, "EntryNotFound"),
            Wrong::Exists => (StatusCode::CONFLICT, ""),
            Wrong::NeedsToken => (StatusCode::UNAUTHORIZED, ""),
            Wrong::Other => (crate::gateway::status(self.why.code), ""),
        };
        let mut response = (status, axum::Json(json!({"error": self.why.to_string()}))).into_response();
        let headers = response.headers_mut();
        let said: String = self.why.to_string().chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).collect();
        if let Ok(said) = HeaderValue::from_str(&said) {
            headers.insert("x-error-message", said);
        }
        if !code.is_empty() {
            headers.insert("x-error-code", HeaderValue::from_static(code));
        }
        response
    }
}

impl Hub {
    /// The hub whose repositories lie in `folder`.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(store: Store, models: Models, folder: PathBuf, secret: [u8; 32]) -> Result<Self, Refusal> {
        Ok(Self { store, shelf: Shelf::open(folder)?, models, secret: Arc::new(secret) })
    }

    /// The routes below `/hf`. Whoever puts them up says with an [`Extension`] who asks ([`Caller`]).
    pub fn router(self) -> Router {
        Router::new().route("/hf/{*path}", axum::routing::any(handle)).with_state(self)
    }
}

async fn handle(State(hub): State<Hub>, caller: Option<Extension<Caller>>, request: Request) -> Response {
    let caller = caller.map_or(Caller::Stranger, |Extension(caller)| caller);
    answer(hub, caller, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(hub: Hub, caller: Caller, request: Request) -> Result<Response, No> {
    let (head, body) = request.into_parts();
    let decode = |part: &str| {
        let text = percent_decode_str(part).decode_utf8();
        text.map(std::borrow::Cow::into_owned)
            .map_err(|_| Refusal::new(RefusalCode::Malformed, "the path is not UTF-8", "encode it in UTF-8"))
    };
    let path = head.uri.path().strip_prefix("/hf/").unwrap_or_default();
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect::<Result<_, _>>()?;
    let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1");
    let base = format!("http://{host}/hf");
    let query = crate::gateway::form_pairs(head.uri.query().unwrap_or_default())?;
    let asked = Asked { method: head.method.clone(), parts, query, caller, base };
    let words: Vec<&str> = asked.parts.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["api", "whoami-v2"] => {
            asked.owner()?;
            Ok(json_of(
                &json!({"type": "user", "id": "me", "name": "me", "fullname": "the owner of this node", "orgs": [],
                            "auth": {"accessToken": {"displayName": "api.token", "role": "write"}}}),
            ))
        }
        ["api", "validate-yaml"] => Ok(json_of(&json!({"errors": [], "warnings": []}))),
        ["api", "repos", what @ ("create" | "delete")] => {
            asked.owner()?;
            let (what, body) = ((*what).to_owned(), whole(body, BODY_BYTES_MAX).await?);
            Ok(blocking_no(asked.caller, move || write::repository(&hub, &asked, &what, &body)).await?)
        }
        ["api", kind] if Kind::parse(kind).is_some() => {
            let kind = Kind::parse(kind).expect("just parsed");
            Ok(blocking_no(asked.caller, move || read::list(&hub, &asked, kind)).await?)
        }
        ["api", kind, rest @ ..] if Kind::parse(kind).is_some() => {
            let (id, verb) = of_api(Kind::parse(kind).expect("just parsed"), rest)?;
            let verb: Vec<String> = verb.iter().map(|part| (*part).to_owned()).collect();
            api(hub, asked, id, verb, body).await
        }
        ["lfs", capability, sha256] => write::put(&hub, &asked, capability, sha256, body).await,
        rest => file(hub, &asked, rest, head.headers.get("range"), body).await,
    }
}

impl Asked {
    fn owner(&self) -> Result<(), No> {
        if self.caller == Caller::Owner {
            return Ok(());
        }
        Err(no(Wrong::NeedsToken, "this needs the node's token", "set HF_TOKEN to the content of api.token"))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn json_of(value: &Value) -> Response {
    axum::Json(value).into_response()
}

/// Runs work that refuses in the hub's words.
async fn blocking_no<T: Send + 'static>(
    caller: Caller,
    work: impl FnOnce() -> Result<T, No> + Send + 'static,
) -> Result<T, No> {
    blocking(caller, move || Ok(work())).await?
}

async fn whole(body: Body, bytes_max: usize) -> Result<bytes::Bytes, Refusal> {
    let read = axum::body::to_bytes(body, bytes_max).await;
    read.map_err(|why| {
        Refusal::new(RefusalCode::TooLarge, format!("the body cannot be taken: {why}"), "send less at once")
    })
}

/// Words that follow a repository's name in a path of the API.
const VERBS: &[&str] = &[
    "revision",
    "tree",
    "paths-info",
    "preupload",
    "commit",
    "commits",
    "refs",
    "tag",
    "branch",
    "settings",
    "lfs-files",
    "auth-check",
    "treesize",
];

fn of_api<'a>(kind: Kind, rest: &'a [&'a str]) -> Result<(Id, &'a [&'a str]), No> {
    let parts = if rest.len() > 1 && !VERBS.contains(&rest[1]) { 2 } else { 1 };
    let (name, verb) = rest.split_at(parts.min(rest.len()));
    Ok((Id::new(kind, &name.join("/"))?, verb))
}

async fn api(hub: Hub, asked: Asked, id: Id, verb: Vec<String>, body: Body) -> Result<Response, No> {
    let words: Vec<&str> = verb.iter().map(String::as_str).collect();
    let is_get = asked.method == Method::GET || asked.method == Method::HEAD;
    match words.as_slice() {
        _ if is_get => Ok(blocking_no(asked.caller, move || read::api(&hub, &asked, &id, &verb)).await?),
        // Strangers may ask this, too.
        ["paths-info", _] => {
            let body = whole(body, BODY_BYTES_MAX).await?;
            Ok(blocking_no(asked.caller, move || read::paths_info(&hub, &asked, &id, &verb[1], &body)).await?)
        }
        _ => {
            asked.owner()?;
            let body = whole(body, write::COMMIT_BYTES_MAX).await?;
            Ok(blocking_no(asked.caller, move || write::api(&hub, &asked, &id, &verb, &body)).await?)
        }
    }
}

/// `[datasets/]<name>/resolve/<revision>/<path>`, and uploads of large files.
async fn file(
    hub: Hub,
    asked: &Asked,
    words: &[&str],
    range: Option<&HeaderValue>,
    body: Body,
) -> Result<Response, No> {
    let (kind, words) = match words {
        ["datasets", rest @ ..] => (Kind::Dataset, rest),
        ["spaces", rest @ ..] => (Kind::Space, rest),
        rest => (Kind::Model, rest),
    };
    if let [name @ .., "info", "lfs", "objects", "batch"] = words {
        asked.owner()?;
        let name = name.join("/");
        let id = Id::new(kind, name.strip_suffix(".git").unwrap_or(&name))?;
        return write::batch(&hub, asked, &id, &whole(body, BODY_BYTES_MAX).await?);
    }
    let at = words.iter().position(|word| matches!(*word, "resolve" | "raw")).filter(|at| (1..=2).contains(at));
    let Some((at, [revision, path @ ..])) = at.map(|at| (at, &words[at + 1..])) else {
        return Err(no(Wrong::NoEntry, "there is nothing at this path", "docs/STORAGE.md says what the hub serves"));
    };
    let id = Id::new(kind, &words[..at].join("/"))?;
    let range = range.and_then(|range| range.to_str().ok());
    read::resolve(&hub, asked, &id, revision, path, range).await
}

#[cfg(test)]
mod tests;
