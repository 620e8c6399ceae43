//! Reading from the hub.

use super::repo::{Blob, Commit, Id, Kind, Repo, commit_id};
use super::tree::{self, Item};
use super::{Asked, Hub, No, Wrong, blocking_no, json_of, no};
use crate::gateway::{self, FilePart, parse_cid};
use crate::import::{Import, ImportOptions};
use crate::source::{Reach, Source, broken};
use crate::time::rfc3339;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use talkoo_api::Caller;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_store::unixfs::{self, Entry, Profile};
use talkoo_store::{Block, DAG_PB, Visibility, dagpb};

/// Git's "large" begins here for us: what is larger is named by its SHA-256.
pub(super) const LARGE_BYTES: u64 = 1 << 20;

/// A repository at a revision.
pub(super) struct View {
    pub(super) repo: Repo,
    pub(super) commit: Commit,
    pub(super) source: Source,
}

/// A repository that the asker may see; `ipfs/<cid>` is one without being written down.
pub(super) fn repo(hub: &Hub, asked: &Asked, id: &Id) -> Result<Repo, No> {
    if let Some(cid) = id.name.strip_prefix("ipfs/") {
        let root =
            parse_cid(cid).ok_or_else(|| no(Wrong::NoRepo, format!("`{cid}` is not a CID"), "write ipfs/<cid>"))?;
        hub.store.allow(&root, "")?;
        let id40 = commit_id(&[&root.to_bytes()]);
        let commit = Commit { id: id40, root, title: "a folder of the network".into(), message: String::new(), at: 0 };
        let (tags, blobs) = (BTreeMap::new(), BTreeMap::new());
        return Ok(Repo { name: id.name.clone(), kind: id.kind, private: false, commits: vec![commit], tags, blobs });
    }
    if let Some(repo) = of_model(hub, id)? {
        return Ok(repo);
    }
    let found = hub.shelf.get(id)?.filter(|repo| !repo.private || asked.caller == Caller::Owner);
    found.ok_or_else(|| {
        let hint = "names are as in `hf download`; private ones need HF_TOKEN; ipfs/<cid> is any folder of the network";
        no(Wrong::NoRepo, format!("there is no repository {} here", id.name), hint)
    })
}

/// A model of the node as a repository of one file.
fn of_model(hub: &Hub, id: &Id) -> Result<Option<Repo>, Refusal> {
    let name = id.name.strip_prefix("talkoo/").filter(|_| id.kind == Kind::Model);
    let Some(model) = name.and_then(|name| (hub.models)().into_iter().find(|model| model.name == name)) else {
        return Ok(None);
    };
    let block = hub.store.open(&model.cid, Caller::Owner, Reach::Local).need(&model.cid)?;
    let made = |blocks| -> Result<Cid, Refusal> {
        let mut import = Import::new(blocks, ImportOptions { profile: Profile::V1_2025 });
        import.link(&model.file, model.cid, unixfs_bytes(&block))?;
        Ok(import.finish(true)?.roots[0].cid)
    };
    // Named first: what is there already is not written again at every question.
    let root = made(None)?;
    let known = hub.store.blocks.info(&root).map_err(broken)?;
    if known.is_none_or(|known| known.visibility != Visibility::Public) {
        made(Some(&hub.store.blocks))?;
        hub.store.blocks.set_class(&root, Visibility::Public).map_err(broken)?;
    }
    let commit_of = commit_id(&[&root.to_bytes()]);
    let commit = Commit { id: commit_of, root, title: "a model of this node".into(), message: String::new(), at: 0 };
    let (tags, blobs) = (BTreeMap::new(), BTreeMap::new());
    Ok(Some(Repo { name: id.name.clone(), kind: id.kind, private: false, commits: vec![commit], tags, blobs }))
}

/// Bytes of all blocks of a file, as its root says.
fn unixfs_bytes(root: &Block) -> u64 {
    let node = dagpb::Node::decode(root.bytes()).ok().filter(|_| root.cid().codec() == DAG_PB);
    let below: u64 = node.iter().flat_map(|node| &node.links).map(|link| link.total_bytes).fold(0, u64::saturating_add);
    below.saturating_add(root.bytes().len() as u64)
}

pub(super) fn view(hub: &Hub, asked: &Asked, id: &Id, revision: &str) -> Result<View, No> {
    let repo = repo(hub, asked, id)?;
    let Some(commit) = repo.at(revision).cloned() else {
        return Err(no(Wrong::NoRevision, format!("{} has no revision {revision}", id.name), "main is the newest"));
    };
    let caller = if repo.private { Caller::Owner } else { asked.caller };
    let source = hub.store.open(&commit.root, caller, Reach::Network);
    Ok(View { repo, commit, source })
}

pub(super) fn list(hub: &Hub, asked: &Asked, kind: Kind) -> Result<Response, No> {
    let word = asked.get("search").unwrap_or_default().to_lowercase();
    let author = asked.get("author");
    let limit = asked.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(1_000_usize);
    let repos = hub.shelf.list(kind)?.into_iter().filter(|repo| {
        let is_author = author.is_none_or(|author| repo.name.split('/').next() == Some(author));
        (!repo.private || asked.caller == Caller::Owner) && is_author && repo.name.to_lowercase().contains(&word)
    });
    let models = if kind == Kind::Model { (hub.models)() } else { Vec::new() };
    let models = models.into_iter().map(|model| format!("talkoo/{}", model.name));
    let models = models.filter(|name| name.contains(&word) && author.is_none_or(|author| author == "talkoo"));
    let models = models.map(|name| of_model(hub, &Id::new(kind, &name)?)).collect::<Result<Vec<_>, _>>()?;
    let repos = repos.chain(models.into_iter().flatten());
    let repos: Vec<Value> = repos.take(limit).map(|repo| summary(&repo, repo.commits.last())).collect();
    Ok(json_of(&repos.into()))
}

/// What every answer about a repository has.
fn summary(repo: &Repo, commit: Option<&Commit>) -> Value {
    let at = rfc3339(commit.map_or(0, |commit| commit.at * 1_000));
    let first = rfc3339(repo.commits.first().map_or(0, |commit| commit.at * 1_000));
    let mut said = json!({
        "_id": commit_id(&[repo.name.as_bytes()])[..24], "id": repo.name, "author": repo.name.split('/').next(),
        "sha": commit.map(|commit| &commit.id), "lastModified": at, "createdAt": first, "private": repo.private,
        "gated": false, "disabled": false, "downloads": 0, "likes": 0, "tags": [],
    });
    if repo.kind == Kind::Model {
        said["modelId"] = repo.name.clone().into();
    }
    if let Some(commit) = commit {
        said["cid"] = commit.root.to_string().into();
    }
    said
}

/// How a file is named: large ones by their SHA-256 if it is known, others by their CID.
fn blob<'a>(repo: &'a Repo, item: &Item) -> Option<&'a Blob> {
    repo.blobs.get(&item.cid.to_string()).filter(|blob| blob.bytes > LARGE_BYTES)
}

fn told(repo: &Repo, item: &Item) -> Value {
    let mut said = json!({"type": if item.is_folder { "directory" } else { "file" }, "path": item.path,
                          "size": item.bytes, "oid": commit_id(&[&item.cid.to_bytes()]), "cid": item.cid.to_string()});
    if let Some(blob) = blob(repo, item) {
        said["lfs"] = json!({"oid": blob.sha256, "size": blob.bytes, "pointerSize": 134});
    }
    said
}

/// `GET /api/<kind>/<name>…`.
pub(super) fn api(hub: &Hub, asked: &Asked, id: &Id, verb: &[String]) -> Result<Response, No> {
    let words: Vec<&str> = verb.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => info(hub, asked, id, "main"),
        ["revision", revision] => info(hub, asked, id, revision),
        ["auth-check"] => repo(hub, asked, id).map(|_| json_of(&json!({}))),
        ["refs"] => {
            let repo = repo(hub, asked, id)?;
            let at = |name: &str, reference: String, commit: &str| json!({"name": name, "ref": reference, "targetCommit": commit});
            let head = repo.commits.last().map(|commit| at("main", "refs/heads/main".into(), &commit.id));
            let tags: Vec<Value> =
                repo.tags.iter().map(|(name, id)| at(name, format!("refs/tags/{name}"), id)).collect();
            let branches: Vec<Value> = head.into_iter().collect();
            Ok(json_of(&json!({"branches": branches, "converts": [], "tags": tags, "pullRequests": []})))
        }
        ["commits", revision] => commits(hub, asked, id, revision),
        ["tree", revision, path @ ..] => {
            let mut view = view(hub, asked, id, revision)?;
            let folder = folder(&mut view, path)?;
            let deep = asked.get("recursive").is_some_and(|value| value.eq_ignore_ascii_case("true"));
            let items = tree::list(&mut view.source, &folder, &path.join("/"), deep)?;
            let said: Vec<Value> = items.iter().map(|item| told(&view.repo, item)).collect();
            Ok(json_of(&said.into()))
        }
        _ => Err(no(Wrong::NoEntry, "the hub of a node does not serve this", "docs/STORAGE.md has the list")),
    }
}

fn commits(hub: &Hub, asked: &Asked, id: &Id, revision: &str) -> Result<Response, No> {
    let View { repo, commit, .. } = view(hub, asked, id, revision)?;
    let until = repo.commits.iter().position(|other| other.id == commit.id).map_or(0, |at| at + 1);
    let said = repo.commits[..until].iter().rev().map(|commit| {
        json!({"id": commit.id, "title": commit.title, "message": commit.message, "authors": [{"user": "me"}],
               "date": rfc3339(commit.at * 1_000), "cid": commit.root.to_string()})
    });
    Ok(json_of(&said.collect::<Vec<_>>().into()))
}

fn info(hub: &Hub, asked: &Asked, id: &Id, revision: &str) -> Result<Response, No> {
    let mut view = match view(hub, asked, id, revision) {
        Ok(view) => view,
        // A repository without a commit is a repository.
        Err(no) if no.wrong == Wrong::NoRevision && revision == "main" => {
            let repo = repo(hub, asked, id)?;
            let mut said = summary(&repo, None);
            said["siblings"] = json!([]);
            return Ok(json_of(&said));
        }
        Err(no) => return Err(no),
    };
    let items = tree::list(&mut view.source, &view.commit.root, "", true)?;
    let with_blobs = asked.get("blobs").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let siblings = items.iter().filter(|item| !item.is_folder).map(|item| {
        let mut said = json!({"rfilename": item.path});
        if with_blobs {
            said["size"] = item.bytes.into();
            said["blobId"] = commit_id(&[&item.cid.to_bytes()]).into();
            if let Some(blob) = blob(&view.repo, item) {
                said["lfs"] = json!({"sha256": blob.sha256, "size": blob.bytes, "pointerSize": 134});
            }
        }
        said
    });
    let mut said = summary(&view.repo, Some(&view.commit));
    said["siblings"] = siblings.collect();
    said["usedStorage"] = items.iter().map(|item| item.bytes).fold(0, u64::saturating_add).into();
    Ok(json_of(&said))
}

/// The folder at a path of a repository.
fn folder(view: &mut View, path: &[&str]) -> Result<Cid, No> {
    if path.is_empty() {
        return Ok(view.commit.root);
    }
    match entry(view, path)? {
        (cid, Entry::Dir(_) | Entry::Shard(_)) => Ok(cid),
        _ => {
            Err(no(Wrong::NoEntry, format!("`{}` is not a folder", path.join("/")), "list the folder that it lies in"))
        }
    }
}

/// What lies at a path.
fn entry(view: &mut View, path: &[&str]) -> Result<(Cid, Entry), No> {
    let View { commit, source, .. } = view;
    let missing = || no(Wrong::NoEntry, format!("there is no `{}`", path.join("/")), "list the repository");
    let found = unixfs::resolve(commit.root, &path.join("/"), &mut |cid| source.get(cid));
    let resolved = match found {
        Ok(resolved) if resolved.rest.is_empty() => resolved,
        Ok(_) | Err(unixfs::PathError::NoLink { .. }) => return Err(missing()),
        Err(why) => return Err(gateway::path_error(why).into()),
    };
    let block = source.need(&resolved.cid)?;
    let entry = Entry::of(&block).map_err(|_| missing())?;
    Ok((resolved.cid, entry))
}

/// `POST /api/<kind>/<name>/paths-info/<revision>`, a form or JSON with `paths`.
pub(super) fn paths_info(hub: &Hub, asked: &Asked, id: &Id, revision: &str, body: &[u8]) -> Result<Response, No> {
    let paths: Vec<String> = match serde_json::from_slice::<Value>(body) {
        Ok(json) => {
            json["paths"].as_array().into_iter().flatten().filter_map(|p| p.as_str().map(str::to_owned)).collect()
        }
        Err(_) => {
            let form = String::from_utf8_lossy(body);
            let pairs = gateway::form_pairs(&form)?;
            pairs.into_iter().filter(|(name, _)| name == "paths").map(|(_, path)| path).collect()
        }
    };
    let mut view = view(hub, asked, id, revision)?;
    let mut said = Vec::new();
    for path in &paths {
        let words: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let (cid, entry) = match entry(&mut view, &words) {
            Ok(found) => found,
            // Paths that are not there are left out (the hub's own way).
            Err(no) if no.wrong == Wrong::NoEntry => continue,
            Err(no) => return Err(no),
        };
        let (bytes, is_folder) = match &entry {
            Entry::File(node) => (node.bytes(), false),
            Entry::Symlink(target) => (target.len() as u64, false),
            Entry::Dir(_) | Entry::Shard(_) => (0, true),
        };
        said.push(told(&view.repo, &Item { path: path.clone(), cid, bytes, total_bytes: bytes, is_folder }));
    }
    Ok(json_of(&said.into()))
}

/// `GET` and `HEAD …/resolve/<revision>/<path>`: the file itself.
pub(super) async fn resolve(
    hub: &Hub,
    asked: &Asked,
    id: &Id,
    revision: &str,
    path: &[&str],
    range: Option<&str>,
) -> Result<Response, No> {
    let (hub, caller, query) = (hub.clone(), asked.caller, asked.query.clone());
    let (id, revision) = (id.clone(), revision.to_owned());
    let words: Vec<String> = path.iter().map(|part| (*part).to_owned()).collect();
    let again = Asked { method: asked.method.clone(), parts: Vec::new(), query, caller, base: asked.base.clone() };
    let (view, cid, bytes) = blocking_no(asked.caller, move || {
        let mut view = view(&hub, &again, &id, &revision)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match entry(&mut view, &words)? {
            (cid, Entry::File(node)) => Ok((view, cid, node.bytes())),
            _ => Err(no(Wrong::NoEntry, format!("`{}` is not a file", words.join("/")), "list it with the tree call")),
        }
    })
    .await?;
    let name = view.repo.blobs.get(&cid.to_string()).map_or_else(|| cid.to_string(), |blob| blob.sha256.clone());
    let builder = Response::builder()
        .header("x-repo-commit", &view.commit.id)
        .header("x-linked-size", bytes)
        .header("x-linked-etag", format!("\"{name}\""))
        .header(header::ETAG, format!("\"{name}\""))
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::CONTENT_DISPOSITION, gateway::attachment(path.last().unwrap_or(&"file")));
    let part = FilePart { root: cid, bytes, range };
    Ok(gateway::send_file(view.source, part, builder, asked.method == axum::http::Method::HEAD).await?)
}

/// For answers that have nothing to say.
pub(super) fn done() -> Response {
    (StatusCode::OK, axum::Json(json!({}))).into_response()
}

/// A body that is not the JSON that is needed.
pub(super) fn malformed(why: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::Malformed, format!("the body cannot be read: {why}"), "send it as huggingface_hub does")
}
