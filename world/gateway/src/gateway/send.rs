//! A file, or the range of it that was asked for, as a response.

use super::read_error;
use super::trustless::unsatisfiable;
use crate::body::streamed;
use crate::source::Source;
use axum::body::Body;
use axum::http::{StatusCode, header, response};
use axum::response::{IntoResponse, Response};
use talkoo_base::{Cid, Refusal};
use talkoo_store::unixfs::Reader;

/// What is to be sent.
pub(crate) struct FilePart<'a> {
    /// The file.
    pub(crate) root: Cid,
    /// Its length.
    pub(crate) bytes: u64,
    /// A `Range` header.
    pub(crate) range: Option<&'a str>,
}

/// Sends a file under the headers begun in `builder`; of a HEAD request only these.
pub(crate) async fn send_file(
    source: Source,
    part: FilePart<'_>,
    builder: response::Builder,
    is_head: bool,
) -> Result<Response, Refusal> {
    let FilePart { root, bytes, range } = part;
    let range = match range.and_then(super::asked::range).map(|range| range.within(bytes)) {
        Some(None) => return Ok(unsatisfiable(bytes)),
        Some(part) => part,
        None => None,
    };
    let mut builder = builder.header(header::ACCEPT_RANGES, "bytes");
    if let Some((from, to)) = range {
        let said = format!("bytes {from}-{}/{bytes}", to - 1);
        builder = builder.status(StatusCode::PARTIAL_CONTENT).header(header::CONTENT_RANGE, said);
    }
    let (from, to) = range.unwrap_or((0, bytes));
    builder = builder.header(header::CONTENT_LENGTH, to - from);
    let body = if is_head { Body::empty() } else { stream(source, root, from, to).await? };
    Ok(builder.body(body).unwrap_or_else(|why| {
        tracing::error!(%why, "an answer could not be put together");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }))
}

/// Bytes `from..to` of a file.
async fn stream(mut source: Source, root: Cid, from: u64, to: u64) -> Result<Body, Refusal> {
    streamed(source.caller(), move |pipe| {
        let mut reader = Reader::range(root, from..to);
        while let Some(bytes) = reader.next(&mut |cid| source.get(cid)).map_err(read_error)? {
            pipe.send(bytes)?;
        }
        Ok(())
    })
    .await
}
