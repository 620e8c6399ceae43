//! A request from its arrival to its answer: read, checked against the description, passed to the node's loop.

use crate::check;
use crate::document::{Asks, asks, openapi};
use crate::feed::{TYPES, Wish, event_id};
use crate::limits::ANSWER_MS_MAX;
use crate::problem::{ERRORS, codes, problem, status};
use crate::repeats::{Answer, NotNow, Seen, Turn, key_of};
use crate::routes::{Repeat, Route, Verb};
use crate::{Call, Shared};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use futures::StreamExt;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use talkoo_base::{Digest, Refusal, RefusalCode, sha256};
use tokio::sync::oneshot;

type ReadPath = Result<Path<BTreeMap<String, String>>, PathRejection>;
type ReadQuery = Result<Query<Vec<(String, String)>>, QueryRejection>;
type ReadBody = Result<Bytes, BytesRejection>;

/// What a request says, before anybody believes it.
struct Said {
    path: ReadPath,
    query: ReadQuery,
    headers: HeaderMap,
    body: ReadBody,
}

/// A "no" and its status.
type No = (StatusCode, Refusal);

/// What answers a route of the node.
pub(crate) fn method(route: &'static Route) -> MethodRouter<Shared> {
    let asks = Arc::new(asks(route));
    let handle = move |State(shared): State<Shared>, path: ReadPath, query: ReadQuery, headers: HeaderMap, body| {
        let (asks, said) = (asks.clone(), Said { path, query, headers, body });
        async move { call(route, &asks, &shared, said).await.unwrap_or_else(|(status, no)| problem(status, &no)) }
    };
    match route.verb {
        Verb::Get => get(handle),
        Verb::Post => post(handle),
        Verb::Delete => delete(handle),
    }
}

/// The routes that need no node: the events, the description, what errors mean.
pub(crate) fn described(router: Router<Shared>) -> Router<Shared> {
    let plain = |text: fn() -> String| {
        get(move |query: ReadQuery, headers: HeaderMap| async move {
            match read_query(query).and_then(bare) {
                Ok(()) => told(&headers, text()),
                Err((status, no)) => problem(status, &no),
            }
        })
    };
    router
        .route("/api/v1/events", get(events))
        .route("/api/v1/openapi.json", plain(openapi))
        .route(ERRORS, plain(|| codes().to_string()))
}

fn bare(pairs: Vec<(String, String)>) -> Result<(), No> {
    let asks = Asks { body: Value::Null, query: Map::new() };
    check::query(&asks, pairs).map(drop).map_err(unfit)
}

fn unfit(no: Refusal) -> No {
    (StatusCode::BAD_REQUEST, no)
}

fn malformed(message: &str, detail: &impl std::fmt::Display, hint: &str) -> No {
    unfit(Refusal::new(RefusalCode::Malformed, format!("{message} ({detail})"), hint))
}

pub(crate) fn too_large(bytes_max: usize) -> Refusal {
    let hint = "split the batch into several files";
    let message = format!("the body has more than {bytes_max} bytes");
    Refusal::new(RefusalCode::TooLarge, message, hint)
}

fn read_query(query: ReadQuery) -> Result<Vec<(String, String)>, No> {
    let said = query.map_err(|e| malformed("the query cannot be read", &e.body_text(), "write it as name=value&…"))?;
    Ok(said.0)
}

/// A body is JSON, or says nothing of what it is, or has the type that curl's `-d` gives it. No web page gets this far with
/// any of them: it cannot send the token without asking first.
fn is_json(headers: &HeaderMap) -> Result<(), No> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let text = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = text.split(';').next().unwrap_or_default().trim();
    if ["", "application/json", "application/x-www-form-urlencoded"].contains(&kind) {
        return Ok(());
    }
    let why = format!("the body is {kind}, not application/json");
    let no = Refusal::new(RefusalCode::Malformed, why, "send JSON with `Content-Type: application/json`");
    Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, no))
}

/// Path, query and body of a request as one object.
fn arguments(asks: &Asks, said: Said, body_bytes_max: usize) -> Result<Map<String, Value>, No> {
    let Path(path) =
        said.path.map_err(|e| malformed("the path cannot be read", &e.body_text(), "write it in UTF-8"))?;
    let query = check::query(asks, read_query(said.query)?).map_err(unfit)?;
    let bytes = said.body.map_err(|e| match e.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => (status, too_large(body_bytes_max)),
        _ => malformed("the body could not be read", &e.body_text(), "send it whole"),
    })?;
    let body = if bytes.is_empty() {
        json!({})
    } else {
        is_json(&said.headers)?;
        serde_json::from_slice(&bytes).map_err(|e| malformed("the body is not a JSON object", &e, "see docs/API.md"))?
    };
    if !body.is_object() {
        return Err(malformed("the body is not a JSON object", &"it is another value", "see docs/API.md"));
    }
    check::body(asks, &body, &path).map_err(unfit)?;
    let Value::Object(mut args) = body else { unreachable!("it is an object") };
    args.extend(query);
    args.extend(path.into_iter().map(|(name, text)| (name, Value::String(text))));
    Ok(args)
}

async fn call(route: &'static Route, asks: &Asks, shared: &Shared, said: Said) -> Result<Response, No> {
    let headers = said.headers.clone();
    let args = arguments(asks, said, shared.body_bytes_max)?;
    let key = headers.get("idempotency-key").filter(|_| route.repeat != Repeat::Same);
    if let Some(key) = key {
        let key = key_of(key.to_str().unwrap_or_default()).map_err(unfit)?;
        return once(route, shared, key, args).await;
    }
    let answer = send(route, shared, args, None).await?;
    let value = in_time(route, answer).await?.map_err(refused)?;
    Ok(match route.verb {
        Verb::Get => told(&headers, value.to_string()),
        Verb::Post | Verb::Delete => axum::Json(value).into_response(),
    })
}

fn refused(no: Refusal) -> No {
    (status(no.code), no)
}

/// A request with a key: done once, and to its end, also if nobody waits for it any more.
async fn once(route: &'static Route, shared: &Shared, key: Digest, args: Map<String, Value>) -> Result<Response, No> {
    let mut args = Value::Object(args);
    args.sort_all_objects();
    // A passphrase could be guessed from its digest on the disk.
    let mut open = args.clone();
    open.as_object_mut().and_then(|fields| fields.remove("passphrase"));
    let request = sha256(&[b"talkoo/request/1", route.name.as_bytes(), open.to_string().as_bytes()]);
    let Value::Object(args) = args else { unreachable!("it is an object") };
    let repeats = shared.repeats.clone();
    let turn = tokio::task::spawn_blocking(move || repeats.begin(Seen { key, request })).await;
    let own = match turn.expect("taking a key does not panic").map_err(not_now)? {
        Turn::Again(answer) => {
            let again = [("idempotency-replayed", "true")];
            return match answer {
                Ok(value) => Ok((again, axum::Json(value)).into_response()),
                Err(no) => Ok((again, problem(status(no.code), &no)).into_response()),
            };
        }
        Turn::Unknown(_) if route.repeat != Repeat::Found => {
            shared.repeats.leave(&key);
            let hint = "look whether it was done; if not, send it with another key";
            let what = "the node stopped while it did this, and does not know how it ended";
            return Err((StatusCode::CONFLICT, Refusal::new(RefusalCode::AlreadyUsed, what, hint)));
        }
        Turn::First(own) | Turn::Unknown(own) => own,
    };
    let (tell, told) = oneshot::channel();
    let shared_too = shared.clone();
    shared.tasks.spawn(async move {
        let answer = to_its_end(route, &shared_too, key, args, own).await;
        // Whoever asked may have gone.
        tell.send(answer).ok();
    });
    Ok(axum::Json(in_time(route, told).await??).into_response())
}

async fn to_its_end(
    route: &'static Route,
    shared: &Shared,
    key: Digest,
    args: Map<String, Value>,
    own: Digest,
) -> Result<Value, No> {
    let answer = match send(route, shared, args, Some(own)).await {
        Ok(answer) => answer.await.map_err(|_| stopped("the node stopped before it answered")),
        Err(no) => Err(no),
    };
    let (repeats, route, done) = (shared.repeats.clone(), route.repeat, answer.clone());
    let kept = tokio::task::spawn_blocking(move || match &done {
        // Nobody heard, or it stopped in the middle: only a new start tells which.
        Err(_) => repeats.leave(&key),
        Ok(Err(no)) if route == Repeat::Found || matches!(no.code, RefusalCode::Busy | RefusalCode::Stopping) => {
            repeats.free(&key);
        }
        Ok(answer) => repeats.answer(&key, answer, route == Repeat::Secret),
    });
    kept.await.expect("keeping an answer does not panic");
    answer?.map_err(refused)
}

fn not_now(why: NotNow) -> No {
    let no = |code, what: &str, hint: &str| Refusal::new(code, what, hint);
    match why {
        NotNow::Runs => {
            let no = no(
                RefusalCode::InUse,
                "the first request with this key still runs",
                "wait for its answer, and ask again",
            );
            (StatusCode::CONFLICT, no)
        }
        NotNow::Other => {
            let what = "this `Idempotency-Key` was used for another request";
            (StatusCode::UNPROCESSABLE_ENTITY, no(RefusalCode::AlreadyUsed, what, "use a new key for a new request"))
        }
        NotNow::Erased => {
            let what = "it was done, and its answer is not kept: it was erased, or had a secret and the node was started again";
            (StatusCode::CONFLICT, no(RefusalCode::AlreadyUsed, what, "to do it once more, use a new key"))
        }
        NotNow::Full => {
            let what = "too many requests with a key are kept; each is for 24 hours";
            (StatusCode::TOO_MANY_REQUESTS, no(RefusalCode::Busy, what, "send it later, or without a key"))
        }
        NotNow::Disk(why) => {
            let what = format!("the key cannot be kept ({why})");
            (StatusCode::SERVICE_UNAVAILABLE, no(RefusalCode::Other, &what, "see to the disk of the data folder"))
        }
    }
}

fn stopped(what: &str) -> No {
    (StatusCode::SERVICE_UNAVAILABLE, Refusal::new(RefusalCode::Stopping, what, "start it again"))
}

/// Passes a call to the node's loop.
async fn send(
    route: &'static Route,
    shared: &Shared,
    args: Map<String, Value>,
    once: Option<Digest>,
) -> Result<oneshot::Receiver<Answer>, No> {
    let (reply, answer) = oneshot::channel();
    let call = Call { name: route.name, args: Value::Object(args), once, reply };
    shared.calls.send(call).await.map_err(|_| stopped("the node is stopping"))?;
    Ok(answer)
}

/// Waits for what comes, but not for ever.
async fn in_time<T>(route: &'static Route, answer: oneshot::Receiver<T>) -> Result<T, No> {
    match tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), answer).await {
        Ok(answer) => answer.map_err(|_| stopped("the node stopped before it answered")),
        Err(_) => {
            let message = format!("the node's loop did not answer `{}` in {ANSWER_MS_MAX} ms", route.name);
            let no = Refusal::new(RefusalCode::Silent, message, "see the node's log");
            Err((StatusCode::GATEWAY_TIMEOUT, no))
        }
    }
}

/// An answer that only reads: not told again to whoever has it (RFC 9110 §13.1.2).
fn told(headers: &HeaderMap, text: String) -> Response {
    let tag = format!("\"{}\"", &talkoo_base::sha256(&[text.as_bytes()]).to_string()[..32]);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_known = known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*");
    let about = [(header::ETAG, tag), (header::CACHE_CONTROL, "private, no-cache".to_owned())];
    if is_known {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// The event stream (`text/event-stream`).
async fn events(State(shared): State<Shared>, query: ReadQuery, headers: HeaderMap) -> Response {
    match listen(&shared, query, &headers) {
        Ok(lines) => {
            let kind = (header::CONTENT_TYPE, "text/event-stream");
            ([kind, (header::CACHE_CONTROL, "no-cache")], lines).into_response()
        }
        Err((status, no)) => problem(status, &no),
    }
}

fn listen(shared: &Shared, query: ReadQuery, headers: &HeaderMap) -> Result<Body, No> {
    let mut types = json!({"types": {"type": "string"}});
    let asks = Asks { body: Value::Null, query: std::mem::take(types.as_object_mut().expect("it is an object")) };
    let read = check::query(&asks, read_query(query)?).map_err(unfit)?;
    let types = read.get("types").and_then(Value::as_str).map(|types| types.split(',').map(str::to_owned).collect());
    if let Some(other) = types.iter().flatten().find(|one: &&String| !TYPES.contains(&one.as_str())) {
        let hint = match check::nearest(other, TYPES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", TYPES.join(", ")),
        };
        let no = format!("no event has the type `{}`", other.chars().take(64).collect::<String>());
        return Err(unfit(Refusal::new(RefusalCode::Malformed, no, hint)));
    }
    let after = headers.get("last-event-id").map(|id| event_id(id.to_str().unwrap_or_default()));
    let wish = Wish { after: after.transpose().map_err(unfit)?, types };
    let lines = shared.events.listen(wish, shared.stop.clone()).map_err(|no| (status(no.code), no))?;
    Ok(Body::from_stream(lines.map(Ok::<_, Infallible>)))
}
