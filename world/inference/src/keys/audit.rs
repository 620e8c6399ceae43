//! What was decided about payments of keys: one JSON line for each, in files that are cut off in halves. Refused ones have a file
//! of their own: they cost nothing, so a key could drown the others in them.

use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Bytes of the file before it is put aside; the one that was put aside before goes.
const BYTES_MAX: u64 = 4 << 20;
/// Lines of an answer, the last ones.
pub const LINES_MAX: usize = 1_000;
/// Bytes of the end of a file that an answer is read from: some 1,000 lines. A key may ask often.
const READ_BYTES: u64 = 512 << 10;

/// The files: what was allowed, or waited; what was refused. Each has one before it.
#[derive(Debug)]
pub(super) struct Audit([PathBuf; 2]);

impl Audit {
    pub(super) fn beside(keys: &Path) -> Self {
        Self(["keys-audit.jsonl", "keys-refused.jsonl"].map(|name| keys.with_file_name(name)))
    }

    /// Adds a line, on the disk when this returns.
    pub(super) fn note(&self, line: &Value) -> io::Result<()> {
        let path = &self.0[usize::from(line["decision"] == "refused")];
        if std::fs::metadata(path).is_ok_and(|file| file.len() >= BYTES_MAX) {
            std::fs::rename(path, before(path))?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        // What a kill cut off before it is a line of its own.
        file.write_all(format!("\n{line}\n").as_bytes())?;
        file.sync_data()
    }

    /// Takes the words out of the lines about a key, or all keys, from before a time: what each payment was for, as who asked said it.
    /// Counts only unless it `writes`. How many lines had some, and the bytes of them.
    pub(super) fn forget_words(&self, key: Option<&str>, until: u64, writes: bool) -> io::Result<(u64, u64)> {
        let mut sum = (0, 0);
        for path in self.0.iter().flat_map(|path| [before(path), path.clone()]) {
            let text = match std::fs::read(&path) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                text => text?,
            };
            let (mut out, mut found) = (Vec::with_capacity(text.len()), 0);
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                let value: Value = serde_json::from_slice(line).unwrap_or_default();
                let is_meant = value["time"].as_u64().is_some_and(|at| at < until)
                    && key.is_none_or(|key| value["key"] == key)
                    && value["why"].as_str().is_some_and(|why| !why.is_empty());
                if is_meant {
                    found += 1;
                    sum.1 += value["why"].as_str().map_or(0, |why| why.len() as u64);
                    let mut value = value;
                    value["why"] = Value::String(String::new());
                    out.extend(format!("{value}\n").into_bytes());
                } else {
                    out.extend(line);
                }
            }
            if found > 0 && writes {
                crate::files::write(&path, &out)?;
            }
            sum.0 += found;
        }
        Ok(sum)
    }

    /// The last lines about a key, the oldest first; of all keys if none is named. Of each file only the end is read.
    pub(super) fn last(&self, key: Option<&str>, most: usize) -> Vec<Value> {
        let mut all = Vec::new();
        for path in &self.0 {
            let mut lines = Vec::new();
            for path in [before(path), path.clone()] {
                lines.extend(end(&path).unwrap_or_default());
            }
            all.extend(lines.into_iter().filter(|line: &Value| key.is_none_or(|key| line["key"] == key)));
        }
        all.sort_by_key(|line| (line["time"].as_u64(), line["nanos"].as_u64()));
        all.split_off(all.len().saturating_sub(most.min(LINES_MAX)))
    }
}

fn before(path: &Path) -> PathBuf {
    path.with_extension("1.jsonl")
}

/// The lines at the end of a file.
fn end(path: &Path) -> io::Result<Vec<Value>> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(READ_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES).read_to_end(&mut bytes)?;
    // A line that a kill cut off is none, nor is one that begins before what is read.
    Ok(bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect())
}
