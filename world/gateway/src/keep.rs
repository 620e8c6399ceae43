//! Pins as the faces make them. Ids say which face made one: `rpc/…`, `service/…`, `hub/…`.

use crate::source::{Store, broken};
use crate::time::now;
use std::collections::BTreeMap;
use talkoo_base::{Cid, Refusal};
use talkoo_disk::blocks::{Pin, PinMode};

/// A pin that keeps everything below a root.
pub(crate) fn pin(id: String, root: Cid, origin: &str) -> Pin {
    let (name, meta, origin) = (String::new(), BTreeMap::new(), origin.to_owned());
    Pin { id, root, mode: PinMode::Recursive, name, meta, created: now(), origin }
}

/// Pins as kubo does: one pin for each root and mode.
pub(crate) fn pin_rpc(store: &Store, root: Cid, mode: PinMode, name: &str) -> Result<(), Refusal> {
    let kind = if mode == PinMode::Direct { "direct" } else { "recursive" };
    let made = pin(format!("rpc/{kind}/{root}"), root, "rpc");
    store.blocks.pin_add(&Pin { mode, name: name.to_owned(), ..made }).map_err(broken)
}
