//! What is meant, and what a kill between any two steps leaves: nothing, after the next start.

use super::*;
use crate::batches::Batches;
use crate::files::Files;
use crate::hooks::Hooks;
use crate::keys::Keys;
use crate::responses::Kept;
use tokio_util::sync::CancellationToken;

const WORD: &str = "violet";

fn open(dir: &Path) -> Keepsakes {
    Keepsakes {
        kept: Arc::new(Kept::open(dir.join("responses"), CancellationToken::new()).unwrap().0),
        files: Arc::new(Files::open(dir.join("files")).unwrap()),
        batches: Arc::new(Batches::open(dir.join("batches")).unwrap()),
        hooks: Arc::new(Hooks::open(dir.join("webhooks")).unwrap()),
        keys: Arc::new(Keys::open(&dir.join("keys.json"), true).unwrap()),
    }
}

fn response(dir: &Path, number: u8, who: &str, more: &Value) {
    let id = format!("resp_{number:024x}");
    let mut response = json!({"id": id, "status": "completed", "created_at": 100, "completed_at": 100, "output": WORD});
    response.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let record = json!({"who": who, "response": response, "items": [WORD]});
    std::fs::write(dir.join(format!("responses/{id}.json")), record.to_string()).unwrap();
}

fn file(dir: &Path, number: u8, who: &str, at: u64, text: &str) -> String {
    let id = format!("file-{number:024x}");
    let about = json!({"id": id, "bytes": 1, "created_at": at, "filename": "a", "purpose": "batch", "who": who});
    std::fs::write(dir.join(format!("files/{id}.json")), about.to_string()).unwrap();
    std::fs::write(dir.join(format!("files/{id}.bytes")), text).unwrap();
    id
}

fn batch(dir: &Path, number: u8, who: &str, status: &str, files: [&str; 2]) {
    let id = format!("batch_{number:024x}");
    let over = (status == "completed").then_some(files[1]);
    let batch = json!({
        "id": id, "who": who, "endpoint": "/v1/responses", "input_file_id": files[0], "metadata": {"a": WORD}, "status": status,
        "created_at": 100, "expires_at": 200, "times": {status: 300}, "counts": {"total": 1, "completed": 1, "failed": 0},
        "usage": {"input": 1, "output": 1}, "errors": [], "output_file_id": over, "error_file_id": null,
    });
    std::fs::write(dir.join(format!("batches/{id}.json")), batch.to_string()).unwrap();
}

/// Three responses, of which one goes on with another, two batches and their files, an event, a decision.
fn filled(dir: &Path) {
    let keepsakes = open(dir);
    response(dir, 1, "key_a", &json!({"talkoo": {"job": "j1"}}));
    let next = json!({"previous_response_id": format!("resp_{:024x}", 1), "completed_at": 400});
    response(dir, 2, "key_a", &next);
    response(dir, 3, "owner", &json!({}));
    let line = json!({"response": {"body": {"talkoo": [{"job": "j2"}], "text": WORD}}}).to_string();
    let done = [file(dir, 1, "key_a", 100, WORD), file(dir, 2, "key_a", 300, &line)];
    batch(dir, 1, "key_a", "completed", [&done[0], &done[1]]);
    let open = file(dir, 3, "owner", 100, WORD);
    batch(dir, 2, "owner", "in_progress", [&open, ""]);
    keepsakes.hooks.create("http://127.0.0.1:1/", Vec::new()).unwrap();
    keepsakes.hooks.tell("batch.completed", &format!("batch_{:024x}", 1));
    let decision = json!({"time": 100, "key": "key_a", "decision": "allowed", "why": WORD});
    std::fs::write(dir.join("keys-audit.jsonl"), format!("\n{decision}\n\n{{\"cut off")).unwrap();
}

/// Files in which the word stands, by their folder and name.
fn with_word(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if String::from_utf8_lossy(&std::fs::read(&path).unwrap()).contains(WORD) {
                found.push(path.strip_prefix(dir).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn which(who: Option<&str>, one: Option<&str>, before: u64) -> Which {
    Which { who: who.map(str::to_owned), one: one.map(str::to_owned), before }
}

#[test]
fn what_is_meant_goes_and_nothing_else() {
    let (one, two, three) = (format!("resp_{:024x}", 1), format!("resp_{:024x}", 2), format!("resp_{:024x}", 3));
    let (done, open_batch) = (format!("batch_{:024x}", 1), format!("batch_{:024x}", 2));
    let mut cases = vec![
        // (which, responses, batches, files, jobs, running, words)
        (which(None, None, 1_000), 3, 1, 2, vec!["j1"], 2, 1),
        (which(Some("key_a"), None, 1_000), 2, 1, 2, vec!["j1", "j2"], 0, 1),
        (which(Some("key_b"), None, 1_000), 0, 0, 0, vec![], 0, 0),
        (which(None, None, 101), 2, 0, 0, vec!["j1"], 0, 1),
        (which(None, None, 100), 0, 0, 0, vec![], 0, 0),
        // What goes on with it has its words.
        (which(None, Some(&one), 1_000), 2, 0, 0, vec!["j1"], 0, 0),
        (which(None, Some("j1"), 1_000), 2, 0, 0, vec!["j1"], 0, 0),
        (which(None, Some(&two), 1_000), 1, 0, 0, vec![], 0, 0),
        (which(None, Some(&three), 1_000), 1, 0, 0, vec![], 0, 0),
        (which(None, Some(&done), 1_000), 0, 1, 2, vec!["j2"], 0, 0),
        (which(None, Some(&open_batch), 1_000), 0, 0, 0, vec![], 2, 0),
        (which(None, Some("j2"), 1_000), 0, 0, 0, vec![], 0, 0),
    ];
    for (which, responses, batches, files, jobs, running, words) in cases.drain(..) {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let keepsakes = open(dir.path());
        let found = keepsakes.find(&which).unwrap();
        let counts = ["responses", "batches", "files", "payment_words"].map(|kind| found.tally.count(kind));
        assert_eq!(counts, [responses, batches, files, words], "{which:?}");
        assert_eq!(found.jobs.iter().map(String::as_str).collect::<Vec<_>>(), jobs, "{which:?}");
        assert_eq!((found.running.len(), found.tally.count("events")), (running, batches), "{which:?}");
        assert_eq!(!found.within.is_empty(), which.one.as_deref() == Some("j2"), "{which:?}");
        keepsakes.erase(&found).unwrap();
        let again = keepsakes.find(&which).unwrap();
        assert!(again.tally.is_empty() && again.running.len() == running, "{which:?}: {again:?}");
    }
}

#[test]
fn a_kill_after_any_step_loses_sight_of_nothing() {
    let left = |dir: &Path| with_word(dir).iter().filter(|name| !name.contains(&format!("{:024x}", 2))).count();
    let all = which(None, None, 1_000);
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let keepsakes = open(dir.path());
        let found = keepsakes.find(&all).unwrap();
        let is_last = steps > found.paths.len();
        // As far as a kill let it come: events first, then file by file.
        keepsakes.hooks.forget_about(&found.objects);
        found.paths.iter().take(steps).for_each(|path| remove(path).unwrap());
        drop(keepsakes);
        // Halves that a kill leaves of what is being written.
        std::fs::write(dir.path().join("responses/resp_09.new"), WORD).unwrap();
        std::fs::write(dir.path().join("batches/batch_09.out.part"), WORD).unwrap();
        std::fs::write(dir.path().join(format!("files/file-{:024x}.bytes", 9)), WORD).unwrap();
        let keepsakes = open(dir.path());
        keepsakes.erase(&keepsakes.find(&all).unwrap()).unwrap();
        // What is left belongs to the batch that is worked at.
        let open = [format!("batches/batch_{:024x}.json", 2), format!("files/file-{:024x}.bytes", 3)];
        assert_eq!((with_word(dir.path()), left(dir.path())), (open.to_vec(), 1), "after {steps} steps");
        if is_last {
            return;
        }
    }
}

#[test]
fn what_can_not_be_read_is_nobody_s_and_goes_with_all() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    filled(dir);
    let (file, batch) = (format!("files/file-{:024x}", 3), format!("batches/batch_{:024x}", 2));
    for damaged in [&file, &batch] {
        std::fs::write(dir.join(format!("{damaged}.json")), format!("{{\"cut {WORD}")).unwrap();
    }
    std::fs::write(dir.join(format!("{batch}.out")), WORD).unwrap();
    let keepsakes = open(dir);
    let erase = |who: Option<&str>, before| {
        let found = keepsakes.find(&Which { who: who.map(str::to_owned), one: None, before }).unwrap();
        keepsakes.erase(&found).unwrap();
        with_word(dir)
    };
    let ours = [".bytes", ".json"].map(|end| format!("{file}{end}"));
    let batches = [".json", ".out"].map(|end| format!("{batch}{end}"));
    let holds = |left: &[String]| ours.iter().chain(&batches).all(|name| left.contains(name));
    assert!(holds(&erase(Some("key_a"), u64::MAX)), "nobody knows that it is the key's");
    assert!(holds(&erase(None, 1_000)), "it was written later");
    assert_eq!(erase(None, u64::MAX), Vec::<String>::new());
}
