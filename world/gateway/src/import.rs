//! Files and folders on their way into the store: entries come in any order with their paths, blocks go out in
//! batches, and folders are written when all is here.

use crate::limits::{IMPORT_BATCH, PATH_BYTES_MAX, UPLOAD_ENTRIES_MAX};
use crate::source::broken;
use std::collections::BTreeMap;
use std::sync::Arc;
use talkoo_base::{Cid, Refusal, RefusalCode};
use talkoo_disk::Blocks;
use talkoo_disk::blocks::{Hold, Sync};
use talkoo_store::unixfs::{self, DirBuilder, Importer, Profile};
use talkoo_store::{Block, Visibility};

/// How to import.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// How files become blocks.
    pub profile: Profile,
}

/// Something that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its path; empty for the folder around everything.
    pub path: String,
    /// Its name.
    pub cid: Cid,
    /// Bytes of all its blocks.
    pub total_bytes: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

enum Node {
    Leaf { cid: Cid, total_bytes: u64 },
    Folder(BTreeMap<String, Node>),
}

/// An import that goes on. Blocks are private until somebody says otherwise, and are not collected meanwhile.
pub struct Import<'a> {
    options: ImportOptions,
    keep: Keep<'a>,
    root: BTreeMap<String, Node>,
    entries: usize,
    file: Option<(Vec<String>, Importer)>,
    added: Vec<Added>,
}

/// Takes the blocks of an import that the store shall not have.
pub type Sink<'a> = Box<dyn FnMut(Block) -> Result<(), Refusal> + Send + 'a>;

/// Where blocks go: into a store, to somebody else, or nowhere.
struct Keep<'a> {
    blocks: Option<Arc<Blocks>>,
    sink: Option<Sink<'a>>,
    batch: Vec<Block>,
    _hold: Option<Hold>,
}

impl Keep<'_> {
    fn take(&mut self, block: Block) -> Result<(), Refusal> {
        if let Some(sink) = &mut self.sink {
            return sink(block);
        }
        if self.blocks.is_some() {
            self.batch.push(block);
            if self.batch.len() >= IMPORT_BATCH {
                return self.write(Sync::Later);
            }
        }
        Ok(())
    }

    fn write(&mut self, sync: Sync) -> Result<(), Refusal> {
        let Some(blocks) = &self.blocks else { return Ok(()) };
        blocks.put(&self.batch, Visibility::Private, sync).map_err(broken)?;
        self.batch.clear();
        Ok(())
    }
}

impl<'a> Import<'a> {
    /// Begins; without a store, things are named and not kept.
    #[must_use]
    pub fn new(blocks: Option<&Arc<Blocks>>, options: ImportOptions) -> Self {
        let blocks = blocks.cloned();
        let hold = blocks.as_ref().map(|blocks| blocks.hold());
        Self::with(Keep { blocks, sink: None, batch: Vec::new(), _hold: hold }, options)
    }

    /// Begins one whose blocks go to `sink`, children before parents.
    #[must_use]
    pub fn into_sink(sink: Sink<'a>, options: ImportOptions) -> Self {
        Self::with(Keep { blocks: None, sink: Some(sink), batch: Vec::new(), _hold: None }, options)
    }

    fn with(keep: Keep<'a>, options: ImportOptions) -> Self {
        Self { options, keep, root: BTreeMap::new(), entries: 0, file: None, added: Vec::new() }
    }

    /// Begins a file.
    ///
    /// # Errors
    /// A path that leads out of the upload, or one that is taken; too many entries.
    pub fn begin(&mut self, path: &str) -> Result<(), Refusal> {
        assert!(self.file.is_none(), "one file at a time");
        let path = self.path(path)?;
        self.file = Some((path, Importer::new(self.options.profile)));
        Ok(())
    }

    /// Goes on with the file.
    ///
    /// # Errors
    /// The store's.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let (_, importer) = self.file.as_mut().expect("push is between begin and end");
        importer.push(bytes, &mut |block| self.keep.take(block))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The store's; the path is taken.
    pub fn end(&mut self) -> Result<Added, Refusal> {
        let (path, importer) = self.file.take().expect("end comes after begin");
        let root = importer.finish(&mut |block| self.keep.take(block))?;
        self.place(&path, Node::Leaf { cid: root.cid, total_bytes: root.total_bytes })?;
        let added = Added { path: path.join("/"), cid: root.cid, total_bytes: root.total_bytes, is_folder: false };
        self.added.push(added.clone());
        Ok(added)
    }

    /// A folder, which may stay empty.
    ///
    /// # Errors
    /// As [`Import::begin`].
    pub fn folder(&mut self, path: &str) -> Result<(), Refusal> {
        let path = self.path(path)?;
        self.place(&path, Node::Folder(BTreeMap::new()))
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// As [`Import::begin`]; a target that is too long.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<Added, Refusal> {
        if target.len() > PATH_BYTES_MAX {
            let no = Refusal::new(RefusalCode::TooLarge, "the target of a link is too long", "shorten it");
            return Err(no.with(PATH_BYTES_MAX, target.len()));
        }
        let path = self.path(path)?;
        let block = unixfs::symlink(self.options.profile, target);
        let block = block.map_err(|why| Refusal::new(RefusalCode::TooLarge, why.to_string(), "shorten the target"))?;
        let (cid, total_bytes) = (*block.cid(), block.bytes().len() as u64);
        self.keep.take(block)?;
        self.place(&path, Node::Leaf { cid, total_bytes })?;
        let added = Added { path: path.join("/"), cid, total_bytes, is_folder: false };
        self.added.push(added.clone());
        Ok(added)
    }

    /// Puts in place what the store has already.
    ///
    /// # Errors
    /// As [`Import::begin`].
    pub fn link(&mut self, path: &str, cid: Cid, total_bytes: u64) -> Result<(), Refusal> {
        let path = self.path(path)?;
        self.place(&path, Node::Leaf { cid, total_bytes })
    }

    /// A file that gets its place later, by [`Import::link`].
    ///
    /// # Errors
    /// The store's.
    pub fn apart(&mut self, bytes: &[u8]) -> Result<Added, Refusal> {
        let mut importer = Importer::new(self.options.profile);
        importer.push(bytes, &mut |block| self.keep.take(block))?;
        let root = importer.finish(&mut |block| self.keep.take(block))?;
        Ok(Added { path: String::new(), cid: root.cid, total_bytes: root.total_bytes, is_folder: false })
    }

    /// Writes the folders, and with `wrap` one around everything; all is on the disk when this returns. Answers what
    /// was added, each folder after what is in it. The roots are last.
    ///
    /// # Errors
    /// The store's; names that a folder cannot have.
    pub fn finish(mut self, wrap: bool) -> Result<Finished, Refusal> {
        assert!(self.file.is_none(), "a file was begun and not ended");
        let mut roots = Vec::new();
        let root = std::mem::take(&mut self.root);
        if wrap {
            roots.push(self.write_folder(String::new(), root)?);
        } else {
            for (name, node) in root {
                roots.push(match node {
                    Node::Leaf { cid, total_bytes } => Added { path: name, cid, total_bytes, is_folder: false },
                    Node::Folder(entries) => self.write_folder(name, entries)?,
                });
            }
        }
        self.keep.write(Sync::Later)?;
        if let Some(blocks) = &self.keep.blocks {
            blocks.flush().map_err(broken)?;
        }
        Ok(Finished { added: self.added, roots, hold: self.keep._hold })
    }

    fn path(&mut self, path: &str) -> Result<Vec<String>, Refusal> {
        self.entries += 1;
        if self.entries > UPLOAD_ENTRIES_MAX {
            let no = Refusal::new(RefusalCode::TooLarge, "too many entries in one import", "import its parts");
            return Err(no.with(UPLOAD_ENTRIES_MAX, self.entries));
        }
        if path.len() > PATH_BYTES_MAX {
            let no = Refusal::new(RefusalCode::TooLarge, "the path of an entry is too long", "shorten it");
            return Err(no.with(PATH_BYTES_MAX, path.len()));
        }
        let names: Vec<String> = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if names.iter().any(|name| matches!(name.as_str(), "." | "..") || name.contains('\0')) {
            let hint = "write paths below the folder, without `.` and `..`";
            return Err(Refusal::new(RefusalCode::Malformed, format!("`{path}` leads out of the import"), hint));
        }
        Ok(names)
    }

    fn place(&mut self, path: &[String], node: Node) -> Result<(), Refusal> {
        // A lone file without a name is called by its CID, as kubo does.
        let name = |node: &Node| match node {
            Node::Leaf { cid, .. } => cid.to_string(),
            Node::Folder(_) => String::new(),
        };
        let Some((last, parents)) = path.split_last() else {
            let name = name(&node);
            if !name.is_empty() {
                self.root.insert(name, node);
            }
            return Ok(());
        };
        let mut folder = &mut self.root;
        for parent in parents {
            let entry = folder.entry(parent.clone()).or_insert_with(|| Node::Folder(BTreeMap::new()));
            let Node::Folder(entries) = entry else { return Err(taken(path)) };
            folder = entries;
        }
        match (folder.get(last), &node) {
            // Said again, or after its first entry.
            (Some(Node::Folder(_)), Node::Folder(_)) => Ok(()),
            (Some(_), _) => Err(taken(path)),
            (None, _) => {
                folder.insert(last.clone(), node);
                Ok(())
            }
        }
    }

    fn write_folder(&mut self, path: String, entries: BTreeMap<String, Node>) -> Result<Added, Refusal> {
        let mut folder = DirBuilder::new(self.options.profile);
        for (name, node) in entries {
            let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let (cid, total_bytes) = match node {
                Node::Leaf { cid, total_bytes } => (cid, total_bytes),
                Node::Folder(entries) => {
                    let added = self.write_folder(below, entries)?;
                    (added.cid, added.total_bytes)
                }
            };
            let refuse = |why: &dyn std::fmt::Display| {
                Refusal::new(RefusalCode::Malformed, format!("`{name}` in `{path}`: {why}"), "rename it")
            };
            folder.add(&name, cid, total_bytes).map_err(|why| refuse(&why))?;
        }
        let root = folder.finish(&mut |block| self.keep.take(block))?;
        let added = Added { path, cid: root.cid, total_bytes: root.total_bytes, is_folder: true };
        self.added.push(added.clone());
        Ok(added)
    }
}

/// An import that is on the disk, and safe from collection while this lives.
pub struct Finished {
    /// Everything, in the order of writing.
    pub added: Vec<Added>,
    /// What nothing else of the import holds.
    pub roots: Vec<Added>,
    /// Let go of it when the roots are pinned.
    pub hold: Option<Hold>,
}

fn taken(path: &[String]) -> Refusal {
    let message = format!("`{}` comes twice, or is a file and a folder", path.join("/"));
    Refusal::new(RefusalCode::Malformed, message, "give every entry a path of its own")
}
