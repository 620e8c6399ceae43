//! `up`: a node in the foreground.

use super::{Failure, Show, passphrase, say};
use crate::cli::{Dht, Serve, UpArgs, X402Args};
use crate::daemon::config::{LISTEN_DEFAULT, MEMORY_SHARE, PRICE_DEFAULT, price_of};
use crate::daemon::executor::{Allowance, memory_bytes};
use crate::daemon::rim::Rim;
use crate::daemon::{self, Config, LedgerChoice};
use crate::models::{Shelf, catalog};
use anyhow::{Context, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use talkoo_base::{Amount, Price, RefusalCode};
use talkoo_disk::OwnerFiles;
use talkoo_net::Strangers;
use tokio_util::sync::CancellationToken;

/// Checks the flags.
///
/// # Errors
/// An API that strangers reach without the owner's word, or a model that nobody knows.
pub(crate) fn config_of(args: UpArgs, data_dir: PathBuf) -> Result<Config> {
    check_api(args.api, args.api_public, &data_dir)?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let allowance = Allowance {
        threads: args.threads.unwrap_or(cores),
        memory_bytes_max: args.memory_max.map_or_else(|| memory_bytes() / MEMORY_SHARE, |gib| gib << 30),
        is_polite: !args.no_polite,
    };
    let is_price_given = args.price.is_some();
    let prices = match args.price {
        Some([least, most]) => [price_of(least).map_err(Failure::from)?, price_of(most).map_err(Failure::from)?],
        None => [PRICE_DEFAULT; 2],
    };
    let listen = if args.listen.is_empty() { LISTEN_DEFAULT.map(str::to_owned).to_vec() } else { args.listen };
    if args.ledger.genesis.is_some() && !args.ledger.is_own() {
        let hint = "leave --genesis out, or say `--ledger own`";
        return Err(Failure::usage("a genesis is of a chain of this node's own", hint).into());
    }
    let passphrase = match OwnerFiles::of(&data_dir).locked()? {
        Some(owner) => passphrase::at_start(args.passphrase_file.as_deref(), &owner.to_string())?,
        None => None,
    };
    let (ledger, funded) = args.ledger.choice(!args.bootstrap.is_empty());
    let x402 = selling(&args.x402, &ledger, prices[1])?;
    Ok(Config {
        x402,
        is_x402_price_given: args.x402.x402_price.is_some(),
        passphrase,
        limits: args.owner.limits(),
        ledger,
        funded,
        network: args.network,
        listen,
        bootstrap: args.bootstrap,
        api: args.api,
        tls: args.tls.tls(),
        gateway: args.open.gateway,
        gateway_local: args.open.gateway_local,
        strangers: match args.open.serve_strangers {
            Serve::Nobody => Strangers::Nobody,
            Serve::Near => Strangers::Near,
            Serve::Everybody => Strangers::Everybody,
        },
        ask_gateways: args.open.ask_gateway,
        external: args.open.external,
        region: args.open.region,
        relay: args.open.relay,
        upnp: !args.open.no_upnp,
        ipfs: args.open.ipfs.map(|dht| dht_of(dht, args.open.ipfs_bootstrap)),
        pull: wanted(args.pull, &data_dir)?,
        sources: args.sources,
        provide: args.provide,
        allowance,
        engine: args.engine.server()?,
        kv: args.kv.format,
        prices,
        is_price_given,
        quota_bytes: args.quota << 30,
        retention: args.retention.retention(),
        otlp: args.otlp.collector()?,
        data_dir,
    })
}

/// What answers are sold for by x402: the price, and the least.
///
/// # Errors
/// A ledger on which nobody could pay, or no price.
fn selling(args: &X402Args, ledger: &LedgerChoice, most: Price) -> Result<Option<(Price, Amount)>, Failure> {
    if !args.x402 {
        return Ok(None);
    }
    let is_outside = matches!(ledger, LedgerChoice::Url { url, .. } if url.list.is_some());
    if !is_outside {
        let why =
            "--x402 needs a chain whose payment token people can send; test credit of a network's own chain can't be";
        let hint = "`talkoo ledger deploy` puts the contracts on any Ethereum chain and prints what to add: --ledger URL#ADDRESS";
        return Err(Failure::usage(why, hint));
    }
    let price = args.x402_price.map_or(Ok(most), price_of)?;
    let least = Amount(price_of(args.x402_least)?.output);
    if price.output == 0 && least == Amount::ZERO {
        return Err(Failure::usage("--x402 would sell answers for nothing", "give --x402-price, or a --price above 0"));
    }
    Ok(Some((price, least)))
}

/// Where nodes of IPFS begin (kubo's list).
const IPFS_BOOTSTRAP: [&str; 5] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/dnsaddr/va1.bootstrap.libp2p.io/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8",
];

fn dht_of(dht: Dht, bootstrap: Vec<String>) -> (bool, Vec<String>) {
    let is_public = dht == Dht::Public;
    let usual = || IPFS_BOOTSTRAP.iter().map(|addr| (*addr).to_owned()).collect();
    (is_public, if bootstrap.is_empty() && is_public { usual() } else { bootstrap })
}

/// Keeps the API to this machine unless the owner says otherwise.
fn check_api(api: SocketAddr, is_public: bool, data_dir: &Path) -> Result<(), Failure> {
    if is_public || api.ip().is_loopback() {
        return Ok(());
    }
    let token = data_dir.join("api.token");
    let hint = format!(
        "the API has no encryption, and whoever has the token in {} owns the node; keep to 127.0.0.1 and come in \
         through SSH, let others in by TLS with --tls-listen, or add --api-public if you trust everybody on the way",
        token.display()
    );
    Err(Failure::usage(format!("--api {api} would let other machines reach this node's API"), hint))
}

/// The models of `--pull` that are not here yet; each is one that can be got.
fn wanted(pull: Vec<String>, data_dir: &Path) -> Result<Vec<String>> {
    // A folder that a node has used before; a new one is made by the node, for its owner only.
    let shelf = data_dir.join("models").exists().then(|| Shelf::open(data_dir)).transpose()?;
    let mut wanted = Vec::new();
    for name in pull {
        let is_file = Path::new(&name).extension().is_some_and(|e| e == "gguf");
        if is_file && !Path::new(&name).exists() {
            let hint = "give the path of a GGUF file, or a name of the catalogue";
            return Err(Failure::new(RefusalCode::UnknownModel, format!("there is no file {name}"), hint).into());
        }
        if shelf.as_ref().is_some_and(|s| s.find_any(&name).is_some()) {
            continue;
        }
        if !is_file {
            catalog::find_any(&name).map_err(Failure::from)?;
        }
        wanted.push(name);
    }
    Ok(wanted)
}

/// Runs a node until Ctrl-C, SIGTERM, or `talkoo down`.
pub(crate) fn serve(config: Config, rim: Box<dyn Rim>, show: &Show) -> Result<()> {
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
                let text = |key: &str| value[key].as_str().unwrap_or("?").to_owned();
                say(&format!("node {} is up, API at {}", text("node"), text("api")));
                if let Some(addr) = value["tls"].as_str() {
                    say(&format!("  others reach it by TLS at {addr}"));
                }
                if let Some(url) = value["ledger"].as_str() {
                    say(&format!("  ledger at {url}"));
                }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use crate::commands::failure::refusal_of;
    use clap::Parser;

    fn config(line: &str) -> Result<Config> {
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        let Command::Up(args) = cli.command else { panic!("{line} is not `up`") };
        config_of(args, PathBuf::from("/nonexistent/talkoo"))
    }

    #[test]
    fn what_cannot_be_meant_is_refused_at_the_start() {
        let sells = "talkoo up --x402 --ledger http://127.0.0.1:1#0x0000000000000000000000000000000000000001";
        let cases = [
            ("talkoo up --api 0.0.0.0:8420", RefusalCode::Malformed, "--api-public"),
            ("talkoo up --api [::]:8420", RefusalCode::Malformed, "api.token"),
            ("talkoo up --api 192.168.1.7:0", RefusalCode::Malformed, "--api-public"),
            ("talkoo up --x402", RefusalCode::Malformed, "ledger deploy"),
            ("talkoo up --x402 --ledger off", RefusalCode::Malformed, "ledger deploy"),
            ("talkoo up --x402 --ledger http://127.0.0.1:1", RefusalCode::Malformed, "URL#ADDRESS"),
            (&format!("{sells} --price 0 --x402-least 0"), RefusalCode::Malformed, "--x402-price"),
            ("talkoo up --pull smolllm3", RefusalCode::UnknownModel, "smollm2"),
            ("talkoo up --pull smollm2 --pull /nonexistent.gguf", RefusalCode::UnknownModel, "GGUF"),
        ];
        for (line, code, hint) in cases {
            let no = refusal_of(&config(line).expect_err(line));
            assert_eq!(no.code, code, "{line}: {no}");
            assert!(no.hint.contains(hint), "{line}: {no}");
        }
        for line in ["talkoo up --pull smollm2", "talkoo up --api [::1]:0", "talkoo up --api 0.0.0.0:1 --api-public"] {
            assert!(config(line).is_ok(), "{line}");
        }
        let sold = |more: &str| config(&format!("{sells}{more}")).unwrap().x402;
        let price = |output: u128| Price { input: output / 4, output };
        assert_eq!(config("talkoo up").unwrap().x402, None);
        assert_eq!(sold(" --price 0.2..0.8"), Some((price(800_000), Amount(1_000))), "a price that stays");
        assert_eq!(sold(" --x402-price 2 --x402-least 0"), Some((price(2_000_000), Amount::ZERO)));
    }
}
