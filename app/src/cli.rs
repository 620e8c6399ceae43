//! The command line. Every flag has its one home here.

mod audit;
mod batch;
mod data;
mod demo;
mod dispute;
mod engine;
mod erase;
mod job;
mod key;
mod kv;
mod ledger;
pub(crate) mod live;
mod log;
mod otlp;
mod owner;
mod sampling;
mod service;
mod store;
mod tls;
mod webhook;
mod wishes;
mod x402;

pub(crate) use audit::{AuditCommand, AuditExportArgs};
pub(crate) use batch::BatchArgs;
pub(crate) use data::{DataCommand, PublishArgs, TermsArgs};
pub(crate) use demo::{DemoArgs, DemoNodeArgs, DemoReferenceArgs};
pub(crate) use dispute::DisputeCommand;
pub(crate) use engine::EngineArgs;
pub(crate) use erase::EraseArgs;
use erase::RetentionArgs;
pub(crate) use job::JobCommand;
pub(crate) use key::{KeyCommand, LimitArgs};
pub(crate) use kv::Kv;
use ledger::LedgerArgs;
pub(crate) use ledger::{Asset, LedgerCommand, Role, StakeCommand, WalletCommand, account};
pub(crate) use log::LogFormat;
use otlp::OtlpArgs;
use owner::OwnerArgs;
pub(crate) use owner::ProvideCommand;
use owner::{asked, price};
pub(crate) use sampling::Sampling;
pub(crate) use service::ServiceCommand;
pub(crate) use store::{AddArgs, Class, DealArgs, Dht, OpenArgs, Profile, Serve, StoreCommand};
use tls::TlsArgs;
pub(crate) use webhook::WebhookCommand;
use wishes::Wishes;
pub(crate) use x402::X402Args;

use crate::daemon::config::{API_DEFAULT, NETWORK_DEFAULT, NODES, THREADS};
use crate::models::Sources;
use clap::builder::{RangedI64ValueParser, RangedU64ValueParser};
use clap::{Args, Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A peer-to-peer AI computer: exact, checkable inference on machines nobody has to trust.
#[derive(Parser)]
#[command(version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Folder of the node's keys, journal and models; $TALKOO_DATA_DIR, or ~/.local/share/talkoo, unless told otherwise.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// `json` prints results, and errors, for programs; a file is where `batch` and `job output` write.
    #[arg(short = 'o', long = "output", global = true, value_name = "json|FILE")]
    pub(crate) output: Vec<String>,
    /// Print every HTTP call to the node on stderr, as a curl command.
    #[arg(long, global = true)]
    pub(crate) explain: bool,
    /// Say on stderr what the node does meanwhile.
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
}

/// The commands.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the whole thing here: five nodes, a real model, a liar, a dead node, receipts.
    Demo(DemoArgs),
    /// Run a node in the foreground.
    Up(UpArgs),
    /// Stop the node.
    Down,
    /// Print the address of the dashboard, for a browser on this machine. It holds the API's token: who has it has the node.
    Open,
    /// Say how the node is.
    Status,
    /// Watch the node: its jobs, peers, models and events, in this terminal.
    Top,
    /// List connected peers and what we think of them.
    Peers,
    /// Say how others reach this node, and what to do about what is amiss.
    Doctor,
    /// Print a code with which others join this network.
    Invite,
    /// Connect to the network of an invite code or a multiaddress.
    Join {
        /// The code, or a multiaddress.
        code: String,
    },
    /// Get a model: from the cache, peers, the Hugging Face hub, or a package.
    Pull {
        /// A name of the catalogue, or a GGUF file.
        model: String,
    },
    /// List the models that are here.
    Ls,
    /// Say what is known of a model: context, size, CID, who answers and for what price.
    Show {
        /// Its name.
        model: String,
    },
    /// List what is being worked at: jobs that are open, and runs for others.
    Ps,
    /// Remove a model.
    Rm {
        /// Its name.
        model: String,
    },
    /// Answer one prompt on this machine, no network needed.
    Run(RunArgs),
    /// Turn texts into vectors on this machine, no network needed: one JSON line for each text.
    Embed(EmbedArgs),
    /// Run a file of OpenAI batch lines on the network.
    Batch(BatchArgs),
    /// Measure what this machine does with a model.
    Bench(BenchArgs),
    /// Look at jobs.
    #[command(subcommand)]
    Job(JobCommand),
    /// Offer this machine's compute, or find out why nobody uses it.
    #[command(subcommand)]
    Provide(ProvideCommand),
    /// Check receipts offline.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// A file for auditors: what this node ordered, received and paid, checked without it.
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Remove prompts and answers, and whatever this node keeps of them. Receipts stay, without words, and hold.
    Erase(EraseArgs),
    /// Files and folders: put in, get out, keep, open to others.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Sealed data: add, sell, buy, read.
    #[command(subcommand)]
    Data(DataCommand),
    /// Look at disputes: what became of workers that our engine refuted.
    #[command(subcommand)]
    Dispute(DisputeCommand),
    /// Serve the Model Context Protocol on standard input and output, for clients that start a command: the running node's `/mcp`.
    Mcp {
        /// Ask with this key, under its scopes and its policy, instead of as the owner.
        #[arg(long, env = "TALKOO_KEY", hide_env_values = true)]
        key: Option<String>,
    },
    /// Keys for programs that ask this node.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Have programs told when a batch or a response in the background is over.
    #[command(subcommand)]
    Webhook(WebhookCommand),
    /// The node's money and its owner's keys.
    #[command(subcommand)]
    Wallet(WalletCommand),
    /// The owner's bond.
    #[command(subcommand)]
    Stake(StakeCommand),
    /// Look at the chain that holds it.
    #[command(subcommand)]
    Ledger(LedgerCommand),
    /// Settings of `up` from files and the environment.
    Config,
    /// Start the node with this machine, as a service of this user.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Print a script that completes commands and flags in a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual's pages, or print the first.
    Man {
        /// A folder for all of them: talkoo.1, talkoo-up.1, …
        dir: Option<PathBuf>,
    },
    /// A node of the demo that may lie.
    #[command(hide = true)]
    DemoNode(DemoNodeArgs),
    /// The demo's honest reference: the batch on one engine, no network.
    #[command(hide = true)]
    DemoReference(DemoReferenceArgs),
}

/// Flags of `up`.
#[derive(Args, Clone)]
pub(crate) struct UpArgs {
    /// Addresses to listen on (libp2p multiaddresses); loopback unless told otherwise.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) listen: Vec<String>,
    /// Nodes to connect to at the start (libp2p multiaddresses).
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub(crate) bootstrap: Vec<String>,
    /// Name of the network; nodes of other networks are not talked to.
    #[arg(long, value_name = "NAME", default_value = NETWORK_DEFAULT)]
    pub(crate) network: String,
    /// Where the local API listens; port 0 lets the system choose.
    #[arg(long, default_value = API_DEFAULT, value_name = "ADDR")]
    pub(crate) api: SocketAddr,
    /// Let `--api` be an address that other machines reach, with no guard but the token, sent in clear.
    #[arg(long)]
    pub(crate) api_public: bool,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,
    #[command(flatten)]
    pub(crate) open: OpenArgs,
    /// Models to get at the start: names of the catalogue, or GGUF files.
    #[arg(long, value_name = "MODEL")]
    pub(crate) pull: Vec<String>,
    /// Where models may come from.
    #[arg(long, value_enum, default_value_t = Sources::All)]
    pub(crate) sources: Sources,
    /// Offer compute as soon as a model is here.
    #[arg(long)]
    pub(crate) provide: bool,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
    #[command(flatten)]
    pub(crate) kv: Kv,
    /// Threads of the engine; all cores unless told otherwise.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<usize>,
    /// Keep all threads for others' work also while other programs need the cores.
    #[arg(long)]
    pub(crate) no_polite: bool,
    /// Memory for models and what runs on them, in GiB; half of the machine's unless told otherwise. Models
    /// that nobody uses make way for others.
    #[arg(long, value_name = "GIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) memory_max: Option<u64>,
    /// Price asked for a million output tokens, in tokens of money; input costs a quarter. As LEAST..MOST it follows
    /// demand between the two.
    #[arg(long, value_name = "PRICE|LEAST..MOST", value_parser = asked)]
    pub(crate) price: Option<[f64; 2]>,
    #[command(flatten)]
    pub(crate) ledger: LedgerArgs,
    #[command(flatten)]
    pub(crate) x402: X402Args,
    /// File whose first line opens the wallet, if it is locked; asked for at a terminal unless told otherwise. Without it
    /// the node earns, but orders nothing until `wallet unlock`.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) owner: OwnerArgs,
    #[command(flatten)]
    pub(crate) retention: RetentionArgs,
    #[command(flatten)]
    pub(crate) otlp: OtlpArgs,
    /// How the log on stderr is written.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) log_format: LogFormat,
    /// Room for blocks, in GiB.
    #[arg(long, value_name = "GIB", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub(crate) quota: u64,
}

/// Flags of `run`.
#[derive(Args)]
pub(crate) struct RunArgs {
    /// A name of the catalogue, or a GGUF file.
    pub(crate) model: String,
    /// The prompt; left out, a conversation begins, or the prompt is read from a pipe.
    pub(crate) prompt: Vec<String>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    /// Tell the log probability of every token, and of so many of the likeliest; with `-o json`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=20))]
    pub(crate) logprobs: Option<u32>,
    #[command(flatten)]
    pub(crate) kv: Kv,
    /// Threads of the engine; all cores unless told otherwise.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<usize>,
}

/// Flags of `embed`.
#[derive(Args)]
pub(crate) struct EmbedArgs {
    /// A name of the catalogue, a BERT as GGUF file, or a sentence-transformers folder or zip.
    pub(crate) model: String,
    /// The texts; left out, every line of a pipe is one.
    pub(crate) text: Vec<String>,
    /// A file of which every line is a text.
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub(crate) file: Option<PathBuf>,
    /// Threads of the engine; all cores unless told otherwise.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<usize>,
}

/// Flags of `bench`.
#[derive(Args)]
pub(crate) struct BenchArgs {
    /// A name of the catalogue, or a GGUF file.
    #[arg(default_value = "smollm2")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) kv: Kv,
    /// Threads of the engine; all cores unless told otherwise.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<usize>,
}

/// `receipt …`.
#[derive(Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Print what receipts say.
    Show {
        /// Receipt files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Check receipts: signatures, roots, sums; with `--rerun` also the answer.
    Verify {
        /// Receipt files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Compute the answers again.
        #[arg(long)]
        rerun: bool,
        /// Compute them with the scalar definition (slow).
        #[arg(long)]
        scalar: bool,
        /// The model file; found by its root if left out.
        #[arg(long)]
        model: Option<PathBuf>,
    },
    /// Write a copy without prompt and answer, to show to others.
    Strip {
        /// The receipt file.
        file: PathBuf,
        /// Where the copy goes.
        to: PathBuf,
    },
    /// Print prompt and answer of a receipt, as token ids and text.
    Disclose {
        /// The receipt file.
        file: PathBuf,
    },
}

fn threads() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(THREADS)
}

fn workers() -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(i64::from(*NODES.start())..=i64::from(*NODES.end()))
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "it is no number; an example: 0.4".to_owned())
}

/// A multiaddress, as it was written.
fn address(text: &str) -> Result<String, String> {
    let parsed = text.parse::<talkoo_net::Multiaddr>();
    let no = |why| format!("it is no multiaddress; an example: /ip4/127.0.0.1/tcp/4001 ({why})");
    parsed.map(|_| text.to_owned()).map_err(no)
}

#[cfg(test)]
mod tests;
