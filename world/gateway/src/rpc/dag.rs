//! `dag/*`.

use super::args::{cid, wrong};
use super::blocks::{codec, only_sha256};
use super::read::find;
use super::upload::Parts;
use super::{Args, line, visibility_of};
use crate::body::Pipe;
use crate::gateway::read_error;
use crate::keep::pin_rpc;
use crate::limits::IMPORT_BATCH;
use crate::source::{Reach, Store, broken};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_disk::blocks::{PinMode, Sync};
use talkoo_store::limits::BLOCK_BYTES_MAX;
use talkoo_store::unixfs;
use talkoo_store::{Block, DAG_CBOR, DAG_JSON, Visibility, car, dag, ipld};

fn malformed(why: &dyn std::error::Error) -> Refusal {
    Refusal::new(RefusalCode::Malformed, crate::gateway::error_chain(why), "read it with block/get")
}

pub(super) fn get(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let (_, block, rest) = find(store, args, args.one()?)?;
    if !rest.is_empty() {
        let message = format!("`{}` lies inside the block {}", rest.join("/"), block.cid());
        return Err(Refusal::new(RefusalCode::Unfit, message, "get the block and look inside"));
    }
    let bytes = match args.get("output-codec") {
        None | Some("dag-json") => ipld::to_dag_json(&block).map_err(|why| malformed(&why))?,
        Some("dag-cbor") => ipld::to_dag_cbor(&block).map_err(|why| malformed(&why))?,
        Some("raw") => block.bytes().to_vec(),
        Some(other) => return Err(wrong("output-codec", other, "dag-json, dag-cbor or, of a whole block, raw")),
    };
    pipe.send(bytes)?;
    Ok(())
}

pub(super) fn put(store: &Store, args: &Args, parts: &mut Parts, pipe: &mut Pipe) -> Result<(), Refusal> {
    only_sha256(args, "hash")?;
    let input = codec(args.get("input-codec").unwrap_or("dag-json"))?;
    let wanted = codec(args.get("store-codec").unwrap_or("dag-cbor"))?;
    let (visibility, pin) = (visibility_of(args)?, args.flag("pin")? == Some(true));
    let hold = store.blocks.hold();
    while let Some(_head) = parts.next()? {
        let bytes = parts.whole(BLOCK_BYTES_MAX)?;
        let given = Block::of(input, bytes.clone()).map_err(|why| malformed(&why))?;
        let block = match (input, wanted) {
            (input, wanted) if input == wanted => {
                // What does not parse is not kept under the name of something that does.
                ipld::links(&given).map_err(|why| malformed(&why))?;
                given
            }
            (DAG_JSON, wanted) => ipld::from_dag_json(&bytes, wanted).map_err(|why| malformed(&why))?,
            (DAG_CBOR, DAG_JSON) => {
                let json = ipld::to_dag_json(&given).map_err(|why| malformed(&why))?;
                Block::of(DAG_JSON, json.into()).map_err(|why| malformed(&why))?
            }
            _ => return Err(wrong("store-codec", "this", "the input's own, or between dag-json and dag-cbor")),
        };
        store.blocks.put(std::slice::from_ref(&block), Visibility::Private, Sync::Now).map_err(broken)?;
        if pin {
            pin_rpc(store, *block.cid(), PinMode::Recursive, "")?;
        }
        if visibility != Visibility::Private {
            store.blocks.set_class(block.cid(), visibility).map_err(broken)?;
        }
        pipe.send(line(&json!({"Cid": {"/": block.cid().to_string()}})))?;
    }
    drop(hold);
    Ok(())
}

pub(super) fn resolve(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let (_, block, rest) = find(store, args, args.one()?)?;
    Ok(json!({"Cid": {"/": block.cid().to_string()}, "RemPath": rest.join("/")}))
}

/// Every block of a DAG, once.
fn walk(store: &Store, root: Cid, each: &mut dyn FnMut(Block) -> Result<(), Refusal>) -> Result<(), Refusal> {
    let mut source = store.open(&root, Caller::Owner, Reach::Network);
    let whole = unixfs::Resolved { cid: root, parents: Vec::new(), rest: Vec::new() };
    let mut walk = dag::Walk::new(&whole, dag::Options::default());
    while let Some(block) = walk.next(&mut |cid| source.get(cid)).map_err(read_error)? {
        each(block)?;
    }
    Ok(())
}

pub(super) fn stat(store: &Store, args: &Args) -> Result<Value, Refusal> {
    let mut stats = Vec::new();
    let (mut all, mut count) = (0, 0);
    for arg in args.all() {
        let (_, block, _) = find(store, args, arg)?;
        let (mut bytes, mut blocks) = (0, 0);
        walk(store, *block.cid(), &mut |block| {
            bytes += block.bytes().len() as u64;
            blocks += 1_u64;
            Ok(())
        })?;
        stats.push(json!({"Cid": {"/": block.cid().to_string()}, "Size": bytes, "NumBlocks": blocks}));
        all += bytes;
        count += blocks;
    }
    Ok(json!({"DagStats": stats, "TotalSize": all, "UniqueBlocks": count, "SharedSize": 0, "Ratio": 1}))
}

pub(super) fn export(store: &Store, args: &Args, pipe: &mut Pipe) -> Result<(), Refusal> {
    let root = cid(args.one()?)?;
    // The first block before the header: a DAG that is not here is an error, not an empty CAR.
    store.open(&root, Caller::Owner, Reach::Network).need(&root)?;
    pipe.send(car::header(&[root]))?;
    walk(store, root, &mut |block| Ok(pipe.send(car::frame(&block))?))
}

pub(super) fn import(store: &Store, args: &Args, parts: &mut Parts, pipe: &mut Pipe) -> Result<(), Refusal> {
    let (visibility, pin) = (visibility_of(args)?, args.flag("pin-roots")? != Some(false));
    let stats = args.flag("stats")? == Some(true);
    let hold = store.blocks.hold();
    let (mut count, mut bytes) = (0_u64, 0);
    while let Some(_head) = parts.next()? {
        let mut taken = Taken {
            store,
            decoder: car::Decoder::default(),
            batch: Vec::new(),
            roots: BTreeSet::new(),
            count: 0,
            bytes: 0,
        };
        parts.each(|piece| taken.push(piece))?;
        let (roots, blocks, sum) = taken.finish()?;
        count += blocks;
        bytes += sum;
        for root in &roots {
            let mut why = String::new();
            if pin && !store.blocks.has(root).map_err(broken)? {
                "the CAR does not hold this root".clone_into(&mut why);
            } else if pin {
                pin_rpc(store, *root, PinMode::Recursive, "")?;
            }
            if visibility != Visibility::Private {
                store.blocks.set_class(root, visibility).map_err(broken)?;
            }
            pipe.send(line(&json!({"Root": {"Cid": {"/": root.to_string()}, "PinErrorMsg": why}})))?;
        }
    }
    if stats {
        pipe.send(line(&json!({"Stats": {"BlockCount": count, "BlockBytesCount": bytes}})))?;
    }
    drop(hold);
    Ok(())
}

/// A CAR on its way into the store.
struct Taken<'a> {
    store: &'a Store,
    decoder: car::Decoder,
    batch: Vec<Block>,
    roots: BTreeSet<Cid>,
    count: u64,
    bytes: u64,
}

impl Taken<'_> {
    fn push(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.decoder.push(piece);
        while let Some(item) = self.decoder.next().map_err(|why| malformed(&why))? {
            match item {
                car::Item::Roots(roots) => self.roots.extend(roots),
                car::Item::Block(block) => {
                    self.count += 1;
                    self.bytes += block.bytes().len() as u64;
                    self.batch.push(block);
                }
            }
            if self.batch.len() >= IMPORT_BATCH {
                self.write()?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Refusal> {
        self.store.blocks.put(&self.batch, Visibility::Private, Sync::Later).map_err(broken)?;
        self.batch.clear();
        Ok(())
    }

    /// Ends it; answers the roots, the number of blocks and their bytes.
    fn finish(mut self) -> Result<(BTreeSet<Cid>, u64, u64), Refusal> {
        self.write()?;
        self.decoder.finish().map_err(|why| malformed(&why))?;
        self.store.blocks.flush().map_err(broken)?;
        Ok((self.roots, self.count, self.bytes))
    }
}
