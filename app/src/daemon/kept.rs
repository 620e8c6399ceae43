//! Receipts and evidence as files.

use super::vault::Vault;
use super::{Daemon, Record};
use serde_json::json;
use std::path::PathBuf;
use talkoo_base::JobId;
use talkoo_proof::Kept;
use tracing::{info, warn};

impl Daemon {
    /// Writes a lease's record: `receipts/JOB/STEP-LEASE.receipt`, or `evidence/…` against a liar.
    pub(super) fn keep(&mut self, kept: &Kept) {
        let facts = talkoo_proof::verify_kept(kept).ok();
        let stands = facts.as_ref().is_none_or(talkoo_proof::kept::Facts::stands);
        if stands {
            let path = self.keep_in("receipts", kept);
            let job = JobId(kept.request.body.job);
            let name = path.and_then(|path| Some(path.strip_prefix(&self.receipts).ok()?.to_str()?.to_owned()));
            name.into_iter().for_each(|name| self.bought.kept(&job, kept.step, name));
        }
        // A verifier's lie about an answer that stands is evidence, too.
        if (!stands || !kept.lies.is_empty())
            && let Some(path) = self.keep_in("evidence", kept)
        {
            let note = match (kept.own_rerun, &self.money.disputes) {
                (Some(false), Some(_)) => "its worker is taken before the judge",
                (Some(false), None) => "without a ledger nothing is taken from its worker",
                (Some(true) | None, _) => "only what our own engine refuted goes before the judge",
            };
            self.tell(&json!({"type": "evidence.kept", "file": path, "step": kept.step, "note": note}));
        }
    }

    fn keep_in(&self, folder: &str, kept: &Kept) -> Option<PathBuf> {
        let folder = self.receipts.join(folder).join(kept.request.body.job.to_string());
        let lease = talkoo_base::wire::Typed::digest(&kept.request.body, &self.network);
        let path = folder.join(format!("{:05}-{}.receipt", kept.step, lease.short()));
        let written = std::fs::create_dir_all(&folder).and_then(|()| {
            let part = path.with_extension("part");
            std::fs::write(&part, kept.to_bytes())?;
            std::fs::rename(&part, &path)
        });
        match written {
            Ok(()) => Some(path),
            Err(why) => {
                warn!(path = %path.display(), %why, "a receipt could not be written");
                None
            }
        }
    }
}

impl Daemon {
    /// Replaces the journal so far by what is left of it.
    pub(super) fn snapshot(&mut self) -> anyhow::Result<()> {
        let history: Vec<Record> = self.node.history().collect();
        self.journal.snapshot(&Vault::pack(&self.vault.write(history.iter())?))?;
        info!(events = history.len(), "the journal was shortened");
        Ok(())
    }
}
