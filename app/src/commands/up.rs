//! `up`: a node in the foreground.

use super::{Show, say};
use crate::cli::UpArgs;
use crate::daemon::config::{LISTEN_DEFAULT, PRICE_DEFAULT};
use crate::daemon::rim::Rim;
use crate::daemon::{self, Config};
use anyhow::{Context, Result};
use std::path::PathBuf;
use talkoo_base::Price;
use tokio_util::sync::CancellationToken;

/// Checks the flags.
pub(crate) fn config_of(args: UpArgs, data_dir: PathBuf) -> Config {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let price = args.price.map_or(PRICE_DEFAULT, |p| {
        let micro = (p * 1e6).max(0.0) as u128;
        Price { input: micro / 4, output: micro }
    });
    let listen = if args.listen.is_empty() { LISTEN_DEFAULT.map(str::to_owned).to_vec() } else { args.listen };
    Config {
        data_dir,
        network: args.network,
        listen,
        bootstrap: args.bootstrap,
        api: args.api,
        pull: args.pull,
        sources: args.sources,
        provide: args.provide,
        threads: args.threads.unwrap_or(cores).clamp(1, 256),
        price,
        quota_bytes: args.quota << 30,
    }
}

/// Runs a node until Ctrl-C, SIGTERM, or `talkoo down`.
pub(crate) fn serve(config: Config, rim: Box<dyn Rim>, show: Show) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let stop = CancellationToken::new();
    let signal = stop.clone();
    let served = runtime.block_on(async {
        tokio::spawn(async move {
            stop_signal().await;
            signal.cancel();
        });
        daemon::run(config, rim, stop, |line| {
            if show.json() {
                super::print(line);
            } else {
                let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
                say(&format!("node {} is up, API at {}", value["node"].as_str().unwrap_or("?"), value["api"]));
                for addr in value["listen"].as_array().into_iter().flatten() {
                    say(&format!("  listens on {}", addr.as_str().unwrap_or("?")));
                }
            }
        })
        .await
    });
    // Whatever still runs after the written shutdown is not waited for.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    served
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
        }
        Err(_) => drop(interrupt.await),
    }
}
