//! Reads 1 GiB from the block store, open and sealed, in turns: `cargo xtask bench sealed`. Usage: sealed [FOLDER]; a
//! temporary folder stands in FOLDER, or where such folders stand.

#![expect(clippy::print_stdout, reason = "a program that prints is meant to")]

use std::error::Error;
use std::io::BufRead as _;
use std::sync::Arc;
use std::time::Instant;
use talkoo_disk::blocks::Sync;
use talkoo_disk::{Blocks, BlocksConfig, Plain};
use talkoo_store::seal::stream::{ContentKey, LEAF_BYTES, Sealer};
use talkoo_store::unixfs::{Importer, Profile, Reader};
use talkoo_store::{Block, Visibility};

type Outcome<T> = Result<T, Box<dyn Error>>;

const MIB: u64 = 1_024;
const ROUNDS: usize = 5;

fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, std::path::PathBuf::from);
    let (dir, mib) = (tempfile::tempdir_in(folder)?, MIB);
    let blocks = Arc::new(Blocks::open(dir.path(), BlocksConfig { quota_bytes: u64::MAX })?);
    let chunk: Vec<u8> = (0..LEAF_BYTES).map(|i| (i ^ (i >> 8)) as u8).collect();
    let part = |i: u64| [&i.to_le_bytes(), &chunk[8..]].concat();
    let mut keep = |block: Block| blocks.put(&[block], Visibility::Private, Sync::Later);
    let mut open = Importer::new(Profile::V1_2025);
    (0..mib).try_for_each(|i| open.push(&part(i), &mut keep))?;
    let open = open.finish(&mut keep)?.cid;
    let (key, mut importer) = (ContentKey::new([7; 32]), Importer::new(Profile::V1_2025));
    let mut sealer = Sealer::new(&key, [1; 19]);
    let start = Instant::now();
    let mut leaf = |leaf: Vec<u8>| importer.push_leaf(Profile::V1_2025.leaf(leaf.into()), &mut keep);
    (0..mib).try_for_each(|i| sealer.push(&part(i), &mut leaf))?;
    sealer.finish(&mut leaf)?;
    let sealed = importer.finish(&mut keep)?.cid;
    println!("sealed and stored {mib} MiB at {:.0} MiB/s", mib as f64 / start.elapsed().as_secs_f64());
    blocks.flush()?;
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let (mut reader, mut bytes) = (Reader::new(open), 0);
        while let Some(part) = reader.next(&mut |cid| blocks.get(cid))? {
            bytes += part.len() as u64;
        }
        let open_s = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let (mut plain, mut read) = (Plain::open(blocks.clone(), sealed, &key)?, 0);
        loop {
            let count = plain.fill_buf()?.len();
            if count == 0 {
                break;
            }
            plain.consume(count);
            read += count as u64;
        }
        let sealed_s = start.elapsed().as_secs_f64();
        assert_eq!((bytes, read), (mib << 20, mib << 20));
        println!("open {:.0} MiB/s, sealed {:.0} MiB/s", mib as f64 / open_s, mib as f64 / sealed_s);
        ratios.push(open_s / sealed_s);
    }
    ratios.sort_by(f64::total_cmp);
    println!("ratio {:.2}", ratios[ratios.len() / 2]);
    Ok(())
}
