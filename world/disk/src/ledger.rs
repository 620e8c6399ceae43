//! The ledger's keys and values: one table in a redb file of their own.
//!
//! A [`Snapshot`] is what the file held at one moment; it stays so while others write. [`Ledger::write`] returns when
//! everything is on disk, or nothing is.

use crate::limits::LEDGER_CACHE_BYTES;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition};
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("ledger/1");

/// The file can't be opened, read or written.
#[derive(Debug, Error)]
#[error("the ledger's file: {0}; has the disk room, and does no other program use it?")]
pub struct LedgerError(#[source] Box<redb::Error>);

impl<E: Into<redb::Error>> From<E> for LedgerError {
    fn from(error: E) -> Self {
        Self(Box::new(error.into()))
    }
}

/// The ledger's file.
#[derive(Debug)]
pub struct Ledger(Database);

/// What it held at one moment.
pub struct Snapshot(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Ledger {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let database = Database::builder().set_cache_size(LEDGER_CACHE_BYTES).create(path)?;
        let write = database.begin_write()?;
        write.open_table(TABLE)?;
        write.commit()?;
        Ok(Self(database))
    }

    /// What the file holds now.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn snapshot(&self) -> Result<Snapshot, LedgerError> {
        Ok(Snapshot(self.0.begin_read()?.open_table(TABLE)?))
    }

    /// Writes all of it, durably. `None` removes a key.
    ///
    /// # Errors
    /// [`LedgerError`]: then nothing was written.
    pub fn write(&self, writes: &BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<(), LedgerError> {
        let mut write = self.0.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        {
            let mut table = write.open_table(TABLE)?;
            for (key, value) in writes {
                match value {
                    Some(value) => drop(table.insert(key.as_slice(), value.as_slice())?),
                    None => drop(table.remove(key.as_slice())?),
                }
            }
        }
        write.commit()?;
        Ok(())
    }
}

impl Snapshot {
    /// The value of a key, if it had one.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(self.0.get(key)?.map(|value| value.value().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_stays_and_a_file_keeps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let ledger = Ledger::open(&path).unwrap();
        ledger.write(&[(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), Some(b"2".to_vec()))].into()).unwrap();
        let before = ledger.snapshot().unwrap();
        ledger.write(&[(b"a".to_vec(), None), (b"b".to_vec(), Some(b"3".to_vec()))].into()).unwrap();
        assert_eq!(before.get(b"a").unwrap(), Some(b"1".to_vec()));
        drop((before, ledger));
        let after = Ledger::open(&path).unwrap().snapshot().unwrap();
        assert_eq!((after.get(b"a").unwrap(), after.get(b"b").unwrap()), (None, Some(b"3".to_vec())));
    }
}
