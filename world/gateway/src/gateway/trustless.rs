//! For programs that check what they get: one block, a CAR, or the data model of a block
//! (specs.ipfs.tech/http-gateways/trustless-gateway).

use super::answer::{begin, disposition, end};
use super::asked::{Asked, Format, range};
use super::{Found, read_error};
use crate::body::streamed;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_store::{car, dag, ipld};

pub(super) async fn answer(found: Found, asked: Asked, tag: &str) -> Result<Response, Refusal> {
    let mut media = asked.format.media_type().to_owned();
    if asked.format == Format::Car {
        media = format!("{media}; version=1; order=dfs; dups={}", if asked.dups { "y" } else { "n" });
    }
    let name = asked.filename.clone();
    let name = name.unwrap_or_else(|| format!("{}.{}", found.resolved.cid, asked.format.extension()));
    let builder = begin(&asked, tag, &media, &found.roots())
        .header(header::VARY, "Accept")
        .header(header::CONTENT_DISPOSITION, disposition("attachment", &name));
    if asked.format == Format::Car {
        let builder = builder.header(header::ACCEPT_RANGES, "none");
        let body = if asked.head { Body::empty() } else { car_of(found, &asked).await? };
        return Ok(end(builder, &asked, body));
    }
    if !found.resolved.rest.is_empty() {
        let message = format!("`{}` lies inside the block {}", found.resolved.rest.join("/"), found.resolved.cid);
        return Err(Refusal::new(RefusalCode::UnknownId, message, "ask for the block itself"));
    }
    let bytes = match asked.format {
        Format::Raw => found.block.bytes().to_vec(),
        Format::DagJson | Format::Json => ipld::to_dag_json(&found.block).map_err(converted)?,
        _ => ipld::to_dag_cbor(&found.block).map_err(converted)?,
    };
    let builder = builder.header(header::ACCEPT_RANGES, "bytes");
    let Some(range) = asked.range.as_deref().and_then(range) else {
        let builder = builder.header(header::CONTENT_LENGTH, bytes.len());
        return Ok(end(builder, &asked, bytes.into()));
    };
    let all = bytes.len() as u64;
    Ok(match range.within(all) {
        None => unsatisfiable(all),
        Some((from, to)) => {
            let part = bytes[usize::try_from(from).expect("within")..usize::try_from(to).expect("within")].to_vec();
            let builder = builder
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {from}-{}/{all}", to - 1))
                .header(header::CONTENT_LENGTH, part.len());
            end(builder, &asked, part.into())
        }
    })
}

/// 416 with the length that there is.
pub(super) fn unsatisfiable(bytes: u64) -> Response {
    let builder = Response::builder().status(StatusCode::RANGE_NOT_SATISFIABLE);
    let builder = builder.header(header::CONTENT_RANGE, format!("bytes */{bytes}"));
    builder.body(Body::empty()).expect("headers that we wrote")
}

/// A block whose data model cannot be told.
fn converted(why: ipld::ConvertError) -> Refusal {
    let hint = "ask for raw, which every block has";
    Refusal::new(RefusalCode::Unfit, super::error_chain(&why), hint)
}

async fn car_of(found: Found, asked: &Asked) -> Result<Body, Refusal> {
    let Found { mut source, resolved, .. } = found;
    let dups = if asked.dups { dag::Dups::Keep } else { dag::Dups::Skip };
    let options = dag::Options { scope: asked.scope, bytes: asked.entity, dups };
    streamed(Caller::Stranger, move |pipe| {
        pipe.send(car::header(&[resolved.cid]))?;
        let mut walk = dag::Walk::new(&resolved, options);
        while let Some(block) = walk.next(&mut |cid| source.get(cid)).map_err(read_error)? {
            pipe.send(car::frame(&block))?;
        }
        Ok(())
    })
    .await
}
