//! Erasure: prompts, answers and whatever is kept of them, on an owner's word or when their time is over.
//!
//! ```text
//! asked, or due ─► looked for ─► intent on the disk ─► receipts stripped, files, repeated answers ─► jobs (the loop) ─► intent gone
//!                                      └── a kill: the next start does all of it again
//! ```
//! Every step done twice is done once, and what is found by something is removed before it, so it does not matter where a kill cuts.
//! What is meant ends at a time that the intent names: what came later stays, also when the next start finishes it.
//!
//! Receipts stay and hold: their roots are salted, and the salts go with what they stand for.

mod ages;
mod intent;
pub(crate) mod receipts;
mod retention;
#[cfg(test)]
mod tests;

pub(crate) use ages::Ages;
pub(crate) use intent::Intent;
pub(crate) use retention::Retention;

use crate::disputes;
use receipts::Wanted;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use talkoo_api::Repeated;
use talkoo_base::{Network, Refusal, RefusalCode};
use talkoo_inference::{Keepsakes, Tally, Which};

/// Where it all lies.
#[derive(Clone)]
pub(crate) struct Places {
    pub(crate) dir: std::path::PathBuf,
    pub(crate) network: Network,
    pub(crate) keepsakes: Keepsakes,
    pub(crate) repeated: Repeated,
}

/// Jobs of this node, as its loop knows them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Jobs {
    /// Those that are meant and over; the loop forgets them at the end.
    pub(crate) over: BTreeSet<String>,
    /// Bytes that they have in the store.
    pub(crate) bytes: u64,
    /// Those that are meant and not over.
    pub(crate) running: BTreeSet<String>,
    /// All that are not over: their receipts stay whole.
    pub(crate) open: BTreeSet<String>,
}

/// Whether anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Only looked for.
    Look,
    /// Done.
    Erase,
    /// Begun before, and now done to its end: that there is nothing left is no mistake.
    Finish,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) tally: Tally,
    running: Vec<String>,
    left: Vec<String>,
}

impl Report {
    /// As the API tells it.
    pub(crate) fn json(&self, dry_run: bool) -> Value {
        json!({"dry_run": dry_run, "kinds": self.tally.json(), "running": self.running, "left": self.left})
    }
}

fn unread(why: &std::io::Error) -> Refusal {
    let hint = "see to the disk of the data folder; what was begun is finished at the next start";
    Refusal::new(RefusalCode::Other, format!("not everything could be erased ({why})"), hint)
}

fn is_at_work(id: &str) -> Refusal {
    let hint = match id.split_once('_').map(|(kind, _)| kind) {
        Some("batch") => format!("first POST /v1/batches/{id}/cancel"),
        Some("resp") => format!("first POST /v1/responses/{id}/cancel"),
        _ => format!("first `talkoo job cancel {id}`"),
    };
    Refusal::new(RefusalCode::InUse, format!("{id} is not over"), hint)
}

/// Everything but the jobs of the loop. Blocks, and may take minutes.
///
/// # Errors
/// If what is named is unknown or not over, or the disk refuses.
pub(crate) fn perform(places: &Places, intent: &mut Intent, jobs: &Jobs, how: How) -> Result<Report, Refusal> {
    let Places { dir, network, keepsakes, repeated } = places;
    if let Some(job) = &mut intent.job {
        *job = receipts::whole_id(dir, job)?;
    }
    let before = intent.prompts.unwrap_or(0);
    let found = keepsakes.find(&Which { who: intent.key.clone(), one: intent.job.clone(), before });
    let found = found.map_err(|why| unread(&why))?;
    let named: BTreeSet<String> = intent.job.iter().chain(&jobs.over).chain(&found.jobs).cloned().collect();
    if let Some(job) = &intent.job {
        if let Some(running) = jobs.running.iter().chain(&found.running).next() {
            return Err(is_at_work(running));
        }
        let is_known = !found.tally.is_empty() || !found.within.is_empty() || !jobs.over.is_empty();
        if how != How::Finish && !is_known && !receipts::has(dir, job) {
            let message = format!("nothing is kept of {job}");
            return Err(Refusal::new(RefusalCode::UnknownId, message, "see `talkoo job ls`, GET /v1/batches"));
        }
    }
    let writes = how != How::Look;
    if writes {
        intent.write(dir).map_err(|why| unread(&why))?;
    }
    let is_narrow = intent.job.is_some() || intent.key.is_some();
    let wanted = Wanted { jobs: is_narrow.then_some(&named), key: intent.key.as_deref(), before, open: &jobs.open };
    let mut report = Report { tally: found.tally.clone(), left: unsaid(&found.within), ..Report::default() };
    let mut erase = || -> std::io::Result<()> {
        report.tally.add("jobs", jobs.over.len() as u64, jobs.bytes);
        receipts::strip(dir, &wanted, writes, &mut report.tally, &mut report.left)?;
        let (count, bytes) = disputes::forget_words(dir, network, |job, begun| wanted.means(job, begun), writes)?;
        report.tally.add("disputes", count, bytes);
        if writes {
            keepsakes.erase(&found)?;
        }
        if intent.key.is_none() {
            let (count, bytes) = repeated.erase(intent.job.as_deref(), before, writes)?;
            report.tally.add("repeated_answers", count, bytes);
        }
        receipts::remove(dir, intent.receipts.unwrap_or(0), &jobs.open, writes, &mut report.tally)
    };
    erase().map_err(|why| unread(&why))?;
    report.running = jobs.running.iter().cloned().chain(found.running).collect();
    report.left.extend(beyond_reach(&report.tally));
    Ok(report)
}

/// Batches that hold a line of a job.
fn unsaid(batches: &[String]) -> Vec<String> {
    batches.iter().map(|id| format!("{id} holds a line of it: `talkoo erase --job {id}`")).collect()
}

/// What is out of this node's hands.
fn beyond_reach(tally: &Tally) -> Vec<String> {
    let mut left = Vec::new();
    if tally.count("receipts") + tally.count("jobs") > 0 {
        left.push("workers, and whoever ran it again, read the prompts: what they keep is theirs".to_owned());
        left.push(
            "receipts and vouchers on others' machines, payments and roots on a chain: they tell no word".to_owned(),
        );
    }
    if !tally.is_empty() {
        left.push(
            "copies that you made: bundles of `audit export --disclose`, backups, snapshots of the disk".to_owned(),
        );
        left.push(
            "what the engine computed of prompts lies in memory until other runs need the room, or the node ends"
                .to_owned(),
        );
    }
    left
}

/// Makes it last that files of a folder are gone or have other content.
fn sync(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}
