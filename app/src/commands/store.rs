//! `store`: files and folders in and out. A client of the node's `/api/v0`.

mod deals;

use super::{Failure, Show, print, say};
use crate::cli::{AddArgs, Profile, StoreCommand};
use crate::client::Client;
use anyhow::{Context, Result, bail};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use talkoo_base::RefusalCode;
use talkoo_gateway::{Added, Import, ImportOptions};
use talkoo_store::unixfs;

/// Folders in folders that are followed.
const DEPTH_MAX: usize = 256;

pub(super) fn run(data_dir: &Path, command: &StoreCommand, show: &Show) -> Result<()> {
    if let StoreCommand::Add(args) = command
        && args.only_hash
    {
        return only_hash(args, show);
    }
    let client = Client::of(data_dir)?;
    let ask = |call: &str, args: &[(&str, &str)]| client.rpc(call, args);
    match command {
        StoreCommand::Add(args) => add(&client, args, show),
        StoreCommand::Deal(args) => deals::deal(&client, args, show),
        StoreCommand::Deals => deals::list(&client, show),
        StoreCommand::Provide { space, price } => deals::provide(&client, *space, *price, show),
        StoreCommand::Get { path, to } => get(&client, path, to.as_deref(), show),
        StoreCommand::Cat { path } => {
            io::copy(&mut ask("cat", &[("arg", path)])?, &mut io::stdout().lock())?;
            Ok(())
        }
        StoreCommand::Ls { path } => {
            let listed = one(ask("ls", &[("arg", path)])?)?;
            if show.json() {
                show.value(&listed["Objects"][0]);
                return Ok(());
            }
            for link in listed["Objects"][0]["Links"].as_array().into_iter().flatten() {
                let slash = if link["Type"] == 1 { "/" } else { "" };
                let (cid, size) = (link["Hash"].as_str().unwrap_or_default(), &link["Size"]);
                print(&format!("{cid}  {size:>12}  {}{slash}", link["Name"].as_str().unwrap_or_default()));
            }
            Ok(())
        }
        StoreCommand::Pin { path, name } => shown(ask("pin/add", &[("arg", path), ("name", name)])?, show),
        StoreCommand::Unpin { cid } => shown(ask("pin/rm", &[("arg", cid)])?, show),
        StoreCommand::Pins => shown(ask("pin/ls", &[("type", "recursive")])?, show),
        StoreCommand::Class { cid, class } => {
            shown(ask("block/class", &[("arg", cid), ("visibility", class.name())])?, show)
        }
        StoreCommand::Gc => shown(ask("repo/gc", &[])?, show),
        StoreCommand::Stat => shown(ask("repo/stat", &[])?, show),
        StoreCommand::Export { cid, file } => {
            let mut car = ask("dag/export", &[("arg", cid)])?;
            let aside = file.with_extension("part");
            let mut out = File::create(&aside).with_context(|| format!("cannot write {}", aside.display()))?;
            let bytes = io::copy(&mut car, &mut out).context("the export broke off")?;
            out.sync_all()?;
            fs::rename(&aside, file)?;
            show.value(&json!({"cid": cid, "file": file.display().to_string(), "bytes": bytes}));
            Ok(())
        }
        StoreCommand::Import { file } => {
            let part =
                Part { head: head("file", "", "application/octet-stream"), file: Some(file.clone()), text: None };
            let answer = client.upload("dag/import", &[("stats", "true")], Form::new(vec![part]))?;
            lines(answer)?.iter().for_each(|line| show.value(line));
            Ok(())
        }
    }
}

fn one(answer: impl Read) -> Result<Value> {
    lines(answer)?.into_iter().next().context("the node answered nothing")
}

fn shown(answer: impl Read, show: &Show) -> Result<()> {
    show.value(&one(answer)?);
    Ok(())
}

fn lines(answer: impl Read) -> Result<Vec<Value>> {
    let mut values = Vec::new();
    for value in serde_json::Deserializer::from_reader(io::BufReader::new(answer)).into_iter::<Value>() {
        let value = value.context("the node's answer broke off")?;
        if value["Type"] == "error" {
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            return Err(Failure::new(RefusalCode::parse(&text("Reason")), text("Message"), "").into());
        }
        values.push(value);
    }
    Ok(values)
}

/// What lies at a path of the disk.
enum Found {
    Folder(String),
    File(String, PathBuf),
    Link(String, String),
}

/// Everything below a path, a folder before what is in it.
fn walk(path: &Path) -> Result<Vec<Found>> {
    let name = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
    let name = name.file_name().and_then(|name| name.to_str()).context("a path without a name in UTF-8")?.to_owned();
    let mut found = Vec::new();
    let mut waiting = vec![(path.to_owned(), name, 0)];
    while let Some((path, name, depth)) = waiting.pop() {
        let seen = || format!("cannot read {}", path.display());
        // What was named is followed; links inside it are kept as links.
        let meta = if depth == 0 { fs::metadata(&path) } else { fs::symlink_metadata(&path) }.with_context(seen)?;
        if meta.is_symlink() {
            let target = fs::read_link(&path).with_context(seen)?;
            found.push(Found::Link(name, target.to_str().context("a link that is not UTF-8")?.to_owned()));
        } else if meta.is_file() {
            found.push(Found::File(name, path));
        } else if !meta.is_dir() {
            let hint = "leave it out";
            let message = format!("{} is neither a file nor a folder", path.display());
            return Err(Failure::new(RefusalCode::Unfit, message, hint).into());
        } else if depth >= DEPTH_MAX {
            bail!("{} is more than {DEPTH_MAX} folders deep", path.display());
        } else {
            found.push(Found::Folder(name.clone()));
            for entry in fs::read_dir(&path).with_context(seen)? {
                let entry = entry.with_context(seen)?;
                let below = entry.file_name();
                let below = below.to_str().with_context(|| format!("a name in {} is not UTF-8", path.display()))?;
                waiting.push((entry.path(), format!("{name}/{below}"), depth + 1));
            }
        }
    }
    Ok(found)
}

fn told(show: &Show, cid: &str, path: &str) {
    if show.json() {
        show.value(&json!({"cid": cid, "path": path}));
    } else {
        print(cid);
    }
}

fn only_hash(args: &AddArgs, show: &Show) -> Result<()> {
    let root = named(args)?;
    told(show, &root.cid.to_string(), &root.path);
    Ok(())
}

fn named(args: &AddArgs) -> Result<Added> {
    let profile = match args.profile {
        Profile::V1 => unixfs::Profile::V1_2025,
        Profile::V0 => unixfs::Profile::V0_2015,
    };
    let import = imported(&args.path, Import::new(None, ImportOptions { profile }))?;
    let finished = import.finish(args.wrap).map_err(Failure::from)?;
    finished.roots.into_iter().next_back().context("there is nothing to name")
}

/// Adds a file or folder, or with `only_hash` names it; its CID.
pub(super) fn cid_of(client: &Client, args: &AddArgs) -> Result<String> {
    if args.only_hash {
        return Ok(named(args)?.cid.to_string());
    }
    Ok(added(client, args)?["Hash"].as_str().unwrap_or_default().to_owned())
}

/// Imports a file or a folder with all that is in it.
pub(crate) fn imported<'a>(path: &Path, mut import: Import<'a>) -> Result<Import<'a>> {
    for found in walk(path)? {
        match found {
            Found::Folder(name) => import.folder(&name).map_err(Failure::from)?,
            Found::Link(name, target) => import.symlink(&name, &target).map(drop).map_err(Failure::from)?,
            Found::File(name, path) => {
                import.begin(&name).map_err(Failure::from)?;
                let mut file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let mut buffer = vec![0; 1 << 20];
                loop {
                    match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
                        0 => break,
                        count => import.push(&buffer[..count]).map_err(Failure::from)?,
                    }
                }
                import.end().map_err(Failure::from)?;
            }
        }
    }
    Ok(import)
}

fn added(client: &Client, args: &AddArgs) -> Result<Value> {
    let parts = walk(&args.path)?.into_iter().map(|found| match found {
        Found::Folder(name) => Part { head: head("dir", &name, "application/x-directory"), file: None, text: None },
        Found::Link(name, target) => {
            Part { head: head("file", &name, "application/symlink"), file: None, text: Some(target) }
        }
        Found::File(name, path) => {
            Part { head: head("file", &name, "application/octet-stream"), file: Some(path), text: None }
        }
    });
    let parts: Vec<Part> = parts.collect();
    let profile = match args.profile {
        Profile::V1 => "unixfs-v1-2025",
        Profile::V0 => "unixfs-v0-2015",
    };
    let wrap = if args.wrap { "true" } else { "false" };
    let query = [
        ("profile", profile),
        ("visibility", args.class.name()),
        ("wrap-with-directory", wrap),
        ("pin-name", &args.name),
    ];
    let answer = lines(client.upload("add", &query, Form::new(parts))?)?;
    answer.into_iter().next_back().context("the node added nothing")
}

fn add(client: &Client, args: &AddArgs, show: &Show) -> Result<()> {
    let root = added(client, args)?;
    told(show, root["Hash"].as_str().unwrap_or_default(), root["Name"].as_str().unwrap_or_default());
    if args.class == crate::cli::Class::Private {
        say("only this node's owner can read it; `store class CID public` opens it to everybody");
    }
    Ok(())
}

fn get(client: &Client, path: &str, to: Option<&Path>, show: &Show) -> Result<()> {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let to = to.map_or_else(|| PathBuf::from(name), Path::to_owned);
    if to.exists() {
        let hint = "name another place with --to";
        return Err(Failure::new(RefusalCode::InUse, format!("{} is there already", to.display()), hint).into());
    }
    // All of it aside first: what broke off does not look like what is whole.
    let parent = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let aside = tempfile::Builder::new().prefix(".talkoo-get-").tempdir_in(parent)?;
    deals::bring_back(client, path);
    let answer = client.rpc("get", &[("arg", path)])?;
    // The archive's entries cannot leave the folder: `unpack` refuses `..` and absolute names.
    tar::Archive::new(answer).unpack(aside.path()).context("the download broke off")?;
    let first = fs::read_dir(aside.path())?.next().context("the node sent nothing")??;
    fs::rename(first.path(), &to)?;
    show.value(&json!({"path": to.display().to_string()}));
    Ok(())
}

const BOUNDARY: &str = "talkoo-3f1c9a5be2d7486b";

fn head(field: &str, path: &str, media: &str) -> String {
    let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
    format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{path}\"\r\nContent-Type: {media}\r\n\r\n"
    )
}

/// A part of an upload.
struct Part {
    head: String,
    file: Option<PathBuf>,
    text: Option<String>,
}

/// An upload as bytes (RFC 7578), files read when it is their turn.
pub(crate) struct Form {
    parts: std::vec::IntoIter<Part>,
    now: Box<dyn Read + Send>,
    ended: bool,
}

impl Form {
    fn new(parts: Vec<Part>) -> Self {
        Self { parts: parts.into_iter(), now: Box::new(io::empty()), ended: false }
    }

    /// What it is, for the header.
    pub(crate) fn media_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }
}

impl Read for Form {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.now.read(out)?;
            if count > 0 || out.is_empty() {
                return Ok(count);
            }
            self.now = match self.parts.next() {
                Some(Part { head, file, text }) => {
                    let body: Box<dyn Read + Send> = match (file, text) {
                        (Some(path), _) => Box::new(File::open(&path).map_err(|why| {
                            io::Error::new(why.kind(), format!("cannot read {}: {why}", path.display()))
                        })?),
                        (None, text) => Box::new(io::Cursor::new(text.unwrap_or_default())),
                    };
                    Box::new(io::Cursor::new(head).chain(body).chain(&b"\r\n"[..]))
                }
                None if self.ended => return Ok(0),
                None => {
                    self.ended = true;
                    Box::new(io::Cursor::new(format!("--{BOUNDARY}--\r\n")))
                }
            };
        }
    }
}
