//! `erase`, and how long things are kept if nobody does.

use crate::erase::Retention;
use clap::{ArgGroup, Args};

/// Flags of `erase`.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["job", "key", "before", "all"])))]
pub(crate) struct EraseArgs {
    /// A job that is over, by its id or first digits; a batch, `batch_…`; or a kept response, `resp_…`, and those that go on with it.
    #[arg(long, value_name = "ID")]
    pub(crate) job: Option<String>,
    /// All that a key asked for, by its id or name.
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<String>,
    /// All that was over before this day, in UTC, as 2026-01-31.
    #[arg(long, value_name = "DAY", value_parser = day)]
    pub(crate) before: Option<String>,
    /// All of it.
    #[arg(long)]
    pub(crate) all: bool,
    /// Only say what would go.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

fn day(text: &str) -> Result<String, String> {
    crate::commands::day_begins(text)
        .map(|_| text.to_owned())
        .map_err(|why| format!("it is no day, as 2026-01-31 ({why})"))
}

/// Flags of `up` that say how long things are kept.
#[derive(Args, Clone)]
pub(crate) struct RetentionArgs {
    /// Days after which receipts and evidence are removed; for ever unless told otherwise, 0: an hour.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub(crate) keep_receipts: Option<u32>,
    /// Days after which prompts and answers are erased, as `erase` does; for ever unless told otherwise, 0: an hour.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub(crate) keep_prompts: Option<u32>,
}

impl RetentionArgs {
    /// What they say.
    pub(crate) fn retention(&self) -> Retention {
        Retention { receipts: self.keep_receipts, prompts: self.keep_prompts }
    }
}
