//! `Idempotency-Key`: the same request sent again gets the first answer, and nothing is done twice
//! (draft-ietf-httpapi-idempotency-key-header).
//!
//! ```text
//! begin ──► written "begun" ──► the node does it ──► written "answered" ──► the answer
//!                │                                        │
//!                └─ again, meanwhile: 409                 └─ again: this answer, for 24 hours
//! ```
//!
//! Both lines are on the disk before the next step. If the node dies between them, nobody here knows whether it was done. A
//! job's id follows from its record, so posting it again finds it or posts it, once; everything else is not tried again: the
//! repeat is refused, and says so.
//!
//! The file is a journal of lines of JSON, written anew at each start without what is over. An answer may be erased before its
//! time ([`Repeated`]): then its request is still known, and not done again.

use crate::limits::{KEY_BYTES_MAX, REPEAT_ANSWER_BYTES_MAX, REPEAT_S, REPEATS_BYTES_MAX, REPEATS_MAX};
use crate::problem::refusal_json;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use talkoo_base::{Digest, Refusal, RefusalCode, sha256};

/// What came of a request.
pub(crate) type Answer = Result<Value, Refusal>;

/// What a request is, so that it is known again: digests, for what it says is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) key: Digest,
    /// Of method, path and arguments.
    pub(crate) request: Digest,
}

/// What to do with a request that has a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Turn {
    /// Nobody asked before: do it. The digest is this record's own, for ids that follow from it.
    First(Digest),
    /// It was begun before a restart, and nobody knows how it ended.
    Unknown(Digest),
    /// It was done: this was the answer.
    Again(Answer),
}

/// Why a request with a key is not done.
#[derive(Debug, PartialEq)]
pub(crate) enum NotNow {
    /// The first one still runs.
    Runs,
    /// The key was used for something else.
    Other,
    /// It was done, and its answer was erased.
    Erased,
    /// There is no room for more keys.
    Full,
    /// The disk does not take it.
    Disk(String),
}

#[derive(Debug)]
struct Record {
    request: Digest,
    /// When it began, in Unix seconds.
    at: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Runs,
    Unknown,
    /// As it stands in the file.
    Answered(String),
    /// With a secret: told again while the node runs, and in the file as [`State::Erased`].
    Secret(String),
    /// It was done, and what the answer was nobody knows any more.
    Erased,
}

#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: File,
    /// Bytes of the file.
    length: usize,
    records: BTreeMap<Digest, Record>,
    /// Of the answers, as text.
    bytes: usize,
}

/// What was asked with a key in the last 24 hours.
#[derive(Debug)]
pub(crate) struct Repeats(Mutex<Kept>);

impl Repeats {
    /// Reads what is kept, leaves out what is over, and writes the rest anew.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let mut records = BTreeMap::new();
        if path.exists() {
            for line in BufReader::new(File::open(path)?).split(b'\n') {
                // A line that a kill cut off, in the middle of a letter perhaps, was never acted on.
                if let Ok(line) = std::str::from_utf8(&line?) {
                    read(line, &mut records);
                }
            }
        }
        let now = unix();
        records.retain(|_, record: &mut Record| now < record.at + REPEAT_S);
        let (file, length) = write_anew(path, &records)?;
        let bytes = records.values().map(Record::bytes).sum();
        Ok(Self(Mutex::new(Kept { path: path.to_owned(), file, length, records, bytes })))
    }

    /// Takes a request. [`Turn::First`] and [`Turn::Unknown`] are to be ended.
    pub(crate) fn begin(&self, seen: Seen) -> Result<Turn, NotNow> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = unix();
        kept.forget(now);
        match kept.records.get_mut(&seen.key) {
            Some(record) if record.request != seen.request => return Err(NotNow::Other),
            Some(Record { state: State::Answered(answer) | State::Secret(answer), .. }) => {
                return Ok(Turn::Again(told(answer)));
            }
            Some(Record { state: State::Runs, .. }) => return Err(NotNow::Runs),
            Some(Record { state: State::Erased, .. }) => return Err(NotNow::Erased),
            Some(record) => {
                record.state = State::Runs;
                return Ok(Turn::Unknown(own(&seen, record.at)));
            }
            None => {}
        }
        if kept.records.len() >= REPEATS_MAX || kept.bytes >= REPEATS_BYTES_MAX {
            return Err(NotNow::Full);
        }
        let record = Record { request: seen.request, at: now, state: State::Runs };
        kept.write(&begun(&seen.key, &record)).map_err(|why| NotNow::Disk(why.to_string()))?;
        kept.records.insert(seen.key, record);
        Ok(Turn::First(own(&seen, now)))
    }

    /// It was done, and this is the answer. One with a secret is not written.
    pub(crate) fn answer(&self, key: &Digest, answer: &Answer, is_secret: bool) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = match answer {
            Ok(value) => json!({"done": value}),
            Err(no) => refusal_json(no),
        };
        let text = if is_secret { erased(key) } else { answered(key, &answer.to_string()) };
        // What is too large, or does not reach the disk, stays unknown: it is not done again.
        let answer = answer.to_string();
        let is_written = answer.len() <= REPEAT_ANSWER_BYTES_MAX && kept.write(&text).is_ok();
        let bytes = if is_written { answer.len() } else { 0 };
        let state = match (is_written, is_secret) {
            (false, _) => State::Unknown,
            (true, true) => State::Secret(answer),
            (true, false) => State::Answered(answer),
        };
        if let Some(record) = kept.records.get_mut(key) {
            record.state = state;
            kept.bytes += bytes;
        }
    }

    /// Nothing was done: the key is free again.
    pub(crate) fn free(&self, key: &Digest) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // If this line is lost, the key is taken for longer: no harm is done.
        kept.write(&format!("\n{}", json!({"key": key.to_string(), "free": true}))).ok();
        kept.records.remove(key);
    }

    /// Nobody knows how it ended.
    pub(crate) fn leave(&self, key: &Digest) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = kept.records.get_mut(key) {
            record.state = State::Unknown;
        }
    }
}

/// The answers that are kept for requests with an `Idempotency-Key`, for their end.
#[derive(Clone, Debug)]
pub struct Repeated(pub(crate) Arc<Repeats>);

impl Repeated {
    /// Erases answers from before a time, in seconds since 1970; only those that name `one`, if it is given. What is over goes as
    /// well, and nothing of either is left in the file. How many there are, and their bytes; only counts, unless it `writes`.
    ///
    /// # Errors
    /// What the disk says.
    pub fn erase(&self, one: Option<&str>, before: u64, writes: bool) -> std::io::Result<(u64, u64)> {
        let mut kept = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &mut *kept;
        let mut sum = (0, 0);
        for record in kept.records.values_mut() {
            let (State::Answered(answer) | State::Secret(answer)) = &record.state else { continue };
            if record.at < before && one.is_none_or(|one| answer.contains(one)) {
                sum = (sum.0 + 1, sum.1 + answer.len() as u64);
                if writes {
                    record.state = State::Erased;
                }
            }
        }
        if writes {
            kept.forget(unix());
            (kept.file, kept.length) = write_anew(&kept.path, &kept.records)?;
        }
        Ok(sum)
    }
}

impl Kept {
    fn write(&mut self, line: &str) -> std::io::Result<()> {
        if self.length > 2 * REPEATS_BYTES_MAX {
            (self.file, self.length) = write_anew(&self.path, &self.records)?;
        }
        self.length += line.len();
        self.file.write_all(line.as_bytes())?;
        self.file.sync_data()
    }

    fn forget(&mut self, now: u64) {
        let is_over = |record: &Record| now >= record.at + REPEAT_S && !matches!(record.state, State::Runs);
        self.records.retain(|_, record| !is_over(record));
        self.bytes = self.records.values().map(Record::bytes).sum();
    }
}

impl Record {
    fn bytes(&self) -> usize {
        match &self.state {
            State::Answered(answer) | State::Secret(answer) => answer.len(),
            State::Runs | State::Unknown | State::Erased => 0,
        }
    }
}

/// A key as it may be: visible ASCII.
pub(crate) fn key_of(text: &str) -> Result<Digest, Refusal> {
    let is_good = (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good {
        return Ok(sha256(&[b"talkoo/idempotency/1", text.as_bytes()]));
    }
    let hint = "1 to 255 visible ASCII characters; a random UUID will do";
    Err(Refusal::new(RefusalCode::Malformed, "`Idempotency-Key` is no key", hint))
}

/// A record's own digest: also of when it began, so that the same key of another day is another one.
fn own(seen: &Seen, at: u64) -> Digest {
    sha256(&[b"talkoo/repeat/1", &seen.key.0, &seen.request.0, &at.to_be_bytes()])
}

/// A line begins with its end, so that one that was cut off spoils none after it.
fn begun(key: &Digest, record: &Record) -> String {
    format!("\n{}", json!({"key": key.to_string(), "request": record.request.to_string(), "at": record.at}))
}

fn answered(key: &Digest, answer: &str) -> String {
    format!("\n{{\"key\":\"{key}\",\"answer\":{answer}}}")
}

fn erased(key: &Digest) -> String {
    format!("\n{}", json!({"key": key.to_string(), "erased": true}))
}

fn told(answer: &str) -> Answer {
    let mut value: Value = serde_json::from_str(answer).expect("it was JSON when it was written");
    if let Some(done) = value.get_mut("done") {
        return Ok(done.take());
    }
    let error = &value["error"];
    let text = |name: &str| error[name].as_str().map(str::to_owned);
    Err(Refusal {
        code: RefusalCode::parse(&text("code").unwrap_or_default()),
        message: text("message").unwrap_or_default(),
        need: text("need"),
        have: text("have"),
        hint: text("hint").unwrap_or_default(),
    })
}

fn write_anew(path: &Path, records: &BTreeMap<Digest, Record>) -> std::io::Result<(File, usize)> {
    let part = PathBuf::from(format!("{}.part", path.display()));
    let (mut file, mut length) = (private(&part)?, 0);
    for (key, record) in records {
        let mut lines = begun(key, record);
        match &record.state {
            State::Answered(answer) => lines.push_str(&answered(key, answer)),
            State::Secret(_) | State::Erased => lines.push_str(&erased(key)),
            State::Runs | State::Unknown => {}
        }
        length += lines.len();
        file.write_all(lines.as_bytes())?;
    }
    file.sync_all()?;
    std::fs::rename(&part, path)?;
    path.parent().map(|dir| File::open(dir)?.sync_all()).transpose()?;
    Ok((file, length))
}

fn read(line: &str, records: &mut BTreeMap<Digest, Record>) -> Option<()> {
    let value: Value = serde_json::from_str(line).ok()?;
    let digest = |name: &str| value[name].as_str().and_then(Digest::from_hex);
    let key = digest("key")?;
    if let (Some(request), Some(at)) = (digest("request"), value["at"].as_u64()) {
        records.insert(key, Record { request, at, state: State::Unknown });
    } else if value["free"] == Value::Bool(true) {
        records.remove(&key);
    } else if value["erased"] == Value::Bool(true) {
        records.get_mut(&key)?.state = State::Erased;
    } else if let Some(answer) = value.get("answer") {
        records.get_mut(&key)?.state = State::Answered(answer.to_string());
    }
    Some(())
}

/// Only its owner reads it: what was answered is his business.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn unix() -> u64 {
    // A clock before 1970 makes records live longer, and no worse.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
