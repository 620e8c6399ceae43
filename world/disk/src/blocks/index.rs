//! The index: which blocks are here, and small blocks themselves.

use super::BlocksError;
use crate::limits::INDEX_CACHE_BYTES;
use bytes::Bytes;
use cid::Version;
use redb::{
    Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};
use std::ops::Bound;
use std::path::Path;
use talkoo_base::Cid;
use talkoo_store::{Block, DAG_PB, Visibility};

/// Key → length, who may be given it (0 public, 1 granted, 2 nobody and it is the node's own, 3 nobody),
/// 1 if the block is in `INLINE`.
const BLOCKS: TableDefinition<&[u8], (u64, u8, u8)> = TableDefinition::new("blocks/1");
/// Key → block.
const INLINE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("inline/1");

/// The bytes under which a block is found: those of its CID of version 1, as both versions name the same block.
pub(super) fn key(cid: &Cid) -> Vec<u8> {
    match cid.version() {
        Version::V0 => Cid::new_v1(DAG_PB, *cid.hash()).to_bytes(),
        Version::V1 => cid.to_bytes(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) bytes: u64,
    /// As it was put; classes of roots may open it further.
    pub(super) visibility: Visibility,
    /// It belongs to the journal: private, not collected, not under the quota.
    pub(super) is_own: bool,
    pub(super) is_inline: bool,
}

impl Row {
    fn pack(self) -> (u64, u8, u8) {
        let visibility = match (self.visibility, self.is_own) {
            (Visibility::Public, _) => 0,
            (Visibility::Granted, _) => 1,
            (Visibility::Private, true) => 2,
            (Visibility::Private, false) => 3,
        };
        (self.bytes, visibility, u8::from(self.is_inline))
    }

    fn unpack((bytes, class, is_inline): (u64, u8, u8)) -> Self {
        let visibility = match class {
            0 => Visibility::Public,
            1 => Visibility::Granted,
            // Also what a later version may write: never more open than it meant.
            _ => Visibility::Private,
        };
        Self { bytes, visibility, is_own: class == 2, is_inline: is_inline == 1 }
    }
}

#[derive(Debug)]
pub(super) struct Index {
    pub(super) database: Database,
}

/// The index at one moment; cheaper than asking it anew for each block.
pub(super) struct View {
    blocks: ReadOnlyTable<&'static [u8], (u64, u8, u8)>,
    inline: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl View {
    pub(super) fn row(&self, cid: &Cid) -> Result<Option<Row>, BlocksError> {
        Ok(self.blocks.get(key(cid).as_slice())?.map(|row| Row::unpack(row.value())))
    }

    pub(super) fn inline(&self, cid: &Cid) -> Result<Option<Bytes>, BlocksError> {
        let content = self.inline.get(key(cid).as_slice())?;
        Ok(content.map(|content| Bytes::copy_from_slice(content.value())))
    }

    pub(super) fn rows(&self, after: Option<&Cid>, count: usize) -> Result<Vec<(Cid, Row)>, BlocksError> {
        let start = after.map(key);
        let from = start.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_slice()));
        let mut out = Vec::new();
        for row in self.blocks.range::<&[u8]>((from, Bound::Unbounded))?.take(count) {
            let (key, row) = row?;
            if let Ok(cid) = Cid::try_from(key.value()) {
                out.push((cid, Row::unpack(row.value())));
            }
        }
        Ok(out)
    }
}

impl Index {
    pub(super) fn open(path: &Path) -> Result<Self, BlocksError> {
        let database = Database::builder().set_cache_size(INDEX_CACHE_BYTES).create(path)?;
        let write = database.begin_write()?;
        write.open_table(BLOCKS)?;
        write.open_table(INLINE)?;
        Self::open_pins(&write)?;
        Self::open_classes(&write)?;
        write.commit()?;
        Ok(Self { database })
    }

    /// Changes that are visible with their commit and durable with the next [`Index::commit_durably`]: no
    /// row may be durable before its file.
    pub(super) fn begin(&self) -> Result<WriteTransaction, BlocksError> {
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::None)?;
        Ok(write)
    }

    pub(super) fn view(&self) -> Result<View, BlocksError> {
        let read = self.database.begin_read()?;
        Ok(View { blocks: read.open_table(BLOCKS)?, inline: read.open_table(INLINE)? })
    }

    pub(super) fn row(&self, cid: &Cid) -> Result<Option<Row>, BlocksError> {
        let table = self.database.begin_read()?.open_table(BLOCKS)?;
        Ok(table.get(key(cid).as_slice())?.map(|row| Row::unpack(row.value())))
    }

    pub(super) fn inline(&self, cid: &Cid) -> Result<Option<Bytes>, BlocksError> {
        let table = self.database.begin_read()?.open_table(INLINE)?;
        let content = table.get(key(cid).as_slice())?;
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
        let write = self.begin()?;
        let mut added = 0;
        {
            let mut blocks = write.open_table(BLOCKS)?;
            let mut inline = write.open_table(INLINE)?;
            for (block, row) in rows {
                let key = key(block.cid());
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

    /// Makes blocks private that were put more open.
    pub(super) fn close(write: &WriteTransaction, cids: &[Cid]) -> Result<(), BlocksError> {
        let mut blocks = write.open_table(BLOCKS)?;
        for cid in cids {
            let key = key(cid);
            let row = blocks.get(key.as_slice())?.map(|row| Row::unpack(row.value()));
            if let Some(row) = row.filter(|row| row.visibility != Visibility::Private) {
                blocks.insert(key.as_slice(), Row { visibility: Visibility::Private, ..row }.pack())?;
            }
        }
        Ok(())
    }

    /// Removes rows and the claims on them; answers their bytes.
    pub(super) fn remove(&self, cids: &[Cid]) -> Result<u64, BlocksError> {
        let write = self.begin()?;
        let mut freed = 0;
        {
            let mut blocks = write.open_table(BLOCKS)?;
            let mut inline = write.open_table(INLINE)?;
            for cid in cids {
                let key = key(cid);
                freed += blocks.remove(key.as_slice())?.map_or(0, |row| row.value().0);
                inline.remove(key.as_slice())?;
            }
        }
        Self::drop_claims(&write, cids)?;
        write.commit()?;
        Ok(freed)
    }

    /// An empty durable commit carries all earlier ones with it.
    pub(super) fn commit_durably(&self) -> Result<(), BlocksError> {
        Ok(self.database.begin_write()?.commit()?)
    }
}
