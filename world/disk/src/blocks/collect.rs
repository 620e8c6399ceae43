//! Mark and sweep: public blocks that no pin reaches are removed. Private ones belong to the journal
//! that names them.

use super::{BlockInfo, Blocks, BlocksError, Writer};
use std::collections::BTreeSet;
use talkoo_base::Cid;
use talkoo_store::{Visibility, ipld};

/// Rows looked at in one step of the sweep.
const SWEEP_STEP: usize = 1024;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blocks that a pin reaches, and private ones.
    pub kept_blocks: u64,
    /// Blocks removed.
    pub removed_blocks: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Files without a row that an earlier crash left.
    pub orphan_files: u64,
}

impl Blocks {
    /// Removes every public or granted block that no pin reaches, and files that a crash left. Puts wait meanwhile;
    /// pin a root before downloading it, or what has arrived so far may be collected.
    ///
    /// # Errors
    /// [`BlocksError::Io`], [`BlocksError::Index`].
    pub fn collect(&self) -> Result<Collected, BlocksError> {
        let mut writer = self.writer();
        let marked = self.mark()?;
        let mut collected = self.sweep(&mut writer, &marked)?;
        let mut orphans = Vec::new();
        self.files.for_each(|cid| {
            if self.index.row(&cid)?.is_none_or(|row| row.is_inline) {
                orphans.push(cid);
            }
            Ok(())
        })?;
        for cid in &orphans {
            self.files.remove(cid)?;
        }
        collected.orphan_files = orphans.len() as u64;
        Ok(collected)
    }

    fn mark(&self) -> Result<BTreeSet<Cid>, BlocksError> {
        let mut marked = BTreeSet::new();
        let mut pending: Vec<Cid> = self.index.pins()?.into_iter().map(|(_, root)| root).collect();
        while let Some(cid) = pending.pop() {
            if !marked.insert(cid) || !ipld::may_link(cid.codec()) {
                continue;
            }
            // A node that is missing or unreadable reaches nothing; a later download marks again.
            let Some(bytes) = self.read_unchecked(&cid)? else { continue };
            pending.extend(ipld::links_in(cid.codec(), &bytes).unwrap_or_default());
        }
        Ok(marked)
    }

    fn sweep(&self, writer: &mut Writer, marked: &BTreeSet<Cid>) -> Result<Collected, BlocksError> {
        let mut collected = Collected::default();
        let mut after = None;
        loop {
            let rows = self.index.list(after.as_ref(), SWEEP_STEP)?;
            let Some((last, _)) = rows.last() else { return Ok(collected) };
            after = Some(*last);
            let is_garbage =
                |row: &&(Cid, BlockInfo)| row.1.visibility != Visibility::Private && !marked.contains(&row.0);
            let garbage: Vec<Cid> = rows.iter().filter(is_garbage).map(|(cid, _)| *cid).collect();
            collected.kept_blocks += (rows.len() - garbage.len()) as u64;
            collected.removed_blocks += garbage.len() as u64;
            if !garbage.is_empty() {
                collected.removed_bytes += self.delete_locked(writer, &garbage)?;
            }
        }
    }
}
