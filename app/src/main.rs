//! `talkoo`: a peer-to-peer AI computer in one binary.

mod answer;
mod audit;
mod batch;
mod cli;
mod client;
mod commands;
mod daemon;
mod data;
mod deals;
mod demo;
mod disputes;
mod erase;
mod income;
mod inference;
mod ledger;
mod log;
mod models;
mod settings;
mod talk;

use clap::Parser;
use clap_complete::CompleteEnv;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A shell that completes sets COMPLETE: it is answered, and nothing else is done.
    CompleteEnv::with_factory(cli::live::command).complete();
    let given: Vec<_> = std::env::args_os().collect();
    let (args, settings) = match settings::extend(&given, &settings::Around::here()) {
        Ok(extended) => extended,
        Err(why) => return commands::report_settings(&why, &given),
    };
    let cli = match cli::Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return commands::report_usage(&error, &given, &settings),
    };
    log::begin(&cli);
    commands::run(cli)
}
