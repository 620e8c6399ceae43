//! The IPFS gateway: `/ipfs/<cid>/<path>` and `<cid>.ipfs.localhost`, files and folders for browsers, blocks and CARs
//! for programs that check them (specs.ipfs.tech/http-gateways: path, subdomain and trustless gateway).
//!
//! Shows public blocks only, whoever asks: there is no token here. Deliberately absent: IPNS, DNSLink, writing.

mod answer;
mod asked;
mod page;
mod send;
mod trustless;
mod web;

pub(crate) use answer::{attachment, refused_json as json_refusal, status};
pub(crate) use asked::{form_pairs, parse_cid, shown};
pub(crate) use send::{FilePart, send_file};

use crate::body::blocking;
use crate::routing;
use crate::source::{Reach, Source, Store};
use answer::refused;
use asked::{Asked, Format, Route, route};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_store::Block;
use talkoo_store::dagpb::NodeError;
use talkoo_store::unixfs::{self, Resolved};

/// A gateway.
#[derive(Clone)]
pub struct Gateway {
    /// Where the content comes from.
    pub store: Store,
    /// Whether it fetches for strangers what is not here.
    pub reach: Reach,
}

impl Gateway {
    /// Its routes: the gateway and, beside it, delegated routing.
    pub fn router(self) -> Router {
        let routing = routing::router(self.store.clone());
        Router::new().fallback(handle).with_state(self).merge(routing)
    }
}

async fn handle(State(gateway): State<Gateway>, request: Request) -> Response {
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => {
            let asked = route(request.method(), request.uri(), request.headers());
            match asked {
                Ok(Route::Content(asked)) => {
                    let answer = content(gateway, *asked).await;
                    answer.unwrap_or_else(|no| refused(&no))
                }
                Ok(Route::Redirect(to)) => moved(&to),
                Err(no) => refused(&no),
            }
        }
        Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => {
            let mut response = refused(&read_only());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            response
        }
    };
    cross_origin(&mut response);
    response
}

fn read_only() -> Refusal {
    let hint = "write by the API, with its token: docs/STORAGE.md";
    Refusal::new(RefusalCode::Malformed, "a gateway only reads", hint)
}

fn moved(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, to)]).into_response(),
        Err(_) => refused(&asked::bad("the address cannot be written as a header", "encode it")),
    }
}

/// Content has no owner's secrets, so pages of any origin may read it.
fn cross_origin(response: &mut Response) {
    let headers = response.headers_mut();
    let mut set = |name: &'static str, value| headers.insert(name, HeaderValue::from_static(value));
    set("access-control-allow-origin", "*");
    set("access-control-allow-methods", "GET, HEAD, OPTIONS");
    set("access-control-allow-headers", "Content-Type, Range, User-Agent, X-Requested-With");
    let shown = "Content-Length, Content-Range, ETag, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output";
    set("access-control-expose-headers", shown);
}

/// The block that the path ends with, and all before it.
struct Found {
    source: Source,
    resolved: Resolved,
    block: Block,
}

impl Found {
    /// Every block of the path, that at its end too.
    fn roots(&self) -> Vec<Cid> {
        self.resolved.parents.iter().copied().chain([self.resolved.cid]).collect()
    }
}

fn find(gateway: &Gateway, asked: &Asked) -> Result<Found, Refusal> {
    let path = asked.segments.join("/");
    gateway.store.allow(&asked.root, &path)?;
    let reach = if asked.only_if_cached { Reach::Local } else { gateway.reach };
    let mut source = gateway.store.open(&asked.root, Caller::Stranger, reach);
    let resolved = unixfs::resolve(asked.root, &path, &mut |cid| source.get(cid)).map_err(path_error)?;
    let block = source.need(&resolved.cid)?;
    Ok(Found { source, resolved, block })
}

/// What a failed read of a DAG is to a client.
pub(crate) fn read_error(why: unixfs::ReadError<Refusal>) -> Refusal {
    use unixfs::ReadError;
    match why {
        ReadError::Get { source, .. } => source,
        ReadError::Missing { cid } => crate::source::absent(&cid),
        ReadError::Node { source: NodeError::NotADirectory, .. } => Refusal::new(
            RefusalCode::UnknownId,
            "the path leads on below something that is not a folder",
            "shorten the path",
        ),
        ReadError::Node { source: NodeError::NotAFile { .. } | NodeError::TooManyBlocks, .. } => {
            Refusal::new(RefusalCode::Unfit, error_chain(&why), "ask for it as a CAR, or for its parts")
        }
        other => {
            Refusal::new(RefusalCode::RunFailed, error_chain(&other), "whoever made this DAG has to make it again")
        }
    }
}

/// What a path that does not lead anywhere is to a client.
pub(crate) fn path_error(why: unixfs::PathError<Refusal>) -> Refusal {
    match why {
        unixfs::PathError::Read(why) => read_error(why),
        other => Refusal::new(RefusalCode::UnknownId, other.to_string(), "look at the folder for what there is"),
    }
}

/// An error and its causes in one line.
pub(crate) fn error_chain(why: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(why.source(), |cause| cause.source());
    causes.fold(why.to_string(), |line, cause| format!("{line}: {cause}"))
}

async fn content(gateway: Gateway, asked: Asked) -> Result<Response, Refusal> {
    if asked.format == Format::IpnsRecord {
        let hint = "ask for raw or car";
        return Err(Refusal::new(RefusalCode::UnsupportedParameter, "there are no IPNS records here", hint));
    }
    let only_if_cached = asked.only_if_cached;
    let found = blocking(Caller::Stranger, move || Ok((find(&gateway, &asked)?, asked))).await;
    let (found, asked) = match found {
        // RFC 9111 §5.2.1.7 has 504; the gateway's specification wants 412, for 504 is somebody else's silence.
        Err(no) if only_if_cached && no.code == RefusalCode::UnknownId => {
            let mut response = refused(&no);
            *response.status_mut() = StatusCode::PRECONDITION_FAILED;
            return Ok(response);
        }
        found => found?,
    };
    // A stored answer is right for ever: what it is made of has its name in the ETag.
    let tag = answer::etag(&asked, &found.resolved.cid, found.block.cid().codec());
    if asked.if_none_match.as_deref().is_some_and(|known| answer::matches(known, &tag)) {
        return Ok(answer::not_modified(tag));
    }
    match asked.format {
        Format::Raw | Format::Car | Format::DagJson | Format::DagCbor | Format::Json | Format::Cbor => {
            trustless::answer(found, asked, &tag).await
        }
        Format::Web | Format::Tar | Format::IpnsRecord => web::answer(found, asked, &tag).await,
    }
}

#[cfg(test)]
mod tests;
