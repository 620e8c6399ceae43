//! `cargo xtask …`: the project's own tools. `cargo xtask ci` is the whole CI besides the tests.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "these tools talk to people")]

mod bench;
mod ci;
mod contracts;
mod deb;
mod judge;
mod tidy;
mod vendor;

use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::Command;

const USAGE: &str = "usage: cargo xtask ci | tidy | contracts [--write] | judge [NAME|--list] | deb [--binary FILE] | bench [chain|embed|engine|float|gc|import|ledger|llama|net|path|sim] | sim [chain] SEED|FROM..TO [--trace] | sim report [--seed N] [--nodes N] [--jobs N] [--write]";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    std::env::set_current_dir(root()?)?;
    match args.first().map(String::as_str) {
        Some("ci") => ci::run(),
        Some("tidy") => tidy::run(),
        Some("contracts") => contracts::run(&rest),
        Some("judge") => judge::run(&rest),
        Some("deb") => deb::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("sim") => sim(&rest),
        _ => bail!(USAGE),
    }
}

/// The pretended world, or the one of the validators alone, or what cheating is worth.
fn sim(args: &[&str]) -> Result<()> {
    let (example, rest) = match args.split_first() {
        Some((&"chain", rest)) => ("chain", rest),
        Some((&"report", rest)) => ("economy", rest),
        _ => ("replay", args),
    };
    cargo(&[&["run", "--quiet", "--release", "-p", "talkoo-sim", "--example", example, "--"], rest].concat())
}

/// The workspace's folder.
fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).context("xtask stands in the workspace")
}

/// Where cargo puts what it builds.
fn target() -> String {
    std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into())
}

/// A program without what `cargo run` told this one of its own package: ring's build script looks at those variables, so
/// a cargo called with them would build ring anew, and half of everything after it.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let is_ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(is_ours) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs cargo, and fails with what was run.
fn cargo(args: &[&str]) -> Result<()> {
    run_program(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), args)
}

fn run_program(program: &str, args: &[&str]) -> Result<()> {
    println!("$ {program} {}", args.join(" "));
    let status = command(program).args(args).status().with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("`{program} {}` failed ({status})", args.join(" "));
    }
    Ok(())
}
