//! Numbers that a matrix owns, or that lie in a mapped file.

use memmap2::{Mmap, MmapOptions};
use std::fmt;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::Path;
use std::sync::Arc;

/// Integers of which every bit pattern is one.
pub(crate) trait Number: Copy {}
impl Number for u8 {}
impl Number for i16 {}
impl Number for i32 {}

/// A file in memory. Its pages are the system's: shared among processes, and given up under pressure.
#[derive(Debug)]
pub(crate) struct Mapped(Mmap);

impl Mapped {
    /// Maps a whole file.
    ///
    /// # Errors
    /// If it cannot be opened or mapped.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: images are written under another name, renamed, and never changed in place. Whoever
        // shortens one under a running node stops the node, as with any mapped file.
        unsafe { MmapOptions::new().populate().map(&file) }.map(Self)
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A list of numbers.
#[derive(Clone)]
pub(crate) enum Numbers<T> {
    Owned(Vec<T>),
    /// Bytes of a mapped file.
    Mapped(Arc<Mapped>, Range<usize>),
}

impl<T: Number> Numbers<T> {
    /// The numbers at `range` (bytes) of a mapped file; `None` if they are not there or not aligned.
    pub(crate) fn mapped(file: &Arc<Mapped>, range: Range<usize>) -> Option<Self> {
        let bytes = file.bytes().get(range.clone())?;
        let whole = bytes.len().is_multiple_of(size_of::<T>()) && bytes.as_ptr().cast::<T>().is_aligned();
        whole.then(|| Self::Mapped(file.clone(), range))
    }

    /// The numbers to write to; those of a mapped file are copied first.
    pub(crate) fn to_mut(&mut self) -> &mut Vec<T> {
        if let Self::Mapped(..) = self {
            *self = Self::Owned(self.to_vec());
        }
        let Self::Owned(numbers) = self else { unreachable!("made so just above") };
        numbers
    }

    /// The numbers as they lie in memory.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: integers have no padding, and every byte may be read.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), size_of_val::<[T]>(self)) }
    }
}

impl<T: Number> Deref for Numbers<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(numbers) => numbers,
            Self::Mapped(file, range) => {
                let bytes = &file.bytes()[range.clone()];
                // SAFETY: `mapped` checked length and alignment, the map does not move, and every bit
                // pattern is a number.
                unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / size_of::<T>()) }
            }
        }
    }
}

impl<T: Number> fmt::Debug for Numbers<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} numbers", self.len())
    }
}
