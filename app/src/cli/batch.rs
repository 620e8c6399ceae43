//! Flags of `batch`.

use super::{Kv, Wishes, price, workers};
use clap::Args;
use std::path::PathBuf;

/// Flags of `batch`.
#[derive(Args)]
pub(crate) struct BatchArgs {
    /// JSONL of OpenAI batch lines.
    pub(crate) file: PathBuf,
    /// The model for all lines, whatever they say; left out, it is the one that the first line names.
    #[arg(long)]
    pub(crate) model: Option<String>,
    #[command(flatten)]
    pub(crate) kv: Kv,
    /// Workers at most; 64 unless told otherwise.
    #[arg(long, value_name = "N", value_parser = workers())]
    pub(crate) nodes: Option<u32>,
    /// Highest price for a million output tokens, in tokens of money; input costs a quarter.
    #[arg(long, value_name = "PRICE", value_parser = price)]
    pub(crate) max_price: Option<f64>,
    /// Who re-runs answers: `drawn` nodes, our `own` engine, or `none`.
    #[arg(long, value_name = "WHO", default_value = "drawn", value_parser = ["drawn", "own", "none"])]
    pub(crate) verify: String,
    /// How the answers can be checked: `exact`, bit for bit, or `float`, weighed at most: from any engine, of any model.
    #[arg(long, value_name = "TIER", default_value = "exact", value_parser = ["exact", "float"])]
    pub(crate) tier: String,
    /// For `--tier float`: a GGUF file of the model, or its beginning, for its tokenizer, or a model that is here; with the weights in it
    /// some answers are weighed.
    #[arg(long, value_name = "FILE", required_if_eq("tier", "float"))]
    pub(crate) vocabulary: Option<PathBuf>,
    /// Run nothing if any line is bad.
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) wishes: Wishes,
    /// Only say how long it would take, what it would cost at most, and why nodes would not work for it.
    #[arg(long)]
    pub(crate) dry_run: bool,
}
