//! How fast files are imported, beside SHA-256 alone, and how fast a store of a million blocks is
//! collected.
//!
//! usage: speed import|gc [FOLDER] — a temporary folder stands in FOLDER, or where such folders stand

#![expect(clippy::print_stdout, reason = "a program that prints is meant to")]

use sha2::{Digest, Sha256};
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;
use talkoo_disk::blocks::Sync;
use talkoo_disk::{Blocks, BlocksConfig, import};
use talkoo_store::unixfs::Profile;
use talkoo_store::{Block, DAG_CBOR, RAW, Visibility, ipld};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BYTES: usize = 1 << 30;
const BLOCKS: usize = 1_000_000;
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let folder = args.get(1).map_or_else(std::env::temp_dir, PathBuf::from);
    match args.first().map(String::as_str) {
        Some("import") => imports(folder),
        Some("gc") => collection(folder),
        _ => Err("usage: speed import|gc [FOLDER]".into()),
    }
}

/// Seconds that `work` took.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// All kinds by turns; the median of each in MB/s, and its ratio to SHA-256 on as many threads.
fn imports(folder: PathBuf) -> Result<()> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state
    };
    let data: Vec<u8> = (0..BYTES / 8).flat_map(|_| next().to_le_bytes()).collect();
    let dir = tempfile::tempdir_in(folder)?;
    let path = dir.path().join("file");
    File::create(&path)?.write_all(&data)?;
    let sha = |threads: usize| {
        let digest = |part: &[u8]| part.chunks(1 << 20).for_each(|chunk| _ = black_box(Sha256::digest(chunk)));
        thread::scope(|scope| {
            for part in data.chunks(BYTES / threads) {
                scope.spawn(move || digest(part));
            }
        });
        Ok(())
    };
    let only_hash = |profile, threads| import(profile, &mut &data[..], threads, &mut |_| Ok::<(), io::Error>(()));
    let of_file = |threads| {
        let mut file = File::open(&path)?;
        Ok(import(Profile::V1_2025, &mut file, threads, &mut |_| Ok::<(), io::Error>(()))?)
    };
    let into_blocks = |threads| {
        let place = dir.path().join("store");
        let blocks = Blocks::open(&place, BlocksConfig { quota_bytes: 4 << 30 })?;
        let seconds = timed(|| {
            let mut batch = Vec::new();
            let put = |batch: &mut Vec<Block>| {
                let put = blocks.put(batch, Visibility::Private, Sync::Later);
                batch.clear();
                put.map_err(|why| io::Error::other(why.to_string()))
            };
            let mut sink = |block: Block| {
                batch.push(block);
                if batch.len() < 16 { Ok(()) } else { put(&mut batch) }
            };
            import(Profile::V1_2025, &mut File::open(&path)?, threads, &mut sink)?;
            put(&mut batch)?;
            Ok(blocks.flush()?)
        });
        drop(blocks);
        fs::remove_dir_all(place)?;
        seconds
    };
    let written = || {
        let place = dir.path().join("plain");
        fs::create_dir(&place)?;
        let seconds = timed(|| {
            let write = |(number, chunk): (usize, &[u8])| -> io::Result<File> {
                let mut file = File::create(place.join(number.to_string()))?;
                file.write_all(chunk)?;
                Ok(file)
            };
            let files: io::Result<Vec<File>> = data.chunks(1 << 20).enumerate().map(write).collect();
            Ok(files?.iter().try_for_each(File::sync_data)?)
        });
        fs::remove_dir_all(place)?;
        seconds
    };
    for threads in [1, 2] {
        let mut times = [const { Vec::new() }; 6];
        for _ in 0..ROUNDS {
            times[0].push(timed(|| sha(threads))?);
            times[1].push(timed(|| Ok(only_hash(Profile::V1_2025, threads)?))?);
            times[2].push(timed(|| Ok(only_hash(Profile::V0_2015, threads)?))?);
            times[3].push(timed(|| of_file(threads))?);
            times[4].push(into_blocks(threads)?);
            times[5].push(written()?);
        }
        let names = [
            "SHA-256 of chunks of 1 MiB",
            "only hash, memory, unixfs-v1-2025",
            "only hash, memory, unixfs-v0-2015",
            "only hash, file",
            "file into the store, durable",
            "memory into plain files of 1 MiB, durable",
        ];
        let speeds = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            BYTES as f64 / 1e6 / times[ROUNDS / 2]
        });
        for (name, speed) in names.iter().zip(speeds) {
            println!("{threads} threads: {name}: {speed:.0} MB/s, {:.2} of SHA-256", speed / speeds[0]);
        }
    }
    Ok(())
}

/// A million blocks, of which half are pinned below lists of a thousand; 20,000 of them stand in files.
fn collection(folder: PathBuf) -> Result<()> {
    let dir = tempfile::tempdir_in(folder)?;
    let blocks = Blocks::open(dir.path(), BlocksConfig { quota_bytes: 64 << 30 })?;
    let start = Instant::now();
    for list in 0..BLOCKS / 1000 {
        let leaf = |n: usize| {
            let len = if n.is_multiple_of(50) { 8192 } else { 200 };
            let mut bytes = vec![0; len];
            bytes[..8].copy_from_slice(&((list * 1000 + n) as u64).to_le_bytes());
            Block::of(RAW, bytes.into())
        };
        let mut leaves = (1..1000).map(leaf).collect::<std::result::Result<Vec<Block>, _>>()?;
        let links: Vec<String> = leaves.iter().map(|leaf| format!(r#"{{"/":"{}"}}"#, leaf.cid())).collect();
        let root = ipld::from_dag_json(format!("[{}]", links.join(",")).as_bytes(), DAG_CBOR)?;
        if list.is_multiple_of(2) {
            blocks.pin(&format!("{list}"), root.cid())?;
        }
        leaves.push(root);
        blocks.put(&leaves, Visibility::Public, Sync::Later)?;
    }
    println!("{BLOCKS} blocks put in {:.1} s", start.elapsed().as_secs_f64());
    for what in ["half of them garbage", "nothing to remove"] {
        let start = Instant::now();
        let done = blocks.collect()?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{what}: {seconds:.2} s, {} kept, {} removed", done.kept_blocks, done.removed_blocks);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    println!("{peak}");
    Ok(())
}
