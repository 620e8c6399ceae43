//! Flags of the demo and of the processes that it starts.

use super::{UpArgs, threads};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;

/// Flags of `demo`.
#[derive(Args, Clone)]
pub(crate) struct DemoArgs {
    /// How one of the nodes lies.
    #[arg(long, value_enum, default_value_t = crate::demo::Lie::OtherWeights)]
    pub(crate) liar: crate::demo::Lie,
    /// Who is the liar and who dies; drawn and printed if left out.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// Prompts to run, of the 64 that are shipped.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    pub(crate) prompts: usize,
    /// Switch audits off, to see that lies then go through (exit code 6).
    #[arg(long)]
    pub(crate) no_audits: bool,
    /// Keep the folder with everything that happened.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// Flags of the hidden `demo-node`.
#[derive(Args)]
pub(crate) struct DemoNodeArgs {
    #[command(flatten)]
    pub(crate) up: UpArgs,
    /// How it lies.
    #[arg(long, value_enum)]
    pub(crate) lie: crate::demo::Lie,
    /// Where it writes down that a lie has left it.
    #[arg(long)]
    pub(crate) confession: PathBuf,
}

/// Flags of the hidden `demo-reference`.
#[derive(Args)]
pub(crate) struct DemoReferenceArgs {
    /// The model file.
    #[arg(long)]
    pub(crate) model: PathBuf,
    /// Its name in the output.
    #[arg(long)]
    pub(crate) name: String,
    /// The batch.
    #[arg(long)]
    pub(crate) file: PathBuf,
    /// Where the results go.
    #[arg(long)]
    pub(crate) to: PathBuf,
    /// Threads of the engine; all cores unless told otherwise.
    #[arg(long, value_name = "N", value_parser = threads())]
    pub(crate) threads: Option<usize>,
}
