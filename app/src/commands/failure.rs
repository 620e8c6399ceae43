//! How a command says no: one line for people, one JSON object for programs.

use super::{Show, say};
use crate::settings::Setting;
use anyhow::Error;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;
use talkoo_base::{Refusal, RefusalCode};

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// What it is about is not there.
const NOT_FOUND: u8 = 3;
/// Nobody answers, or not in time.
const UNREACHABLE: u8 = 4;
/// A policy, a budget or a price forbids it.
const DENIED: u8 = 5;
/// What was to be checked does not hold.
pub(super) const FALSE: u8 = 6;
/// Exit code of a command line that makes no sense.
const USAGE: u8 = 2;

/// A refusal on its way through `anyhow`, with the exit code that it means.
#[derive(Debug)]
pub(crate) struct Failure {
    refusal: Refusal,
    exit: u8,
}

impl Failure {
    /// The command failed.
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Refusal::new(code, message, hint).into()
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { refusal: Refusal::new(RefusalCode::Malformed, message, hint), exit: USAGE }
    }

    /// What was to be checked does not hold.
    pub(crate) fn unproved(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { refusal: Refusal::new(RefusalCode::Malformed, message, hint), exit: FALSE }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { exit: exit_of(refusal.code), refusal }
    }
}

/// What a script sees of a refusal.
fn exit_of(code: RefusalCode) -> u8 {
    match code {
        RefusalCode::UnknownId | RefusalCode::UnknownModel => NOT_FOUND,
        RefusalCode::Silent | RefusalCode::Disconnected | RefusalCode::DeadlinePassed => UNREACHABLE,
        RefusalCode::Denied
        | RefusalCode::InsufficientFunds
        | RefusalCode::PriceAboveMax
        | RefusalCode::PriceTooLow
        | RefusalCode::NotWanted => DENIED,
        _ => FAILED,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.refusal.message)?;
        if self.refusal.code != RefusalCode::Other {
            write!(f, " [{}]", self.refusal.code)?;
        }
        if let (Some(need), Some(have)) = (&self.refusal.need, &self.refusal.have) {
            write!(f, " (need {need}, have {have})")?;
        }
        if !self.refusal.hint.is_empty() {
            write!(f, "; {}", self.refusal.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// What went wrong, as one refusal: the one in the chain, with everything before it as its
/// message's beginning; or the whole chain as a message.
pub(crate) fn refusal_of(error: &Error) -> Refusal {
    failure_of(error).refusal
}

fn failure_of(error: &Error) -> Failure {
    let mut before = Vec::new();
    for cause in error.chain() {
        if let Some(Failure { refusal, exit }) = cause.downcast_ref() {
            before.push(refusal.message.clone());
            return Failure { refusal: Refusal { message: before.join(": "), ..refusal.clone() }, exit: *exit };
        }
        let said = cause.to_string();
        // Some errors already say their cause before their own hint.
        if !before.last().is_some_and(|last: &String| last.contains(&said)) {
            before.push(said);
        }
    }
    Failure::new(RefusalCode::Other, before.join(": "), "")
}

/// Says why a command failed.
pub(crate) fn report(error: &Error, show: &Show) -> ExitCode {
    let mut failure = failure_of(error);
    failure.refusal.hint = show.hint(&failure.refusal.hint);
    if show.json() {
        say(&talkoo_api::refusal_json(&failure.refusal).to_string());
    } else {
        say(&format!("error: {}", show.hint(&failure.to_string())));
    }
    ExitCode::from(failure.exit)
}

/// Says what is wrong with the command line, or prints the help that it asks for.
pub(crate) fn report_usage(error: &clap::Error, args: &[OsString], settings: &[Setting]) -> ExitCode {
    let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if !error.use_stderr() || !asks_for_json(&args) {
        // A closed terminal is no reason to say anything else.
        error.print().ok();
        let told = error.render().to_string();
        for setting in settings.iter().filter(|setting| told.contains(&format!("--{}", setting.name))) {
            say(&format!("`{}` is set by {}", setting.name, setting.from));
        }
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
    }
    let text = error.render().to_string();
    let first = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    let message = first.split_whitespace().collect::<Vec<_>>().join(" ");
    let no = Refusal::new(RefusalCode::Malformed, message, "see `talkoo --help`, and `--help` after a command");
    say(&talkoo_api::refusal_json(&no).to_string());
    ExitCode::from(USAGE)
}

/// Says what is wrong with a file of settings.
pub(crate) fn report_settings(why: &str, args: &[OsString]) -> ExitCode {
    let is_json = asks_for_json(&args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>());
    report(
        &Failure::usage(why, "mend the file, or name another with XDG_CONFIG_HOME").into(),
        &Show::new(is_json, None),
    )
}

/// Whether a command line that does not parse asks for JSON.
fn asks_for_json(args: &[String]) -> bool {
    let pair = |pair: &[String]| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json";
    args.windows(2).any(pair) || args.iter().any(|a| ["-ojson", "-o=json", "--output=json"].contains(&a.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_refusal_keeps_its_parts_on_its_way_out() {
        let no = Failure::from(Refusal::new(RefusalCode::Busy, "it is busy", "wait").with(2, 1));
        let error = Err::<(), _>(no).context("cannot pull").unwrap_err();
        let refusal = refusal_of(&error);
        assert_eq!((refusal.code, refusal.message.as_str()), (RefusalCode::Busy, "cannot pull: it is busy"));
        assert_eq!((refusal.need.as_deref(), refusal.have.as_deref()), (Some("2"), Some("1")));
        assert_eq!(failure_of(&error).to_string(), "cannot pull: it is busy [busy] (need 2, have 1); wait");
        let plain = refusal_of(&anyhow::anyhow!("disk").context("cannot write x"));
        assert_eq!((plain.code, plain.message.as_str()), (RefusalCode::Other, "cannot write x: disk"));
    }

    #[test]
    fn a_broken_command_line_that_asks_for_json_gets_it() {
        let args = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for line in ["-o json up --price x", "up -ojson", "up --output=json", "batch -o out --output json"] {
            assert!(asks_for_json(&args(line)), "{line}");
        }
        for line in ["up --price x", "batch json", "batch -o out.json"] {
            assert!(!asks_for_json(&args(line)), "{line}");
        }
    }

    #[test]
    fn a_cause_is_said_once() {
        let source = std::io::Error::other("no disk");
        let error = Error::from(talkoo_engine::ModelError::Read { path: "m".into(), source }).context("cannot start");
        let said = "cannot start: cannot read m: no disk; check that the file exists and is readable";
        assert_eq!(refusal_of(&error).message, said);
    }
}
