//! What is left of a prompt and its answer on the disk of a real node after they were erased: nothing.
#![allow(clippy::unwrap_used, reason = "all of it is tests, helpers too")]

mod node;

use node::{Running, ask, output, run, start, talkoo};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A text that nothing else says.
const PROMPT: &str = "count the violet rhinos of cellar 7318";
/// How long something may take that a test waits for.
const WAIT: Duration = Duration::from_secs(120);

/// A node and how it is asked.
struct Node {
    dir: PathBuf,
    running: Option<Running>,
    api: String,
    listen: String,
}

impl Node {
    fn up(dir: &Path, flags: &[&str]) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let (running, api, listen) = Self::begin(dir, flags);
        Self { dir: dir.to_owned(), running: Some(running), api, listen }
    }

    fn begin(dir: &Path, flags: &[&str]) -> (Running, String, String) {
        let fixed = ["-o", "json", "-v", "up", "--network", "erase", "--api", "127.0.0.1:0", "--pull", "smollm2"];
        let (running, up) = start(talkoo(dir, &[&fixed[..], flags].concat()), &dir.join("log"));
        (running, format!("http://{}", up["api"].as_str().unwrap()), up["listen"][0].as_str().unwrap().to_owned())
    }

    /// Ends with SIGKILL, and starts again after `between`.
    fn killed(&mut self, flags: &[&str], between: impl FnOnce(&Path)) {
        self.running = None;
        between(&self.dir.join("node"));
        let (running, api, listen) = Self::begin(&self.dir, flags);
        (self.running, self.api, self.listen) = (Some(running), api, listen);
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
        let token = std::fs::read_to_string(self.dir.join("node/api.token")).unwrap();
        self.ask_as(&token, method, path, headers, body)
    }

    fn ask_as(&self, token: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
        ask(&self.api, token, method, path, headers, body)
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let (status, answer) =
            self.ask("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes());
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    fn upload(&self, line: &Value) -> String {
        let field = |name: &str, value: &str| {
            format!("--border\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let file = "--border\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.jsonl\"\r\n\r\n";
        let body = format!("{}{file}{line}\r\n--border--\r\n", field("purpose", "batch"));
        let kind = [("Content-Type", "multipart/form-data; boundary=border")];
        let (status, answer) = self.ask("POST", "/v1/files", &kind, body.as_bytes());
        assert_eq!(status, 200, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    fn until<T>(&self, what: &str, holds: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + WAIT;
        loop {
            if let Some(found) = holds() {
                return found;
            }
            let log = || std::fs::read_to_string(self.dir.join("log")).unwrap();
            assert!(Instant::now() < deadline, "waited {WAIT:?} for {what}:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The files in which one of these texts stands, the models apart.
    fn files_with(&self, texts: &[String]) -> Vec<PathBuf> {
        let (mut folders, mut found) = (vec![self.dir.join("node")], Vec::new());
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() && !path.ends_with("models") {
                    folders.push(path);
                } else if path.is_file() {
                    let bytes = std::fs::read(&path).unwrap();
                    let has = |text: &String| bytes.windows(text.len()).any(|part| part == text.as_bytes());
                    if texts.iter().any(has) {
                        found.push(path);
                    }
                }
            }
        }
        found
    }

    fn receipts(&self) -> Vec<String> {
        let rows = run(&self.dir, &["status"]);
        assert!(rows["node"].is_string());
        let (_, list) = self.ask("GET", "/api/v1/receipts", &[], b"");
        let file = |row: &Value| self.dir.join("node").join(row["file"].as_str().unwrap()).to_str().unwrap().to_owned();
        list["receipts"].as_array().unwrap().iter().map(file).collect()
    }
}

/// A line of a batch.
fn line(body: &Value) -> Value {
    json!({"custom_id": PROMPT, "method": "POST", "url": "/v1/chat/completions", "body": body})
}

fn chat() -> Value {
    json!({"model": "smollm2", "max_tokens": 12, "messages": [{"role": "user", "content": PROMPT}]})
}

/// Everything that keeps a prompt; the answers' texts, as a file would have them.
fn used(node: &Node) -> Vec<String> {
    node.until("a worker", || {
        let (_, peers) = node.ask("GET", "/api/v1/peers", &[], b"");
        peers["peers"].as_array()?.iter().any(|peer| peer["offers"].as_u64() > Some(0)).then_some(())
    });
    run(&node.dir, &["webhook", "add", "http://127.0.0.1:1/"]);
    // Bought, so that there is a receipt; and the same words once more in a response that goes on with it.
    let ask = json!({"model": "smollm2", "max_output_tokens": 12, "input": PROMPT, "provider": {}});
    let first = node.post("/v1/responses", &ask);
    let mut next = ask.clone();
    next["previous_response_id"] = first["id"].clone();
    node.post("/v1/responses", &next);
    let file = node.upload(&line(&chat()));
    let ask = json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"});
    let batch = node.post("/v1/batches", &ask);
    let path = format!("/v1/batches/{}", batch["id"].as_str().unwrap());
    node.until("the batch", || (node.ask("GET", &path, &[], b"").1["status"] == "completed").then_some(()));
    // A job of the native API, with a key that makes its answer be kept.
    let job = keyed(node).1["job"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/jobs/{job}");
    node.until("the job", || (node.ask("GET", &path, &[], b"").1["status"] == "finished").then_some(()));
    let answer = first["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(answer.len() > 10, "{answer:?} is too short to be looked for");
    let escaped = serde_json::to_string(&answer).unwrap();
    vec![PROMPT.to_owned(), escaped.trim_matches('"').to_owned()]
}

fn keyed(node: &Node) -> (u16, Value) {
    let ask = json!({"file": line(&chat()).to_string(), "model": "smollm2", "verify": "none"}).to_string();
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", "once")];
    node.ask("POST", "/api/v1/jobs", &headers, ask.as_bytes())
}

fn count(report: &Value, kind: &str) -> u64 {
    let rows = report["kinds"].as_array().unwrap().iter();
    rows.filter(|row| row["kind"] == kind).map(|row| row["count"].as_u64().unwrap()).sum()
}

#[test]
fn nothing_is_left_on_the_disk_and_receipts_still_hold() {
    let dir = tempfile::tempdir().unwrap();
    let worker = Node::up(&dir.path().join("worker"), &["--provide"]);
    let flags = ["--bootstrap", &worker.listen];
    let mut node = Node::up(&dir.path().join("client"), &flags);
    let texts = used(&node);
    assert!(node.files_with(&texts).len() >= 4, "{:?}", node.files_with(&texts));
    let receipts = node.receipts();
    assert!(receipts.len() >= 3, "{receipts:?}");
    let verify: Vec<&str> = ["receipt", "verify"].into_iter().chain(receipts.iter().map(String::as_str)).collect();
    assert_eq!(run(&node.dir, &verify)["receipts"][0]["disclosed"], true);

    let looked = run(&node.dir, &["erase", "--all", "--dry-run"]);
    assert!(node.files_with(&texts).len() >= 4, "nothing is done by a dry run");
    let erased = run(&node.dir, &["erase", "--all"]);
    assert_eq!(looked["kinds"], erased["kinds"]);
    for (kind, least) in [
        ("responses", 2),
        ("batches", 1),
        ("files", 2),
        ("jobs", 1),
        ("receipts", 3),
        ("events", 1),
        ("repeated_answers", 1),
    ] {
        assert!(count(&erased, kind) >= least, "{kind}: {erased}");
    }
    assert_eq!(node.files_with(&texts), Vec::<PathBuf>::new());
    assert_eq!(count(&run(&node.dir, &["erase", "--all"]), "receipts"), 0, "twice is once");

    let verified = run(&node.dir, &verify);
    assert_eq!((&verified["false"], verified["receipts"].as_array().unwrap().len()), (&json!(0), receipts.len()));
    assert!(verified["receipts"].as_array().unwrap().iter().all(|row| row["disclosed"] == false), "{verified}");
    let bundle = dir.path().join("bundle.tar");
    run(&node.dir, &["audit", "export", bundle.to_str().unwrap()]);
    run(&node.dir, &["audit", "verify", bundle.to_str().unwrap()]);

    // Who asks for it is told; and the job is not done once more.
    let (status, no) = node.ask("GET", "/v1/responses/resp_000000000000000000000000", &[], b"");
    assert!(status == 404 && no["error"]["message"].as_str().unwrap().contains("no response"), "{no}");
    let (status, no) = keyed(&node);
    assert!(status == 409 && no.to_string().contains("erased"), "{no}");
    assert_eq!(run(&node.dir, &["job", "ls"])["jobs"], json!([]));
    assert_eq!(run(&node.dir, &["webhook", "ls"])["webhooks"][0]["waiting"], 0);
    // Nor does anything of it come back with the next start.
    node.killed(&flags, |_| {});
    assert_eq!(node.files_with(&texts), Vec::<PathBuf>::new());
    assert_eq!(run(&node.dir, &["job", "ls"])["jobs"], json!([]));
    what_was_begun_is_finished(&mut node, &flags);
    drop(worker);
    what_is_not_over_stays(&node);
    what_the_disk_refused_goes_first(&node);
}

#[test]
fn what_a_key_asked_goes_alone_and_what_is_old_by_its_day() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::up(&dir.path().join("node"), &[]);
    node.until("the model", || {
        (!node.ask("GET", "/v1/models", &[], b"").1["data"].as_array()?.is_empty()).then_some(())
    });
    let key = run(&node.dir, &["key", "create", "--name", "reader"]);
    let (of_key, of_owner) = ("which owl reads page 4417".to_owned(), "which heron wrote page 9923".to_owned());
    let respond = |token: Option<&str>, prompt: &str| {
        let body = json!({"model": "smollm2", "max_output_tokens": 4, "input": prompt}).to_string();
        let json = [("Content-Type", "application/json")];
        let (status, answer) = match token {
            Some(token) => node.ask_as(token, "POST", "/v1/responses", &json, body.as_bytes()),
            None => node.ask("POST", "/v1/responses", &json, body.as_bytes()),
        };
        assert_eq!(status, 200, "{answer}");
    };
    respond(Some(key["key"].as_str().unwrap()), &of_key);
    respond(None, &of_owner);
    let is_kept = |text: &String| !node.files_with(std::slice::from_ref(text)).is_empty();
    assert!(is_kept(&of_key) && is_kept(&of_owner));
    let id = key["id"].as_str().unwrap();
    let looked = run(&node.dir, &["erase", "--key", id, "--dry-run"]);
    assert!(is_kept(&of_key), "nothing is done by a dry run");
    let erased = run(&node.dir, &["erase", "--key", id]);
    assert_eq!((count(&erased, "responses"), &looked["kinds"]), (1, &erased["kinds"]));
    assert!(!is_kept(&of_key) && is_kept(&of_owner));

    // Days on both sides, so that midnight may come meanwhile.
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let [before, after] = [-1, 2].map(|days| today.checked_add(jiff::Span::new().days(days)).unwrap().to_string());
    assert_eq!(run(&node.dir, &["erase", "--before", &before])["kinds"], json!([]));
    assert!(is_kept(&of_owner));
    assert_eq!(count(&run(&node.dir, &["erase", "--before", &after]), "responses"), 1);
    assert!(!is_kept(&of_owner));
}

/// The intent is what a kill leaves; the next start does what it says before it is up.
fn what_was_begun_is_finished(node: &mut Node, flags: &[&str]) {
    let texts = used_once(node);
    assert!(!node.files_with(&texts).is_empty());
    let intent = json!({"version": 1, "job": null, "key": null, "prompts": u32::MAX, "receipts": null}).to_string();
    node.killed(flags, |folder| std::fs::write(folder.join("erasing.json"), intent).unwrap());
    assert_eq!(node.files_with(&texts), Vec::<PathBuf>::new());
    assert_eq!(run(&node.dir, &["job", "ls"])["jobs"], json!([]), "its jobs went with its first turn");
    assert!(!node.dir.join("node/erasing.json").exists());
}

/// A record of an erasure that could not be finished is not lost to the next one.
fn what_the_disk_refused_goes_first(node: &Node) {
    node.post("/v1/responses", &json!({"model": "smollm2", "max_output_tokens": 4, "input": PROMPT}));
    let record = node.dir.join("node/erasing.json");
    let intent = json!({"version": 1, "job": null, "key": null, "prompts": u32::MAX, "receipts": null}).to_string();
    std::fs::write(&record, intent).unwrap();
    let busy = output(&node.dir, &["erase", "--key", "key_of_nobody"]);
    assert!(String::from_utf8_lossy(&busy.stderr).contains("busy"));
    node.until("its end", || (!record.exists()).then_some(()));
    assert_eq!(node.files_with(&[PROMPT.to_owned()]), Vec::<PathBuf>::new());
    assert_eq!(run(&node.dir, &["erase", "--key", "key_of_nobody"])["kinds"], json!([]));
}

/// A response and a cancelled job.
fn used_once(node: &Node) -> Vec<String> {
    node.post("/v1/responses", &json!({"model": "smollm2", "max_output_tokens": 4, "input": PROMPT}));
    let job = node.post("/api/v1/jobs", &json!({"file": line(&chat()).to_string(), "model": "smollm2"}));
    let path = format!("/api/v1/jobs/{}", job["job"].as_str().unwrap());
    node.ask("DELETE", &path, &[], b"");
    node.until("the job's end", || (node.ask("GET", &path, &[], b"").1["status"] != "open").then_some(()));
    vec![PROMPT.to_owned()]
}

fn what_is_not_over_stays(node: &Node) {
    node.until("the worker to be gone", || {
        node.ask("GET", "/api/v1/peers", &[], b"").1["peers"].as_array()?.is_empty().then_some(())
    });
    let job = node.post("/api/v1/jobs", &json!({"file": line(&chat()).to_string(), "model": "smollm2"}));
    let job = job["job"].as_str().unwrap();
    let refused = output(&node.dir, &["erase", "--job", job]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("in_use") && why.contains("job cancel"), "{why}");
    let report = run(&node.dir, &["erase", "--all"]);
    assert_eq!((report["running"].clone(), count(&report, "jobs")), (json!([job]), 0));
    run(&node.dir, &["job", "cancel", job]);
    assert_eq!(count(&run(&node.dir, &["erase", "--job", &job[..12]]), "jobs"), 1);
    let unknown = output(&node.dir, &["erase", "--job", job]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("unknown_id"));
    for wrong in [&["erase"][..], &["erase", "--all", "--job", "a"], &["erase", "--before", "yesterday"]] {
        assert_eq!(output(&node.dir, wrong).status.code(), Some(2), "{wrong:?}");
    }
}
