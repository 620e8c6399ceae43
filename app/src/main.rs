//! `talkoo`: a peer-to-peer AI computer in one binary.

mod batch;
mod cli;
mod client;
mod commands;
mod daemon;
mod demo;
mod models;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let level = if cli.verbose { "talkoo=debug,talkoo_net=debug,info" } else { "warn" };
    let filter = tracing_subscriber::EnvFilter::try_from_env("TALKOO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            commands::say(&format!("error: {error:#}"));
            ExitCode::from(1)
        }
    }
}
