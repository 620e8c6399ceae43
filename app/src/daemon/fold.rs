//! The journal's way back into the node.

use super::vault::{Entry, Vault};
use anyhow::{Context, Result};
use talkoo_disk::Journal;
use talkoo_job::Event as JobEvent;
use talkoo_node::{Event as Record, Node};
use tracing::{error, info, warn};

/// Folds the journal into the node.
pub(super) fn fold(
    node: &mut Node,
    journal: &mut Journal,
    vault: &mut Vault,
    recovered: &talkoo_disk::Recovered,
) -> Result<()> {
    let kept = recovered.kept.as_deref().map_or_else(String::new, |path| path.display().to_string());
    if recovered.torn_bytes > 0 {
        warn!(bytes = recovered.torn_bytes, kept, "the journal's end was torn by a crash; nothing sent was lost");
    }
    if recovered.damaged_bytes > 0 {
        error!(bytes = recovered.damaged_bytes, kept, "the journal was damaged on disk: what these bytes said is lost");
    }
    let snapshot = recovered.snapshot.as_deref().map(Vault::unpack).transpose()?.unwrap_or_default();
    let records = snapshot.into_iter().chain(recovered.records.iter().map(Vec::as_slice));
    let (mut count, mut lost) = (0, std::collections::BTreeMap::new());
    for record in records {
        match vault.read(record).with_context(|| format!("record {count} of the journal cannot be read"))? {
            Entry::Event(event) => {
                if let Record::Job(JobEvent::Forgotten { job }) = &*event {
                    lost.remove(job);
                    // A kill may have come before its blocks were deleted.
                    vault.forget(job)?;
                }
                node.apply(&event);
            }
            Entry::Lost { job, why } => drop(lost.insert(job, why)),
        }
        count += 1;
    }
    for (job, why) in lost {
        error!(%job, why, "a part of this job is lost; the others go on");
    }
    if count > 0 {
        info!(records = count, "journal folded");
    }
    journal.flush()?;
    if recovered.damaged_bytes > 0 {
        let history: Vec<Record> = node.history().collect();
        journal.snapshot(&Vault::pack(&vault.write(history.iter())?))?;
    }
    Ok(())
}
