//! Content-addressed blocks: an index in redb, small blocks inside it, others as files.
//!
//! ```text
//! put ─► file aside ─► rename to blocks/XX/<cid> ─► row in the index (visible)
//!                                  flush: sync files ─► sync folders ─► durable commit
//! ```
//! A row exists only after its file, and becomes durable only after it; so a crash leaves files
//! without rows, which [`Blocks::collect`] removes, and never rows without files. What is read can
//! be checked against its name; what fails the check is forgotten, so that it can be fetched again.

mod classes;
mod collect;
mod error;
mod file;
mod hold;
mod index;
mod pins;

pub use collect::Collected;
pub use error::BlocksError;
pub use hold::Hold;
pub use pins::{Pin, PinMode, Pinned};

use crate::limits::{INLINE_BYTES_MAX, QUOTA_BYTES_DEFAULT, UNSYNCED_BLOCKS_MAX};
use bytes::Bytes;
use file::Files;
use hold::{Holds, mark_of};
use index::{Index, Row};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use talkoo_base::Cid;
use talkoo_store::{Block, Visibility};

/// Settings of a block store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlocksConfig {
    /// Bytes that blocks may use in all.
    pub quota_bytes: u64,
}

impl Default for BlocksConfig {
    fn default() -> Self {
        Self { quota_bytes: QUOTA_BYTES_DEFAULT }
    }
}

/// When a block has to survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// When the call returns.
    Now,
    /// After the next [`Blocks::flush`]; right for what can be fetched again.
    Later,
}

/// What is known of a block without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its length.
    pub bytes: u64,
    /// Who may be given it.
    pub visibility: Visibility,
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all blocks.
    pub used_bytes: u64,
    /// Bytes they may have.
    pub quota_bytes: u64,
    /// Number of blocks.
    pub blocks: u64,
}

/// The blocks of a data folder. Share it in an `Arc`; every call may block on the disk.
#[derive(Debug)]
pub struct Blocks {
    index: Index,
    files: Files,
    quota_bytes: u64,
    holds: Arc<Mutex<Holds>>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    used_bytes: u64,
    /// Files whose content may not have reached the disk.
    unsynced: Vec<Cid>,
    /// Rows whose commit may not have reached the disk.
    unsynced_rows: usize,
    /// Bytes that a collection might free: it is not tried in vain again and again.
    maybe_garbage: u64,
}

impl Blocks {
    /// Opens `<data-dir>/kv.redb` and `<data-dir>/blocks`, creating them if need be.
    ///
    /// # Errors
    /// [`BlocksError::Index`], [`BlocksError::Io`].
    pub fn open(data_dir: impl AsRef<Path>, config: BlocksConfig) -> Result<Self, BlocksError> {
        let files = Files::open(&data_dir.as_ref().join("blocks"))?;
        let index = Index::open(&data_dir.as_ref().join("kv.redb"))?;
        let writer =
            Writer { used_bytes: index.used_bytes()?, unsynced: Vec::new(), unsynced_rows: 0, maybe_garbage: u64::MAX };
        let (quota_bytes, holds) = (config.quota_bytes, Arc::default());
        Ok(Self { index, files, quota_bytes, holds, writer: Mutex::new(writer) })
    }

    /// Keeps blocks; all of them or, after an error, none. A block that is here already only becomes
    /// visible to more, never to fewer. Where the quota has no room, what no pin or hold keeps is collected first.
    ///
    /// # Errors
    /// [`BlocksError::QuotaExceeded`], [`BlocksError::DiskFull`], [`BlocksError::Io`],
    /// [`BlocksError::Index`].
    pub fn put(&self, blocks: &[Block], visibility: Visibility, sync: Sync) -> Result<(), BlocksError> {
        let mut writer = self.writer();
        let room = |writer: &Writer| self.quota_bytes.saturating_sub(writer.used_bytes);
        let mut rows = self.new_rows(blocks, visibility, false)?;
        let mut need = self.missing_bytes(&rows)?;
        let may_free = if hold::lock(&self.holds).has_ended { u64::MAX } else { writer.maybe_garbage };
        if need > room(&writer) && may_free >= need - room(&writer) {
            // Those that are here already must not go.
            self.collect_rows(&mut writer, blocks.iter().map(|block| mark_of(block.cid())).collect())?;
            writer.maybe_garbage = blocks.iter().map(|block| block.bytes().len() as u64).sum::<u64>() - need;
            rows = self.new_rows(blocks, visibility, false)?;
            need = self.missing_bytes(&rows)?;
        }
        if need > room(&writer) {
            return Err(BlocksError::QuotaExceeded { need, have: room(&writer) });
        }
        writer.maybe_garbage = writer.maybe_garbage.saturating_add(need);
        hold::lock(&self.holds).keep(blocks.iter().map(|block| mark_of(block.cid())));
        self.put_locked(&mut writer, &rows, sync)
    }

    /// Keeps private blocks of the node's own until they are deleted: neither collections nor the quota
    /// touch them, the disk's end alone stops them.
    ///
    /// # Errors
    /// [`BlocksError::DiskFull`], [`BlocksError::Io`], [`BlocksError::Index`].
    pub fn put_own(&self, blocks: &[Block], sync: Sync) -> Result<(), BlocksError> {
        let mut writer = self.writer();
        let rows = self.new_rows(blocks, Visibility::Private, true)?;
        self.put_locked(&mut writer, &rows, sync)
    }

    /// Keeps whatever is put from now on from being collected, until the answer is dropped. Take one for
    /// an import or a download, and drop it once the root is pinned.
    #[must_use]
    pub fn hold(&self) -> Hold {
        hold::begin(&self.holds)
    }

    /// The rows that have to be written for blocks to be here.
    fn new_rows<'a>(
        &self,
        blocks: &'a [Block],
        visibility: Visibility,
        is_own: bool,
    ) -> Result<Vec<(&'a Block, Row)>, BlocksError> {
        let view = self.index.view()?;
        let mut rows = Vec::with_capacity(blocks.len());
        // An identity CID is its own block.
        for block in blocks.iter().filter(|block| Block::inlined(block.cid()).is_none()) {
            match view.row(block.cid())? {
                Some(row) if row.visibility <= visibility && row.is_own >= is_own => {}
                Some(row) => {
                    let visibility = visibility.min(row.visibility);
                    rows.push((block, Row { visibility, is_own: is_own || row.is_own, ..row }));
                }
                None => {
                    let bytes = block.bytes().len() as u64;
                    let is_inline = block.bytes().len() <= INLINE_BYTES_MAX;
                    rows.push((block, Row { bytes, visibility, is_own, is_inline }));
                }
            }
        }
        Ok(rows)
    }

    /// Bytes of those that are not here yet.
    fn missing_bytes(&self, rows: &[(&Block, Row)]) -> Result<u64, BlocksError> {
        let view = self.index.view()?;
        rows.iter()
            .try_fold(0, |sum, (block, row)| Ok(sum + if view.row(block.cid())?.is_none() { row.bytes } else { 0 }))
    }

    fn put_locked(&self, writer: &mut Writer, rows: &[(&Block, Row)], sync: Sync) -> Result<(), BlocksError> {
        for (block, row) in rows.iter().filter(|(_, row)| !row.is_inline) {
            self.files.write(block.cid(), block.bytes(), row.bytes)?;
            writer.unsynced.push(*block.cid());
        }
        writer.used_bytes += self.index.insert(rows)?;
        writer.unsynced_rows += rows.len();
        if sync == Sync::Now || writer.unsynced_rows > UNSYNCED_BLOCKS_MAX {
            return self.flush_locked(writer);
        }
        Ok(())
    }

    /// Makes everything that was put, deleted or pinned so far survive a power cut.
    ///
    /// # Errors
    /// [`BlocksError::Io`], [`BlocksError::Index`].
    pub fn flush(&self) -> Result<(), BlocksError> {
        self.flush_locked(&mut self.writer())
    }

    /// A block, checked against its name; `None` if it is not here. A damaged one is forgotten, unless
    /// it is private.
    ///
    /// # Errors
    /// [`BlocksError::Damaged`], [`BlocksError::Io`], [`BlocksError::Index`].
    pub fn get(&self, cid: &Cid) -> Result<Option<Block>, BlocksError> {
        if let Some(block) = Block::inlined(cid) {
            return Ok(Some(block));
        }
        let Some(bytes) = self.read_unchecked(cid)? else { return Ok(None) };
        match Block::verified(*cid, bytes) {
            Ok(block) => Ok(Some(block)),
            Err(_) => Err(self.forget_damaged(cid)?),
        }
    }

    /// A block's bytes as they are on the disk, for receivers that check them themselves. Only
    /// their length is checked.
    ///
    /// # Errors
    /// [`BlocksError::Damaged`], [`BlocksError::Io`], [`BlocksError::Index`].
    pub fn read_unchecked(&self, cid: &Cid) -> Result<Option<Bytes>, BlocksError> {
        let Some(row) = self.index.row(cid)? else { return Ok(None) };
        if let Some(bytes) = self.read_row(cid, row)? {
            return Ok(Some(bytes));
        }
        // Either it was deleted just now or its file is gone or cut.
        if self.index.row(cid)?.is_none() { Ok(None) } else { Err(self.forget_damaged(cid)?) }
    }

    /// As [`Blocks::read_unchecked`], into a buffer that is used again. Answers whether the block is here.
    ///
    /// # Errors
    /// As [`Blocks::read_unchecked`].
    pub(crate) fn read_into(&self, cid: &Cid, bytes: &mut Vec<u8>) -> Result<bool, BlocksError> {
        if let Some(row) = self.index.row(cid)?
            && !row.is_inline
            && self.files.read_into(cid, row.bytes, bytes)?
        {
            return Ok(true);
        }
        let Some(content) = self.read_unchecked(cid)? else { return Ok(false) };
        bytes.clear();
        bytes.extend_from_slice(&content);
        Ok(true)
    }

    /// What is known of a block; `None` if it is not here.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn info(&self, cid: &Cid) -> Result<Option<BlockInfo>, BlocksError> {
        let Some(row) = self.index.row(cid)? else { return Ok(None) };
        let visibility = match row.visibility {
            Visibility::Public => Visibility::Public,
            visibility => visibility.min(self.index.claimed(cid)?),
        };
        Ok(Some(BlockInfo { bytes: row.bytes, visibility }))
    }

    /// Whether a block is here.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn has(&self, cid: &Cid) -> Result<bool, BlocksError> {
        Ok(self.index.row(cid)?.is_some())
    }

    /// Removes blocks, pinned or not; answers the bytes freed.
    ///
    /// # Errors
    /// [`BlocksError::Io`], [`BlocksError::Index`].
    pub fn delete(&self, cids: &[Cid]) -> Result<u64, BlocksError> {
        let mut writer = self.writer();
        self.delete_locked(&mut writer, cids)
    }

    /// All blocks after `after` in the order of their bytes, at most `count`, and their lengths. CIDs of
    /// version 0 appear as version 1.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn list(&self, after: Option<&Cid>, count: usize) -> Result<Vec<(Cid, u64)>, BlocksError> {
        let rows = self.index.view()?.rows(after, count)?;
        Ok(rows.into_iter().map(|(cid, row)| (cid, row.bytes)).collect())
    }

    /// How much room there is.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn usage(&self) -> Result<Usage, BlocksError> {
        let blocks = self.index.count()?;
        Ok(Usage { used_bytes: self.writer().used_bytes, quota_bytes: self.quota_bytes, blocks })
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic between two changes leaves at most a file without a row, as a crash does.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_row(&self, cid: &Cid, row: Row) -> Result<Option<Bytes>, BlocksError> {
        if row.is_inline { self.index.inline(cid) } else { self.files.read(cid, row.bytes) }
    }

    /// Removes a block that is not what its name says. Looks again under the lock: it may have
    /// been replaced by a good one meanwhile.
    fn forget_damaged(&self, cid: &Cid) -> Result<BlocksError, BlocksError> {
        let mut writer = self.writer();
        let row = self.index.row(cid)?;
        let bytes = row.map(|row| self.read_row(cid, row)).transpose()?.flatten();
        let is_private = row.is_some_and(|row| row.visibility == Visibility::Private);
        if !is_private && bytes.is_none_or(|bytes| Block::verified(*cid, bytes).is_err()) {
            self.delete_locked(&mut writer, &[*cid])?;
        }
        Ok(BlocksError::Damaged { cid: *cid })
    }

    fn delete_locked(&self, writer: &mut Writer, cids: &[Cid]) -> Result<u64, BlocksError> {
        // Rows go first and durably: a row without a file must not exist.
        let freed = self.index.remove(cids)?;
        writer.used_bytes = writer.used_bytes.saturating_sub(freed);
        self.flush_locked(writer)?;
        for cid in cids {
            self.files.remove(cid)?;
        }
        Ok(freed)
    }

    fn flush_locked(&self, writer: &mut Writer) -> Result<(), BlocksError> {
        self.files.sync(&writer.unsynced)?;
        self.index.commit_durably()?;
        writer.unsynced.clear();
        writer.unsynced_rows = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
