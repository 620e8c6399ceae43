//! What a node is told at its start, checked once.

use super::LedgerChoice;
use super::executor::Allowance;
use super::limits::Limits;
use super::otlp::Collector;
use super::remote::Server;
use crate::commands::Passphrase;
use crate::erase::Retention;
use crate::models::Sources;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use talkoo_base::{Amount, Price, Refusal, RefusalCode};
use talkoo_engine::KvFormat;

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) network: String,
    /// libp2p multiaddresses.
    pub(crate) listen: Vec<String>,
    pub(crate) bootstrap: Vec<String>,
    pub(crate) api: SocketAddr,
    /// Where others reach it by TLS.
    pub(crate) tls: Option<talkoo_api::Tls>,
    /// Where the IPFS gateway listens, if there is to be one.
    pub(crate) gateway: Option<SocketAddr>,
    /// It shows only what is here.
    pub(crate) gateway_local: bool,
    /// Which strangers are given public blocks.
    pub(crate) strangers: talkoo_net::Strangers,
    /// Addresses at which it is reached from outside.
    pub(crate) external: Vec<String>,
    /// The country where it is, if its owner tells.
    pub(crate) region: Option<talkoo_net::Region>,
    /// Whether it relays for others.
    pub(crate) relay: bool,
    /// Whether the router may be asked for a port.
    pub(crate) upnp: bool,
    /// Which DHT of IPFS it joins: whether that of the internet, and where it begins.
    pub(crate) ipfs: Option<(bool, Vec<String>)>,
    /// HTTP gateways to ask for blocks that no peer has.
    pub(crate) ask_gateways: Vec<String>,
    /// Models to pull at the start.
    pub(crate) pull: Vec<String>,
    pub(crate) sources: Sources,
    /// Models to offer as soon as they are here.
    pub(crate) provide: bool,
    /// How offered models keep keys and values.
    pub(crate) kv: KvFormat,
    /// What the engines may use of this machine.
    pub(crate) allowance: Allowance,
    /// Another program's engine to offer.
    pub(crate) engine: Option<Server>,
    /// What it asks: the least and the most; one price if they are equal.
    pub(crate) prices: [Price; 2],
    /// Whether the command line says so; else what the owner last said on a running node goes on.
    pub(crate) is_price_given: bool,
    /// When the machine is not for others.
    pub(crate) limits: Limits,
    /// Opens the wallet, if it is locked.
    pub(crate) passphrase: Option<Passphrase>,
    /// Which ledger holds the money.
    pub(crate) ledger: LedgerChoice,
    /// Whether vouchers count only as far as that ledger holds money for them.
    pub(crate) funded: bool,
    /// What answers are sold for to who has no key: the price, and the least.
    pub(crate) x402: Option<(Price, Amount)>,
    /// Whether the command line says that price; else it is the most of [`Config::prices`], also of those that the owner last said.
    pub(crate) is_x402_price_given: bool,
    /// Bytes of blocks at most.
    pub(crate) quota_bytes: u64,
    /// How long prompts, answers and receipts are kept.
    pub(crate) retention: Retention,
    /// Who is told what it does.
    pub(crate) otlp: Option<Collector>,
}

impl Config {
    /// What the node calls itself to its peers, and where it says that it is.
    pub(super) fn agent(&self) -> String {
        let product = format!("talkoo/{}", env!("CARGO_PKG_VERSION"));
        self.region.map_or(product.clone(), |region| region.agent(&product))
    }

    /// Whether programs of this machine are answered without a key: not where strangers come in, nor where answers are sold, for
    /// a proxy brings strangers from this machine's own address.
    pub(super) fn answers_anybody(&self) -> bool {
        self.api.ip().is_loopback() && self.tls.is_none() && self.x402.is_none()
    }

    /// The DHT of IPFS that is to be joined.
    pub(super) fn ipfs(&self) -> anyhow::Result<Option<talkoo_net::Ipfs>> {
        let Some((is_public, bootstrap)) = &self.ipfs else { return Ok(None) };
        Ok(Some(talkoo_net::Ipfs { is_public: *is_public, bootstrap: super::start::parse_all(bootstrap)? }))
    }
}

/// Loopback only, unless told otherwise.
pub(crate) const LISTEN_DEFAULT: [&str; 2] = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];
/// The API's port.
pub(crate) const API_DEFAULT: &str = "127.0.0.1:8420";
/// Where the gateway listens when it is wanted.
pub(crate) const GATEWAY_DEFAULT: &str = "127.0.0.1:8421";
/// The network of a node that was told none.
pub(crate) const NETWORK_DEFAULT: &str = "local";
/// What a node asks by default: 0.10 and 0.40 of the token for a million input and output tokens.
pub(crate) const PRICE_DEFAULT: Price = Price { input: 100_000, output: 400_000 };
/// What a job pays at most by default: ten times as much.
pub(crate) const PRICE_MAX_DEFAULT: Price = Price { input: 1_000_000, output: 4_000_000 };

/// Models take the machine's memory divided by this, unless told otherwise: it is their owner's, too.
pub(crate) const MEMORY_SHARE: u64 = 2;

/// Workers of a job that does not say how many.
pub(crate) const NODES_DEFAULT: u32 = 64;
/// How many workers a job may ask for.
pub(crate) const NODES: RangeInclusive<u32> = 1..=4_096;
/// How many threads an engine may have: no machine has more cores.
pub(crate) const THREADS: RangeInclusive<u64> = 1..=1_024;

/// The price that a user means by a number: tokens of money for a million output tokens; input
/// costs a quarter.
///
/// # Errors
/// What is no number of 0 or more, or over 2⁶⁴ micro-units: nobody means it, and sums of it
/// would leave what a contract can hold.
pub(crate) fn price_of(tokens: f64) -> Result<Price, Refusal> {
    let micro = (tokens * 1e6).round();
    if !(0.0..=2_f64.powi(64)).contains(&micro) {
        let message = format!("{tokens} is no price: a price is a number of 0 or more, below 2⁶⁴ micro-units");
        return Err(Refusal::new(RefusalCode::Malformed, message, "an example: 0.4"));
    }
    let micro = micro as u128;
    Ok(Price { input: micro / 4, output: micro })
}

/// `$TALKOO_DATA_DIR`, else `~/.local/share/talkoo`.
pub(crate) fn data_dir_default() -> PathBuf {
    // An empty variable is one that is not set.
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let share =
        || var("XDG_DATA_HOME").unwrap_or_else(|| var("HOME").unwrap_or_else(std::env::temp_dir).join(".local/share"));
    var("TALKOO_DATA_DIR").unwrap_or_else(|| share().join("talkoo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_a_number_that_somebody_may_mean() {
        let good = [(0.0, 0), (0.4, 400_000), (0.29, 290_000), (1.5, 1_500_000), (1e13, 10_u128.pow(19))];
        for (tokens, micro) in good {
            assert_eq!(price_of(tokens), Ok(Price { input: micro / 4, output: micro }), "{tokens}");
        }
        for tokens in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.5, -1e-6, 1.9e13, f64::MAX] {
            assert_eq!(price_of(tokens).unwrap_err().code, RefusalCode::Malformed, "{tokens}");
        }
    }
}
