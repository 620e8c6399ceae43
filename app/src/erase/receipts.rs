//! Receipts and evidence: their prompts and answers go, and at last they themselves.

use super::sync;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use talkoo_base::{JobId, Refusal, RefusalCode};
use talkoo_inference::Tally;
use talkoo_proof::Kept;

/// Where they lie, by job.
const FOLDERS: [&str; 2] = ["receipts", "evidence"];
/// Beside the receipts of a job that a key asked for: its id.
const KEY: &str = "key";

/// Of which receipts.
pub(super) struct Wanted<'a> {
    /// Of these jobs; of all if none is named.
    pub(super) jobs: Option<&'a BTreeSet<String>>,
    /// And of those that this key asked for.
    pub(super) key: Option<&'a str>,
    /// Written before, in seconds since 1970.
    pub(super) before: u64,
    /// Never of these.
    pub(super) open: &'a BTreeSet<String>,
}

impl Wanted<'_> {
    /// Whether something of a job from this time is meant, by the job's name alone.
    pub(super) fn means(&self, job: &str, at: u64) -> bool {
        at < self.before && !self.open.contains(job) && self.jobs.is_none_or(|jobs| jobs.contains(job))
    }

    /// Whether the receipts of a job are meant.
    fn means_all_of(&self, dir: &Path, job: &str) -> bool {
        let is_keys = || self.key.is_some_and(|key| asked_for(dir, job, key));
        !self.open.contains(job) && (self.jobs.is_none_or(|jobs| jobs.contains(job)) || is_keys())
    }
}

/// Notes that a key asked for a job, before the job is begun.
pub(crate) fn belongs(dir: &Path, job: &JobId, key: &str) -> io::Result<()> {
    let folder = dir.join(FOLDERS[0]).join(job.to_string());
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(KEY), key)
}

/// Whether a key asked for a job.
pub(crate) fn asked_for(dir: &Path, job: &str, key: &str) -> bool {
    fs::read_to_string(dir.join(FOLDERS[0]).join(job).join(KEY)).is_ok_and(|of| of == key)
}

/// A job is forgotten: if it has no receipts, nobody needs to know whose it was.
pub(crate) fn leave(dir: &Path, job: &JobId) -> io::Result<()> {
    clear(&dir.join(FOLDERS[0]).join(job.to_string()))
}

/// Removes a job's folder if no receipt is in it.
fn clear(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        if entry?.file_name() != KEY {
            return Ok(());
        }
    }
    fs::remove_dir_all(folder)
}

/// The folders of jobs, with their names.
fn jobs(dir: &Path, kind: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(dir.join(kind)) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned)
            && path.is_dir()
        {
            all.push((name, path));
        }
    }
    Ok(all)
}

/// The files of a job's folder, and when they were written.
fn files(folder: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let written = fs::metadata(&path)?.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        all.push((path, written));
    }
    Ok(all)
}

/// A job's whole id, if there are receipts of it and these are its first digits; what is no job's stays as it is.
pub(crate) fn whole_id(dir: &Path, id: &str) -> Result<String, Refusal> {
    if id.contains('_') || id.len() >= 64 {
        return Ok(id.to_owned());
    }
    let mut names = BTreeSet::new();
    for kind in FOLDERS {
        names.extend(jobs(dir, kind).map_err(|why| super::unread(&why))?.into_iter().map(|(name, _)| name));
    }
    let mut found = names.into_iter().filter(|name| name.starts_with(id));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => {
            Err(Refusal::new(RefusalCode::UnknownId, format!("several jobs begin with {id}"), "give more digits"))
        }
        (name, _) => Ok(name.unwrap_or_else(|| id.to_owned())),
    }
}

/// Whether there are receipts of a job; a path is the name of none.
pub(super) fn has(dir: &Path, job: &str) -> bool {
    job.bytes().all(|byte| byte.is_ascii_alphanumeric()) && FOLDERS.iter().any(|kind| dir.join(kind).join(job).is_dir())
}

/// Takes prompt and answer out of receipts; what is left of them still holds.
pub(super) fn strip(
    dir: &Path,
    wanted: &Wanted<'_>,
    writes: bool,
    tally: &mut Tally,
    left: &mut Vec<String>,
) -> io::Result<()> {
    for kind in FOLDERS {
        for (job, folder) in jobs(dir, kind)? {
            if !wanted.means_all_of(dir, &job) {
                continue;
            }
            let (halves, whole): (Vec<_>, Vec<_>) =
                files(&folder)?.into_iter().partition(|(path, _)| path.extension().is_some_and(|end| end == "part"));
            // Left by a kill; nobody writes one of a job that is over. They go before others of their names are made.
            halves.iter().filter(|_| writes).try_for_each(|(path, _)| fs::remove_file(path))?;
            for (path, written) in whole {
                let is_meant = path.extension().is_some_and(|end| end == "receipt") && written < wanted.before;
                match is_meant.then(|| strip_one(&path, writes)).transpose()? {
                    Some(Some(bytes)) => tally.add("receipts", u64::from(bytes > 0), bytes),
                    Some(None) => left.push(format!("{} is no receipt that this program reads", path.display())),
                    None => {}
                }
            }
            if writes {
                sync(&folder)?;
            }
        }
    }
    Ok(())
}

/// The bytes that a receipt loses; nothing of a file that is none.
fn strip_one(path: &Path, writes: bool) -> io::Result<Option<u64>> {
    let bytes = fs::read(path)?;
    let Ok(kept) = Kept::from_bytes(&bytes) else { return Ok(None) };
    if kept.disclosure.is_none() {
        return Ok(Some(0));
    }
    let stripped = kept.stripped().to_bytes();
    if writes {
        let aside = path.with_extension("part");
        let mut file = File::create(&aside)?;
        file.write_all(&stripped)?;
        // Its time says when it was earned, not when it was stripped.
        file.set_modified(fs::metadata(path)?.modified()?)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
    }
    Ok(Some((bytes.len() - stripped.len()) as u64))
}

/// Removes receipts and evidence that were written before.
pub(super) fn remove(
    dir: &Path,
    before: u64,
    open: &BTreeSet<String>,
    writes: bool,
    tally: &mut Tally,
) -> io::Result<()> {
    for kind in FOLDERS.iter().filter(|_| before > 0) {
        for (_, folder) in jobs(dir, kind)?.into_iter().filter(|(job, _)| !open.contains(job)) {
            let old = files(&folder)?.into_iter().filter(|(_, written)| *written < before);
            let old: Vec<PathBuf> = old.map(|(path, _)| path).filter(|path| !path.ends_with(KEY)).collect();
            for path in &old {
                tally.add("receipts_removed", 1, fs::metadata(path)?.len());
                if writes {
                    fs::remove_file(path)?;
                }
            }
            if writes && !old.is_empty() {
                sync(&folder)?;
                clear(&folder)?;
            }
        }
    }
    Ok(())
}
