//! What an owner made and a node keeps: a list in one file of JSON, written whole or not at all.

use serde::de::DeserializeOwned;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why such a file is not read. It is never thrown away: what it says cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is there, and is none: torn, or changed by hand.
    #[error("{} is damaged ({why})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        why: serde_json::Error,
    },
    /// The disk refuses.
    #[error("{} cannot be read ({why})", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

impl OpenError {
    pub(crate) fn disk(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |why| Self::Disk { path, why }
    }
}

/// The list in a file; an empty one if there is no file.
pub(crate) fn list<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, OpenError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|why| OpenError::Damaged { path: path.to_owned(), why }),
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(why) => Err(OpenError::disk(path)(why)),
    }
}
