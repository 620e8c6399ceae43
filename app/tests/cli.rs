//! The program as a user meets it: real processes, one node on loopback.
#![allow(clippy::unwrap_used, reason = "all of it is tests, helpers too")]

mod openai;

use openai::{OpenAi, Reply, Then, refusal, stream};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// One batch line, for the catalogue's model.
const LINE: &str = r#"{"custom_id":"a","body":{"model":"smollm2","messages":[{"role":"user","content":"hi"}]}}"#;

/// A batch that says nothing for so long has failed the test.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// A data folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("talkoo-cli-{}-{number}", std::process::id())))
    }

    fn talkoo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_talkoo"));
        command.arg("--data-dir").arg(&self.0).args(args).env_remove("TALKOO_LOG").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.talkoo(args).output().unwrap()
    }

    /// What a command that fails says to a program, and its exit code.
    fn error(&self, args: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(&[&["-o", "json"], args].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        let last = stderr.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(last).unwrap_or_else(|e| panic!("{args:?}: {e}: {stderr}"));
        (value["error"].clone(), output.status.code())
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[&["-o", "json"], args].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A node that serves.
fn up(folder: &Folder, args: &[&str]) -> Running {
    let mut command = folder.talkoo(&[&["-o", "json", "up", "--api", "127.0.0.1:0"], args].concat());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let node = Running(child);
    let ready: Value = serde_json::from_str(&line).expect("a node that comes up says so");
    assert!(ready["node"].is_string(), "{ready}");
    node
}

#[test]
fn errors_are_json_for_programs_and_keep_their_exit_code() {
    let folder = Folder::new();
    let damaged = std::env::temp_dir().join(format!("talkoo-cli-{}.receipt", std::process::id()));
    std::fs::write(&damaged, LINE).unwrap();
    let damaged_name = damaged.to_str().unwrap();
    let cases: [(&[&str], i32, &str, &str, &str); 11] = [
        (&["job", "show", ""], 2, "malformed", "id is missing", "job ls"),
        (&["rm", ""], 2, "malformed", "name is missing", "ls`"),
        (&["status"], 4, "disconnected", "no node runs", "up`"),
        (&["up", "--price", "NaN"], 2, "malformed", "--price", "--help"),
        (&["dispute", "show", "liar"], 2, "malformed", "<ID>", "--help"),
        (&["dispute", "list"], 4, "disconnected", "no node runs", "up`"),
        (&["up", "--threads", "0"], 2, "malformed", "--threads", "--help"),
        (&["batch", "x", "--nodes", "0"], 2, "malformed", "--nodes", "--help"),
        (&["up", "--api", "0.0.0.0:0"], 2, "malformed", "other machines", "--api-public"),
        (&["up", "--api", "127.0.0.1:0", "--pull", "smolllm3"], 3, "unknown_model", "smolllm3", "smollm2"),
        (&["receipt", "show", damaged_name], 1, "malformed", "is no receipt", "receipts"),
    ];
    for (args, exit, code, message, hint) in cases {
        let (error, status) = folder.error(args);
        assert_eq!(status, Some(exit), "{args:?}: {error}");
        assert_eq!(error["code"], json!(code), "{args:?}");
        assert!(error["message"].as_str().unwrap().contains(message), "{args:?}: {error}");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{args:?}: {error}");
    }
    std::fs::remove_file(damaged).unwrap();
    assert!(!folder.0.join("key").exists(), "a command that was refused made a node");
}

/// A torn file of the owner's is said by its name, and what to do: nothing of it is thrown away.
#[test]
fn a_node_with_a_damaged_file_says_which_and_what_to_do() {
    for (name, text) in [("keys.json", ""), ("webhooks/webhooks.json", ""), ("keys.json", "[{\"id\":")] {
        let folder = Folder::new();
        let path = folder.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let flags = ["up", "--ledger", "off", "--api", "127.0.0.1:0", "--listen", "/ip4/127.0.0.1/tcp/0"];
        let (error, code) = folder.error(&flags);
        assert_eq!((&error["code"], code), (&json!("malformed"), Some(1)), "{error}");
        assert!(error["message"].as_str().unwrap().contains(path.to_str().unwrap()), "{error}");
        let hint = error["hint"].as_str().unwrap();
        assert!(hint.contains("a copy") && hint.contains("move it away"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_job_to_export_is_named_by_its_beginning() {
    let folder = Folder::new();
    let jobs = ["aa11", "aa22", "bb33"].map(|first| format!("{first}{}", "0".repeat(60)));
    for job in &jobs {
        std::fs::create_dir_all(folder.0.join("receipts").join(job)).unwrap();
    }
    std::fs::write(folder.0.join("key"), [7; 32]).unwrap();
    let file = folder.0.join("bundle");
    let export = |job: &str| folder.error(&["audit", "export", file.to_str().unwrap(), "--job", job]).0;
    for (job, code, says) in [
        ("aa", "unknown_id", "several jobs begin with aa"),
        ("cc", "unknown_id", "no receipts of a job that begins with cc"),
        ("x", "malformed", "hexadecimal"),
    ] {
        let error = export(job);
        assert!(error["message"].as_str().unwrap().contains(says), "{job}: {error}");
        assert_eq!(error["code"], code, "{error}");
    }
    folder.json(&["audit", "export", file.to_str().unwrap(), "--job", "AA1", "--job", &jobs[2]]);
    let checked = folder.json(&["audit", "verify", file.to_str().unwrap()]);
    assert_eq!(checked["jobs"], json!([jobs[0], jobs[2]]), "{checked}");
}

#[test]
fn refusals_of_a_node_name_commands_that_lead_back_to_it() {
    let folder = Folder::new();
    let _node = up(&folder, &[]);
    let command = |rest: &str| format!("talkoo --data-dir {} {rest}", folder.0.display());
    let why = folder.json(&["provide", "why"]);
    assert_eq!(why["reasons"][0]["hint"], json!(command("provide start")));
    let batch = folder.0.join("batch.jsonl");
    std::fs::write(&batch, LINE).unwrap();
    let ours = folder.json(&["invite"]);
    let (code, at) = (ours["code"].as_str().unwrap(), ours["at"][0].as_str().unwrap());
    let cases: [(&[&str], &str, &str, String); 8] = [
        (&["join", code], "malformed", "this node's own", "another node".into()),
        (&["join", at], "disconnected", "this node itself", "--listen".into()),
        (&["rm", "smollm2"], "unknown_model", "no model", command("ls")),
        (&["job", "show", "77", "--follow"], "unknown_id", "no job", command("job ls")),
        (&["dispute", "show", "77"], "unknown_id", "no dispute", command("dispute list")),
        (&["batch", batch.to_str().unwrap()], "unknown_model", "not here", command("pull smollm2")),
        (&["join", "/ip4/127.0.0.1/tcp/1"], "disconnected", "nothing listens there", "--listen".into()),
        (&["join", "/ip4/127.0.0.1.1"], "malformed", "is not a multiaddress (", "/p2p/".into()),
    ];
    for (args, code, message, hint) in cases {
        let (error, status) = folder.error(args);
        let exit = if code == "disconnected" { 4 } else { 1 + 2 * i32::from(code.starts_with("unknown")) };
        assert_eq!((status, &error["code"]), (Some(exit), &json!(code)), "{args:?}: {error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{args:?}: {error}");
        assert!(error["hint"].as_str().unwrap().contains(&hint), "{args:?}: {error}");
    }
    assert_eq!(folder.json(&["dispute", "list"]), json!({"disputes": []}));
    assert_eq!(folder.json(&["down"]), json!({"stopped": true}));
}

#[test]
fn a_batch_without_workers_says_why_and_keeps_its_model() {
    let folder = Folder::new();
    let _node = up(&folder, &[]);
    folder.json(&["pull", "smollm2"]);
    let batch = folder.0.join("batch.jsonl");
    // A file that was written for somebody else's model.
    std::fs::write(&batch, LINE.replace("smollm2", "gpt-4o")).unwrap();
    let job = batch_until_it_says(&folder, &batch, "join CODE");
    for (args, code, hint) in [
        (&["rm", "smollm2"][..], "in_use", format!("job cancel {job}")),
        (&["job", "output", &job[..8]][..], "busy", format!("job show {job} --follow")),
    ] {
        let (error, status) = folder.error(args);
        assert_eq!((status, &error["code"]), (Some(1), &json!(code)), "{error}");
        assert!(error["hint"].as_str().unwrap().contains(&hint), "{error}");
    }
    let explained = folder.json(&["job", "explain", &job]);
    let reasons: Vec<&Value> = explained["reasons"].as_array().unwrap().iter().map(|reason| &reason["code"]).collect();
    assert_eq!(reasons, ["disconnected", "not_providing"], "{explained}");
    folder.json(&["job", "cancel", &job]);
    let (error, status) = folder.error(&["job", "cancel", &job]);
    assert_eq!(
        (status, &error["code"], &error["message"]),
        (Some(1), &json!("over"), &json!("the job is cancelled already"))
    );
    assert_eq!(folder.json(&["job", "show", &job, "--follow"])["status"], json!("cancelled"));
    folder.json(&["provide", "start"]);
    let (error, _) = folder.error(&["rm", "smollm2"]);
    assert_eq!(error["code"], json!("in_use"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("provide stop"), "{error}");
    folder.json(&["provide", "stop"]);
    assert_eq!(folder.json(&["rm", "smollm2"]), json!({"removed": true}));
}

#[test]
fn an_empty_variable_is_one_that_is_not_set() {
    let home = Folder::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_talkoo"));
    command.args(["-o", "json", "status"]).env("TALKOO_DATA_DIR", "").env("XDG_DATA_HOME", "").env("HOME", &home.0);
    let said = String::from_utf8(command.output().unwrap().stderr).unwrap();
    let want = home.0.join(".local/share/talkoo");
    assert!(said.contains("no node runs") && said.contains(want.to_str().unwrap()), "{said}");
}

#[test]
fn a_pull_from_peers_ends_soon_if_there_are_none() {
    let folder = Folder::new();
    let _node = up(&folder, &["--sources", "peers"]);
    let output = folder.run(&["pull", "smollm2"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no peer is connected; waiting") && said.contains("join CODE"), "{said}");
}

#[test]
fn two_files_of_one_name_are_two_models() {
    let folder = Folder::new();
    let _node = up(&folder, &[]);
    folder.json(&["pull", "smollm2"]);
    let shelf = folder.0.join("models");
    let held = || folder.json(&["ls"])["models"].as_array().unwrap().clone();
    let file = |row: &Value| shelf.join(row["file"].as_str().unwrap());
    let first = file(&held()[0]);
    let whole = std::fs::read(&first).unwrap();
    // A file onto itself, by another way to it.
    let again = folder.json(&["pull", shelf.join("../models").join(first.file_name().unwrap()).to_str().unwrap()]);
    assert_eq!(again["already_here"], json!(true));
    // Another model in a file of the same name: one byte of its last weights differs.
    let other = folder.0.join(first.file_name().unwrap());
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&other, &bytes).unwrap();
    let pulled = folder.json(&["pull", other.to_str().unwrap()]);
    let rows = held();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let second = rows.iter().find(|row| row["name"] == pulled["name"]).unwrap();
    assert_ne!((rows[0]["root"].clone(), file(&rows[0])), (rows[1]["root"].clone(), file(&rows[1])));
    assert_eq!((std::fs::read(&first).unwrap() == whole, std::fs::read(file(second)).unwrap() == bytes), (true, true));
    folder.json(&["rm", pulled["name"].as_str().unwrap()]);
    assert!(!file(second).exists() && std::fs::read(&first).unwrap() == whole);
}

/// Runs a batch until its talk has a text; answers the job's id. The job goes on.
fn batch_until_it_says(folder: &Folder, file: &Path, text: &str) -> String {
    let mut child = Running(
        folder.talkoo(&["batch", file.to_str().unwrap(), "--model", "smollm2"]).stderr(Stdio::piped()).spawn().unwrap(),
    );
    let stderr = BufReader::new(child.0.stderr.take().unwrap());
    let (lines, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
    let mut job = String::new();
    loop {
        let line = said.recv_timeout(SILENCE_MAX).unwrap_or_else(|_| panic!("the batch never said `{text}`"));
        if let Some(rest) = line.strip_prefix("job ") {
            job = rest.split(':').next().unwrap_or_default().to_owned();
        }
        if line.contains(text) {
            assert!(!job.is_empty(), "it spoke of no job before `{line}`");
            return job;
        }
    }
}

#[test]
fn a_batch_that_could_not_be_written_is_not_run() {
    let folder = Folder::new();
    let _node = up(&folder, &[]);
    let file = folder.0.join("batch.jsonl");
    std::fs::write(&file, LINE).unwrap();
    let nowhere = folder.0.join("no such folder").join("out");
    for output in [nowhere.to_str().unwrap(), folder.0.to_str().unwrap()] {
        let refused = folder.run(&["batch", file.to_str().unwrap(), "-o", output]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!((refused.status.code(), said.contains("cannot write")), (Some(1), true), "{said}");
    }
    assert_eq!(folder.json(&["job", "ls"])["jobs"], json!([]));
}

#[test]
fn a_killed_node_finds_its_network_again() {
    let (first, second) = (Folder::new(), Folder::new());
    let a = up(&first, &["--network", "again"]);
    let at = first.json(&["invite"])["at"][0].as_str().unwrap().to_owned();
    let b = up(&second, &["--network", "again", "--bootstrap", &at, "--provide"]);
    let connected = |folder: &Folder| {
        let deadline = std::time::Instant::now() + SILENCE_MAX;
        while folder.json(&["peers"])["peers"].as_array().is_none_or(Vec::is_empty) {
            assert!(std::time::Instant::now() < deadline, "waited {SILENCE_MAX:?} for a peer");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    connected(&first);
    // The one that was dialled, too, knows where to dial: not the port that the other came from.
    let other = second.json(&["status"])["listen"].as_array().unwrap().clone();
    let known = || std::fs::read_to_string(first.0.join("network.json")).unwrap();
    let deadline = std::time::Instant::now() + SILENCE_MAX;
    while !other.iter().all(|addr| known().contains(addr.as_str().unwrap())) {
        assert!(std::time::Instant::now() < deadline, "{other:?} are not in {}", known());
        std::thread::yield_now();
    }
    // `Running` kills with SIGKILL. Nobody is told an address again.
    drop(b);
    let b = up(&second, &["--network", "again"]);
    connected(&second);
    assert_eq!(second.json(&["status"])["providing"], json!(false), "it has no model");
    assert!(second.json(&["provide", "why"])["providing"] == json!(true), "but it still would");
    drop((a, b));
    let _b = up(&second, &["--network", "again"]);
    let _a = up(&first, &["--network", "again"]);
    assert_eq!(first.json(&["invite"])["at"][0], json!(at), "an invite outlives a restart");
    connected(&first);
}

#[test]
fn texts_become_vectors() {
    let folder = Folder::new();
    let output = folder.run(&["embed", "minilm", "a cat", "a kitten", "the stock market", &"word ".repeat(300)]);
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success() && stderr.contains("text 3 has 302 tokens, the model reads 256"), "{stderr}");
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let vector = |i: usize| -> Vec<f64> {
        lines[i]["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let cosine = |a: usize, b: usize| vector(a).iter().zip(vector(b)).map(|(x, y)| x * y).sum::<f64>();
    assert!((cosine(0, 0) - 1.0).abs() < 1e-5 && cosine(0, 1) > 0.7 && cosine(0, 2) < 0.3, "{}", cosine(0, 1));
    let sizes: Vec<_> = lines.iter().map(|line| (line["tokens"].clone(), line["cut"].clone())).collect();
    assert_eq!(sizes, [(4, 0), (4, 0), (5, 0), (256, 46)].map(|(tokens, cut)| (json!(tokens), json!(cut))));
    let file = folder.0.with_extension("txt");
    std::fs::write(&file, "a kitten\n").unwrap();
    let one = folder.json(&["embed", "minilm", "--file", file.to_str().unwrap(), "--threads", "1"]);
    assert_eq!((&one["digest"], &one["embedding"]), (&lines[1]["digest"], &lines[1]["embedding"]));
    std::fs::remove_file(&file).unwrap();
    let (error, code) = folder.error(&["embed", "smollm2", "hi"]);
    assert_eq!((error["code"].as_str(), code), (Some("unknown_model"), Some(3)));
    let (error, _) = folder.error(&["run", "minilm", "hi"]);
    assert!(error["hint"].as_str().unwrap().contains("embed minilm"), "{error}");
}

/// Waits until a node sees so many offers of the float tier.
fn wait_for_float_offers(folder: &Folder, count: u64) {
    let deadline = std::time::Instant::now() + SILENCE_MAX;
    let offers = |peers: &Value| {
        peers["peers"].as_array().into_iter().flatten().filter_map(|peer| peer["offers_float"].as_u64()).sum::<u64>()
    };
    while offers(&folder.json(&["peers"])) != count {
        assert!(std::time::Instant::now() < deadline, "waited {SILENCE_MAX:?} for {count} offers");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn another_programs_engine_works_for_the_network_in_the_float_tier() {
    let (client, worker) = (Folder::new(), Folder::new());
    let _client = up(&client, &["--network", "float"]);
    client.json(&["pull", "smollm2"]);
    let models = client.json(&["ls"]);
    let held = client.0.join("models").join(models["models"][0]["file"].as_str().unwrap());
    let (file, at) = (held.to_str().unwrap(), client.json(&["invite"])["at"][0].as_str().unwrap().to_owned());
    // Of the requests of one job the first dies in mid-stream, the second fails; those that measure are answered.
    let tries = AtomicU32::new(0);
    let story = "Once upon a time there was a node, and it shared what it had with all its neighbours. ".repeat(5);
    let told = story.clone();
    let server = OpenAi::start(move |body| {
        if body["max_tokens"] != json!(200) {
            return stream(&["measured", " well"], "length");
        }
        let mut reply = stream(&[&told[..100], &told[100..]], "stop");
        match tries.fetch_add(1, Ordering::Relaxed) {
            0 => {
                reply.parts.truncate(1);
                Reply { then: Then::Break, ..reply }
            }
            1 => refusal(500, "out of memory"),
            _ => reply,
        }
    });
    let engine = ["--engine", &server.url, "--engine-model", "tiny", "--engine-vocabulary", file];
    let _worker = up(&worker, &[&["--network", "float", "--bootstrap", &at, "--provide"], &engine[..]].concat());
    wait_for_float_offers(&client, 1);
    let offer = worker.json(&["provide", "why"])["offers"][0].clone();
    assert_eq!(offer["tier"], json!("float"), "{offer}");

    let (batch, out) = (client.0.join("batch.jsonl"), client.0.join("out.jsonl"));
    let line =
        r#"{"custom_id":"a","body":{"model":"tiny","max_tokens":200,"messages":[{"role":"user","content":"hi"}]}}"#;
    let bad = line.replace(r#""a""#, r#""b""#).replace(r#""max_tokens""#, r#""top_k":3,"max_tokens""#);
    std::fs::write(&batch, format!("{line}\n{bad}\n")).unwrap();
    let (name, results) = (batch.to_str().unwrap(), out.to_str().unwrap());
    let float = ["--tier", "float", "--vocabulary", file];
    let args = [&["-o", "json", "-o", results, "batch", name], &float[..]].concat();
    let output = client.run(&args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "one line cannot be run: {stderr}");
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&done["tier"], &done["done"], &done["failed"]), (&json!("float"), &json!(1), &json!(0)), "{done}");
    assert_eq!(done["bad"][0]["code"], json!("unsupported_parameter"), "{done}");
    let result: Value = serde_json::from_str(std::fs::read_to_string(&out).unwrap().trim()).unwrap();
    assert_eq!(result["tier"], json!("float"));
    assert_eq!(result["response"]["body"]["choices"][0]["message"]["content"], json!(story));
    let job = done["job"].as_str().unwrap();
    let shown = client.json(&["job", "show", job]);
    assert_eq!((&shown["tier"], &shown["rows"][0]["audited"]), (&json!("float"), &json!(false)));

    let folder = client.0.join("receipts").join(job);
    let receipts: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [receipt] = &receipts[..] else { panic!("one lease was delivered: {receipts:?}") };
    let receipt = receipt.to_str().unwrap();
    let row = client.json(&["receipt", "verify", receipt])["receipts"][0].clone();
    assert_eq!((&row["holds"], &row["tier"]), (&json!(true), &json!("float")), "{row}");
    assert_eq!(row["badge"], json!("float tier: not checked by recomputation"));
    assert_eq!(client.json(&["receipt", "disclose", receipt])["answer"], json!(story));
    let (error, status) = client.error(&["receipt", "verify", "--rerun", receipt]);
    assert_eq!((status, &error["code"]), (Some(1), &json!("unsupported_parameter")), "{error}");
    assert_ne!(worker.json(&["status"])["earned"], json!("0"), "it is paid");

    let (error, _) = client.error(&["batch", name, "--vocabulary", file]);
    assert!(error["hint"].as_str().unwrap().contains("--tier float"), "{error}");
    // Nobody offers the model exactly, whatever the float engine calls itself.
    let (error, _) = client.error(&["batch", name]);
    assert_eq!(error["code"], json!("unknown_model"), "{error}");
}

#[test]
fn an_engine_that_cannot_be_offered_says_why() {
    let folder = Folder::new();
    let nothing = folder.0.join("none.gguf");
    let nothing = nothing.to_str().unwrap();
    let engine = ["--engine", "http://127.0.0.1:1", "--engine-model", "m", "--engine-vocabulary", nothing];
    let up = |args: &[&str]| folder.error(&[&["up", "--api", "127.0.0.1:0"], args].concat());
    let cases: [(&[&str], i32, &str, &str); 4] = [
        (&engine[..2], 2, "--engine-model", "--help"),
        (&["--engine-model", "m"], 2, "--engine", "--help"),
        (&engine, 1, "the vocabulary cannot be read", "GGUF"),
        (
            &["--engine", "https://gpu", "--engine-model", "m", "--engine-vocabulary", nothing],
            1,
            "plain HTTP",
            "ssh -L",
        ),
    ];
    for (args, exit, message, hint) in cases {
        let (error, status) = up(args);
        assert_eq!((status, &error["code"]), (Some(exit), &json!("malformed")), "{args:?}: {error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{args:?}: {error}");
        assert!(error["hint"].as_str().unwrap().contains(hint), "{args:?}: {error}");
    }
}

#[test]
fn a_wallet_is_restored_locked_and_opened() {
    let folder = Folder::new();
    let words = "test test test test test test test test test test test junk";
    let pipe = |args: &[&str], text: &str| {
        let mut child = folder.talkoo(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert!(pipe(&["-o", "json", "wallet", "restore"], words).status.success());
    let owner = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266";
    assert_eq!(folder.json(&["wallet", "words"])["words"], words);
    assert_eq!(folder.json(&["wallet", "keys"])["keys"][0]["address"], owner);
    let secret = folder.0.join("secret");
    let (file, wrong) = (secret.to_str().unwrap().to_owned(), folder.0.join("wrong"));
    std::fs::write(&secret, "correct horse\n").unwrap();
    std::fs::write(&wrong, "wrong horse\n").unwrap();
    assert_eq!(folder.json(&["wallet", "lock", "--passphrase-file", &file])["locked"], true);
    assert!(folder.error(&["wallet", "words"]).0["message"].as_str().unwrap().contains("left this machine"));
    // Locked, and never open here: nobody said that this node acts for its owner.
    let args = ["--api", "127.0.0.1:0", "--ledger-rpc", "127.0.0.1:0"];
    let (error, _) = folder.error(&[&["up"], &args[..]].concat());
    assert!(error["hint"].as_str().unwrap().contains("--passphrase-file"), "{error}");
    drop(up(&folder, &[&args[2..], &["--passphrase-file", &file]].concat()));
    // From then on it starts without, and is opened while it runs.
    let _node = up(&folder, &args[2..]);
    assert_eq!(folder.json(&["status"])["owner"], owner);
    let (error, code) = folder.error(&["wallet", "unlock", "--passphrase-file", wrong.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{error}");
    assert_eq!(folder.json(&["wallet", "unlock", "--passphrase-file", &file])["unlocked"], true);
    let copy = folder.0.join("copy.json");
    folder.json(&["wallet", "export", copy.to_str().unwrap(), "--passphrase-file", &file]);
    let copied: Value = serde_json::from_slice(&std::fs::read(copy).unwrap()).unwrap();
    assert_eq!(format!("0x{}", copied["address"].as_str().unwrap()), owner);
    // It founded its chain, so it has what is staked, and the gas to send it.
    let to = "0x00000000000000000000000000000000000000aa";
    folder.json(&["wallet", "send", to, "2.5", "--asset", "stake", "--passphrase-file", &file]);
    let (error, _) = folder.error(&["wallet", "send", to, "2.5", "--passphrase-file", &file]);
    assert!(error["message"].as_str().unwrap().contains("can't be sent"), "{error}");
    let bond = folder.json(&["stake", "add", "3", "--role", "work", "--role", "verify", "--passphrase-file", &file]);
    assert_eq!((&bond["among_the_largest"], &bond["roles"]), (&json!(true), &json!(["work", "validate", "verify"])));
    let bonded: u64 = bond["bonded"].as_str().unwrap().parse().unwrap();
    let out = folder.json(&["stake", "withdraw", "1", "--passphrase-file", &file]);
    assert_eq!((&out["bonded"], &out["unbonding"]), (&json!((bonded - 1_000_000).to_string()), &json!("1000000")));
    let (error, _) = folder.error(&["stake", "withdraw", "--passphrase-file", &file]);
    assert!(error["message"].as_str().unwrap().contains("is free at"), "{error}");
    assert_eq!(folder.json(&["wallet", "top-up"])["available"], "10000000");
    let history = folder.json(&["wallet", "history"]);
    assert_eq!(
        (&history["history"][0]["what"], &history["history"][0]["amount"]),
        (&json!("credit"), &json!("+10000000"))
    );
}

#[test]
fn an_owner_s_hours_keep_the_machine_and_say_so() {
    let folder = Folder::new();
    let hour = (jiff::Zoned::now().hour() + 12) % 24;
    let hours = format!("{hour}:00-{hour}:01");
    let _node = up(&folder, &["--provide", "--ledger", "off", "--hours", &hours, "--reclaim", "0"]);
    let deadline = std::time::Instant::now() + SILENCE_MAX;
    loop {
        let why = folder.json(&["provide", "why"]);
        let reasons = why["reasons"].as_array().unwrap();
        if reasons.iter().any(|reason| reason["message"].as_str().unwrap().contains("outside the owner's hours")) {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{why}");
    }
}
