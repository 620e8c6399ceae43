//! Vectors that one real node buys of another: those that it would make itself, to the last bit.
#![allow(clippy::unwrap_used, reason = "all of it is tests, helpers too")]

mod node;

use node::{Running, ask, output, run, start, talkoo};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MODEL: &str = "all-minilm-l6-v2";
/// How long something may take that a test waits for.
const WAIT: Duration = Duration::from_secs(120);

struct Node {
    dir: PathBuf,
    _running: Running,
    api: String,
    listen: String,
}

impl Node {
    fn up(dir: PathBuf, flags: &[&str]) -> Self {
        std::fs::create_dir_all(&dir).unwrap();
        let fixed = ["-o", "json", "up", "--network", "vectors", "--api", "127.0.0.1:0", "--pull", MODEL];
        let mut command = talkoo(&dir, &[&fixed[..], flags].concat());
        // The user's own cache: both nodes need the same file.
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        command.env("XDG_CACHE_HOME", std::env::var_os("XDG_CACHE_HOME").unwrap_or(home.join(".cache").into()));
        let (running, up) = start(command, &dir.join("log"));
        let (api, listen) = (format!("http://{}", up["api"].as_str().unwrap()), up["listen"][0].as_str().unwrap());
        Self { dir, _running: running, api, listen: listen.to_owned() }
    }

    fn embed(&self, mut body: Value) -> (u16, Value) {
        body["model"] = json!(MODEL);
        let kind = [("Content-Type", "application/json")];
        let token = std::fs::read_to_string(self.dir.join("node/api.token")).unwrap();
        ask(&self.api, &token, "POST", "/v1/embeddings", &kind, body.to_string().as_bytes())
    }

    fn until(&self, what: &str, holds: impl Fn(&Path) -> bool) {
        let deadline = Instant::now() + WAIT;
        while !holds(&self.dir) {
            let log = || std::fs::read_to_string(self.dir.join("log")).unwrap();
            assert!(Instant::now() < deadline, "waited {WAIT:?} for {what}:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_node_buys_vectors_that_are_those_it_would_make_itself() {
    let folder = tempfile::tempdir().unwrap();
    let worker = Node::up(folder.path().join("worker"), &["--provide"]);
    let client = Node::up(folder.path().join("client"), &["--bootstrap", &worker.listen]);
    let pulled = |dir: &Path| run(dir, &["ls"])["models"].as_array().is_some_and(|models| !models.is_empty());
    client.until("the model", pulled);
    assert_eq!(run(&client.dir, &["ls"])["models"][0]["is_encoder"], json!(true));
    let texts: Vec<String> = (0..12).map(|n| format!("number {n}: {}", "a goose ".repeat(n))).collect();
    let (status, home) = client.embed(json!({"input": texts}));
    assert_eq!((status, &home["talkoo"]["price"]), (200, &json!("0")), "{home}");

    let offered = |dir: &Path| run(dir, &["peers"])["peers"].to_string().contains("\"offers\":1");
    client.until("the worker's offer", offered);
    // Our own engine is asked first about a worker that nobody knows.
    let (status, bought) = client.embed(json!({"input": texts, "provider": {"verify": "own"}}));
    assert_eq!(status, 200, "{bought}");
    assert_eq!(bought["data"], home["data"], "bought vectors are others than those of home");
    assert_eq!(bought["usage"], home["usage"]);
    assert_eq!(
        (&home["talkoo"]["nodes"][0]["here"], &home["talkoo"]["model"]),
        (&json!(true), &bought["talkoo"]["model"])
    );
    assert_eq!(home["talkoo"]["model"]["cid"], run(&client.dir, &["ls"])["models"][0]["cid"]);
    let facts = &bought["talkoo"];
    assert!(facts["price"].as_str().unwrap().parse::<f64>().unwrap() > 0.0, "{facts}");
    assert_eq!((facts["nodes"][0]["texts"].as_u64(), facts["audited"][0].as_u64()), (Some(12), Some(0)), "{facts}");

    let receipts = facts["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 12);
    let path = |n: usize| client.dir.join("node").join(receipts[n].as_str().unwrap());
    let file = path(3);
    let file = file.to_str().unwrap();
    for more in [&[][..], &["--rerun"], &["--scalar"]] {
        let told = run(&client.dir, &[&["receipt", "verify"], more, &[file]].concat());
        assert_eq!((&told["false"], &told["receipts"][0]["kind"]), (&json!(0), &json!("embed")), "{told}");
    }
    let shown = run(&client.dir, &["receipt", "disclose", file]);
    assert_eq!((shown["vector"].as_array().unwrap().len(), &shown["vector"]), (384, &home["data"][3]["embedding"]));

    let long = "word ".repeat(2_000);
    let (status, no) = client.embed(json!({"input": [long], "provider": {}}));
    assert_eq!((status, &no["error"]["code"]), (400, &json!("context_length_exceeded")), "{no}");
    // Refused before it is bought.
    let (status, no) = client.embed(json!({"input": ["a"], "dimensions": 385, "provider": {}}));
    assert_eq!((status, &no["error"]["param"]), (400, &json!("dimensions")), "{no}");
    let jobs = std::fs::read_dir(client.dir.join("node/receipts")).unwrap().count();
    assert_eq!(jobs, 1, "only what was wanted has receipts");
    let (status, no) = client.embed(json!({"input": ["a"], "provider": {"max_price": {"prompt": 0}}}));
    assert_eq!((status, &no["error"]["code"]), (503, &json!("not_wanted")), "{no}");
    let no = output(&client.dir, &["run", MODEL, "hi"]);
    assert_eq!(no.status.code(), Some(3), "an encoder generates no text");
    run(&client.dir, &["rm", MODEL]);
    assert_eq!(run(&client.dir, &["ls"])["models"], json!([]));
}
