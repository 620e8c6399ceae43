//! Mark and sweep: blocks that no pin reaches are removed, unless a hold keeps them. The node's own
//! ones belong to the journal that names them.

use super::hold::{self, Mark, mark_of};
use super::index::Row;
use super::{Blocks, BlocksError, Writer};
use std::collections::HashSet;
use std::ops::ControlFlow;
use talkoo_base::Cid;
use talkoo_store::ipld;

/// Rows looked at in one step of the sweep; each ends with a commit that waits for the disk.
const SWEEP_STEP: usize = 16 * 1024;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blocks that a pin reaches or a hold keeps, and the node's own.
    pub kept_blocks: u64,
    /// Blocks removed.
    pub removed_blocks: u64,
    /// Their bytes.
    pub removed_bytes: u64,
    /// Files without a row that an earlier crash left.
    pub orphan_files: u64,
}

impl Blocks {
    /// Removes every block that no pin reaches and no hold keeps, and files that a crash left. Puts wait
    /// meanwhile. Takes about 20 bytes of memory for each block that is kept.
    ///
    /// # Errors
    /// [`BlocksError::Io`], [`BlocksError::Index`].
    pub fn collect(&self) -> Result<Collected, BlocksError> {
        let mut writer = self.writer();
        let mut collected = self.collect_rows(&mut writer, HashSet::new())?;
        let mut orphans = Vec::new();
        let view = self.index.view()?;
        self.files.for_each(|cid| {
            if view.row(&cid)?.is_none_or(|row| row.is_inline) {
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

    /// Collects rows with their files; `marked` are kept besides.
    pub(super) fn collect_rows(&self, writer: &mut Writer, marked: HashSet<Mark>) -> Result<Collected, BlocksError> {
        let marked = self.mark(marked)?;
        hold::lock(&self.holds).has_ended = false;
        let collected = self.sweep(writer, &marked)?;
        writer.maybe_garbage = 0;
        Ok(collected)
    }

    fn mark(&self, mut marked: HashSet<Mark>) -> Result<HashSet<Mark>, BlocksError> {
        let (recursive, direct) = self.index.roots()?;
        let mut reached = HashSet::new();
        self.reach(recursive, &mut reached, &mut |_| ControlFlow::Continue(()))?;
        marked.extend(direct.iter().map(mark_of));
        // The smaller one goes into the larger.
        reached.extend(marked);
        Ok(reached)
    }

    /// Calls `each` with every block that is reached from `roots` and not marked yet, until it breaks;
    /// marks them. Also names blocks that are not here; nothing is reached through those, nor through
    /// what cannot be read as its codec says.
    pub(super) fn reach(
        &self,
        roots: impl IntoIterator<Item = Cid>,
        marked: &mut HashSet<Mark>,
        each: &mut impl FnMut(&Cid) -> ControlFlow<()>,
    ) -> Result<(), BlocksError> {
        let view = self.index.view()?;
        let mut pending: Vec<Cid> = roots.into_iter().collect();
        while let Some(cid) = pending.pop() {
            if !marked.insert(mark_of(&cid)) {
                continue;
            }
            if each(&cid).is_break() {
                return Ok(());
            }
            if !ipld::may_link(cid.codec()) {
                continue;
            }
            let Some(row) = view.row(&cid)? else { continue };
            let bytes = if row.is_inline { view.inline(&cid)? } else { self.files.read(&cid, row.bytes)? };
            let links = bytes.map(|bytes| ipld::links_in(cid.codec(), &bytes).unwrap_or_default());
            pending.extend(links.unwrap_or_default());
        }
        Ok(())
    }

    fn sweep(&self, writer: &mut Writer, marked: &HashSet<Mark>) -> Result<Collected, BlocksError> {
        let mut collected = Collected::default();
        let mut after = None;
        loop {
            let rows = self.index.view()?.rows(after.as_ref(), SWEEP_STEP)?;
            let Some((last, _)) = rows.last() else { return Ok(collected) };
            after = Some(*last);
            let garbage: Vec<Cid> = {
                let holds = hold::lock(&self.holds);
                let is_kept = |mark| marked.contains(&mark) || holds.has(mark);
                let is_garbage = |(cid, row): &&(Cid, Row)| !row.is_own && !is_kept(mark_of(cid));
                rows.iter().filter(is_garbage).map(|(cid, _)| *cid).collect()
            };
            collected.kept_blocks += (rows.len() - garbage.len()) as u64;
            collected.removed_blocks += garbage.len() as u64;
            if !garbage.is_empty() {
                collected.removed_bytes += self.delete_locked(writer, &garbage)?;
            }
        }
    }
}
