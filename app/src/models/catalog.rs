//! The shipped catalogue: name → digest, licence, sources.

use serde::Deserialize;
use std::sync::OnceLock;
use talkoo_base::{Cid, Digest, Refusal, RefusalCode};
use talkoo_engine::KvFormat;

/// Where a file is on the Hugging Face hub.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Hub {
    pub(crate) repository: String,
    pub(crate) revision: String,
    pub(crate) file: String,
}

/// Which Python package ships a file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) member: String,
}

/// One model.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) context: u32,
    sha256: String,
    cid: String,
    root: String,
    /// The root with keys and values of 16 bits; encoders have none.
    root_kv16: Option<String>,
    pub(crate) licence: String,
    /// Where the hub has it as one file.
    pub(crate) hub: Option<Hub>,
    pub(crate) package: Package,
}

impl Entry {
    /// SHA-256 of the file.
    pub(crate) fn sha256(&self) -> Digest {
        Digest::from_hex(&self.sha256).expect("the shipped catalogue holds digests: a test reads it")
    }

    /// The file's root as UnixFS (profile `unixfs-v1-2025`).
    pub(crate) fn cid(&self) -> Cid {
        self.cid.parse().expect("the shipped catalogue holds CIDs: a test reads it")
    }

    /// Root of the model: what requests name.
    pub(crate) fn root(&self) -> Digest {
        Digest::from_hex(&self.root).expect("the shipped catalogue holds digests: a test reads it")
    }

    /// The root with keys and values in this format.
    pub(crate) fn root_with(&self, kv: KvFormat) -> Option<Digest> {
        match kv {
            KvFormat::Int8 => Some(self.root()),
            KvFormat::Int16 => self.root_kv16.as_deref().and_then(Digest::from_hex),
        }
    }
}

#[derive(Deserialize)]
struct Catalog {
    models: Vec<Entry>,
    /// Those that make embeddings; their file may be made from a zip of the package.
    encoders: Vec<Entry>,
}

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    let read = || serde_json::from_str(include_str!("catalog.json")).expect("the shipped catalogue parses");
    CATALOG.get_or_init(read)
}

/// All models of the catalogue that generate text.
pub(crate) fn all() -> &'static [Entry] {
    &catalog().models
}

/// All that make embeddings.
pub(crate) fn encoders() -> &'static [Entry] {
    &catalog().encoders
}

/// All of both kinds.
pub(crate) fn every() -> impl Iterator<Item = &'static Entry> {
    all().iter().chain(encoders())
}

/// Finds a model of either kind by name or alias.
pub(crate) fn find_any(name: &str) -> Result<&'static Entry, Refusal> {
    named(encoders(), name).map_or_else(|| find(name), Ok)
}

/// Whether a name is one of the catalogue's.
pub(crate) fn is_taken(name: &str) -> bool {
    find_any(name).is_ok()
}

fn named<'a>(entries: &'a [Entry], name: &str) -> Option<&'a Entry> {
    let name = name.to_ascii_lowercase();
    entries.iter().find(|e| e.name == name || e.aliases.contains(&name))
}

/// Finds a model that makes embeddings by name or alias.
pub(crate) fn find_encoder(name: &str) -> Result<&'static Entry, Refusal> {
    named(encoders(), name).ok_or_else(|| {
        let known: Vec<&str> = encoders().iter().map(|e| e.name.as_str()).collect();
        let other = if named(all(), name).is_some() { ", only one that generates text" } else { "" };
        let message = format!("the catalogue has no model `{name}` for embeddings{other}");
        let hint =
            format!("it has {}; a BERT as GGUF file, sentence-transformers folder or zip works too", known.join(", "));
        Refusal::new(RefusalCode::UnknownModel, message, hint)
    })
}

/// Finds a model that generates text by name or alias.
pub(crate) fn find(name: &str) -> Result<&'static Entry, Refusal> {
    let name = name.to_ascii_lowercase();
    if named(encoders(), &name).is_some() {
        let message = format!("`{name}` makes embeddings and generates no text");
        return Err(Refusal::new(RefusalCode::UnknownModel, message, format!("use `talkoo embed {name} \"…\"`")));
    }
    named(all(), &name).ok_or_else(|| {
        let known: Vec<&str> = all().iter().map(|e| e.name.as_str()).collect();
        let hint = format!("the catalogue has {}; a GGUF file works too: `talkoo pull ./FILE.gguf`", known.join(", "));
        Refusal::new(RefusalCode::UnknownModel, format!("the catalogue has no model `{name}`"), hint)
    })
}
