//! The ledger's contracts: what is checked in is what the pinned compiler makes of the sources, and their tests pass.
//! Only this needs node; without it the step is skipped with a printed reason.

use crate::run_program;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const FORGE: &str = "node_modules/.bin/forge";
/// What the sources give now, for a comparison.
const REBUILT: &str = "out/artifacts";

/// Installs the compiler if its version changed, compiles, compares, tests. `--write` rewrites the artifacts instead of
/// comparing them.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    ensure!(matches!(args, [] | ["--write"]), "usage: cargo xtask contracts [--write]");
    if let Some(missing) = ["node", "npm"].into_iter().find(|p| Command::new(p).arg("--version").output().is_err()) {
        println!("contracts: SKIPPED, {missing} is not here (install Node.js 20.11 or newer)");
        return Ok(());
    }
    std::env::set_current_dir("contracts")?;
    let checked = check(args == ["--write"]);
    std::env::set_current_dir("..")?;
    checked
}

fn check(write: bool) -> Result<()> {
    if is_stale()? {
        run_program("npm", &["ci", "--no-audit", "--no-fund", "--loglevel=error"])?;
    }
    if write {
        clear("artifacts")?;
        run_program("node", &["build.mjs"])?;
    } else {
        clear(REBUILT)?;
        run_program("node", &["build.mjs", REBUILT])?;
        compare(&artifacts("artifacts")?, &artifacts(REBUILT)?)?;
    }
    if !Path::new(FORGE).exists() {
        println!("contracts: format and tests SKIPPED, there is no forge for this platform");
        return Ok(());
    }
    run_program(FORGE, &["fmt", "--check"])?;
    run_program(FORGE, &["test", "--threads", "1", "--summary"])
}

/// Whether what npm installed is older than what the lock file asks for.
fn is_stale() -> Result<bool> {
    let wanted = fs::metadata("package-lock.json").context("contracts/package-lock.json is missing")?.modified()?;
    Ok(fs::metadata("node_modules/.package-lock.json").and_then(|m| m.modified()).map_or(true, |have| have < wanted))
}

fn clear(dir: &str) -> Result<()> {
    if Path::new(dir).exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot clear {dir}"))?;
    }
    Ok(())
}

/// Every file of a folder.
fn artifacts(dir: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read contracts/{dir}"))?;
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?))
        })
        .collect()
}

fn compare(have: &BTreeMap<String, Vec<u8>>, made: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let other = |name: &&String| have.get(*name) != made.get(*name);
    let names: Vec<&String> = have.keys().chain(made.keys().filter(|n| !have.contains_key(*n))).filter(other).collect();
    if !names.is_empty() {
        bail!("artifacts are not what the sources give: {names:?}; run `cargo xtask contracts --write`");
    }
    Ok(())
}
