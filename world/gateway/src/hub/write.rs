//! Writing to the hub: repositories, large files, commits.

use super::read::{done, malformed, repo, view};
use super::repo::{Blob, Id, Kind, Repo, Upload, hex_of, is_sha256};
use super::{Asked, Hub, No, Wrong, blocking_no, json_of, no, tree};
use crate::import::{Import, ImportOptions};
use crate::keep::pin;
use crate::limits::{PIECES_QUEUED, READER_WAIT};
use crate::source::broken;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode, sha256};
use talkoo_store::Visibility;
use talkoo_store::unixfs::Profile;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Bytes of a commit: its small files are in it.
pub(super) const COMMIT_BYTES_MAX: usize = 512 << 20;
/// Larger files do not travel within a commit: clients send those by git-lfs, or, with Xet, not at all.
const WITHIN_COMMIT_BYTES: u64 = 16 << 20;
const OPTIONS: ImportOptions = ImportOptions { profile: Profile::V1_2025 };

fn json_body(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice(body).map_err(|why| malformed(&why))
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, Refusal> {
    value[name].as_str().ok_or_else(|| malformed(&format!("`{name}` is missing")))
}

/// `POST /api/repos/create`, `DELETE /api/repos/delete`.
pub(super) fn repository(hub: &Hub, asked: &Asked, what: &str, body: &[u8]) -> Result<Response, No> {
    let body = json_body(body)?;
    let kind = Kind::parse(body["type"].as_str().unwrap_or("model")).ok_or_else(|| malformed(&"unknown `type`"))?;
    let name = match body["organization"].as_str() {
        Some(namespace) => format!("{namespace}/{}", text(&body, "name")?),
        None => text(&body, "name")?.to_owned(),
    };
    let name = if name.contains('/') { name } else { format!("me/{name}") };
    let id = Id::new(kind, &name)?;
    if name.starts_with("ipfs/") || name.starts_with("talkoo/") {
        let hint = "choose another namespace";
        return Err(Refusal::new(
            RefusalCode::Malformed,
            "`ipfs/` stands for folders of the network, `talkoo/` for models of the node",
            hint,
        )
        .into());
    }
    if what == "delete" {
        let gone = hub.shelf.change(&id, |repo| Ok(repo.take()))?;
        let gone =
            gone.ok_or_else(|| no(Wrong::NoRepo, format!("there is no repository {name}"), "list them first"))?;
        for commit in &gone.commits {
            hub.store.blocks.pin_remove(&pin_id(&id, &commit.id)).map_err(broken)?;
            hub.store.blocks.set_class(&commit.root, Visibility::Private).map_err(broken)?;
        }
        return Ok(done());
    }
    // What nobody calls public is private, here as everywhere in the node.
    let is_public = body["private"].as_bool() == Some(false) || body["visibility"] == "public";
    let private = !is_public;
    let is_new = hub.shelf.change(&id, |repo| {
        let is_new = repo.is_none();
        let (commits, tags, blobs) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        repo.get_or_insert(Repo { name: name.clone(), kind, private, commits, tags, blobs });
        Ok(is_new)
    })?;
    let prefix = if kind == Kind::Model { String::new() } else { format!("{}/", kind.plural()) };
    let url = format!("{}/{prefix}{name}", asked.base);
    if !is_new {
        // With `exist_ok` clients read the address from this answer.
        let said = json!({"error": format!("the repository {name} is there already; pass exist_ok=True"), "url": url});
        return Ok((StatusCode::CONFLICT, axum::Json(said)).into_response());
    }
    Ok(json_of(&json!({"url": url, "name": name, "private": private})))
}

/// Verbs below a repository that write.
pub(super) fn api(hub: &Hub, asked: &Asked, id: &Id, verb: &[String], body: &[u8]) -> Result<Response, No> {
    let words: Vec<&str> = verb.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["preupload", _] => {
            repo(hub, asked, id)?;
            let body = json_body(body)?;
            let files = body["files"].as_array().into_iter().flatten().map(|file| {
                let large = file["size"].as_u64().unwrap_or(0) > WITHIN_COMMIT_BYTES;
                json!({"path": file["path"], "uploadMode": if large { "lfs" } else { "regular" }, "shouldIgnore": false})
            });
            Ok(json_of(&json!({"files": files.collect::<Vec<_>>()})))
        }
        ["commit", revision] => commit(hub, asked, id, revision, body),
        ["tag", revision] => {
            let tag = text(&json_body(body)?, "tag")?.to_owned();
            let at = view(hub, asked, id, revision)?.commit.id;
            change(hub, id, |repo| {
                repo.tags.insert(tag, at);
                Ok(())
            })?;
            Ok(done())
        }
        ["settings"] => {
            let body = json_body(body)?;
            let private = body["private"].as_bool().or(body["visibility"].as_str().map(|v| v != "public"));
            let private = private.ok_or_else(|| malformed(&"only `private` can be set"))?;
            let roots: Vec<Cid> = change(hub, id, |repo| {
                repo.private = private;
                Ok(repo.commits.iter().map(|commit| commit.root).collect())
            })?;
            for root in roots {
                open(hub, &root, private)?;
            }
            Ok(json_of(&json!({"private": private})))
        }
        _ => Err(no(Wrong::NoEntry, "the hub of a node does not serve this", "docs/STORAGE.md has the list")),
    }
}

/// Changes a repository that is there.
fn change<T>(hub: &Hub, id: &Id, change: impl FnOnce(&mut Repo) -> Result<T, Refusal>) -> Result<T, Refusal> {
    hub.shelf.change(id, |repo| match repo {
        Some(repo) => change(repo),
        None => Err(Refusal::new(RefusalCode::UnknownId, "the repository is gone", "create it first")),
    })
}

fn pin_id(id: &Id, commit: &str) -> String {
    format!("hub/{}/{}@{commit}", id.kind.plural(), id.name)
}

/// Opens a folder to everybody, or closes it.
fn open(hub: &Hub, root: &Cid, private: bool) -> Result<(), Refusal> {
    let class = if private { Visibility::Private } else { Visibility::Public };
    hub.store.blocks.set_class(root, class).map_err(broken)?;
    if !private {
        hub.store.network.provide(root);
    }
    Ok(())
}

/// A name for an upload that only this node can have made, for clients send no token with the file itself.
fn capability(hub: &Hub, sha: &str) -> String {
    hex_of(&sha256(&[b"talkoo/hub/upload/1", hub.secret.as_slice(), sha.as_bytes()]).0)
}

/// `…/info/lfs/objects/batch` (git-lfs's batch API): where to put large files.
pub(super) fn batch(hub: &Hub, asked: &Asked, id: &Id, body: &[u8]) -> Result<Response, No> {
    let body = json_body(body)?;
    if body["operation"] != "upload" {
        let hint = "download files from …/resolve/<revision>/<path>";
        return Err(Refusal::new(RefusalCode::UnsupportedParameter, "only uploads go this way", hint).into());
    }
    repo(hub, asked, id)?;
    let objects = body["objects"].as_array().into_iter().flatten().map(|object| {
        let (oid, size) = (text(object, "oid")?, &object["size"]);
        if !is_sha256(oid) {
            return Err(malformed(&"`oid` is not a SHA-256"));
        }
        if hub.shelf.upload(oid)?.is_some() {
            return Ok(json!({"oid": oid, "size": size}));
        }
        let href = format!("{}/lfs/{}/{oid}", asked.base, capability(hub, oid));
        Ok(json!({"oid": oid, "size": size, "authenticated": true, "actions": {"upload": {"href": href, "header": {}}}}))
    });
    let objects = objects.collect::<Result<Vec<Value>, Refusal>>()?;
    Ok(json_of(&json!({"transfer": "basic", "objects": objects})))
}

/// Takes a large file.
pub(super) async fn put(hub: &Hub, asked: &Asked, given: &str, oid: &str, body: Body) -> Result<Response, No> {
    let is_ours = is_sha256(oid) && sha256(&[given.as_bytes()]) == sha256(&[capability(hub, oid).as_bytes()]);
    if asked.method != axum::http::Method::PUT || !is_ours {
        return Err(no(Wrong::NeedsToken, "this is no address for an upload", "ask for one with the batch call"));
    }
    let (pieces, mut rest) = mpsc::channel(PIECES_QUEUED);
    let (hub, oid) = (hub.clone(), oid.to_owned());
    let work = blocking_no(Caller::Owner, move || {
        let mut import = Import::new(Some(&hub.store.blocks), OPTIONS);
        import.begin("file")?;
        let (mut hasher, mut bytes, mut ended) = (Sha256::new(), 0, false);
        while let Some(piece) = rest.blocking_recv() {
            match piece {
                Some(piece) => {
                    let piece: bytes::Bytes = piece;
                    hasher.update(&piece);
                    bytes += piece.len() as u64;
                    import.push(&piece)?;
                }
                None => ended = true,
            }
        }
        let found = hex_of(&hasher.finalize());
        if !ended || found != oid {
            let message = format!("{bytes} bytes came, and their SHA-256 is {found}");
            return Err(Refusal::new(RefusalCode::Malformed, message, "send the file again").with(oid, found).into());
        }
        let file = import.end()?;
        let finished = import.finish(false)?;
        hub.store.blocks.pin_add(&pin(format!("hub-upload/{oid}"), file.cid, "hub")).map_err(broken)?;
        hub.shelf.keep_upload(&oid, &Upload { cid: file.cid, bytes, total_bytes: file.total_bytes })?;
        drop(finished);
        Ok(done())
    });
    let feed = async move {
        let mut body = body.into_data_stream();
        loop {
            // Who sends nothing any more holds neither a worker nor what it has sent.
            let Ok(piece) = timeout(READER_WAIT, body.next()).await else { return };
            let Some(piece) = piece else { break };
            let Ok(piece) = piece else { return };
            if pieces.send(Some(piece)).await.is_err() {
                return;
            }
        }
        pieces.send(None).await.ok();
    };
    let (answer, ()) = tokio::join!(work, feed);
    answer
}

/// What a commit makes of the folder.
struct Change {
    files: BTreeMap<String, (Cid, u64)>,
    import: Import<'static>,
    blobs: BTreeMap<String, Blob>,
    uploads: Vec<String>,
    title: String,
    message: String,
    parent: Option<String>,
}

/// `POST …/commit/<revision>`: lines of JSON.
fn commit(hub: &Hub, asked: &Asked, id: &Id, revision: &str, body: &[u8]) -> Result<Response, No> {
    if !matches!(revision, "main" | "HEAD") || asked.get("create_pr").is_some_and(|value| value != "0") {
        let hint = "commit to main; tags name commits";
        return Err(Refusal::new(
            RefusalCode::UnsupportedParameter,
            "there are no branches and no pull requests",
            hint,
        )
        .into());
    }
    let base = repo(hub, asked, id)?.commits.last().cloned();
    let mut change = Change {
        files: BTreeMap::new(),
        import: Import::new(Some(&hub.store.blocks), OPTIONS),
        blobs: BTreeMap::new(),
        uploads: Vec::new(),
        title: String::new(),
        message: String::new(),
        parent: None,
    };
    if let Some(base) = &base {
        let mut source = view(hub, asked, id, &base.id)?.source;
        let items = tree::list(&mut source, &base.root, "", true)?.into_iter().filter(|item| !item.is_folder);
        change.files = items.map(|item| (item.path, (item.cid, item.total_bytes))).collect();
    }
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        change.take(hub, &json_body(line)?)?;
    }
    if change.parent.as_ref().is_some_and(|parent| base.as_ref().map(|base| &base.id) != Some(parent)) {
        return Err(no(Wrong::Exists, "the parent commit is not the newest any more", "look at it again, then commit"));
    }
    let Change { files, mut import, blobs, uploads, title, message, .. } = change;
    for (path, (cid, total_bytes)) in files {
        import.link(&path, cid, total_bytes)?;
    }
    let finished = import.finish(true)?;
    let root = finished.roots[0].cid;
    let (commit, private) = self::change(hub, id, |repo| {
        if repo.commits.last().map(|last| &last.id) != base.as_ref().map(|base| &base.id) {
            let hint = "commit again";
            return Err(Refusal::new(RefusalCode::InUse, "another commit came in between", hint));
        }
        repo.blobs.extend(blobs);
        let commit = repo.commit(root, &title, &message);
        hub.store.blocks.pin_add(&pin(pin_id(id, &commit.id), root, "hub")).map_err(broken)?;
        Ok((commit, repo.private))
    })?;
    open(hub, &root, private)?;
    drop(finished);
    for oid in uploads {
        hub.store.blocks.pin_remove(&format!("hub-upload/{oid}")).map_err(broken)?;
        hub.shelf.forget_upload(&oid);
    }
    let url = format!("{}/{}/commit/{}", asked.base, id.name, commit.id);
    Ok(json_of(
        &json!({"success": true, "commitOid": commit.id, "commitUrl": url, "hookOutput": "", "cid": root.to_string()}),
    ))
}

impl Change {
    fn take(&mut self, hub: &Hub, line: &Value) -> Result<(), Refusal> {
        let value = &line["value"];
        match text(line, "key")? {
            "header" => {
                self.title = text(value, "summary")?.to_owned();
                self.message = value["description"].as_str().unwrap_or_default().to_owned();
                self.parent = value["parentCommit"].as_str().map(str::to_owned);
            }
            "file" => {
                let path = text(value, "path")?;
                let content = text(value, "content")?;
                let bytes = match value["encoding"].as_str() {
                    Some("base64") => STANDARD.decode(content).map_err(|why| malformed(&why))?,
                    _ => content.as_bytes().to_vec(),
                };
                let added = self.import.apart(&bytes)?;
                self.name(path, added.cid, added.total_bytes, hex_of(&sha256(&[&bytes]).0), bytes.len() as u64);
            }
            "lfsFile" => {
                let (path, oid) = (text(value, "path")?, text(value, "oid")?);
                let upload = if is_sha256(oid) { hub.shelf.upload(oid)? } else { None };
                let Some(upload) = upload else {
                    let hint = "upload it first, as the batch call says";
                    return Err(Refusal::new(
                        RefusalCode::UnknownId,
                        format!("the file {path} was not uploaded"),
                        hint,
                    ));
                };
                self.name(path, upload.cid, upload.total_bytes, oid.to_owned(), upload.bytes);
                self.uploads.push(oid.to_owned());
            }
            "deletedFile" => {
                self.files.remove(text(value, "path")?);
            }
            "deletedFolder" => {
                let folder = format!("{}/", text(value, "path")?.trim_end_matches('/'));
                self.files.retain(|path, _| !path.starts_with(&folder));
            }
            other => return Err(malformed(&format!("`{other}` is no part of a commit"))),
        }
        Ok(())
    }

    fn name(&mut self, path: &str, cid: Cid, total_bytes: u64, sha256: String, bytes: u64) {
        self.files.insert(path.to_owned(), (cid, total_bytes));
        self.blobs.insert(cid.to_string(), Blob { sha256, bytes });
    }
}
