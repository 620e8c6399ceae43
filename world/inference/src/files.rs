//! `/v1/files`: what clients upload for batches, and what comes of them. A file and its description, each in the folder.

use crate::Shared;
use crate::collect::{fresh, unix};
use crate::erase::{Trace, remove as remove_file, tidy, written};
use crate::error::Fault;
use crate::keys::{Who, name_of};
use crate::limits::{FILE_BYTES_MAX, FILES_MAX, WORD_BYTES_MAX};
use axum::Json;
use axum::body::Body;
use axum::extract::multipart::{Field, Multipart};
use axum::extract::{Extension, Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path as FilePath, PathBuf};
use talkoo_base::{Refusal, RefusalCode};
use tokio::io::AsyncWriteExt as _;

/// A file as OpenAI describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) id: String,
    pub(crate) bytes: u64,
    pub(crate) created_at: u64,
    pub(crate) filename: String,
    pub(crate) purpose: String,
    /// Whose it is.
    who: String,
}

impl File {
    fn json(&self) -> Value {
        let Self { id, bytes, created_at, filename, purpose, .. } = self;
        json!({
            "id": id, "object": "file", "bytes": bytes, "created_at": created_at, "expires_at": null,
            "filename": filename, "purpose": purpose, "status": "processed", "status_details": null,
        })
    }
}

/// The folder of files.
pub(crate) struct Files(PathBuf);

fn unknown(id: &str) -> Refusal {
    let hint = "GET /v1/files has the list; files of other keys and erased ones are not in it";
    Refusal::new(RefusalCode::UnknownId, format!("there is no file {id:?}"), hint)
}

pub(crate) fn unkept(why: &io::Error) -> Refusal {
    Refusal::new(RefusalCode::Other, format!("the file can't be kept ({why})"), "is the disk full?")
}

fn malformed(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::new(RefusalCode::Malformed, message, hint)
}

/// Writes a file as a whole or not at all, also if the power goes.
pub(crate) fn write(path: &FilePath, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    options.create(true).write(true).truncate(true);
    // Only its owner reads it: there are secrets of webhooks in one.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&aside)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    std::fs::rename(&aside, path)?;
    match path.parent() {
        #[cfg(unix)]
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

/// The names of what a folder describes.
pub(crate) fn described_in(folder: &FilePath) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let described = entries.filter(|path| path.extension().is_some_and(|end| end == "json"));
    described.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

impl Files {
    pub(crate) fn open(folder: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        // Uploads that a stop cut off, also between their bytes and what describes them.
        tidy(&folder)?;
        for path in std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|end| end == "bytes") && !path.with_extension("json").exists() {
                remove_file(&path)?;
            }
        }
        Ok(Self(folder))
    }

    /// All of them; a file is as old as the batch that used it last. One whose description can't be read is nobody's, and as old as that.
    pub(crate) fn traces(&self, batches: &[Trace]) -> Vec<Trace> {
        let trace = |file: File| {
            let users: Vec<&Trace> = batches.iter().filter(|batch| batch.uses.contains(&file.id)).collect();
            let paths = [self.path(&file.id, "bytes"), self.path(&file.id, "json")];
            Trace {
                kind: "files",
                at: users.iter().map(|batch| batch.at).max().unwrap_or(0).max(file.created_at),
                is_running: users.iter().any(|batch| batch.is_running),
                paths: paths.into_iter().filter_map(Result::ok).collect(),
                id: file.id,
                who: file.who,
                ..Trace::default()
            }
        };
        let unread = |id: String| {
            let path = self.path(&id, "json").ok().filter(|_| self.find(&id, &Who::Owner).is_err())?;
            let created_at = written(&path)?;
            Some(File { id, bytes: 0, created_at, filename: String::new(), purpose: String::new(), who: String::new() })
        };
        let unread = described_in(&self.0).into_iter().filter_map(unread);
        self.all(&Who::Owner).into_iter().chain(unread).map(trace).collect()
    }

    fn path(&self, id: &str, extension: &str) -> Result<PathBuf, Refusal> {
        let is_id = id
            .strip_prefix("file-")
            .is_some_and(|rest| rest.len() == 24 && rest.bytes().all(|b| b.is_ascii_hexdigit()));
        if is_id { Ok(self.0.join(id).with_extension(extension)) } else { Err(unknown(id)) }
    }

    /// Where the bytes of a file are.
    pub(crate) fn content(&self, id: &str) -> Result<PathBuf, Refusal> {
        self.path(id, "bytes")
    }

    pub(crate) fn find(&self, id: &str, who: &Who) -> Result<File, Refusal> {
        let bytes = std::fs::read(self.path(id, "json")?).map_err(|_| unknown(id))?;
        let file: File = serde_json::from_slice(&bytes).map_err(|_| unknown(id))?;
        if *who == Who::Owner || file.who == name_of(who) { Ok(file) } else { Err(unknown(id)) }
    }

    fn all(&self, who: &Who) -> Vec<File> {
        let mut files: Vec<File> =
            described_in(&self.0).into_iter().filter_map(|id| self.find(&id, who).ok()).collect();
        files.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        files
    }

    /// Keeps what lies at `from` as a file.
    pub(crate) fn adopt(&self, from: &FilePath, filename: &str, purpose: &str, who: &str) -> Result<File, Refusal> {
        let id = fresh("file-");
        let bytes = std::fs::metadata(from).map_err(|why| unkept(&why))?.len();
        let (filename, purpose) = (filename.to_owned(), purpose.to_owned());
        let file = File { id, bytes, created_at: unix(), filename, purpose, who: who.to_owned() };
        let described = serde_json::to_vec(&file).expect("a file's description is JSON");
        std::fs::rename(from, self.path(&file.id, "bytes")?).map_err(|why| unkept(&why))?;
        write(&self.path(&file.id, "json")?, &described).map_err(|why| unkept(&why))?;
        Ok(file)
    }

    fn remove(&self, id: &str, who: &Who) -> Result<(), Refusal> {
        self.find(id, who)?;
        // In this order: what has no description is found by nobody.
        remove_file(&self.path(id, "bytes")?).map_err(|why| unkept(&why))?;
        std::fs::remove_file(self.path(id, "json")?).map_err(|_| unknown(id))
    }
}

/// Takes an upload: the fields `purpose` and `file`, in any order.
pub(crate) async fn create(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    mut form: Multipart,
) -> Result<Json<Value>, Fault> {
    if shared.files.all(&Who::Owner).len() >= FILES_MAX {
        let no = Refusal::new(RefusalCode::TooLarge, format!("there are {FILES_MAX} files"), "DELETE /v1/files/ID");
        return Err(no.into());
    }
    let (mut purpose, mut upload) = (None, None);
    let broken = |why: axum::extract::multipart::MultipartError| malformed(format!("the upload broke off ({why})"), "");
    while let Some(mut field) = form.next_field().await.map_err(broken)? {
        match field.name() {
            Some("purpose") => purpose = Some(word(&mut field).await?),
            Some("file") if upload.is_none() => {
                let name = field.file_name().unwrap_or("upload").chars().take(255).collect::<String>();
                upload = Some((store(&shared.files, &mut field).await?, name));
            }
            Some("expires_after[anchor]" | "expires_after[seconds]") => {
                let no = "`expires_after` is not supported";
                return Err(Refusal::new(RefusalCode::UnsupportedParameter, no, "remove the file yourself").into());
            }
            _ => while field.chunk().await.map_err(broken)?.is_some() {},
        }
    }
    let Some((part, name)) = upload else { return Err(malformed("`file` is missing", "send it as multipart").into()) };
    let purpose = purpose.unwrap_or_default();
    if !["batch", "user_data", "fine-tune"].contains(&purpose.as_str()) {
        let no = malformed("`purpose` is none of batch, user_data, fine-tune", "");
        return Err(Fault { param: Some("purpose".into()), ..no.into() });
    }
    let kept = shared.files.adopt(&part.0, &name, &purpose, &name_of(&who));
    Ok(Json(kept?.json()))
}

/// A short text; what is longer is none of those that are known.
async fn word(field: &mut Field<'_>) -> Result<String, Refusal> {
    let mut bytes = Vec::new();
    while let Some(more) = field.chunk().await.map_err(|why| malformed(format!("the upload broke off ({why})"), ""))? {
        bytes.extend(more.iter().take(WORD_BYTES_MAX.saturating_sub(bytes.len())));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A half of an upload; it goes unless it is adopted.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // Adopted, it is not here any more.
        std::fs::remove_file(&self.0).ok();
    }
}

async fn store(files: &Files, field: &mut Field<'_>) -> Result<Part, Refusal> {
    let part = Part(files.0.join(fresh("upload-")).with_extension("part"));
    let mut out = tokio::fs::File::create(&part.0).await.map_err(|why| unkept(&why))?;
    let mut bytes = 0;
    while let Some(more) = field.chunk().await.map_err(|why| malformed(format!("the upload broke off ({why})"), ""))? {
        bytes += more.len();
        if bytes > FILE_BYTES_MAX {
            let message = format!("`file` has more than {FILE_BYTES_MAX} bytes");
            return Err(Refusal::new(RefusalCode::TooLarge, message, "split it"));
        }
        out.write_all(&more).await.map_err(|why| unkept(&why))?;
    }
    out.sync_all().await.map_err(|why| unkept(&why))?;
    Ok(part)
}

pub(crate) async fn list(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Json<Value> {
    let purpose = query.get("purpose");
    let files = shared.files.all(&who).into_iter().filter(|file| purpose.is_none_or(|wanted| *wanted == file.purpose));
    let (page, has_more) = page(files.map(|file| file.json()).collect(), &query, 10_000);
    Json(listed(page, has_more))
}

/// A page of a list, by `after` and `limit`, and whether more comes.
pub(crate) fn page(all: Vec<Value>, query: &BTreeMap<String, String>, most: usize) -> (Vec<Value>, bool) {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(most).clamp(1, most);
    let after = query.get("after").and_then(|id| all.iter().position(|one| one["id"] == id.as_str()));
    let rest: Vec<Value> = all.into_iter().skip(after.map_or(0, |at| at + 1)).collect();
    let has_more = rest.len() > limit;
    (rest.into_iter().take(limit).collect(), has_more)
}

/// OpenAI's list object.
pub(crate) fn listed(data: Vec<Value>, has_more: bool) -> Value {
    let id = |one: Option<&Value>| one.map_or(Value::Null, |one| one["id"].clone());
    let (first, last) = (id(data.first()), id(data.last()));
    json!({"object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more})
}

pub(crate) async fn one(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    Ok(Json(shared.files.find(&id, &who)?.json()))
}

pub(crate) async fn remove(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Fault> {
    shared.files.remove(&id, &who)?;
    Ok(Json(json!({"id": id, "object": "file", "deleted": true})))
}

pub(crate) async fn content(
    State(shared): State<Shared>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    shared.files.find(&id, &who)?;
    let file = tokio::fs::File::open(shared.files.content(&id)?).await.map_err(|_| unknown(&id))?;
    let stream = tokio_util::io::ReaderStream::new(file);
    // Never a page of this site, whatever it holds.
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_DISPOSITION, "attachment"),
    ];
    Ok((headers, Body::from_stream(stream)).into_response())
}
