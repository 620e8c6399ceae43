//! What a start finds in the folder.

use super::{
    JournalError, LOG_MAGIC, RECORD_HEAD_BYTES, Recovered, SNAP_HEAD_BYTES, SNAP_MAGIC, at, check, log_path, snap_path,
};
use crate::limits::RECORD_BYTES_MAX;
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use talkoo_base::sha256;

/// How far behind a bad record the next good one is looked for.
const SEARCH_BYTES: usize = 4 << 20;
/// Records larger than this are found only behind one whose length is whole.
const SEARCH_RECORD_BYTES: usize = 4096;

/// Reads the newest snapshot and the segments after it. Answers also the segment to append to and
/// the bytes read.
pub(super) fn recover(dir: &Path) -> Result<(Recovered, u32, u64), JournalError> {
    let mut recovered = Recovered::default();
    let first = numbers(dir, "snap")?.last().copied();
    if let Some(number) = first {
        recovered.snapshot = Some(read_snapshot(dir, number)?);
        remove_before(dir, number)?;
    }
    let logs = numbers(dir, "log")?;
    if first.is_none() && logs.is_empty() {
        return Ok((recovered, 1, 0));
    }
    let start = first.or(logs.first().copied()).unwrap_or(1);
    let last = logs.last().copied().unwrap_or(start).max(start);
    let mut bytes = 0;
    for number in start..=last {
        if !logs.contains(&number) {
            let path = log_path(dir, number);
            return Err(JournalError::Damaged { path, what: "the file is missing" });
        }
        bytes += read_log(dir, number, number == last, &mut recovered)?;
    }
    Ok((recovered, last, bytes))
}

/// Removes what a snapshot made needless.
pub(super) fn remove_before(dir: &Path, number: u32) -> Result<(), JournalError> {
    for suffix in ["log", "snap", "new"] {
        for old in numbers(dir, suffix)?.range(..number) {
            let path = dir.join(format!("{old:04}.{suffix}"));
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn numbers(dir: &Path, suffix: &str) -> Result<BTreeSet<u32>, JournalError> {
    let mut out = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(at(dir))? {
        let name = entry.map_err(at(dir))?.file_name();
        let parts = name.to_str().and_then(|name| name.split_once('.'));
        let Some((number, end)) = parts else { continue };
        if end == suffix
            && let Ok(number) = number.parse()
        {
            out.insert(number);
        }
    }
    Ok(out)
}

fn read_snapshot(dir: &Path, number: u32) -> Result<Vec<u8>, JournalError> {
    let path = snap_path(dir, number);
    let mut bytes = fs::read(&path).map_err(at(&path))?;
    let is_whole = bytes.len() >= SNAP_HEAD_BYTES
        && bytes[..8] == *SNAP_MAGIC
        && bytes[8..16] == ((bytes.len() - SNAP_HEAD_BYTES) as u64).to_le_bytes()
        && bytes[16..SNAP_HEAD_BYTES] == sha256(&[&bytes[SNAP_HEAD_BYTES..]]).0;
    if !is_whole {
        // It was synced before it got its name, so no crash explains this.
        return Err(JournalError::Damaged { path, what: "the snapshot's check fails" });
    }
    bytes.drain(..SNAP_HEAD_BYTES);
    Ok(bytes)
}

/// Reads one segment; answers its length. The last one may end in a torn record. Bytes that are no
/// record are passed over if good ones follow: each event stands for itself, and one that was written
/// but not flushed before a power cut does no harm.
fn read_log(dir: &Path, number: u32, is_last: bool, recovered: &mut Recovered) -> Result<u64, JournalError> {
    let path = log_path(dir, number);
    let bytes = fs::read(&path).map_err(at(&path))?;
    let mut end = LOG_MAGIC.len();
    if !bytes.starts_with(LOG_MAGIC) {
        if !is_last || !LOG_MAGIC.starts_with(&bytes[..bytes.len().min(end)]) {
            return Err(JournalError::Damaged { path, what: "not a journal file" });
        }
        // A crash while the segment was created.
        fs::write(&path, LOG_MAGIC).map_err(at(&path))?;
        return Ok(0);
    }
    let before = recovered.damaged_bytes;
    loop {
        while let Some(record) = record_at(&bytes, end, number) {
            end += RECORD_HEAD_BYTES + record.len();
            recovered.records.push(record.to_vec());
        }
        let Some(next) = next_record(&bytes, end, number) else { break };
        recovered.damaged_bytes += (next - end) as u64;
        end = next;
    }
    if recovered.damaged_bytes > before {
        recovered.kept = Some(keep(dir, number, "damaged", &bytes)?);
    }
    if end < bytes.len() {
        if !is_last {
            return Err(JournalError::Damaged { path, what: "a record's check fails" });
        }
        recovered.torn_bytes = (bytes.len() - end) as u64;
        let kept = cut(dir, number, &bytes, end)?;
        recovered.kept.get_or_insert(kept);
    }
    Ok((end - LOG_MAGIC.len()) as u64)
}

fn record_at(bytes: &[u8], at: usize, segment: u32) -> Option<&[u8]> {
    let head = bytes.get(at..at + RECORD_HEAD_BYTES)?;
    let len = u32::from_le_bytes(head[..4].try_into().expect("4 bytes")) as usize;
    if len > RECORD_BYTES_MAX {
        return None;
    }
    let start = at + RECORD_HEAD_BYTES;
    let payload = bytes.get(start..start + len)?;
    (check(segment, at as u64, payload) == head[4..]).then_some(payload)
}

/// Where the next good record after a bad one begins. A damaged payload leaves its length in place;
/// beyond that only small records are looked for, so that the search takes no time.
fn next_record(bytes: &[u8], bad: usize, segment: u32) -> Option<usize> {
    let head = bytes.get(bad..bad + RECORD_HEAD_BYTES)?;
    let len = u32::from_le_bytes(head[..4].try_into().expect("4 bytes")) as usize;
    let behind = bad + RECORD_HEAD_BYTES + len;
    let is_good =
        |at: usize, max: usize| record_at(bytes, at, segment).is_some_and(|r| !r.is_empty() && r.len() <= max);
    if len <= RECORD_BYTES_MAX && is_good(behind, RECORD_BYTES_MAX) {
        return Some(behind);
    }
    (bad + 1..bytes.len().min(bad + SEARCH_BYTES)).find(|at| is_good(*at, SEARCH_RECORD_BYTES))
}

/// Keeps bytes beside the journal under a name that is free: somebody may want them.
fn keep(dir: &Path, number: u32, what: &str, bytes: &[u8]) -> Result<PathBuf, JournalError> {
    let name = |copy: u32| if copy == 0 { format!("{number:04}.{what}") } else { format!("{number:04}.{copy}.{what}") };
    let free = (0..).map(|copy| dir.join(name(copy))).find(|path| !path.exists());
    let path = free.expect("one of four thousand million names is free");
    fs::write(&path, bytes).map_err(at(&path))?;
    Ok(path)
}

/// Cuts the tail off.
fn cut(dir: &Path, number: u32, bytes: &[u8], end: usize) -> Result<PathBuf, JournalError> {
    let kept = keep(dir, number, "torn", &bytes[end..])?;
    let path = log_path(dir, number);
    let truncate = || {
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(end as u64)?;
        file.sync_all()
    };
    truncate().map_err(at(&path))?;
    Ok(kept)
}
