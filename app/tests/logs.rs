//! What a node that is used writes into its log: no secret, whatever the format.
#![allow(clippy::unwrap_used, reason = "all of it is tests, helpers too")]

mod node;

use node::{run, start, talkoo};
use serde_json::{Value, json};
use std::fs::{read, read_to_string, write};
use std::path::Path;

const PASSPHRASE: &str = "kaksitoista hiljaista kuusta";
const PROMPT: &str = "zwanzig violette Nashörner im Keller";

/// Runs a node, uses it, stops it; its log, and everything that may not stand there.
fn used(dir: &Path, flags: &[&str], level: Option<&str>) -> (String, Vec<(&'static str, String)>) {
    let log = dir.join("log");
    let mut command =
        talkoo(dir, &[&["-o", "json", "-v", "up", "--api", "127.0.0.1:0", "--pull", "smollm2"], flags].concat());
    command.envs(level.map(|level| ("TALKOO_LOG", level)));
    let (mut node, up) = start(command, &log);
    run(dir, &["pull", "smollm2"]);
    let key = run(dir, &["key", "create", "--name", "a"])["key"].as_str().unwrap().to_owned();
    let url = format!("http://{}/v1/chat/completions", up["api"].as_str().unwrap());
    let body = json!({"model": "smollm2", "max_tokens": 6, "messages": [{"role": "user", "content": PROMPT}]});
    let asked = |body: &Value| ureq::post(&url).header("Authorization", format!("Bearer {key}")).send_json(body);
    let answer: Value = asked(&body).unwrap().body_mut().read_json().unwrap();
    let answer = answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    // Refused, too, and not even JSON.
    assert!(asked(&json!({"model": "none", "messages": [{"role": "user", "content": PROMPT}]})).is_err());
    assert!(ureq::post(&url).header("Authorization", format!("Bearer {key}")).send(PROMPT).is_err());
    assert!(
        ureq::post(format!("{url}?q={key}")).header("Authorization", format!("Bearer {key}x")).send(PROMPT).is_err()
    );
    run(dir, &["down"]);
    assert!(node.0.wait().unwrap().success());
    let file = |name: &str| read(dir.join("node").join(name)).unwrap();
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let secrets = vec![
        ("the API's token", String::from_utf8(file("api.token")).unwrap().trim().to_owned()),
        ("the node's key", hex(file("key"))),
        ("a program's key", key),
        ("the passphrase", PASSPHRASE.to_owned()),
        ("a prompt", PROMPT.to_owned()),
        ("an answer", answer),
    ];
    (read_to_string(log).unwrap(), secrets)
}

fn holds_no_secret(log: &str, secrets: &[(&str, String)]) {
    for (what, secret) in secrets {
        assert!(secret.len() > 5, "{what} is too short to be looked for: {secret}");
        assert!(!log.contains(secret.as_str()), "{what} stands in the log:\n{log}");
    }
}

#[test]
fn no_secret_stands_in_a_log_in_either_format() {
    let dir = tempfile::tempdir().unwrap();
    let (log, mut secrets) = used(dir.path(), &[], None);
    let words = read_to_string(dir.path().join("node/owner.words")).unwrap().trim().to_owned();
    secrets.push(("the owner's words", words.clone()));
    assert!(log.contains("INFO") || log.contains("DEBUG"), "`-v` says something: {log}");
    assert!(!log.contains("/v1/chat/completions"), "requests are logged unasked: {log}");
    holds_no_secret(&log, &secrets);

    let passphrase = dir.path().join("passphrase");
    write(&passphrase, PASSPHRASE).unwrap();
    let passphrase = passphrase.to_str().unwrap();
    run(dir.path(), &["wallet", "lock", "--passphrase-file", passphrase]);
    let flags = ["--log-format", "json", "--passphrase-file", passphrase];
    let (log, mut secrets) = used(dir.path(), &flags, Some("debug,talkoo=trace"));
    secrets.push(("the owner's words", words));
    holds_no_secret(&log, &secrets);
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    for line in &lines {
        let time = line["timestamp"].as_str().unwrap_or_default();
        assert!(time.len() >= 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
        assert!(line["level"].is_string() && line["target"].is_string() && line["fields"].is_object(), "{line}");
    }
    let request =
        lines.iter().find(|line| line["fields"]["route"] == "/v1/chat/completions").expect("requests were asked for");
    let (target, fields) = (&request["target"], &request["fields"]);
    assert_eq!(
        (target, &fields["message"], &fields["status"]),
        (&json!("talkoo_api::requests"), &json!("request"), &json!(200))
    );
}
