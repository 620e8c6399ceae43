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
mod inference;
mod ledger;
mod models;
mod settings;
mod talk;

use clap::Parser;
use std::process::ExitCode;

/// What is logged unless the user asks for more: kad warns that a node without peers has none.
const QUIET: &str = "warn,libp2p_kad=error";
/// What is logged with `-v`.
const VERBOSE: &str = "talkoo=debug,talkoo_net=debug,info";

fn main() -> ExitCode {
    let given: Vec<_> = std::env::args_os().collect();
    let (args, settings) = match settings::extend(&given, &settings::Around::here()) {
        Ok(extended) => extended,
        Err(why) => return commands::report_settings(&why, &given),
    };
    let cli = match cli::Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return commands::report_usage(&error, &given, &settings),
    };
    let level = if cli.verbose { VERBOSE } else { QUIET };
    let filter = tracing_subscriber::EnvFilter::try_from_env("TALKOO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    commands::run(cli)
}
