//! `pin/*`.

use super::args::{path, wrong};
use super::read::find;
use super::{Args, line};
use crate::body::Pipe;
use crate::keep::pin_rpc;
use crate::limits::{INDIRECT_LISTED_MAX, PINS_LISTED_MAX};
use crate::source::{Reach, Store, broken};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_disk::blocks::{Pin, PinMode, Pinned};
use talkoo_store::{Block, dag, ipld, unixfs};

fn name(kind: PinMode) -> &'static str {
    match kind {
        PinMode::Recursive => "recursive",
        PinMode::Direct => "direct",
    }
}

/// Fetches what is to be pinned, then pins it, so that a pin is a promise that is kept.
pub(super) fn add(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let kind = if args.flag("recursive")? == Some(false) { PinMode::Direct } else { PinMode::Recursive };
    let label = args.get("name").unwrap_or_default();
    let mut pinned = Vec::new();
    for arg in args.all() {
        let hold = store.blocks.hold();
        let (_, block, _) = find(store, args, arg)?;
        let cid = *block.cid();
        if kind == PinMode::Recursive && !is_whole(store, &cid)? {
            store.network.fetch(&cid)?;
        }
        pin_rpc(store, cid, kind, label)?;
        drop(hold);
        pinned.push(cid.to_string());
    }
    if pinned.is_empty() {
        args.one()?;
    }
    Ok(json!({"Pins": pinned}))
}

/// Whether every block of a DAG is in the store. Leaves are not read.
pub(crate) fn is_whole(store: &Store, root: &Cid) -> Result<bool, Refusal> {
    let (mut waiting, mut seen) = (vec![*root], BTreeSet::new());
    while let Some(cid) = waiting.pop() {
        if !ipld::may_link(cid.codec()) {
            if Block::inlined(&cid).is_none() && !store.blocks.has(&cid).map_err(broken)? {
                return Ok(false);
            }
            continue;
        }
        let Some(block) = store.blocks.get(&cid).map_err(broken)? else { return Ok(false) };
        let links = ipld::links(&block);
        let links =
            links.map_err(|why| Refusal::new(RefusalCode::RunFailed, format!("{cid}: {why}"), "see block/get"))?;
        waiting.extend(links.into_iter().filter(|link| seen.insert(*link)));
    }
    Ok(true)
}

/// The pins that kubo's users see: the node's own (models, jobs) have names of ours and are not theirs to remove.
fn each(store: &Store, take: &mut dyn FnMut(Pin) -> Result<(), Refusal>) -> Result<(), Refusal> {
    let mut after = None;
    loop {
        let page = store.blocks.pin_list(after.as_deref(), PINS_LISTED_MAX).map_err(broken)?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.id.clone());
        for pin in page {
            take(pin)?;
        }
    }
}

pub(super) fn list(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let wanted = args.get("type").unwrap_or("all");
    if !matches!(wanted, "all" | "recursive" | "direct" | "indirect") {
        return Err(wrong("type", wanted, "all, recursive, direct or indirect"));
    }
    let is_stream = args.flag("stream")? == Some(true);
    let label = args.get("name").filter(|label| !label.is_empty());
    let mut keys = serde_json::Map::new();
    let mut tell = |pipe: &mut Pipe, cid: &Cid, kind: &str, label: &str| -> Result<(), Refusal> {
        if is_stream {
            pipe.send(line(&json!({"Cid": cid.to_string(), "Type": kind, "Name": label})))?;
        } else {
            keys.insert(cid.to_string(), json!({"Type": kind, "Name": label}));
        }
        Ok(())
    };
    let mut asked = false;
    for arg in args.all() {
        asked = true;
        let (cid, _) = path(arg)?;
        let pinned = store.blocks.is_pinned(&cid).map_err(broken)?;
        let kind = match pinned {
            Some(Pinned::Recursive) => "recursive".to_owned(),
            Some(Pinned::Direct) => "direct".to_owned(),
            Some(Pinned::Indirect(root)) => format!("indirect through {root}"),
            None => {
                let no = format!("path '{arg}' is not pinned");
                return Err(Refusal::new(RefusalCode::UnknownId, no, "list the pins with pin/ls"));
            }
        };
        if wanted == "all" || kind.starts_with(wanted) {
            tell(pipe, &cid, &kind, "")?;
        }
    }
    if !asked {
        each(store, &mut |pin| {
            let kind = name(pin.mode);
            let is_wanted = matches!(wanted, "all") || wanted == kind;
            let is_named = label.is_none_or(|label| pin.name.contains(label));
            if is_wanted && is_named { tell(pipe, &pin.root, kind, &pin.name) } else { Ok(()) }
        })?;
        if matches!(wanted, "all" | "indirect") && label.is_none() {
            for cid in indirect(store)? {
                tell(pipe, &cid, "indirect", "")?;
            }
        }
    }
    if !is_stream {
        pipe.send(line(&json!({"Keys": keys})))?;
    }
    Ok(())
}

/// What lies below recursive pins.
fn indirect(store: &Store) -> Result<BTreeSet<Cid>, Refusal> {
    let (mut roots, mut below) = (BTreeSet::new(), BTreeSet::new());
    each(store, &mut |pin| {
        if pin.mode == PinMode::Recursive {
            roots.insert(pin.root);
        }
        Ok(())
    })?;
    for root in &roots {
        let mut source = store.open(root, Caller::Owner, Reach::Local);
        let whole = unixfs::Resolved { cid: *root, parents: Vec::new(), rest: Vec::new() };
        let mut walk = dag::Walk::new(&whole, dag::Options::default());
        // A DAG that is not whole yet is listed as far as it is here.
        while let Ok(Some(block)) = walk.next(&mut |cid| source.get(cid)) {
            below.insert(*block.cid());
            if below.len() > INDIRECT_LISTED_MAX {
                let no = Refusal::new(
                    RefusalCode::TooLarge,
                    "too many indirect pins for one list",
                    "ask for type=recursive",
                );
                return Err(no.with(INDIRECT_LISTED_MAX, "more"));
            }
        }
    }
    Ok(below.difference(&roots).copied().collect())
}

/// The ids of the pins of a CID and kind that were made here. Those of the hub and of the Pinning Service are kept: there,
/// others count on them.
fn ids(store: &Store, cid: &Cid, kinds: &[PinMode]) -> Result<Vec<String>, Refusal> {
    let mut pins = store.blocks.pins_of(cid).map_err(broken)?;
    pins.retain(|pin| kinds.contains(&pin.mode));
    let ours: Vec<String> = pins.iter().map(|pin| pin.id.clone()).filter(|id| id.starts_with("rpc/")).collect();
    if let (true, Some(other)) = (ours.is_empty(), pins.first()) {
        let hint = "delete it where it was made: a repository in the hub, a pin with DELETE /pins/<id>";
        return Err(Refusal::new(RefusalCode::InUse, format!("the pin {} was not made by this API", other.id), hint));
    }
    Ok(ours)
}

pub(super) fn remove(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let kinds: &[PinMode] = match args.flag("recursive")? {
        Some(false) => &[PinMode::Direct],
        _ => &[PinMode::Recursive, PinMode::Direct],
    };
    let mut removed = Vec::new();
    for arg in args.all() {
        let (_, block, _) = find(store, args, arg)?;
        let ids = ids(store, block.cid(), kinds)?;
        if ids.is_empty() {
            let hint = "list the pins with pin/ls";
            return Err(Refusal::new(RefusalCode::UnknownId, "not pinned or pinned indirectly", hint));
        }
        for id in ids {
            store.blocks.pin_remove(&id).map_err(broken)?;
        }
        removed.push(block.cid().to_string());
    }
    if removed.is_empty() {
        args.one()?;
    }
    Ok(json!({"Pins": removed}))
}

pub(super) fn update(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let mut both = args.all();
    let (Some(from), Some(to)) = (both.next(), both.next()) else {
        return Err(Refusal::new(
            RefusalCode::Malformed,
            "two arguments are needed",
            "name the old pin, then the new one",
        ));
    };
    let (_, old, _) = find(store, args, from)?;
    let (_, new, _) = find(store, args, to)?;
    let old_ids = ids(store, old.cid(), &[PinMode::Recursive])?;
    if old_ids.is_empty() {
        return Err(Refusal::new(RefusalCode::UnknownId, "the old one is not pinned", "list the pins with pin/ls"));
    }
    let hold = store.blocks.hold();
    if !is_whole(store, new.cid())? {
        store.network.fetch(new.cid())?;
    }
    pin_rpc(store, *new.cid(), PinMode::Recursive, "")?;
    drop(hold);
    if args.flag("unpin")? != Some(false) {
        for id in old_ids {
            store.blocks.pin_remove(&id).map_err(broken)?;
        }
    }
    Ok(json!({"Pins": [old.cid().to_string(), new.cid().to_string()]}))
}

pub(super) fn verify(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let verbose = args.flag("verbose")? == Some(true);
    each(store, &mut |pin| {
        let whole = pin.mode == PinMode::Direct || is_whole(store, &pin.root)?;
        if verbose || !whole {
            pipe.send(line(&json!({"Cid": pin.root.to_string(), "Ok": whole, "BadNodes": []})))?;
        }
        Ok(())
    })
}
