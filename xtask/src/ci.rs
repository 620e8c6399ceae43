//! The whole CI besides `cargo test --workspace`.

use crate::{cargo, contracts, judge, tidy};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Version of cargo-deny that is installed if none is there.
const DENY: &str = "0.20.2";

/// Everything, in the order of how soon it says no.
pub(crate) fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    tidy::run()?;
    cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    docs()?;
    deny()?;
    contracts::run(&[])?;
    demos()?;
    judge::run(&["--quick"])?;
    println!("ci: all good");
    Ok(())
}

fn docs() -> Result<()> {
    println!("$ cargo doc (warnings are errors)");
    let status = Command::new("cargo")
        .args(["doc", "--workspace", "--no-deps", "--quiet", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")
        .status()?;
    ensure!(status.success(), "the documentation has warnings");
    Ok(())
}

fn deny() -> Result<()> {
    let there = Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|o| o.status.success());
    if !there {
        cargo(&["install", "cargo-deny", "--version", DENY, "--locked", "--quiet"])?;
    }
    cargo(&["deny", "--log-level", "error", "check", "licenses", "bans", "sources"])
}

/// All that the demo's liar can do, and nothing.
const LIES: [&str; 7] =
    ["other-weights", "truncated", "tampered-token", "copied-answer", "cheated-sampler", "replayed-receipt", "none"];
/// Those of each time: false numbers, somebody else's answer, no lie. The others are `judge lies`, for minutes count here.
const LIES_EACH_TIME: [&str; 3] = ["other-weights", "copied-answer", "none"];

/// The demo on the real model: a lie is caught, nobody is accused without one, and without
/// audits a lie goes through.
fn demos() -> Result<()> {
    catches(&LIES_EACH_TIME)?;
    demo(&["--prompts", "16", "--no-audits"], 6)
}

/// The same with every lie.
pub(crate) fn lies() -> Result<()> {
    catches(&LIES)
}

fn catches(lies: &[&str]) -> Result<()> {
    cargo(&["build", "--release", "--quiet", "-p", "talkoo"])?;
    for lie in lies {
        // These need two answers of the liar.
        let prompts = if matches!(*lie, "copied-answer" | "replayed-receipt") { "32" } else { "16" };
        demo(&["--prompts", prompts, "--liar", lie], 0)?;
    }
    Ok(())
}

fn demo(args: &[&str], want: i32) -> Result<()> {
    let args = [&["run", "--release", "--quiet", "-p", "talkoo", "--", "demo"], args].concat();
    println!("$ cargo {}", args.join(" "));
    let status = Command::new("cargo").args(&args).status().context("cannot run the demo")?;
    ensure!(status.code() == Some(want), "the demo ended with {status}, not with exit code {want}");
    Ok(())
}
