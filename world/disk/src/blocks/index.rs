//! The index: which blocks are here, small blocks themselves, pins.

use super::{BlockInfo, BlocksError};
use crate::limits::INDEX_CACHE_BYTES;
use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::ops::Bound;
use std::path::Path;
use talkoo_base::Cid;
use talkoo_store::{Block, Visibility};

/// CID bytes → length, visibility (0 public, 1 granted, 2 private), 1 if the block is in `INLINE`.
const BLOCKS: TableDefinition<&[u8], (u64, u8, u8)> = TableDefinition::new("blocks/1");
/// CID bytes → block.
const INLINE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("inline/1");
/// Name → CID bytes of the root.
const PINS: TableDefinition<&str, &[u8]> = TableDefinition::new("pins/1");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) bytes: u64,
    pub(super) visibility: Visibility,
    pub(super) is_inline: bool,
}

impl Row {
    fn pack(self) -> (u64, u8, u8) {
        let visibility = match self.visibility {
            Visibility::Public => 0,
            Visibility::Granted => 1,
            Visibility::Private => 2,
        };
        (self.bytes, visibility, u8::from(self.is_inline))
    }

    fn unpack((bytes, visibility, is_inline): (u64, u8, u8)) -> Self {
        let visibility = match visibility {
            0 => Visibility::Public,
            1 => Visibility::Granted,
            // Also what a later version may write: never more open than it meant.
            _ => Visibility::Private,
        };
        Self { bytes, visibility, is_inline: is_inline == 1 }
    }
}

#[derive(Debug)]
pub(super) struct Index {
    database: Database,
}

impl Index {
    pub(super) fn open(path: &Path) -> Result<Self, BlocksError> {
        let database = Database::builder().set_cache_size(INDEX_CACHE_BYTES).create(path)?;
        let write = database.begin_write()?;
        write.open_table(BLOCKS)?;
        write.open_table(INLINE)?;
        write.open_table(PINS)?;
        write.commit()?;
        Ok(Self { database })
    }

    pub(super) fn row(&self, cid: &Cid) -> Result<Option<Row>, BlocksError> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        let row = table.get(cid.to_bytes().as_slice())?;
        Ok(row.map(|row| Row::unpack(row.value())))
    }

    pub(super) fn inline(&self, cid: &Cid) -> Result<Option<Bytes>, BlocksError> {
        let table = self.database.begin_read()?.open_table(INLINE)?;
        let content = table.get(cid.to_bytes().as_slice())?;
        Ok(content.map(|content| Bytes::copy_from_slice(content.value())))
    }

    pub(super) fn used_bytes(&self) -> Result<u64, BlocksError> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        let mut sum = 0_u64;
        for row in table.iter()? {
            sum = sum.saturating_add(row?.1.value().0);
        }
        Ok(sum)
    }

    pub(super) fn count(&self) -> Result<u64, BlocksError> {
        Ok(self.database.begin_read()?.open_table(BLOCKS)?.len()?)
    }

    /// Writes rows, visible at once, durable with the next [`Index::commit_durably`]. Answers the
    /// bytes of blocks that were not there.
    pub(super) fn insert(&self, rows: &[(&Block, Row)]) -> Result<u64, BlocksError> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        let mut added = 0;
        {
            let mut blocks = write.open_table(BLOCKS)?;
            let mut inline = write.open_table(INLINE)?;
            for (block, row) in rows {
                let key = block.cid().to_bytes();
                if blocks.insert(key.as_slice(), row.pack())?.is_none() {
                    added += row.bytes;
                }
                if row.is_inline {
                    inline.insert(key.as_slice(), block.bytes().as_ref())?;
                }
            }
        }
        write.commit()?;
        Ok(added)
    }

    pub(super) fn set_visibility(&self, cids: &[Cid], visibility: Visibility) -> Result<(), BlocksError> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        {
            let mut blocks = write.open_table(BLOCKS)?;
            for cid in cids {
                let key = cid.to_bytes();
                let row = blocks.get(key.as_slice())?.map(|row| Row::unpack(row.value()));
                if let Some(row) = row {
                    blocks.insert(key.as_slice(), Row { visibility, ..row }.pack())?;
                }
            }
        }
        Ok(write.commit()?)
    }

    /// Removes rows; answers their bytes.
    pub(super) fn remove(&self, cids: &[Cid]) -> Result<u64, BlocksError> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        let mut freed = 0;
        {
            let mut blocks = write.open_table(BLOCKS)?;
            let mut inline = write.open_table(INLINE)?;
            for cid in cids {
                let key = cid.to_bytes();
                freed += blocks.remove(key.as_slice())?.map_or(0, |row| row.value().0);
                inline.remove(key.as_slice())?;
            }
        }
        write.commit()?;
        Ok(freed)
    }

    /// An empty durable commit carries all earlier ones with it.
    pub(super) fn commit_durably(&self) -> Result<(), BlocksError> {
        Ok(self.database.begin_write()?.commit()?)
    }

    pub(super) fn list(&self, after: Option<&Cid>, count: usize) -> Result<Vec<(Cid, BlockInfo)>, BlocksError> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        let start = after.map(Cid::to_bytes);
        let from = start.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
        let mut out = Vec::new();
        for row in table.range::<&[u8]>((from, Bound::Unbounded))?.take(count) {
            let (key, row) = row?;
            let row = Row::unpack(row.value());
            if let Ok(cid) = Cid::try_from(key.value()) {
                out.push((cid, BlockInfo { bytes: row.bytes, visibility: row.visibility }));
            }
        }
        Ok(out)
    }

    pub(super) fn pin(&self, name: &str, root: &Cid) -> Result<(), BlocksError> {
        let write = self.database.begin_write()?;
        write.open_table(PINS)?.insert(name, root.to_bytes().as_slice())?;
        Ok(write.commit()?)
    }

    pub(super) fn unpin(&self, name: &str) -> Result<bool, BlocksError> {
        let write = self.database.begin_write()?;
        let was_there = write.open_table(PINS)?.remove(name)?.is_some();
        write.commit()?;
        Ok(was_there)
    }

    pub(super) fn pins(&self) -> Result<Vec<(String, Cid)>, BlocksError> {
        let table = self.database.begin_read()?.open_table(PINS)?;
        let mut out = Vec::new();
        for row in table.iter()? {
            let (name, root) = row?;
            if let Ok(root) = Cid::try_from(root.value()) {
                out.push((name.value().to_owned(), root));
            }
        }
        Ok(out)
    }
}
