//! Models that make embeddings: found by name, as a GGUF file, or as a sentence-transformers folder or zip,
//! which becomes the same one GGUF file.

use super::{catalog, into_cache};
use crate::commands::{Failure, bar};
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;
use talkoo_base::RefusalCode;
use talkoo_engine::{Encoder, gguf_of_folder};

/// Bytes of one file of a folder or zip; no encoder has more.
const FILE_MAX: u64 = 8 << 30;

/// The encoder of this name or at this path.
pub(crate) fn open(name: &str) -> Result<Encoder> {
    let path = Path::new(name);
    if path.is_dir() || is(path, "zip") {
        return Ok(Encoder::parse(&gguf_of(path)?)?);
    }
    if is(path, "gguf") {
        return Ok(Encoder::load(path)?);
    }
    let entry = catalog::find_encoder(name).map_err(Failure::from)?;
    let cached = super::cache_dir().join(&entry.file);
    // What is in the cache is read once: a damaged file has another root, and is fetched again.
    if let Ok(encoder) = Encoder::load(&cached)
        && encoder.root() == entry.root()
    {
        return Ok(encoder);
    }
    let bar = bar(entry.bytes, "fetching");
    let file = into_cache(entry, &mut |from, done, _| {
        bar.set_message(from.to_owned());
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let encoder = Encoder::load(&file?)?;
    let no =
        || Failure::new(RefusalCode::SelfTestFailed, format!("{name} has another root than the catalogue says"), "");
    ensure!(encoder.root() == entry.root(), no());
    Ok(encoder)
}

fn is(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

/// The one file that a folder, or a zip of one, becomes.
pub(super) fn gguf_of(path: &Path) -> Result<Vec<u8>> {
    if path.is_dir() {
        return Ok(gguf_of_folder(&mut |name| match File::open(path.join(name)) {
            Err(why) if why.kind() == ErrorKind::NotFound => Ok(None),
            file => read(file?).map(Some),
        })?);
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut zip = zip::ZipArchive::new(file).with_context(|| format!("{} is no zip", path.display()))?;
    Ok(gguf_of_folder(&mut |name| match zip.by_name(name) {
        Err(zip::result::ZipError::FileNotFound) => Ok(None),
        file => read(file?).map(Some),
    })?)
}

fn read(file: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces the zip at `path` by the file that it becomes.
pub(super) fn convert_in_place(path: &Path) -> Result<()> {
    let file = gguf_of(path)?;
    fs::write(path, file).with_context(|| format!("cannot write {}", path.display()))
}
