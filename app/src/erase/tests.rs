//! What goes from a data folder, by a clock that is only told.

use super::receipts::{Wanted, belongs, has, leave, remove, strip};
use super::*;
use crate::audit::tests::{kept, key};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};
use talkoo_base::{Digest, JobId};
use talkoo_proof::Kept;
use talkoo_proof::kept::Disclosure;

const DAY_S: u64 = 24 * 3_600;
/// Tokens that nothing else has.
const SECRET: [u32; 2] = [0x5ec2_e701, 0x5ec2_e702];

/// A receipt that discloses its prompt, written at a time.
fn receipt(dir: &Path, kind: &str, job: &str, at: u64) -> PathBuf {
    let open = Disclosure {
        prompt_salt: Digest([6; 32]),
        trace_salt: Digest([7; 32]),
        prompt: SECRET.to_vec(),
        output: SECRET.to_vec(),
    };
    let path = dir.join(kind).join(job).join("00001-ab.receipt");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, Kept { disclosure: Some(open), ..kept(&key(8), 1) }.to_bytes()).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(at)).unwrap();
    path
}

fn discloses(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.windows(4).any(|part| part == SECRET[0].to_be_bytes())
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn no_path_is_a_job() {
    let dir = tempfile::tempdir().unwrap();
    receipt(dir.path(), "receipts", "aa", 100);
    let outside = tempfile::tempdir().unwrap();
    for name in ["..", ".", "../receipts", "aa/", "aa/.", outside.path().to_str().unwrap()] {
        assert!(!has(dir.path(), name), "{name}");
    }
    assert!(has(dir.path(), "aa"));
}

#[test]
fn words_go_from_the_receipts_that_are_meant_and_their_time_stays() {
    let (ours, open, none) = (names(&["aa"]), names(&["cc"]), BTreeSet::new());
    let job = JobId(Digest([5; 32]));
    // (jobs, key, before) and which of aa, bb, cc, and the key's are stripped; cc is not over.
    let cases = [
        (None, None, 1_000, [true, true, false, true]),
        (None, None, 150, [true, false, false, false]),
        (Some(&ours), None, 1_000, [true, false, false, false]),
        (Some(&open), None, 1_000, [false; 4]),
        (Some(&none), Some("key_a"), 1_000, [false, false, false, true]),
    ];
    for (jobs, who, before, want) in cases {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        belongs(dir, &job, "key_a").unwrap();
        let paths = [
            receipt(dir, "receipts", "aa", 100),
            receipt(dir, "evidence", "bb", 200),
            receipt(dir, "receipts", "cc", 100),
            receipt(dir, "receipts", &job.to_string(), 200),
        ];
        fs::write(paths[0].with_extension("part"), "half").unwrap();
        fs::write(paths[0].with_file_name("00002-cd.receipt"), "no receipt").unwrap();
        let wanted = Wanted { jobs, key: who, before, open: &open };
        let (mut counted, mut done, mut left) = (Tally::default(), Tally::default(), Vec::new());
        strip(dir, &wanted, false, &mut counted, &mut Vec::new()).unwrap();
        assert!(paths.iter().all(|path| discloses(path)), "nothing is done by looking");
        strip(dir, &wanted, true, &mut done, &mut left).unwrap();
        assert_eq!(paths.each_ref().map(|path| !discloses(path)), want, "{who:?} {before}");
        let many = want.iter().filter(|is| **is).count() as u64;
        assert_eq!((counted, done.count("receipts")), (done.clone(), many));
        for (path, at) in paths.iter().zip([100, 200, 100, 200]) {
            let written = fs::metadata(path).unwrap().modified().unwrap();
            assert_eq!(written, UNIX_EPOCH + Duration::from_secs(at));
            assert!(talkoo_proof::verify_kept(&Kept::from_bytes(&fs::read(path).unwrap()).unwrap().stripped()).is_ok());
        }
        assert_eq!(paths[0].with_extension("part").exists(), !want[0], "halves go too");
        let young = fs::metadata(paths[0].with_file_name("00002-cd.receipt")).unwrap().modified().unwrap();
        assert!(young > UNIX_EPOCH + Duration::from_secs(before) && left.is_empty(), "{left:?}");
    }
}

#[test]
fn receipts_go_when_their_days_are_over_and_leave_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let job = JobId(Digest([5; 32]));
    belongs(dir, &job, "key_a").unwrap();
    let (old, young) = (receipt(dir, "receipts", &job.to_string(), 100), receipt(dir, "receipts", "bb", 200));
    let open = receipt(dir, "evidence", "cc", 100);
    for (before, removed, is_there) in [(0, 0, true), (100, 0, true), (150, 1, false)] {
        let mut tally = Tally::default();
        remove(dir, before, &names(&["cc"]), true, &mut tally).unwrap();
        assert_eq!((tally.count("receipts_removed"), old.exists()), (removed, is_there), "{before}");
    }
    assert!(young.exists() && open.exists() && !old.parent().unwrap().exists());
    // A job that was forgotten before it had a receipt.
    belongs(dir, &job, "key_a").unwrap();
    leave(dir, &job).unwrap();
    leave(dir, &job).unwrap();
    assert!(!old.parent().unwrap().exists() && young.exists());
}

#[test]
fn what_is_due_follows_from_the_clock() {
    let now = 100 * DAY_S;
    let cases = [
        ((None, None), None),
        ((Some(30), None), Some((Some(70 * DAY_S), None))),
        ((None, Some(1)), Some((None, Some(99 * DAY_S)))),
        ((Some(0), Some(36_500)), Some((Some(now - 3_600), Some(0)))),
    ];
    for ((prompts, receipts), want) in cases {
        let due = Retention { prompts, receipts }.due(now).map(|due| (due.prompts, due.receipts));
        assert_eq!(due, want, "{prompts:?} {receipts:?}");
    }
    assert!(Retention { prompts: Some(0), receipts: None }.period() < Duration::from_secs(3_600));
    assert_eq!(Retention { prompts: Some(1), receipts: None }.period(), Duration::from_secs(DAY_S));
}

#[test]
fn when_a_job_was_over_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = |jobs: &[&str], now| Ages::open(dir.path(), names(jobs).into_iter(), now).unwrap();
    let mut ages = open(&["a"], 100);
    ages.note("b".to_owned(), 200).unwrap();
    // `c` was closed, and the node killed before it said so.
    let ages = open(&["a", "b", "c"], 300);
    assert_eq!(["a", "b", "c", "d"].map(|job| ages.of(job)), [Some(100), Some(200), Some(300), None]);
    open(&["c"], 400);
    assert_eq!(fs::read_to_string(dir.path().join("jobs.over")).unwrap(), "c 300\n");
}

#[test]
fn an_intent_is_there_until_it_is_closed_and_a_damaged_one_is_said() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Intent::open(dir.path()).unwrap(), None);
    let intent = Intent { key: Some("key_a".into()), ..Intent::before(7) };
    intent.write(dir.path()).unwrap();
    assert_eq!(Intent::open(dir.path()).unwrap(), Some(intent));
    Intent::close(dir.path()).unwrap();
    Intent::close(dir.path()).unwrap();
    assert_eq!(Intent::open(dir.path()).unwrap(), None);
    for damaged in ["{", "{\"version\":9,\"job\":null,\"key\":null,\"prompts\":1,\"receipts\":null}"] {
        fs::write(dir.path().join("erasing.json"), damaged).unwrap();
        assert!(Intent::open(dir.path()).is_err(), "{damaged}");
    }
}
