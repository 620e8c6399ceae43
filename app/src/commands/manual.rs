//! `completions` and `man`: what shells and readers know of the commands, made from the commands themselves.

use super::say;
use crate::cli::Cli;
use anyhow::{Context, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::io::Write as _;
use std::path::Path;

pub(super) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "talkoo", &mut script);
    std::io::stdout().write_all(&script).context("stdout was closed")
}

pub(super) fn pages(dir: Option<&Path>) -> Result<()> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        return std::io::stdout().write_all(&page).context("stdout was closed");
    };
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir).with_context(|| format!("cannot write into {}", dir.display()))?;
    say(&format!("the pages are in {}: man -l {}", dir.display(), dir.join("talkoo.1").display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_that_people_see_has_a_page() {
        let dir = tempfile::tempdir().unwrap();
        pages(Some(dir.path())).unwrap();
        let command = Cli::command();
        for seen in command.get_subcommands().filter(|seen| !seen.is_hide_set()) {
            let page = std::fs::read_to_string(dir.path().join(format!("talkoo-{}.1", seen.get_name()))).unwrap();
            assert!(page.contains(".SH SYNOPSIS"), "{}", seen.get_name());
        }
        assert!(!dir.path().join("talkoo-demo-node.1").exists());
    }

    #[test]
    fn shells_complete_every_command() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "talkoo", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("provide") && script.contains("wallet"), "{shell}");
        }
    }
}
