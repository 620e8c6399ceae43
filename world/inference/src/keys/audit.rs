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
