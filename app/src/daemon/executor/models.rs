//! The models in memory, within a cap.

use super::ModelFile;
use super::loaded::{IDLE, IMAGE_AFTER, Loaded};
use std::collections::BTreeMap;
use std::time::Instant;
use talkoo_base::{Digest, Refusal};
use tracing::info;

/// Memory for keys and values of all runs of one model together.
const CACHE_BYTES_MAX: u64 = 1 << 30;

/// The models in memory, by root. Those without runs go, the least recently used first, when a new one
/// would exceed the cap. A model that is larger than the cap is in memory alone.
pub(super) struct Models {
    loaded: BTreeMap<Digest, Loaded>,
    bytes_max: u64,
}

/// What counts when room is made.
struct Place<T> {
    bytes: u64,
    is_idle: bool,
    used: T,
}

impl Models {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self { loaded: BTreeMap::new(), bytes_max }
    }

    pub(super) fn get(&self, root: &Digest) -> Option<&Loaded> {
        self.loaded.get(root)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Loaded> {
        self.loaded.values()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Loaded> {
        self.loaded.values_mut()
    }

    /// Whether a model of a file of so many bytes finds room, perhaps after idle ones have gone.
    pub(super) fn fits(&self, file_bytes: u64) -> bool {
        self.leavers(self.need(file_bytes)).is_some()
    }

    /// The model of this root; loaded from `file` if it is not in memory yet.
    pub(super) fn load(
        &mut self,
        root: Digest,
        threads: usize,
        file: impl FnOnce() -> Result<ModelFile, Refusal>,
    ) -> Result<&mut Loaded, Refusal> {
        if !self.loaded.contains_key(&root) {
            let file = file()?;
            let bytes = self.need(file.bytes);
            for leaver in self.leavers(bytes).unwrap_or_default() {
                self.loaded.remove(&leaver);
                info!(model = %leaver, "unloaded: another model needs the memory");
            }
            let loaded = Loaded::open(file, threads, bytes, self.cache_bytes())?;
            info!(model = %root, beside = self.loaded.len(), "loaded");
            self.loaded.insert(root, loaded);
        }
        Ok(self.loaded.get_mut(&root).expect("loaded just above"))
    }

    /// Saves the images of models that had nothing to do for a while, and unloads those that nobody uses.
    pub(super) fn tidy(&mut self) {
        self.loaded.retain(|_, loaded| !loaded.is_idle() || loaded.used.elapsed() < IDLE);
        let idle = |loaded: &&mut Loaded| loaded.is_idle() && loaded.used.elapsed() >= IMAGE_AFTER;
        self.loaded.values_mut().filter(idle).for_each(Loaded::save_image);
    }

    /// A share of the cap, so that a small one has room for several models.
    fn cache_bytes(&self) -> u64 {
        CACHE_BYTES_MAX.min(self.bytes_max / 4)
    }

    /// Packed weights take about as many bytes as their file.
    fn need(&self, file_bytes: u64) -> u64 {
        file_bytes.saturating_add(self.cache_bytes())
    }

    fn leavers(&self, need: u64) -> Option<Vec<Digest>> {
        let place = |l: &Loaded| Place { bytes: l.bytes, is_idle: l.is_idle(), used: l.used };
        let places: Vec<(Digest, Place<Instant>)> = self.loaded.iter().map(|(root, l)| (*root, place(l))).collect();
        leavers(need, self.bytes_max, places)
    }
}

/// Which models go so that `need` bytes more stay within `max`, the least recently used first; `None` if
/// the idle ones are not enough.
fn leavers<N, T: Ord>(need: u64, max: u64, mut places: Vec<(N, Place<T>)>) -> Option<Vec<N>> {
    let mut bytes = places.iter().map(|(_, place)| place.bytes).fold(need, u64::saturating_add);
    let (mut gone, mut left) = (Vec::new(), places.len());
    places.retain(|(_, place)| place.is_idle);
    places.sort_by(|(_, a), (_, b)| a.used.cmp(&b.used));
    let mut idle = places.into_iter();
    while bytes > max && left > 0 {
        let (name, place) = idle.next()?;
        (bytes, left) = (bytes.saturating_sub(place.bytes), left - 1);
        gone.push(name);
    }
    Some(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_idle_models_make_way() {
        const BUSY: bool = false;
        const IDLE: bool = true;
        // What is loaded (name, bytes, whether it is idle, when it was used), what comes: who goes.
        type Case<'a> = (&'a [(char, u64, bool, u32)], u64, Option<&'a str>);
        let cases: [Case; 10] = [
            (&[], 5, Some("")),
            (&[], 50, Some("")),
            (&[('a', 4, BUSY, 1)], 6, Some("")),
            (&[('a', 4, BUSY, 1)], 7, None),
            (&[('a', 4, IDLE, 1)], 7, Some("a")),
            (&[('a', 4, IDLE, 2), ('b', 4, IDLE, 1)], 3, Some("b")),
            (&[('a', 4, IDLE, 2), ('b', 4, BUSY, 1)], 3, Some("a")),
            (&[('a', 2, IDLE, 3), ('b', 2, IDLE, 1), ('c', 2, IDLE, 2)], 8, Some("bc")),
            (&[('a', 2, IDLE, 3), ('b', 2, IDLE, 1)], 50, Some("ba")),
            (&[('a', 2, IDLE, 3), ('b', 2, BUSY, 1)], 50, None),
        ];
        for (loaded, need, want) in cases {
            let place = |(name, bytes, is_idle, used): &(char, u64, bool, u32)| {
                (*name, Place { bytes: *bytes, is_idle: *is_idle, used: *used })
            };
            let gone = leavers(need, 10, loaded.iter().map(place).collect());
            assert_eq!(gone.map(String::from_iter).as_deref(), want, "{need} after {loaded:?}");
        }
    }
}
