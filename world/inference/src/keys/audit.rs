//! What was decided about payments of keys: one JSON line for each, in a file that is cut off in halves.

use serde_json::Value;
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

/// Bytes of the file before it is put aside; the one that was put aside before goes.
const BYTES_MAX: u64 = 4 << 20;
/// Lines of an answer, the last ones.
pub const LINES_MAX: usize = 1_000;

/// The file, and the one before it.
#[derive(Debug)]
pub(super) struct Audit(PathBuf);

impl Audit {
    pub(super) fn beside(keys: &Path) -> Self {
        Self(keys.with_file_name("keys-audit.jsonl"))
    }

    fn before(&self) -> PathBuf {
        self.0.with_extension("1.jsonl")
    }

    /// Adds a line, on the disk when this returns.
    pub(super) fn note(&self, line: &Value) -> io::Result<()> {
        if std::fs::metadata(&self.0).is_ok_and(|file| file.len() >= BYTES_MAX) {
            std::fs::rename(&self.0, self.before())?;
        }
        let mut file = OpenOptions::new().create(true).append(true).open(&self.0)?;
        // What a kill cut off before it is a line of its own.
        file.write_all(format!("\n{line}\n").as_bytes())?;
        file.sync_data()
    }

    /// Takes the words out of the lines about a key, or all keys, from before a time: what each payment was for, as who asked said it.
    /// Counts only unless it `writes`. How many lines had some, and the bytes of them.
    pub(super) fn forget_words(&self, key: Option<&str>, before: u64, writes: bool) -> io::Result<(u64, u64)> {
        let mut sum = (0, 0);
        for path in [self.before(), self.0.clone()] {
            let text = match std::fs::read(&path) {
                Err(why) if why.kind() == io::ErrorKind::NotFound => continue,
                text => text?,
            };
            let (mut out, mut found) = (Vec::with_capacity(text.len()), 0);
            for line in text.split_inclusive(|byte| *byte == b'\n') {
                let value: Value = serde_json::from_slice(line).unwrap_or_default();
                let is_meant = value["time"].as_u64().is_some_and(|at| at < before)
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

    /// The last lines about a key, the oldest first; of all keys if none is named.
    pub(super) fn last(&self, key: Option<&str>, most: usize) -> Vec<Value> {
        let mut last = std::collections::VecDeque::new();
        for path in [self.before(), self.0.clone()] {
            let Ok(file) = std::fs::File::open(path) else { continue };
            let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
            // A line that a kill cut off is none.
            let lines = lines.filter_map(|line| serde_json::from_slice::<Value>(&line).ok());
            for line in lines.filter(|line| key.is_none_or(|key| line["key"] == key)) {
                if last.len() >= most.min(LINES_MAX) {
                    last.pop_front();
                }
                last.push_back(line);
            }
        }
        last.into()
    }
}
