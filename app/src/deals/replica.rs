//! Replicas on this machine's disk: made of an object, opened again, and their leaves shown.

use anyhow::{Context, Result, bail, ensure};
use std::convert::Infallible;
use std::io::{self, Read};
use talkoo_base::Cid;
use talkoo_disk::blocks::Sync;
use talkoo_disk::{Blocks, import};
use talkoo_store::possession::{Committer, Proof, Tree};
use talkoo_store::replica::Stream;
use talkoo_store::unixfs::{Profile, Reader, Resolved};
use talkoo_store::{Block, Visibility, car, dag};

/// Whose replica, and which.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) key: &'a [u8; 32],
    pub(super) object: &'a Cid,
    pub(super) number: u32,
}

impl Name<'_> {
    fn stream(&self) -> Stream {
        Stream::new(self.key, self.object, self.number)
    }
}

fn walk(root: &Cid) -> dag::Walk {
    let whole = Resolved { cid: *root, parents: Vec::new(), rest: Vec::new() };
    dag::Walk::new(&whole, dag::Options::default())
}

/// Bytes of an object's CAR, and so of each replica.
///
/// # Errors
/// A block that is not here.
pub(super) fn measure(blocks: &Blocks, object: &Cid) -> Result<u64> {
    let (mut walk, mut bytes) = (walk(object), car::header(&[*object]).len() as u64);
    while let Some(block) = walk.next(&mut |cid| blocks.get(cid))? {
        bytes += car::frame(&block).len() as u64;
    }
    Ok(bytes)
}

/// The encrypted CAR of an object, as a file that is read once; holds one block.
struct Sealed<'a> {
    blocks: &'a Blocks,
    walk: dag::Walk,
    stream: Stream,
    committer: Committer,
    part: Vec<u8>,
    at: usize,
}

impl Sealed<'_> {
    fn load(&mut self, mut part: Vec<u8>) -> io::Result<()> {
        if !self.stream.apply(&mut part) {
            return Err(io::Error::other("a replica has at most 256 GiB: split the object"));
        }
        self.committer.push(&part);
        (self.part, self.at) = (part, 0);
        Ok(())
    }
}

impl Read for Sealed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.part.len() {
            let blocks = self.blocks;
            let Some(block) = self.walk.next(&mut |cid| blocks.get(cid)).map_err(io::Error::other)? else {
                return Ok(0);
            };
            self.load(car::frame(&block))?;
        }
        let count = buffer.len().min(self.part.len() - self.at);
        buffer[..count].copy_from_slice(&self.part[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Puts a replica into the store, private; its root and what it commits to.
///
/// # Errors
/// A block of the object that is not here, or no room.
pub(super) fn seal(blocks: &Blocks, name: Name<'_>) -> Result<(Cid, Tree)> {
    let (walk, stream) = (walk(name.object), name.stream());
    let mut file = Sealed { blocks, walk, stream, committer: Committer::default(), part: Vec::new(), at: 0 };
    file.load(car::header(&[*name.object]))?;
    let mut put = |block: Block| -> Result<()> { Ok(blocks.put(&[block], Visibility::Private, Sync::Later)?) };
    let root = import(Profile::V1_2025, &mut file, 1, &mut put)?;
    blocks.flush()?;
    Ok((root.cid, file.committer.finish()))
}

/// Puts what is in a replica into the store, private.
///
/// # Errors
/// A block of the replica that is not here, another key, or no room.
pub(super) fn open(blocks: &Blocks, name: Name<'_>, replica: &Cid) -> Result<()> {
    let (mut reader, mut stream, mut decoder) = (Reader::new(*replica), name.stream(), car::Decoder::default());
    while let Some(part) = reader.next(&mut |cid| blocks.get(cid))? {
        let mut part = Vec::from(part);
        ensure!(stream.apply(&mut part), "the replica is longer than one can be");
        decoder.push(&part);
        while let Some(item) = decoder.next().context("the replica does not open: it is of another node key")? {
            match item {
                car::Item::Roots(roots) => ensure!(roots == [*name.object], "the replica is of another object"),
                car::Item::Block(block) => blocks.put(&[block], Visibility::Private, Sync::Later)?,
            }
        }
    }
    decoder.finish()?;
    Ok(blocks.flush()?)
}

/// What a replica that lies here commits to.
///
/// # Errors
/// A block that is not here.
pub(super) fn commitment(blocks: &Blocks, replica: &Cid) -> Result<Tree> {
    let (mut reader, mut committer) = (Reader::new(*replica), Committer::default());
    while let Some(part) = reader.next(&mut |cid| blocks.get(cid))? {
        committer.push(&part);
    }
    Ok(committer.finish())
}

/// A leaf of a replica that lies here.
///
/// # Errors
/// A block that is not here, or is another.
pub(super) fn prove(blocks: &Blocks, replica: &Cid, tree: &Tree, leaf: u64) -> Result<Proof> {
    let (mut reader, mut chunk) = (Reader::range(*replica, tree.chunk_of(leaf)), Vec::new());
    while let Some(part) = reader.next(&mut |cid| blocks.get(cid))? {
        chunk.extend_from_slice(&part);
    }
    match tree.open(leaf, &chunk) {
        Some(proof) => Ok(proof),
        None => bail!("the replica {replica} is not what was committed to"),
    }
}

/// Removes a replica that nobody needs here any more.
///
/// # Errors
/// The disk's.
pub(super) fn remove(blocks: &Blocks, replica: &Cid) -> Result<()> {
    let (mut walk, mut cids) = (walk(replica), Vec::new());
    // As far as it is here; what is below a block that is not is not here either, or the next collection takes it.
    while let Ok(Some(block)) = walk.next(&mut |cid| Ok::<_, Infallible>(blocks.get(cid).ok().flatten())) {
        cids.push(*block.cid());
    }
    blocks.delete(&cids)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use talkoo_disk::BlocksConfig;
    use talkoo_store::unixfs::Importer;

    #[test]
    fn a_replica_opens_to_its_object_and_shows_its_leaves() {
        let dir = tempfile::tempdir().unwrap();
        let blocks = Blocks::open(dir.path(), BlocksConfig::default()).unwrap();
        let data: Vec<u8> = (0..3_500_000_u32).map(|i| (i / 999) as u8).collect();
        let mut importer = Importer::new(Profile::V1_2025);
        let mut put = |block: Block| blocks.put(&[block], Visibility::Private, Sync::Later);
        importer.push(&data, &mut put).unwrap();
        let object = importer.finish(&mut put).unwrap().cid;
        let name = |number| Name { key: &[7; 32], object: &object, number };
        let (replica, tree) = seal(&blocks, name(0)).unwrap();
        assert_eq!(tree.bytes(), measure(&blocks, &object).unwrap());
        assert_eq!(seal(&blocks, name(0)).unwrap(), (replica, tree.clone()), "it follows from its name");
        let (other, others) = seal(&blocks, name(1)).unwrap();
        assert_eq!(commitment(&blocks, &replica).unwrap(), tree);
        for leaf in [0, tree.leaves() / 2, tree.leaves() - 1] {
            let proof = prove(&blocks, &replica, &tree, leaf).unwrap();
            assert!(proof.shows(&tree.root(), tree.bytes(), leaf));
            assert!(prove(&blocks, &other, &tree, leaf).is_err(), "no copy answers for another");
            assert!(!proof.shows(&others.root(), others.bytes(), leaf));
        }
        remove(&blocks, &other).unwrap();
        assert!(commitment(&blocks, &other).is_err());
        remove(&blocks, &object).unwrap();
        assert!(measure(&blocks, &object).is_err());
        assert!(open(&blocks, name(1), &replica).is_err(), "another number is another key");
        open(&blocks, name(0), &replica).unwrap();
        assert_eq!(measure(&blocks, &object).unwrap(), tree.bytes());
    }
}
