//! The journal: an append-only list of records that survives kill -9 and power cuts up to the last
//! flush.
//!
//! ```text
//! journal/0007.snap   state before segment 7: magic ‖ len u64 ‖ SHA-256 ‖ bytes
//! journal/0007.log    magic ‖ record ‖ record ‖ …
//! record              len u32 ‖ check [4] ‖ payload        (integers little-endian)
//! check               first 4 bytes of SHA-256(segment u32 ‖ offset u64 ‖ payload)
//! ```
//! The check covers the place of a record, so bytes left over from elsewhere are never taken for
//! one. After a failed write or sync nothing is known about the file, so the journal refuses
//! everything until it is opened again.

mod recover;

use crate::limits::{JOURNAL_BUFFER_BYTES, RECORD_BYTES_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_EVERY_BYTES};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use talkoo_base::sha256;
use thiserror::Error;

const LOG_MAGIC: &[u8; 8] = b"TKJLOG1\n";
const SNAP_MAGIC: &[u8; 8] = b"TKJSNP1\n";
const RECORD_HEAD_BYTES: usize = 8;
const SNAP_HEAD_BYTES: usize = 8 + 8 + 32;

/// Why the journal cannot be read or written.
#[derive(Debug, Error)]
pub enum JournalError {
    /// A file system error.
    #[error("cannot use journal file {}: check that the disk has room and is healthy", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A record over the limit.
    #[error("record of {bytes} bytes is over the limit of {RECORD_BYTES_MAX}: keep bulk data in blocks")]
    RecordTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// A snapshot over the limit.
    #[error("snapshot of {bytes} bytes is over the limit of {SNAPSHOT_BYTES_MAX}: forget finished jobs")]
    SnapshotTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Damage that no crash explains.
    #[error("journal file {} is damaged ({what}): restore the data dir from a backup", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// An earlier write failed.
    #[error("the journal failed earlier and is closed: restart the node")]
    Closed,
}

/// What was found at the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The newest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// Records after it, in order.
    pub records: Vec<Vec<u8>>,
    /// Bytes of a torn record that were cut off the end: what a crash leaves, and nobody was told of.
    pub torn_bytes: u64,
    /// Bytes before good records that hold none any more: damage, and what they said is lost.
    pub damaged_bytes: u64,
    /// Where what was cut off, or the whole damaged segment, is kept.
    pub kept: Option<PathBuf>,
}

/// The open journal. One owner; every call may block on the disk.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    file: File,
    segment: u32,
    /// Length of the segment including what is still in `buffer`.
    end: u64,
    /// Bytes since the last snapshot.
    bytes: u64,
    buffer: Vec<u8>,
    is_closed: bool,
}

impl Journal {
    /// Opens the journal in `dir` (usually `<data-dir>/journal`), reads everything since the last
    /// snapshot and cuts off a torn record at the end.
    ///
    /// # Errors
    /// [`JournalError::Io`]; [`JournalError::Damaged`] if something other than the end is broken.
    pub fn open(dir: impl AsRef<Path>) -> Result<(Self, Recovered), JournalError> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(at(dir))?;
        let (recovered, segment, bytes) = recover::recover(dir)?;
        let path = log_path(dir, segment);
        let (file, end) = if path.exists() {
            let file = OpenOptions::new().append(true).open(&path).map_err(at(&path))?;
            let end = file.metadata().map_err(at(&path))?.len();
            (file, end)
        } else {
            (create_log(dir, segment)?, LOG_MAGIC.len() as u64)
        };
        let journal = Self { dir: dir.to_owned(), file, segment, end, bytes, buffer: Vec::new(), is_closed: false };
        Ok((journal, recovered))
    }

    /// Appends records. They are durable after the next [`Journal::flush`].
    ///
    /// # Errors
    /// [`JournalError::RecordTooLarge`] before anything is appended, [`JournalError::Io`],
    /// [`JournalError::Closed`].
    pub fn append(&mut self, records: &[&[u8]]) -> Result<(), JournalError> {
        self.check_open()?;
        if let Some(large) = records.iter().find(|record| record.len() > RECORD_BYTES_MAX) {
            return Err(JournalError::RecordTooLarge { bytes: large.len() });
        }
        for record in records {
            let len = u32::try_from(record.len()).expect("16 MiB fit into a u32");
            self.buffer.extend_from_slice(&len.to_le_bytes());
            self.buffer.extend_from_slice(&check(self.segment, self.end, record));
            self.buffer.extend_from_slice(record);
            let bytes = (RECORD_HEAD_BYTES + record.len()) as u64;
            self.end += bytes;
            self.bytes += bytes;
            if self.buffer.len() >= JOURNAL_BUFFER_BYTES {
                self.guard(Self::write_out)?;
            }
        }
        Ok(())
    }

    /// Makes all appended records durable: write, then fdatasync.
    ///
    /// # Errors
    /// [`JournalError::Io`], [`JournalError::Closed`].
    pub fn flush(&mut self) -> Result<(), JournalError> {
        self.check_open()?;
        self.guard(|journal| {
            journal.write_out()?;
            journal.file.sync_data()
        })
    }

    /// A snapshot would shorten the next start noticeably.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.bytes >= SNAPSHOT_EVERY_BYTES
    }

    /// Replaces everything appended so far by `state`. Once this returns, the next start finds
    /// `state` and what is appended from now on; a crash before leaves the old records.
    ///
    /// # Errors
    /// [`JournalError::SnapshotTooLarge`], [`JournalError::Io`], [`JournalError::Closed`].
    pub fn snapshot(&mut self, state: &[u8]) -> Result<(), JournalError> {
        if state.len() > SNAPSHOT_BYTES_MAX {
            return Err(JournalError::SnapshotTooLarge { bytes: state.len() });
        }
        self.flush()?;
        let next = self.segment + 1;
        // The log comes first: a snapshot without its log would lose what is appended after it.
        let result = create_log(&self.dir, next).and_then(|file| {
            write_snapshot(&self.dir, next, state)?;
            Ok(file)
        });
        self.is_closed = result.is_err();
        self.file = result?;
        self.segment = next;
        self.end = LOG_MAGIC.len() as u64;
        self.bytes = 0;
        recover::remove_before(&self.dir, next)
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn check_open(&self) -> Result<(), JournalError> {
        if self.is_closed { Err(JournalError::Closed) } else { Ok(()) }
    }

    /// Closes the journal if `act` fails: after a failed sync the kernel may have dropped pages, so
    /// a second sync that succeeds would prove nothing.
    fn guard(&mut self, act: impl FnOnce(&mut Self) -> io::Result<()>) -> Result<(), JournalError> {
        let result = act(self);
        self.is_closed = result.is_err();
        result.map_err(at(&log_path(&self.dir, self.segment)))
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { path, source }
}

fn log_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:04}.log"))
}

fn snap_path(dir: &Path, segment: u32) -> PathBuf {
    dir.join(format!("{segment:04}.snap"))
}

fn check(segment: u32, offset: u64, payload: &[u8]) -> [u8; 4] {
    let digest = sha256(&[&segment.to_le_bytes(), &offset.to_le_bytes(), payload]);
    digest.0[..4].try_into().expect("4 of 32 bytes")
}

fn create_log(dir: &Path, segment: u32) -> Result<File, JournalError> {
    let path = log_path(dir, segment);
    let create = || {
        // A log of this number can only be what a crash left between creating it and using it.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        file.write_all(LOG_MAGIC)?;
        file.sync_all()?;
        crate::sync_dir(dir)?;
        Ok(file)
    };
    create().map_err(at(&path))
}

fn write_snapshot(dir: &Path, segment: u32, state: &[u8]) -> Result<(), JournalError> {
    let path = snap_path(dir, segment);
    let aside = path.with_extension("new");
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(SNAP_MAGIC)?;
        file.write_all(&(state.len() as u64).to_le_bytes())?;
        file.write_all(&sha256(&[state]).0)?;
        file.write_all(state)?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        crate::sync_dir(dir)
    };
    write().map_err(at(&path))
}

#[cfg(test)]
mod tests;
