//! For people: files with their type and ranges, folders with their page, tape archives.

use super::answer::{GENERATED, begin, disposition, end, matches, not_modified};
use super::asked::{Asked, Format};
use super::{FilePart, Found, moved, page, read_error, send_file};
use crate::archive;
use crate::body::{blocking, streamed};
use crate::codecs::{CBOR, JSON};
use crate::source::Source;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_store::unixfs::{self, Entry, Reader};
use talkoo_store::{DAG_CBOR, DAG_JSON, DAG_PB, RAW};

/// What may stand in a path besides letters and digits.
pub(super) const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub(super) async fn answer(found: Found, asked: Asked, tag: &str) -> Result<Response, Refusal> {
    match found.block.cid().codec() {
        RAW | DAG_PB => {}
        DAG_JSON | DAG_CBOR | JSON | CBOR if asked.format == Format::Web => return plain(&found, &asked, tag),
        codec => {
            let message = format!("a block of codec 0x{codec:x} is neither a file nor a folder");
            return Err(Refusal::new(RefusalCode::Unfit, message, "ask for it with ?format=raw"));
        }
    }
    if !found.resolved.rest.is_empty() {
        let message = format!("there is no `{}` in a file", found.resolved.rest.join("/"));
        return Err(Refusal::new(RefusalCode::UnknownId, message, "shorten the path"));
    }
    let entry = Entry::of(&found.block).map_err(|why| {
        let hint = "whoever made this DAG has to make it again; ?format=raw shows the block";
        Refusal::new(RefusalCode::RunFailed, why.to_string(), hint)
    })?;
    if asked.format == Format::Tar {
        return tar(found, &asked, tag).await;
    }
    match entry {
        Entry::File(node) => {
            let bytes = node.bytes();
            let (root, name, roots) = (found.resolved.cid, asked.segments.last().cloned(), found.roots());
            file(found.source, root, bytes, name, &roots, &asked, tag).await
        }
        Entry::Dir(_) | Entry::Shard(_) => folder(found, asked, tag).await,
        Entry::Symlink(target) => {
            let builder = begin(&asked, tag, "inode/symlink", &found.roots());
            Ok(end(builder.header(header::CONTENT_LENGTH, target.len()), &asked, target.into()))
        }
    }
}

/// A block of data, as its codec says.
fn plain(found: &Found, asked: &Asked, tag: &str) -> Result<Response, Refusal> {
    let (media, name) = match found.block.cid().codec() {
        DAG_JSON => ("application/vnd.ipld.dag-json", "dag-json"),
        DAG_CBOR => ("application/vnd.ipld.dag-cbor", "dag-cbor"),
        JSON => ("application/json", "json"),
        _ => ("application/cbor", "cbor"),
    };
    if !found.resolved.rest.is_empty() {
        let message = format!("`{}` lies inside the block {}", found.resolved.rest.join("/"), found.resolved.cid);
        return Err(Refusal::new(RefusalCode::Unfit, message, "ask for it with ?format=dag-json"));
    }
    let bytes = found.block.bytes().clone();
    let kind = if media.ends_with("json") && !asked.download { "inline" } else { "attachment" };
    let builder = begin(asked, tag, media, &found.roots())
        .header(header::CONTENT_LENGTH, bytes.len())
        .header(header::CONTENT_DISPOSITION, disposition(kind, &format!("{}.{name}", found.resolved.cid)));
    Ok(end(builder, asked, bytes.into()))
}

async fn file(
    source: Source,
    root: Cid,
    bytes: u64,
    name: Option<String>,
    parents: &[Cid],
    asked: &Asked,
    tag: &str,
) -> Result<Response, Refusal> {
    let name = asked.filename.clone().or(name);
    let (media, source) = media_of(source, root, name.as_deref(), bytes).await?;
    let mut builder = begin(asked, tag, &media, parents);
    if let Some(name) = asked.filename.as_ref().or(if asked.download { name.as_ref() } else { None }) {
        let kind = if asked.download { "attachment" } else { "inline" };
        builder = builder.header(header::CONTENT_DISPOSITION, disposition(kind, name));
    } else if asked.download {
        builder = builder.header(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    let part = FilePart { root, bytes, range: asked.range.as_deref() };
    send_file(source, part, builder, asked.head).await
}

/// The media type: by the name, else by the first bytes.
async fn media_of(mut source: Source, root: Cid, name: Option<&str>, bytes: u64) -> Result<(String, Source), Refusal> {
    if let Some(kind) = name.and_then(|name| mime_guess::from_path(name).first()) {
        let charset = if kind.type_() == mime_guess::mime::TEXT { "; charset=utf-8" } else { "" };
        return Ok((format!("{kind}{charset}"), source));
    }
    blocking(Caller::Stranger, move || {
        let mut reader = Reader::range(root, 0..bytes.min(512));
        let first = reader.next(&mut |cid| source.get(cid)).map_err(read_error)?.unwrap_or_default();
        Ok((sniffed(&first).to_owned(), source))
    })
    .await
}

/// The media type of a file that begins so (a small part of mimesniff.spec.whatwg.org).
fn sniffed(first: &Bytes) -> &'static str {
    let begins = |bytes: &[u8]| first.starts_with(bytes);
    let text = String::from_utf8_lossy(first).trim_start().to_ascii_lowercase();
    let is_text = !first.iter().any(|byte| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b));
    match () {
        () if begins(b"\x89PNG\r\n\x1a\n") => "image/png",
        () if begins(b"\xff\xd8\xff") => "image/jpeg",
        () if begins(b"GIF8") => "image/gif",
        () if begins(b"%PDF-") => "application/pdf",
        () if begins(b"\x1f\x8b\x08") => "application/gzip",
        () if begins(b"PK\x03\x04") => "application/zip",
        () if text.starts_with("<!doctype html") || text.starts_with("<html") => "text/html; charset=utf-8",
        () if text.starts_with("<svg") => "image/svg+xml",
        () if is_text => "text/plain; charset=utf-8",
        () => "application/octet-stream",
    }
}

async fn tar(found: Found, asked: &Asked, tag: &str) -> Result<Response, Refusal> {
    let roots = found.roots();
    let Found { mut source, resolved, .. } = found;
    let name = asked.segments.last().cloned().unwrap_or_else(|| resolved.cid.to_string());
    let builder = begin(asked, tag, "application/x-tar", &roots)
        .header(header::ACCEPT_RANGES, "none")
        .header(header::CONTENT_DISPOSITION, disposition("attachment", &format!("{name}.tar")));
    if asked.head {
        return Ok(end(builder, asked, Body::empty()));
    }
    let body = streamed(Caller::Stranger, move |pipe| archive::write(&mut source, &resolved.cid, &name, pipe)).await?;
    Ok(end(builder, asked, body))
}

async fn folder(found: Found, asked: Asked, tag: &str) -> Result<Response, Refusal> {
    let roots = found.roots();
    let Found { mut source, resolved, .. } = found;
    if !(asked.slash || asked.segments.is_empty() && asked.prefix.is_empty()) {
        let path = asked.segments.iter().map(|part| format!("/{}", utf8_percent_encode(part, PATH)));
        return Ok(moved(&format!("{}{}/", asked.prefix, path.collect::<String>())));
    }
    let cid = resolved.cid;
    let (index, source) = blocking(Caller::Stranger, move || {
        let index = unixfs::lookup(&cid, "index.html", &mut |cid| source.get(cid)).map_err(read_error)?;
        let index = index.map(|link| -> Result<_, Refusal> {
            let block = source.need(&link.cid)?;
            let entry = Entry::of(&block).ok();
            Ok(entry.and_then(|entry| match entry {
                Entry::File(node) => Some((link.cid, node.bytes())),
                Entry::Dir(_) | Entry::Shard(_) | Entry::Symlink(_) => None,
            }))
        });
        Ok((index.transpose()?.flatten(), source))
    })
    .await?;
    if let Some((index, bytes)) = index {
        let tag = format!("\"{index}\"");
        if asked.if_none_match.as_deref().is_some_and(|known| matches(known, &tag)) {
            return Ok(not_modified(tag));
        }
        return file(source, index, bytes, Some("index.html".into()), &roots, &asked, &tag).await;
    }
    let (head, media) = (asked.head, "text/html; charset=utf-8");
    let mut builder = begin(&asked, tag, media, &roots);
    // The page that we make has neither scripts nor anything from elsewhere.
    let headers = builder.headers_mut().expect("headers that we wrote");
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(GENERATED));
    let policy = HeaderValue::from_str(&page::policy()).expect("ASCII");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    if head {
        return Ok(end(builder, &asked, Body::empty()));
    }
    let mut source = source;
    let page = asked.clone();
    let body = streamed(Caller::Stranger, move |pipe| page::write(&mut source, &cid, &page, pipe)).await?;
    Ok(end(builder, &asked, body))
}
