//! Why blocks cannot be kept or read.

use std::io;
use std::path::{Path, PathBuf};
use talkoo_base::Cid;
use thiserror::Error;

/// Why blocks cannot be kept or read.
#[derive(Debug, Error)]
pub enum BlocksError {
    /// The quota has no room.
    #[error("{need} bytes do not fit into the {have} bytes left of the quota: remove models or raise the quota")]
    QuotaExceeded {
        /// Bytes to be stored.
        need: u64,
        /// Bytes left.
        have: u64,
    },
    /// The file system has no room.
    #[error("the disk is full at {}: free some space or use another --data-dir", .path.display())]
    DiskFull {
        /// Where.
        path: PathBuf,
    },
    /// The bytes on the disk are not the block any more. It is forgotten, unless it is private: then
    /// nobody else has it, and what is left of it stays where it is.
    #[error("block {cid} was damaged on disk: check the disk; if it belongs to a model, pull that again")]
    Damaged {
        /// Which.
        cid: Cid,
    },
    /// A pin's id, name, origin or meta is empty or too long.
    #[error("a pin's id, name, origin or meta of {bytes} bytes: between {min} and {max} are possible")]
    PinName {
        /// Its length.
        bytes: usize,
        /// What it needs.
        min: usize,
        /// What it may have.
        max: usize,
    },
    /// A file.
    #[error("cannot use {}: check that the disk is healthy and the file is yours", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index.
    #[error("cannot use the block index kv.redb: check that the disk has room and is healthy")]
    Index(#[source] Box<redb::Error>),
}

impl BlocksError {
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { path, source },
        }
    }
}

macro_rules! from_redb {
    ($($error:ty),*) => {$(
        impl From<$error> for BlocksError {
            fn from(error: $error) -> Self {
                Self::Index(Box::new(error.into()))
            }
        }
    )*};
}

from_redb!(
    redb::DatabaseError,
    redb::TransactionError,
    redb::TableError,
    redb::StorageError,
    redb::CommitError,
    redb::SetDurabilityError
);
