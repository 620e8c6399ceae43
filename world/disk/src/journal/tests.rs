use super::*;
use proptest::prelude::*;
use std::io::BufRead;
use std::process::{Command, Stdio};

fn open(dir: &Path) -> (Journal, Recovered) {
    Journal::open(dir).unwrap()
}

fn records(recovered: &Recovered) -> Vec<&[u8]> {
    recovered.records.iter().map(Vec::as_slice).collect()
}

#[test]
fn what_was_flushed_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, recovered) = open(dir.path());
    assert_eq!(recovered, Recovered::default());
    journal.append(&[b"one", b"", b"three"]).unwrap();
    journal.flush().unwrap();
    let (mut journal, recovered) = open(dir.path());
    assert_eq!(records(&recovered), [&b"one"[..], b"", b"three"]);
    journal.append(&[b"four"]).unwrap();
    journal.flush().unwrap();
    assert_eq!(open(dir.path()).1.records.len(), 4);
}

#[test]
fn a_snapshot_replaces_what_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    journal.append(&[b"old"]).unwrap();
    journal.snapshot(b"state").unwrap();
    journal.append(&[b"new"]).unwrap();
    journal.flush().unwrap();
    let (mut journal, recovered) = open(dir.path());
    assert_eq!(recovered.snapshot.as_deref(), Some(&b"state"[..]));
    assert_eq!(records(&recovered), [b"new"]);
    journal.snapshot(b"state 2").unwrap();
    let (_, recovered) = open(dir.path());
    assert_eq!((recovered.snapshot.as_deref(), recovered.records.len()), (Some(&b"state 2"[..]), 0));
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
}

#[test]
fn a_crash_between_log_and_snapshot_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    journal.append(&[b"one"]).unwrap();
    journal.flush().unwrap();
    create_log(dir.path(), 2).unwrap();
    fs::write(dir.path().join("0002.new"), b"half a snapshot").unwrap();
    let (mut journal, recovered) = open(dir.path());
    assert_eq!(records(&recovered), [b"one"]);
    journal.append(&[b"two"]).unwrap();
    journal.flush().unwrap();
    assert_eq!(records(&open(dir.path()).1), [b"one", b"two"]);
}

#[test]
fn golden_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    journal.append(&[b"hello"]).unwrap();
    journal.flush().unwrap();
    let bytes = fs::read(log_path(dir.path(), 1)).unwrap();
    assert_eq!(hex::encode(bytes), "544b4a4c4f47310a0500000077e13ad768656c6c6f");
}

#[test]
fn large_records_are_refused_and_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let large = vec![0; RECORD_BYTES_MAX + 1];
    let result = journal.append(&[b"x", &large]);
    assert!(matches!(result, Err(JournalError::RecordTooLarge { .. })), "{result:?}");
    journal.append(&[&large[1..]]).unwrap();
    journal.flush().unwrap();
    assert_eq!(open(dir.path()).1.records, [vec![0; RECORD_BYTES_MAX]]);
}

#[test]
fn damage_that_no_crash_explains_is_an_error() {
    let build = |dir: &Path| {
        let (mut journal, _) = open(dir);
        journal.append(&[b"one"]).unwrap();
        journal.snapshot(b"state").unwrap();
        journal.append(&[b"two"]).unwrap();
        journal.flush().unwrap();
    };
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 3] = [
        ("a flipped bit in the snapshot", |dir| {
            let mut bytes = fs::read(snap_path(dir, 2)).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(snap_path(dir, 2), bytes).unwrap();
        }),
        ("a missing log", |dir| {
            create_log(dir, 4).unwrap();
        }),
        ("a torn record before the last log", |dir| {
            let path = log_path(dir, 2);
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
            create_log(dir, 3).unwrap();
        }),
    ];
    for (name, damage) in cases {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path());
        damage(dir.path());
        let result = Journal::open(dir.path());
        assert!(matches!(result, Err(JournalError::Damaged { .. })), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// A cut leaves the records before it, a flipped byte all but the one it hits; appending goes on.
    #[test]
    fn any_damage_costs_as_little_as_it_can(
        list in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..60), 1..12),
        at in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        for record in &list {
            journal.append(&[record]).unwrap();
        }
        journal.flush().unwrap();
        let path = log_path(dir.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        let at = LOG_MAGIC.len() + at.index(bytes.len() - LOG_MAGIC.len());
        if is_cut { bytes.truncate(at) } else { bytes[at] ^= 0x40 }
        fs::write(&path, &bytes).unwrap();
        let (mut journal, recovered) = open(dir.path());
        let kept = recovered.records.len();
        let ends: Vec<usize> = list.iter().scan(LOG_MAGIC.len(), |end, r| { *end += r.len() + 8; Some(*end) }).collect();
        let hit = ends.iter().position(|end| at < *end).unwrap();
        let left: Vec<Vec<u8>> =
            list.iter().enumerate().filter(|(n, _)| if is_cut { *n < hit } else { *n != hit }).map(|(_, r)| r.clone()).collect();
        prop_assert_eq!(&recovered.records, &left);
        let is_last = hit + 1 == list.len();
        let size = if is_cut { at - hit.checked_sub(1).map_or(LOG_MAGIC.len(), |n| ends[n]) } else { list[hit].len() + 8 };
        let (torn, damaged) = if is_cut || is_last { (size, 0) } else { (0, size) };
        prop_assert_eq!((recovered.torn_bytes, recovered.damaged_bytes), (torn as u64, damaged as u64));
        prop_assert_eq!(recovered.kept.is_some(), torn + damaged > 0);
        prop_assert!(recovered.kept.is_none_or(|path| path.exists()));
        journal.append(&[b"after"]).unwrap();
        journal.flush().unwrap();
        let (_, recovered) = open(dir.path());
        prop_assert_eq!((recovered.records.len(), recovered.torn_bytes), (kept + 1, 0));
        prop_assert_eq!(recovered.damaged_bytes, damaged as u64, "until a snapshot replaces the segment");
    }

    #[test]
    fn random_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), with_magic: bool) {
        let dir = tempfile::tempdir().unwrap();
        let magic = if with_magic { &LOG_MAGIC[..] } else { &[] };
        fs::write(log_path(dir.path(), 1), [magic, &bytes].concat()).unwrap();
        let _ = Journal::open(dir.path());
    }
}

/// What the child of the next test writes: record `n` has a length and content known from `n`.
fn numbered(n: u64) -> Vec<u8> {
    [&n.to_le_bytes()[..], &vec![n as u8; (n * 7919 % 3000) as usize]].concat()
}

/// Runs as the child process of `kill_9_keeps_what_was_flushed`; does nothing otherwise.
#[test]
fn child_appends_until_killed() {
    let Ok(dir) = std::env::var("TALKOO_TEST_JOURNAL") else { return };
    let (mut journal, recovered) = open(Path::new(&dir));
    let snapshot = recovered.snapshot.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    let mut n = snapshot + recovered.records.len() as u64;
    loop {
        for _ in 0..10 {
            journal.append(&[&numbered(n)]).unwrap();
            n += 1;
        }
        journal.flush().unwrap();
        writeln!(io::stdout(), "\nflushed {n}").unwrap();
        if n.is_multiple_of(150) {
            journal.snapshot(&n.to_le_bytes()).unwrap();
        }
    }
}

#[test]
fn kill_9_keeps_what_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let mut promised = 0;
    for round in 0..8_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::child_appends_until_killed", "--nocapture"])
            .env("TALKOO_TEST_JOURNAL", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let goal = promised + 30 + round * 37;
        for line in io::BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(n) = line.unwrap().strip_prefix("flushed ") {
                promised = n.parse().unwrap();
            }
            if promised >= goal {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(promised >= goal, "the child ended by itself");

        let (journal, recovered) = open(dir.path());
        drop(journal);
        let start = recovered.snapshot.map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
        let end = start + recovered.records.len() as u64;
        assert!(end >= promised, "round {round}: {promised} were promised, {end} are there");
        for (i, record) in recovered.records.iter().enumerate() {
            assert_eq!(*record, numbered(start + i as u64), "round {round}");
        }
    }
}
