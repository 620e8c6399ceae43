//! What is kept, and what a kill leaves of it.

use super::*;

fn seen(key: u8, request: u8) -> Seen {
    Seen { key: Digest([key; 32]), request: Digest([request; 32]) }
}

fn first(turn: Result<Turn, NotNow>) -> Digest {
    match turn {
        Ok(Turn::First(own)) => own,
        other => panic!("not the first: {other:?}"),
    }
}

#[test]
fn the_same_request_gets_the_first_answer_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repeats");
    // The power went in the middle of a letter.
    std::fs::write(&path, b"{\"key\":\"\xc3").unwrap();
    let repeats = Repeats::open(&path).unwrap();
    first(repeats.begin(seen(1, 1)));
    assert_eq!(repeats.begin(seen(1, 1)), Err(NotNow::Runs));
    assert_eq!(repeats.begin(seen(1, 2)), Err(NotNow::Other));
    repeats.answer(&seen(1, 1).key, &Ok(json!({"job": "x"})), false);
    first(repeats.begin(seen(2, 1)));
    let no = Refusal::new(RefusalCode::Denied, "no", "ask").with(2, 1);
    repeats.answer(&seen(2, 1).key, &Err(no.clone()), false);
    let own = first(repeats.begin(seen(3, 3)));
    first(repeats.begin(seen(4, 4)));
    repeats.free(&seen(4, 4).key);
    first(repeats.begin(seen(4, 5)));
    // A kill, in the middle of a line.
    drop(repeats);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n{{\"key\":\"05")).unwrap();
    for _ in 0..2 {
        let repeats = Repeats::open(&path).unwrap();
        assert_eq!(repeats.begin(seen(1, 1)), Ok(Turn::Again(Ok(json!({"job": "x"})))));
        assert_eq!(repeats.begin(seen(1, 2)), Err(NotNow::Other));
        assert_eq!(repeats.begin(seen(2, 1)), Ok(Turn::Again(Err(no.clone()))));
        // What follows from it has the same id as before.
        assert_eq!(repeats.begin(seen(3, 3)), Ok(Turn::Unknown(own)));
        assert_eq!(repeats.begin(seen(3, 3)), Err(NotNow::Runs));
        assert_eq!(repeats.begin(seen(4, 4)), Err(NotNow::Other));
    }
}

#[test]
fn a_line_that_was_cut_off_spoils_none_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repeats");
    let repeats = Repeats::open(&path).unwrap();
    // What a full disk may leave behind.
    repeats.0.lock().unwrap().file.write_all(b"\n{\"key\":\"0").unwrap();
    first(repeats.begin(seen(1, 1)));
    drop(repeats);
    assert!(matches!(Repeats::open(&path).unwrap().begin(seen(1, 1)), Ok(Turn::Unknown(_))));
}

#[test]
fn what_is_over_is_forgotten_and_what_is_kept_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repeats");
    let old = Record { request: Digest([1; 32]), at: unix() - REPEAT_S, state: State::Unknown };
    std::fs::write(&path, begun(&Digest([1; 32]), &old)).unwrap();
    let repeats = Repeats::open(&path).unwrap();
    first(repeats.begin(seen(1, 2)));
    {
        let mut kept = repeats.0.lock().unwrap();
        for number in 0..REPEATS_MAX {
            let key = sha256(&[&number.to_be_bytes()]);
            kept.records.insert(key, Record { request: key, at: unix(), state: State::Unknown });
        }
    }
    assert_eq!(repeats.begin(seen(9, 9)), Err(NotNow::Full));
    // One that is too large to be kept is not done again.
    let key = sha256(&[&0_usize.to_be_bytes()]);
    repeats.answer(&key, &Ok(json!("x".repeat(REPEAT_ANSWER_BYTES_MAX))), false);
    assert!(matches!(repeats.begin(Seen { key, request: key }), Ok(Turn::Unknown(_))));
}

#[test]
fn a_key_is_visible_and_short() {
    for (text, is_good) in
        [("a", true), (&*"~".repeat(255), true), ("", false), (&"a".repeat(256), false), ("a b", false), ("ä", false)]
    {
        assert_eq!(key_of(text).is_ok(), is_good, "{text}");
    }
}

#[test]
fn an_erased_answer_is_nowhere_and_its_request_is_not_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repeats");
    let repeats = Arc::new(Repeats::open(&path).unwrap());
    for (key, answer) in [(1, "violet"), (2, "green"), (3, "violet")] {
        first(repeats.begin(seen(key, key)));
        repeats.answer(&seen(key, key).key, &Ok(json!({"job": answer})), false);
    }
    first(repeats.begin(seen(4, 4)));
    let repeated = Repeated(repeats.clone());
    let words = |word: &str| std::fs::read_to_string(&path).unwrap().matches(word).count();
    let soon = unix() + 1;
    assert_eq!(repeated.erase(None, unix() - 60, true).unwrap().0, 0, "it is younger");
    assert_eq!((repeated.erase(Some("violet"), soon, false).unwrap().0, words("violet")), (2, 2));
    assert_eq!((repeated.erase(Some("violet"), soon, true).unwrap().0, words("violet"), words("green")), (2, 0, 1));
    assert_eq!(repeated.erase(Some("violet"), soon, true).unwrap(), (0, 0));
    for repeats in [repeats, Arc::new(Repeats::open(&path).unwrap())] {
        assert_eq!(repeats.begin(seen(1, 1)), Err(NotNow::Erased));
        assert_eq!(repeats.begin(seen(2, 2)), Ok(Turn::Again(Ok(json!({"job": "green"})))));
        // What is under way keeps its place in the file.
        assert!(matches!(repeats.begin(seen(4, 4)), Err(NotNow::Runs) | Ok(Turn::Unknown(_))));
    }
    // After their 24 hours answers are not in the file, whoever keeps the rest.
    let repeats = Repeats::open(&path).unwrap();
    repeats.0.lock().unwrap().records.values_mut().for_each(|record| record.at -= REPEAT_S);
    Repeated(Arc::new(repeats)).erase(None, 0, true).unwrap();
    assert_eq!(words("green"), 0);
}

#[test]
fn a_secret_is_told_again_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("repeats");
    let repeats = Repeats::open(&path).unwrap();
    first(repeats.begin(seen(1, 1)));
    let answer = Ok(json!({"key": "sk-talkoo-1"}));
    repeats.answer(&seen(1, 1).key, &answer, true);
    assert_eq!(repeats.begin(seen(1, 1)), Ok(Turn::Again(answer)));
    // Also when the file is written anew.
    Repeated(Arc::new(repeats)).erase(Some("another"), u64::MAX, true).unwrap();
    assert!(!std::fs::read_to_string(&path).unwrap().contains("sk-talkoo"));
    let repeats = Repeats::open(&path).unwrap();
    assert_eq!(repeats.begin(seen(1, 1)), Err(NotNow::Erased), "it was done, and is not done again");
}
