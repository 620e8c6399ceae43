//! A file that results are written to: known to be writable before the work begins, and there
//! whole or not at all.

use super::Failure;
use anyhow::{Context, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use talkoo_base::RefusalCode;

/// A file to write.
pub(super) struct Target {
    /// As the user named it.
    named: PathBuf,
    /// Behind links.
    path: PathBuf,
    /// A device or a pipe: there is nothing to write beside it, nor to rename.
    is_special: bool,
}

impl Target {
    /// Checks that a file can be written there.
    ///
    /// # Errors
    /// A folder, or a place where nothing can be made.
    pub(super) fn check(path: &Path) -> Result<Self> {
        let no = |why: String| {
            let hint = "name a file in a folder that is there and that you may write to";
            Failure::new(RefusalCode::Other, format!("cannot write {} ({why})", path.display()), hint)
        };
        let target = match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => return Err(no("it is a folder".into()).into()),
            Ok(meta) => {
                let real = fs::canonicalize(path).map_err(|why| no(why.to_string()))?;
                Self { named: path.to_owned(), path: real, is_special: !meta.is_file() }
            }
            Err(_) => Self { named: path.to_owned(), path: path.to_owned(), is_special: false },
        };
        if !target.is_special {
            // Only an attempt tells; what an earlier run left there is nobody's.
            let part = target.part();
            File::create(&part).and_then(|_| fs::remove_file(&part)).map_err(|why| no(why.to_string()))?;
        }
        Ok(target)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn write(&self, text: &str) -> Result<()> {
        let part = self.part();
        let write = || {
            if self.is_special {
                return fs::OpenOptions::new().write(true).open(&self.path)?.write_all(text.as_bytes());
            }
            let mut file = File::create(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, &self.path)
        };
        let written = write();
        if written.is_err() && !self.is_special {
            fs::remove_file(&part).ok();
        }
        written.with_context(|| format!("cannot write {}", self.named.display()))
    }

    fn part(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".part");
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("out");
        fs::write(&file, "before").unwrap();
        std::os::unix::fs::symlink(&file, dir.path().join("link")).unwrap();
        for bad in [dir.path().to_owned(), dir.path().join("none/out"), file.join("out"), dir.path().join("new/")] {
            let no = Target::check(&bad).err().unwrap_or_else(|| panic!("{} is taken", bad.display()));
            assert!(no.to_string().contains("cannot write"), "{no}");
        }
        for name in ["out", "link", "new"] {
            let target = Target::check(&dir.path().join(name)).unwrap();
            assert_ne!(fs::read_to_string(&file).unwrap(), name, "the check wrote");
            target.write(name).unwrap();
            assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), name);
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "link", "a link is followed");
        Target::check(Path::new("/dev/null")).unwrap().write("x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["link", "new", "out"]);
    }
}
