//! Responses that clients want to find again: a file each, until they are removed or newer ones need the place.

use crate::erase::{Trace, jobs_of, tidy, written};
use crate::keys::{Who, name_of};
use crate::limits::{RESPONSE_BYTES_MAX, RESPONSES_MAX};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use talkoo_base::{Refusal, RefusalCode};
use tokio_util::sync::CancellationToken;

/// How long a cancel waits for the work to have ended.
const CANCEL_WAIT: Duration = Duration::from_secs(5);

/// A response and what it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Whose it is: nobody else finds it.
    pub(crate) who: String,
    pub(crate) response: Value,
    /// Its input, what came before included.
    pub(crate) items: Vec<Value>,
}

/// The folder of responses.
pub(crate) struct Kept {
    folder: PathBuf,
    running: All,
    stop: CancellationToken,
}

/// What is being worked at: how to end it, and whether it has ended.
type All = Arc<Mutex<BTreeMap<String, (CancellationToken, CancellationToken)>>>;

/// A response that is being worked at in the background.
pub(crate) struct Running {
    id: String,
    all: All,
    cancel: CancellationToken,
}

impl Running {
    pub(crate) async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let gone = self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        gone.iter().for_each(|(_, ended)| ended.cancel());
    }
}

impl Kept {
    /// With the ids of what was being worked at when the node ended.
    pub(crate) fn open(folder: PathBuf, stop: CancellationToken) -> io::Result<(Self, Vec<String>)> {
        std::fs::create_dir_all(&folder)?;
        tidy(&folder)?;
        let kept = Self { folder, running: Arc::default(), stop };
        let mut lost = Vec::new();
        // What was being worked at when the node ended is not worked at any more.
        for path in kept.files()? {
            let Some(mut record) = std::fs::read(&path).ok().and_then(|b| serde_json::from_slice::<Record>(&b).ok())
            else {
                continue;
            };
            if matches!(record.response["status"].as_str(), Some("queued" | "in_progress")) {
                record.response["status"] = json!("failed");
                record.response["error"] = json!({"code": "stopping", "message": "the node stopped; ask again"});
                lost.extend(record.response["id"].as_str().map(str::to_owned));
                std::fs::write(&path, serde_json::to_vec(&record).map_err(io::Error::other)?)?;
            }
        }
        Ok((kept, lost))
    }

    fn files(&self) -> io::Result<Vec<PathBuf>> {
        let all = std::fs::read_dir(&self.folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(all.filter(|path| path.extension().is_some_and(|e| e == "json")).collect())
    }

    /// All of them. One that can't be read is nobody's, and as old as its file.
    pub(crate) fn traces(&self) -> io::Result<Vec<Trace>> {
        let trace = |path: PathBuf| {
            let id = path.file_stem()?.to_str()?.to_owned();
            let written = written(&path)?;
            let record = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            let trace = Trace { kind: "responses", id, at: written, paths: vec![path], ..Trace::default() };
            let Some(Record { who, response, .. }) = record else { return Some(trace) };
            let over = ["completed_at", "created_at"].iter().find_map(|name| response[*name].as_u64());
            Some(Trace {
                who,
                at: over.unwrap_or(written),
                is_running: matches!(response["status"].as_str(), Some("queued" | "in_progress")),
                follows: response["previous_response_id"].as_str().map(str::to_owned),
                jobs: jobs_of(&response["talkoo"]),
                ..trace
            })
        };
        Ok(self.files()?.into_iter().filter_map(trace).collect())
    }

    fn path(&self, id: &str) -> Result<PathBuf, Refusal> {
        let is_id = id.strip_prefix("resp_").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_id && id.len() <= 64 { Ok(self.folder.join(format!("{id}.json"))) } else { Err(unknown(id)) }
    }

    pub(crate) fn keep(&self, record: &Record) -> Result<(), Refusal> {
        let failed = |why: io::Error| {
            Refusal::new(RefusalCode::Other, format!("the response can't be kept ({why})"), "is the disk full?")
        };
        let path = self.path(record.response["id"].as_str().unwrap_or_default())?;
        if !path.exists() {
            self.make_room().map_err(failed)?;
        }
        let aside = path.with_extension("new");
        let bytes = serde_json::to_vec(record).expect("JSON is written as JSON");
        if bytes.len() > RESPONSE_BYTES_MAX {
            let no =
                Refusal::new(RefusalCode::TooLarge, "the response is too large to be kept", "add \"store\": false");
            return Err(no.with(bytes.len(), RESPONSE_BYTES_MAX));
        }
        std::fs::write(&aside, bytes).and_then(|()| std::fs::rename(&aside, &path)).map_err(failed)
    }

    /// Removes the oldest ones above the limit.
    fn make_room(&self) -> io::Result<()> {
        let files = self.files()?;
        if files.len() < RESPONSES_MAX {
            return Ok(());
        }
        let age = |path: PathBuf| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path));
        let mut files: Vec<_> = files.into_iter().filter_map(age).collect();
        files.sort();
        let many = files.len() + RESPONSES_MAX / 16 - RESPONSES_MAX;
        files.into_iter().take(many).try_for_each(|(_, path)| std::fs::remove_file(path))
    }

    pub(crate) fn find(&self, id: &str, who: &Who) -> Result<Record, Refusal> {
        let bytes = std::fs::read(self.path(id)?).map_err(|_| unknown(id))?;
        let record: Record = serde_json::from_slice(&bytes).map_err(|_| unknown(id))?;
        if *who == Who::Owner || record.who == name_of(who) { Ok(record) } else { Err(unknown(id)) }
    }

    pub(crate) async fn remove(&self, id: &str, who: &Who) -> Result<(), Refusal> {
        self.find(id, who)?;
        self.end(id).await;
        std::fs::remove_file(self.path(id)?).map_err(|_| unknown(id))
    }

    /// Ends the work on a response, and waits for what it writes last; `false` if there is none.
    async fn end(&self, id: &str) -> bool {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let Some((cancel, ended)) = running else { return false };
        cancel.cancel();
        tokio::time::timeout(CANCEL_WAIT, ended.cancelled()).await.ok();
        true
    }

    /// Work on a response begins.
    pub(crate) fn begin(&self, id: &str) -> Running {
        let cancel = self.stop.child_token();
        self.running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_owned(), (cancel.clone(), CancellationToken::new()));
        Running { id: id.to_owned(), all: self.running.clone(), cancel }
    }

    /// Ends the work on a response; what it is then.
    pub(crate) async fn cancel(&self, id: &str, who: &Who) -> Result<Value, Refusal> {
        let record = self.find(id, who)?;
        if !self.end(id).await {
            if record.response["background"] == true {
                // It is over already.
                return Ok(record.response);
            }
            let hint = "end others by closing their connection";
            return Err(Refusal::new(
                RefusalCode::Malformed,
                "only a response in the background can be cancelled",
                hint,
            ));
        }
        let mut response = self.find(id, who)?.response;
        if response["status"] == "queued" {
            response["status"] = json!("cancelled");
        }
        Ok(response)
    }
}

fn unknown(id: &str) -> Refusal {
    let hint = "responses of other keys, removed and erased ones, and those with \"store\": false are not found";
    Refusal::new(RefusalCode::UnknownId, format!("there is no response {id:?}"), hint)
}
