//! Models that are not here: of the float tier a client needs only the tokenizer. `models/vocabularies/PROGRAM.gguf` leads
//! to the file that the user named, so that the job's answers can be read later.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use talkoo_base::{Digest, Refusal, RefusalCode, float_program};
use talkoo_engine::Vocabulary;

fn link(data_dir: &Path, program: &Digest) -> PathBuf {
    data_dir.join("models/vocabularies").join(format!("{program}.gguf"))
}

/// Remembers where the tokenizer of a program is.
pub(crate) fn remember(data_dir: &Path, program: &Digest, file: &Path) -> Result<()> {
    let link = link(data_dir, program);
    let file = fs::canonicalize(file).with_context(|| format!("cannot find {}", file.display()))?;
    fs::create_dir_all(link.parent().context("a link in a folder")?)?;
    let part = link.with_extension("part");
    fs::remove_file(&part).ok();
    std::os::unix::fs::symlink(file, &part)?;
    fs::rename(part, link)?;
    Ok(())
}

/// Where the file of a program's tokenizer is; its weights may be in it, too.
pub(crate) fn file_of(data_dir: &Path, program: &Digest) -> PathBuf {
    let link = link(data_dir, program);
    fs::read_link(&link).unwrap_or(link)
}

/// The tokenizer of a program of the float tier, and where its file is.
///
/// # Errors
/// If its file has gone since the program was first used here.
pub(crate) fn vocabulary(data_dir: &Path, program: &Digest) -> Result<Vocabulary, Refusal> {
    let link = link(data_dir, program);
    let file = fs::read_link(&link).unwrap_or_else(|_| link.clone());
    Vocabulary::open(&link).map_err(|why| {
        let message = format!("the tokenizer of the job's model cannot be read: {why}");
        Refusal::new(RefusalCode::UnknownModel, message, format!("put the GGUF file back to {}", file.display()))
    })
}

/// The same, if its file is still the one that the program names.
///
/// # Errors
/// As [`vocabulary`], or if another file is there now.
pub(crate) fn vocabulary_of(data_dir: &Path, program: &Digest, name: &str) -> Result<Vocabulary, Refusal> {
    let vocabulary = vocabulary(data_dir, program)?;
    if float_program(&vocabulary.id(), name) == *program {
        return Ok(vocabulary);
    }
    let message = format!("the file of the tokenizer of `{name}` is another one now");
    Err(Refusal::new(RefusalCode::UnknownModel, message, "put the file back that the job was posted with"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::catalog;

    #[test]
    fn the_tokenizer_of_a_program_is_found_again_or_missed() {
        let folder = tempfile::tempdir().unwrap();
        let entry = catalog::find("smollm2").unwrap();
        let file = crate::models::into_cache(entry, &mut |_, _, _| ()).unwrap();
        let id = Vocabulary::open(&file).unwrap().id();
        let (program, other) = (float_program(&id, "a"), float_program(&id, "b"));
        let find = |program, name| vocabulary_of(folder.path(), program, name).map(|v| v.id()).map_err(|no| no.code);
        assert_eq!(find(&program, "a"), Err(RefusalCode::UnknownModel));
        remember(folder.path(), &program, &file).unwrap();
        remember(folder.path(), &program, &file).unwrap();
        assert_eq!(find(&program, "a"), Ok(id));
        assert_eq!(find(&program, "b"), Err(RefusalCode::UnknownModel), "a file that does not fit the name");
        assert_eq!(find(&other, "b"), Err(RefusalCode::UnknownModel));
        assert!(remember(folder.path(), &other, Path::new("/nonexistent.gguf")).is_err());
    }
}
