//! `cat`, `get`, `ls`, `refs`, `resolve`.

use super::args::path;
use super::{Args, line};
use crate::archive;
use crate::body::Pipe;
use crate::gateway::{path_error, read_error};
use crate::limits::JSON_BYTES_MAX;
use crate::source::{Reach, Source, Store, broken};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_store::dagpb::Link;
use talkoo_store::unixfs::{self, Entry, Reader};
use talkoo_store::{Block, DAG_PB, RAW, dagpb, ipld};

/// The block that a path ends with.
pub(super) fn find(store: &Store, args: &Args, text: &str) -> Result<(Source, Block, Vec<String>), Refusal> {
    let (root, segments) = path(text)?;
    let reach = if args.flag("offline")? == Some(true) { Reach::Local } else { Reach::Network };
    let mut source = store.open(&root, Caller::Owner, reach);
    let resolved = unixfs::resolve(root, &segments.join("/"), &mut |cid| source.get(cid)).map_err(path_error)?;
    let block = source.need(&resolved.cid)?;
    Ok((source, block, resolved.rest))
}

/// The same, for what has to be a file or a folder.
fn find_entry(store: &Store, args: &Args, text: &str) -> Result<(Source, Cid, Entry), Refusal> {
    let (source, block, rest) = find(store, args, text)?;
    if !rest.is_empty() {
        let message = format!("`{}` lies inside a block", rest.join("/"));
        return Err(Refusal::new(RefusalCode::Malformed, message, "read it with dag/get"));
    }
    let entry = Entry::of(&block).map_err(|why| {
        Refusal::new(
            RefusalCode::Malformed,
            format!("{} is no file or folder: {why}", block.cid()),
            "read it with dag/get",
        )
    })?;
    Ok((source, *block.cid(), entry))
}

pub(super) fn cat(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let (mut offset, mut left) = (args.number("offset")?.unwrap_or(0), args.number("length")?.unwrap_or(u64::MAX));
    for arg in args.all() {
        let (mut source, cid, entry) = find_entry(store, args, arg)?;
        let Entry::File(node) = entry else {
            return Err(Refusal::new(RefusalCode::Malformed, format!("{arg} is not a file"), "list it with ls"));
        };
        let bytes = node.bytes();
        let from = offset.min(bytes);
        offset -= from;
        let to = bytes.min(from.saturating_add(left));
        left -= to - from;
        let mut reader = Reader::range(cid, from..to);
        while let Some(bytes) = reader.next(&mut |cid| source.get(cid)).map_err(read_error)? {
            pipe.send(bytes)?;
        }
    }
    Ok(())
}

pub(super) fn get(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    if args.flag("compress")? == Some(true) {
        let hint = "compress the archive that comes";
        return Err(Refusal::new(RefusalCode::UnsupportedParameter, "archives are not compressed", hint));
    }
    let arg = args.one()?;
    let (mut source, block, _) = find(store, args, arg)?;
    let name = arg.trim_end_matches('/').rsplit('/').next().unwrap_or(arg).to_owned();
    archive::write(&mut source, block.cid(), &name, pipe)
}

/// Kind of an entry as kubo numbers it: UnixFS's own numbers.
fn kind(entry: &Entry) -> (u8, u64, String) {
    match entry {
        Entry::File(node) => (2, node.bytes(), String::new()),
        Entry::Dir(_) => (1, 0, String::new()),
        Entry::Shard(_) => (1, 0, String::new()),
        Entry::Symlink(target) => (4, 0, target.clone()),
    }
}

pub(super) fn ls(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let resolve = args.flag("resolve-type")? != Some(false);
    let (mut objects, mut bytes) = (Vec::new(), 0);
    for arg in args.all() {
        let (mut source, cid, entry) = find_entry(store, args, arg)?;
        let mut links = Vec::new();
        match &entry {
            Entry::Dir(_) | Entry::Shard(_) => {
                let mut found = Vec::new();
                unixfs::list(&cid, &mut |cid| source.get(cid), &mut |link| {
                    bytes += 200 + link.name.len();
                    found.push(link);
                    if bytes <= JSON_BYTES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })
                .map_err(read_error)?;
                if bytes > JSON_BYTES_MAX {
                    let hint = "ask for an entry by its name, or get the folder as a CAR with dag/export";
                    return Err(Refusal::new(RefusalCode::TooLarge, "the folder is too large for one list", hint));
                }
                for link in found {
                    let (kind, size, target) = match resolve {
                        true => described(&mut source, &link)?,
                        false => (0, link.total_bytes, String::new()),
                    };
                    links.push(json!({"Name": link.name, "Hash": link.cid.to_string(), "Size": size, "Type": kind, "Target": target}));
                }
                objects.push(json!({"Hash": arg, "Links": links}));
            }
            Entry::File(_) | Entry::Symlink(_) => {
                let (kind, size, target) = kind(&entry);
                let name = arg.trim_end_matches('/').rsplit('/').next().unwrap_or(arg);
                objects.push(json!({"Hash": cid.to_string(), "Name": name, "Size": size, "Type": kind, "Target": target, "Links": links}));
            }
        }
    }
    pipe.send(line(&json!({"Objects": objects})))?;
    Ok(())
}

/// Kind, bytes and target of an entry; of a single leaf as the folder says, so that lists fetch no files.
fn described(source: &mut Source, link: &Link) -> Result<(u8, u64, String), Refusal> {
    if link.cid.codec() == RAW {
        return Ok((2, link.total_bytes, String::new()));
    }
    let block = source.need(&link.cid)?;
    Ok(Entry::of(&block).map_or((0, 0, String::new()), |entry| kind(&entry)))
}

pub(super) fn stat(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let arg = args.one()?;
    if !arg.starts_with("/ipfs/") {
        let hint = "ask for /ipfs/<cid>/<path>";
        return Err(Refusal::new(RefusalCode::UnknownId, "there is no mutable file system", hint));
    }
    let (_, block, _) = find(store, args, arg)?;
    let entry =
        Entry::of(&block).map_err(|why| Refusal::new(RefusalCode::Malformed, why.to_string(), "see dag/get"))?;
    let links = ipld::links(&block).map_or(0, |links| links.len());
    let (_, bytes, _) = kind(&entry);
    let kind = if matches!(entry, Entry::Dir(_) | Entry::Shard(_)) { "directory" } else { "file" };
    let node = dagpb::Node::decode(block.bytes()).ok().filter(|_| block.cid().codec() == DAG_PB);
    let below: u64 = node.iter().flat_map(|node| &node.links).map(|link| link.total_bytes).fold(0, u64::saturating_add);
    let total = below.saturating_add(block.bytes().len() as u64);
    Ok(json!({"Hash": block.cid().to_string(), "Size": bytes, "CumulativeSize": total, "Blocks": links, "Type": kind}))
}

pub(super) fn resolve(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let (_, block, rest) = find(store, args, args.one()?)?;
    let rest: String = rest.iter().map(|part| format!("/{part}")).collect();
    Ok(json!({"Path": format!("/ipfs/{}{rest}", block.cid())}))
}

pub(super) fn refs(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let depth_max = match args.get("max-depth") {
        Some("-1") | None => u64::MAX,
        Some(_) => args.number("max-depth")?.unwrap_or(u64::MAX),
    };
    let depth_max = if args.flag("recursive")? == Some(true) { depth_max } else { 1 };
    let unique = args.flag("unique")? == Some(true);
    let edges = args.flag("edges")? == Some(true);
    let mut told = BTreeSet::new();
    for arg in args.all() {
        let (mut source, block, _) = find(store, args, arg)?;
        let mut waiting = vec![(*block.cid(), 0)];
        // A node that was opened is not opened again: a small DAG can unfold without end.
        let mut opened = BTreeSet::new();
        while let Some((cid, depth)) = waiting.pop() {
            let block = source.need(&cid)?;
            let links = ipld::links(&block);
            let links = links.map_err(|why| Refusal::new(RefusalCode::RunFailed, why.to_string(), "see block/get"))?;
            let from = waiting.len();
            for link in links {
                if !unique || told.insert(link) {
                    let said = if edges { format!("{} -> {link}", block.cid()) } else { link.to_string() };
                    pipe.send(line(&json!({"Ref": said, "Err": ""})))?;
                }
                if depth + 1 < depth_max && link.codec() != RAW && opened.insert(link) {
                    waiting.push((link, depth + 1));
                }
            }
            waiting[from..].reverse();
        }
    }
    Ok(())
}

pub(super) fn refs_local(store: &Store, _: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let mut after = None;
    loop {
        let rows = store.blocks.list(after.as_ref(), 1024).map_err(broken)?;
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = Some(*last);
        let lines: Vec<u8> =
            rows.iter().flat_map(|(cid, _)| line(&json!({"Ref": cid.to_string(), "Err": ""}))).collect();
        pipe.send(lines)?;
    }
}
