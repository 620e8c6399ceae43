//! A passphrase: from a file, a service manager, or a person.

use super::Failure;
use anyhow::{Context, Result};
use std::fmt;
use std::io::IsTerminal as _;
use std::path::Path;

/// A passphrase, which no log shows.
#[derive(Clone)]
pub(crate) struct Passphrase(String);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

impl Passphrase {
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// The first line of a file.
fn read(path: &Path) -> Result<Passphrase> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Passphrase(text.lines().next().unwrap_or_default().to_owned()))
}

/// For a command that needs one; a new one is asked for twice.
pub(super) fn ask(file: Option<&Path>, is_new: bool) -> Result<Passphrase> {
    if let Some(path) = file {
        return read(path);
    }
    if !std::io::stdin().is_terminal() {
        let why = "there is no terminal to ask for the passphrase at";
        return Err(Failure::usage(why, "name a file: --passphrase-file FILE").into());
    }
    let first = rpassword::prompt_password("passphrase: ")?;
    if is_new && rpassword::prompt_password("the same again: ")? != first {
        return Err(Failure::usage("the two differ", "try again").into());
    }
    Ok(Passphrase(first))
}

/// For the start of a node whose wallet is locked: a file, else at a terminal, where none is an answer, too.
pub(super) fn at_start(file: Option<&Path>, owner: &str) -> Result<Option<Passphrase>> {
    if file.is_some() {
        return ask(file, false).map(Some);
    }
    if !std::io::stdin().is_terminal() {
        return Ok(None);
    }
    let prompt = format!("passphrase of {owner} (Enter: the node earns, but orders nothing): ");
    Ok(Some(rpassword::prompt_password(prompt)?).filter(|text| !text.is_empty()).map(Passphrase))
}
