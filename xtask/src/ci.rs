//! The whole CI besides `cargo test --workspace`.

use crate::{cargo, command, contracts, judge, target, tidy};
use anyhow::{Context, Result, ensure};

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
    let program = tested()?;
    catches(&program, &LIES_EACH_TIME)?;
    demo(&program, &["--prompts", "16", "--no-audits"], 6)?;
    judge::quick(&program)?;
    println!("ci: all good");
    Ok(())
}

fn docs() -> Result<()> {
    println!("$ cargo doc (warnings are errors)");
    let status = command("cargo")
        .args(["doc", "--workspace", "--no-deps", "--quiet", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")
        .status()?;
    ensure!(status.success(), "the documentation has warnings");
    Ok(())
}

fn deny() -> Result<()> {
    let there = command("cargo").args(["deny", "--version"]).output().is_ok_and(|o| o.status.success());
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

/// The program as the tests built it: `cargo build` would unite other features, and a release build costs CI ten minutes.
fn tested() -> Result<String> {
    cargo(&["test", "--workspace", "--no-run", "--quiet"])?;
    Ok(format!("{}/debug/talkoo", target()))
}

/// The demo on the real model with every lie, and with none, when nobody is to be accused.
pub(crate) fn lies(program: &str) -> Result<()> {
    catches(program, &LIES)
}

fn catches(program: &str, lies: &[&str]) -> Result<()> {
    for lie in lies {
        // These need two answers of the liar.
        let prompts = if matches!(*lie, "copied-answer" | "replayed-receipt") { "32" } else { "16" };
        demo(program, &["--prompts", prompts, "--liar", lie], 0)?;
    }
    Ok(())
}

fn demo(program: &str, args: &[&str], want: i32) -> Result<()> {
    println!("$ {program} demo {}", args.join(" "));
    let status = command(program).arg("demo").args(args).status().context("cannot run the demo")?;
    ensure!(status.code() == Some(want), "the demo ended with {status}, not with exit code {want}");
    Ok(())
}
