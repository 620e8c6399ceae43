//! `audit`.

use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `audit …`.
#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// Write receipts, proofs of payment and logs into one file that is checked without this node.
    Export(AuditExportArgs),
    /// Check such a file; no node and no network is asked. Exit code 6 if something in it does not hold.
    Verify {
        /// The file.
        file: PathBuf,
        /// Where your trust in its chain begins: the network's genesis file, or the hash of a block.
        #[arg(long, value_name = "FILE|HASH")]
        genesis: Option<String>,
    },
}

/// `audit export`.
#[derive(Args)]
pub(crate) struct AuditExportArgs {
    /// Where it goes.
    pub(crate) file: PathBuf,
    /// First day, in UTC, as 2026-01-31; by when this node wrote the receipts.
    #[arg(long, value_name = "DAY")]
    pub(crate) from: Option<String>,
    /// Last day, in UTC.
    #[arg(long, value_name = "DAY")]
    pub(crate) to: Option<String>,
    /// Only receipts of this job, without the logs; several times for several. The beginning of its id is enough.
    #[arg(long, value_name = "ID", value_parser = job)]
    pub(crate) job: Vec<String>,
    /// With prompts and answers.
    #[arg(long)]
    pub(crate) disclose: bool,
}

fn job(text: &str) -> Result<String, String> {
    let is_one = (1..=64).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    let no = "it is no id of a job: up to 64 hexadecimal digits, as `talkoo job ls` prints them";
    if is_one { Ok(text.to_ascii_lowercase()) } else { Err(no.into()) }
}
