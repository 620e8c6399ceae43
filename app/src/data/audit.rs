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

/// Bytes of a line: far more than any has.
const LINE_BYTES_MAX: u64 = 1 << 20;

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
        check(&mut BufReader::new(File::open(&self.path)?), 0, Digest::ZERO)
    }
}

/// Computes the chain of a part of a log again: `first` is the number of its first line, `before` the hash of the line before it.
pub(crate) fn check(log: &mut impl BufRead, first: u64, before: Digest) -> std::io::Result<Checked> {
    let (mut lines, mut head, mut text) = (0, before, Vec::new());
    loop {
        text.clear();
        if log.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text)? == 0 {
            return Ok(Checked { lines, head, broken: None });
        }
        let line = std::str::from_utf8(&text).ok().and_then(|text| text.strip_suffix('\n'));
        match line.and_then(|line| read_line(line, first + lines, &head)) {
            Some((_, hash)) => (lines, head) = (lines + 1, hash),
            None => return Ok(Checked { lines, head, broken: Some(first + lines) }),
        }
    }
}

/// The lines of a span of time: they follow one another, so that the chain holds among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where they stand in the file.
    pub(crate) bytes: std::ops::Range<u64>,
    pub(crate) first: u64,
    pub(crate) before: Digest,
    pub(crate) lines: u64,
    pub(crate) head: Digest,
}

/// Finds the lines of a log from the first one of a time to the last one before another, in seconds of Unix time. What a crash
/// left of a last line is no line.
pub(crate) fn span(path: &Path, times: &std::ops::Range<u64>) -> std::io::Result<Span> {
    let mut log = BufReader::new(File::open(path)?);
    let mut span = Span { bytes: 0..0, first: 0, before: Digest::ZERO, lines: 0, head: Digest::ZERO };
    let (mut at, mut text) = (0, Vec::new());
    loop {
        text.clear();
        let length = log.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text)? as u64;
        if !text.ends_with(b"\n") {
            return Ok(span);
        }
        let line: Value = serde_json::from_slice(&text).unwrap_or_default();
        let hash = line["hash"].as_str().and_then(Digest::from_hex).unwrap_or(span.head);
        let time = line["at"].as_u64().unwrap_or(0);
        if span.lines > 0 && time >= times.end {
            return Ok(span);
        }
        (span.head, at) = (hash, at + length);
        if span.lines == 0 && !times.contains(&time) {
            (span.first, span.before, span.bytes) = (span.first + 1, hash, at..at);
        } else {
            (span.lines, span.bytes.end) = (span.lines + 1, at);
        }
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
        let part = span(&path, &(0..u64::MAX)).unwrap();
        assert_eq!((part.first, part.lines, part.bytes.end), (0, 6, std::fs::metadata(&path).unwrap().len()));
        assert_eq!(span(&path, &(0..1)).unwrap().lines, 0, "nothing was so early");
        let lines: Vec<&str> = text.lines().collect();
        let tail = format!("{}\n{}\n", lines[3], lines[4]);
        let before =
            serde_json::from_str::<Value>(lines[2]).unwrap()["hash"].as_str().and_then(Digest::from_hex).unwrap();
        assert_eq!(check(&mut tail.as_bytes(), 3, before).unwrap(), Checked { lines: 2, ..good });
        assert_eq!(check(&mut tail.as_bytes(), 3, Digest::ZERO).unwrap().broken, Some(3), "torn from its beginning");
        let changed = text.replacen("\"grant\":2", "\"grant\":7", 1);
        let without = [&lines[..1], &lines[2..]].concat().join("\n");
        let moved = [lines[0], lines[2], lines[1], lines[3]].join("\n");
        for (what, text, broken) in [("changed", changed, 2), ("without one", without, 1), ("moved", moved, 1)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(audit.verify().unwrap().broken, Some(broken), "{what}");
        }
    }
}
