//! When jobs were over: a line each in `jobs.over`, for the journal does not say it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The times, in seconds since 1970, by job.
pub(crate) struct Ages {
    path: PathBuf,
    over: BTreeMap<String, u64>,
}

impl Ages {
    /// Reads the file, and writes it anew for the jobs that are over. One whose line is missing counts as over now: it was closed by a
    /// node that was killed, or that wrote no such lines.
    pub(crate) fn open(dir: &Path, over: impl Iterator<Item = String>, now: u64) -> io::Result<Self> {
        let path = dir.join("jobs.over");
        let text = match std::fs::read_to_string(&path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let line = |line: &str| line.split_once(' ').and_then(|(job, at)| Some((job.to_owned(), at.parse().ok()?)));
        let known: BTreeMap<String, u64> = text.lines().filter_map(line).collect();
        let over: BTreeMap<String, u64> =
            over.map(|job| (job.clone(), known.get(&job).copied().unwrap_or(now))).collect();
        let aside = dir.join("jobs.part");
        let lines: String = over.iter().map(|(job, at)| format!("{job} {at}\n")).collect();
        std::fs::write(&aside, lines)?;
        std::fs::rename(&aside, &path)?;
        Ok(Self { path, over })
    }

    /// A job is over.
    pub(crate) fn note(&mut self, job: String, now: u64) -> io::Result<()> {
        let line = format!("{job} {now}\n");
        self.over.insert(job, now);
        OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(line.as_bytes())
    }

    /// A job is forgotten; its line goes with the next start.
    pub(crate) fn forget(&mut self, job: &str) {
        self.over.remove(job);
    }

    /// When a job was over.
    pub(crate) fn of(&self, job: &str) -> Option<u64> {
        self.over.get(job).copied()
    }
}
