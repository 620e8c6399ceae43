//! Pins: what a collection keeps, who asked for it, and how a block is kept.

use super::index::{Index, key};
use super::{Blocks, BlocksError};
use crate::limits::{PIN_META_BYTES_MAX, PIN_NAME_BYTES_MAX};
use redb::{MultimapTableDefinition, ReadableDatabase, ReadableTable, TableDefinition};
use std::collections::{BTreeMap, HashSet};
use std::ops::{Bound, ControlFlow};
use talkoo_base::Cid;

/// Name → CID bytes of the root: the node's own.
const NAMES: TableDefinition<&str, &[u8]> = TableDefinition::new("pins/1");
/// Id → CID bytes of the root, 1 if direct, name, meta as JSON, unix seconds, origin.
type PinRow = (&'static [u8], u8, &'static str, &'static str, u64, &'static str);
const PINS: TableDefinition<&str, PinRow> = TableDefinition::new("pins/2");
/// Key of a root's block → ids.
const BY_ROOT: MultimapTableDefinition<&[u8], &str> = MultimapTableDefinition::new("pin-roots/1");

/// How much a pin keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PinMode {
    /// All blocks below the root.
    Recursive,
    /// The root's block alone.
    Direct,
}

/// A pin of a user or a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Its name for its maker; a pin of the same id is replaced.
    pub id: String,
    /// What is kept.
    pub root: Cid,
    /// How much of it.
    pub mode: PinMode,
    /// What people call it; may be empty.
    pub name: String,
    /// What its maker notes.
    pub meta: BTreeMap<String, String>,
    /// Unix seconds.
    pub created: u64,
    /// Who asked for it.
    pub origin: String,
}

/// Why a block is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// It is pinned, alone.
    Direct,
    /// It is pinned with all below.
    Recursive,
    /// It lies below this root.
    Indirect(Cid),
}

impl Blocks {
    /// Keeps the DAG below `root` from being collected, under a name of the node's own. An existing
    /// pin of that name is replaced. Blocks that are not here yet are kept when they come.
    ///
    /// # Errors
    /// [`BlocksError::PinName`], [`BlocksError::Index`].
    pub fn pin(&self, name: &str, root: &Cid) -> Result<(), BlocksError> {
        check(name, 1, PIN_NAME_BYTES_MAX)?;
        let mut writer = self.writer();
        let write = self.index.begin()?;
        write.open_table(NAMES)?.insert(name, root.to_bytes().as_slice())?;
        write.commit()?;
        writer.maybe_garbage = u64::MAX;
        self.flush_locked(&mut writer)
    }

    /// Removes a pin of the node's own; answers whether there was one.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn unpin(&self, name: &str) -> Result<bool, BlocksError> {
        let mut writer = self.writer();
        let write = self.index.begin()?;
        let was_there = write.open_table(NAMES)?.remove(name)?.is_some();
        write.commit()?;
        writer.maybe_garbage = u64::MAX;
        self.flush_locked(&mut writer)?;
        Ok(was_there)
    }

    /// The node's own pins in the order of their names.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn pins(&self) -> Result<Vec<(String, Cid)>, BlocksError> {
        let table = self.index.database.begin_read()?.open_table(NAMES)?;
        let mut out = Vec::new();
        for row in table.iter()? {
            let (name, root) = row?;
            if let Ok(root) = Cid::try_from(root.value()) {
                out.push((name.value().to_owned(), root));
            }
        }
        Ok(out)
    }

    /// Adds a pin, or replaces the one of the same id. Blocks that are not here yet are kept when they come.
    ///
    /// # Errors
    /// [`BlocksError::PinName`], [`BlocksError::Index`].
    pub fn pin_add(&self, pin: &Pin) -> Result<(), BlocksError> {
        let meta = serde_json::to_string(&pin.meta).expect("strings are JSON");
        check(&pin.id, 1, PIN_NAME_BYTES_MAX)?;
        check(&pin.name, 0, PIN_NAME_BYTES_MAX)?;
        check(&pin.origin, 0, PIN_NAME_BYTES_MAX)?;
        check(&meta, 0, PIN_META_BYTES_MAX)?;
        let mut writer = self.writer();
        self.remove_pin(&pin.id)?;
        let write = self.index.begin()?;
        {
            let (root, is_direct) = (pin.root.to_bytes(), u8::from(pin.mode == PinMode::Direct));
            let row = (root.as_slice(), is_direct, pin.name.as_str(), meta.as_str(), pin.created, pin.origin.as_str());
            write.open_table(PINS)?.insert(pin.id.as_str(), row)?;
            write.open_multimap_table(BY_ROOT)?.insert(key(&pin.root).as_slice(), pin.id.as_str())?;
        }
        write.commit()?;
        writer.maybe_garbage = u64::MAX;
        self.flush_locked(&mut writer)
    }

    /// Removes a pin; answers whether there was one.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn pin_remove(&self, id: &str) -> Result<bool, BlocksError> {
        let mut writer = self.writer();
        let was_there = self.remove_pin(id)?;
        writer.maybe_garbage = u64::MAX;
        self.flush_locked(&mut writer)?;
        Ok(was_there)
    }

    /// The pins of one root.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn pins_of(&self, root: &Cid) -> Result<Vec<Pin>, BlocksError> {
        let read = self.index.database.begin_read()?;
        let (by_root, pins) = (read.open_multimap_table(BY_ROOT)?, read.open_table(PINS)?);
        let mut out = Vec::new();
        for id in by_root.get(key(root).as_slice())? {
            let id = id?;
            out.extend(pins.get(id.value())?.and_then(|row| unpack(id.value(), row.value())));
        }
        Ok(out)
    }

    /// The pins after the id `after` in the order of their ids, at most `count`.
    ///
    /// # Errors
    /// [`BlocksError::Index`].
    pub fn pin_list(&self, after: Option<&str>, count: usize) -> Result<Vec<Pin>, BlocksError> {
        let table = self.index.database.begin_read()?.open_table(PINS)?;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut out = Vec::new();
        for row in table.range::<&str>((from, Bound::Unbounded))?.take(count) {
            let (id, row) = row?;
            out.extend(unpack(id.value(), row.value()));
        }
        Ok(out)
    }

    /// Why a block is kept; `None` if no pin keeps it. Walks the pinned DAGs until it meets the block.
    ///
    /// # Errors
    /// [`BlocksError::Index`], [`BlocksError::Io`].
    pub fn is_pinned(&self, cid: &Cid) -> Result<Option<Pinned>, BlocksError> {
        let (recursive, direct) = self.index.roots()?;
        let is_it = |root: &Cid| key(root) == key(cid);
        if recursive.iter().any(is_it) {
            return Ok(Some(Pinned::Recursive));
        }
        if direct.iter().any(is_it) {
            return Ok(Some(Pinned::Direct));
        }
        let mut marked = HashSet::new();
        for root in recursive {
            let mut found = false;
            self.reach([root], &mut marked, &mut |met| {
                found |= is_it(met);
                if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if found {
                return Ok(Some(Pinned::Indirect(root)));
            }
        }
        Ok(None)
    }

    fn remove_pin(&self, id: &str) -> Result<bool, BlocksError> {
        let write = self.index.begin()?;
        let root = {
            let mut pins = write.open_table(PINS)?;
            let removed = pins.remove(id)?;
            let root = removed.and_then(|row| Cid::try_from(row.value().0).ok());
            if let Some(root) = root {
                write.open_multimap_table(BY_ROOT)?.remove(key(&root).as_slice(), id)?;
            }
            root
        };
        write.commit()?;
        Ok(root.is_some())
    }
}

impl Index {
    /// Creates the tables of pins.
    pub(super) fn open_pins(write: &redb::WriteTransaction) -> Result<(), BlocksError> {
        write.open_table(NAMES)?;
        write.open_table(PINS)?;
        write.open_multimap_table(BY_ROOT)?;
        Ok(())
    }

    /// The roots of all recursive pins, the node's own among them, and of all direct ones.
    pub(super) fn roots(&self) -> Result<(Vec<Cid>, Vec<Cid>), BlocksError> {
        let read = self.database.begin_read()?;
        let (mut recursive, mut direct) = (Vec::new(), Vec::new());
        for row in read.open_table(NAMES)?.iter()? {
            recursive.extend(Cid::try_from(row?.1.value()).ok());
        }
        for row in read.open_table(PINS)?.iter()? {
            let (_, row) = row?;
            let (root, is_direct, ..) = row.value();
            let roots = if is_direct == 1 { &mut direct } else { &mut recursive };
            roots.extend(Cid::try_from(root).ok());
        }
        Ok((recursive, direct))
    }
}

fn check(text: &str, min: usize, max: usize) -> Result<(), BlocksError> {
    let bytes = text.len();
    if (min..=max).contains(&bytes) { Ok(()) } else { Err(BlocksError::PinName { bytes, min, max }) }
}

fn unpack(id: &str, row: (&[u8], u8, &str, &str, u64, &str)) -> Option<Pin> {
    let (root, is_direct, name, meta, created, origin) = row;
    Some(Pin {
        id: id.to_owned(),
        root: Cid::try_from(root).ok()?,
        mode: if is_direct == 1 { PinMode::Direct } else { PinMode::Recursive },
        name: name.to_owned(),
        meta: serde_json::from_str(meta).ok()?,
        created,
        origin: origin.to_owned(),
    })
}
