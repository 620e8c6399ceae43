//! The node itself, its peers and its models.

use super::{Reason, ReasonCount};
use utoipa::ToSchema;

/// How the node stands.
#[derive(ToSchema)]
pub struct Status {
    /// Its id: 66 hexadecimal digits.
    pub node: String,
    /// Its address: 0x and 40 hexadecimal digits.
    pub address: String,
    /// Address of its owner, who is paid.
    pub owner: String,
    /// Name of the network.
    pub network: String,
    /// Id of the network's chain.
    pub chain: u64,
    /// JSON-RPC of the ledger that it uses, if it uses one.
    pub ledger: Option<String>,
    /// Version of the program.
    pub version: String,
    /// SHA-256 of the program: 64 hexadecimal digits.
    pub build: String,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Where this API listens: address and port.
    pub api: String,
    /// Folder of its data.
    pub data_dir: String,
    /// Multiaddresses on which it listens for peers.
    pub listen: Vec<String>,
    /// The country where its owner says that it is (ISO 3166-1 alpha-2).
    pub region: Option<String>,
    /// Connected nodes.
    pub peers: u64,
    /// Models that are here.
    pub models: u64,
    /// Whether it offers compute at this moment.
    pub providing: bool,
    /// Leases that clients hold here.
    pub slots_taken: u64,
    /// Its own jobs that are not over.
    pub jobs_open: u64,
    /// Bytes of blocks on the disk.
    pub block_bytes: u64,
    /// Earned by vouchers, in tokens of money, as a decimal number.
    pub earned: String,
    /// Whether payments reach a ledger.
    pub settled_on_chain: bool,
}

/// The node stops.
#[derive(ToSchema)]
pub struct Stopping {
    /// Always true.
    pub stopping: bool,
}

/// Connected nodes.
#[derive(ToSchema)]
pub struct Peers {
    /// One for each.
    pub peers: Vec<Peer>,
}

/// A connected node.
#[derive(ToSchema)]
pub struct Peer {
    /// Its id.
    pub node: String,
    /// Its address.
    pub address: String,
    /// The country where it says that it is; nobody checks it.
    pub region: Option<String>,
    /// Multiaddress of the connection.
    pub at: String,
    /// Round trip in microseconds, once measured.
    pub rtt_us: Option<u64>,
    /// Exact models that it offers.
    pub offers: u64,
    /// Models of foreign engines that it offers.
    pub offers_float: u64,
    /// Tokens a second, measured on work of ours.
    pub decode_tps: Option<u64>,
    /// `good`, `paused`, or `liar: ` and why.
    pub standing: String,
    /// Its messages that were refused.
    pub refused_messages: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bytes received from it.
    pub received_bytes: u64,
}

/// Whom to connect to.
#[derive(ToSchema)]
pub struct DialAsk {
    /// A multiaddress.
    #[schema(example = "/ip4/127.0.0.1/tcp/4001", min_length = 1, max_length = 1024)]
    pub addr: String,
}

/// A connection that was made.
#[derive(ToSchema)]
pub struct Dialled {
    /// Id of the node there.
    pub node: String,
}

/// How the node is reached.
#[derive(ToSchema)]
pub struct Doctor {
    /// What is well and what is not.
    pub findings: Vec<Finding>,
    /// `unknown`, `public` or `private`.
    pub nat: String,
    /// Multiaddresses on which it listens.
    pub listen: Vec<String>,
    /// Multiaddresses at which others reached it.
    pub reached_at: Vec<String>,
    /// Those at which they did not.
    pub not_reached_at: Vec<NotReached>,
    /// Relays that hold, or should hold, a place for it.
    pub relays: Vec<Relay>,
    /// Every connection, also of peers that are no nodes of the network.
    pub peers: Vec<Connection>,
}

/// What is so, and what to do if it should not be.
#[derive(ToSchema)]
pub struct Finding {
    /// Whether it is well.
    pub good: bool,
    /// What is so.
    pub what: String,
    /// What to do.
    pub fix: Option<String>,
}

/// An address at which nobody gets through.
#[derive(ToSchema)]
pub struct NotReached {
    /// The multiaddress.
    pub addr: String,
    /// Why.
    pub why: String,
}

/// A relay.
#[derive(ToSchema)]
pub struct Relay {
    /// Its peer id.
    pub peer: String,
    /// Whether the place is held.
    pub held: bool,
}

/// A connection.
#[derive(ToSchema)]
pub struct Connection {
    /// The other side's peer id.
    pub peer: String,
    /// Its multiaddress.
    pub addr: String,
    /// `tcp`, `quic` or `relay`.
    pub transport: String,
    /// Whether a relay passes it on.
    pub relayed: bool,
    /// `in` or `out`: who made it.
    pub direction: String,
    /// Whether it is a node of this network.
    pub node: bool,
    /// Round trip in microseconds.
    pub rtt_us: Option<u64>,
    /// What its program calls itself.
    pub agent: Option<String>,
}

/// An invite.
#[derive(ToSchema)]
pub struct Invite {
    /// What others join with.
    pub code: String,
    /// Multiaddresses in it.
    pub at: Vec<String>,
    /// Name of the network.
    pub network: String,
}

/// Models that are here.
#[derive(ToSchema)]
pub struct Models {
    /// One for each.
    pub models: Vec<Model>,
}

/// A model that is here.
#[derive(ToSchema)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// File in the folder of models.
    pub file: String,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// CID of the file.
    pub cid: String,
    /// Root of the model as an exact program: 64 hexadecimal digits.
    pub root: String,
    /// The same with keys and values of 16 bits.
    pub root_kv16: Option<String>,
    /// Longest context, in tokens.
    pub context: u32,
    /// `true` if it makes vectors; left out if it generates text.
    pub is_encoder: Option<bool>,
}

/// What to get.
#[derive(ToSchema)]
pub struct PullAsk {
    /// A name of the catalogue, or the path of a GGUF file on the node's machine.
    #[schema(example = "smollm2", min_length = 1, max_length = 4096)]
    pub name: String,
}

/// A pull.
#[derive(ToSchema)]
pub struct Started {
    /// False if the model is here already. Events say how it goes on.
    pub started: bool,
}

/// Something is gone.
#[derive(ToSchema)]
pub struct Removed {
    /// Always true.
    pub removed: bool,
}

/// Whether to offer compute.
#[derive(ToSchema)]
pub struct ProvideAsk {
    /// True: from now on. What is not named stays.
    pub on: Option<bool>,
    /// When the machine is not for others: all of them at once.
    pub limits: Option<LimitsAsk>,
    /// Tokens of money for a million output tokens (input costs a quarter): one, or the least and the most between which it
    /// moves with demand.
    #[schema(min_items = 1, max_items = 2)]
    pub price: Option<Vec<f64>>,
}

/// When a machine is not for others. What is left out is no limit.
#[derive(ToSchema)]
pub struct LimitsAsk {
    /// Only at these times of the day, local time, as `22:00-7:30`; at any if there are none.
    pub hours: Option<Vec<String>>,
    /// Only while other programs use no more than this part of the processor, in percent.
    pub idle_only: Option<u8>,
    /// Only on mains power.
    pub mains_only: Option<bool>,
    /// Only while no part of the machine is hotter, in degrees Celsius.
    pub celsius_max: Option<u32>,
    /// Seconds that running work may go on when one of these is touched; 10 unless told otherwise.
    pub reclaim_s: Option<u64>,
}

/// When a machine is not for others.
#[derive(ToSchema)]
pub struct OwnerLimits {
    /// Only at these times of the day, local time, as `22:00-7:30`; at any if there are none.
    pub hours: Vec<String>,
    /// Only while other programs use no more than this part of the processor, in percent.
    pub idle_only: Option<u8>,
    /// Only on mains power.
    pub mains_only: bool,
    /// Only while no part of the machine is hotter, in degrees Celsius.
    pub celsius_max: Option<u32>,
    /// Seconds that running work may go on when one of these is touched.
    pub reclaim_s: u64,
}

/// What this node offers, and why it has work or none.
#[derive(ToSchema)]
pub struct Provision {
    /// Whether its owner wants it to offer compute.
    pub providing: bool,
    /// What it offers now.
    pub offers: Vec<OwnOffer>,
    /// Leases that clients hold here.
    pub slots_taken: u64,
    /// Earned by vouchers, in tokens of money.
    pub earned: String,
    /// What keeps work away.
    pub reasons: Vec<Reason>,
    /// When the machine is not for others.
    pub limits: OwnerLimits,
    /// What it asks now, in micro-units for a million output tokens.
    pub price: String,
    /// The least and the most that it asks.
    pub prices: Vec<String>,
    /// Clients that got nothing from this node since its start, by reason.
    pub lost: Vec<ReasonCount>,
    /// The same in one line.
    pub summary: String,
}

/// A program that this node offers.
#[derive(ToSchema)]
pub struct OwnOffer {
    /// Its root: 64 hexadecimal digits.
    pub program: String,
    /// `exact` or `float`.
    pub tier: String,
    /// Tokens of prompt a second.
    pub prefill_tps: u64,
    /// Tokens of output a second.
    pub decode_tps: u64,
}

/// What it is about.
#[derive(ToSchema)]
pub struct UnlockAsk {
    /// The wallet's passphrase.
    #[schema(max_length = 4096)]
    pub passphrase: String,
}

/// The wallet is open until the node stops.
#[derive(ToSchema)]
pub struct Unlocked {
    /// Always true.
    pub unlocked: bool,
}

/// Channels are closing.
#[derive(ToSchema)]
pub struct Closing {
    /// Always true.
    pub closing: bool,
}

/// What was earned is claimed.
#[derive(ToSchema)]
pub struct Settled {
    /// Always true.
    pub settled: bool,
}
