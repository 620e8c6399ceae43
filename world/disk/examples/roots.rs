//! Names files and folders by both profiles and writes them to CAR files: the side of ours that
//! `xtask/judges/cids.mjs` compares.
//!
//! usage: roots FOLDER CARS — a line `PROFILE NAME CID BYTES` for each entry of FOLDER

#![expect(clippy::print_stdout, reason = "a program that prints is meant to")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use talkoo_base::Cid;
use talkoo_store::unixfs::{DirBuilder, Profile, symlink};
use talkoo_store::{Block, car};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, cars] = &args[..] else { return Err("usage: roots FOLDER CARS".into()) };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| "a name that is not UTF-8")?;
        for (profile, label) in [(Profile::V1_2025, "unixfs-v1-2025"), (Profile::V0_2015, "unixfs-v0-2015")] {
            let is_small = fs::symlink_metadata(entry.path())?.len() < 8 << 20;
            let mut blocks = Vec::new();
            let (cid, bytes) = import(profile, &entry.path(), &mut |block: Block| {
                if is_small {
                    blocks.push(block);
                }
                Ok(())
            })?;
            if is_small {
                let mut file = BufWriter::new(File::create(Path::new(cars).join(format!("{label}-{name}.car")))?);
                file.write_all(&car::header(&[cid]))?;
                for block in &blocks {
                    file.write_all(&car::frame(block))?;
                }
                file.flush()?;
            }
            println!("{label} {name} {cid} {bytes}");
        }
    }
    Ok(())
}

/// The CID of what stands at `path`, and the bytes of its blocks.
fn import(profile: Profile, path: &Path, sink: &mut impl FnMut(Block) -> Result<()>) -> Result<(Cid, u64)> {
    let kind = fs::symlink_metadata(path)?.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(path)?;
        let block = symlink(profile, target.to_str().ok_or("a target that is not UTF-8")?)?;
        let done = (*block.cid(), block.bytes().len() as u64);
        sink(block)?;
        return Ok(done);
    }
    if kind.is_dir() {
        let mut dir = DirBuilder::new(profile);
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (cid, bytes) = import(profile, &entry.path(), sink)?;
            dir.add(entry.file_name().to_str().ok_or("a name that is not UTF-8")?, cid, bytes)?;
        }
        let root = dir.finish(sink)?;
        return Ok((root.cid, root.total_bytes));
    }
    let root = talkoo_disk::import(profile, &mut File::open(path)?, 2, sink)?;
    Ok((root.cid, root.total_bytes))
}
