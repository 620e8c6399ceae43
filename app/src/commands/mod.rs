//! What each command does.

mod batch;
mod receipt;
mod run;
mod simple;
mod up;

pub(crate) use batch::{Watch, bar};
pub(crate) use receipt::{check as check_receipt, read as read_receipt};
pub(crate) use up::{config_of, serve};

use crate::cli::JobCommand;
use crate::cli::{Cli, Command};
use crate::{daemon, demo};
use anyhow::{Result, bail};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    let data_dir = cli.data_dir.unwrap_or_else(daemon::config::data_dir_default);
    let json = cli.output.iter().any(|o| o == "json");
    let file = cli.output.iter().find(|o| *o != "json" && *o != "text").map(PathBuf::from);
    let show = Show { json };
    let writes = matches!(cli.command, Command::Batch(_) | Command::Job(JobCommand::Output { .. }));
    if let Some(file) = file.as_ref().filter(|_| !writes) {
        bail!("this command writes no file; `-o json` prints for programs, `-o {}` means nothing here", file.display());
    }
    match cli.command {
        Command::Demo(args) => return demo::run(&args, show),
        Command::DemoNode(args) => demo::node(args, data_dir)?,
        Command::DemoReference(args) => demo::reference(&args)?,
        Command::Up(args) => serve(config_of(args, data_dir), Box::new(daemon::rim::Honest), show)?,
        Command::Run(args) => run::run(&args, &data_dir, show)?,
        Command::Batch(args) => return batch::run(&args, file.as_deref(), &data_dir, show),
        Command::Receipt(command) => return receipt::run(command, &data_dir, show),
        Command::Down => simple::down(&data_dir, show)?,
        Command::Status => simple::get(&data_dir, "/status", show)?,
        Command::Peers => simple::get(&data_dir, "/peers", show)?,
        Command::Invite => simple::invite(&data_dir, show)?,
        Command::Join { code } => simple::join(&data_dir, &code, show)?,
        Command::Pull { model } => simple::pull(&data_dir, &model, show)?,
        Command::Ls => simple::get(&data_dir, "/models", show)?,
        Command::Rm { model } => simple::remove(&data_dir, &model, show)?,
        Command::Job(command) => simple::job(&data_dir, command, file.as_deref(), show)?,
        Command::Provide(command) => simple::provide(&data_dir, command, show)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Talk goes to stderr.
#[allow(clippy::print_stderr, reason = "the one place where the program talks")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// Data goes to stdout.
pub(crate) fn print(text: &str) {
    // A reader that went away, as `head` does, wants no more.
    writeln!(std::io::stdout(), "{text}").ok();
}

/// How results are shown.
#[derive(Clone, Copy)]
pub(crate) struct Show {
    json: bool,
}

impl Show {
    /// As JSON.
    pub(crate) fn for_programs() -> Self {
        Self { json: true }
    }

    pub(crate) fn json(self) -> bool {
        self.json
    }

    /// Prints a result: as JSON, or as lines for people.
    pub(crate) fn value(self, value: &Value) {
        if self.json() {
            print(&value.to_string());
        } else {
            print(text(value, 0).trim_end());
        }
    }
}

/// JSON for people: one `key: value` a line, lists of objects as blocks.
fn text(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| match value {
                Value::Object(_) => format!("{pad}{key}:\n{}", text(value, depth + 1)),
                Value::Array(rows) if rows.iter().any(Value::is_object) => {
                    let rows: Vec<String> = rows.iter().map(|r| text(r, depth + 1)).collect();
                    format!("{pad}{key}:\n{}", rows.join("\n"))
                }
                _ => format!("{pad}{key}: {}\n", plain(value)),
            })
            .collect(),
        _ => format!("{pad}{}\n", plain(value)),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
