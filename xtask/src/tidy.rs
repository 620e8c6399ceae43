//! The house rules that a compiler does not know, as ratchets: what is listed as an exception has
//! a written reason, and may only shrink.

use crate::{judge, vendor};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of a file, tests apart.
const LINES_MAX: usize = 400;

/// Files that may be longer, how long, and why.
const LONG: &[(&str, usize, &str)] =
    &[("sim/src/world.rs", 480, "one loop over virtual time; its parts are one match")];

/// Who may depend on whom, among our own crates. What is not here may not.
const MAY_KNOW: &[(&str, &[&str])] = &[
    ("talkoo-base", &[]),
    ("talkoo-exact", &["talkoo-base"]),
    ("talkoo-job", &["talkoo-base"]),
    ("talkoo-market", &["talkoo-base"]),
    ("talkoo-proof", &["talkoo-base", "talkoo-exact"]),
    ("talkoo-store", &["talkoo-base"]),
    ("talkoo-ledger", &["talkoo-base"]),
    ("talkoo-chain", &["talkoo-base"]),
    ("talkoo-node", &["talkoo-base", "talkoo-job", "talkoo-market", "talkoo-proof"]),
    ("talkoo-engine", &["talkoo-base", "talkoo-exact"]),
    ("talkoo-disk", &["talkoo-base", "talkoo-store"]),
    ("talkoo-net", &["talkoo-base", "talkoo-store"]),
    ("talkoo-api", &["talkoo-base", "talkoo-ledger"]),
    ("talkoo-gateway", &["talkoo-api", "talkoo-base", "talkoo-disk", "talkoo-store"]),
    ("talkoo-inference", &["talkoo-api", "talkoo-base"]),
    ("talkoo-mcp", &["talkoo-api", "talkoo-base", "talkoo-inference"]),
    ("talkoo-web", &["talkoo-base"]),
    ("talkoo-sim", &["talkoo-base", "talkoo-chain", "talkoo-job", "talkoo-node", "talkoo-proof"]),
    ("xtask", &[]),
];

/// Crates that pure code must not pull in.
const IMPURE: &[&str] = &["tokio", "libp2p", "redb", "axum", "ureq", "getrandom", "futures"];

/// Checks every rule; lists all that are broken.
pub(crate) fn run() -> Result<()> {
    let files = sources()?;
    let mut broken: Vec<String> = Vec::new();
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        check_file(&file.to_string_lossy(), &text, &mut broken);
    }
    check_graph(&mut broken)?;
    check_attacks(&files, &mut broken)?;
    vendor::check(&mut broken)?;
    judge::record::check(&mut broken)?;
    for (path, _, why) in LONG {
        if !Path::new(path).exists() {
            broken.push(format!("{path} is listed as an exception ({why}) and is gone"));
        }
    }
    for line in &broken {
        println!("tidy: {line}");
    }
    if !broken.is_empty() {
        bail!("{} house rules are broken", broken.len());
    }
    println!("tidy: {} files are in order", files.len());
    Ok(())
}

/// The tests that the page of attacks names exist.
fn check_attacks(files: &[PathBuf], broken: &mut Vec<String>) -> Result<()> {
    const PAGE: &str = "docs/ATTACKS.md";
    let read =
        |file: &PathBuf| std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    let rust = files.iter().filter(|file| file.extension().is_some_and(|e| e == "rs"));
    let sources = rust.map(read).collect::<Result<String>>()?;
    for (number, line) in (1..).zip(read(&PAGE.into())?.lines()) {
        let last = line.trim_end_matches('|').rsplit('|').next().filter(|_| line.starts_with('|')).unwrap_or_default();
        let names = last.split('`').skip(1).step_by(2);
        for name in names.filter(|name| !sources.contains(&format!("fn {name}("))) {
            broken.push(format!("{PAGE}:{number}: there is no test `{name}`"));
        }
    }
    Ok(())
}

/// Every text file that git knows.
fn sources() -> Result<Vec<PathBuf>> {
    let listed = Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    let names = String::from_utf8(listed.stdout).context("file names are UTF-8")?;
    let kinds = ["rs", "md", "toml", "mjs", "py", "json", "jsonl", "sh"];
    let text = |p: &PathBuf| p.extension().is_some_and(|e| kinds.iter().any(|k| e == *k));
    Ok(names.lines().map(PathBuf::from).filter(text).filter(|p| p.exists()).collect())
}

fn check_file(path: &str, text: &str, broken: &mut Vec<String>) {
    let is_rust = path.ends_with(".rs");
    let is_test = path.ends_with("tests.rs") || path.contains("/tests/") || path.contains("/testing");
    let allowed = LONG.iter().find(|(p, ..)| *p == path).map_or(LINES_MAX, |(_, lines, _)| *lines);
    let lines = text.lines().count();
    if is_rust && !is_test && lines > allowed {
        broken.push(format!("{path} has {lines} lines (at most {allowed})"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        for why in faults(path, line, is_rust, is_test) {
            broken.push(format!("{path}:{number}: {why}"));
        }
    }
}

/// What is wrong with one line.
fn faults(path: &str, line: &str, is_rust: bool, is_test: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let code = line.split("//").next().unwrap_or_default();
    let here = path == "xtask/src/tidy.rs";
    // Spelled apart, so that this file does not break its own rule.
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X"), concat!("todo", "!("), concat!("#[ig", "nore")];
    if is_rust && marks.iter().any(|m| line.contains(m)) {
        faults.push("a mark of unfinished work".into());
    }
    let hosts = [concat!("crates", ".io"), concat!("pypi", ".org"), concat!("registry.", "npmjs.org")];
    if !path.ends_with("Cargo.lock") && hosts.iter().any(|h| line.contains(h)) {
        faults.push("a package registry's host is named".into());
    }
    if !is_rust || here {
        return faults;
    }
    if path.starts_with("pure/exact/src") && !is_test && words(code).any(|w| w == "f32" || w == "f64") {
        faults.push("a float in the definition".into());
    }
    if words(code).any(|w| w == "unsafe")
        && !path.starts_with("world/engine/src/kernels")
        && !code.contains("unsafe_code")
    {
        faults.push("unsafe outside the kernels".into());
    }
    let derives = code.contains("derive(") && words(code).any(|w| w == "Serialize" || w == "Deserialize");
    let is_wire = path.contains("/wire") || path == "pure/proof/src/kept.rs";
    if path.starts_with("pure/") && derives && !is_wire && !is_test {
        faults.push("a serializable type outside wire.rs".into());
    }
    // Lying lives in app/src/demo, and only the hidden commands of the demo lead there.
    let leads = ["demo::", "mod liar", "liar::", "Liar"].iter().any(|w| code.contains(w));
    let may = [
        "app/src/demo/",
        "app/src/main.rs",
        "app/src/cli.rs",
        "app/src/cli/demo.rs",
        "app/src/commands/mod.rs",
        "sim/",
    ];
    if leads && !code.contains("ProvenLiar") && !may.iter().any(|m| path.starts_with(m)) {
        faults.push("reaches for the demo's liar".into());
    }
    faults
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// Reads `cargo metadata` and compares it with the rules.
fn check_graph(broken: &mut Vec<String>) -> Result<()> {
    let output = Command::new("cargo").args(["metadata", "--format-version", "1", "--no-deps"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is JSON")?;
    let rules: BTreeMap<&str, &[&str]> = MAY_KNOW.iter().copied().collect();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"] == "dev";
            let ours = other.starts_with("talkoo");
            if name != "talkoo" && ours && !is_dev && !rules.get(name).is_some_and(|may| may.contains(&other)) {
                broken.push(format!("{name} must not know {other}"));
            }
            if manifest.contains("/pure/") && IMPURE.contains(&other) && !is_dev {
                broken.push(format!("{name} is pure and must not know {other}"));
            }
        }
    }
    Ok(())
}
