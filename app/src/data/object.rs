//! Sealed objects in the block store: sealing a file or folder, and reading what is inside from any place.

use super::manifest::Kind;
use crate::commands::imported;
use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Component, Path};
use talkoo_base::Cid;
use talkoo_disk::blocks::{Hold, Sync};
use talkoo_disk::{Blocks, Plain};
use talkoo_gateway::{Import, ImportOptions};
use talkoo_store::car::{self, Item};
use talkoo_store::limits::{DAG_BLOCKS_MAX, DAG_DEPTH_MAX};
use talkoo_store::seal::stream::{ContentKey, LEAF_BYTES, Sealer};
use talkoo_store::unixfs::{self, Entry, Importer, Profile};
use talkoo_store::{Block, Visibility};

/// Leaves that are written at once.
const BATCH: usize = 16;
/// Profile of a sealed object: leaves are segments.
const PROFILE: Profile = Profile::V1_2025;

/// An object that was sealed into the store. Let go of the hold when it is pinned.
pub(crate) struct SealedObject {
    pub(crate) root: Cid,
    pub(crate) sealed_bytes: u64,
    pub(crate) bytes: u64,
    pub(crate) kind: Kind,
    pub(crate) hold: Hold,
}

/// Takes plaintext, hands out blocks of the sealed object. Holds some leaves, however long it is.
struct Writing<'a> {
    sealer: Sealer,
    importer: Importer,
    blocks: &'a Blocks,
    batch: Vec<Block>,
}

impl Writing<'_> {
    fn push(&mut self, plain: &[u8]) -> Result<()> {
        let Self { sealer, importer, blocks, batch } = self;
        sealer.push(plain, &mut |leaf| take(importer, blocks, batch, leaf))
    }

    fn finish(self) -> Result<(unixfs::FileRoot, u64)> {
        let Self { sealer, mut importer, blocks, mut batch } = self;
        let bytes = sealer.finish(&mut |leaf| take(&mut importer, blocks, &mut batch, leaf))?;
        let root = importer.finish(&mut |block| keep(blocks, &mut batch, block))?;
        blocks.put(&batch, Visibility::Private, Sync::Now)?;
        Ok((root, bytes))
    }
}

fn take(importer: &mut Importer, blocks: &Blocks, batch: &mut Vec<Block>, leaf: Vec<u8>) -> Result<()> {
    importer.push_leaf(PROFILE.leaf(leaf.into()), &mut |block| keep(blocks, batch, block))
}

fn keep(blocks: &Blocks, batch: &mut Vec<Block>, block: Block) -> Result<()> {
    batch.push(block);
    if batch.len() >= BATCH {
        blocks.put(batch, Visibility::Private, Sync::Later)?;
        batch.clear();
    }
    Ok(())
}

/// Seals a file, or a folder as a CAR, into private blocks. Nothing of the plaintext is stored.
pub(crate) fn seal(blocks: &Blocks, key: &ContentKey, prefix: [u8; 19], path: &Path) -> Result<SealedObject> {
    let hold = blocks.hold();
    let (sealer, importer) = (Sealer::new(key, prefix), Importer::new(PROFILE));
    let mut writing = Writing { sealer, importer, blocks, batch: Vec::new() };
    let meta = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    let kind = if meta.is_dir() { Kind::Folder } else { Kind::File };
    if kind == Kind::Folder {
        let options = ImportOptions { profile: PROFILE };
        // Once for the name of the root, which stands before the blocks; once for the blocks.
        let named =
            imported(path, Import::new(None, options))?.finish(false).map_err(crate::commands::Failure::from)?;
        let root = named.roots.last().context("there is nothing in it")?.cid;
        writing.push(&car::header(&[root]))?;
        let mut failed = None;
        let sink = Box::new(|block: Block| {
            writing.push(&car::frame(&block)).map_err(|why| {
                let no = crate::commands::refusal_of(&why);
                failed.get_or_insert(why);
                no
            })
        });
        let again = imported(path, Import::into_sink(sink, options))
            .and_then(|import| import.finish(false).map_err(|no| crate::commands::Failure::from(no).into()));
        let again = again?;
        ensure!(again.roots.last().map(|root| root.cid) == Some(root), "{} changed while it was read", path.display());
    } else {
        let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut buffer = vec![0; LEAF_BYTES];
        loop {
            match file.read(&mut buffer).with_context(|| format!("cannot read {}", path.display()))? {
                0 => break,
                count => writing.push(&buffer[..count])?,
            }
        }
    }
    let (root, bytes) = writing.finish()?;
    Ok(SealedObject { root: root.cid, sealed_bytes: root.bytes, bytes, kind, hold })
}

/// Writes the plaintext to a path where nothing is; aside first, so that what broke off does not look whole.
pub(crate) fn export(mut plain: Plain, kind: Kind, to: &Path) -> Result<u64> {
    let parent = to.parent().context("a path with a folder above it")?;
    let aside = tempfile::Builder::new().prefix(".talkoo-data-").tempdir_in(parent)?;
    let first = aside.path().join("whole");
    let bytes = plain.content_bytes();
    match kind {
        Kind::File => {
            let mut file = File::create_new(&first)?;
            io::copy(&mut plain, &mut file)?;
            file.sync_all()?;
        }
        Kind::Folder => unpack(plain, &first)?,
    }
    fs::rename(first, to)?;
    Ok(bytes)
}

/// Writes the folder in a CAR. Names that lead out of it, links that do, and more than the CAR has are refused.
fn unpack(mut plain: Plain, to: &Path) -> Result<()> {
    let (root, index) = index(&mut plain)?;
    // Each block stands in an honest object as often as in its folder, and is read twice at most. Without this, a few small blocks
    // that name one another again and again would fill every disk.
    let mut left = 2 * plain.content_bytes();
    let mut get = |cid: &Cid| -> Result<Option<Block>, io::Error> {
        let Some((at, bytes)) = index.get(cid) else { return Ok(None) };
        let too_large = || io::Error::other("more comes out of the object than is in it");
        left = left.checked_sub(*bytes as u64 + 1).ok_or_else(too_large)?;
        plain.seek(SeekFrom::Start(*at))?;
        let mut data = vec![0; *bytes];
        plain.read_exact(&mut data)?;
        Block::verified(*cid, data.into()).map(Some).map_err(io::Error::other)
    };
    let mut waiting = vec![(root, to.to_owned(), 0_u8)];
    while let Some((cid, path, depth)) = waiting.pop() {
        ensure!(depth <= DAG_DEPTH_MAX, "the folder is too deep");
        let inlined = Block::inlined(&cid);
        let block = match inlined {
            Some(block) => block,
            None => get(&cid)?.with_context(|| format!("block {cid} is not in the object"))?,
        };
        match Entry::of(&block)? {
            Entry::File(_) => {
                let mut file = File::create_new(&path)?;
                let mut reader = unixfs::Reader::new(cid);
                while let Some(bytes) = reader.next(&mut get)? {
                    file.write_all(&bytes)?;
                }
                file.sync_all()?;
            }
            Entry::Symlink(target) => link(&target, depth, &path)?,
            Entry::Dir(_) | Entry::Shard(_) => {
                fs::create_dir(&path)?;
                let mut bad = None;
                unixfs::list(&cid, &mut get, &mut |entry| {
                    if let Err(why) = unixfs::check_name(&entry.name) {
                        bad = Some(why);
                        return ControlFlow::Break(());
                    }
                    waiting.push((entry.cid, path.join(&entry.name), depth + 1));
                    ControlFlow::Continue(())
                })?;
                bad.map_or(Ok(()), |why| Err(anyhow::Error::new(why).context("a name in the folder is refused")))?;
            }
        }
    }
    Ok(())
}

/// Makes a link that stays inside the folder.
fn link(target: &str, depth: u8, path: &Path) -> Result<()> {
    // Up only at its beginning, from a folder that is none itself: what it passes later may be a link.
    let ups = Path::new(target).components().take_while(|part| matches!(part, Component::ParentDir)).count();
    let rest = Path::new(target).components().skip(ups).all(|part| matches!(part, Component::Normal(_)));
    ensure!(rest && ups < usize::from(depth), "a link in the folder leads out of it: {target}");
    #[cfg(unix)]
    std::os::unix::fs::symlink(target, path)?;
    #[cfg(not(unix))]
    fs::write(path, target)?;
    Ok(())
}

/// Where the bytes of each block lie, and how many.
type Places = HashMap<Cid, (u64, usize)>;

/// The root of a CAR, and where the bytes of each block lie in it.
fn index(plain: &mut Plain) -> Result<(Cid, Places)> {
    let (mut decoder, mut index, mut root) = (car::Decoder::default(), HashMap::new(), None);
    let mut buffer = vec![0; LEAF_BYTES];
    let mut end = 0_u64;
    loop {
        let count = plain.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        decoder.push(&buffer[..count]);
        while let Some(item) = decoder.next()? {
            match item {
                Item::Roots(roots) => {
                    ensure!(roots.len() == 1, "the object has {} roots", roots.len());
                    end = car::header(&roots).len() as u64;
                    root = Some(roots[0]);
                }
                Item::Block(block) => {
                    ensure!(index.len() < DAG_BLOCKS_MAX, "the object has too many blocks");
                    end += car::frame(&block).len() as u64;
                    let bytes = block.bytes().len();
                    index.insert(*block.cid(), (end - bytes as u64, bytes));
                }
            }
        }
    }
    decoder.finish()?;
    Ok((root.context("the object has no root")?, index))
}

#[cfg(test)]
mod tests;
