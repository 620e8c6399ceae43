//! Files become blocks with their leaves hashed on several threads, while those before are
//! stored and the next ones read.

use bytes::Bytes;
use std::io::{self, Read};
use std::thread;
use talkoo_store::Block;
use talkoo_store::unixfs::{FileRoot, Importer, Leaf, Profile};

/// Chunks that one thread hashes in a row: enough to make starting it cheap.
const CHUNKS_PER_THREAD: usize = 8;

/// Reads `file` to its end and hands its blocks to `sink`, children before parents. Holds three batches
/// of eight chunks for each thread, besides what `sink` keeps.
///
/// # Errors
/// What reading or `sink` says.
pub fn import<E: From<io::Error>>(
    profile: Profile,
    file: &mut impl Read,
    threads: usize,
    sink: &mut impl FnMut(Block) -> Result<(), E>,
) -> Result<FileRoot, E> {
    let share = CHUNKS_PER_THREAD * profile.chunk_bytes();
    let whole = threads.max(1) * share;
    let mut importer = Importer::new(profile);
    let mut ready: (Bytes, Vec<Leaf>) = Default::default();
    let mut batch = read_batch(file, Vec::new(), whole)?;
    while !batch.is_empty() || !ready.1.is_empty() {
        let (leaves, next) = thread::scope(|scope| {
            let hash = |at: usize| {
                let part = batch.slice(at..batch.len().min(at + share));
                scope.spawn(move || leaves_of(profile, &part))
            };
            let hashers: Vec<_> = (0..batch.len()).step_by(share).map(hash).collect();
            let next = (|| {
                ready.1.drain(..).try_for_each(|leaf| importer.push_leaf(leaf, sink))?;
                if batch.len() < whole {
                    return Ok(Bytes::new());
                }
                // Fresh memory costs as much as a third of the hashing: unless `sink` keeps blocks, it is used again.
                let is_free = ready.0.is_unique();
                let spare = if is_free { Vec::from(std::mem::take(&mut ready.0)) } else { Vec::new() };
                Ok::<_, E>(read_batch(file, spare, whole)?)
            })();
            let leaves = hashers.into_iter().flat_map(|hasher| hasher.join().expect("hashing does not panic"));
            (leaves.collect(), next)
        });
        ready = (batch, leaves);
        batch = next?;
    }
    importer.finish(sink)
}

fn leaves_of(profile: Profile, part: &Bytes) -> Vec<Leaf> {
    let chunk = |at: usize| profile.leaf(part.slice(at..part.len().min(at + profile.chunk_bytes())));
    (0..part.len()).step_by(profile.chunk_bytes()).map(chunk).collect()
}

/// As many bytes, or fewer at the end of the file.
fn read_batch(file: &mut impl Read, mut buffer: Vec<u8>, bytes: usize) -> io::Result<Bytes> {
    buffer.clear();
    buffer.reserve_exact(bytes);
    file.take(bytes as u64).read_to_end(&mut buffer)?;
    Ok(buffer.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Reads in small portions.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = buffer.len().min(77_777).min(self.0.len());
            self.0.read(&mut buffer[..len])
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_blocks() {
        for profile in [Profile::V1_2025, Profile::V0_2015] {
            let chunk = profile.chunk_bytes();
            for len in [0, 1, chunk, 7 * chunk + 1, 8 * chunk, 16 * chunk, 41 * chunk - 1] {
                let data: Vec<u8> = (0..len).map(|i| (i / 1000 + i % 7) as u8).collect();
                let mut expected = BTreeSet::new();
                let mut sink = |block: Block| {
                    expected.insert(*block.cid());
                    Ok::<(), io::Error>(())
                };
                let mut importer = Importer::new(profile);
                importer.push(&data, &mut sink).unwrap();
                let root = importer.finish(&mut sink).unwrap();
                for threads in [0, 1, 2, 5] {
                    let mut blocks = BTreeSet::new();
                    let mut sink = |block: Block| {
                        blocks.insert(*block.cid());
                        Ok::<(), io::Error>(())
                    };
                    assert_eq!(
                        import(profile, &mut Trickle(&data), threads, &mut sink).unwrap(),
                        root,
                        "{len} {threads}"
                    );
                    assert_eq!(blocks, expected, "{len} {threads}");
                }
            }
        }
    }
}
