//! The data folder: who owns it, its key and its token.

use crate::owner::OwnerFiles;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use talkoo_base::{KeyError, SecretKey};
use thiserror::Error;

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Another process holds the lock.
    #[error("another node{} uses {}: stop it, or choose another --data-dir", by(.pid), .dir.display())]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The other process, if it wrote its number.
        pid: Option<u32>,
    },
    /// A secret file that others may read.
    #[error("{} can be read by others: run chmod 600 on it; if others had access, use a new data dir", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A key file that is not 32 bytes of a key.
    #[error("{} is not a key: restore it from a backup, or remove it to get a new identity", .path.display())]
    BadKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// A token file that is not 64 hex digits.
    #[error("{} is not a token: remove it to get a new one", .path.display())]
    BadToken {
        /// The file.
        path: PathBuf,
    },
    /// No random bytes from the system.
    #[error("the system gives no random bytes, so no key can be made")]
    NoRandom(#[source] getrandom::Error),
    /// The folder or a file in it.
    #[error("cannot use {}: check that it exists, is yours and has room", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn by(pid: &Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

/// A data folder that this process owns until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the folder if need be (mode 0700) and locks it.
    ///
    /// # Errors
    /// [`DataDirError::InUse`] if another process holds it, [`DataDirError::Io`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        let path = path.into();
        create_dir(&path).map_err(at(&path))?;
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        let mut lock =
            options.read(true).write(true).create(true).truncate(false).open(&lock_path).map_err(at(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&lock_path).ok().and_then(|text| text.trim().parse().ok());
                return Err(DataDirError::InUse { dir: path, pid });
            }
            Err(TryLockError::Error(source)) => return Err(DataDirError::Io { path: lock_path, source }),
        }
        // For people and for the error message above; the lock itself is the kernel's.
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(at(&lock_path))?;
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the node's key from `key` (32 raw bytes, mode 0600), or makes it.
    ///
    /// # Errors
    /// An exposed, malformed or unreadable file, no random bytes.
    pub fn key(&self) -> Result<SecretKey, DataDirError> {
        self.secret_key("key")
    }

    /// The files of the owner's key.
    #[must_use]
    pub fn owner(&self) -> OwnerFiles {
        OwnerFiles::of(&self.path)
    }

    /// Reads the key that signs votes on blocks from `validator.key`, or makes it.
    ///
    /// # Errors
    /// As [`DataDir::key`].
    pub fn validator_key(&self) -> Result<SecretKey, DataDirError> {
        self.secret_key("validator.key")
    }

    fn secret_key(&self, name: &str) -> Result<SecretKey, DataDirError> {
        let path = self.path.join(name);
        if let Some(bytes) = read_secret(&path)? {
            // A wrong length is reported like a wrong number.
            let bytes: [u8; 32] = bytes.try_into().unwrap_or([0; 32]);
            return SecretKey::from_bytes(&bytes).map_err(|source| DataDirError::BadKey { path, source });
        }
        loop {
            // All but one in 2¹²⁸ numbers are keys.
            if let Ok(key) = SecretKey::from_bytes(&random()?) {
                write_secret(&path, &key.expose())?;
                return Ok(key);
            }
        }
    }

    /// Reads the API token from `api.token` (64 hex digits, mode 0600), or makes it.
    ///
    /// # Errors
    /// An exposed, malformed or unreadable file, no random bytes.
    pub fn token(&self) -> Result<String, DataDirError> {
        let path = self.path.join("api.token");
        if let Some(bytes) = read_secret(&path)? {
            let token = String::from_utf8_lossy(&bytes).trim().to_owned();
            let is_token = token.len() == 64 && token.bytes().all(|byte| byte.is_ascii_hexdigit());
            return if is_token { Ok(token) } else { Err(DataDirError::BadToken { path }) };
        }
        let token = hex::encode(random()?);
        write_secret(&path, token.as_bytes())?;
        Ok(token)
    }
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { path, source }
}

pub(crate) fn random() -> Result<[u8; 32], DataDirError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(DataDirError::NoRandom)?;
    Ok(bytes)
}

fn create_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Reads at most 4 KiB of a file that only its owner may read; `None` if there is none.
pub(crate) fn read_secret(path: &Path) -> Result<Option<Vec<u8>>, DataDirError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DataDirError::Io { path: path.to_owned(), source }),
    };
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().map_err(at(path))?);
        if mode & 0o077 != 0 {
            return Err(DataDirError::Exposed { path: path.to_owned() });
        }
    }
    let mut bytes = Vec::new();
    file.take(4096).read_to_end(&mut bytes).map_err(at(path))?;
    Ok(Some(bytes))
}

/// Written aside and renamed, so that a crash leaves no half key.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), DataDirError> {
    // A bare name is in the folder that we are in.
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        // Nobody else's name, and nobody else reads it.
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        crate::sync_dir(dir)
    };
    write().map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_belongs_to_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::open(dir.path().join("node")).unwrap();
        let second = DataDir::open(first.path());
        let Err(error @ DataDirError::InUse { pid: Some(pid), .. }) = second else { panic!("{second:?}") };
        assert_eq!(pid, std::process::id());
        assert!(error.to_string().contains("--data-dir"), "{error}");
        let path = first.path().to_owned();
        drop(first);
        DataDir::open(path).unwrap();
    }

    #[test]
    fn key_and_token_are_made_once_and_kept_secret() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let (key, token) = (data.key().unwrap(), data.token().unwrap());
        assert_eq!(data.key().unwrap().expose(), key.expose());
        assert_eq!(data.token().unwrap(), token);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            for name in ["key", "api.token"] {
                let path = dir.path().join(name);
                assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            }
            assert!(matches!(data.key(), Err(DataDirError::Exposed { .. })));
            assert!(matches!(data.token(), Err(DataDirError::Exposed { .. })));
        }
    }

    #[test]
    fn damaged_secrets_are_typed_errors() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        for bytes in [&b""[..], &[1; 31], &[0; 32], &[1; 33]] {
            write_secret(&dir.path().join("key"), bytes).unwrap();
            assert!(matches!(data.key(), Err(DataDirError::BadKey { .. })), "{bytes:?}");
        }
        write_secret(&dir.path().join("api.token"), b"short").unwrap();
        assert!(matches!(data.token(), Err(DataDirError::BadToken { .. })));
    }
}
