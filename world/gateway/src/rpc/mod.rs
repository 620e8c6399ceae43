//! kubo's RPC, `/api/v0` (docs.ipfs.tech/reference/kubo/rpc), as far as `kubo-rpc-client` and habits need it. Only for
//! the owner: it reads what is private, and writes.
//!
//! Differences: what is added stays private until it is made public (`?visibility=public`, or `block/class`); nothing
//! is announced that is private; of an upload's layouts there are the two of IPIP-499. Absent: MFS, IPNS, pubsub.

mod add;
mod args;
mod blocks;
mod dag;
mod pins;
mod read;
mod swarm;
mod upload;

pub(crate) use add::visibility_of;
pub(crate) use args::Args;
pub(crate) use pins::is_whole;

use crate::body::{Pipe, blocking, streamed};
use crate::source::Store;
use axum::Router;
use axum::extract::{Extension, FromRequest as _, Multipart, Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};

/// How a call is answered.
#[derive(Clone, Copy)]
enum Command {
    /// With one JSON value.
    Json(fn(&Store, &Args) -> Result<Value, Refusal>),
    /// With lines of JSON, or with bytes.
    Stream(&'static str, fn(&Store, &Args, &mut Pipe) -> Result<(), Refusal>),
    /// With one JSON value or lines of JSON, after an upload.
    Upload(upload::Take),
    /// Not, and why.
    Absent(&'static str),
}

const LINES: &str = "application/json";
const BYTES: &str = "application/octet-stream";

fn command(name: &str) -> Option<Command> {
    use Command::{Absent, Json, Stream, Upload};
    Some(match name {
        "add" => Upload(add::add),
        "block/get" => Stream(BYTES, blocks::get),
        "block/put" => Upload(blocks::put),
        "block/rm" => Stream(LINES, blocks::remove),
        "block/stat" => Json(blocks::stat),
        "block/class" => Json(blocks::class),
        "cat" => Stream(BYTES, read::cat),
        "get" => Stream("application/x-tar", read::get),
        "ls" => Stream(LINES, read::ls),
        "refs" => Stream(LINES, read::refs),
        "refs/local" => Stream(LINES, read::refs_local),
        "resolve" => Json(read::resolve),
        "files/stat" => Json(read::stat),
        "dag/export" => Stream("application/vnd.ipld.car", dag::export),
        "dag/get" => Stream(BYTES, dag::get),
        "dag/import" => Upload(dag::import),
        "dag/put" => Upload(dag::put),
        "dag/resolve" => Json(dag::resolve),
        "dag/stat" => Json(dag::stat),
        "pin/add" => Json(pins::add),
        "pin/ls" => Stream(LINES, pins::list),
        "pin/rm" => Json(pins::remove),
        "pin/update" => Json(pins::update),
        "pin/verify" => Stream(LINES, pins::verify),
        "repo/gc" => Stream(LINES, blocks::collect),
        "repo/stat" | "stats/repo" => Json(blocks::repo),
        "repo/version" => Json(|_, _| Ok(json!({"Version": "16"}))),
        "id" => Json(swarm::id),
        "version" => Json(swarm::version),
        "ping" => Stream(LINES, swarm::ping),
        "swarm/peers" => Json(swarm::peers),
        "swarm/addrs" => Json(swarm::addrs),
        "swarm/addrs/local" | "swarm/addrs/listen" => Json(swarm::local),
        "swarm/connect" => Json(swarm::connect),
        "swarm/disconnect" => Json(swarm::disconnect),
        "routing/findprovs" | "dht/findprovs" => Stream(LINES, swarm::find_providers),
        "routing/findpeer" | "dht/findpeer" => Stream(LINES, swarm::find_peer),
        "routing/provide" | "dht/provide" => Stream(LINES, swarm::provide),
        "bitswap/stat" | "stats/bitswap" => Json(swarm::bitswap),
        "bitswap/wantlist" => Json(|_, _| Ok(json!({"Keys": []}))),
        "stats/bw" => Stream(LINES, swarm::bandwidth),
        "commands" => Json(|_, _| Ok(json!({"Name": "talkoo", "Subcommands": []}))),
        name if name.starts_with("files/") => Absent("there is no mutable file system; add a folder and pin it"),
        name if name.starts_with("name/") || name.starts_with("key/") => Absent("there is no IPNS"),
        name if name.starts_with("pubsub/") => Absent("there is no pubsub"),
        name if name.starts_with("config") => Absent("settings are flags of `talkoo up`"),
        name if name.starts_with("pin/remote") => Absent("ask that service itself: it has an API of its own"),
        _ => return None,
    })
}

/// The routes of `/api/v0`. Whoever puts them up says with an [`Extension`] who asks ([`Caller`]).
pub fn router(store: Store) -> Router {
    Router::new()
        .route("/api/v0/{*command}", axum::routing::post(handle))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(store)
}

async fn handle(
    State(store): State<Store>,
    caller: Option<Extension<Caller>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    if caller.is_none_or(|Extension(caller)| caller != Caller::Owner) {
        let hint = "send `Authorization: Bearer` with the content of api.token in the data folder";
        let no = Refusal::new(RefusalCode::BadSignature, "no or wrong token", hint);
        return refused(StatusCode::UNAUTHORIZED, &no);
    }
    answer(store, &name, request).await.unwrap_or_else(|no| refused(status(no.code), &no))
}

async fn answer(store: Store, name: &str, request: Request) -> Result<Response, Refusal> {
    let args = Args::parse(request.uri().query().unwrap_or_default())?;
    let hint = "docs/STORAGE.md has the list of calls";
    let missing = |why: &str| Refusal::new(RefusalCode::UnknownId, format!("`{name}` is not served: {why}"), hint);
    match command(name).ok_or_else(|| missing("there is no such call"))? {
        Command::Absent(why) => Err(missing(why)),
        Command::Json(run) => {
            Ok(axum::Json(blocking(Caller::Owner, move || run(&store, &args)).await?).into_response())
        }
        Command::Stream(media, run) => {
            let body = first_or_refused(store, args, media, run).await?;
            let chunked = HeaderName::from_static(if media == LINES { "x-chunked-output" } else { "x-stream-output" });
            let headers =
                [(header::CONTENT_TYPE, HeaderValue::from_static(media)), (chunked, HeaderValue::from_static("1"))];
            Ok((headers, body).into_response())
        }
        Command::Upload(take) => {
            let form = Multipart::from_request(request, &()).await.map_err(|why| {
                let message = format!("the body is not an upload ({})", why.body_text());
                Refusal::new(RefusalCode::Malformed, message, "send it as multipart/form-data")
            })?;
            let body = upload::run(store, args, form, take).await?;
            Ok(([(header::CONTENT_TYPE, LINES)], body).into_response())
        }
    }
}

/// A stream whose refusal, if it comes before the first byte, is a status and not a broken connection.
async fn first_or_refused(
    store: Store,
    args: Args,
    media: &'static str,
    run: fn(&Store, &Args, &mut Pipe) -> Result<(), Refusal>,
) -> Result<axum::body::Body, Refusal> {
    let (early, first) = tokio::sync::oneshot::channel();
    let body = streamed(Caller::Owner, move |pipe| {
        pipe.announce(early);
        run(&store, &args, pipe).map_err(|no| refuse(pipe, no, media))
    })
    .await?;
    match first.await {
        Ok(Some(no)) => Err(no),
        Ok(None) | Err(_) => Ok(body),
    }
}

/// Tells why an answer ends: as a status if it did not begin yet, else as a last line, where there are lines. The
/// connection breaks after it in any case.
fn refuse(pipe: &mut Pipe, no: Refusal, media: &str) -> Refusal {
    if !pipe.refuse(&no) && media == LINES {
        pipe.send(line(&refusal_json(status(no.code), &no))).ok();
    }
    no
}

fn status(code: RefusalCode) -> StatusCode {
    match code {
        RefusalCode::Malformed | RefusalCode::UnsupportedParameter => StatusCode::BAD_REQUEST,
        RefusalCode::Busy | RefusalCode::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        // The one status that kubo's clients know.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A refusal in kubo's shape, with our code beside it.
fn refused(status: StatusCode, no: &Refusal) -> Response {
    (status, axum::Json(refusal_json(status, no))).into_response()
}

fn refusal_json(status: StatusCode, no: &Refusal) -> Value {
    let code = i32::from(status == StatusCode::BAD_REQUEST);
    json!({"Message": no.to_string(), "Code": code, "Type": "error", "Reason": no.code.as_str()})
}

/// One line of JSON.
fn line(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests;
