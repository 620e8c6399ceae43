//! A file or folder as a tape archive (POSIX ustar with GNU long names).

use crate::body::{Gone, Pipe};
use crate::gateway::read_error;
use crate::limits::{NAMES_BYTES_MAX, PATH_BYTES_MAX};
use crate::source::Source;
use std::io;
use std::ops::ControlFlow;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_store::limits::DAG_DEPTH_MAX;
use talkoo_store::unixfs::{self, Entry, Reader};

/// Writes the archive of `cid`, its entries under `name`.
pub(crate) fn write(source: &mut Source, cid: &Cid, name: &str, pipe: &mut Pipe) -> Result<(), Refusal> {
    let mut archive = tar::Builder::new(pipe);
    // Folders wait here until it is their turn: deep ones cost no stack.
    let mut waiting = vec![(*cid, name.to_owned(), 0_u8)];
    let mut waiting_bytes = weight(name);
    while let Some((cid, path, depth)) = waiting.pop() {
        waiting_bytes -= weight(&path);
        if depth > DAG_DEPTH_MAX {
            return Err(too_large("folders deeper than an archive takes"));
        }
        let block = source.need(&cid)?;
        let entry = Entry::of(&block).map_err(|why| {
            Refusal::new(RefusalCode::RunFailed, format!("{path}: {why}"), "get the block with ?format=raw")
        })?;
        match entry {
            Entry::File(node) => file(&mut archive, source, &cid, &path, node.bytes())?,
            Entry::Symlink(target) => {
                let mut header = header_of(tar::EntryType::Symlink, 0, 0o777);
                archive.append_link(&mut header, &path, &target).map_err(unwritable)?;
            }
            Entry::Dir(_) | Entry::Shard(_) => {
                let mut header = header_of(tar::EntryType::Directory, 0, 0o755);
                archive.append_data(&mut header, format!("{path}/"), io::empty()).map_err(unwritable)?;
                let (from, mut no) = (waiting.len(), None);
                unixfs::list(&cid, &mut |cid| source.get(cid), &mut |link| {
                    match below(&path, &link.name, &mut waiting_bytes) {
                        Ok(path) => waiting.push((link.cid, path, depth + 1)),
                        Err(why) => no = Some(why),
                    }
                    if no.is_none() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                })
                .map_err(read_error)?;
                no.map_or(Ok(()), Err)?;
                waiting[from..].reverse();
            }
        }
    }
    archive.finish().map_err(unwritable)
}

/// Bytes of memory of an entry that waits.
fn weight(path: &str) -> usize {
    path.len() + 128
}

/// The path of an entry below `folder`, counted into `bytes`: few blocks can unfold to names without end, or to one name
/// again and again before others.
pub(crate) fn below(folder: &str, name: &str, bytes: &mut usize) -> Result<String, Refusal> {
    unixfs::check_name(name).map_err(|why| {
        Refusal::new(RefusalCode::RunFailed, why.to_string(), "get it as a CAR, which has names as they are")
    })?;
    let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
    *bytes += weight(&path);
    if path.len() > PATH_BYTES_MAX || *bytes > NAMES_BYTES_MAX {
        return Err(too_large("more names, or longer paths, than are put together here"));
    }
    Ok(path)
}

fn too_large(message: &str) -> Refusal {
    Refusal::new(RefusalCode::TooLarge, message, "get a part of it by its path, or all of it as a CAR")
}

fn header_of(kind: tar::EntryType, bytes: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

/// What the pipe, or a name that no archive can hold, says.
fn unwritable(why: io::Error) -> Refusal {
    match why.get_ref().and_then(|inner| inner.downcast_ref::<NoBlock>()) {
        Some(NoBlock(no)) => no.clone(),
        None if why.kind() == io::ErrorKind::BrokenPipe => Gone.into(),
        None => {
            Refusal::new(RefusalCode::RunFailed, format!("the archive cannot be written: {why}"), "get it as a CAR")
        }
    }
}

fn file(
    archive: &mut tar::Builder<&mut Pipe>,
    source: &mut Source,
    cid: &Cid,
    path: &str,
    bytes: u64,
) -> Result<(), Refusal> {
    let reader = FileReader { source, reader: Reader::new(*cid), rest: bytes::Bytes::new() };
    let mut header = header_of(tar::EntryType::Regular, bytes, 0o644);
    archive.append_data(&mut header, path, reader).map_err(unwritable)
}

/// A refusal on its way through `io`.
#[derive(Debug)]
struct NoBlock(Refusal);

impl std::fmt::Display for NoBlock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for NoBlock {}

struct FileReader<'a> {
    source: &'a mut Source,
    reader: Reader,
    rest: bytes::Bytes,
}

impl io::Read for FileReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            let next = self.reader.next(&mut |cid| self.source.get(cid));
            match next.map_err(|why| io::Error::other(NoBlock(read_error(why))))? {
                Some(bytes) => self.rest = bytes,
                None => return Ok(0),
            }
        }
        let bytes = self.rest.split_to(self.rest.len().min(out.len()));
        out[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }
}
