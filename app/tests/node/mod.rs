//! A node as a process, in a folder of a test.

#![allow(dead_code, reason = "each of the tests that share it uses a part")]

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The program, on the node's folder in `dir`.
pub(crate) fn talkoo(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_talkoo"));
    command
        .arg("--data-dir")
        .arg(dir.join("node"))
        .args(args)
        .env("HOME", dir)
        .env_remove("TALKOO_LOG")
        .stdin(Stdio::null());
    command
}

/// What a command answers to a program.
pub(crate) fn output(dir: &Path, args: &[&str]) -> Output {
    talkoo(dir, &[&["-o", "json"], args].concat()).output().unwrap()
}

/// The same of one that has to succeed.
pub(crate) fn run(dir: &Path, args: &[&str]) -> Value {
    let output = output(dir, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Starts a node that writes its log to a file, and what it says when it serves.
pub(crate) fn start(mut command: Command, log: &Path) -> (Running, Value) {
    let mut node = Running(command.stdout(Stdio::piped()).stderr(File::create(log).unwrap()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(node.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let up = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{}", std::fs::read_to_string(log).unwrap()));
    (node, up)
}

/// Asks a node's API.
pub(crate) fn ask(
    api: &str,
    token: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, Value) {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{api}{path}"));
    request = request.header("Authorization", format!("Bearer {}", token.trim()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.run(request.body(body.to_vec()).unwrap()).unwrap();
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
