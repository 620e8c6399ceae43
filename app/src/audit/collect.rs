//! What of a data folder goes into a bundle.

use super::place_of;
use crate::data::audit::{Span, span};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use talkoo_base::{Address, Digest};
use talkoo_proof::{Kept, verify_kept};

/// Where a member's bytes come from.
pub(super) enum Source {
    Bytes(Vec<u8>),
    /// A receipt, without prompt and answer unless they are disclosed.
    Kept {
        path: PathBuf,
        disclosed: bool,
    },
    /// A part of a file.
    Part {
        path: PathBuf,
        bytes: Range<u64>,
    },
}

impl Source {
    /// Reads it from its beginning.
    pub(super) fn open(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Bytes(bytes) => Box::new(Cursor::new(bytes)),
            Self::Kept { path, disclosed } => {
                let kept = crate::commands::read_receipt(path)?;
                let kept = if *disclosed { kept } else { kept.stripped() };
                Box::new(Cursor::new(kept.to_bytes()))
            }
            Self::Part { path, bytes } => {
                let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                file.seek(SeekFrom::Start(bytes.start))?;
                Box::new(file.take(bytes.end - bytes.start))
            }
        })
    }
}

/// Which receipts.
pub(super) struct Wanted<'a> {
    /// When they were written, in seconds of Unix time.
    pub(super) times: Range<u64>,
    /// Of which jobs; of all, if none is named.
    pub(super) jobs: &'a [Digest],
    pub(super) disclosed: bool,
}

/// What the receipts of a folder name.
#[derive(Default)]
pub(super) struct Found {
    pub(super) members: BTreeMap<String, Source>,
    pub(super) programs: BTreeSet<Digest>,
    pub(super) channels: BTreeSet<Digest>,
    /// Network, chain and client of the receipts.
    pub(super) of: Option<(String, u64, Address)>,
}

impl Found {
    /// Takes the receipts of `receipts` or `evidence`.
    pub(super) fn take(&mut self, data_dir: &Path, folder: &str, wanted: &Wanted<'_>) -> Result<()> {
        let Ok(jobs) = fs::read_dir(data_dir.join(folder)) else { return Ok(()) };
        for job in jobs {
            let job = job?.path();
            let id = job.file_name().and_then(|name| Digest::from_hex(name.to_str()?));
            let is_wanted = |id: &Digest| wanted.jobs.is_empty() || wanted.jobs.contains(id);
            if !id.as_ref().is_some_and(is_wanted) {
                continue;
            }
            for file in fs::read_dir(&job).with_context(|| format!("cannot read {}", job.display()))? {
                let path = file?.path();
                let written =
                    fs::metadata(&path)?.modified()?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                // What is not yet whole has another ending.
                if path.extension().is_some_and(|end| end == "receipt") && wanted.times.contains(&written) {
                    self.add(folder, path, wanted.disclosed)?;
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, folder: &str, path: PathBuf, disclosed: bool) -> Result<()> {
        ensure!(
            self.members.len() < super::MEMBERS_MAX,
            "there are more receipts than a bundle holds: name a span of days"
        );
        let kept: Kept = crate::commands::read_receipt(&path)?;
        let facts = verify_kept(&kept).with_context(|| format!("{} does not hold by itself", path.display()))?;
        let of = (kept.network.clone(), kept.chain_id, facts.client);
        let first = self.of.get_or_insert_with(|| of.clone());
        ensure!(*first == of, "{} is of another network or node than the others: name the jobs", path.display());
        self.programs.insert(facts.program);
        self.channels.insert(kept.channel.id(&kept.network()));
        self.members.insert(place_of(folder, &kept), Source::Kept { path, disclosed });
        Ok(())
    }
}

/// The part of the log of sealed data that is of a span of time; nothing if there is no log, or nothing in it.
pub(super) fn data_log(data_dir: &Path, times: &Range<u64>) -> Result<Option<(Source, Span)>> {
    let path = data_dir.join("data/audit");
    if !path.exists() {
        return Ok(None);
    }
    let found = span(&path, times).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((found.lines > 0).then(|| (Source::Part { path, bytes: found.bytes.clone() }, found)))
}

/// What was decided about payments of keys, up to the last whole line: four files of some megabytes, those of what was refused first.
pub(super) fn keys_log(data_dir: &Path) -> Option<Source> {
    let mut log = Vec::new();
    for name in ["keys-refused.1.jsonl", "keys-refused.jsonl", "keys-audit.1.jsonl", "keys-audit.jsonl"] {
        let text = fs::read(data_dir.join(name)).unwrap_or_default();
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        log.extend_from_slice(&text[..end]);
    }
    (!log.is_empty()).then_some(Source::Bytes(log))
}
