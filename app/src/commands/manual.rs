//! `completions` and `man`: what shells and readers know of the commands, made from the commands themselves.

use super::say;
use crate::cli::Cli;
use anyhow::{Context, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_complete::env::Shells;
use std::io::Write as _;
use std::path::Path;

pub(super) fn completions(shell: Shell) -> Result<()> {
    std::io::stdout().write_all(&script(shell)?).context("stdout was closed")
}

/// What a shell needs to ask this program: which words there are, it says at each Tab.
fn script(shell: Shell) -> Result<Vec<u8>> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&name).with_context(|| format!("{name} can't ask a program"))?;
    let mut script = Vec::new();
    completer.write_registration("COMPLETE", "talkoo", "talkoo", "talkoo", &mut script)?;
    Ok(script)
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
    fn every_shell_can_ask() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = String::from_utf8(script(shell).unwrap()).unwrap();
            assert!(script.contains("COMPLETE") && script.contains("talkoo"), "{shell}");
        }
    }
}
