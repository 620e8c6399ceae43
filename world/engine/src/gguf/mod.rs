//! GGUF, versions 2 and 3, little-endian: metadata and tensor table, read as a stream.
//!
//! The reader is total: whatever the bytes, it returns a header or a typed error, and never holds
//! more memory than a small multiple of what it has read. Format: `docs/gguf.md` of ggml.
//! It does not interpret: names and shapes are judged where the model is loaded.

mod read;
mod value;
mod write;

use read::Reader;
pub use value::{Metadata, Value};
pub(crate) use write::Writer;

use crate::error::ModelError;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// Metadata entries in one file: real ones have about 40.
const ENTRIES_MAX: u64 = 65_536;
/// Tensors in one file: 1,024 layers of 20.
const TENSORS_MAX: u64 = 65_536;
/// Dimensions of a tensor, as in ggml.
const DIMENSIONS_MAX: u32 = 4;
/// Files of one model.
const PARTS_MAX: u32 = 1_024;

/// One tensor's place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Dimensions, the contiguous one first; missing ones are 1.
    pub dimensions: [u64; 4],
    /// ggml type number.
    pub kind: u32,
    /// Byte offset from the start of its file.
    pub offset: u64,
    /// Which of the model's files it is in.
    pub part: usize,
}

impl Tensor {
    /// Number of elements; `None` if it overflows.
    #[must_use]
    pub fn elements(&self) -> Option<u64> {
        self.dimensions.iter().try_fold(1u64, |n, d| n.checked_mul(*d))
    }
}

/// Everything before the tensor data.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// Metadata by key.
    pub metadata: Metadata,
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// The model's files with their lengths in bytes: one, or the parts of a split one in order.
    pub parts: Vec<(PathBuf, u64)>,
}

impl Header {
    /// Reads the header of the file at `path`; the tensor data is not touched. Of a model that is split over several
    /// files (`NAME-00001-of-00003.gguf`), `path` is the first, and the headers of all are read.
    ///
    /// # Errors
    /// If a file cannot be read or is not a GGUF this reader understands, or the parts do not belong together.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let mut header = Self::open_part(path)?;
        let count = header.metadata.u32("split.count").unwrap_or(1);
        match header.metadata.u32("split.no").unwrap_or(0) {
            0 if count <= PARTS_MAX => {}
            0 => return Err(ModelError::damaged(format!("a model of {count} files"))),
            no => {
                let what = format!("file {} of {count} by itself", no + 1);
                return Err(ModelError::unsupported(what, "the first one, with all others beside it"));
            }
        }
        for no in 1..count {
            header.join(&part_path(path, no, count)?, no, count)?;
        }
        let whole = header.metadata.u32("split.tensors.count").unwrap_or(0) as usize;
        if count > 1 && whole != header.tensors.len() {
            return Err(ModelError::damaged(format!("{} tensors in all parts, not {whole}", header.tensors.len())));
        }
        Ok(header)
    }

    /// Reads the metadata of the file at `path` and nothing behind it: the beginning of a model's file is enough.
    ///
    /// # Errors
    /// If it is not a GGUF this reader understands.
    pub fn metadata_of(path: &Path) -> Result<Metadata, ModelError> {
        let (file, bytes) = open_file(path)?;
        Ok(begin(&mut Reader::new(file, bytes))?.1)
    }

    fn open_part(path: &Path) -> Result<Self, ModelError> {
        let (file, bytes) = open_file(path)?;
        let mut header = Self::parse(file, bytes)?;
        header.parts[0].0 = path.into();
        Ok(header)
    }

    /// Adds the tensors of part `no`, counted from 0.
    fn join(&mut self, path: &Path, no: u32, count: u32) -> Result<(), ModelError> {
        let part = Self::open_part(path)?;
        let numbers = ["split.no", "split.count"].map(|key| part.metadata.u32(key));
        if numbers != [Some(no), Some(count)] {
            return Err(ModelError::damaged(format!("{} is not file {} of {count}", path.display(), no + 1)));
        }
        for (name, tensor) in part.tensors {
            if self.tensors.insert(name.clone(), Tensor { part: self.parts.len(), ..tensor }).is_some() {
                return Err(ModelError::damaged(format!("tensor {name} is in two files")));
            }
        }
        self.parts.extend(part.parts);
        Ok(())
    }

    /// Reads a header from a stream that belongs to a file of `file_bytes`.
    ///
    /// # Errors
    /// If it is not a GGUF this reader understands, or a tensor lies outside the file.
    pub fn parse(source: impl Read, file_bytes: u64) -> Result<Self, ModelError> {
        let mut reader = Reader::new(source, file_bytes);
        let (tensors, metadata) = begin(&mut reader)?;
        let parts = vec![(PathBuf::new(), file_bytes)];
        let mut header = Self { metadata, tensors: BTreeMap::new(), parts };
        for _ in 0..tensors {
            let (name, tensor) = read_tensor(&mut reader)?;
            header.tensors.insert(name, tensor);
        }
        header.place_tensors(reader.position())?;
        Ok(header)
    }

    /// Turns offsets within the data section into offsets within the file.
    fn place_tensors(&mut self, header_end: u64) -> Result<(), ModelError> {
        let alignment = self.metadata.u64("general.alignment").unwrap_or(32);
        if !alignment.is_power_of_two() || alignment > 1 << 20 {
            return Err(ModelError::damaged(format!("an alignment of {alignment} bytes")));
        }
        let (data, length) = (header_end.next_multiple_of(alignment), self.parts[0].1);
        for (name, tensor) in &mut self.tensors {
            let offset = data.checked_add(tensor.offset).filter(|o| *o <= length);
            tensor.offset =
                offset.ok_or_else(|| ModelError::damaged(format!("tensor {name} lies outside the file")))?;
        }
        Ok(())
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, ModelError> {
        self.tensors.get(name).ok_or_else(|| ModelError::damaged(format!("tensor {name} is missing")))
    }

    /// The byte range of a tensor that occupies `bytes`, checked against the file.
    ///
    /// # Errors
    /// If it ends beyond the file.
    pub fn check_range(&self, name: &str, tensor: &Tensor, bytes: u64) -> Result<(), ModelError> {
        match tensor.offset.checked_add(bytes) {
            Some(end) if end <= self.parts[tensor.part].1 => Ok(()),
            _ => Err(ModelError::damaged(format!("tensor {name} ends beyond the file"))),
        }
    }
}

fn open_file(path: &Path) -> Result<(BufReader<File>, u64), ModelError> {
    let read = |source| ModelError::Read { path: path.into(), source };
    let file = File::open(path).map_err(read)?;
    let bytes = file.metadata().map_err(read)?.len();
    Ok((BufReader::with_capacity(1 << 18, file), bytes))
}

/// What a file begins with: how many tensors it lists, and its metadata.
fn begin(reader: &mut Reader<impl Read>) -> Result<(u64, Metadata), ModelError> {
    let magic: [u8; 4] = reader.array()?;
    if magic != *b"GGUF" {
        return Err(ModelError::NotGguf { found: magic });
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        let what = format!("GGUF version {version}");
        return Err(ModelError::unsupported(what, "a little-endian file of version 2 or 3"));
    }
    let tensors = reader.count(TENSORS_MAX, "tensors")?;
    let entries = reader.count(ENTRIES_MAX, "metadata entries")?;
    let mut metadata = Metadata::default();
    for _ in 0..entries {
        let key = reader.string()?;
        let kind = reader.u32()?;
        let value = reader.value(kind)?;
        metadata.insert(key, value);
    }
    Ok((tensors, metadata))
}

/// The path of part `no`, counted from 0, beside the first one.
fn part_path(first: &Path, no: u32, count: u32) -> Result<PathBuf, ModelError> {
    let name = first.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(&format!("-00001-of-{count:05}.gguf"));
    let hint = format!("the name that it was split under, NAME-00001-of-{count:05}.gguf");
    let stem = stem.ok_or_else(|| ModelError::unsupported(format!("a part named {name:?}"), hint))?;
    Ok(first.with_file_name(format!("{stem}-{:05}-of-{count:05}.gguf", no + 1)))
}

fn read_tensor(reader: &mut Reader<impl Read>) -> Result<(String, Tensor), ModelError> {
    let name = reader.string()?;
    let rank = reader.u32()?;
    if rank > DIMENSIONS_MAX {
        return Err(ModelError::damaged(format!("tensor {name} has {rank} dimensions")));
    }
    let mut dimensions = [1; 4];
    for d in &mut dimensions[..rank as usize] {
        *d = reader.u64()?;
    }
    Ok((name, Tensor { dimensions, kind: reader.u32()?, offset: reader.u64()?, part: 0 }))
}
