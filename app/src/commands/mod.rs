//! What each command does.

mod again;
mod audit;
mod batch;
mod bench;
mod chat;
mod config;
mod data;
mod dispute;
mod embed;
mod erase;
mod failure;
mod follow;
mod history;
mod key;
mod keys;
mod ledger;
mod manual;
mod mcp;
mod passphrase;
pub(crate) mod proved;
mod receipt;
mod run;
mod service;
mod show;
mod simple;
mod stake;
mod store;
mod target;
mod top;
mod up;
mod wallet;
mod webhook;

pub(crate) use audit::{day_begins, day_of};
pub(crate) use failure::{Failure, refusal_of, report_settings, report_usage};
pub(crate) use follow::{Watch, bar};
pub(crate) use history::movements;
pub(crate) use passphrase::Passphrase;
pub(crate) use receipt::{
    check as check_receipt, check_one as check_one_receipt, read as read_receipt, until as receipt_until,
};
pub(crate) use show::{Show, tame};
pub(crate) use store::{Form, imported};
pub(crate) use up::{config_of, serve};
pub(crate) use wallet::{Books, summary as wallet_summary};

use crate::cli::{Cli, Command, JobCommand};
use crate::{daemon, demo};
use anyhow::Result;
use std::borrow::Cow;
use std::io::{IsTerminal as _, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Runs the command and says why it failed, if it did.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let show = Show::new(cli.output.iter().any(|o| o == "json"), cli.data_dir.as_deref());
    perform(cli, &show).unwrap_or_else(|error| failure::report(&error, &show))
}

fn perform(cli: Cli, show: &Show) -> Result<ExitCode> {
    if cli.explain {
        crate::client::explain();
    }
    let data_dir = cli.data_dir.unwrap_or_else(daemon::config::data_dir_default);
    let file = cli.output.iter().find(|o| *o != "json" && *o != "text").map(PathBuf::from);
    let writes = matches!(cli.command, Command::Batch(_) | Command::Job(JobCommand::Output { .. }));
    if let Some(file) = file.as_ref().filter(|_| !writes) {
        let hint = format!("`-o json` prints for programs, `-o {}` means nothing here", file.display());
        return Err(Failure::usage("this command writes no file", hint).into());
    }
    match cli.command {
        Command::Demo(args) => return demo::run(&args, show),
        Command::DemoNode(args) => demo::node(args, data_dir)?,
        Command::DemoReference(args) => demo::reference(&args)?,
        Command::Up(args) => serve(config_of(args, data_dir)?, Box::new(daemon::rim::Honest), show)?,
        Command::Run(args) => run::run(&args, &data_dir, show)?,
        Command::Embed(args) => embed::run(&args, show)?,
        Command::Bench(args) => bench::run(&args, &data_dir, show)?,
        Command::Batch(args) => return batch::run(&args, file.as_deref(), &data_dir, show),
        Command::Receipt(command) => return receipt::run(command, &data_dir, show),
        Command::Erase(args) => erase::run(&data_dir, &args, show)?,
        Command::Audit(command) => return audit::run(&data_dir, &command, show),
        Command::Data(command) => data::run(&data_dir, &command, show)?,
        Command::Mcp { key } => mcp::run(&data_dir, key)?,
        Command::Key(command) => key::run(&data_dir, &command, show)?,
        Command::Webhook(command) => webhook::run(&data_dir, &command, show)?,
        Command::Dispute(command) => dispute::run(&data_dir, &command, show)?,
        Command::Wallet(command) => wallet::run(&data_dir, &command, cli.verbose, show)?,
        Command::Stake(command) => stake::run(&data_dir, &command, show)?,
        Command::Ledger(command) => return ledger::run(&data_dir, &command, show),
        Command::Store(command) => store::run(&data_dir, &command, show)?,
        Command::Config => config::run(show)?,
        Command::Service(command) => service::run(&data_dir, &command, show)?,
        Command::Top => top::run(&data_dir, show)?,
        Command::Ps => simple::ps(&data_dir, show)?,
        Command::Show { model } => simple::model(&data_dir, &model, show)?,
        Command::Completions { shell } => manual::completions(shell)?,
        Command::Man { dir } => manual::pages(dir.as_deref())?,
        Command::Down => simple::down(&data_dir, show)?,
        Command::Open => simple::open(&data_dir, show)?,
        Command::Status => simple::get(&data_dir, "/status", show)?,
        Command::Peers => simple::get(&data_dir, "/peers", show)?,
        Command::Doctor => simple::doctor(&data_dir, show)?,
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
    eprintln!("{}", quiet(line));
}

/// Data goes to stdout.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout();
    let text = if out.is_terminal() { quiet(text) } else { text.into() };
    // A reader that went away, as `head` does, wants no more.
    writeln!(out, "{text}").ok();
}

/// A text without letters that a terminal obeys, for others may have written it.
fn quiet(text: &str) -> Cow<'_, str> {
    let obeyed = |letter: char| crate::talk::is_obeyed(letter) && !matches!(letter, '\n' | '\t');
    if text.contains(obeyed) { text.replace(obeyed, " ").into() } else { text.into() }
}
