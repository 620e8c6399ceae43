//! Blocks as files: `blocks/XX/<cid in hex>`, XX the last byte of the CID, which is evenly spread.

use super::BlocksError;
use crate::limits::SYNC_THREADS;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use talkoo_base::Cid;

#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    /// Creates the folders and removes what a crash left aside.
    pub(super) fn open(dir: &Path) -> Result<Self, BlocksError> {
        for shard in 0..=255_u8 {
            let path = dir.join(hex::encode([shard]));
            fs::create_dir_all(&path).map_err(BlocksError::io(&path))?;
        }
        let aside = dir.join("aside");
        match fs::remove_dir_all(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(BlocksError::io(&aside)(error)),
            _ => {}
        }
        fs::create_dir_all(&aside).map_err(BlocksError::io(&aside))?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn path(&self, cid: &Cid) -> PathBuf {
        let name = hex::encode(super::index::key(cid));
        self.dir.join(&name[name.len() - 2..]).join(&name)
    }

    /// Writes aside and renames. Callers hold the writer's lock, so one name aside is enough.
    pub(super) fn write(&self, cid: &Cid, content: &[u8], len: u64) -> Result<(), BlocksError> {
        let path = self.path(cid);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == len) && self.read(cid, len)?.as_deref() == Some(content) {
            return Ok(());
        }
        let aside = self.dir.join("aside").join("block");
        let write = || {
            File::create(&aside)?.write_all(content)?;
            fs::rename(&aside, &path)
        };
        write().map_err(BlocksError::io(&path))
    }

    /// Reads at most `len` bytes; a file of another length counts as absent, it cannot be the block.
    pub(super) fn read(&self, cid: &Cid, len: u64) -> Result<Option<Bytes>, BlocksError> {
        let mut content = Vec::with_capacity(usize::try_from(len).unwrap_or(0) + 1);
        Ok(self.read_into(cid, len, &mut content)?.then(|| content.into()))
    }

    /// As [`Files::read`], into a buffer that is used again.
    pub(super) fn read_into(&self, cid: &Cid, len: u64, content: &mut Vec<u8>) -> Result<bool, BlocksError> {
        let path = self.path(cid);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(BlocksError::io(&path)(error)),
        };
        content.clear();
        file.take(len + 1).read_to_end(content).map_err(BlocksError::io(&path))?;
        Ok(content.len() as u64 == len)
    }

    pub(super) fn remove(&self, cid: &Cid) -> Result<(), BlocksError> {
        let path = self.path(cid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BlocksError::io(&path)(error)),
            _ => Ok(()),
        }
    }

    /// Makes files and their names durable. A file that was removed since is passed over.
    pub(super) fn sync(&self, cids: &[Cid]) -> Result<(), BlocksError> {
        let files: Vec<PathBuf> = cids.iter().map(|cid| self.path(cid)).collect();
        sync_all(&files, |path| match File::open(path) {
            Ok(file) => file.sync_data(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        })?;
        let shards: BTreeSet<&Path> = files.iter().filter_map(|path| path.parent()).collect();
        let shards: Vec<PathBuf> = shards.into_iter().map(Path::to_owned).collect();
        sync_all(&shards, crate::sync_dir)
    }

    /// Calls `each` with every file's CID; files with other names are passed over.
    pub(super) fn for_each(&self, mut each: impl FnMut(Cid) -> Result<(), BlocksError>) -> Result<(), BlocksError> {
        for shard in 0..=255_u8 {
            let path = self.dir.join(hex::encode([shard]));
            for entry in fs::read_dir(&path).map_err(BlocksError::io(&path))? {
                let name = entry.map_err(BlocksError::io(&path))?.file_name();
                let cid = name.to_str().and_then(|name| hex::decode(name).ok());
                if let Some(cid) = cid.and_then(|bytes| Cid::try_from(bytes).ok()) {
                    each(cid)?;
                }
            }
        }
        Ok(())
    }
}

/// Syncs several paths side by side: the disk then writes them in one go.
fn sync_all(paths: &[PathBuf], sync: impl Fn(&Path) -> io::Result<()> + Sync) -> Result<(), BlocksError> {
    let some = |paths: &[PathBuf]| paths.iter().try_for_each(|path| sync(path).map_err(BlocksError::io(path)));
    if paths.len() < SYNC_THREADS {
        return some(paths);
    }
    thread::scope(|scope| {
        let parts = paths.chunks(paths.len().div_ceil(SYNC_THREADS));
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || some(part))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("syncing does not panic"))
    })
}
