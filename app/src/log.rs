//! The log: lines on stderr, for people or for programs.

use crate::cli::{Cli, Command, LogFormat};
use tracing_subscriber::EnvFilter;

/// What is logged unless the user asks for more: kad warns that a node without peers has none.
const QUIET: &str = "warn,libp2p_kad=error";
/// What is logged with `-v`. Requests are logged only for who names them in `TALKOO_LOG`.
const VERBOSE: &str = "talkoo=debug,talkoo_net=debug,info,talkoo_api::requests=off";

/// Begins the log as the command line says, or `TALKOO_LOG`.
pub(crate) fn begin(cli: &Cli) {
    let level = if cli.verbose { VERBOSE } else { QUIET };
    let filter = EnvFilter::try_from_env("TALKOO_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match &cli.command {
        Command::Up(args) if args.log_format == LogFormat::Json => {
            log.json().with_current_span(false).with_span_list(false).init();
        }
        _ => log.with_target(false).init(),
    }
}
