//! What is known of batches: a file each.

use crate::collect::unix;
use crate::erase::{Trace, jobs_of, tidy, written};
use crate::files::{Files, described_in, unkept, write};
use crate::keys::{Who, name_of};
use crate::limits::{BATCHES_AT_ONCE, BATCHES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use talkoo_base::{Refusal, RefusalCode};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Lines of a batch.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) total: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
}

/// Tokens that a batch took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Usage {
    pub(super) input: u64,
    pub(super) output: u64,
}

/// A batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(super) id: String,
    /// Whose it is.
    pub(super) who: String,
    pub(super) endpoint: String,
    pub(super) input_file_id: String,
    pub(super) metadata: Value,
    pub(super) status: String,
    pub(super) created_at: u64,
    pub(super) expires_at: u64,
    /// When it came into each state.
    pub(super) times: BTreeMap<String, u64>,
    pub(super) counts: Counts,
    pub(super) usage: Usage,
    pub(super) errors: Vec<Value>,
    pub(super) output_file_id: Option<String>,
    pub(super) error_file_id: Option<String>,
}

impl Batch {
    /// Comes into another state.
    pub(super) fn enter(&mut self, status: &str) {
        self.status = status.to_owned();
        self.times.insert(status.to_owned(), unix());
    }

    pub(super) fn is_over(&self) -> bool {
        ["completed", "failed", "cancelled", "expired"].contains(&self.status.as_str())
    }

    /// OpenAI's batch object.
    pub(super) fn json(&self) -> Value {
        let at = |status: &str| self.times.get(status).copied();
        let Counts { total, completed, failed } = self.counts;
        let Usage { input, output } = self.usage;
        json!({
            "id": self.id,
            "object": "batch",
            "endpoint": self.endpoint,
            "errors": (!self.errors.is_empty()).then(|| json!({"object": "list", "data": self.errors})),
            "input_file_id": self.input_file_id,
            "completion_window": "24h",
            "status": self.status,
            "output_file_id": self.output_file_id,
            "error_file_id": self.error_file_id,
            "created_at": self.created_at,
            "in_progress_at": at("in_progress"),
            "expires_at": self.expires_at,
            "finalizing_at": at("finalizing"),
            "completed_at": at("completed"),
            "failed_at": at("failed"),
            "expired_at": at("expired"),
            "cancelling_at": at("cancelling"),
            "cancelled_at": at("cancelled"),
            "request_counts": {"total": total, "completed": completed, "failed": failed},
            "usage": {
                "input_tokens": input,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": output,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": input + output,
            },
            "metadata": self.metadata,
        })
    }
}

/// The folder of batches, and which are being worked at.
pub(crate) struct Batches {
    folder: PathBuf,
    /// Who waits for his turn holds up nobody.
    pub(super) turns: Semaphore,
    running: Mutex<BTreeMap<String, CancellationToken>>,
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(
        RefusalCode::UnknownId,
        format!("there is no batch {id:?}"),
        "GET /v1/batches has the list; erased ones are not in it",
    )
}

/// The jobs of the market that answered the lines of a file.
fn jobs_in(path: &Path) -> io::Result<BTreeSet<String>> {
    let file = match std::fs::File::open(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        file => file?,
    };
    let mut jobs = BTreeSet::new();
    for line in io::BufReader::new(file).split(b'\n') {
        let line: Value = serde_json::from_slice(&line?).unwrap_or_default();
        jobs.extend(jobs_of(&line["response"]["body"]["talkoo"]));
    }
    Ok(jobs)
}

impl Batches {
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        tidy(&folder)?;
        Ok(Self { folder, turns: Semaphore::new(BATCHES_AT_ONCE), running: Mutex::default() })
    }

    pub(super) fn path(&self, id: &str, extension: &str) -> Result<PathBuf, Refusal> {
        let is_id = id
            .strip_prefix("batch_")
            .is_some_and(|rest| rest.len() == 24 && rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_id { Ok(self.folder.join(id).with_extension(extension)) } else { Err(unknown(id)) }
    }

    pub(super) fn keep(&self, batch: &Batch) -> Result<(), Refusal> {
        let bytes = serde_json::to_vec(batch).expect("a batch is JSON");
        write(&self.path(&batch.id, "json")?, &bytes).map_err(|why| unkept(&why))
    }

    /// Removes the oldest that is over, if there are too many.
    pub(super) fn make_room(&self) -> Result<(), Refusal> {
        let all = self.all(&Who::Owner);
        if all.len() < BATCHES_MAX {
            return Ok(());
        }
        let busy = || Refusal::new(RefusalCode::Busy, format!("{BATCHES_MAX} batches are under way"), "cancel some");
        let old = all.iter().rfind(|batch| batch.is_over()).ok_or_else(busy)?;
        std::fs::remove_file(self.path(&old.id, "json")?).map_err(|why| unkept(&why))
    }

    pub(super) fn find(&self, id: &str, who: &Who) -> Result<Batch, Refusal> {
        let bytes = std::fs::read(self.path(id, "json")?).map_err(|_| unknown(id))?;
        let batch: Batch = serde_json::from_slice(&bytes).map_err(|_| unknown(id))?;
        if *who == Who::Owner || batch.who == name_of(who) { Ok(batch) } else { Err(unknown(id)) }
    }

    /// All of somebody, the newest first.
    pub(super) fn all(&self, who: &Who) -> Vec<Batch> {
        let mut all: Vec<Batch> =
            described_in(&self.folder).into_iter().filter_map(|id| self.find(&id, who).ok()).collect();
        all.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        all
    }

    /// All of them, with the jobs that answered their lines if somebody wants to know. One that can't be read is nobody's, and as old as
    /// its file.
    pub(crate) fn traces(&self, files: &Files, wants_jobs: bool) -> io::Result<Vec<Trace>> {
        let trace = |batch: Batch| {
            let ends = ["out", "err", "json"].map(|end| self.path(&batch.id, end).ok());
            let paths: Vec<PathBuf> = ends.into_iter().flatten().collect();
            let results = [&batch.output_file_id, &batch.error_file_id];
            let uses: Vec<String> = results.into_iter().flatten().chain([&batch.input_file_id]).cloned().collect();
            let mut jobs = BTreeSet::new();
            let held = uses.iter().filter_map(|id| files.content(id).ok()).chain(paths.iter().take(2).cloned());
            for path in held.filter(|_| wants_jobs) {
                jobs.extend(jobs_in(&path)?);
            }
            let at = batch.times.get(&batch.status).copied().unwrap_or(batch.created_at);
            let is_running = !batch.is_over();
            Ok(Trace {
                kind: "batches",
                id: batch.id,
                who: batch.who,
                at,
                is_running,
                paths,
                uses,
                jobs,
                follows: None,
            })
        };
        let unread = |id: String| {
            let path = self.path(&id, "json").ok().filter(|_| self.find(&id, &Who::Owner).is_err())?;
            let at = written(&path)?;
            let is_running = self.running.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id);
            let paths = vec![path.with_extension("out"), path.with_extension("err"), path];
            Some(Ok(Trace { kind: "batches", id, at, is_running, paths, ..Trace::default() }))
        };
        let unread = described_in(&self.folder).into_iter().filter_map(unread);
        self.all(&Who::Owner).into_iter().map(trace).chain(unread).collect()
    }

    /// Work on a batch begins; what ends it.
    pub(super) fn begin(&self, id: &str, stop: &CancellationToken) -> CancellationToken {
        let token = stop.child_token();
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), token.clone());
        token
    }

    pub(super) fn end(&self, id: &str) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(super) fn cancel(&self, id: &str, who: &Who) -> Result<Batch, Refusal> {
        let mut batch = self.find(id, who)?;
        let token = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        match token {
            Some(token) if !batch.is_over() => {
                batch.enter("cancelling");
                self.keep(&batch)?;
                token.cancel();
                Ok(batch)
            }
            _ => {
                let message = format!("the batch is {} already", batch.status);
                Err(Refusal::new(RefusalCode::InUse, message, "there is nothing to cancel"))
            }
        }
    }
}
