//! `key`.

use clap::{Args, Subcommand};

/// `key …`.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key for programs that ask this node: OPENAI_API_KEY and the like. It is printed this once.
    Create(KeyArgs),
    /// List them, and what was spent with each.
    Ls,
    /// Take one back.
    Revoke {
        /// Its id or name.
        key: String,
    },
}

/// `key create`.
#[derive(Args)]
pub(crate) struct KeyArgs {
    /// What to call it.
    #[arg(long, default_value = "")]
    pub(crate) name: String,
    /// What may be spent with it, in tokens of money; 0 for what costs nothing only.
    #[arg(long)]
    pub(crate) budget: Option<f64>,
    /// Days until it ends.
    #[arg(long)]
    pub(crate) days: Option<u64>,
}
