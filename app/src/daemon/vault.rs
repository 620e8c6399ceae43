//! What a job asks and what it was answered: private blocks, sealed under the job's own key before
//! they are hashed. The journal holds their names only, so neither a copy of the journal nor of the
//! block store tells anybody a word of it.
//!
//! Journal record: an event's own bytes (they begin with its version, 1), or the byte 2 and canonical
//! DAG-CBOR of [`Sealed`]. Job key: SHA-256("talkoo/job-key/1" ‖ node key ‖ job id).

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use talkoo_base::wire::{decode_shape, encode};
use talkoo_base::{Cid, JobId, sha256};
use talkoo_disk::Blocks;
use talkoo_disk::blocks::Sync;
use talkoo_job::Event as JobEvent;
use talkoo_node::Event;
use talkoo_store::seal::{JobKey, OVERHEAD_BYTES, open, seal};
use talkoo_store::{Block, RAW};

/// First byte of a sealed record.
const SEALED: u8 = 2;
/// Plain bytes of one object, so that it is one block of 1 MiB.
const PIECE_BYTES: usize = (1 << 20) - OVERHEAD_BYTES;

/// An event that is not in the journal itself.
#[derive(Serialize, Deserialize)]
struct Sealed {
    job: JobId,
    /// The pieces of its bytes, in order.
    objects: Vec<Cid>,
}

/// What a record turns out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// An event.
    Event(Box<Event>),
    /// An event of this job whose objects are gone or damaged.
    Lost { job: JobId, why: String },
}

/// Writes and reads the records of the journal.
pub(super) struct Vault {
    blocks: Arc<Blocks>,
    secret: [u8; 32],
    /// What each job has in the store.
    objects: BTreeMap<JobId, BTreeSet<Cid>>,
}

impl Vault {
    pub(super) fn new(blocks: Arc<Blocks>, node_key: [u8; 32]) -> Self {
        Self { blocks, secret: node_key, objects: BTreeMap::new() }
    }

    fn key(&self, job: &JobId) -> JobKey {
        JobKey::new(sha256(&[b"talkoo/job-key/1", &self.secret, &job.0.0]).0)
    }

    /// The records of some events. The objects they name are durable when this returns.
    pub(super) fn write<'a>(&mut self, events: impl Iterator<Item = &'a Event>) -> Result<Vec<Vec<u8>>> {
        let mut blocks = Vec::new();
        let records = events.map(|event| self.record(event, &mut blocks)).collect::<Result<_>>()?;
        if !blocks.is_empty() {
            self.blocks.put_own(&blocks, Sync::Later)?;
            self.blocks.flush()?;
        }
        Ok(records)
    }

    fn record(&mut self, event: &Event, blocks: &mut Vec<Block>) -> Result<Vec<u8>> {
        let bytes = event.to_bytes();
        let Some(job) = job_of(event) else { return Ok(bytes) };
        let key = self.key(&job);
        let mut objects = Vec::new();
        for (number, piece) in (0u32..).zip(bytes.chunks(PIECE_BYTES)) {
            let block = Block::of(RAW, seal(&key, &label(number), piece)?.into())?;
            objects.push(*block.cid());
            blocks.push(block);
        }
        self.objects.entry(job).or_default().extend(&objects);
        Ok([&[SEALED], encode(&Sealed { job, objects }).as_slice()].concat())
    }

    /// The event of a record; [`Entry::Lost`] if what it names cannot be read any more.
    pub(super) fn read(&mut self, record: &[u8]) -> Result<Entry> {
        let Some((&SEALED, sealed)) = record.split_first() else {
            return Ok(Entry::Event(Box::new(Event::from_bytes(record)?)));
        };
        let sealed: Sealed = decode_shape(sealed)?;
        self.objects.entry(sealed.job).or_default().extend(&sealed.objects);
        Ok(match self.open(&sealed) {
            Ok(event) => Entry::Event(Box::new(event)),
            Err(why) => Entry::Lost { job: sealed.job, why: format!("{why:#}") },
        })
    }

    /// Deletes what a job has in the store.
    pub(super) fn forget(&mut self, job: &JobId) -> Result<()> {
        let objects: Vec<Cid> = self.objects.remove(job).unwrap_or_default().into_iter().collect();
        self.blocks.delete(&objects)?;
        Ok(())
    }

    /// Bytes that a job has in the store.
    pub(super) fn bytes_of(&self, job: &JobId) -> u64 {
        let held = |cid: &Cid| self.blocks.info(cid).ok().flatten().map_or(0, |info| info.bytes);
        self.objects.get(job).into_iter().flatten().map(held).sum()
    }

    fn open(&self, sealed: &Sealed) -> Result<Event> {
        let key = self.key(&sealed.job);
        let mut bytes = Vec::new();
        for (number, cid) in (0u32..).zip(&sealed.objects) {
            let block = self.blocks.get(cid)?.with_context(|| format!("the private block {cid} is gone"))?;
            bytes.extend(open(&key, &label(number), block.bytes()).with_context(|| format!("private block {cid}"))?);
        }
        let event = Event::from_bytes(&bytes)?;
        ensure!(job_of(&event) == Some(sealed.job), "a sealed event is of another job than its record says");
        Ok(event)
    }

    /// A snapshot: records, each after its length (4 bytes, little-endian).
    pub(super) fn pack(records: &[Vec<u8>]) -> Vec<u8> {
        let length = |r: &Vec<u8>| u32::try_from(r.len()).expect("a record has less than 4 GiB").to_le_bytes();
        records.iter().flat_map(|r| [length(r).as_slice(), r].concat()).collect()
    }

    /// The records of a snapshot.
    pub(super) fn unpack(mut snapshot: &[u8]) -> Result<Vec<&[u8]>> {
        let mut records = Vec::new();
        while !snapshot.is_empty() {
            let (length, rest) = snapshot.split_first_chunk().context("the snapshot ends within a length")?;
            let length = u32::from_le_bytes(*length) as usize;
            let (record, rest) = rest.split_at_checked(length).context("the snapshot ends within a record")?;
            records.push(record);
            snapshot = rest;
        }
        Ok(records)
    }
}

fn label(number: u32) -> [u8; 22] {
    let mut label = *b"talkoo/job/record/0000";
    label[18..].copy_from_slice(&number.to_be_bytes());
    label
}

/// The job whose words an event holds.
fn job_of(event: &Event) -> Option<JobId> {
    match event {
        Event::Job(JobEvent::Posted(spec)) => Some(spec.id),
        Event::Job(JobEvent::Done { job, .. }) => Some(*job),
        Event::Job(
            JobEvent::Failed { .. } | JobEvent::Revoked { .. } | JobEvent::Forgotten { .. } | JobEvent::Closed { .. },
        )
        | Event::Market(_)
        | Event::Proof(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use talkoo_base::{Amount, AuditPolicy, Digest, Finish, NodeId, Price, SecretKey, Tier};
    use talkoo_disk::BlocksConfig;
    use talkoo_job::{Done, JobSpec, StepSpec};

    const JOB: JobId = JobId(Digest([1; 32]));
    const SECRET: [u32; 3] = [0x5ec2_e701, 0x5ec2_e702, 0x5ec2_e703];

    fn posted(steps: usize) -> Event {
        let step = StepSpec { custom_id: "a".into(), prompt: SECRET.repeat(100), params: vec![0xa0], seed: 1 };
        Event::Job(JobEvent::Posted(JobSpec {
            id: JOB,
            name: "model".into(),
            program: Digest([2; 32]),
            tier: Tier::Exact,
            kind: talkoo_base::Kind::Generate,
            context: 512,
            steps: vec![step; steps],
            copies: true,
            price_max: Price { input: 1, output: 2 },
            nodes_max: 4,
            own: false,
            audit: AuditPolicy::Drawn,
            prefer: talkoo_base::Preferences::default(),
        }))
    }

    fn node() -> NodeId {
        SecretKey::from_bytes(&[9; 32]).unwrap().node_id()
    }

    fn done() -> Event {
        let node = node();
        let (tokens, logprobs) = (SECRET.to_vec(), Vec::new());
        let done = Done { node, number: 0, tokens, logprobs, finish: Finish::Stop, audited: true };
        Event::Job(JobEvent::Done { job: JOB, step: 0, done })
    }

    fn vault(dir: &std::path::Path, key: u8) -> Vault {
        Vault::new(Arc::new(Blocks::open(dir, BlocksConfig { quota_bytes: 1 << 20 }).unwrap()), [key; 32])
    }

    #[test]
    fn what_was_written_is_read_again_also_by_the_next_process() {
        let dir = tempfile::tempdir().unwrap();
        let plain = Event::Proof(talkoo_proof::Event::Paid { node: node(), total: Amount(5) });
        // Larger than one piece, and than what a record of the journal may hold.
        let events = [posted(12_000), done(), plain, posted(1)];
        let records = vault(dir.path(), 7).write(events.iter()).unwrap();
        assert!(events[0].to_bytes().len() > 16 << 20 && records[0].len() < 4_096);
        let mut again = vault(dir.path(), 7);
        for (record, event) in records.iter().zip(&events) {
            assert_eq!(again.read(record).unwrap(), Entry::Event(Box::new(event.clone())));
        }
        let packed = Vault::pack(&records);
        assert_eq!(Vault::unpack(&packed).unwrap(), records);
        assert!(Vault::unpack(&packed[..packed.len() - 1]).is_err() && Vault::unpack(&packed[1..]).is_err());
        // Written again, as a snapshot does, it is the same object.
        assert_eq!(again.write(events.iter()).unwrap(), records);
    }

    #[test]
    fn no_word_of_a_job_lies_on_disk_in_clear() {
        let dir = tempfile::tempdir().unwrap();
        let mut vault = vault(dir.path(), 7);
        let records = vault.write([posted(40), done()].iter()).unwrap();
        let secret = [0x1a, 0x5e, 0xc2, 0xe7, 0x01];
        assert!(done().to_bytes().windows(5).any(|w| w == secret), "the canary is in the event");
        drop(vault);
        let mut files = vec![dir.path().to_owned()];
        let mut seen = 0;
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(std::fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            seen += bytes.len();
            assert!(!bytes.windows(5).any(|w| w == secret), "{}", path.display());
        }
        assert!(seen > 40 * 300 * 5 && !records.concat().windows(5).any(|w| w == secret));
    }

    #[test]
    fn nothing_is_left_of_a_forgotten_job() {
        let dir = tempfile::tempdir().unwrap();
        let records = vault(dir.path(), 7).write([posted(12_000), done()].iter()).unwrap();
        let mut again = vault(dir.path(), 7);
        assert!(records.iter().all(|record| matches!(again.read(record), Ok(Entry::Event(_)))));
        assert!(again.blocks.usage().unwrap().blocks > 10);
        again.forget(&JOB).unwrap();
        again.forget(&JOB).unwrap();
        assert_eq!(again.blocks.usage().unwrap().blocks, 0);
        assert!(matches!(again.read(&records[1]), Ok(Entry::Lost { .. })));
    }

    #[test]
    fn another_key_or_a_missing_block_loses_one_event_and_garbage_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let record = vault(dir.path(), 7).write([done()].iter()).unwrap().remove(0);
        let lost = |mut vault: Vault| match vault.read(&record).unwrap() {
            Entry::Lost { job: JOB, why } => why,
            other => panic!("{other:?}"),
        };
        assert!(lost(vault(dir.path(), 8)).contains("does not open"));
        let elsewhere = tempfile::tempdir().unwrap();
        assert!(lost(vault(elsewhere.path(), 7)).contains("is gone"));
        for garbage in [&[][..], &[2], &[2, 0xa0], &[9, 9]] {
            assert!(vault(elsewhere.path(), 7).read(garbage).is_err());
        }
    }
}
