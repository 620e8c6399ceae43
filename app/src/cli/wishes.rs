//! Which workers a batch wants, in OpenRouter's words.

use clap::Args;
use serde_json::{Value, json};

/// Flags that choose workers. An address is a node's or an owner's; `talkoo peers` lists them.
#[derive(Args)]
pub(crate) struct Wishes {
    /// What comes first: `price`, `throughput` or `latency`; measured speed unless told otherwise.
    #[arg(long, value_name = "WHAT", value_parser = ["price", "throughput", "latency"])]
    pub(crate) sort: Option<String>,
    /// These workers before all others, in this order.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) order: Vec<String>,
    /// Nobody but these.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// None of these: they do not even re-run an answer.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) ignore: Vec<String>,
    /// Nobody but those of `--order`.
    #[arg(long, requires = "order")]
    pub(crate) no_fallbacks: bool,
}

impl Wishes {
    /// The `provider` object of the API.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "sort": self.sort,
            "order": self.order,
            "only": self.only,
            "ignore": self.ignore,
            "allow_fallbacks": !self.no_fallbacks,
        })
    }
}
