//! What is being erased, on the disk before the first of it goes: `erasing.json`.

use super::sync;
use serde::{Deserialize, Serialize};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Version of the record.
const VERSION: u16 = 1;

/// What is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Intent {
    pub(crate) version: u16,
    /// One job, batch or response.
    pub(crate) job: Option<String>,
    /// All of one key, by its id.
    pub(crate) key: Option<String>,
    /// Prompts and answers from before this, in seconds since 1970.
    pub(crate) prompts: Option<u64>,
    /// Receipts as a whole from before this.
    pub(crate) receipts: Option<u64>,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("erasing.json")
}

impl Intent {
    /// Prompts and answers from before a time; everybody's.
    pub(crate) fn before(prompts: u64) -> Self {
        Self { version: VERSION, prompts: Some(prompts), ..Self::default() }
    }

    /// On the disk when this returns.
    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        let aside = dir.join("erasing.part");
        let mut file = std::fs::File::create(&aside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        std::fs::rename(&aside, path(dir))?;
        sync(dir)
    }

    /// One that was begun and not finished.
    ///
    /// # Errors
    /// A record that is damaged, or another version's: nobody knows then what is still there.
    pub(crate) fn open(dir: &Path) -> io::Result<Option<Self>> {
        let intent: Self = match std::fs::read(path(dir)) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
            bytes => serde_json::from_slice(&bytes?)?,
        };
        let other = || io::Error::other(format!("it has version {}, not {VERSION}", intent.version));
        if intent.version == VERSION { Ok(Some(intent)) } else { Err(other()) }
    }

    /// It is done.
    pub(crate) fn close(dir: &Path) -> io::Result<()> {
        match std::fs::remove_file(path(dir)) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
            _ => sync(dir),
        }
    }
}
