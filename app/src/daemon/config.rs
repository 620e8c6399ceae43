//! What a node is told at its start, checked once.

use crate::models::Sources;
use std::net::SocketAddr;
use std::path::PathBuf;
use talkoo_base::Price;

/// A checked configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) network: String,
    /// libp2p multiaddresses.
    pub(crate) listen: Vec<String>,
    pub(crate) bootstrap: Vec<String>,
    pub(crate) api: SocketAddr,
    /// Models to pull at the start.
    pub(crate) pull: Vec<String>,
    pub(crate) sources: Sources,
    /// Models to offer as soon as they are here.
    pub(crate) provide: bool,
    pub(crate) threads: usize,
    pub(crate) price: Price,
    /// Bytes of blocks at most.
    pub(crate) quota_bytes: u64,
}

/// Loopback only, unless told otherwise.
pub(crate) const LISTEN_DEFAULT: [&str; 2] = ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"];
/// The API's port.
pub(crate) const API_DEFAULT: &str = "127.0.0.1:8420";
/// The network of a node that was told none.
pub(crate) const NETWORK_DEFAULT: &str = "local";
/// What a node asks by default: 0.10 and 0.40 of the token for a million input and output tokens.
pub(crate) const PRICE_DEFAULT: Price = Price { input: 100_000, output: 400_000 };
/// What a job pays at most by default: ten times as much.
pub(crate) const PRICE_MAX_DEFAULT: Price = Price { input: 1_000_000, output: 4_000_000 };

/// `$TALKOO_DATA_DIR`, else `~/.local/share/talkoo`.
pub(crate) fn data_dir_default() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    let share = std::env::var_os("XDG_DATA_HOME").map_or_else(|| home.join(".local/share"), PathBuf::from);
    std::env::var_os("TALKOO_DATA_DIR").map_or_else(|| share.join("talkoo"), PathBuf::from)
}
