//! A folder as the hub lists it: every path with its file.

use crate::archive::below;
use crate::gateway::read_error;
use crate::source::Source;
use std::ops::ControlFlow;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_store::RAW;
use talkoo_store::dagpb::Link;
use talkoo_store::unixfs::{self, Entry};

/// Entries of a repository: what one answer can list.
const ENTRIES_MAX: usize = 100_000;
const DEPTH_MAX: usize = 64;

/// A file or folder of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// From the root.
    pub(super) path: String,
    pub(super) cid: Cid,
    /// Length of a file.
    pub(super) bytes: u64,
    /// Bytes of all blocks.
    pub(super) total_bytes: u64,
    pub(super) is_folder: bool,
}

/// What lies in a folder, with everything below it if `deep`; folders come before what is in them. Links are left out:
/// the hub has none.
pub(super) fn list(source: &mut Source, root: &Cid, prefix: &str, deep: bool) -> Result<Vec<Item>, Refusal> {
    let (mut items, mut names_bytes) = (Vec::new(), 0);
    let mut waiting = vec![(*root, prefix.to_owned(), 0)];
    while let Some((folder, prefix, depth)) = waiting.pop() {
        let (mut links, mut no) = (Vec::new(), None);
        unixfs::list(&folder, &mut |cid| source.get(cid), &mut |link| {
            match below(&prefix, &link.name, &mut names_bytes) {
                Ok(path) => links.push((path, link)),
                Err(why) => no = Some(why),
            }
            let is_full = links.len() + items.len() > ENTRIES_MAX;
            if is_full || no.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .map_err(read_error)?;
        no.map_or(Ok(()), Err)?;
        if links.len() + items.len() > ENTRIES_MAX || depth > DEPTH_MAX {
            let no = Refusal::new(
                RefusalCode::TooLarge,
                "the repository has too many entries, or too deep ones",
                "split it",
            );
            return Err(no.with(ENTRIES_MAX, "more"));
        }
        let from = waiting.len();
        for (path, link) in links {
            let found = described(source, &link)?;
            let (bytes, is_folder) = match found {
                Some(bytes) => (bytes, false),
                None => (0, true),
            };
            if is_folder && deep {
                waiting.push((link.cid, path.clone(), depth + 1));
            }
            items.push(Item { path, cid: link.cid, bytes, total_bytes: link.total_bytes, is_folder });
        }
        waiting[from..].reverse();
    }
    Ok(items)
}

/// Length of a file; nothing for a folder. That of a single leaf is what the folder says, so that lists fetch no files.
fn described(source: &mut Source, link: &Link) -> Result<Option<u64>, Refusal> {
    let cid = &link.cid;
    if cid.codec() == RAW {
        return Ok(Some(link.total_bytes));
    }
    let block = source.need(cid)?;
    let entry = Entry::of(&block).map_err(|why| {
        Refusal::new(RefusalCode::RunFailed, format!("{cid} is neither a file nor a folder: {why}"), "make it again")
    })?;
    Ok(match entry {
        Entry::File(node) => Some(node.bytes()),
        Entry::Symlink(target) => Some(target.len() as u64),
        Entry::Dir(_) | Entry::Shard(_) => None,
    })
}
