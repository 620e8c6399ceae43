//! `block/*`, and the store as a whole.

use super::args::{cid, wrong};
use super::upload::Parts;
use super::{Args, line, visibility_of};
use crate::body::Pipe;
use crate::codecs::{CBOR, JSON};
use crate::keep::pin_rpc;
use crate::source::{Reach, Store, broken};
use serde_json::{Value, json};
use talkoo_api::Caller;
use talkoo_base::{Refusal, RefusalCode};
use talkoo_disk::blocks::{PinMode, Sync};
use talkoo_store::limits::BLOCK_BYTES_MAX;
use talkoo_store::{Block, CidPrefix, DAG_CBOR, DAG_JSON, DAG_PB, RAW, SHA2_256, Visibility};

/// Content codecs by their name in the multicodec table.
const CODECS: &[(&str, u64)] = &[
    ("raw", RAW),
    ("dag-pb", DAG_PB),
    ("protobuf", DAG_PB),
    ("dag-cbor", DAG_CBOR),
    ("cbor", CBOR),
    ("dag-json", DAG_JSON),
    ("json", JSON),
];

/// A codec by its name.
pub(super) fn codec(name: &str) -> Result<u64, Refusal> {
    let found = CODECS.iter().find(|(known, _)| *known == name);
    found.map(|(_, codec)| *codec).ok_or_else(|| wrong("codec", name, "raw, dag-pb, dag-cbor, dag-json, cbor or json"))
}

/// Only SHA-256 names blocks here.
pub(super) fn only_sha256(args: &Args, name: &str) -> Result<(), Refusal> {
    match args.get(name) {
        None | Some("sha2-256") => Ok(()),
        Some(other) => Err(wrong(name, other, "sha2-256, the one hash that blocks are named by here")),
    }
}

pub(super) fn get(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let cid = cid(args.one()?)?;
    let block = store.open(&cid, Caller::Owner, Reach::Network).need(&cid)?;
    pipe.send(block.bytes().clone())?;
    Ok(())
}

pub(super) fn stat(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let cid = cid(args.one()?)?;
    let block = store.open(&cid, Caller::Owner, Reach::Network).need(&cid)?;
    Ok(json!({"Key": cid.to_string(), "Size": block.bytes().len()}))
}

pub(super) fn put(store: &Store, args: &Args, parts: &mut Parts, pipe: &mut Pipe) -> Result<(), Refusal> {
    only_sha256(args, "mhtype")?;
    // `format=v0` is what kubo calls a CIDv0.
    let (version, codec) = match (args.get("cid-codec"), args.get("format")) {
        (Some(name), _) => (cid::Version::V1, codec(name)?),
        (None, Some("v0")) => (cid::Version::V0, DAG_PB),
        (None, Some(name)) => (cid::Version::V1, codec(name)?),
        (None, None) => (cid::Version::V1, RAW),
    };
    let (visibility, pin) = (visibility_of(args)?, args.flag("pin")? == Some(true));
    let hold = store.blocks.hold();
    while let Some(_head) = parts.next()? {
        let bytes = parts.whole(BLOCK_BYTES_MAX)?;
        let prefix = CidPrefix { version, codec, hash: SHA2_256, digest_bytes: 32 };
        let refuse = |why| Refusal::new(RefusalCode::Malformed, format!("{why}"), "see the CID specification");
        let block = Block::received(prefix, bytes).map_err(refuse)?;
        store.blocks.put(std::slice::from_ref(&block), Visibility::Private, Sync::Now).map_err(broken)?;
        if pin {
            pin_rpc(store, *block.cid(), PinMode::Recursive, "")?;
        }
        if visibility != Visibility::Private {
            store.blocks.set_class(block.cid(), visibility).map_err(broken)?;
        }
        pipe.send(line(&json!({"Key": block.cid().to_string(), "Size": block.bytes().len()})))?;
    }
    drop(hold);
    Ok(())
}

pub(super) fn remove(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let force = args.flag("force")? == Some(true);
    for arg in args.all() {
        let cid = cid(arg)?;
        let why = if store.blocks.is_pinned(&cid).map_err(broken)?.is_some() {
            Some("pinned: unpin it first".to_owned())
        } else if !store.blocks.has(&cid).map_err(broken)? {
            (!force).then(|| "not found".to_owned())
        } else {
            store.blocks.delete(&[cid]).err().map(|why| why.to_string())
        };
        let mut said = json!({"Hash": cid.to_string()});
        if let Some(why) = why {
            said["Error"] = why.into();
        }
        pipe.send(line(&said))?;
    }
    Ok(())
}

/// Sets who may have a DAG: ours, kubo has no classes.
pub(super) fn class(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let (root, visibility) = (cid(args.one()?)?, visibility_of(args)?);
    store.blocks.set_class(&root, visibility).map_err(broken)?;
    if visibility == Visibility::Public {
        store.network.provide(&root);
    }
    Ok(json!({"Cid": {"/": root.to_string()}, "Class": args.get("visibility").unwrap_or("private")}))
}

/// `repo/gc`. What was removed is counted, not named: a million names tell nobody anything.
pub(super) fn collect(store: &Store, _: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let collected = store.blocks.collect().map_err(broken)?;
    tracing::info!(?collected, "collected");
    let said = json!({"Removed": collected.removed_blocks, "RemovedBytes": collected.removed_bytes,
                      "Kept": collected.kept_blocks, "Orphans": collected.orphan_files});
    pipe.send(line(&said))?;
    Ok(())
}

pub(super) fn repo(store: &Store, _: &Args) -> Result<Value, Refusal> {
    let usage = store.blocks.usage().map_err(broken)?;
    Ok(json!({"NumObjects": usage.blocks, "RepoSize": usage.used_bytes, "StorageMax": usage.quota_bytes,
              "RepoPath": "", "Version": "fs-repo@16"}))
}
