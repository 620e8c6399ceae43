//! A model's packed matrices as a file that is mapped instead of made again: the second start takes a
//! fraction of the first. The image is this machine's own notes, worth nothing to others: whatever is
//! odd about it, the model file is imported instead.
//!
//! Little-endian. Header of 64 bytes: magic, the model file's length and time of change (ns since 1970),
//! the body's length (u64 each), the body's CRC-32 (u32), zeros. Body, one matrix after the other, in the
//! order of loading: rows, columns (u64), the format's number (u32), zeros up to 32 bytes, the matrix
//! digest; then codes, scales, minimums and exponents as they are in memory, each padded to 64 bytes.

use crate::kernels::{Mapped, Numbers, Packed};
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use talkoo_base::Digest;
use talkoo_exact::import::Format;

/// Another number for every change of the image's or the matrices' layout.
const MAGIC: [u8; 8] = *b"tlkpack1";
/// Bytes of the header, of a matrix's own header, and of what arrays are aligned to.
const LINE: usize = 64;

/// What tells whether the model file is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    bytes: u64,
    modified_ns: u64,
}

impl Origin {
    /// Of a model's open files: their bytes in all, the last change; `None` if the system keeps no time of change.
    pub(super) fn of(files: &[File]) -> Option<Self> {
        files.iter().try_fold(Self { bytes: 0, modified_ns: 0 }, |sum, file| {
            let metadata = file.metadata().ok()?;
            let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            let modified_ns = sum.modified_ns.max(u64::try_from(modified.as_nanos()).ok()?);
            Some(Self { bytes: sum.bytes + metadata.len(), modified_ns })
        })
    }

    fn header(self, body: u64, checksum: u32) -> Vec<u8> {
        let mut header = MAGIC.to_vec();
        [self.bytes, self.modified_ns, body].iter().for_each(|n| header.extend(n.to_le_bytes()));
        header.extend(checksum.to_le_bytes());
        header.resize(LINE, 0);
        header
    }
}

/// Reads one matrix after the other.
pub(super) struct Image {
    file: Arc<Mapped>,
    at: usize,
}

impl Image {
    /// The image at `path`, if it is whole and made from that model file.
    pub(super) fn open(path: &Path, origin: Origin) -> Option<Self> {
        if cfg!(target_endian = "big") {
            return None;
        }
        let file = Mapped::open(path).ok()?;
        let (header, body) = file.bytes().split_at_checked(LINE)?;
        (header == origin.header(body.len() as u64, crc32fast::hash(body))).then_some(())?;
        Some(Self { file: Arc::new(file), at: LINE })
    }

    /// The next matrix, if it has this shape.
    pub(super) fn matrix(&mut self, format: Format, rows: usize, columns: usize) -> Option<(Packed, Digest)> {
        let header = self.file.bytes().get(self.at..self.at + LINE)?;
        (header[..LINE / 2] == matrix_header(format, rows, columns)).then_some(())?;
        let digest = Digest(header[LINE / 2..].try_into().ok()?);
        self.at += LINE;
        let mut packed = Packed::empty(format, rows, columns);
        let [codes, scales, minimums, exponents] = packed.lengths();
        packed.codes = self.numbers(codes)?;
        packed.scales = self.numbers(scales)?;
        packed.minimums = self.numbers(minimums)?;
        packed.exponents = self.numbers(exponents)?;
        Some((packed, digest))
    }

    fn numbers<T: crate::kernels::Number>(&mut self, count: usize) -> Option<Numbers<T>> {
        let first = self.at;
        let end = first.checked_add(count.checked_mul(size_of::<T>())?)?;
        self.at = end.next_multiple_of(LINE);
        Numbers::mapped(&self.file, first..end)
    }
}

fn matrix_header(format: Format, rows: usize, columns: usize) -> [u8; LINE / 2] {
    let mut header = [0; LINE / 2];
    header[..8].copy_from_slice(&(rows as u64).to_le_bytes());
    header[8..16].copy_from_slice(&(columns as u64).to_le_bytes());
    header[16..20].copy_from_slice(&(format as u32).to_le_bytes());
    header
}

/// Writes the image of these matrices. The name appears only when all of it is there.
pub(super) fn write<'a>(
    path: &Path,
    origin: Origin,
    matrices: impl Iterator<Item = (&'a Packed, &'a Digest)>,
) -> io::Result<()> {
    if cfg!(target_endian = "big") {
        return Ok(());
    }
    // Several processes may make the same image at once.
    let part = path.with_extension(format!("{}.part", std::process::id()));
    let written = write_part(&part, origin, matrices).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written
}

fn write_part<'a>(
    part: &Path,
    origin: Origin,
    matrices: impl Iterator<Item = (&'a Packed, &'a Digest)>,
) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(part)?);
    out.write_all(&[0; LINE])?;
    let (mut body, mut bytes) = (Body { out, checksum: crc32fast::Hasher::new() }, 0);
    for (matrix, digest) in matrices {
        body.put(&matrix_header(matrix.format, matrix.rows, matrix.columns))?;
        body.put(&digest.0)?;
        bytes += LINE;
        let arrays = [matrix.codes.bytes(), matrix.scales.bytes(), matrix.minimums.bytes(), matrix.exponents.bytes()];
        for array in arrays {
            body.put(array)?;
            let padded = array.len().next_multiple_of(LINE);
            body.put(&[0; LINE][..padded - array.len()])?;
            bytes += padded;
        }
    }
    let header = origin.header(bytes as u64, body.checksum.finalize());
    let mut file = body.out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header)
}

struct Body {
    out: BufWriter<File>,
    checksum: crc32fast::Hasher,
}

impl Body {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.checksum.update(bytes);
        self.out.write_all(bytes)
    }
}
