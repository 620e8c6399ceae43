//! Repositories: a name, its commits, each the root of a folder. One JSON file for each, written anew and renamed.

use crate::time::now;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use talkoo_base::{Cid, Refusal, RefusalCode, sha256};

/// Length of a repository's name with its namespace (the hub allows 96 for the name).
const NAME_BYTES_MAX: usize = 160;

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Model,
    Dataset,
    Space,
}

impl Kind {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "model" | "models" => Some(Self::Model),
            "dataset" | "datasets" => Some(Self::Dataset),
            "space" | "spaces" => Some(Self::Space),
            _ => None,
        }
    }

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
            Self::Space => "spaces",
        }
    }
}

/// Which repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) kind: Kind,
    /// `namespace/name`, or a name alone.
    pub(super) name: String,
}

impl Id {
    pub(super) fn new(kind: Kind, name: &str) -> Result<Self, Refusal> {
        let is_plain = |part: &str| {
            let plain = part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
            plain && !part.is_empty() && !part.starts_with(['.', '-']) && !part.contains("..") && !part.contains("--")
        };
        if name.len() <= NAME_BYTES_MAX && name.split('/').count() <= 2 && name.split('/').all(is_plain) {
            return Ok(Self { kind, name: name.to_owned() });
        }
        let hint = "write namespace/name with letters, digits, `-`, `_` and `.`";
        Err(Refusal::new(RefusalCode::Malformed, "this is no name of a repository", hint))
    }

    fn file(&self) -> String {
        format!("{}--{}.json", self.kind.plural(), self.name.replace('/', "--"))
    }
}

/// One state of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Commit {
    /// 40 hexadecimal digits, as clients expect.
    pub(super) id: String,
    /// The folder.
    pub(super) root: Cid,
    pub(super) title: String,
    pub(super) message: String,
    /// Seconds since 1970.
    pub(super) at: u64,
}

/// What is known of a file's content: hubs name large files by their SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Blob {
    pub(super) sha256: String,
    pub(super) bytes: u64,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Repo {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) private: bool,
    /// The first is the oldest.
    pub(super) commits: Vec<Commit>,
    /// Names of commits besides `main`, the newest.
    pub(super) tags: BTreeMap<String, String>,
    /// By the CID of the file.
    pub(super) blobs: BTreeMap<String, Blob>,
}

impl Repo {
    /// The state that a revision means.
    pub(super) fn at(&self, revision: &str) -> Option<&Commit> {
        match revision {
            "main" | "HEAD" | "refs/heads/main" => self.commits.last(),
            other => {
                let id = self.tags.get(other).map_or(other, String::as_str);
                self.commits.iter().find(|commit| commit.id == id)
            }
        }
    }

    /// A new state.
    pub(super) fn commit(&mut self, root: Cid, title: &str, message: &str) -> Commit {
        let parent = self.commits.last().map(|commit| commit.id.clone()).unwrap_or_default();
        let at = now();
        let id = commit_id(&[parent.as_bytes(), &root.to_bytes(), title.as_bytes(), &at.to_be_bytes()]);
        let commit = Commit { id, root, title: title.to_owned(), message: message.to_owned(), at };
        self.commits.push(commit.clone());
        commit
    }
}

/// A name of 40 digits for a state.
pub(super) fn commit_id(parts: &[&[u8]]) -> String {
    let mut all = vec![b"talkoo/hub/commit/1".as_slice()];
    all.extend(parts);
    hex_of(&sha256(&all).0)[..40].to_owned()
}

pub(super) fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that was uploaded and is in no commit yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    pub(super) cid: Cid,
    pub(super) bytes: u64,
    pub(super) total_bytes: u64,
}

/// The folder of all repositories. Clones are the same one.
#[derive(Clone)]
pub(super) struct Shelf {
    folder: PathBuf,
    /// One change at a time: each reads, thinks and writes.
    changing: Arc<Mutex<()>>,
}

impl Shelf {
    pub(super) fn open(folder: PathBuf) -> Result<Self, Refusal> {
        std::fs::create_dir_all(folder.join("uploads")).map_err(|why| unwritable(&folder, &why))?;
        Ok(Self { folder, changing: Arc::default() })
    }

    pub(super) fn get(&self, id: &Id) -> Result<Option<Repo>, Refusal> {
        read(&self.folder.join(id.file()))
    }

    /// All of a kind, by name.
    pub(super) fn list(&self, kind: Kind) -> Result<Vec<Repo>, Refusal> {
        let entries = std::fs::read_dir(&self.folder).map_err(|why| unwritable(&self.folder, &why))?;
        let mut repos = Vec::new();
        for entry in entries.filter_map(Result::ok) {
            let is_ours = entry.file_name().to_string_lossy().starts_with(&format!("{}--", kind.plural()));
            if is_ours && entry.path().extension().is_some_and(|e| e == "json") {
                repos.extend(read::<Repo>(&entry.path())?);
            }
        }
        repos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(repos)
    }

    /// Changes a repository; what `change` answers with an error is not written.
    pub(super) fn change<T>(
        &self,
        id: &Id,
        change: impl FnOnce(&mut Option<Repo>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut repo = self.get(id)?;
        let before = repo.clone();
        let answer = change(&mut repo)?;
        let path = self.folder.join(id.file());
        match &repo {
            _ if repo == before => {}
            Some(repo) => write(&path, repo)?,
            None => std::fs::remove_file(&path).map_err(|why| unwritable(&path, &why))?,
        }
        Ok(answer)
    }

    /// An upload by its SHA-256 in hexadecimal digits.
    pub(super) fn upload(&self, sha256: &str) -> Result<Option<Upload>, Refusal> {
        read(&self.uploaded(sha256))
    }

    pub(super) fn keep_upload(&self, sha256: &str, upload: &Upload) -> Result<(), Refusal> {
        write(&self.uploaded(sha256), upload)
    }

    pub(super) fn forget_upload(&self, sha256: &str) {
        std::fs::remove_file(self.uploaded(sha256)).ok();
    }

    fn uploaded(&self, sha256: &str) -> PathBuf {
        assert!(is_sha256(sha256), "checked by the caller, for it becomes a file's name");
        self.folder.join("uploads").join(format!("{sha256}.json"))
    }
}

/// Whether a text is a SHA-256 in hexadecimal digits.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Option<T>, Refusal> {
    let bytes = match std::fs::read(path) {
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|why| unwritable(path, &why))?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|why| unwritable(path, &why))
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), Refusal> {
    let bytes = serde_json::to_vec(value).map_err(|why| unwritable(path, &why))?;
    let aside = path.with_extension("new");
    let written = std::fs::File::create(&aside).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    let folder = path.parent().expect("a file of ours lies in a folder of ours");
    let written = written.and_then(|()| std::fs::rename(&aside, path));
    written.and_then(|()| std::fs::File::open(folder)?.sync_all()).map_err(|why| unwritable(path, &why))
}

fn unwritable(path: &Path, why: &dyn std::fmt::Display) -> Refusal {
    let message = format!("{} cannot be read or written: {why}", path.display());
    Refusal::new(RefusalCode::Other, message, "see whether the disk is full, or the file damaged")
}
