//! What the ledger reads of the disk: keys and values, nothing else.

use std::collections::BTreeMap;
use thiserror::Error;

/// A read failed, or what was read is not what was written.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum KvError {
    /// The disk failed.
    #[error("the ledger's data can't be read: {0}")]
    Io(String),
    /// A node or a code that the state names is not there, or is other bytes.
    #[error("the ledger's data is damaged at {0}: let the chain be synced anew")]
    Damaged(String),
}

impl revm::database_interface::DBErrorMarker for KvError {}

/// Reads by key. Values never change behind the reader's back: an implementation is a snapshot.
pub trait KvRead {
    /// The value of a key, if it has one.
    ///
    /// # Errors
    /// [`KvError::Io`] if the disk fails.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;
}

/// Keys and values in memory: for tests, simulations and the genesis.
#[derive(Clone, Debug, Default)]
pub struct Memory(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl KvRead for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.0.get(key).cloned())
    }
}

impl Memory {
    /// Carries out writes.
    pub fn write(&mut self, writes: Writes) {
        for (key, value) in writes {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

/// What a flush leaves to be written at once: `None` removes a key.
pub type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
