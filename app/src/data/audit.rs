//! The audit log: every key that leaves, every grant, payment, read and refusal, in a file that is only appended to.
//!
//! A line is JSON; its `hash` is SHA-256 of a domain, the hash before it and the line without its own hash. So a line that was
//! changed, taken out or moved breaks the chain; that lines are missing at the end shows only who kept a later hash.

use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use talkoo_base::{Digest, sha256};
use tracing::warn;

/// Lines that are shown at once.
const SHOWN_MAX: usize = 1_000;

/// The log of one node.
#[derive(Debug)]
pub(crate) struct Audit {
    path: PathBuf,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    file: File,
    count: u64,
    hash: Digest,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) lines: u64,
    pub(crate) head: Digest,
    /// The first line that is not what it was.
    pub(crate) broken: Option<u64>,
}

fn hash_of(before: &Digest, line: &Value) -> Digest {
    sha256(&[b"talkoo/data/audit/1", &before.0, line.to_string().as_bytes()])
}

/// Reads a line, and its hash after `before`; nothing if it is not the next one.
fn read_line(text: &str, number: u64, before: &Digest) -> Option<(Value, Digest)> {
    let mut line: Value = serde_json::from_str(text).ok()?;
    let hash = line.as_object_mut()?.remove("hash")?;
    let right = hash_of(before, &line);
    (line["n"] == number && hash == right.to_string()).then_some((line, right))
}

impl Audit {
    /// Opens the log, or begins it. What a crash left of a last line is cut off: nothing had happened for it yet.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
        }
        let (mut count, mut hash) = (0, Digest::ZERO);
        for line in text[..whole].lines() {
            count += 1;
            let said =
                serde_json::from_str::<Value>(line).ok().and_then(|line| Digest::from_hex(line["hash"].as_str()?));
            hash = said.unwrap_or(hash);
        }
        Ok(Self { path: path.to_owned(), tail: Mutex::new(Tail { file, count, hash }) })
    }

    /// Appends, and is on the disk when it returns.
    pub(crate) fn note(&self, what: &str, about: Value) {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = json!({"n": tail.count, "at": crate::ledger::unix(), "what": what, "about": about});
        let hash = hash_of(&tail.hash, &line);
        line["hash"] = json!(hash.to_string());
        let written = tail.file.write_all(format!("{line}\n").as_bytes()).and_then(|()| tail.file.sync_data());
        match written {
            Ok(()) => (tail.count, tail.hash) = (tail.count + 1, hash),
            Err(why) => warn!(%why, what, "the audit log cannot be written"),
        }
    }

    /// The last lines, the oldest first.
    pub(crate) fn last(&self) -> std::io::Result<Vec<Value>> {
        let mut lines = std::collections::VecDeque::new();
        for line in BufReader::new(File::open(&self.path)?).lines() {
            if lines.len() == SHOWN_MAX {
                lines.pop_front();
            }
            lines.push_back(line?);
        }
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Computes the chain again.
    pub(crate) fn verify(&self) -> std::io::Result<Checked> {
        let (mut lines, mut head) = (0, Digest::ZERO);
        for line in BufReader::new(File::open(&self.path)?).lines() {
            match read_line(&line?, lines, &head) {
                Some((_, hash)) => (lines, head) = (lines + 1, hash),
                None => return Ok(Checked { lines, head, broken: Some(lines) }),
            }
        }
        Ok(Checked { lines, head, broken: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_log_is_found_out_and_a_torn_one_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit");
        let audit = Audit::open(&path).unwrap();
        (0..5).for_each(|grant| audit.note("granted", json!({"grant": grant})));
        let good = audit.verify().unwrap();
        assert_eq!((good.lines, good.broken), (5, None));
        drop(audit);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{{\"n\":5,\"at\"")).unwrap();
        let audit = Audit::open(&path).unwrap();
        audit.note("read", json!({}));
        assert_eq!((audit.verify().unwrap().lines, audit.last().unwrap().len()), (6, 6));
        let lines: Vec<&str> = text.lines().collect();
        let changed = text.replacen("\"grant\":2", "\"grant\":7", 1);
        let without = [&lines[..1], &lines[2..]].concat().join("\n");
        let moved = [lines[0], lines[2], lines[1], lines[3]].join("\n");
        for (what, text, broken) in [("changed", changed, 2), ("without one", without, 1), ("moved", moved, 1)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(audit.verify().unwrap().broken, Some(broken), "{what}");
        }
    }
}
