//! Names and paths lead to CIDs.

use super::hamt::{Slot, hash_of};
use super::{Entry, ReadError, Shard, load};
use crate::block::{Block, DAG_CBOR, DAG_JSON};
use crate::dagpb::{Link, NodeError};
use crate::ipld::{self, Found};
use cid::Cid;
use std::ops::ControlFlow;
use thiserror::Error;

/// Why a path leads nowhere. `E` is the error of the block getter.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PathError<E> {
    /// A block on the way cannot be read, or is nothing that has names inside.
    #[error(transparent)]
    Read(#[from] ReadError<E>),
    /// There is no such name.
    #[error("there is no {name:?} under {cid}: list it to see its names")]
    NoLink {
        /// Where.
        cid: Cid,
        /// The name.
        name: String,
    },
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The block at its end.
    pub cid: Cid,
    /// The blocks before it, the root first; shards of directories are among them.
    pub parents: Vec<Cid>,
    /// Keys that lead on inside the block `cid`, if it is DAG-CBOR or DAG-JSON.
    pub rest: Vec<String>,
}

/// The entry `name` of the directory `dir`, or `None`.
///
/// # Errors
/// [`ReadError`]; also when `dir` is not a directory.
pub fn lookup<E>(
    dir: &Cid,
    name: &str,
    get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>,
) -> Result<Option<Link>, ReadError<E>> {
    let block = load(dir, get)?;
    find(&block, name, get, &mut Vec::new())
}

/// Follows `path`, names that are divided by `/`, from `root` on: through directories, and through
/// maps and lists of DAG-CBOR and DAG-JSON. Symlinks are not followed.
///
/// # Errors
/// [`PathError`].
pub fn resolve<E>(
    root: Cid,
    path: &str,
    get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>,
) -> Result<Resolved, PathError<E>> {
    let (mut cid, mut parents, mut rest) = (root, Vec::new(), Vec::new());
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while names.peek().is_some() {
        let block = load(&cid, get)?;
        if matches!(cid.codec(), DAG_CBOR | DAG_JSON) {
            match ipld::follow(&block, &mut names).map_err(|source| ReadError::Node { cid, source })? {
                Found::Link(next) => {
                    parents.push(cid);
                    cid = next;
                }
                Found::Inside(keys) => rest = keys,
                Found::Nothing(name) => return Err(PathError::NoLink { cid, name }),
            }
            continue;
        }
        let Some(name) = names.next() else { break };
        parents.push(cid);
        match find(&block, name, get, &mut parents)? {
            Some(link) => cid = link.cid,
            None => return Err(PathError::NoLink { cid, name: name.to_owned() }),
        }
    }
    Ok(Resolved { cid, parents, rest })
}

/// Calls `each` with the entries of the directory `dir` until it breaks: in the order of their names,
/// or, if the directory is sharded, of their hashes. Names are as they were written, see
/// [`super::check_name`].
///
/// # Errors
/// [`ReadError`]; also when `dir` is not a directory.
pub fn list<E>(
    dir: &Cid,
    get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>,
    each: &mut impl FnMut(Link) -> ControlFlow<()>,
) -> Result<(), ReadError<E>> {
    let root = match directory(&load(dir, get)?)? {
        Entry::Dir(links) => {
            let _ = links.into_iter().try_for_each(each);
            return Ok(());
        }
        Entry::Shard(shard) => shard,
        Entry::File(_) | Entry::Symlink(_) => return Err(not_a_directory(dir)),
    };
    let mut pending: Vec<(Slot, u32)> = root.slots().rev().map(|slot| (slot.clone(), 1)).collect();
    while let Some((slot, level)) = pending.pop() {
        match slot {
            Slot::Entry(link) => {
                if each(link).is_break() {
                    return Ok(());
                }
            }
            Slot::Below(cid) => {
                let shard = below(root.fanout(), &cid, level, get)?;
                pending.extend(shard.slots().rev().map(|slot| (slot.clone(), level + 1)));
            }
        }
    }
    Ok(())
}

/// Like [`lookup`], in a block that is here; appends the shards on the way to `visited`.
fn find<E>(
    dir: &Block,
    name: &str,
    get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>,
    visited: &mut Vec<Cid>,
) -> Result<Option<Link>, ReadError<E>> {
    let mut shard = match directory(dir)? {
        Entry::Dir(links) => return Ok(links.into_iter().find(|link| link.name == name)),
        Entry::Shard(shard) => shard,
        Entry::File(_) | Entry::Symlink(_) => return Err(not_a_directory(dir.cid())),
    };
    let hash = hash_of(name);
    for level in 1.. {
        let next = match shard.slot(hash, level - 1) {
            Some(Slot::Below(cid)) => *cid,
            Some(Slot::Entry(link)) if link.name == name => return Ok(Some(link.clone())),
            Some(Slot::Entry(_)) | None => return Ok(None),
        };
        visited.push(next);
        shard = below(shard.fanout(), &next, level, get)?;
    }
    Ok(None)
}

fn below<E>(
    fanout: u32,
    cid: &Cid,
    level: u32,
    get: &mut impl FnMut(&Cid) -> Result<Option<Block>, E>,
) -> Result<Shard, ReadError<E>> {
    Shard::below(&load(cid, get)?, fanout, level).map_err(|source| ReadError::Node { cid: *cid, source })
}

fn directory<E>(block: &Block) -> Result<Entry, ReadError<E>> {
    Entry::of(block).map_err(|source| match source {
        NodeError::NotAFile { .. } => not_a_directory(block.cid()),
        source => ReadError::Node { cid: *block.cid(), source },
    })
}

fn not_a_directory<E>(cid: &Cid) -> ReadError<E> {
    ReadError::Node { cid: *cid, source: NodeError::NotADirectory }
}
