//! How this run of the node was started, as flags of `talkoo up`. Nothing of a passphrase or a key is here, and of a URL
//! no more than its host: a path may be a secret.

use super::Daemon;
use crate::daemon::LedgerChoice;
use crate::daemon::config::Config;
use crate::models::Sources;
use serde_json::{Value, json};
use talkoo_base::{Amount, Price};
use talkoo_net::Strangers;

impl Daemon {
    pub(super) fn settings(&self) -> Value {
        json!({
            "node": self.node.id().to_string(),
            "address": self.node.id().address().to_string(),
            "owner": self.operator.to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "build": self.build.to_string(),
            "api": self.api_addr.to_string(),
            "retention": {
                "prompts_days": self.config.retention.prompts,
                "receipts_days": self.config.retention.receipts,
            },
            "settings": flags(&self.config)
                .into_iter()
                .map(|(flag, value)| json!({"flag": flag, "value": value}))
                .collect::<Vec<_>>(),
        })
    }
}

fn switch(is_on: bool) -> String {
    if is_on { "on" } else { "off" }.to_owned()
}

fn list(of: &[String]) -> String {
    if of.is_empty() { "none".to_owned() } else { of.join(", ") }
}

/// A URL without what may be secret in it: its path, and a name with a password.
fn host(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{}", host.rsplit('@').next().unwrap_or_default())
}

fn ledger(choice: &LedgerChoice) -> String {
    match choice {
        LedgerChoice::Off => "off".to_owned(),
        LedgerChoice::Own { .. } => "own".to_owned(),
        LedgerChoice::Url { url, .. } => host(&url.rpc),
    }
}

fn prices([least, most]: &[Price; 2]) -> String {
    let text = |price: &Price| Amount(price.output).to_string();
    if least == most { text(least) } else { format!("{} to {}", text(least), text(most)) }
}

fn flags(config: &Config) -> Vec<(&'static str, String)> {
    let maybe = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
    let mut flags = vec![
        ("--network", config.network.clone()),
        ("--data-dir", config.data_dir.display().to_string()),
        ("--listen", list(&config.listen)),
        ("--bootstrap", list(&config.bootstrap)),
        ("--external", list(&config.external)),
        ("--relay", switch(config.relay)),
        ("--no-upnp", switch(!config.upnp)),
        ("--api", config.api.to_string()),
        ("--gateway", maybe(config.gateway.map(|at| at.to_string()))),
        ("--gateway-local", switch(config.gateway_local)),
        ("--serve-strangers", strangers(config.strangers).to_owned()),
        ("--ask-gateway", list(&config.ask_gateways.iter().map(|url| host(url)).collect::<Vec<_>>())),
        ("--ledger", ledger(&config.ledger)),
        ("--x402", switch(config.x402.is_some())),
        ("--quota", format!("{} GiB", config.quota_bytes >> 30)),
        ("--otlp", maybe(config.otlp.as_ref().map(|collector| host(&collector.url)))),
        ("--keep-prompts", maybe(config.retention.prompts.map(|days| format!("{days} days")))),
        ("--keep-receipts", maybe(config.retention.receipts.map(|days| format!("{days} days")))),
    ];
    flags.extend(work(config));
    flags
}

fn strangers(strangers: Strangers) -> &'static str {
    match strangers {
        Strangers::Nobody => "nobody",
        Strangers::Near => "near",
        Strangers::Everybody => "everybody",
    }
}

/// What it does for others, and when.
fn work(config: &Config) -> Vec<(&'static str, String)> {
    let limits = &config.limits;
    let sources = match config.sources {
        Sources::All => "all",
        Sources::Peers => "peers",
    };
    let percent = |percent: u8| format!("{percent} %");
    vec![
        ("--provide", switch(config.provide)),
        ("--pull", list(&config.pull)),
        ("--sources", sources.to_owned()),
        ("--engine", config.engine.as_ref().map_or_else(|| "own".to_owned(), |server| server.model.clone())),
        ("--kv", config.kv.name().to_owned()),
        ("--threads", config.allowance.threads.to_string()),
        ("--memory-max", format!("{} MiB", config.allowance.memory_bytes_max >> 20)),
        ("--no-polite", switch(!config.allowance.is_polite)),
        ("--price", format!("{} tokens of money for a million output tokens", prices(&config.prices))),
        ("--hours", list(&limits.hours.iter().map(ToString::to_string).collect::<Vec<_>>())),
        ("--idle-only", limits.others_max.map_or_else(|| "off".to_owned(), percent)),
        ("--mains-only", switch(limits.mains_only)),
        ("--celsius-max", limits.celsius_max.map_or_else(|| "none".to_owned(), |most| format!("{most} °C"))),
        ("--reclaim", format!("{} s", limits.reclaim.as_secs())),
    ]
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn of_a_url_only_the_host_is_shown() {
        let cases = [
            ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
            ("https://user:word@rpc.example/v3/secret?key=1#0xab", "https://rpc.example"),
            ("https://rpc.example?key=secret", "https://rpc.example"),
        ];
        for (url, want) in cases {
            assert_eq!(host(url), want);
        }
    }
}
