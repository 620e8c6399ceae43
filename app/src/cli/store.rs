//! Flags of `store`.

use crate::daemon::config::GATEWAY_DEFAULT;
use clap::{Args, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Who may have something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Class {
    /// Only this node's owner.
    Private,
    /// Also whom it was granted.
    Granted,
    /// Everybody.
    Public,
}

impl Class {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Granted => "granted",
            Self::Public => "public",
        }
    }
}

/// How files become blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// CIDv1, raw leaves of 1 MiB (IPIP-499).
    #[value(name = "unixfs-v1-2025")]
    V1,
    /// CIDv0, leaves of 256 KiB, as IPFS had it before (IPIP-499).
    #[value(name = "unixfs-v0-2015")]
    V0,
}

/// What to do with the store.
#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    /// Put a file or a folder into the store.
    Add(AddArgs),
    /// Write a file or a folder from the store, or from the network, to the disk.
    Get {
        /// A CID, or `/ipfs/CID/PATH`.
        path: String,
        /// Where to; the last name of the path unless told otherwise.
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
    },
    /// Print a file.
    Cat {
        /// A CID, or `/ipfs/CID/PATH`.
        path: String,
    },
    /// List a folder.
    Ls {
        /// A CID, or `/ipfs/CID/PATH`.
        path: String,
    },
    /// Fetch something and keep it.
    Pin {
        /// A CID, or `/ipfs/CID/PATH`.
        path: String,
        /// What to call it.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Let something go; the next collection may take it.
    Unpin {
        /// A CID.
        cid: String,
    },
    /// List what is kept.
    Pins,
    /// Say who may have a file or folder and all in it.
    Class {
        /// Its CID.
        cid: String,
        /// Who.
        #[arg(value_enum)]
        class: Class,
    },
    /// Remove what nothing keeps.
    Gc,
    /// Say how much room there is.
    Stat,
    /// Write everything below a CID as a CAR.
    Export {
        /// The CID.
        cid: String,
        /// The file to write.
        file: PathBuf,
    },
    /// Take the blocks of a CAR.
    Import {
        /// The file.
        file: PathBuf,
    },
    /// Pay others to keep something: replicas of it, each encrypted anew, against proofs in every epoch.
    Deal(DealArgs),
    /// List what others keep for us, and we for others, for pay.
    Deals,
    /// Keep others' things for pay, from now on.
    Provide {
        /// Room for all of it, as 20GiB; 0: nothing new.
        #[arg(long, value_parser = bytes)]
        space: u64,
        /// What a GiB costs for 30 days, in tokens of money.
        #[arg(long, value_name = "TOKENS")]
        price: f64,
    },
}

/// Flags of `store deal`.
#[derive(Args)]
pub(crate) struct DealArgs {
    /// The CID of a file or folder, or of anything else in the store.
    pub(crate) cid: String,
    /// How many replicas, each with another owner's node.
    #[arg(long, default_value_t = 3)]
    pub(crate) replicas: u32,
    /// For how many epochs.
    #[arg(long)]
    pub(crate) epochs: u32,
    /// Seconds of an epoch: in each, random parts of every replica are asked for, and paid.
    #[arg(long, value_name = "S", default_value_t = 86_400)]
    pub(crate) epoch: u32,
    /// What a GiB may cost for 30 days, in tokens of money, for each replica.
    #[arg(long, value_name = "TOKENS")]
    pub(crate) price_max: f64,
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// A number of bytes, as 512, 100MiB, 20GiB, 1.5TiB.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let bad = || "a number with KiB, MiB, GiB or TiB behind it, or of bytes".to_owned();
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let unit = match unit {
        "" | "B" => 1_u64,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err(bad()),
    };
    let number: f64 = number.trim().parse().map_err(|_| bad())?;
    let bytes = number * unit as f64;
    if (0.0..9e18).contains(&bytes) { Ok(bytes as u64) } else { Err(bad()) }
}

/// Flags of `store add`.
#[derive(Args)]
pub(crate) struct AddArgs {
    /// The file or folder.
    pub(crate) path: PathBuf,
    /// Who may have it.
    #[arg(long, value_enum, default_value_t = Class::Private)]
    pub(crate) class: Class,
    /// How it becomes blocks.
    #[arg(long, value_enum, default_value_t = Profile::V1)]
    pub(crate) profile: Profile,
    /// Only say what its CID is; needs no node.
    #[arg(long)]
    pub(crate) only_hash: bool,
    /// Put a folder around it, so that a file keeps its name.
    #[arg(long)]
    pub(crate) wrap: bool,
    /// What to call the pin.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
}

/// Which DHT of IPFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dht {
    /// That of the internet (Amino).
    Public,
    /// That of the local network.
    Lan,
}

/// Which peers that are no nodes of our network are given public blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Serve {
    /// None.
    Nobody,
    /// Those on this machine and in private networks.
    Near,
    /// All: what a public IPFS node does.
    Everybody,
}

/// Flags of `up`: what others get of the store, and how they reach it.
#[derive(Args, Clone)]
pub(crate) struct OpenArgs {
    /// An address at which this node is reached from outside, such as a forwarded port of the router (a multiaddress).
    #[arg(long, value_name = "ADDR", value_parser = super::address)]
    pub(crate) external: Vec<String>,
    /// The country where this machine is, as FI (ISO 3166-1): peers see it on their map. Nobody is told unless you say it.
    #[arg(long, value_name = "COUNTRY")]
    pub(crate) region: Option<talkoo_net::Region>,
    /// Relay for nodes that cannot be dialled, within limits; needs an address of the internet.
    #[arg(long)]
    pub(crate) relay: bool,
    /// Do not ask the router at home for a port.
    #[arg(long)]
    pub(crate) no_upnp: bool,
    /// Join a DHT of IPFS, to find and be found there: that of the internet, or that of the local network.
    #[arg(long, value_enum, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "public")]
    pub(crate) ipfs: Option<Dht>,
    /// Nodes of that DHT to begin with, instead of the usual ones (multiaddresses with PeerIds).
    #[arg(long, value_name = "ADDR", value_parser = super::address, requires = "ipfs")]
    pub(crate) ipfs_bootstrap: Vec<String>,
    /// Have an IPFS gateway, which shows what is public to everybody who reaches it; at 127.0.0.1:8421 unless told otherwise.
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = GATEWAY_DEFAULT)]
    pub(crate) gateway: Option<SocketAddr>,
    /// The gateway fetches nothing from the network.
    #[arg(long, requires = "gateway")]
    pub(crate) gateway_local: bool,
    /// Which peers that are no Talkoo nodes get what is public.
    #[arg(long, value_enum, default_value_t = Serve::Near, value_name = "WHOM")]
    pub(crate) serve_strangers: Serve,
    /// HTTP gateways to ask for blocks that no peer has, such as `https://example.org`.
    #[arg(long, value_name = "URL")]
    pub(crate) ask_gateway: Vec<String>,
}
