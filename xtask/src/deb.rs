//! `deb`: a package for Debian and what is derived from it. The manual's pages and the completions come from the program itself.

use crate::{cargo, run_program};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the package and what goes into it are made; `app/Cargo.toml` names it.
const FOLDER: &str = "target/deb";
/// The tool, and the version that the metadata was written for.
const TOOL: &str = "cargo-deb@3.8.0";

/// Builds it, from a release build or from a binary that is given.
pub(crate) fn run(args: &[&str]) -> Result<()> {
    let binary = match args {
        [] => {
            cargo(&["build", "--release", "--locked", "-p", "talkoo"])?;
            PathBuf::from(crate::target()).join("release/talkoo")
        }
        ["--binary", binary] => PathBuf::from(binary),
        _ => bail!("usage: cargo xtask deb [--binary FILE]"),
    };
    assets(&binary).with_context(|| format!("cannot make the package's files in {FOLDER}"))?;
    let is_there = Command::new("cargo-deb").arg("--version").output().is_ok_and(|done| done.status.success());
    if !is_there {
        bail!("cargo-deb is not here; its files are in {FOLDER}: cargo install {TOOL} --locked");
    }
    cargo(&["deb", "--no-build", "--no-strip", "-p", "talkoo", "--output", FOLDER])
}

/// What the package holds and the repository does not.
fn assets(binary: &Path) -> Result<()> {
    let folder = Path::new(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder.join("completions"))?;
    let program = folder.join("talkoo");
    fs::copy(binary, &program).with_context(|| format!("{} is no program", binary.display()))?;
    let program = program.to_str().context("the folder's name is text")?;
    run_program(program, &["man", &format!("{FOLDER}/man")])?;
    for (shell, name) in [("bash", "talkoo"), ("zsh", "_talkoo"), ("fish", "talkoo.fish")] {
        fs::write(folder.join("completions").join(name), said(program, &["completions", shell])?)?;
    }
    // The package's own changelog: a version, and when its last change was made.
    let date = String::from_utf8(said("git", &["log", "-1", "--format=%aD"])?)?;
    let version = env!("CARGO_PKG_VERSION");
    let text = format!(
        "talkoo ({version}-1) unstable; urgency=medium\n\n  * Packaged from source; CHANGELOG.md there says what changed.\n\n \
         -- The Talkoo developers <maintainers@talkoo.invalid>  {date}"
    );
    fs::write(folder.join("changelog"), text)?;
    run_program("strip", &["--strip-unneeded", "--remove-section=.comment", "--remove-section=.note", program])
}

/// What a program prints.
fn said(program: &str, args: &[&str]) -> Result<Vec<u8>> {
    let done = Command::new(program).args(args).output().with_context(|| format!("cannot run {program}"))?;
    if !done.status.success() {
        bail!("`{program} {}` failed: {}", args.join(" "), String::from_utf8_lossy(&done.stderr));
    }
    Ok(done.stdout)
}
