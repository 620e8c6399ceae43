//! Erasure of what clients said and were answered: kept responses, files, batches, events about them, words of payments.
//!
//! First it is looked what there is ([`Keepsakes::find`]), then that is removed ([`Keepsakes::erase`]): who shows both in one breath
//! tells what would go. What is removed is found by its description, which goes last, so that a kill in between loses sight of nothing.

use crate::{Shared, batches, files, hooks, keys, responses};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many of each kind, and their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, (u64, u64)>);

impl Tally {
    /// Counts some more of a kind.
    pub fn add(&mut self, kind: &'static str, count: u64, bytes: u64) {
        if count > 0 {
            let sum = self.0.entry(kind).or_default();
            *sum = (sum.0 + count, sum.1 + bytes);
        }
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, kind: &str) -> u64 {
        self.0.get(kind).map_or(0, |(count, _)| *count)
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `[{kind, count, bytes}]`, by name.
    #[must_use]
    pub fn json(&self) -> Value {
        let row = |(kind, (count, bytes)): (&&str, &(u64, u64))| json!({"kind": kind, "count": count, "bytes": bytes});
        self.0.iter().map(row).collect()
    }
}

/// What is meant; all that is said has to be true of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// The id of the key that asked.
    pub who: Option<String>,
    /// `resp_…`, `batch_…`, or a job of the market that answered.
    pub one: Option<String>,
    /// It came, or was over, before: in seconds since 1970.
    pub before: u64,
}

/// Something that is kept, as far as it matters for its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) who: String,
    /// When it came; when it was over, if it was worked at.
    pub(crate) at: u64,
    /// It is worked at, and stays.
    pub(crate) is_running: bool,
    /// Its files, in the order in which they go.
    pub(crate) paths: Vec<PathBuf>,
    /// The response whose words are a part of it.
    pub(crate) follows: Option<String>,
    /// The files that are its.
    pub(crate) uses: Vec<String>,
    /// Jobs of the market that answered.
    pub(crate) jobs: BTreeSet<String>,
}

impl Trace {
    fn bytes(&self) -> u64 {
        self.paths.iter().filter_map(|path| std::fs::metadata(path).ok()).map(|about| about.len()).sum()
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How much it is.
    pub tally: Tally,
    /// Jobs of the market that answered: their receipts disclose the same words.
    pub jobs: BTreeSet<String>,
    /// What is worked at and stays until it is over, by its id.
    pub running: Vec<String>,
    /// Batches that hold an answer of the job that was named.
    pub within: Vec<String>,
    paths: Vec<PathBuf>,
    objects: BTreeSet<String>,
    which: Which,
}

/// What inference keeps of its clients.
#[derive(Clone)]
pub struct Keepsakes {
    kept: Arc<responses::Kept>,
    files: Arc<files::Files>,
    batches: Arc<batches::Batches>,
    hooks: Arc<hooks::Hooks>,
    keys: Arc<keys::Keys>,
}

/// The jobs that an answer's facts name.
pub(crate) fn jobs_of(facts: &Value) -> BTreeSet<String> {
    let job = |one: &Value| one["job"].as_str().map(str::to_owned);
    match facts {
        Value::Array(all) => all.iter().filter_map(job).collect(),
        one => job(one).into_iter().collect(),
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// When a file was written, in seconds since 1970: what can't be read is as old as its file.
pub(crate) fn written(path: &Path) -> Option<u64> {
    let at = std::fs::metadata(path).ok()?.modified().ok()?;
    Some(at.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Removes what a stop left half written in a folder.
pub(crate) fn tidy(folder: &Path) -> io::Result<()> {
    for path in std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_some_and(|end| end == "new" || end == "part") {
            remove(&path)?;
        }
    }
    Ok(())
}

impl Keepsakes {
    pub(crate) fn of(shared: &Shared) -> Self {
        let Shared { kept, files, batches, hooks, keys, .. } = shared;
        Self {
            kept: kept.clone(),
            files: files.clone(),
            batches: batches.clone(),
            hooks: hooks.clone(),
            keys: keys.clone(),
        }
    }

    /// Looks for it. Reads every kept response: not for a thread that others wait for.
    ///
    /// # Errors
    /// What the disk says.
    pub fn find(&self, which: &Which) -> io::Result<Found> {
        // Only who names a key or an answer wants to know which jobs answered; all others go by their time.
        let wants_jobs = which.who.is_some() || which.one.is_some();
        let batches = self.batches.traces(&self.files, wants_jobs)?;
        let files = self.files.traces(&batches);
        let responses = self.kept.traces()?;
        let mut found = Found { which: which.clone(), ..Found::default() };
        let chosen = chosen(&responses, &batches, &files, which, &mut found);
        for trace in chosen {
            if trace.is_running {
                found.running.push(trace.id.clone());
                continue;
            }
            found.tally.add(trace.kind, 1, trace.bytes());
            found.jobs.extend(trace.jobs.iter().cloned());
            found.paths.extend(trace.paths.iter().cloned());
            found.objects.insert(trace.id.clone());
        }
        let (events, bytes) = self.hooks.about(&found.objects);
        found.tally.add("events", events, bytes);
        if which.one.is_none() {
            let (lines, bytes) = self.keys.forget_words(which.who.as_deref(), which.before, false)?;
            found.tally.add("payment_words", lines, bytes);
        }
        Ok(found)
    }

    /// Removes what was found. Done twice it is done once.
    ///
    /// # Errors
    /// What the disk says; then some of it is still there.
    pub fn erase(&self, found: &Found) -> io::Result<()> {
        self.hooks.forget_about(&found.objects);
        let mut folders = BTreeSet::new();
        for path in &found.paths {
            remove(path)?;
            folders.extend(path.parent());
        }
        if found.which.one.is_none() {
            self.keys.forget_words(found.which.who.as_deref(), found.which.before, true)?;
        }
        // That they are gone has to last, for nobody looks again.
        folders.into_iter().try_for_each(|folder| std::fs::File::open(folder)?.sync_all())
    }
}

/// What of all this is meant.
fn chosen<'a>(
    responses: &'a [Trace],
    batches: &'a [Trace],
    files: &'a [Trace],
    which: &Which,
    found: &mut Found,
) -> Vec<&'a Trace> {
    let is_meant = |trace: &&Trace| trace.at < which.before && which.who.as_ref().is_none_or(|who| *who == trace.who);
    let Some(one) = &which.one else {
        return [responses, batches, files].into_iter().flatten().filter(is_meant).collect();
    };
    let mut ids: BTreeSet<&str> = BTreeSet::from([one.as_str()]);
    ids.extend(responses.iter().filter(|trace| trace.jobs.contains(one)).map(|trace| trace.id.as_str()));
    // Who goes on with a response holds its words, and so do all after it.
    loop {
        let holds = |trace: &&Trace| trace.follows.as_deref().is_some_and(|id| ids.contains(id));
        let more: Vec<&str> = responses.iter().filter(holds).map(|trace| trace.id.as_str()).collect();
        let before = ids.len();
        ids.extend(more);
        if ids.len() == before {
            break;
        }
    }
    for batch in batches {
        if batch.id == *one {
            ids.extend(batch.uses.iter().map(String::as_str));
        } else if batch.jobs.contains(one) {
            found.within.push(batch.id.clone());
        }
    }
    let is_named = |trace: &&Trace| ids.contains(trace.id.as_str()) && is_meant(trace);
    [responses, batches, files].into_iter().flatten().filter(is_named).collect()
}

#[cfg(test)]
mod tests;
